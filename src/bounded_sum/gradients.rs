//! The sum of clipped per-example gradients of one step.

use burn::module::Module;

use super::limit::{Bound, total};
use crate::clipping::{Clipping, ClippingState};
use crate::error::{Error, GradientError, Result};
use crate::model::ModuleTensors;
use crate::noise::StepNoise;
use crate::per_example::{GradientSum, PerExample};

/// A sum over the physical batches of a step, in at least single precision.
pub(crate) struct ClippedSum<'p> {
    clipping: &'p Clipping,
    state: ClippingState,
    /// The paths of the trained parameters, in the model's order.
    paths: Vec<String>,
    /// The clipping group of each.
    groups: Vec<usize>,
    sum: GradientSum,
    examples: usize,
    /// `Σ_i (1[norm_i <= C] - 1/2)`: the centered count that adaptive clipping releases with noise
    /// (Andrew et al. 2021, arXiv 1905.03871, section 2.2).
    below: f64,
}

impl<'p> ClippedSum<'p> {
    pub(crate) fn new<M: Module>(
        model: &M,
        clipping: &'p Clipping,
        state: ClippingState,
    ) -> Result<Self> {
        let tensors = ModuleTensors::of(model)?;
        let paths = |trained: bool| -> Vec<&str> {
            let tensors = tensors.tensors.iter().filter(|tensor| tensor.trainable == trained);
            tensors.map(|tensor| tensor.path.as_str()).collect()
        };
        let groups = clipping.groups_of(&paths(true), &paths(false))?;
        let paths = tensors.trainable().map(|tensor| tensor.path.clone()).collect();
        let sum = GradientSum::zero(&tensors);
        Ok(Self { clipping, state, paths, groups, sum, examples: 0, below: 0.0 })
    }

    /// The paths of the trained parameters, in the model's order.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.paths.clone()
    }

    /// Clips every example's gradient and adds it.
    pub(crate) fn add(&mut self, gradients: PerExample) -> Result<()> {
        if gradients.is_empty() {
            return Ok(());
        }
        if !gradients.parameters().map(|(id, _)| id).eq(self.sum.ids()) {
            return Err(Error::Gradient(GradientError::OfAnotherModel));
        }
        let examples = gradients.len();
        self.examples += examples;
        let groups = self.clipping.groups();
        let norms = gradients.clipping_norms_in(&self.groups, groups)?;
        let mut weights = vec![vec![0.0f32; examples]; groups];
        let mut bad = vec![false; examples];
        gradients.excluded().iter().for_each(|example| bad[*example] = true);
        for example in 0..examples {
            // A gradient that is not finite contributes exactly zero, in every group.
            bad[example] |= norms.iter().any(|group| !group[example].is_finite());
            if bad[example] {
                self.below -= 0.5;
                continue;
            }
            for (group, norms) in norms.iter().enumerate() {
                weights[group][example] =
                    self.clipping.factor(group, norms[example], &self.state) as f32;
            }
            let below =
                norms.iter().all(|group| group[example] <= self.state.clipping_norm().value());
            self.below += if below { 0.5 } else { -0.5 };
        }
        gradients.without(bad).add_weighted(&self.groups, &weights, &mut self.sum);
        Ok(())
    }

    /// The centered count of examples whose gradient was not clipped. It is private until noise is
    /// added.
    pub(crate) fn below_clipping_norm(&self) -> f64 {
        self.below
    }

    /// The sum with `noise` on it, divided by `divisor`, once the sum is found to be within its bound.
    ///
    /// # Errors
    /// [`GradientError::SumBeyondBound`] where a group's sum is longer than its examples can have made it. The engine bounds
    /// each record by itself; this does not rely on any of it, and costs next to nothing.
    pub(crate) fn release(self, noise: &StepNoise<'_>, divisor: f64) -> Result<GradientSum> {
        let bounds: Vec<Bound> =
            (0..self.clipping.groups()).map(|group| self.bound(group)).collect();
        let mut squares: Vec<Vec<_>> = bounds.iter().map(|_| Vec::new()).collect();
        let released = self.sum.map(|index, sum| {
            let group = self.groups[index];
            let (noised, found) = noise.add_to(sum, index as u64, bounds[group].scale())?;
            squares[group].push(found);
            Ok(noised / divisor)
        })?;
        for (bound, squares) in bounds.iter().zip(squares) {
            bound.check(total(squares)?)?;
        }
        Ok(released)
    }

    fn bound(&self, group: usize) -> Bound {
        let clipping_norm = self.clipping.bound(group, &self.state);
        Bound { group, examples: self.examples, clipping_norm }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::per_example::{Engine, Traced};
    use crate::privacy::ClippingNorm;
    use crate::seed::{Domain, Seed};

    /// Three records with one long gradient.
    fn summed(clipping: &Clipping) -> Result<ClippedSum<'_>> {
        let device = Device::default().autodiff();
        let model = LinearConfig::new(4, 3).init(&device);
        let loss = |model: &Linear, x: Tensor<2>| model.forward(x).powi_scalar(2).mean() * 100.0;
        let x = Tensor::<2>::ones([3, 4], &device);
        let mut sum = ClippedSum::new(&model, clipping, clipping.initial_state())?;
        sum.add(Traced::new(loss).per_example(&model, x)?)?;
        Ok(sum)
    }

    fn released(sum: ClippedSum<'_>) -> Result<GradientSum> {
        let (seed, domain) = (&Seed::reproducible(1), Domain::GradientNoise);
        sum.release(&StepNoise::Gaussian { std: 0.0, seed, domain, step: 0 }, 1.0)
    }

    #[test]
    fn a_sum_longer_than_its_examples_can_make_it_is_not_released() -> Result<()> {
        let norm = |x: f64| ClippingNorm::new(x);
        let groups = vec![("weight".to_owned(), norm(0.5)?), ("bias".to_owned(), norm(2.0)?)];
        for clipping in [Clipping::flat(1.0)?, Clipping::per_group(groups)?] {
            assert!(released(summed(&clipping)?).is_ok(), "equal gradients attain the bound");
            let mut wrong = summed(&clipping)?;
            // As if the third record's part came from a place that was never clipped.
            wrong.examples = 2;
            let refused = released(wrong).err();
            assert!(
                matches!(
                    refused,
                    Some(Error::Gradient(GradientError::SumBeyondBound { group: 0, .. }))
                ),
                "{refused:?}"
            );
        }
        Ok(())
    }
}
