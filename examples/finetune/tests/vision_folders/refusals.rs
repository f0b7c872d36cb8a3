//! What a folder may ask for that is not done here: errors name the file, the field and what there is.

use std::fs;

use anyhow::Result;
use burn::prelude::*;
use finetune::models::vision::{ImageClassifier, Preprocess};
use serde_json::{Value, json};

use crate::common::{assert_has, refused};
use crate::folders::{Copy, folder};

const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";

/// A folder, the field that is set, its value, and what the error says.
type Case = (&'static str, &'static str, Value, &'static [&'static str]);

#[test]
fn fields_of_the_network_that_are_not_supported_are_named() -> Result<()> {
    let cases: [Case; 29] = [
        (
            "vit",
            "model_type",
            json!("swin"),
            &["model_type is \"swin\"", "vit, deit, beit and resnet"],
        ),
        ("vit", "model_type", json!(null), &["neither model_type nor architecture", "resnet50_gn"]),
        ("vit", "hidden_act", json!("mish"), &["hidden_act is \"mish\"", "gelu_pytorch_tanh"]),
        ("vit", "hidden_size", json!(null), &["missing field `hidden_size`"]),
        ("vit", "hidden_size", json!(0), &["hidden_size is 0"]),
        ("vit", "hidden_size", json!(34), &["hidden_size 34", "num_attention_heads 4"]),
        ("vit", "hidden_size", json!(64), &["[32, 3, 8, 8] where [64, 3, 8, 8] is needed"]),
        ("vit", "num_hidden_layers", json!(1_000_000), &["num_hidden_layers is 1000000"]),
        ("vit", "num_hidden_layers", json!(3), &["encoder.layer.2.layernorm_before.weight"]),
        ("vit", "num_hidden_layers", json!(1), &["encoder.layer.1.", "no place for"]),
        ("vit", "head_dim", json!(16), &["head_dim is 16", "= 8 is supported"]),
        ("vit", "layer_norm_eps", json!(-1.0), &["layer_norm_eps is -1"]),
        ("vit", "num_channels", json!(1), &["num_channels is 1"]),
        ("vit", "image_size", json!(64), &["position_embeddings is [1, 17, 32] where [1, 65, 32]"]),
        ("vit", "image_size", json!("32"), &["a size is one number, or the list [height, width]"]),
        ("vit", "patch_size", json!(0), &["patch_size is 0"]),
        ("vit", "patch_size", json!(33), &["patch_size is 33", "1 to 32"]),
        (
            "vit",
            "qkv_bias",
            json!(false),
            &["encoder.layer.0.attention.attention.key.bias", "no place"],
        ),
        ("vit_wide", "qkv_bias", json!(true), &["no tensor", "attention.query.bias"]),
        ("deit", "model_type", json!("vit"), &["no tensor embeddings.patch_embeddings"]),
        ("beit", "use_mean_pooling", json!(false), &["no tensor beit.layernorm.weight"]),
        (
            "beit",
            "use_relative_position_bias",
            json!(false),
            &["relative_position_bias_table", "no place"],
        ),
        ("beit", "image_size", json!([32, 64]), &["4 x 8 patches", "use_relative_position_bias"]),
        ("beit", "layer_scale_init_value", json!(0.0), &["lambda_1", "no place"]),
        (
            "resnet_basic",
            "layer_type",
            json!("wide"),
            &["layer_type is \"wide\"", "basic and bottleneck"],
        ),
        ("resnet_basic", "hidden_act", json!("gelu"), &["hidden_act is \"gelu\"", "only relu"]),
        ("resnet_basic", "depths", json!([1]), &["hidden_sizes [8, 16] and depths [1]"]),
        ("resnet_basic", "depths", json!([1, 0]), &["depths has 0"]),
        ("resnet_bottleneck", "hidden_sizes", json!([32, 66]), &["[32, 66]", "multiples of 4"]),
    ];
    check(&cases, CONFIG, |copy| refused(copy.load()))
}

#[test]
fn networks_of_timm_that_are_not_supported_are_named() -> Result<()> {
    let cases: [Case; 4] = [
        (
            "resnet_gn",
            "architecture",
            json!("resnet50d"),
            &["architecture is \"resnet50d\"", "resnet50_gn"],
        ),
        ("resnet_gn", "global_pool", json!("max"), &["global_pool is \"max\"", "only avg"]),
        (
            "resnet_gn",
            "model_args/act_layer",
            json!("silu"),
            &["act_layer = \"silu\"", "not supported"],
        ),
        ("resnet_gn", "model_args/global_pool", json!("max"), &["global_pool is \"max\""]),
    ];
    check(&cases, CONFIG, |copy| refused(copy.load()))
}

#[test]
fn preprocessing_of_transformers_that_is_not_done_is_named() -> Result<()> {
    let cases: [Case; 24] = [
        ("vit", "size", json!(null), &["size is missing"]),
        ("vit", "size", json!({"longest_edge": 32}), &["size is", "longest_edge", "shortest_edge"]),
        ("vit", "size", json!({"height": -3, "width": 32}), &["size has -3"]),
        ("vit", "size", json!(0), &["size has 0"]),
        ("vit", "size", json!(64), &["images of [64, 64]", "image_size", "[32, 32]"]),
        ("vit", "size", json!({"shortest_edge": 32}), &["images of several sizes", "image_size"]),
        ("vit", "resample", json!(null), &["resample is missing"]),
        ("vit", "resample", json!(1), &["resample is 1", "bilinear"]),
        ("vit", "do_resize", json!(false), &["do_resize is false"]),
        ("vit", "do_center_crop", json!(true), &["crop_size is missing"]),
        ("vit", "crop_pct", json!(0.9), &["crop_pct", "ConvNextImageProcessor"]),
        ("vit", "image_mean", json!(null), &["image_mean is missing"]),
        ("vit", "image_mean", json!([0.5]), &["image_mean has 1 numbers"]),
        ("vit", "image_std", json!([0.5, 0.0, 0.5]), &["standard deviation", "positive"]),
        ("vit", "rescale_factor", json!(0), &["rescale_factor is 0"]),
        ("vit", "do_pad", json!(true), &["do_pad is true", "not supported"]),
        ("vit", "pad_size", json!({"height": 64, "width": 64}), &["pad_size is", "not supported"]),
        (
            "vit",
            "image_processor_type",
            json!("CLIPImageProcessor"),
            &["CLIPImageProcessor", "ConvNext"],
        ),
        ("deit", "crop_size", json!(64), &["crop_size [64, 64]", "larger than size [37, 37]"]),
        ("deit", "crop_size", json!({"shortest_edge": 32}), &["crop_size has shortest_edge"]),
        ("deit", "do_center_crop", json!(false), &["images of [37, 37]", "image_size"]),
        ("resnet_basic", "crop_pct", json!(0.0), &["crop_pct is 0"]),
        ("resnet_basic", "do_center_crop", json!(true), &["do_center_crop is true", "crop_pct"]),
        ("resnet_basic", "size", json!({"height": 32, "width": 32}), &["needs shortest_edge"]),
    ];
    check(&cases, PREPROCESSOR, |copy| refused(Preprocess::load_folder(copy.path())))
}

#[test]
fn preprocessing_of_timm_that_is_not_done_is_named() -> Result<()> {
    let cases: [Case; 7] = [
        ("resnet_gn", "pretrained_cfg", json!(null), &["missing field `pretrained_cfg`"]),
        ("resnet_gn", "pretrained_cfg/mean", json!(null), &["mean is missing"]),
        (
            "resnet_gn",
            "pretrained_cfg/input_size",
            json!([3, 32, 64]),
            &["input_size is [3, 32, 64]"],
        ),
        (
            "resnet_gn",
            "pretrained_cfg/interpolation",
            json!("random"),
            &["interpolation is \"random\""],
        ),
        ("resnet_gn", "pretrained_cfg/crop_pct", json!(1.5), &["crop_pct is 1.5"]),
        ("resnet_gn", "pretrained_cfg/crop_mode", json!("squash"), &["crop_mode is \"squash\""]),
        ("resnet_gn", "pretrained_cfg/crop_border_pixels", json!(4), &["crop_border_pixels is 4"]),
    ];
    check(&cases, CONFIG, |copy| refused(Preprocess::load_folder(copy.path())))
}

/// Sets each field in a copy of its folder; the error names the file too.
fn check(cases: &[Case], file: &str, error: impl Fn(&Copy) -> String) -> Result<()> {
    for (name, field, value, parts) in cases {
        let copy = Copy::of(name)?;
        copy.set(file, field, value.clone())?;
        let error = error(&copy);
        assert_has(&error, parts);
        assert_has(&error, &[&copy.path().display().to_string()]);
    }
    Ok(())
}

#[test]
fn files_that_are_missing_or_no_json_are_named() -> Result<()> {
    let copy = Copy::of("vit")?;
    fs::write(copy.path().join(PREPROCESSOR), "{")?;
    let error = refused(Preprocess::load_folder(copy.path()));
    assert_has(&error, &[PREPROCESSOR, "cannot be used", "line 1"]);
    fs::remove_file(copy.path().join(PREPROCESSOR))?;
    let error = refused(Preprocess::load_folder(copy.path()));
    assert_has(&error, &["cannot read", PREPROCESSOR, "as Hugging Face saves it"]);
    fs::remove_file(copy.path().join(CONFIG))?;
    assert_has(&refused(copy.load()), &["cannot read", CONFIG, "as Hugging Face saves it"]);
    Ok(())
}

#[test]
fn a_classifier_of_a_folder_needs_classes_and_has_its_own_preprocessing() -> Result<()> {
    let device = Device::default();
    let error = refused(ImageClassifier::load_folder(&folder("vit"), 0, &device));
    assert_has(&error, &["at least one class"]);
    let model = ImageClassifier::load_folder(&folder("vit"), 2, &device)?;
    assert_eq!(model.backbone(), None);
    assert_has(&refused(model.preprocess(32)), &["Preprocess::load_folder"]);
    Ok(())
}
