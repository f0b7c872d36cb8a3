//! What a run trains.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// A model of more trained numbers than this would not fit in a message.
const MOST: usize = 1 << 31;

/// The parameters that a run trains, by path and shape, and what they are trained on top of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Manifest {
    tensors: Vec<(String, Vec<usize>)>,
    base: [u8; 32],
}

impl Manifest {
    /// Parameters as (dotted path, shape), in the model's order; `base` is a digest of everything that is not trained
    /// ([`Manifest::digest`]), so that no client trains on top of another model.
    ///
    /// # Errors
    /// [`Error::Setting`] where there is none, a path occurs twice, or there are more than 2^31 numbers.
    pub fn new(tensors: Vec<(String, Vec<usize>)>, base: [u8; 32]) -> Result<Self> {
        let requirement = "at least one parameter, each path once, 2^31 numbers at most";
        let mut paths: Vec<&str> = tensors.iter().map(|(path, _)| path.as_str()).collect();
        paths.sort_unstable();
        let twice = paths.windows(2).any(|pair| pair[0] == pair[1]);
        let total = tensors.iter().try_fold(0_usize, |total, (_, shape)| {
            let size = shape.iter().try_fold(1_usize, |size, n| size.checked_mul(*n))?;
            total.checked_add(size)
        });
        match total {
            Some(total) if (1..=MOST).contains(&total) && !twice => Ok(Self { tensors, base }),
            _ => Err(Error::setting("manifest", tensors.len(), requirement)),
        }
    }

    /// SHA-256 over parts with their lengths: a digest for `base`.
    pub fn digest<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// Path and shape of each parameter.
    pub fn tensors(&self) -> &[(String, Vec<usize>)] {
        &self.tensors
    }

    /// The digest of what is not trained.
    pub const fn base(&self) -> &[u8; 32] {
        &self.base
    }

    /// How many numbers are trained.
    pub fn len(&self) -> usize {
        self.lengths().sum()
    }

    /// Never: a manifest has at least one number.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The paths, in order.
    pub(crate) fn paths(&self) -> Vec<&str> {
        self.tensors.iter().map(|(path, _)| path.as_str()).collect()
    }

    /// How many numbers each parameter has.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.tensors.iter().map(|(_, shape)| shape.iter().product())
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    tensors: Vec<(String, Vec<usize>)>,
    base: [u8; 32],
}

impl From<Manifest> for Stored {
    fn from(Manifest { tensors, base }: Manifest) -> Self {
        Self { tensors, base }
    }
}

impl TryFrom<Stored> for Manifest {
    type Error = Error;

    fn try_from(Stored { tensors, base }: Stored) -> Result<Self> {
        Self::new(tensors, base)
    }
}
