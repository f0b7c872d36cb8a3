//! A sum of vectors to which each contribution is bounded, released with noise.

use burn_dp_accounting::{ClippingNorm, DpEvent, ExpectedBatchSize};

use crate::clipping::{Clipping, ClippingState};
use crate::error::{Error, Result};
use crate::noise::{Noise, StepNoise};
use crate::seed::{Domain, Seed};

/// The Gaussian mechanism on vectors on the host.
///
/// Each contribution is clipped to an L2 norm, and one that is not finite counts as zero. Noise is
/// added to the sum once, and the divisor is a public number. [`release`](Self::release) returns
/// the result together with its cost, so neither exists without the other.
///
/// Contributions are those of records, clients, or whatever is added or removed between neighboring
/// data sets. Add everything that one of them sends as one vector. A step of training has a sum of
/// its own ([`DpOptimizer`](crate::DpOptimizer)), which never writes its contributions out.
#[derive(Debug)]
pub struct BoundedSum {
    clipping: Clipping,
    state: ClippingState,
    /// One for each tensor of which contributions consist.
    sums: Vec<Vec<f64>>,
    /// The clipping group of each.
    groups: Vec<usize>,
    length: usize,
    /// `Σ_i (1[norm_i <= C] - 1/2)`: the centered count that adaptive clipping releases with noise.
    below: f64,
}

impl BoundedSum {
    /// An empty sum of contributions that consist of tensors of these lengths, one after the other.
    pub fn new(lengths: impl IntoIterator<Item = usize>, clipping_norm: ClippingNorm) -> Self {
        let clipping = Clipping::Flat { clipping_norm };
        let state = clipping.initial_state();
        let tensors: Vec<(usize, usize)> = lengths.into_iter().map(|length| (length, 0)).collect();
        Self::under(clipping, state, tensors)
    }

    /// The same under any clipping, of tensors of a length and a clipping group each.
    pub(crate) fn under(
        clipping: Clipping,
        state: ClippingState,
        tensors: Vec<(usize, usize)>,
    ) -> Self {
        let sums: Vec<Vec<f64>> = tensors.iter().map(|(length, _)| vec![0.0; *length]).collect();
        let groups = tensors.into_iter().map(|(_, group)| group).collect();
        let length = sums.iter().map(Vec::len).sum();
        Self { clipping, state, sums, groups, length, below: 0.0 }
    }

    /// Adds a contribution, clipped. Adds nothing if one of its numbers or its squared norm is not
    /// finite.
    ///
    /// # Errors
    /// [`Error::Setting`] where the contribution is shorter or longer than the sum. The sum is then
    /// unchanged.
    pub fn add<I>(&mut self, contribution: I) -> Result<()>
    where
        I: IntoIterator<Item = f64, IntoIter: Clone>,
    {
        self.add_within(1.0, contribution)
    }

    /// Adds a contribution that stays within this share of the clipping norm, above 0 and at most 1.
    pub(crate) fn add_within<I>(&mut self, share: f64, contribution: I) -> Result<()>
    where
        I: IntoIterator<Item = f64, IntoIter: Clone>,
    {
        let contribution = contribution.into_iter();
        let length = contribution.clone().fold(0_usize, |length, _| length.saturating_add(1));
        if length != self.length {
            return Err(Error::setting("length of a contribution", length, "that of the sum"));
        }
        let mut norms = self.norms(contribution.clone());
        if share < 1.0 {
            // Clipped as if it were so much longer: what is then within the norm is within the share of it.
            norms.iter_mut().for_each(|norm| *norm = (*norm / share).next_up());
        }
        if !norms.iter().all(|norm| norm.is_finite()) {
            self.below -= 0.5;
            return Ok(());
        }
        let clipping_norm = self.state.clipping_norm().value();
        let below = norms.iter().all(|norm| *norm <= clipping_norm);
        self.below += if below { 0.5 } else { -0.5 };
        let factor =
            |(group, norm)| self.clipping.factor_in_double_precision(group, norm, &self.state);
        let factors: Vec<f64> = norms.into_iter().enumerate().map(factor).collect();
        let mut numbers = contribution;
        for (sum, group) in self.sums.iter_mut().zip(&self.groups) {
            let factor = factors[*group];
            sum.iter_mut().zip(&mut numbers).for_each(|(sum, number)| *sum += factor * number);
        }
        Ok(())
    }

    /// A contribution that did not come, or cannot be used: it adds nothing, and is counted as clipped.
    pub(crate) fn add_nothing(&mut self) {
        self.below -= 0.5;
    }

    /// The centered count of contributions that were not clipped; private until noised.
    pub(crate) fn below_clipping_norm(&self) -> f64 {
        self.below
    }

    /// The sum with `noise` on it, rounded to single precision, divided by `divisor`, tensor by tensor; and what to
    /// record for it. Sampling of the contributors, if any, goes around the event.
    ///
    /// One (seed, `domain`, `step`) must never be used twice.
    ///
    /// # Errors
    /// [`Error::Setting`] for noise that single precision cannot hold.
    pub fn release(
        self,
        noise: Noise,
        divisor: ExpectedBatchSize,
        seed: &Seed,
        domain: Domain,
        step: u64,
    ) -> Result<(Vec<Vec<f64>>, DpEvent)> {
        let std = noise.multiplier().value() * self.clipping.sensitivity(&self.state);
        let released =
            self.with_noise(&noise.of_step(std, (seed, domain, step)), divisor.value())?;
        Ok((released, noise.event()))
    }

    /// The sum with `noise` on it, rounded to single precision, divided by `divisor`.
    pub(crate) fn with_noise(self, noise: &StepNoise<'_>, divisor: f64) -> Result<Vec<Vec<f64>>> {
        let tensor = |(index, sum): (usize, &Vec<f64>)| -> Result<Vec<f64>> {
            let noised = noise.noised(sum, index as u64)?;
            Ok(noised.into_iter().map(|x| f64::from(x) / divisor).collect())
        };
        self.sums.iter().enumerate().map(tensor).collect()
    }

    /// The sums so far, without noise: for public data.
    pub(crate) fn into_public(self) -> Vec<Vec<f64>> {
        self.sums
    }

    /// An upper bound of a contribution's norm in each clipping group; infinite where a number is not finite.
    ///
    /// A sum of n squares in double precision is too small by a relative n·2⁻⁵³ at most (each addition loses half a unit in the
    /// last place of what is there: Higham 2002, section 4.2), so a norm by half of that; the root, the quotient of bound and
    /// norm, and the product with each number lose three units more. n + 8 units of 2⁻⁵² cover both twice over. Squares that
    /// vanish below 2⁻¹⁰⁷⁴ are covered by adding that for each.
    fn norms(&self, mut contribution: impl Iterator<Item = f64>) -> Vec<f64> {
        let mut squares = vec![(0.0, 0.0); self.clipping.groups()];
        for (sum, group) in self.sums.iter().zip(&self.groups) {
            let (total, length) = &mut squares[*group];
            for number in contribution.by_ref().take(sum.len()) {
                *total += number * number;
            }
            *length += sum.len() as f64;
        }
        let norm = |(squares, length): (f64, f64)| {
            let norm = (squares + length * f64::from_bits(1)).sqrt();
            let norm = norm * (1.0 + (length + 8.0) * f64::EPSILON);
            if norm.is_finite() { norm } else { f64::INFINITY }
        };
        squares.into_iter().map(norm).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn_dp_accounting::NoiseMultiplier;
    use proptest::prelude::*;

    use super::*;

    fn norm(value: f64) -> ClippingNorm {
        ClippingNorm::new(value).expect("a norm")
    }

    fn released(sum: BoundedSum, z: f64, divisor: f64) -> Vec<Vec<f64>> {
        let multiplier = NoiseMultiplier::new(z).expect("a multiplier");
        let divisor = ExpectedBatchSize::new(divisor).expect("a divisor");
        let seed = Seed::reproducible(3);
        let noise = Noise::Gaussian { multiplier };
        let (released, event) =
            sum.release(noise, divisor, &seed, Domain::MaskNoise, 1).expect("noise that fits");
        assert_eq!(event, DpEvent::gaussian(multiplier));
        released
    }

    /// The exact length, up to negligible errors: each square is in two parts.
    fn length(numbers: &[f64]) -> f64 {
        let scale = numbers.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        if scale == 0.0 {
            return 0.0;
        }
        let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
        for x in numbers.iter().map(|x| x / scale) {
            let (square, error) = (x * x, x.mul_add(x, -(x * x)));
            let next = sum + square;
            lost += (sum - (next - square)) + (square - (next - (next - square))) + error;
            sum = next;
        }
        (sum + lost).sqrt() * scale
    }

    proptest! {
        #[test]
        fn one_contribution_moves_the_sum_by_at_most_the_clipping_norm(
            numbers in prop::collection::vec(-1e3..1e3_f64, 1..300),
            log_scale in -300.0..148.0_f64, log_norm in -20.0..20.0_f64,
        ) {
            let numbers: Vec<f64> = numbers.iter().map(|x| x * 10_f64.powf(log_scale)).collect();
            let clipping_norm = log_norm.exp();
            let mut sum = BoundedSum::new([numbers.len()], norm(clipping_norm));
            sum.add(numbers.iter().copied()).expect("the length is right");
            let moved = length(&sum.into_public().concat());
            prop_assert!(moved <= clipping_norm, "{moved} and {clipping_norm}");
            let exact = length(&numbers).min(clipping_norm);
            prop_assert!(exact.is_infinite() || moved >= exact * (1.0 - 1e-12), "{moved} and {exact}");
        }
    }

    proptest! {
        #[test]
        fn a_contribution_stays_within_its_share(
            numbers in prop::collection::vec(-1e3..1e3_f64, 1..100), share in 1e-6..1.0_f64,
        ) {
            let mut sum = BoundedSum::new([numbers.len()], norm(2.0));
            sum.add_within(share, numbers.iter().copied()).expect("the length is right");
            let moved = length(&sum.into_public().concat());
            prop_assert!(moved <= 2.0 * share, "{moved}");
            let exact = length(&numbers).min(2.0 * share);
            prop_assert!(moved >= exact * (1.0 - 1e-12), "{moved} and {exact}");
        }
    }

    #[test]
    fn what_is_released_is_in_single_precision() {
        // If noise in single precision were added to a sum in double, the lowest bits of the result
        // would be those of the sum.
        let mut sum = BoundedSum::new([1000], norm(100.0));
        sum.add((0..1000).map(|i| f64::from(i) * 1e-3 + 1e-11)).expect("a thousand numbers");
        let released = released(sum, 0.01, 1.0).concat();
        assert!(released.iter().all(|x| f64::from(*x as f32) == *x));
    }

    #[test]
    fn what_is_not_finite_counts_as_zero() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
            let mut sum = BoundedSum::new([2, 1], norm(1.0));
            sum.add([0.3, 0.0, -0.4]).expect("three numbers");
            sum.add([0.1, bad, 0.2]).expect("three numbers");
            assert_eq!(sum.into_public(), [vec![0.3, 0.0], vec![-0.4]]);
        }
    }

    #[test]
    fn another_length_is_refused_and_changes_nothing() {
        let mut sum = BoundedSum::new([2, 1], norm(1.0));
        sum.add([0.3, 0.0, -0.4]).expect("three numbers");
        assert!(sum.add([0.1; 2]).is_err());
        assert!(sum.add([0.1; 4]).is_err());
        assert_eq!(sum.into_public(), [vec![0.3, 0.0], vec![-0.4]]);
    }

    #[test]
    fn noise_is_added_once_in_units_of_the_clipping_norm_and_the_divisor_is_public() {
        let many = 40_000;
        let sum = |contributions: usize| {
            let mut sum = BoundedSum::new([many, 3], norm(2.0));
            for _ in 0..contributions {
                sum.add((0..many + 3).map(|i| if i == many { 9.0 } else { 0.0 })).expect("fits");
            }
            sum
        };
        let silent = released(sum(3), 0.0, 4.0);
        assert!((silent[1][0] - 3.0 * 2.0 / 4.0).abs() < 1e-9, "three clipped, over four");
        let noised = released(sum(3), 0.5, 4.0);
        let squares = noised[0].iter().map(|x| x * x).sum::<f64>() / many as f64;
        let std = 0.5 * 2.0 / 4.0;
        assert!((squares.sqrt() / std - 1.0).abs() < 0.02, "{}", squares.sqrt());
        assert_eq!(noised[0], released(sum(7), 0.5, 4.0)[0], "not for each contribution");
        assert_ne!(noised[0][..3], noised[1][..], "tensors have noise of their own");
    }
}
