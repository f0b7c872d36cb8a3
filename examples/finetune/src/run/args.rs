//! What all examples can be asked for.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::{Args as ClapArgs, ValueEnum};
use serde::{Deserialize, Serialize};

use super::method::{MaskArgs, Method, Situation};
use super::rates::RateArgs;

/// The settings of a run. What is left out has a default that suits the task and the method.
#[derive(Clone, Debug, ClapArgs, Serialize, Deserialize)]
pub struct Args {
    /// What is trained
    #[arg(long, value_enum, default_value_t = Method::Head)]
    pub method: Method,
    /// Train without clipping and noise: for comparison
    #[arg(long)]
    pub non_private: bool,
    /// The epsilon that the run may cost
    #[arg(long, default_value_t = 3.0)]
    pub epsilon: f64,
    /// The delta that goes with it
    #[arg(long, default_value_t = 1e-5)]
    pub delta: f64,
    /// Logical steps
    #[arg(long)]
    pub steps: Option<u64>,
    /// Expected size of a logical batch, in records (or users)
    #[arg(long)]
    pub batch: Option<f64>,
    /// Records in memory at a time
    #[arg(long, default_value_t = 32)]
    pub physical: usize,
    /// The L2 norm to which each record's gradient is clipped
    #[arg(long, default_value_t = 1.0)]
    pub clipping_norm: f64,
    /// Highest learning rate of Adam, for all but the head
    #[arg(long)]
    pub lr: Option<f64>,
    /// Highest learning rate of the new head, which has further to go than what is pretrained
    #[arg(long)]
    pub head_lr: Option<f64>,
    /// Learning rates over the steps
    #[command(flatten)]
    #[serde(flatten)]
    pub rates: RateArgs,
    /// Random views (flips and shifts) of each image, whose gradients are averaged before they are clipped
    #[arg(long, default_value_t = 1)]
    pub views: usize,
    /// The mask, where one is trained
    #[command(flatten)]
    #[serde(flatten)]
    pub mask: MaskArgs,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
    /// Makes the run repeatable. Its noise is then known to whoever knows the seed: not for private data
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where results go [default: out/TASK-METHOD-EPSILON-SEED]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Save a checkpoint every so many steps; Ctrl-C saves one as well
    #[arg(long)]
    pub checkpoint_every: Option<u64>,
    /// Go on with the run in the output folder
    #[arg(long)]
    pub resume: bool,
    /// Train on the first so many records, or users, only: for trials
    #[arg(long)]
    pub limit: Option<usize>,
    /// Test every so many steps [default: a fifth of the run]
    #[arg(long)]
    pub eval_every: Option<u64>,
}

impl Args {
    /// Whether the run has a guarantee.
    pub(super) fn private(&self) -> bool {
        self.method.recipe().is_private() && !self.non_private
    }

    pub(super) fn situation(&self) -> Situation<'_> {
        Situation { private: self.private(), mask: &self.mask }
    }
}

/// Devices that the program was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceArg {
    /// burn's Flex backend
    Cpu,
    /// wgpu's own choice of a graphics API
    #[cfg(feature = "wgpu")]
    Wgpu,
    /// Vulkan
    #[cfg(feature = "vulkan")]
    Vulkan,
    /// Metal, on Apple's machines
    #[cfg(feature = "metal")]
    Metal,
    /// NVIDIA CUDA
    #[cfg(feature = "cuda")]
    Cuda,
}

impl DeviceArg {
    /// The device, without autodiff.
    pub fn device(self) -> Device {
        match self {
            Self::Cpu => Device::flex(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(Default::default()),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Device::vulkan(Default::default()),
            #[cfg(feature = "metal")]
            Self::Metal => Device::metal(Default::default()),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::cuda(0),
        }
    }
}
