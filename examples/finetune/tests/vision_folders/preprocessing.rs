//! Pixels against Pillow, as transformers and timm use it.

use anyhow::Result;
use burn::prelude::*;
use burn_dp::per_example::verify;
use finetune::models::vision::{ImageClassifier, Preprocess};
use serde_json::json;

use crate::folders::{Batch, Copy, IMAGES, NAMES, expected, folder, loss, model, numbers, rgb};

/// How far apart two neighboring levels of a pixel are after encoding, at most.
fn level(name: &str) -> f64 {
    match name {
        "vit_wide" => 1.0 / 255.0,
        "resnet_gn" | "resnet_timm" => 1.0 / (255.0 * 0.224),
        _ => 1.0 / (255.0 * 0.5),
    }
}

#[test]
fn pixels_are_those_of_pillow() -> Result<()> {
    for name in NAMES {
        let preprocess = Preprocess::load_folder(&folder(name))?;
        let found: Vec<_> = IMAGES.iter().map(|size| preprocess.forward(rgb(*size))).collect();
        let found = numbers(Tensor::cat(found, 0));
        let expected = numbers(expected::<4>(name, "pixels")?);
        assert_eq!(found.len(), expected.len(), "{name}");
        let in_levels: Vec<f64> =
            found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / level(name)).collect();
        let worst = in_levels.iter().fold(0.0, |worst: f64, x| worst.max(*x));
        let others = in_levels.iter().filter(|x| **x > 1e-3).count();
        eprintln!("{name}: {others} of {} pixels differ, by {worst:.1e} levels", found.len());
        // Pillow's coefficients are whole multiples of 2^-22, so that what lies between two levels may fall
        // to the other side.
        assert!(worst < 1.1 && others * 1000 <= found.len(), "{name}: {others}, {worst}");
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
    copy.set(file, "image_processor_type", json!("ViTImageProcessor"))?;
    copy.set(file, "crop_pct", json!(null))?;
    let preprocess = Preprocess::load_folder(copy.path())?;
    assert_eq!(preprocess.size(), None);
    assert_eq!(preprocess.forward(rgb([40, 50])).dims(), [1, 3, 32, 40]);
    assert_eq!(preprocess.forward(rgb([33, 20])).dims(), [1, 3, 52, 32]);

    // ConvNeXT takes no middle from 384 pixels on.
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
