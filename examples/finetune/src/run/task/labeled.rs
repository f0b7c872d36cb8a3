//! What texts and images have in common: labels, classes, and what is protected.

use anyhow::Result;

use crate::data::{ClassWeights, Labels, Split};
use crate::run::{Targets, Units};

/// The labels of a task.
pub(super) struct Labeled {
    pub(super) targets: Split<Targets>,
    pub(super) classes: Vec<String>,
    pub(super) units: Units,
}

impl Labeled {
    /// Records of which each is protected by itself.
    pub(super) fn new(labels: Split<Labels>, classes: Vec<String>) -> Result<Self> {
        let targets = labels.try_map(|labels| targets(labels, classes.len()))?;
        let units = Units::records(targets.train.len());
        Ok(Self { targets, classes, units })
    }

    /// With other units of protection, and weights of classes, written as `ill=3`.
    pub(super) fn with(mut self, units: Units, weights: Option<&str>) -> Result<Self> {
        self.units = units;
        if let Some(weights) = weights {
            let weights = ClassWeights::parse(weights, &self.classes)?;
            let weights: Vec<f32> = weights.weights().iter().map(|weight| *weight as f32).collect();
            self.targets.train = self.targets.train.weighted(weights)?;
        }
        Ok(self)
    }
}

fn targets(labels: Labels, classes: usize) -> Result<Targets> {
    match labels {
        Labels::Classes(labels) => Targets::one_of(labels, classes),
        Labels::Multi { flags, classes } => {
            Targets::any_of(flags.into_iter().map(u32::from).collect(), classes)
        }
    }
}
