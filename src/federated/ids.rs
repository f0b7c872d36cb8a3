//! Names of runs and clients, which are safe to be file names.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::SettingError;

/// The longest name.
const LONGEST: usize = 64;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// A name of 1 to 64 letters, digits, `-` and `_`, so that it can be a file's.
            ///
            /// # Errors
            /// [`SettingError`] for any other.
            pub fn new(name: impl Into<String>) -> Result<Self, SettingError> {
                let name = name.into();
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                if name.is_empty() || name.len() > LONGEST || !name.chars().all(plain) {
                    let shown: String = name.chars().take(LONGEST).collect();
                    let requirement = "1 to 64 letters, digits, `-` and `_`";
                    return Err(SettingError::invalid($what, format!("{shown:?}"), requirement));
                }
                Ok(Self(name))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = SettingError;

            fn try_from(name: String) -> Result<Self, SettingError> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A client: one institution or one device, under the identity that is sampled and protected.
    ClientId, "client id"
}

name! {
    /// A federated run. Two runs must never share one.
    RunId, "run id"
}

name! {
    /// A data set of a node: what its budget belongs to, in all runs.
    DataSetId, "data set"
}
