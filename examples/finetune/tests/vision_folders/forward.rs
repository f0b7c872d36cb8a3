//! What the networks compute, and their gradients of each example.

use anyhow::Result;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn_dp::per_example::verify;

use crate::folders::{CLASSES, NAMES, batch, expected, loss, model, numbers, relative};

#[test]
fn networks_compute_what_transformers_and_timm_compute() -> Result<()> {
    let device = Device::default();
    for name in NAMES {
        let model = model(name, &device)?;
        let features = model.features(expected(name, "pixels")?);
        let worst =
            relative(&numbers(features.clone()), &numbers(expected::<2>(name, "features")?));
        eprintln!("{name}: {worst:.1e} of the largest");
        assert!(worst < 1e-5, "{name}: {worst:e}");
        let logits = model.classify(features);
        assert_eq!(logits.dims(), [2, CLASSES], "{name}");
        assert_eq!(
            numbers(logits),
            numbers(model.forward(expected(name, "pixels")?)),
            "{name}: the head on features and the whole network differ",
        );
    }
    Ok(())
}

#[test]
fn examples_of_a_batch_do_not_mix() -> Result<()> {
    let device = Device::default();
    for name in NAMES {
        let model = model(name, &device)?;
        let (images, _) = batch(name, &device)?;
        let together = model.forward(images.clone());
        for (index, image) in images.chunk(3, 0).into_iter().enumerate() {
            let of_batch = numbers(together.clone().narrow(0, index, 1));
            let worst = relative(&numbers(model.forward(image)), &of_batch);
            assert!(worst < 1e-5, "{name}, image {index}: {worst:e}");
        }
    }
    Ok(())
}

#[test]
fn per_example_gradients_are_exact() -> Result<()> {
    let device = Device::default().autodiff();
    for name in NAMES {
        let model = model(name, &device)?;
        let agreement = verify(&model, batch(name, &device)?, loss, 1e-3)?;
        eprintln!("{name}: {:.1e} at {}", agreement.worst, agreement.parameter);
    }
    Ok(())
}

#[test]
fn every_parameter_is_trained() -> Result<()> {
    let device = Device::default().autodiff();
    for name in NAMES {
        let model = model(name, &device)?;
        let gradients = loss(&model, batch(name, &device)?).backward();
        let trained = GradientsParams::from_grads(gradients, &model).len();
        assert_eq!(trained, burn::module::list_param_ids(&model).len(), "{name}");
    }
    Ok(())
}
