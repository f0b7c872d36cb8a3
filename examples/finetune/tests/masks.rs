//! Masks over the examples' models: a fresh one changes nothing, a trained one is a file.

mod common;
mod toy;

use std::fs;

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use burn_dp::mask::{MaskKind, MaskSet, Scope, Structure, SuperMaskConfig};
use common::note;
use finetune::models::text::{TextEncoder, TextEncoderConfig, TextInputs};
use finetune::models::vision::{Backbone, ImageClassifier, SqueezeNetConfig};
use finetune::run::task::Task;
use tempfile::tempdir;
use toy::{Toy, train};

const KINDS: [MaskKind; 6] = [
    MaskKind::Threshold { threshold: 0.0 },
    MaskKind::Threshold { threshold: -0.005 },
    MaskKind::TopK { share: 0.9, scope: Scope::Layer },
    MaskKind::TopK { share: 0.9, scope: Scope::Global },
    MaskKind::Sigmoid,
    MaskKind::Multiplier,
];
const STRUCTURES: [Structure; 3] = [Structure::Weight, Structure::Axis(0), Structure::Axis(1)];

/// Holds that every fresh mask leaves the model's outputs as they are, bit for bit.
fn starts_as_the_model<M: Module>(model: &M, outputs: impl Fn(&M) -> TensorData) -> Result<()> {
    let before = outputs(model);
    for kind in KINDS {
        for structure in STRUCTURES {
            let config = SuperMaskConfig::new(kind)?.with_structure(structure);
            let masked = config.refresh(config.apply(model.clone())?, 1, 0)?;
            ensure!(outputs(&masked) == before, "{kind:?} {structure:?} changed the outputs");
        }
    }
    Ok(())
}

fn encoder_starts_as_it_is(encoder: &TextEncoder) -> Result<()> {
    let device = Device::default();
    let tokens = || Tensor::<1, Int>::arange(0..24, &device).reshape([2, 12]) * 37;
    starts_as_the_model(encoder, |encoder| {
        encoder.forward(TextInputs::new(tokens(), Tensor::ones([2, 12], &device))).into_data()
    })
}

#[test]
fn minilm_starts_as_it_is() -> Result<()> {
    let folder = finetune::data::folder()?.join("minilm-l6");
    if folder.is_dir() {
        return encoder_starts_as_it_is(&TextEncoder::load(&folder, &Device::default())?);
    }
    note("minilm_starts_as_it_is used random weights: run examples/data.sh")?;
    let config = TextEncoderConfig { vocab_size: 1000, ..TextEncoderConfig::minilm_l6() };
    encoder_starts_as_it_is(&config.init(&Device::default())?)
}

#[test]
fn squeezenet_starts_as_it_is() -> Result<()> {
    let (folder, device) = (finetune::data::folder()?, Device::default());
    let images = Tensor::<4>::random([2, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
    if folder.join(Backbone::SqueezeNet.file()).exists() {
        let model = ImageClassifier::load(Backbone::SqueezeNet, &folder, 10, &device)?;
        return starts_as_the_model(&model, |model| model.forward(images.clone()).into_data());
    }
    note("squeezenet_starts_as_it_is used random weights: run examples/data.sh")?;
    let model = SqueezeNetConfig::new(10).init(&device);
    starts_as_the_model(&model, |model| model.forward(images.clone()).into_data())
}

#[test]
fn a_run_exports_the_mask_that_it_trained() -> Result<()> {
    let cases = [
        "--non-private",
        "--epsilon 8 --mask threshold",
        "--epsilon 8 --mask top-k",
        "--epsilon 8 --mask stochastic --mask-of output",
        "--epsilon 8 --mask top-k-global",
    ];
    for flags in cases {
        let (task, out) = (Toy::new(), tempdir()?);
        let flags = format!("--method supermask --seed 1 {flags}");
        let Some(summary) = train(&task, &flags, out.path())?.mask else {
            anyhow::bail!("{flags}: no mask")
        };
        let bytes = fs::read(out.path().join("mask.bin"))?;
        ensure!(summary.bytes == bytes.len() && summary.weights == 6 * 16, "{summary:?}");
        let pretrained = task.model(&Device::default().autodiff())?;
        let masks = MaskSet::from_bytes(&bytes, &pretrained)?;
        ensure!(masks.kept_weights() == summary.kept && masks.scores() == summary.scores);
        // With the mask, the pretrained trunk is the trained one.
        let masked = masks.apply(pretrained)?.valid();
        let trained = task.model(&Device::default())?.load_file(out.path().join("model.bpk"));
        let trunk = |model: toy::Net| model.trunk.weight.val().into_data();
        ensure!(trunk(masked) == trunk(trained), "{flags}: another trunk");
    }
    // Under privacy the default multiplies.
    for flags in ["--epsilon 8", "--mask sigmoid"] {
        let out = tempdir()?;
        let flags = format!("--method supermask --seed 1 {flags}");
        let soft = train(&Toy::new(), &flags, out.path())?;
        ensure!(soft.mask.is_none() && !out.path().join("mask.bin").exists());
    }
    Ok(())
}
