//! Fine-tuning, from the settings to the report.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn_dp::privacy::Steps;
use burn_dp::selection::{LowRank, ParamSelector, Selection};

use super::report::Report;
use super::settings::{FineTuning, Trained};
use super::stepper::Stepper;
use super::texts::Texts;
use crate::models::gpt2::Gpt2;

/// Fine-tunes `model`, which is on an autodiff device, on `texts`. `progress` hears of each step that was taken.
///
/// The model comes back with its adapters merged, if it had any, and can be released: what the report says holds for it
/// and for whatever is made of it.
///
/// # Errors
/// When a setting makes no sense, the model cannot read the texts, or no noise is enough for the target.
pub fn fine_tune(
    model: Gpt2,
    texts: &Texts,
    settings: &FineTuning,
    mut progress: impl FnMut(Steps),
) -> Result<(Gpt2, Report)> {
    let device = model.wte.weight.val().device();
    ensure!(
        device.is_autodiff(),
        "the model is on a device without gradients: load it on `device.autodiff()`"
    );
    let rate = settings.check(&model, texts)?;
    if let Some(seed) = settings.seed {
        device.seed(seed); // for the adapters' start
    }
    let (mut model, selection) = prepared(model, settings.trained)?;
    let mut stepper = Stepper::new(settings, rate)?;
    for step in 1..=settings.steps.value() {
        stepper.step(&mut model, texts, settings, &device)?;
        progress(step.into());
    }
    let report = Report {
        steps: settings.steps,
        trained: selection.trained(),
        parameters: selection.total(),
        epsilon: stepper.epsilon()?,
        statement: stepper.statement(),
    };
    Ok((model.materialize(), report))
}

/// The model with what is attached to it, all frozen that is not trained.
fn prepared(model: Gpt2, trained: Trained) -> Result<(Gpt2, Selection)> {
    let (model, rule) = match trained {
        Trained::Full => (model, ParamSelector::all()),
        Trained::BitFit => (model, ParamSelector::bias()),
        Trained::Lora { rank, alpha } => {
            let dense = ParamSelector::regex(r"^h\.\d+\.(attn|mlp)\.c_\w+\.weight$")?;
            let place = dense.select(&model)?;
            (LowRank::new(rank, alpha)?.on(&place).apply(model)?, ParamSelector::lora())
        }
    };
    let selection = rule.select(&model)?;
    Ok((selection.apply(model)?, selection))
}
