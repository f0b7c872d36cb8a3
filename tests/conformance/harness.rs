//! The harness that runs every case of the table.
//!
//! A case is a model, a batch of [`EXAMPLES`] examples and a loss. [`Bench::run`] checks that it
//! satisfies one [`Law`]. Models and data are filled with reproducible numbers, so that no
//! parameter keeps an initial value (a gain of one, a bias of zero) under which a mistake would not
//! show.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Bool, Device, Int, Shape, Tensor, TensorData};
use burn_dp::batch::Batch;

use crate::laws::{equality, separation};

/// Examples in the batch of a case.
pub const EXAMPLES: usize = 7;

/// An entry of the table.
pub type Case = (&'static str, fn(&Bench) -> Outcome);

/// The worst relative differences of a case, or a description of what is wrong.
pub type Outcome = Result<Figures, String>;

/// Worst relative differences.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub gradient: f64,
    pub norm: f64,
    pub sum: f64,
}

/// The laws for cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Law {
    /// Losses, gradients, norms and weighted sums are those of the batch-of-one engine.
    Equality,
    /// No example's results depend on another example, not even on its NaN.
    Separation,
}

/// The device and settings with which cases run.
pub struct Bench {
    /// An autodiff device.
    pub device: Device,
    law: Law,
    /// A parameter's squared norm is measured relative to at least this part of the model's
    /// largest.
    norm_floor: f64,
}

/// The device under test: burn's default, or `BURN_DP_TEST_DEVICE` (flex, ndarray, vulkan, wgpu,
/// cuda). The crate's feature of that name must be on.
pub fn device() -> Device {
    match std::env::var("BURN_DP_TEST_DEVICE").as_deref() {
        Err(_) => Device::default(),
        #[cfg(feature = "flex")]
        Ok("flex") => Device::flex(),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)] // A second implementation to compare with, while burn has it.
        Ok("ndarray") => Device::ndarray(),
        #[cfg(feature = "cuda")]
        Ok("cuda") => Device::cuda(0),
        #[cfg(feature = "vulkan")]
        Ok("vulkan") => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        Ok(other) => panic!("BURN_DP_TEST_DEVICE={other}: unknown, or its feature is off"),
    }
}

/// Checks `law` for every case, and fails with the list of the cases that violate it.
pub fn hold(law: Law, cases: &[Case]) {
    let bench = Bench::new(device().autodiff(), law);
    let mut broken = Vec::new();
    let mut worst = Figures::default();
    let mut left_out = 0;
    for (name, case) in cases {
        if let Some(reason) = impossible(name) {
            println!("{name}: left out on this backend: {reason}");
            left_out += 1;
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&bench)))
            .unwrap_or_else(|panic| Err(format!("panicked: {}", message(&*panic))));
        match outcome {
            Ok(figures) => {
                println!("{name}: {figures}");
                worst = worst.max(figures);
            }
            Err(reason) => broken.push(format!("{name}: {reason}")),
        }
    }
    let passed = cases.len() - broken.len() - left_out;
    println!("{passed} of {} cases, {left_out} left out; worst {worst}", cases.len());
    assert!(broken.is_empty(), "{law:?} fails for\n{}", broken.join("\n"));
}

/// Whether [`device`] is the backend of this name.
pub fn device_is(name: &str) -> bool {
    std::env::var("BURN_DP_TEST_DEVICE").is_ok_and(|device| device == name)
}

/// Why a case cannot run on the backend under test with any engine: the oracle fails too.
fn impossible(name: &str) -> Option<&'static str> {
    let gpu = ["vulkan", "wgpu", "cuda"].into_iter().any(device_is);
    match name {
        "Interpolate1d" | "Interpolate2d bilinear" | "Interpolate2d bicubic"
            if gpu || device_is("ndarray") =>
        {
            Some("burn's backend has no backward pass of this interpolation")
        }
        "Conv3d" | "AdaptiveAvgPool3d" if gpu => {
            Some("the oracle is wrong: burn's own loss of a one-example slice is not Flex's")
        }
        "gather_nd" | "scatter_nd" if gpu => {
            Some("burn's kernel races where an index repeats: two runs of the oracle differ")
        }
        "PixelShuffle" | "PixelUnshuffle" if device_is("ndarray") => {
            Some("six traced axes and the batch are more than NdArray's six")
        }
        "casts" if device_is("ndarray") => Some("NdArray panics when NaN is cast to int"),
        _ => None,
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// A loss of any output: smooth, and different for every entry.
pub fn score<const D: usize>(y: Tensor<D>) -> Tensor<1> {
    (y.clone().sin() + y.powi_scalar(2) * 0.3).mean()
}

impl Bench {
    pub fn new(device: Device, law: Law) -> Self {
        Self { device, law, norm_floor: 0.0 }
    }

    /// Measures a parameter's squared norm relative to at least this part of the model's largest.
    pub fn with_norm_floor(self, norm_floor: f64) -> Self {
        Self { norm_floor, ..self }
    }

    /// Reproducible numbers in `[-1, 1)`.
    pub fn floats<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        let count = shape.iter().product();
        Tensor::from_data(TensorData::new(numbers(1, count), shape), &self.device)
    }

    /// Numbers other than those of [`Bench::floats`].
    pub fn others<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        let count = shape.iter().product();
        Tensor::from_data(TensorData::new(numbers(2, count), shape), &self.device)
    }

    /// Reproducible integers in `0..classes`.
    pub fn ints<const D: usize>(&self, shape: [usize; D], classes: usize) -> Tensor<D, Int> {
        self.ints_from(shape, 0, classes)
    }

    /// Reproducible integers in `start..end`.
    pub fn ints_from<const D: usize>(
        &self,
        shape: [usize; D],
        start: usize,
        end: usize,
    ) -> Tensor<D, Int> {
        let span = (end - start) as f32;
        let values: Vec<i64> = numbers(3, shape.iter().product())
            .into_iter()
            .map(|x| start as i64 + ((x + 1.0) / 2.0 * span) as i64)
            .collect();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    /// A mask of padding: true from a position on. The position differs from example to example.
    pub fn padding(&self, length: usize) -> Tensor<2, Bool> {
        let positions = Tensor::<1, Int>::arange(0..length as i64, &self.device);
        let lengths = Tensor::<1, Int>::arange(0..EXAMPLES as i64, &self.device);
        let lengths = lengths.remainder_scalar(length as i64) + 1;
        positions
            .unsqueeze::<2>()
            .expand([EXAMPLES, length])
            .greater_equal(lengths.unsqueeze_dim::<2>(1).expand([EXAMPLES, length]))
    }

    /// A trainable tensor.
    pub fn parameter<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::ones(shape, &self.device))
    }

    /// Checks the law for a model and a loss.
    pub fn run<M, X, F>(&self, model: M, batch: X, loss: F) -> Outcome
    where
        M: Module,
        X: Batch,
        F: Fn(&M, X) -> Tensor<1>,
    {
        let model = model.map(&mut Fill::default());
        match self.law {
            Law::Equality => equality(&model, &batch, &loss, self.norm_floor),
            Law::Separation => separation(&model, &batch, &loss),
        }
    }
}

/// Gives every float parameter reproducible values. Vectors (gains, biases, running statistics) get
/// positive values, the rest values around zero. A parameter of several fields stays one tensor.
#[derive(Default)]
pub struct Fill {
    filled: HashMap<ParamId, Box<dyn Any>>,
}

impl ModuleMapper for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let seed = 100 + self.filled.len() as u64;
        let id = param.id;
        param.map(|t| {
            if let Some(filled) = self.filled.get(&id).and_then(|f| f.downcast_ref::<Tensor<D>>()) {
                return filled.clone();
            }
            let shape: Shape = t.shape();
            let values: Vec<f32> = numbers(seed, shape.num_elements())
                .into_iter()
                .map(|x| if D == 1 { 0.7 + 0.3 * x } else { 0.6 * x })
                .collect();
            let values = Tensor::<D>::from_data(TensorData::new(values, shape), &t.device());
            let values = values.set_require_grad(t.is_require_grad());
            self.filled.insert(id, Box::new(values.clone()));
            values
        })
    }
}

pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// SplitMix64, as numbers in `[-1, 1)`.
pub fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0xD1B5_4A32_D192_ED03);
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (0..count).map(|_| (next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { gradient, norm, sum } = self;
        write!(f, "gradient {gradient:.1e}, squared norm {norm:.1e}, weighted sum {sum:.1e}")
    }
}

impl Figures {
    pub fn max(self, other: Self) -> Self {
        Self {
            gradient: self.gradient.max(other.gradient),
            norm: self.norm.max(other.norm),
            sum: self.sum.max(other.sum),
        }
    }
}
