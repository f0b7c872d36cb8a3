//! Which records are held out for testing: a public rule, record by record.

use std::num::NonZeroU64;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::hash::hash;

/// Holds out one record in `n`: those whose hash is a multiple of `n`.
///
/// The law: what is hashed is the record's own text or image or, if records have users, the user's id. So
/// - adding or removing a record moves no other one, which is what keeps neighboring data sets neighbors after the
///   split (shuffling and cutting would move others across the cut);
/// - the order of the records doesn't matter;
/// - equal texts are on one side, whatever their labels;
/// - all records of a user are on one side.
///
/// The share that is held out is `1 / n` only on average. Who knows a record knows its side: the split is public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOut {
    one_in: NonZeroU64,
}

impl Default for HeldOut {
    /// One in ten.
    fn default() -> Self {
        Self { one_in: NonZeroU64::MIN.saturating_add(9) }
    }
}

impl HeldOut {
    /// One in `n`.
    ///
    /// # Errors
    /// When `n` is below 2, which would leave nothing to train on.
    pub fn one_in(n: u64) -> Result<Self> {
        let one_in = NonZeroU64::new(n).filter(|n| n.get() > 1);
        let one_in = one_in.with_context(|| {
            format!("one record in {n} cannot be held out: choose 2 or more, such as 10")
        })?;
        Ok(Self { one_in })
    }

    /// Whether records of this user are held out.
    pub fn takes_user(&self, id: &str) -> bool {
        self.takes(hash([id.as_bytes()]))
    }

    /// Whether a record with this hash of its contents is held out.
    pub(super) fn takes(&self, hash: u64) -> bool {
        hash % self.one_in == 0
    }
}
