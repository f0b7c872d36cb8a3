//! Pixels against Pillow, as transformers and timm use it.

use anyhow::Result;
use burn::prelude::*;
use burn_dp::per_example::verify;
use finetune::models::vision::{ImageClassifier, Preprocess};
use serde_json::json;

use crate::folders::{
    Batch, Copy, IMAGES, NAMES, expected, folder, loss, model, numbers, relative, rgb,
};

#[test]
fn pixels_are_those_of_pillow() -> Result<()> {
    for name in NAMES {
        let preprocess = Preprocess::load_folder(&folder(name))?;
        let found: Vec<_> = IMAGES.iter().map(|size| preprocess.forward(rgb(*size))).collect();
        let worst =
            relative(&numbers(Tensor::cat(found, 0)), &numbers(expected::<4>(name, "pixels")?));
        eprintln!("{name}: pixels differ by {worst:.1e} of the largest");
        // A level is 4e-3 or more.
        assert!(worst < 1e-6, "{name}: {worst:e}");
    }
    Ok(())
}

#[test]
fn an_image_of_the_right_size_is_only_encoded() -> Result<()> {
    let preprocess = Preprocess::load_folder(&folder("vit"))?;
    assert_eq!(preprocess.size(), Some([32, 32]));
    let image = rgb([32, 32]);
    let found = numbers(preprocess.forward(image.clone()));
    for (found, pixel) in found.iter().zip(numbers(image)) {
        // Mean and standard deviation are one half.
        assert!((found - (pixel / 127.5 - 1.0)).abs() < 1e-6, "{pixel}: {found}");
    }
    Ok(())
}

#[test]
fn what_a_file_leaves_out_is_what_transformers_takes() -> Result<()> {
    let preprocess = |changes: &[(&str, serde_json::Value)]| -> Result<Vec<f64>> {
        let copy = Copy::of("vit")?;
        for (field, value) in changes {
            copy.set("preprocessor_config.json", field, value.clone())?;
        }
        Ok(numbers(Preprocess::load_folder(copy.path())?.forward(rgb(IMAGES[0]))))
    };
    let whole = preprocess(&[])?;
    // As older files are: a number for the size, another name for the kind, no rescaling.
    let old = [
        ("size", json!(32)),
        ("image_processor_type", json!(null)),
        ("feature_extractor_type", json!("ViTFeatureExtractor")),
        ("do_rescale", json!(null)),
        ("rescale_factor", json!(null)),
        ("do_resize", json!(null)),
        ("do_normalize", json!(null)),
    ];
    assert_eq!(preprocess(&old)?, whole);
    // Fields that change no pixel, or ask for nothing.
    let more = [
        ("do_convert_rgb", json!(true)),
        ("do_reduce_labels", json!(true)),
        ("do_pad", json!(false)),
        ("do_center_crop", json!(false)),
        ("crop_size", json!({"height": 224, "width": 224})),
    ];
    assert_eq!(preprocess(&more)?, whole);
    // Without rescaling and normalization, levels stay.
    let levels = preprocess(&[("do_rescale", json!(false)), ("do_normalize", json!(false))])?;
    assert!(levels.iter().all(|level| (0.0..=255.0).contains(level) && level.fract() == 0.0));
    Ok(())
}

#[test]
fn the_shorter_side_may_be_all_that_a_folder_gives() -> Result<()> {
    let copy = Copy::of("resnet_basic")?;
    let file = "preprocessor_config.json";
    // ConvNeXT takes a number for the shorter side.
    let shorter = Preprocess::load_folder(copy.path())?;
    copy.set(file, "size", json!(32))?;
    assert_eq!(Preprocess::load_folder(copy.path())?, shorter);

    copy.set(file, "size", json!({"shortest_edge": 32}))?;
    copy.set(file, "image_processor_type", json!("ViTImageProcessor"))?;
    copy.set(file, "crop_pct", json!(null))?;
    let preprocess = Preprocess::load_folder(copy.path())?;
    assert_eq!(preprocess.size(), None);
    assert_eq!(preprocess.forward(rgb([40, 50])).dims(), [1, 3, 32, 40]);
    assert_eq!(preprocess.forward(rgb([33, 20])).dims(), [1, 3, 52, 32]);

    // And no middle from 384 pixels on.
    copy.set(file, "image_processor_type", json!("ConvNextFeatureExtractor"))?;
    copy.set(file, "size", json!(384))?;
    assert_eq!(Preprocess::load_folder(copy.path())?.size(), Some([384, 384]));
    Ok(())
}

#[test]
fn preprocessing_may_be_part_of_the_loss() -> Result<()> {
    let device = Device::default().autodiff();
    for name in ["vit", "deit", "resnet_gn"] {
        let preprocess = Preprocess::load_folder(&folder(name))?;
        let from_pixels = |model: &ImageClassifier, (rgb, labels): Batch| {
            loss(model, (preprocess.forward(rgb), labels))
        };
        let images =
            Tensor::cat(vec![rgb([40, 50]), rgb([40, 50]).flip([2])], 0).to_device(&device);
        let batch = (images, Tensor::from_ints([1, 3], &device));
        verify(&model(name, &device)?, batch, from_pixels, 1e-3)?;
    }
    Ok(())
}
