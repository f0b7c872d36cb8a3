//! The key by which the engine looks up a plan, without tracing.

use std::fmt::Write;
use std::hash::{Hash, Hasher};

use burn::module::Module;
use burn_backend::TensorMetadata;
use burn_dispatch::DispatchTensor;
use sha2::{Digest as _, Sha256};

use crate::batch::Structure;
use crate::model::ModuleTensors;
use crate::per_example::fingerprint::Digest;

/// A hash of everything visible that a trace depends on: shapes and types of the batch's tensors,
/// its structure, the model's tensors, which of them are trained, its flags, its device, and what
/// else its `Debug` shows. burn prints neither values nor names of a tensor, and only the id of a
/// parameter, so training does not change the key. [`Retracing`](super::Retracing) covers what is
/// not visible.
///
/// `None` if the batch does not report its structure.
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

/// Hashes everything that is written to it, bytes or text.
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
