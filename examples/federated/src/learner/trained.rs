//! What is trained of a model.

use anyhow::Result;
use burn::tensor::Device;
use burn_dp::mask::{MaskKind, Structure, SuperMaskConfig};
use burn_dp::selection::{LowRank, ParamSelector};
use finetune::run::task::Task;

use crate::settings::Train;

/// Rank and scale of low-rank adapters, as in the fine-tuning examples.
const RANK: usize = 8;
const ALPHA: f64 = 16.0;

/// Decides the first weights of a head and of adapters, so that all ends of a run agree on them.
const PUBLIC_SEED: u64 = 2026;

/// The pretrained model with what is attached to it, and everything but what is trained frozen.
pub(super) fn prepared<T: Task>(task: &T, train: Train, device: &Device) -> Result<T::Model> {
    device.seed(PUBLIC_SEED);
    let model = task.model(device)?;
    let head = ParamSelector::regex(r"(^|\.)head\.")?;
    let (model, trained) = match train {
        Train::Head => (model, head),
        Train::Bias => (model, ParamSelector::bias().union(head)),
        Train::Lora => {
            let place = task.adapted(&model)?.select(&model)?;
            let model = LowRank::new(RANK, ALPHA)?.on(&place).apply(model)?;
            (model, ParamSelector::lora().union(head))
        }
        Train::Scores => {
            let place = task.adapted(&model)?.select(&model)?;
            let outputs = Structure::Axis(task.output_axis(&model));
            let mask = SuperMaskConfig::new(MaskKind::Multiplier)?.with_structure(outputs);
            (mask.on(&place).apply(model)?, ParamSelector::masks().union(head))
        }
        Train::All => (model, ParamSelector::all()),
    };
    Ok(trained.select(&model)?.apply(model)?)
}
