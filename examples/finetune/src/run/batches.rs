//! Batches of what is protected: records, or all records of a user.

use burn::tensor::{Device, Tensor, TensorData};

use super::features::Features;
use super::targets::{Objective, losses};
use super::task::{Classifier, Inputs, Part, Task, apart, together};
use super::units::Units;

/// A batch. What one index of axis 0 holds is what is protected: a *unit*. It is a record, several views of one, or the
/// records of a user; these lie side by side on axis 1.
#[derive(Clone, Debug)]
pub struct Examples<I> {
    /// What the model reads: inputs, or features where only the head is trained.
    pub(super) inputs: Option<I>,
    /// What the head reads, `[units, rows * width]`.
    pub(super) features: Option<Tensor<2>>,
    /// `[units, rows * classes]`
    pub(super) targets: Tensor<2>,
    /// Where classes count differently, `[units, rows * classes]`.
    pub(super) weights: Option<Tensor<2>>,
    /// What a row counts in its unit, `[units, rows]`; nothing where a unit is one row.
    pub(super) shares: Option<Tensor<2>>,
    /// Rows of a unit.
    pub(super) rows: usize,
    pub(super) objective: Objective,
}

burn_dp::impl_batch!(Examples<I> { inputs, features, targets, weights, shares, #[key] rows, #[key] objective });

impl<I: Inputs> Examples<I> {
    /// The mean over units of the mean of a unit's losses. A unit's own part depends on nothing else, so that its gradient can be
    /// clipped by itself.
    pub fn loss<M: Classifier<I>>(self, model: &M) -> Tensor<1> {
        let ([units, _], rows, objective) = (self.targets.dims(), self.rows, self.objective);
        let each = |tensor: Tensor<2>| apart(tensor, rows);
        let (targets, weights) = (each(self.targets.clone()), self.weights.clone().map(each));
        let shares = self.shares.clone();
        let Some(logits) = self.logits(model) else {
            return Tensor::zeros([1], &targets.device());
        };
        let losses = losses(objective, logits, targets, weights);
        match shares {
            Some(shares) => (losses * shares.reshape([units * rows])).sum() / units as f64,
            None => losses.mean(),
        }
    }

    /// Logits of every row, `[units * rows, classes]`, from whichever is there.
    pub(super) fn logits<M: Classifier<I>>(self, model: &M) -> Option<Tensor<2>> {
        let rows = self.rows;
        let features = match (self.features, self.inputs) {
            (Some(features), _) => apart(features, rows),
            (None, Some(inputs)) => model.features(inputs.apart(rows)),
            (None, None) => return None,
        };
        Some(model.classify(features))
    }
}

/// Where batches of a task's records come from.
pub(super) struct Records<'a, T: Task> {
    pub(super) task: &'a T,
    pub(super) part: Part,
    pub(super) units: &'a Units,
    /// What the trunk makes of records, where that is all that the model needs.
    pub(super) features: Option<&'a Features>,
    /// Views of a record, where there are several, and what they are drawn from.
    pub(super) views: Option<Views>,
    pub(super) device: &'a Device,
}

/// Several views of each record, whose gradients are averaged before they are clipped (De et al. 2022, arXiv 2204.13650,
/// "augmentation multiplicity").
#[derive(Clone, Copy, Debug)]
pub(super) struct Views {
    pub(super) count: usize,
    /// The draws are no secret.
    pub(super) seed: u64,
}

impl<T: Task> Records<'_, T> {
    /// Some units as a batch.
    pub(super) fn load(&self, units: &[usize]) -> Examples<T::Inputs> {
        let (records, shares, rows) = self.units.rows(units);
        let views = self.views.map_or(1, |views| views.count.max(1));
        let (records, shares) = (repeated(&records, views), repeated(&shares, views));
        let rows = rows * views;
        let targets = self.task.targets(self.part);
        let shares = (rows > 1).then(|| {
            let shares = shares.iter().map(|share| share / views as f32).collect::<Vec<_>>();
            Tensor::from_data(TensorData::new(shares, [units.len(), rows]), self.device)
        });
        let weights = targets.class_weights().map(|weights| {
            let all = weights.repeat(records.len());
            let all = TensorData::new(all, [records.len(), weights.len()]);
            together(Tensor::from_data(all, self.device), rows)
        });
        Examples {
            inputs: self.inputs(&records).map(|inputs| inputs.together(rows)),
            features: self.features.map(|f| together(f.batch(&records, self.device), rows)),
            targets: together(targets.rows(&records, self.device), rows),
            weights,
            shares,
            rows,
            objective: targets.objective(),
        }
    }

    fn inputs(&self, records: &[usize]) -> Option<T::Inputs> {
        match (self.features, self.views) {
            (Some(_), _) => None,
            (None, None) => Some(self.task.inputs(self.part, records, self.device)),
            (None, Some(views)) => self.task.views(self.part, records, views.seed, self.device),
        }
    }

    /// How many units there are.
    pub(super) fn count(&self) -> usize {
        self.units.len()
    }

    /// See [`Task::size`].
    pub(super) fn size(&self, unit: usize) -> usize {
        let size = |record: usize| self.task.size(self.part, record);
        self.units.of(unit).into_iter().map(size).max().unwrap_or(0)
    }
}

/// Each of them so many times, one after the other.
fn repeated<V: Copy>(all: &[V], times: usize) -> Vec<V> {
    all.iter().flat_map(|value| std::iter::repeat_n(*value, times)).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::Result;
    use burn::module::Module;
    use burn::nn::{Linear, LinearConfig};
    use burn_dp::per_example::verify;

    use super::super::targets::Targets;
    use super::*;

    #[derive(Module, Debug)]
    struct Net {
        trunk: Linear,
        head: Linear,
    }

    impl Classifier<Tensor<2>> for Net {
        fn features(&self, inputs: Tensor<2>) -> Tensor<2> {
            self.trunk.forward(inputs).tanh()
        }

        fn classify(&self, features: Tensor<2>) -> Tensor<2> {
            self.head.forward(features)
        }
    }

    fn net(device: &Device) -> Net {
        device.seed(5);
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        Net { trunk: linear(4, 5), head: linear(5, 3) }
    }

    /// Units of rows with these records, as [`Records::load`] puts them together.
    fn batch(
        targets: &Targets,
        units: &Units,
        which: &[usize],
        device: &Device,
    ) -> Examples<Tensor<2>> {
        let (records, shares, rows) = units.rows(which);
        let inputs: Vec<f32> = records
            .iter()
            .flat_map(|r| (0..4).map(move |i| ((r * 7 + i * 3) % 11) as f32 / 5.0 - 1.0))
            .collect();
        let weights = targets.class_weights().map(|weights| {
            let all = TensorData::new(weights.repeat(records.len()), [records.len(), 3]);
            together(Tensor::from_data(all, device), rows)
        });
        Examples {
            inputs: Some(together(
                Tensor::from_data(TensorData::new(inputs, [records.len(), 4]), device),
                rows,
            )),
            features: None,
            targets: together(targets.rows(&records, device), rows),
            weights,
            shares: (rows > 1)
                .then(|| Tensor::from_data(TensorData::new(shares, [which.len(), rows]), device)),
            rows,
            objective: targets.objective(),
        }
    }

    fn number(tensor: Tensor<1>) -> f64 {
        tensor.into_data().iter::<f64>().next().unwrap_or(f64::NAN)
    }

    fn all_targets() -> Result<[Targets; 3]> {
        let labels: Vec<u32> = (0..6).map(|record| record % 3).collect();
        let answers: Vec<u32> = (0..18).map(|i| u32::from(i % 5 < 2)).collect();
        Ok([
            Targets::one_of(labels.clone(), 3)?,
            Targets::one_of(labels, 3)?.weighted(vec![0.5, 1.0, 4.0])?,
            Targets::any_of(answers, 3)?,
        ])
    }

    #[test]
    fn the_loss_of_a_user_is_the_mean_of_his_records_losses() -> Result<()> {
        let device = Device::flex().autodiff();
        let model = net(&device);
        let users = Units::users(vec![vec![4], vec![0, 1, 2], vec![3, 5]], 3)?;
        for targets in all_targets()? {
            let one = |record| {
                number(batch(&targets, &Units::records(6), &[record], &device).loss(&model))
            };
            for (user, records) in [(0, vec![4]), (1, vec![0, 1, 2]), (2, vec![3, 5])] {
                let mean = records.iter().map(|r| one(*r)).sum::<f64>() / records.len() as f64;
                let loss = number(batch(&targets, &users, &[user], &device).loss(&model));
                assert!((loss - mean).abs() < 1e-5, "{user}: {loss} {mean}");
            }
        }
        Ok(())
    }

    #[test]
    fn each_user_has_a_gradient_of_his_own() -> Result<()> {
        let device = Device::flex().autodiff();
        let model = net(&device);
        let users = Units::users(vec![vec![4], vec![0, 1, 2], vec![3, 5]], 3)?;
        for targets in all_targets()? {
            let batch = batch(&targets, &users, &[0, 1, 2], &device);
            let agreement =
                verify(&model, batch, |model: &Net, batch: Examples<_>| batch.loss(model), 1e-3)?;
            assert!(agreement.worst < 1e-3, "{agreement:?}");
        }
        Ok(())
    }
}
