//! The weights that a run exports.

use std::fmt::Display;
use std::path::Path;

use anyhow::{Result, anyhow};
use burn::module::Module;
use burn::store::{ModuleSnapshot, SafetensorsStore};

/// The plain model, as burnpack and as safetensors.
pub fn save<M: Module>(folder: &Path, model: M) -> Result<()> {
    let failed = |error: &dyn Display| anyhow!("cannot save the weights: {error}");
    let model = model.valid().materialize();
    let mut store = SafetensorsStore::from_file(folder.join("model.safetensors")).overwrite(true);
    model.save_into(&mut store).map_err(|error| failed(&error))?;
    model.into_record().save(folder.join("model.bpk")).map_err(|error| failed(&error))
}
