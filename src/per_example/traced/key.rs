//! What the engine looks a plan up by, without tracing.

use std::fmt::Write;
use std::hash::{Hash, Hasher};

use burn::module::Module;
use burn_backend::TensorMetadata;
use burn_dispatch::DispatchTensor;
use sha2::{Digest as _, Sha256};

use crate::batch::Structure;
use crate::model::ModuleTensors;
use crate::per_example::fingerprint::Digest;

/// Everything that can be seen of what a trace depends on: shapes and types of the batch's tensors, its
/// structure, the model's tensors, which of them are trained, its flags, its device, and what else `Debug`
/// shows of it. burn prints of a tensor neither values nor names, and of a parameter its id, so that
/// training changes nothing here. What cannot be seen is left to [`Retracing`](super::Retracing).
///
/// `None` where the batch does not tell its structure.
pub(super) fn key<M: Module>(
    model: &M,
    tensors: &ModuleTensors,
    structure: &Structure,
    leaves: &[DispatchTensor],
) -> Option<Digest> {
    if structure.unknown_type().is_some() || structure.tensors() != leaves.len() {
        return None;
    }
    let mut hash = Hashing(Sha256::new());
    structure.hash(&mut hash);
    for leaf in leaves {
        leaf.shape().as_slice().get(1..).hash(&mut hash);
        leaf.dtype().hash(&mut hash);
    }
    tensors.tensors.len().hash(&mut hash);
    for tensor in &tensors.tensors {
        (tensor.id, &tensor.shape, tensor.dtype, tensor.trainable).hash(&mut hash);
    }
    tensors.flags.hash(&mut hash);
    write!(hash, "{:?}{model:?}", tensors.device).ok()?;
    Some(hash.0.finalize().into())
}

/// Hashes what is written, be it bytes or text.
struct Hashing(Sha256);

impl Hasher for Hashing {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest: Digest = self.0.clone().finalize().into();
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

impl Write for Hashing {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.update(text);
        Ok(())
    }
}
