//! The serialized form of a plan.

use burn_dp_accounting::{Adjacency, Delta, Epsilon, ExpectedBatchSize, Ledger, Steps};
use serde::{Deserialize, Serialize, Serializer};

use super::privacy_plan::PrivacyPlan;
use super::run::Run;
use super::selection::PrivateSelection;
use crate::clipping::Clipping;
use crate::error::{Error, Result};
use crate::noise::Noise;
use crate::sampling::Sampling;

/// The version that is written and read.
pub(super) const VERSION: u32 = 2;

/// The fields that are written.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) version: u32,
    pub(super) sampling: Sampling,
    pub(super) clipping: Clipping,
    pub(super) noise: Noise,
    pub(super) expected_batch_size: ExpectedBatchSize,
    pub(super) steps: Steps,
    pub(super) adjacency: Adjacency,
    pub(super) earlier: Ledger,
    pub(super) selection: Option<PrivateSelection>,
    pub(super) target: Option<(Epsilon, Delta)>,
}

impl Stored {
    pub(super) fn of(plan: &PrivacyPlan) -> Self {
        let Run { earlier, selection, sampling, noise, steps } = plan.run.clone();
        Self {
            version: VERSION,
            sampling,
            clipping: plan.clipping.clone(),
            noise,
            expected_batch_size: plan.expected_batch_size,
            steps,
            adjacency: plan.adjacency,
            earlier,
            selection,
            target: plan.target,
        }
    }

    /// 64-bit FNV-1a over the MessagePack form: the same on every machine.
    pub(super) fn fingerprint(&self) -> Result<u64> {
        let bytes = rmp_serde::to_vec(self)
            .map_err(|error| Error::setting("privacy plan", error, "serializable"))?;
        Ok(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

impl Serialize for PrivacyPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
        Stored::of(self).serialize(serializer)
    }
}
