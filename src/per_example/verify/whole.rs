//! The gradient of the loss of a whole batch, as in training without privacy.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Gradients, Tensor};

use crate::batch::{self, Batch};
use crate::error::Result;
use crate::model::ModuleTensors;
use crate::per_example::read;
use crate::per_example::trace::panic_to_error;

/// The flat gradient of each parameter that has one.
pub(super) type Whole = HashMap<ParamId, Vec<f64>>;

/// The gradient of `loss` for all of `batch` at once, by burn's autodiff, or the reason why there
/// is none. A loss may be written only for batches of one: the engines ask no more.
pub(super) fn whole<M, X, F>(
    model: &M,
    batch: X,
    loss: &F,
) -> Result<std::result::Result<Whole, String>>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    let device = ModuleTensors::of(model)?.device.autodiff();
    let computed = catch_unwind(AssertUnwindSafe(|| {
        // A copy, because running statistics must not reach the user's model.
        let model = model.valid().train();
        let batch = batch::on_autodiff(batch::to_device(batch, &device));
        // If the loss returns one number per record, the numbers are added, as a backward pass
        // does.
        let loss = loss(&model, batch).sum();
        if !loss.is_tracked() {
            return Ok(Err("it depends on no trainable parameter".to_owned()));
        }
        let mut collector = Collector { gradients: loss.backward(), found: Ok(HashMap::new()) };
        model.visit(&mut collector);
        collector.found.map(Ok)
    }));
    computed.unwrap_or_else(|panic| Ok(Err(panic_to_error(panic).to_string())))
}

struct Collector {
    gradients: Gradients,
    found: Result<Whole>,
}

impl ModuleVisitor for Collector {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Ok(found) = &mut self.found else { return };
        if let Some(gradient) = param.base().grad(&self.gradients) {
            let entries = gradient.shape().num_elements();
            match read(gradient.reshape([entries]).cast(DType::F32)) {
                Ok(gradient) => {
                    found.insert(param.id, gradient);
                }
                Err(error) => self.found = Err(error),
            }
        }
    }
}
