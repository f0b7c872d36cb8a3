//! What a run goes on from after it was stopped.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;

use super::average::Average;
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
/// The mean of the last steps' weights.
const AVERAGE: &str = "checkpoint-average.bin";

/// Saves a run in `folder`.
pub(super) fn save<T: Task>(folder: &Path, training: &mut Training<T>) -> Result<()> {
    let Training { model, stepper, state, average } = training;
    state.steps = stepper.taken();
    state.averaged = average.as_ref().map_or(0, Average::count);
    if let Some(average) = average {
        fs::write(folder.join(AVERAGE), weights(average.model())?)?;
    }
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
    let Training { model, mut stepper, state: begun, .. } = fresh;
    let state = read_state(&folder.join(STATE))?;
    state.settings.check(&begun.settings)?;
    let model = match &mut stepper {
        Stepper::Private(optimizer) => optimizer.load(model, folder.join(PRIVATE))?,
        Stepper::Ordinary { optimizer, taken, .. } => {
            *taken = state.steps;
            load_ordinary(folder, optimizer, model)?
        }
    };
    let average = match state.averaged {
        0 => None,
        count => Some(Average::from_parts(with_weights(folder, AVERAGE, model.clone())?, count)),
    };
    Ok(Training { model, stepper, state, average })
}

fn read_state(file: &Path) -> Result<State> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("nothing to resume: cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))
}

fn save_ordinary<M: Module>(folder: &Path, optimizer: &ModuleOptimizer, model: &M) -> Result<()> {
    fs::write(folder.join(MODEL), weights(model)?)?;
    let moments = optimizer.into_bytes().map_err(|e| anyhow!("cannot save a checkpoint: {e}"))?;
    fs::write(folder.join(OPTIMIZER), &*moments)?;
    Ok(())
}

fn load_ordinary<M: Module>(folder: &Path, optimizer: &mut ModuleOptimizer, model: M) -> Result<M> {
    let moments = OptimizerRecord::from_bytes(read(folder, OPTIMIZER)?).map_err(unreadable)?;
    *optimizer = optimizer.clone().load_record(moments);
    with_weights(folder, MODEL, model)
}

fn weights<M: Module>(model: &M) -> Result<Vec<u8>> {
    let bytes = model.clone().into_record().into_bytes();
    Ok(bytes.map_err(|error| anyhow!("cannot save a checkpoint: {error}"))?.to_vec())
}

fn with_weights<M: Module>(folder: &Path, file: &str, model: M) -> Result<M> {
    let weights = ModuleRecord::from_bytes(read(folder, file)?).map_err(unreadable)?;
    model.try_load_record(weights).map_err(unreadable)
}

fn read(folder: &Path, file: &str) -> Result<Bytes> {
    let path = folder.join(file);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Bytes::from_bytes_vec(bytes))
}

fn unreadable(error: impl Display) -> anyhow::Error {
    anyhow!("cannot load the checkpoint: {error}")
}
