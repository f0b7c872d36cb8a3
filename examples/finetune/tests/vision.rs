//! The pretrained image classifiers against PyTorch, and under per-example differentiation.
//!
//! Expected values: `reference/vision.py` (torch 2.15.0, double precision). The tiny networks have
//! committed weights; the test of the real ones runs where `examples/data.sh` has put those.

mod common;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use burn::optim::GradientsParams;
use burn::prelude::*;
use burn_dp::per_example::verify;
use common::{assert_has, fixture, note, refused};
use finetune::models::cross_entropy;
use finetune::models::vision::{
    Backbone, EfficientNetLite0Config, ImageClassifier, Preprocess, SqueezeNetConfig,
};
use serde::Deserialize;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const CLASSES: usize = 5;

#[test]
fn tiny_networks_compute_what_pytorch_computes() -> Result {
    for case in cases("vision_tiny.json")? {
        let model = tiny(case.backbone()?, &Device::default())?;
        let worst = case.worst(&model)?;
        eprintln!("{} of {:?}: {worst:.1e} of the largest", case.backbone, case.images);
        assert!(worst < 1e-5, "{}: {worst:e}", case.backbone);
    }
    Ok(())
}

#[test]
fn pretrained_networks_compute_what_pytorch_computes() -> Result {
    let folder = finetune::data::folder()?;
    for backbone in Backbone::ALL {
        let file = folder.join(backbone.file());
        if !file.exists() {
            let file = file.display();
            note(&format!("{backbone} not tested: run examples/data.sh to get {file}"))?;
            continue;
        }
        let model = ImageClassifier::load_imagenet(backbone, &folder, &Device::default())?;
        for case in cases("vision_real.json")? {
            if case.backbone()? == backbone {
                let worst = case.worst(&model)?;
                eprintln!("{backbone} at {} pixels: {worst:.1e} of the largest", case.size);
                assert!(worst < 2e-5, "{backbone}: {worst:e}");
            }
        }
        let classifier = ImageClassifier::load(backbone, &folder, 10, &Device::default())?;
        let images = classifier.preprocess(64)?.forward(pixels([2, 32, 32], &Device::default()));
        assert_eq!(classifier.forward(images).dims(), [2, 10]);
    }
    Ok(())
}

#[test]
fn examples_of_a_batch_do_not_mix() -> Result {
    let device = Device::default();
    for backbone in Backbone::ALL {
        let model = tiny(backbone, &device)?;
        let images = model.preprocess(40)?.forward(pixels([3, 20, 30], &device));
        let together = model.forward(images.clone());
        for (index, image) in images.chunk(3, 0).into_iter().enumerate() {
            let alone = read(model.forward(image));
            let of_batch = read(together.clone().narrow(0, index, 1));
            assert!(relative(&alone, &of_batch) < 1e-5, "{backbone}, image {index}");
        }
    }
    Ok(())
}

#[test]
fn per_example_gradients_are_exact() -> Result {
    let device = Device::default().autodiff();
    for backbone in Backbone::ALL {
        let model = tiny(backbone, &device)?;
        let images = model.preprocess(40)?.forward(pixels([3, 20, 30], &device));
        let labels = Tensor::from_ints([4, 0, 2], &device);
        let agreement = verify(&model, (images, labels), loss, 1e-3)?;
        eprintln!("{backbone}: {:.1e} at {}", agreement.worst, agreement.parameter);
    }
    Ok(())
}

#[test]
fn preprocessing_may_be_part_of_the_loss() -> Result {
    let device = Device::default().autodiff();
    for backbone in Backbone::ALL {
        let model = tiny(backbone, &device)?;
        let preprocess = model.preprocess(32)?;
        let from_pixels = |model: &ImageClassifier, (rgb, labels): Batch| {
            loss(model, (preprocess.forward(rgb), labels))
        };
        let batch = (pixels([2, 20, 30], &device), Tensor::from_ints([1, 3], &device));
        verify(&model, batch, from_pixels, 1e-3)?;
    }
    Ok(())
}

#[test]
fn every_parameter_is_trained() -> Result {
    let device = Device::default().autodiff();
    // Two tensors for each convolution and for the head.
    for (backbone, tensors) in [(Backbone::SqueezeNet, 52), (Backbone::EfficientNetLite0, 100)] {
        let model = tiny(backbone, &device)?;
        let images = model.preprocess(40)?.forward(pixels([2, 40, 40], &device));
        let gradients = loss(&model, (images, Tensor::from_ints([1, 3], &device))).backward();
        assert_eq!(GradientsParams::from_grads(gradients, &model).len(), tensors, "{backbone}");
    }
    Ok(())
}

#[test]
fn the_smallest_size_is_the_smallest_that_works() -> Result {
    let device = Device::default();
    for backbone in Backbone::ALL {
        let smallest = backbone.smallest_size();
        let images = Preprocess::new(backbone, smallest)?.forward(pixels([1, 32, 32], &device));
        let logits = read(tiny(backbone, &device)?.forward(images));
        assert!(logits.iter().all(|x| x.is_finite()), "{backbone}");
        let error = refused(Preprocess::new(backbone, smallest - 1));
        assert!(error.contains(&format!("resize to {smallest} or more")), "{error}");
    }
    Ok(())
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_to_do() -> Result {
    let device = Device::default();
    let squeezenet = SqueezeNetConfig::new(CLASSES).with_width(2);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));

    let missing = folder.join("no_such_file.safetensors");
    let error = refused(squeezenet.load(&missing, &device));
    assert_has(&error, &["no_such_file", "run examples/data.sh squeezenet"]);

    let whole = fs::read(fixture("vision_squeezenet.safetensors"))?;
    for (name, length) in [("empty", 0), ("no_header", 100), ("truncated", whole.len() - 1)] {
        let path = folder.join(format!("vision_{name}.safetensors"));
        fs::write(&path, &whole[..length])?;
        let error = refused(squeezenet.load(&path, &device));
        assert_has(&error, &[name, "damaged", "examples/data.sh squeezenet"]);
    }

    let of_the_other = fixture("vision_efficientnet_lite0.safetensors");
    let error = refused(squeezenet.load(&of_the_other, &device));
    assert_has(&error, &["vision_efficientnet_lite0", "no tensor conv1.weight", "another network"]);

    let full_size = SqueezeNetConfig::new(CLASSES);
    let error = refused(full_size.load(&fixture("vision_squeezenet.safetensors"), &device));
    assert_has(&error, &["vision_squeezenet", "conv1.weight", "[8, 3, 3, 3]", "[64, 3, 3, 3]"]);

    let other_classes = SqueezeNetConfig::new(CLASSES + 1).with_width(2);
    let error =
        refused(other_classes.load_with_head(&fixture("vision_squeezenet.safetensors"), &device));
    assert_has(&error, &["conv10.weight"]);

    let halves = folder.join("vision_halves.safetensors");
    let header = br#"{"conv1.bias":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#;
    let length = (header.len() as u64).to_le_bytes();
    fs::write(&halves, [&length[..], header, &[0, 0]].concat())?;
    let error = refused(squeezenet.load(&halves, &device));
    assert_has(&error, &["vision_halves", "conv1.bias is F16", "examples/data.sh squeezenet"]);

    for backbone in Backbone::ALL {
        let nowhere = folder.join("no_such_folder");
        let error = refused(ImageClassifier::load(backbone, &nowhere, 10, &device));
        assert_has(&error, &[backbone.file(), "run examples/data.sh"]);
        let error = refused(ImageClassifier::load(backbone, &nowhere, 0, &device));
        assert_has(&error, &["at least one class"]);
    }
    Ok(())
}

#[test]
fn backbones_are_known_by_name() -> Result {
    for backbone in Backbone::ALL {
        assert_eq!(backbone.to_string().parse::<Backbone>()?, backbone);
    }
    let error = refused("resnet".parse::<Backbone>());
    assert_has(&error, &["resnet", "squeezenet, efficientnet-lite0"]);
    Ok(())
}

type Batch = (Tensor<4>, Tensor<1, Int>);

fn loss(model: &ImageClassifier, (images, labels): Batch) -> Tensor<1> {
    cross_entropy(model.forward(images), labels)
}

fn tiny(backbone: Backbone, device: &Device) -> Result<ImageClassifier> {
    Ok(match backbone {
        Backbone::SqueezeNet => ImageClassifier::SqueezeNet(
            SqueezeNetConfig::new(CLASSES)
                .with_width(2)
                .load_with_head(&fixture("vision_squeezenet.safetensors"), device)?,
        ),
        Backbone::EfficientNetLite0 => ImageClassifier::EfficientNetLite0(
            EfficientNetLite0Config::new(CLASSES)
                .with_stem(4)
                .with_stages([2, 3, 3, 4, 4, 6, 6])
                .with_top(16)
                .load_with_head(&fixture("vision_efficientnet_lite0.safetensors"), device)?,
        ),
    })
}

/// What PyTorch computed for [`pixels`].
#[derive(Deserialize)]
struct Case {
    backbone: String,
    /// Number, height and width before resizing to `size`.
    images: [usize; 3],
    size: usize,
    /// The first values of each row.
    features: Vec<Vec<f64>>,
    features_norm: Vec<f64>,
    logits: Vec<Vec<f64>>,
    logits_norm: Vec<f64>,
}

impl Case {
    fn backbone(&self) -> Result<Backbone> {
        Ok(self.backbone.replace('_', "-").parse()?)
    }

    /// The largest difference from the expected values, relative to the largest of them.
    fn worst(&self, model: &ImageClassifier) -> Result<f64> {
        let images = model.preprocess(self.size)?.forward(pixels(self.images, &Device::default()));
        let features = compare(model.features(images.clone()), &self.features, &self.features_norm);
        Ok(features.max(compare(model.forward(images), &self.logits, &self.logits_norm)))
    }
}

fn compare(found: Tensor<2>, expected: &[Vec<f64>], norms: &[f64]) -> f64 {
    let [rows, _] = found.dims();
    let columns = expected[0].len();
    assert_eq!(rows, expected.len());
    let first = read(found.clone().narrow(1, 0, columns));
    let found_norms = read(found.square().sum_dim(1).sqrt());
    relative(&first, &expected.concat()).max(relative(&found_norms, norms))
}

fn relative(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let difference =
        |(a, b): (&f64, &f64)| if a.is_finite() { (a - b).abs() } else { f64::INFINITY };
    found.iter().zip(expected).map(difference).fold(0.0, f64::max) / largest
}

/// RGB values that `reference/vision.py` makes too: the high bytes of a linear congruential generator.
fn pixels([count, height, width]: [usize; 3], device: &Device) -> Tensor<4> {
    let mut state = 1u32;
    let values: Vec<f32> = (0..count * 3 * height * width)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32
        })
        .collect();
    Tensor::from_data(TensorData::new(values, [count, 3, height, width]), device)
}

fn cases(file: &str) -> Result<Vec<Case>> {
    Ok(serde_json::from_str(&fs::read_to_string(fixture(file))?)?)
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}
