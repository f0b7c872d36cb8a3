//! One key per run, and an independent keystream for each use of it.
//!
//! ```text
//! run key ─── nonce = domain, block 0 ───> domain key
//!         └── nonce = 0, block = number ──> key of a child seed
//! domain key ─── nonce = 0, block = step ──> step key
//! step key ─── nonce = index, counter from region · 2^24 ──> keystream
//! ```
//!
//! Each arrow is ChaCha20 with a 64-bit nonce and a 64-bit block counter (Bernstein, "ChaCha, a variant
//! of Salsa20", 2008); a derived key is the first half of one block. Within one key no (nonce, block) is
//! used twice, and no key is used both to derive and to output. Two of (domain, step, index, region) thus
//! share keystream only if two 256-bit keys collide.
//!
//! Everything random in a run is a pure function of its [`Seed`] and the step's number. The number
//! is thus the whole state: there is no generator position to save or to forget. Nothing here knows
//! tensors, devices or models.

mod bulk;

use core::fmt;

use bulk::BulkKeystream;
use chacha20::ChaCha20Rng;
use rand::rngs::SysRng;
use rand::{Rng, SeedableRng, TryRng};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// 32-bit words in one ChaCha block.
const WORDS_PER_BLOCK: u128 = 16;

/// ChaCha blocks in one region of a stream: 1 GiB of keystream.
const BLOCKS_PER_REGION: u64 = 1 << 24;

/// Regions in one stream. They share its 64-bit block counter.
pub(crate) const REGIONS_PER_STREAM: u64 = 1 << 40;

/// The nonce that derives a child's key. Every [`Domain`] has a different one.
const CHILD_NONCE: u64 = 0;

/// The randomness of one run: a 256-bit key. Every draw is derived from it.
///
/// | | [`Seed::from_os`] (default) | [`Seed::reproducible`] |
/// |---|---|---|
/// | key | 256 bits of the operating system's generator | expanded from a 64-bit number |
/// | private | yes | **not against anyone who knows or guesses the number** |
/// | after a reload | fresh key: noise never repeats | same key: a resumed run equals an uninterrupted one |
///
/// Do not use a run's key for two runs: equal noise on different data cancels in the difference of
/// the two releases, and nothing is private any more. A `Seed` is therefore not `Clone`, and its
/// key can be neither printed nor saved. For a rank, a client or a second sampler take a
/// [`child`](Self::child).
#[derive(Debug)]
pub struct Seed {
    key: Key,
    source: SeedSource,
}

impl Seed {
    /// The seed that `source` asks for. Call it again after a reload.
    ///
    /// # Errors
    /// [`Error::RandomnessUnavailable`] if the operating system gives no randomness.
    pub fn new(source: SeedSource) -> Result<Self> {
        match source {
            SeedSource::OperatingSystem => Self::from_os(),
            SeedSource::Reproducible(number) => Ok(Self::reproducible(number)),
        }
    }

    /// A fresh 256-bit key from the operating system's cryptographic generator.
    ///
    /// # Errors
    /// [`Error::RandomnessUnavailable`] if the operating system gives no randomness.
    pub fn from_os() -> Result<Self> {
        let mut key = [0; 32];
        SysRng
            .try_fill_bytes(&mut key)
            .map_err(|error| Error::RandomnessUnavailable { reason: error.to_string() })?;
        Ok(Self { key: Key(key), source: SeedSource::OperatingSystem })
    }

    /// The seed of a reproducible experiment: equal numbers give equal noise and equal batches.
    ///
    /// Such a run is **not private against anyone who knows or guesses `number`**: they can
    /// subtract the noise. This is logged as a warning, and the display of [`source`](Self::source)
    /// says it. Never release a model that was trained this way on private data.
    ///
    /// Batches repeat on every platform. Noise repeats bit by bit where the platform's `exp` and
    /// `ln` are the same, because the ziggurat method uses them.
    pub fn reproducible(number: u64) -> Self {
        log::warn!("randomness: {}", SeedSource::Reproducible(number));
        Self::expanded(number)
    }

    /// The source of the key, as configurations, checkpoints and privacy statements record it.
    pub const fn source(&self) -> SeedSource {
        self.source
    }

    /// Whether the randomness can be repeated. If so, the run is not a private release.
    pub const fn is_reproducible(&self) -> bool {
        self.source.is_reproducible()
    }

    /// The independent child seed with number `number`: for a rank, a client, or a second sampler.
    ///
    /// It is a pure function of this seed and `number`. The child of a reproducible seed is itself
    /// a reproducible seed, with its own 64-bit number.
    #[must_use]
    pub fn child(&self, number: u64) -> Self {
        match self.source {
            SeedSource::OperatingSystem => {
                Self { key: self.key.derive(CHILD_NONCE, number), source: self.source }
            }
            SeedSource::Reproducible(_) => {
                Self::expanded(self.key.keystream(CHILD_NONCE, number).next_u64())
            }
        }
    }

    /// The key for all draws in `domain`.
    pub(crate) fn domain(&self, domain: Domain) -> DomainKey {
        DomainKey(self.key.derive(domain.nonce(), 0))
    }

    /// The keystream of `index` (for example a tensor's number) at `step` in `domain`.
    pub(crate) fn stream(&self, domain: Domain, step: u64, index: u64) -> Stream {
        self.domain(domain).stream(step, index)
    }

    fn expanded(number: u64) -> Self {
        let mut key = [0; 32];
        ChaCha20Rng::seed_from_u64(number).fill_bytes(&mut key);
        Self { key: Key(key), source: SeedSource::Reproducible(number) }
    }
}

/// The source of a run's randomness: the part of a [`Seed`] that is saved.
///
/// `Debug` and `Display` hide the number of a reproducible seed, because it undoes the noise.
/// Serialization keeps it, so a checkpoint that holds one is as secret as the data.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SeedSource {
    /// A fresh key from the operating system for each process and each reload.
    #[default]
    OperatingSystem,
    /// A key expanded from this number: repeatable, and not private against those who know it.
    Reproducible(u64),
}

impl SeedSource {
    /// Whether the randomness can be repeated. If so, the run is not a private release.
    pub const fn is_reproducible(self) -> bool {
        matches!(self, Self::Reproducible(_))
    }
}

impl fmt::Debug for SeedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OperatingSystem => "OperatingSystem",
            Self::Reproducible(_) => "Reproducible(..)",
        })
    }
}

impl fmt::Display for SeedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OperatingSystem => "256-bit key from the operating system",
            Self::Reproducible(_) => {
                "reproducible seed: NOT private against anyone who knows or guesses the seed"
            }
        })
    }
}

/// The purpose of a draw. Draws of different domains are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Domain {
    /// Noise on the sum of clipped gradients.
    GradientNoise,
    /// Noise on the count of clipped examples, for adaptive clipping.
    CountNoise,
    /// The choice of the records that enter a step.
    Sampling,
    /// Noise on the scores by which parameters are selected.
    SelectionNoise,
    /// Noise on the sum of clients' masks.
    MaskNoise,
}

impl Domain {
    /// Distinct for each domain and never [`CHILD_NONCE`]. Never change it: a resumed reproducible
    /// run depends on it.
    const fn nonce(self) -> u64 {
        match self {
            Self::GradientNoise => 1,
            Self::CountNoise => 2,
            Self::Sampling => 3,
            Self::SelectionNoise => 4,
            Self::MaskNoise => 5,
        }
    }
}

/// The key of one domain of a seed.
#[derive(Debug)]
pub(crate) struct DomainKey(Key);

impl DomainKey {
    /// The keystream of `index` at `step`.
    pub(crate) fn stream(&self, step: u64, index: u64) -> Stream {
        Stream { key: self.0.derive(0, step), index }
    }
}

/// One keystream, in [`REGIONS_PER_STREAM`] regions that can be read in any order and in parallel.
#[derive(Debug)]
pub(crate) struct Stream {
    key: Key,
    index: u64,
}

impl Stream {
    /// Region number `region`, from its start. Numbers from [`REGIONS_PER_STREAM`] on would wrap
    /// around.
    pub(crate) fn region(&self, region: usize) -> ChaCha20Rng {
        let region = region as u64;
        debug_assert!(region < REGIONS_PER_STREAM, "region {region} wraps around");
        self.key.keystream(self.index, region.wrapping_mul(BLOCKS_PER_REGION))
    }

    /// As [`region`](Self::region), for reading much of it: many blocks are made at a time.
    pub(crate) fn bulk(&self, region: usize) -> BulkKeystream {
        let region = region as u64;
        debug_assert!(region < REGIONS_PER_STREAM, "region {region} wraps around");
        BulkKeystream::new(&self.key.0, self.index, region.wrapping_mul(BLOCKS_PER_REGION))
    }
}

struct Key([u8; 32]);

impl Key {
    fn derive(&self, nonce: u64, block: u64) -> Self {
        let mut key = [0; 32];
        self.keystream(nonce, block).fill_bytes(&mut key);
        Self(key)
    }

    fn keystream(&self, nonce: u64, block: u64) -> ChaCha20Rng {
        let mut rng = ChaCha20Rng::from_seed(self.0);
        rng.set_stream(nonce);
        rng.set_word_pos(u128::from(block) * WORDS_PER_BLOCK);
        rng
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests;
