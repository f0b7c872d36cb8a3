//! Which network.

use std::fmt;
use std::str::FromStr;

/// A pretrained network to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backbone {
    /// [`SqueezeNet`](super::SqueezeNet) 1.1: small and the quicker of the two.
    SqueezeNet,
    /// [`EfficientNetLite0`](super::EfficientNetLite0): better features, several times the work.
    EfficientNetLite0,
}

impl Backbone {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::SqueezeNet, Self::EfficientNetLite0];

    /// What the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SqueezeNet => "squeezenet",
            Self::EfficientNetLite0 => "efficientnet-lite0",
        }
    }

    /// Its file in the data folder.
    pub fn file(self) -> &'static str {
        match self {
            Self::SqueezeNet => "squeezenet1_1.safetensors",
            Self::EfficientNetLite0 => "efficientnet_lite0.safetensors",
        }
    }

    /// The height and width below which its last pooling would have nothing left to pool.
    pub fn smallest_size(self) -> usize {
        match self {
            Self::SqueezeNet => 25,
            Self::EfficientNetLite0 => 1,
        }
    }
}

impl fmt::Display for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backbone {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        Self::ALL.into_iter().find(|backbone| backbone.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            anyhow::anyhow!("there is no backbone {name}: choose from {names}")
        })
    }
}
