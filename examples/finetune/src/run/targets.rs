//! What records are labeled with, and the loss that goes with it.

use anyhow::{Result, ensure};
use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// How classes go with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Objective {
    /// Each record is of one class.
    OneOf,
    /// Each class is true of a record, or is not.
    AnyOf,
}

/// The labels of all records of a part.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    objective: Objective,
    classes: usize,
    labels: Vec<u32>,
    /// What each class counts. Public: weights computed from private labels would give these away.
    weights: Vec<f32>,
}

impl Targets {
    /// One of `classes` for each record.
    ///
    /// # Errors
    /// When there are no classes, or a label is none of them.
    pub fn one_of(labels: Vec<u32>, classes: usize) -> Result<Self> {
        ensure!(classes > 0, "a classifier needs at least one class");
        if let Some(record) = labels.iter().position(|label| *label as usize >= classes) {
            anyhow::bail!("record {record} has the label {}, of {classes} classes", labels[record]);
        }
        Ok(Self { objective: Objective::OneOf, classes, labels, weights: vec![1.0; classes] })
    }

    /// For each record a row of `classes` answers, 0 or 1.
    ///
    /// # Errors
    /// When rows are not whole, or an answer is neither.
    pub fn any_of(answers: Vec<u32>, classes: usize) -> Result<Self> {
        ensure!(classes > 0, "a classifier needs at least one class");
        ensure!(
            answers.len().is_multiple_of(classes),
            "{} answers are no rows of {classes}",
            answers.len()
        );
        ensure!(answers.iter().all(|answer| *answer < 2), "answers are 0 or 1");
        Ok(Self {
            objective: Objective::AnyOf,
            classes,
            labels: answers,
            weights: vec![1.0; classes],
        })
    }

    /// Lets classes count differently. The weights are public, and no others than what they are here: nothing divides by
    /// their sum over a batch, which in a batch of one would take them away.
    ///
    /// # Errors
    /// When there is not one weight for each class, or one is not a positive number.
    pub fn weighted(mut self, weights: Vec<f32>) -> Result<Self> {
        ensure!(
            weights.len() == self.classes,
            "{} class weights for {} classes",
            weights.len(),
            self.classes
        );
        ensure!(
            weights.iter().all(|weight| weight.is_finite() && *weight > 0.0),
            "class weights must be positive numbers"
        );
        self.weights = weights;
        Ok(self)
    }

    /// How classes go with a record.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        match self.objective {
            Objective::OneOf => self.labels.len(),
            Objective::AnyOf => self.labels.len() / self.classes,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each record's class; with several answers a record, all answers.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// A row for each record: what each class's term counts, and whether it is true. One after the other,
    /// `[records, classes]` each.
    pub(super) fn rows(&self, records: &[usize], device: &Device) -> Tensor<2> {
        let classes = self.classes;
        let mut rows = vec![0.0f32; records.len() * classes];
        for (record, row) in records.iter().zip(rows.chunks_exact_mut(classes)) {
            match self.objective {
                Objective::OneOf => row[self.labels[*record] as usize] = 1.0,
                Objective::AnyOf => {
                    let answers = &self.labels[record * classes..][..classes];
                    row.iter_mut().zip(answers).for_each(|(to, answer)| *to = *answer as f32);
                }
            }
        }
        Tensor::from_data(TensorData::new(rows, [records.len(), classes]), device)
    }

    /// The weights of the classes, where they are not all one.
    pub(super) fn class_weights(&self) -> Option<&[f32]> {
        self.weights.iter().any(|weight| *weight != 1.0).then_some(self.weights.as_slice())
    }
}

/// Each record's loss, `[records]`, from logits and [`Targets::rows`], `[records, classes]` both. With one class a record it is the
/// cross entropy, else the mean of the classes' logistic losses. `weights` is `[records, classes]` too.
pub(super) fn losses(
    objective: Objective,
    logits: Tensor<2>,
    targets: Tensor<2>,
    weights: Option<Tensor<2>>,
) -> Tensor<1> {
    let weighted = |terms: Tensor<2>| match weights {
        Some(weights) => terms * weights,
        None => terms,
    };
    match objective {
        Objective::OneOf => {
            let terms = weighted(targets * log_softmax(logits, 1));
            -terms.sum_dim(1).squeeze_dim::<1>(1)
        }
        Objective::AnyOf => {
            // log sigmoid(-x) = log sigmoid(x) - x
            let yes = log_sigmoid(logits.clone());
            let no = yes.clone() - logits;
            let terms = weighted(targets.clone() * yes + (-targets + 1.0) * no);
            -terms.mean_dim(1).squeeze_dim::<1>(1)
        }
    }
}

/// How many answers are right, and of how many: the largest logit is the class; with several answers a positive logit is a yes.
pub(super) fn right(objective: Objective, logits: Tensor<2>, targets: Tensor<2>) -> (f64, f64) {
    let [records, classes] = targets.dims();
    let (hits, of): (Tensor<1, Int>, usize) = match objective {
        Objective::OneOf => {
            let hits = logits.argmax(1).equal(targets.argmax(1));
            (hits.int().flatten(0, 1), records)
        }
        Objective::AnyOf => {
            let hits = logits.greater_elem(0.0).equal(targets.greater_elem(0.5));
            (hits.int().flatten(0, 1), records * classes)
        }
    };
    let right: i64 = hits.sum().into_data().iter::<i64>().sum();
    (right as f64, of as f64)
}

/// The classes of some records.
pub fn labels(all: &[u32], records: &[usize], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = records.iter().map(|record| all[*record] as i32).collect();
    Tensor::from_data(labels.as_slice(), device)
}
