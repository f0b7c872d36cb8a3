//! The mean of the last steps' weights, which noise moves less than it moves the last (Polyak & Juditsky 1992). It is made of
//! releases alone, so it costs no privacy.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

/// A model whose trained weights are the mean of those that were added.
#[derive(Clone, Debug)]
pub(super) struct Average<M> {
    mean: M,
    count: u64,
}

impl<M: Module> Average<M> {
    /// Of this model alone.
    pub(super) fn of(model: &M) -> Self {
        Self { mean: model.clone(), count: 1 }
    }

    /// One that was saved.
    pub(super) fn from_parts(mean: M, count: u64) -> Self {
        Self { mean, count }
    }

    pub(super) fn add(self, model: &M) -> Self {
        let mut new = Weights::default();
        model.visit(&mut new);
        let count = self.count + 1;
        let mut towards = Towards { new: new.0, share: 1.0 / count as f64 };
        Self { mean: self.mean.map(&mut towards), count }
    }

    pub(super) fn model(&self) -> &M {
        &self.mean
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

/// The weights of a model that are trained.
#[derive(Default)]
struct Weights(HashMap<ParamId, TensorData>);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.0.insert(param.id, param.val().into_data());
        }
    }
}

/// Moves weights a share of the way to others.
struct Towards {
    new: HashMap<ParamId, TensorData>,
    share: f64,
}

impl ModuleMapper for Towards {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(new) = self.new.remove(&param.id) else {
            return param;
        };
        let share = self.share;
        param.map(|old| {
            let trained = old.is_require_grad();
            let old = old.detach();
            let new = Tensor::from_data(new, &old.device());
            (old.clone() + (new - old).mul_scalar(share)).detach().set_require_grad(trained)
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_mean_is_that_of_what_was_added() {
        let device = Device::flex().autodiff();
        let model: Linear = LinearConfig::new(2, 2).init(&device);
        let at = |value: f64| {
            let mut model = model.clone();
            model.weight = model.weight.map(|w| (w.zeros_like() + value).detach().require_grad());
            model
        };
        let mean = Average::of(&at(1.0)).add(&at(2.0)).add(&at(6.0));
        let values: Vec<f32> = mean.model().weight.val().into_data().iter().collect();
        assert!(values.iter().all(|value| (value - 3.0).abs() < 1e-6), "{values:?}");
        assert!(mean.model().weight.is_require_grad());
    }
}
