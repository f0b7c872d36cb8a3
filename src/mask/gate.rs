//! Masks on activations.

use burn::module::{Module, Param};
use burn::tensor::{Device, Shape, Tensor};

use crate::error::{Error, Result};

/// A place where a module's output can be masked. Put it behind the module, and name it to
/// [`SuperMaskConfig`].
///
/// A gate without a mask does nothing: it multiplies by a weight of ones. A mask then switches this
/// weight like any other. Add it to a model before loading pretrained weights, or after.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use burn_dp::mask::{Gate, MaskKind, SuperMaskConfig};
/// use burn_dp::selection::ParamSelector;
///
/// #[derive(Module, Debug)]
/// struct Model {
///     hidden: Linear,
///     gate: Gate,
/// }
///
/// impl Model {
///     fn forward(&self, x: Tensor<2>) -> Tensor<2> {
///         self.gate.forward(self.hidden.forward(x).tanh())
///     }
/// }
///
/// # fn main() -> burn_dp::Result<()> {
/// # let device = Device::default().autodiff();
/// let hidden = LinearConfig::new(8, 4).init(&device);
/// let model = Model { hidden, gate: Gate::new([4], &device)? };
/// let gates = ParamSelector::path("gate").select(&model)?;
/// let model = SuperMaskConfig::new(MaskKind::Sigmoid)?.on(&gates).apply(model)?;
/// assert_eq!(ParamSelector::masks().select(&model)?.trained(), 4);
/// # Ok(())
/// # }
/// ```
///
/// [`SuperMaskConfig`]: super::SuperMaskConfig
#[derive(Module, Debug)]
pub struct Gate {
    /// `[1, numbers]`: two axes, because masks need weights of at least two.
    open: Param<Tensor<2>>,
    #[module(skip)]
    shape: Vec<usize>,
}

impl Gate {
    /// A gate for outputs `[..., shape]`. An axis of size one is shared: `[channels, 1, 1]` gates
    /// the channels of images.
    ///
    /// # Errors
    /// [`Error::Setting`] for a shape without numbers.
    pub fn new(shape: impl Into<Shape>, device: &Device) -> Result<Self> {
        let shape: Shape = shape.into();
        if shape.num_elements() == 0 {
            return Err(Error::setting("shape of a gate", format!("{shape:?}"), "at least 1 each"));
        }
        let open = Tensor::ones([1, shape.num_elements()], device);
        let open = Param::from_tensor(open).set_require_grad(false);
        Ok(Self { open, shape: shape.as_slice().to_vec() })
    }

    /// `output`, `[..., shape]`, times the mask.
    ///
    /// # Panics
    /// As burn does where shapes do not broadcast.
    pub fn forward<const D: usize>(&self, output: Tensor<D>) -> Tensor<D> {
        let mut full = [1; D];
        for (size, own) in full.iter_mut().rev().zip(self.shape.iter().rev()) {
            *size = *own;
        }
        output * self.open.val().reshape(full)
    }
}
