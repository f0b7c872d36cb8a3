//! What clients send, and what the server makes of its mean.

use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use super::server_optimizer::{OptimizerState, ServerOptimizer};
use crate::error::{Error, FederatedError, Result};

/// Class probabilities of one input add up to 1 up to so much.
const ROUNDING: f32 = 1e-3;

/// What a run is made of. What a client adds to the sum of a round is called its contribution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// Weights of parameters, or scores of masks: a contribution is how far training moved them.
    #[default]
    Weights,
    /// Masks of zeros and ones. A request has the share of clients that keep each score (one half at the start); a contribution
    /// is a mask minus one half, so a mask of n bits has L2 norm √n / 2. Structured masks have few bits, and noise
    /// leaves something of them.
    Masks(MaskAggregation),
    /// Probabilities of K classes for M public inputs (FedMD: Li & Wang 2019, arXiv 1910.03581). A request has their noised mean
    /// (1/K at the start); a contribution is a client's own minus 1/K, of L2 norm at most √M, since each row lies in the
    /// simplex (T8). Clients need not have the same model.
    Predictions,
}

/// What becomes of the noised mean of masks. All of it is post-processing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MaskAggregation {
    /// The mean, within 0 and 1.
    Mean,
    /// 1 where at least half keep a score, and otherwise 0.
    Majority,
    /// The mean of a beta distribution that has seen all rounds (FedPM: Isik et al. 2023, arXiv 2209.15328). It is never reset: what
    /// noise hides in one round shows over many.
    Posterior {
        /// Beta(`prior`, `prior`) at the start; at least 1.
        prior: f64,
    },
}

impl Kind {
    /// The L2 norm of an honest contribution, where it is known before: exactly for masks, at most for predictions. A good norm to
    /// clip at.
    pub fn contribution_norm(self, manifest: &Manifest) -> Option<f64> {
        match self {
            Self::Weights => None,
            Self::Masks(_) => Some((manifest.len() as f64).sqrt() / 2.0),
            Self::Predictions => {
                let classes = classes(manifest).ok()? as f64;
                Some((manifest.len() as f64 / classes * (1.0 - 1.0 / classes)).sqrt())
            }
        }
    }

    /// What a run begins from, where that does not depend on a model: one half for each bit, 1/K for each class.
    pub fn start(self, manifest: &Manifest) -> Option<Vec<f32>> {
        match self {
            Self::Weights => None,
            Self::Masks(_) => Some(vec![0.5; manifest.len()]),
            Self::Predictions => Some(vec![1.0 / classes(manifest).ok()? as f32; manifest.len()]),
        }
    }

    /// # Errors
    /// [`Error::Setting`] for a prior below 1, and for predictions that are no matrix of at least two classes.
    pub(super) fn check(self, manifest: &Manifest) -> Result<()> {
        match self {
            Self::Masks(MaskAggregation::Posterior { prior })
                if !(prior.is_finite() && prior >= 1.0) =>
            {
                Err(Error::setting("prior", prior, "finite and at least 1"))
            }
            Self::Predictions => classes(manifest).map(|_| ()),
            Self::Weights | Self::Masks(_) => Ok(()),
        }
    }

    /// What a client adds, which was asked to begin `from` these numbers and has `trained` those.
    ///
    /// # Errors
    /// [`FederatedError::NotOfKind`] for masks of other numbers than 0 and 1, and for rows that are no probabilities.
    pub(super) fn contribution(
        self,
        trained: &[f32],
        from: &[f32],
        manifest: &Manifest,
    ) -> Result<Vec<f32>> {
        let wrong = |reason| Err(Error::Federated(FederatedError::NotOfKind { reason }));
        match self {
            Self::Weights => Ok(trained.iter().zip(from).map(|(new, old)| new - old).collect()),
            Self::Masks(_) => {
                if !trained.iter().all(|bit| *bit == 0.0 || *bit == 1.0) {
                    return wrong("masks consist of zeros and ones");
                }
                Ok(trained.iter().map(|bit| bit - 0.5).collect())
            }
            Self::Predictions => {
                let classes = classes(manifest)?;
                let probabilities = |row: &[f32]| {
                    row.iter().all(|p| (0.0..=1.0 + ROUNDING).contains(p))
                        && (row.iter().sum::<f32>() - 1.0).abs() <= ROUNDING
                };
                if !trained.chunks(classes).all(probabilities) {
                    return wrong("the probabilities of an input's classes add up to 1");
                }
                let uniform = 1.0 / classes as f32;
                Ok(trained.iter().map(|p| p - uniform).collect())
            }
        }
    }

    /// Moves a run's numbers by the mean of contributions, which stands for so many `clients`.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn apply(
        self,
        optimizer: ServerOptimizer,
        numbers: &mut [f32],
        (mean, clients): (&[f64], f64),
        state: &mut OptimizerState,
        manifest: &Manifest,
    ) -> Result<()> {
        match self {
            Self::Weights => optimizer.apply(numbers, mean, state),
            Self::Masks(MaskAggregation::Mean) => {
                set(numbers, mean, |mean| (0.5 + mean).clamp(0.0, 1.0));
            }
            Self::Masks(MaskAggregation::Majority) => {
                set(numbers, mean, |mean| f64::from(u8::from(mean >= 0.0)));
            }
            Self::Masks(MaskAggregation::Posterior { prior }) => {
                let (kept, seen) = state.accumulated(numbers.len(), clients);
                for ((share, mean), kept) in numbers.iter_mut().zip(mean).zip(kept) {
                    *kept = (f64::from(*kept) + clients * (0.5 + mean)) as f32;
                    let share_now = (prior + f64::from(*kept)) / (2.0 * prior + seen);
                    *share = share_now.clamp(0.0, 1.0) as f32;
                }
            }
            Self::Predictions => {
                let classes = classes(manifest)?;
                let uniform = 1.0 / classes as f64;
                for (row, mean) in numbers.chunks_mut(classes).zip(mean.chunks(classes)) {
                    let noised: Vec<f64> = mean.iter().map(|mean| mean + uniform).collect();
                    set(row, &onto_simplex(&noised), |p| p);
                }
            }
        }
        Ok(())
    }
}

fn set(numbers: &mut [f32], by: &[f64], of: impl Fn(f64) -> f64) {
    numbers.iter_mut().zip(by).for_each(|(number, by)| *number = of(*by) as f32);
}

/// K, of predictions [M, K].
fn classes(manifest: &Manifest) -> Result<usize> {
    match manifest.tensors() {
        [(_, shape)] => match shape[..] {
            [_, classes] if classes >= 2 => Ok(classes),
            _ => Err(Error::setting("shape of predictions", format!("{shape:?}"), MATRIX)),
        },
        tensors => Err(Error::setting("parameters of predictions", tensors.len(), MATRIX)),
    }
}

const MATRIX: &str = "one matrix [inputs, classes] of at least two classes";

/// The nearest probabilities (Held, Wolfe & Crowder 1974; Duchi et al. 2008, figure 1).
fn onto_simplex(row: &[f64]) -> Vec<f64> {
    let mut sorted = row.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut sum, mut shift) = (0.0, 0.0);
    for (index, x) in sorted.iter().enumerate() {
        sum += x;
        let candidate = (sum - 1.0) / (index + 1) as f64;
        if x - candidate > 0.0 {
            shift = candidate;
        }
    }
    row.iter().map(|x| (x - shift).max(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn predictions(inputs: usize, classes: usize) -> Manifest {
        Manifest::new(vec![("p".into(), vec![inputs, classes])], [0; 32]).expect("one matrix")
    }

    proptest! {
        /// T8, with the mean taken off.
        #[test]
        fn contributions_of_predictions_are_no_longer_than_said(
            raw in prop::collection::vec(0.0..1.0_f32, 12), classes in prop::sample::select(vec![2_usize, 3, 4, 6]),
        ) {
            let manifest = predictions(12 / classes, classes);
            let trained: Vec<f32> = raw
                .chunks(classes)
                .flat_map(|row| {
                    let total: f32 = row.iter().sum::<f32>().max(1e-3);
                    row.iter().map(move |x| x / total).collect::<Vec<_>>()
                })
                .collect();
            if let Ok(sent) = Kind::Predictions.contribution(&trained, &[], &manifest) {
                let norm = sent.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                let most = Kind::Predictions.contribution_norm(&manifest).expect("known");
                prop_assert!(norm <= most * (1.0 + 1e-3), "{norm} and {most}");
                prop_assert!(most <= (12.0 / classes as f64).sqrt());
            }
        }

        /// An independent characterization: no other point of the simplex is nearer.
        #[test]
        fn the_projection_is_the_nearest_point(
            row in prop::collection::vec(-3.0..3.0_f64, 2..7), other in prop::collection::vec(0.01..1.0_f64, 7),
        ) {
            let nearest = onto_simplex(&row);
            prop_assert!((nearest.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            prop_assert!(nearest.iter().all(|p| *p >= 0.0));
            let total: f64 = other[..row.len()].iter().sum();
            let inner: f64 = row
                .iter()
                .zip(&nearest)
                .zip(&other)
                .map(|((x, p), o)| (x - p) * (o / total - p))
                .sum();
            prop_assert!(inner <= 1e-9, "{inner}");
        }
    }

    #[test]
    fn a_mask_has_the_norm_that_is_said() {
        let manifest = Manifest::new(vec![("s".into(), vec![7])], [0; 32]).expect("one");
        let kind = Kind::Masks(MaskAggregation::Mean);
        let bits = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0];
        let sent = kind.contribution(&bits, &[0.5; 7], &manifest).expect("bits");
        let norm = sent.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        assert!((norm - kind.contribution_norm(&manifest).expect("known")).abs() < 1e-12);
        assert!(kind.contribution(&[0.3; 7], &[0.5; 7], &manifest).is_err());
        assert!(Kind::Predictions.check(&manifest).is_err());
    }

    #[test]
    fn the_posterior_remembers_all_rounds() {
        let kind = Kind::Masks(MaskAggregation::Posterior { prior: 1.0 });
        let (mut shares, mut state) = (vec![0.5_f32; 2], OptimizerState::default());
        let optimizer = ServerOptimizer::Average { learning_rate: 1.0 };
        let manifest = Manifest::new(vec![("s".into(), vec![2])], [0; 32]).expect("one");
        // Rounds need not have as many clients.
        for (mean, clients) in [([0.5, -0.1], 10.0), ([0.5, 0.3], 5.0), ([0.5, -0.3], 15.0)] {
            let mean = (&mean[..], clients);
            kind.apply(optimizer, &mut shares, mean, &mut state, &manifest).expect("masks");
        }
        // 30 masks, of which 30 and 4 + 4 + 3 keep the score, under a uniform prior.
        let expected = [31.0 / 32.0, 12.0 / 32.0];
        let close = |(share, expected): (&f32, f64)| (f64::from(*share) - expected).abs() < 1e-6;
        assert!(shares.iter().zip(expected).all(close), "{shares:?}");
    }
}
