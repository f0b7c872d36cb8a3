//! What can go wrong, and what to do about it.

/// Why an answer cannot be given. A call that returns an error has changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be used.
    #[error(transparent)]
    Setting(#[from] SettingError),

    /// An accountant has no proven bound for an event.
    #[error(
        "the {accountant} accountant has no proven bound for this event: {event}; record an event \
         that it supports, or use another accountant"
    )]
    UnsupportedEvent {
        /// The accountant's name.
        accountant: &'static str,
        /// The event, in words.
        event: String,
    },

    /// No noise multiplier reaches the privacy target.
    #[error(
        "no noise multiplier up to {largest} reaches epsilon <= {epsilon} at delta = {delta}: \
         raise epsilon or delta, or lower the sampling rate or the number of steps"
    )]
    UnreachableTarget {
        /// The target ε.
        epsilon: f64,
        /// The target δ.
        delta: f64,
        /// The largest noise multiplier that was tried.
        largest: f64,
    },
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// It is outside its domain (NaN, negative, infinite, or out of range).
    #[error("{name} is {value}, but must be {requirement}")]
    Invalid {
        /// The setting, as the user names it.
        name: &'static str,
        /// The value that was given, formatted.
        value: String,
        /// What the value must satisfy.
        requirement: &'static str,
    },

    /// It has no default and was not given.
    #[error("{name} is missing: set it before building")]
    Missing {
        /// The setting, as the user names it.
        name: &'static str,
    },

    /// Another setting that was given excludes it.
    #[error("{first} and {second} exclude each other: set exactly one of them")]
    Conflicting {
        /// One of the two.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}

impl SettingError {
    /// The `value` of setting `name` does not meet `requirement`, as in "delta is 2, but must be less than 1".
    pub fn invalid(
        name: &'static str,
        value: impl core::fmt::Display,
        requirement: &'static str,
    ) -> Self {
        Self::Invalid { name, value: value.to_string(), requirement }
    }
}

impl Error {
    pub(crate) fn setting(
        name: &'static str,
        value: impl core::fmt::Display,
        requirement: &'static str,
    ) -> Self {
        SettingError::invalid(name, value, requirement).into()
    }

    pub(crate) fn unsupported(accountant: &'static str, event: &str) -> Self {
        Self::UnsupportedEvent { accountant, event: event.to_owned() }
    }
}

/// Lets a value that needs no check stand in for a number that needs one.
impl From<core::convert::Infallible> for SettingError {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;
