//! Where adapters, biases and the last block are, whatever the depth and the family.

use anyhow::Result;
use burn::prelude::*;
use burn::store::ModuleSnapshot;
use burn_dp::per_example::verify;
use burn_dp::selection::{LowRank, ParamSelector};
use finetune::models::vision::{Backbone, ImageClassifier};

use crate::folders::{CLASSES, NAMES, batch, loss, model};

/// Every network: the folders', and those of the examples' downloads.
fn networks() -> Result<Vec<(String, ImageClassifier)>> {
    let device = Device::default().autodiff();
    let mut networks = Vec::new();
    for name in NAMES {
        networks.push((name.to_owned(), model(name, &device)?));
    }
    for backbone in Backbone::ALL {
        let model = ImageClassifier::random(backbone, CLASSES, &device);
        networks.push((backbone.to_string(), model));
    }
    Ok(networks)
}

fn paths(selector: &ParamSelector, model: &ImageClassifier) -> Result<Vec<String>> {
    Ok(selector.select(model)?.paths().map(str::to_owned).collect())
}

/// The length of each axis of a parameter, if the model has it.
fn shape(model: &ImageClassifier, path: &str) -> Option<Vec<usize>> {
    let all = model.collect(None, None, false);
    all.into_iter().find(|tensor| tensor.name == path).map(|tensor| tensor.shape[..].to_vec())
}

#[test]
fn adapters_go_to_every_linear_layer_of_a_transformer_or_every_convolution() -> Result<()> {
    // Six linear layers in a block of a transformer; the stem, the layers of blocks and the shortcuts of a ResNet.
    let expected = [
        ("vit", 2 * 6),
        ("vit_wide", 6),
        ("deit", 2 * 6),
        ("beit", 2 * 6),
        ("beit_shared", 2 * 6),
        ("beit_class", 6),
        ("resnet_basic", 1 + 3 * 2 + 2),
        ("resnet_bottleneck", 1 + 3 * 3 + 2),
        ("resnet_gn", 1 + 2 * 3 + 1),
        ("resnet_timm", 1 + 5 * 2 + 4),
        ("squeezenet", 1 + 8 * 3),
        // Not the depthwise ones. The first block has nothing to expand.
        ("efficientnet-lite0", 1 + 15 + 16 + 1),
    ];
    for ((name, model), (expected_name, count)) in networks()?.into_iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert_eq!(paths(&model.adapted()?, &model)?.len(), count, "{name}");
    }
    Ok(())
}

#[test]
fn the_axis_of_outputs_is_as_long_as_what_is_added_to_them() -> Result<()> {
    for (name, model) in networks()? {
        let mut compared = 0;
        for weight in paths(&model.adapted()?, &model)? {
            let layer = weight.trim_end_matches(".weight");
            if let Some(bias) = shape(&model, &format!("{layer}.bias")) {
                let outputs = shape(&model, &weight).unwrap_or_default()[model.output_axis()];
                assert_eq!(bias, [outputs], "{name}: {weight}");
                compared += 1;
            }
        }
        // Convolutions before GroupNorm have no bias.
        assert!(compared > 0 || name == "resnet_gn", "{name}");
    }
    Ok(())
}

#[test]
fn the_last_block_has_the_largest_number_or_stands_before_the_head() -> Result<()> {
    for (name, model) in networks()? {
        let of = |path: &str| path.split('.').nth(2).and_then(|part| part.parse::<usize>().ok());
        let late = paths(&model.late(), &model)?;
        assert!(!late.is_empty(), "{name}");
        let all = paths(&ParamSelector::all(), &model)?;
        let largest = all.iter().filter_map(|path| of(path)).max();
        if name == "efficientnet-lite0" {
            assert!(late.iter().all(|path| path.starts_with("EfficientNetLite0.top.")), "{late:?}");
            continue;
        }
        assert!(late.iter().all(|path| of(path) == largest), "{name}: {late:?}");
        let in_block = all.iter().filter(|path| of(path) == largest).count();
        assert_eq!(late.len(), in_block, "{name}");
    }
    Ok(())
}

#[test]
fn biases_follow_every_normalization() -> Result<()> {
    for (name, model) in networks()? {
        let biases = paths(&ParamSelector::bias(), &model)?;
        let adapted = paths(&model.adapted()?, &model)?;
        for weight in &adapted {
            let layer = weight.trim_end_matches(".weight");
            let of_norm = format!("{}.norm.beta", layer.trim_end_matches(".conv"));
            let has_bias = biases.contains(&format!("{layer}.bias")) || biases.contains(&of_norm);
            let is_without = match name.as_str() {
                "vit_wide" => ["query", "key", "value"].iter().any(|part| layer.ends_with(part)),
                _ => name.starts_with("beit") && layer.ends_with("key"),
            };
            assert_ne!(has_bias, is_without, "{name}: {layer}");
        }
        assert!(!biases.iter().any(|path| path.ends_with("table")), "{name}: {biases:?}");
    }
    Ok(())
}

#[test]
fn gradients_of_biases_and_of_adapters_are_exact() -> Result<()> {
    let device = Device::default().autodiff();
    for name in NAMES {
        let plain = model(name, &device)?;
        let biases = ParamSelector::bias().select(&plain)?.apply(plain.clone())?;
        verify(&biases, batch(name, &device)?, loss, 1e-3)?;
        let place = plain.adapted()?.select(&plain)?;
        let adapted = LowRank::new(2, 2.0)?.on(&place).apply(plain)?;
        let adapters = ParamSelector::lora().select(&adapted)?.apply(adapted)?;
        verify(&adapters, batch(name, &device)?, loss, 1e-3)?;
    }
    Ok(())
}
