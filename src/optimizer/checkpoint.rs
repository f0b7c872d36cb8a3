//! Saving and resuming a run.
//!
//! A checkpoint holds the whole run: plan, ledger, step (which is also the sampler's position),
//! adaptive state, the optimizer's records and the model's. It holds a reproducible seed's number,
//! but never an operating-system key. A run resumed from such a checkpoint draws fresh noise,
//! because noise used twice cancels.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use serde::{Deserialize, Serialize};

use super::{DpOptimizer, Progress, behavior};
use crate::error::{CheckpointError, Error, Result};
use crate::model::ModuleTensors;
use crate::privacy::{self, ClippingState, Ledger, PrivacyPlan};
use crate::sealed_file::{self, Broken};
use crate::seed::{Seed, SeedSource};

const MAGIC: &[u8; 8] = b"burn-dp\0";
const VERSION: u32 = 3;

#[derive(Serialize, Deserialize)]
struct Body {
    plan: PrivacyPlan,
    ledger: Ledger,
    step: u64,
    clipping: ClippingState,
    selected: bool,
    trained: Option<Vec<String>>,
    seed: SeedSource,
    /// Path and shape of every tensor of the model.
    model: Vec<(String, Vec<usize>)>,
    /// What the optimizer does, if that can be determined.
    behavior: Option<Vec<f32>>,
    #[serde(with = "serde_bytes")]
    optimizer: Vec<u8>,
    #[serde(with = "serde_bytes")]
    weights: Vec<u8>,
}

impl<E> DpOptimizer<E> {
    /// The run and `model` as bytes. With a reproducible seed they are as secret as the data.
    ///
    /// burn's record of an optimizer holds its state, but neither its type nor its settings. So
    /// that [`resume`](Self::resume) can recognize another optimizer, a copy is tried on three
    /// made-up gradients, and the result is saved too. This does not work for an optimizer that
    /// draws random numbers.
    ///
    /// # Errors
    /// When burn cannot serialize the model's or the optimizer's records.
    pub fn to_checkpoint<M: Module>(&self, model: &M) -> Result<Vec<u8>> {
        let record = |error: &dyn std::fmt::Display| {
            Error::Checkpoint(CheckpointError::NotMade {
                reason: format!("burn could not write a record: {error}"),
            })
        };
        let body = Body {
            plan: self.plan.clone(),
            ledger: self.progress.ledger.clone(),
            step: self.progress.step,
            clipping: self.progress.clipping,
            selected: self.progress.selected,
            trained: self.progress.trained.clone(),
            seed: self.seed.source(),
            model: signature(model)?,
            behavior: behavior::behavior(&self.optimizer, model),
            optimizer: self.optimizer.into_bytes().map_err(|e| record(&e))?.to_vec(),
            weights: model.clone().into_record().into_bytes().map_err(|e| record(&e))?.to_vec(),
        };
        let body = rmp_serde::to_vec_named(&body).map_err(|error| {
            Error::Checkpoint(CheckpointError::NotMade { reason: error.to_string() })
        })?;
        Ok(sealed_file::seal(MAGIC, VERSION, &body))
    }

    /// Continues the run of a checkpoint: this optimizer takes over its progress, and the model
    /// with its weights is returned. `model` gives the architecture; its weights are not used.
    ///
    /// If a step was taken after the checkpoint and its model was released, that step stays spent,
    /// although the checkpoint does not include it.
    ///
    /// # Errors
    /// When the bytes are truncated or corrupt, of another version, or of another plan, model or
    /// optimizer (its type, or a setting that changes what it does). Then nothing has changed.
    pub fn resume<M: Module>(&mut self, model: M, bytes: &[u8]) -> Result<M> {
        let body = parse(bytes)?;
        if body.plan != self.plan {
            return Err(Error::Checkpoint(CheckpointError::OfAnotherPlan));
        }
        if body.model != signature(&model)? {
            return Err(Error::Checkpoint(CheckpointError::OfAnotherModel));
        }
        let steps = body.step.into();
        let ledger = self.plan.events(privacy::Progress { selected: body.selected, steps })?;
        if body.ledger != ledger || body.step > self.plan.steps().value() {
            return Err(Error::Checkpoint(CheckpointError::Unusable {
                reason: "its ledger and its step disagree".into(),
            }));
        }
        let seed = Seed::new(body.seed)?;
        let Body { step, clipping, selected, trained, behavior, optimizer, weights, .. } = body;
        // burn panics on some records that it would never write.
        let restored = catch_unwind(AssertUnwindSafe(|| {
            let model = loaded(model, weights)?;
            behavior::check(&self.optimizer, &model, behavior.as_deref())?;
            Ok((restored(&self.optimizer, optimizer)?, model))
        }));
        let (optimizer, model) =
            restored.unwrap_or_else(|_| Err(unreadable(&"it is not one of burn's")))?;
        self.optimizer = optimizer;
        self.seed = seed;
        self.progress = Progress { ledger, step, clipping, selected, trained };
        Ok(model)
    }

    /// Writes [`to_checkpoint`](Self::to_checkpoint) to a file. The old file is replaced only when
    /// the new one is complete.
    ///
    /// # Errors
    /// As `to_checkpoint`, and when the file cannot be written.
    pub fn save<M: Module>(&self, model: &M, path: impl AsRef<Path>) -> Result<()> {
        let bytes = self.to_checkpoint(model)?;
        let path = path.as_ref();
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        std::fs::write(&partial, bytes).map_err(|error| of_file(path, error))?;
        std::fs::rename(&partial, path).map_err(|error| of_file(path, error))
    }

    /// [`resume`](Self::resume) from a file.
    ///
    /// # Errors
    /// As `resume`, and when the file cannot be read.
    pub fn load<M: Module>(&mut self, model: M, path: impl AsRef<Path>) -> Result<M> {
        self.resume(model, &read_file(path.as_ref())?)
    }
}

/// `model` with the weights in a checkpoint's bytes, whatever the plan and the optimizer were.
/// Reading weights that a private run has released costs nothing more.
///
/// # Errors
/// When the bytes are truncated or corrupt, of another version, or of another model.
pub fn weights_of_checkpoint<M: Module>(model: M, bytes: &[u8]) -> Result<M> {
    let body = parse(bytes)?;
    if body.model != signature(&model)? {
        return Err(Error::Checkpoint(CheckpointError::OfAnotherModel));
    }
    let loaded = catch_unwind(AssertUnwindSafe(|| loaded(model, body.weights)));
    loaded.unwrap_or_else(|_| Err(unreadable(&"it is not one of burn's")))
}

/// [`weights_of_checkpoint`] of a file.
///
/// # Errors
/// As `weights_of_checkpoint`, and when the file cannot be read.
pub fn load_weights<M: Module>(model: M, path: impl AsRef<Path>) -> Result<M> {
    weights_of_checkpoint(model, &read_file(path.as_ref())?)
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| of_file(path, error))
}

fn of_file(path: &Path, source: std::io::Error) -> Error {
    Error::Checkpoint(CheckpointError::File { path: path.display().to_string(), source })
}

fn parse(bytes: &[u8]) -> Result<Body> {
    let body =
        sealed_file::open(MAGIC, VERSION, "checkpoint", bytes).map_err(|broken| match broken {
            Broken::Version(found) => {
                Error::Checkpoint(CheckpointError::Version { found, supported: VERSION })
            }
            Broken::Reason(reason) => Error::Checkpoint(CheckpointError::Unusable { reason }),
        })?;
    rmp_serde::from_slice(body)
        .map_err(|error| Error::Checkpoint(CheckpointError::Unusable { reason: error.to_string() }))
}

/// `optimizer` with the state of a record.
fn restored(optimizer: &ModuleOptimizer, record: Vec<u8>) -> Result<ModuleOptimizer> {
    let record =
        OptimizerRecord::from_bytes(Bytes::from_bytes_vec(record)).map_err(|e| unreadable(&e))?;
    let tensors = record.len();
    let optimizer = optimizer.clone().load_record(record);
    if optimizer.to_record().len() != tensors {
        // burn drops records that its optimizer does not know, and would start over without any
        // message.
        let reason = "its optimizer state is that of another optimizer".into();
        return Err(Error::Checkpoint(CheckpointError::Unusable { reason }));
    }
    Ok(optimizer)
}

/// `model` with the weights of a record.
fn loaded<M: Module>(model: M, record: Vec<u8>) -> Result<M> {
    let record =
        ModuleRecord::from_bytes(Bytes::from_bytes_vec(record)).map_err(|e| unreadable(&e))?;
    model.try_load_record(record).map_err(|e| unreadable(&e))
}

fn unreadable(error: &dyn std::fmt::Display) -> Error {
    Error::Checkpoint(CheckpointError::Unusable {
        reason: format!("burn could not read a record: {error}"),
    })
}

/// The signature that distinguishes one architecture from another.
fn signature<M: Module>(model: &M) -> Result<Vec<(String, Vec<usize>)>> {
    let tensors = ModuleTensors::of(model)?;
    let signature = |t: &crate::model::ModuleTensor| (t.path.clone(), t.shape.to_vec());
    Ok(tensors.tensors.iter().map(signature).collect())
}
