//! Copies whose parameters have their own ids.

use burn::module::{Flag, Module, ModuleMapper, Param, ParamId, ParameterValue};
use burn::tensor::{Bool, Int, Tensor};

/// A copy of a module whose parameters have their own ids. Values, frozen parameters, adapters and
/// masks are those of the original.
///
/// burn identifies a parameter by its id: an optimizer updates the first field that has it. `clone`
/// keeps ids, and so does loading a record. A model that holds a copy of another model, or two
/// parts loaded from one file, is therefore refused
/// ([`ModelError::SharedParameter`](crate::error::ModelError::SharedParameter)) while one of them
/// is trained. A frozen teacher beside its student:
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::Device;
/// use burn_dp::selection::copy_with_own_ids;
///
/// #[derive(Module, Debug)]
/// struct Distillation {
///     teacher: Linear,
///     student: Linear,
/// }
///
/// let device = Device::default().autodiff();
/// let student: Linear = LinearConfig::new(8, 4).init(&device);
/// let model = Distillation { teacher: copy_with_own_ids(&student).freeze(), student };
/// assert_ne!(model.teacher.weight.id, model.student.weight.id);
/// assert!(model.student.weight.is_require_grad() && !model.teacher.weight.is_require_grad());
/// ```
///
/// Parameters that burn has not yet initialized are initialized first, in the original too. Until
/// then clones share their later values, and freezing one freezes the other. Running statistics
/// keep their ids, because burn offers no way to change them; they are never trained. Optimizer
/// state and groups of ids that were made for the original do not fit the copy.
pub fn copy_with_own_ids<M: Module>(module: &M) -> M {
    module.clone().map(&mut OwnIds)
}

struct OwnIds;

fn renamed<T: ParameterValue>(mut param: Param<T>) -> Param<T> {
    // Runs burn's lazy initialization.
    _ = param.base();
    param.id = ParamId::new();
    param
}

impl ModuleMapper for OwnIds {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        renamed(param)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        renamed(param)
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        renamed(param)
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        renamed(flag)
    }
}
