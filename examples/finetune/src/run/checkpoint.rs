//! What a run goes on from after it was stopped.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;

use super::state::State;
use super::stepper::Stepper;
use super::task::Task;
use super::training::Training;

const STATE: &str = "state.json";
/// Model, optimizer and ledger of a private run.
const PRIVATE: &str = "checkpoint.bin";
/// The two files of a run without privacy.
const MODEL: &str = "checkpoint-model.bin";
const OPTIMIZER: &str = "checkpoint-optimizer.bin";

/// Saves a run in `folder`.
pub(super) fn save<T: Task>(folder: &Path, training: &mut Training<T>) -> Result<()> {
    let Training { model, stepper, state } = training;
    state.steps = stepper.taken();
    match stepper {
        Stepper::Private(optimizer) => optimizer.save(model, folder.join(PRIVATE))?,
        Stepper::Ordinary { optimizer, .. } => save_ordinary(folder, optimizer, model)?,
    }
    let text = serde_json::to_string_pretty(state)?;
    fs::write(folder.join(STATE), text)
        .with_context(|| format!("cannot write to {}", folder.display()))
}

/// Goes on from what [`save`] wrote. `fresh` is the same run before its first step.
pub(super) fn load<T: Task>(folder: &Path, fresh: Training<T>) -> Result<Training<T>> {
    let Training { model, mut stepper, state: begun } = fresh;
    let state = read_state(&folder.join(STATE))?;
    state.settings.check(&begun.settings)?;
    let model = match &mut stepper {
        Stepper::Private(optimizer) => optimizer.load(model, folder.join(PRIVATE))?,
        Stepper::Ordinary { optimizer, taken, .. } => {
            *taken = state.steps;
            load_ordinary(folder, optimizer, model)?
        }
    };
    Ok(Training { model, stepper, state })
}

fn read_state(file: &Path) -> Result<State> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("nothing to resume: cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))
}

fn save_ordinary<M: Module>(folder: &Path, optimizer: &ModuleOptimizer, model: &M) -> Result<()> {
    let failed = |error: String| anyhow!("cannot save a checkpoint: {error}");
    let weights = model.clone().into_record().into_bytes().map_err(|e| failed(e.to_string()))?;
    fs::write(folder.join(MODEL), &*weights)?;
    let moments = optimizer.into_bytes().map_err(|e| failed(e.to_string()))?;
    fs::write(folder.join(OPTIMIZER), &*moments)?;
    Ok(())
}

fn load_ordinary<M: Module>(folder: &Path, optimizer: &mut ModuleOptimizer, model: M) -> Result<M> {
    let read = |name| -> Result<Bytes> { Ok(Bytes::from_bytes_vec(fs::read(folder.join(name))?)) };
    let failed = |error: String| anyhow!("cannot load the checkpoint: {error}");
    let weights = ModuleRecord::from_bytes(read(MODEL)?).map_err(|e| failed(e.to_string()))?;
    let moments =
        OptimizerRecord::from_bytes(read(OPTIMIZER)?).map_err(|e| failed(e.to_string()))?;
    *optimizer = optimizer.clone().load_record(moments);
    model.try_load_record(weights).map_err(|e| failed(e.to_string()))
}
