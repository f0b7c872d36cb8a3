//! Privacy quantities, each a type that is checked once when it is made.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, SettingError};

/// Declares a checked `f64`; deserialization runs the same check as `new`.
macro_rules! quantity {
    (
        $(#[$doc:meta])*
        $type:ident, $name:literal, $requirement:literal, |$value:ident| $valid:expr
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $type(f64);

        impl $type {
            #[doc = concat!("Checks that the value is ", $requirement, ".")]
            ///
            /// # Errors
            /// [`Error::Setting`] where it is not (NaN never is).
            pub fn new(value: f64) -> Result<Self> {
                Ok(Self::try_from(value)?)
            }

            /// The value as a plain number.
            pub const fn value(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $type {
            type Error = SettingError;

            fn try_from(value: f64) -> Result<Self, SettingError> {
                let $value = value;
                let valid: bool = $valid;
                if !valid {
                    return Err(SettingError::invalid($name, value, $requirement));
                }
                // Adding +0 turns -0 into 0, so that equal values also have equal bits.
                Ok(Self(value + 0.0))
            }
        }

        impl From<$type> for f64 {
            fn from(quantity: $type) -> Self {
                quantity.0
            }
        }
    };
}

quantity! {
    /// The privacy-loss bound ε of (ε, δ)-differential privacy, in nats.
    ///
    /// An accountant may answer +∞ (no guarantee); a target must be finite, which is checked where
    /// it is used. `Display` rounds **up** to the printed digits (4 decimals unless a precision is
    /// given), so that no printed ε claims more than was proven.
    Epsilon, "epsilon", "at least 0", |x| x >= 0.0
}

quantity! {
    /// The failure probability δ of (ε, δ)-differential privacy, 0 < δ < 1.
    ///
    /// Choose it well below one over the number of records.
    Delta, "delta", "greater than 0 and less than 1", |x| x > 0.0 && x < 1.0
}

quantity! {
    /// Standard deviation of the noise divided by the clipping norm: z = σ / C, without unit.
    ///
    /// 0 means no noise and so no privacy (ε = ∞).
    NoiseMultiplier, "noise_multiplier", "finite and at least 0", |x| x.is_finite() && x >= 0.0
}

quantity! {
    /// The probability q with which each record, independently, enters a batch.
    SamplingRate, "sampling_rate", "between 0 and 1", |x| (0.0..=1.0).contains(&x)
}

quantity! {
    /// The L2 norm C to which one record's gradient is clipped, in the gradient's unit.
    ClippingNorm, "clipping_norm", "finite and greater than 0", |x| x.is_finite() && x > 0.0
}

quantity! {
    /// The public number of records by which a sum of gradients is divided.
    ///
    /// It is a constant of the plan: the actual size of a Poisson batch and the size of the
    /// private data set are both private.
    ExpectedBatchSize, "expected_batch_size", "finite and greater than 0",
    |x| x.is_finite() && x > 0.0
}

quantity! {
    /// The parameter ρ of zero-concentrated differential privacy, in nats.
    ZeroConcentration, "rho", "finite and at least 0", |x| x.is_finite() && x >= 0.0
}

/// The distribution of the number of runs, where only the result of the best one is released
/// ([`RepeatAndSelect`](super::DpEvent::RepeatAndSelect)).
///
/// A wider spread costs less privacy. At the same mean, the logarithmic distribution is the cheapest. The
/// Poisson distribution is the most expensive, because its number of runs hardly varies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredRunCount", into = "StoredRunCount")]
pub struct RunCount {
    mean: f64,
    shape: f64,
}

impl RunCount {
    /// The truncated negative binomial distribution with this mean (at least 1) and shape η (at least
    /// 0; Papernot & Steinke 2022, Definition 1).
    ///
    /// # Errors
    /// [`Error::Setting`] where one of them is out of range or not finite.
    pub fn negative_binomial(mean: f64, shape: f64) -> Result<Self> {
        if !(shape.is_finite() && shape >= 0.0) {
            return Err(Error::setting("shape of the number of runs", shape, "finite, at least 0"));
        }
        Self::checked(mean, shape)
    }

    /// The geometric distribution: shape 1.
    ///
    /// # Errors
    /// [`Error::Setting`] where the mean is not finite and at least 1.
    pub fn geometric(mean: f64) -> Result<Self> {
        Self::checked(mean, 1.0)
    }

    /// The logarithmic distribution: shape 0.
    ///
    /// # Errors
    /// [`Error::Setting`] where the mean is not finite and at least 1.
    pub fn logarithmic(mean: f64) -> Result<Self> {
        Self::checked(mean, 0.0)
    }

    /// The Poisson distribution, under which there may be no run at all.
    ///
    /// # Errors
    /// [`Error::Setting`] where the mean is not finite and at least 1.
    pub fn poisson(mean: f64) -> Result<Self> {
        Self::checked(mean, f64::INFINITY)
    }

    fn checked(mean: f64, shape: f64) -> Result<Self> {
        if !(mean.is_finite() && mean >= 1.0) {
            return Err(Error::setting("mean number of runs", mean, "finite and at least 1"));
        }
        Ok(Self { mean, shape: shape + 0.0 })
    }

    /// The expected number of runs.
    pub const fn mean(self) -> f64 {
        self.mean
    }

    /// The shape η; +∞ for the Poisson distribution.
    pub const fn shape(self) -> f64 {
        self.shape
    }
}

/// The shape is absent for the Poisson distribution: JSON has no infinity.
#[derive(Serialize, Deserialize)]
struct StoredRunCount {
    mean: f64,
    shape: Option<f64>,
}

impl From<RunCount> for StoredRunCount {
    fn from(runs: RunCount) -> Self {
        Self { mean: runs.mean, shape: runs.shape.is_finite().then_some(runs.shape) }
    }
}

impl TryFrom<StoredRunCount> for RunCount {
    type Error = Error;

    fn try_from(stored: StoredRunCount) -> Result<Self> {
        match stored.shape {
            Some(shape) => Self::negative_binomial(stored.mean, shape),
            None => Self::poisson(stored.mean),
        }
    }
}

impl Epsilon {
    /// No privacy at all.
    pub const INFINITY: Self = Self(f64::INFINITY);

    /// Whether there is a guarantee at all.
    pub const fn is_finite(self) -> bool {
        self.0.is_finite()
    }

    /// An accountant's answer. NaN and anything else outside the domain becomes +∞, which is always sound.
    pub(crate) fn answer(value: f64) -> Self {
        Self::new(value).unwrap_or(Self::INFINITY)
    }
}

impl NoiseMultiplier {
    /// The noise multiplier of the rest of a joint Gaussian release. One part of the release has noise
    /// multiplier `part`, and the release as a whole is to cost as much as one with noise multiplier
    /// `self`, here z. The rest then has (z⁻² − part⁻²)^(−1/2), rounded up. `None` where the part alone
    /// costs as much or more.
    ///
    /// Adaptive clipping splits its noise in this way (Andrew et al. 2021, arXiv 1905.03871, Theorem 1).
    pub fn beside(self, part: f64) -> Option<Self> {
        let share = self.0 / part;
        let rest = (1.0 - share) * (1.0 + share);
        if !(part > 0.0 && rest > 0.0) {
            return None;
        }
        // Rounded up by more than these operations may round down: more noise is the safe side. The
        // rounding of `share` is magnified by 1 / rest.
        let exact = self.0 / rest.sqrt();
        Self::new(exact * (1.0 + 4.0 * f64::EPSILON * (1.0 + 1.0 / rest))).ok()
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(4);
        let nearest = format!("{:.digits$}", self.0);
        match nearest.parse::<f64>() {
            Ok(shown) if shown < self.0 => {
                let unit = 0.1_f64.powi(i32::try_from(digits).unwrap_or(i32::MAX));
                write!(f, "{:.digits$}", shown + unit)
            }
            _ => f.write_str(&nearest),
        }
    }
}

impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:e}", self.0)
    }
}

impl ExpectedBatchSize {
    /// A whole number of records.
    ///
    /// # Errors
    /// [`Error::Setting`] for 0.
    pub fn from_records(records: usize) -> Result<Self> {
        Self::new(records as f64)
    }
}

/// A number of logical steps; an empty batch is a step.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Steps(u64);

impl Steps {
    /// This many steps; 0 is allowed and costs nothing.
    ///
    /// # Errors
    /// None today: every count is valid. The signature is the one that all quantities share.
    pub const fn new(steps: u64) -> Result<Self> {
        Ok(Self(steps))
    }

    /// [`Steps::new`] for callers that cannot fail.
    pub(crate) const fn from_count(steps: u64) -> Self {
        Self(steps)
    }

    /// The value as a plain number.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl From<u64> for Steps {
    fn from(steps: u64) -> Self {
        Self(steps)
    }
}

/// For literals, whose type is `i32` where nothing says otherwise.
impl TryFrom<i32> for Steps {
    type Error = SettingError;

    fn try_from(steps: i32) -> Result<Self, SettingError> {
        let count = u64::try_from(steps);
        count.map(Self).map_err(|_| SettingError::invalid("steps", steps, "at least 0"))
    }
}

/// The number of records in which neighboring data sets differ at once, such as all records of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct GroupSize(u32);

impl GroupSize {
    /// A single record.
    pub const ONE: Self = Self(1);

    /// This many records.
    ///
    /// # Errors
    /// [`Error::Setting`] for 0, and above 1024, where no accountant here is usable.
    pub fn new(records: u32) -> Result<Self> {
        if !(1..=1024).contains(&records) {
            return Err(Error::setting("group size", records, "between 1 and 1024"));
        }
        Ok(Self(records))
    }

    /// The value as a plain number.
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for GroupSize {
    type Error = Error;

    fn try_from(records: u32) -> Result<Self> {
        Self::new(records)
    }
}

impl From<GroupSize> for u32 {
    fn from(group: GroupSize) -> Self {
        group.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_refuse_what_is_outside_their_domain() {
        for bad in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            assert!(Epsilon::new(bad).is_err());
            assert!(Delta::new(bad).is_err());
            assert!(NoiseMultiplier::new(bad).is_err());
            assert!(SamplingRate::new(bad).is_err());
            assert!(ClippingNorm::new(bad).is_err());
            assert!(ExpectedBatchSize::new(bad).is_err());
        }
        assert!(Delta::new(0.0).is_err() && Delta::new(1.0).is_err());
        assert!(SamplingRate::new(1.0 + f64::EPSILON).is_err());
        assert!(NoiseMultiplier::new(f64::INFINITY).is_err());
        assert!(ClippingNorm::new(0.0).is_err() && ExpectedBatchSize::from_records(0).is_err());
        assert!(Epsilon::new(f64::INFINITY).is_ok_and(|e| !e.is_finite()));
    }

    #[test]
    fn deserialization_runs_the_same_check() {
        assert!(serde_json::from_str::<Delta>("1e-5").is_ok());
        assert!(serde_json::from_str::<Delta>("1.5").is_err());
        assert!(serde_json::from_str::<SamplingRate>("-0.1").is_err());
    }

    #[test]
    fn a_part_and_the_rest_count_as_the_whole() {
        let z = |x| NoiseMultiplier::new(x).unwrap();
        // (z, part, (z⁻² − part⁻²)^(−1/2) to 16 digits).
        for (whole, part, rest) in [
            (1.0, 20.0, 1.001_252_348_643_517_7),
            (1.1, 10.0, 1.106_716_009_617_607_6),
            (0.8, 40.0, 0.800_160_048_016_005_6),
            (2.0, 9.0, 2.051_290_376_273_483_1),
        ] {
            let ratio = z(whole).beside(part).unwrap().value() / rest;
            assert!((1.0 - 1e-15..1.0 + 1e-13).contains(&ratio), "{whole}, {part}: {ratio}");
        }
        for part in [1.0, 0.5, 0.0, -3.0, f64::NAN] {
            assert_eq!(z(1.0).beside(part), None, "{part}");
        }
    }

    #[test]
    fn display_of_epsilon_rounds_up() {
        let shown = |x: f64, digits: usize| format!("{:.digits$}", Epsilon::answer(x));
        assert_eq!(shown(1.00001, 2), "1.01");
        assert_eq!(shown(1.996, 2), "2.00");
        assert_eq!(shown(1.991, 2), "2.00");
        assert_eq!(shown(2.5, 2), "2.50");
        assert_eq!(shown(0.0, 2), "0.00");
        assert_eq!(format!("{}", Epsilon::answer(1e-9)), "0.0001");
        assert_eq!(format!("{}", Epsilon::INFINITY), "inf");
        for n in 0..10_000 {
            let exact = f64::from(n) * 0.001_237;
            let parsed: f64 = shown(exact, 3).parse().unwrap_or(f64::NAN);
            assert!(parsed >= exact && parsed < exact + 0.001_001, "{exact} shown as {parsed}");
        }
    }
}
