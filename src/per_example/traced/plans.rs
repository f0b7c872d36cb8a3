//! The stored plans. The least recently used are dropped when they hold too much memory.

use std::collections::HashMap;

use crate::per_example::fingerprint::{Digest, Fingerprint};
use crate::per_example::plan::Plan;

/// The memory that plans may hold together, unless the user sets it.
const LIMIT: usize = 256 << 20;

/// The most keys that are stored, a hundred bytes each. If a model's `Debug` changes from step to
/// step, it has a new key each time.
const KEYS: usize = 4096;

/// Plans by what they compute, and keys that lead to them.
pub(super) struct Plans {
    kept: HashMap<Digest, Kept>,
    known: HashMap<Digest, Known>,
    pub(super) limit: usize,
    /// The memory of everything that is stored.
    bytes: usize,
    /// The number of uses so far.
    clock: u64,
}

/// A plan, and the canonical form of its trace.
pub(super) struct Kept {
    pub(super) plan: Plan,
    pub(super) fingerprint: Fingerprint,
    bytes: usize,
    used: u64,
}

/// The plan that a key leads to, and its number of uses.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// The digest of the plan's fingerprint.
    pub(super) plan: Digest,
    /// Batches of this key so far.
    pub(super) calls: u64,
}

impl Default for Plans {
    fn default() -> Self {
        Self { kept: HashMap::new(), known: HashMap::new(), limit: LIMIT, bytes: 0, clock: 0 }
    }
}

impl Plans {
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self { limit: self.limit, ..Self::default() };
    }

    pub(super) fn known(&self, key: &Digest) -> Option<Known> {
        self.known.get(key).copied()
    }

    /// Notes that this plan computes a batch of this key.
    pub(super) fn note(&mut self, key: Digest, known: Known) {
        if self.known.len() >= KEYS && !self.known.contains_key(&key) {
            self.known.clear();
        }
        self.known.insert(key, known);
    }

    pub(super) fn contains(&self, plan: &Digest) -> bool {
        self.kept.contains_key(plan)
    }

    /// Returns a plan, and marks it as the most recently used.
    pub(super) fn get(&mut self, plan: &Digest) -> Option<&Kept> {
        self.clock += 1;
        let kept = self.kept.get_mut(plan)?;
        kept.used = self.clock;
        Some(kept)
    }

    /// Stores a plan, and drops others until all fit or it is the only one.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, plan: Plan) {
        let bytes = plan.bytes() + fingerprint.bytes();
        let digest = fingerprint.digest;
        self.bytes += bytes;
        self.clock += 1;
        self.kept.insert(digest, Kept { plan, fingerprint, bytes, used: self.clock });
        self.make_room(Some(digest));
    }

    /// Drops the least recently used plans until the rest fits, but never `in_use`.
    pub(super) fn make_room(&mut self, in_use: Option<Digest>) {
        while self.bytes > self.limit {
            let others = self.kept.iter().filter(|(digest, _)| Some(**digest) != in_use);
            let oldest = others.min_by_key(|(_, kept)| kept.used).map(|(digest, _)| *digest);
            let Some(oldest) = oldest else { return };
            if let Some(gone) = self.kept.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(gone.bytes);
            }
            self.known.retain(|_, known| known.plan != oldest);
        }
    }
}
