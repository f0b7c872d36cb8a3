//! ε on the dashboard.

use std::sync::Arc;

use burn::tensor::{ExecutionError, TensorReadError};
use burn::train::ItemLazy;
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};

/// The output of a training step. It says nothing about the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent {
    /// Steps taken.
    pub step: u64,
    /// ε so far. It is exact at every hundredth of the plan; in between it is that of the next
    /// hundredth. `None` if it could not be computed, which ends the run.
    pub epsilon: Option<f64>,
}

impl ItemLazy for Spent {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl Adaptor<Spent> for Spent {
    fn adapt(&self) -> Spent {
        *self
    }
}

/// ε so far, never less than the ε that is spent.
#[derive(Clone, Debug, Default)]
pub struct EpsilonMetric {
    epsilon: f64,
}

impl EpsilonMetric {
    /// For `metric_train_numeric`.
    pub fn new() -> Self {
        Self::default()
    }

    fn entry(&self) -> SerializedEntry {
        // Rounded up, as ε always is.
        let shown = (self.epsilon * 1e3).ceil() / 1e3;
        SerializedEntry::new(format!("{shown:.3}"), NumericEntry::Value(self.epsilon).serialize())
    }
}

impl Metric for EpsilonMetric {
    type Input = Spent;

    fn name(&self) -> MetricName {
        Arc::new("Epsilon".to_owned())
    }

    fn description(&self) -> Option<String> {
        Some("privacy spent so far, an upper bound".to_owned())
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: false }.into()
    }

    fn update(
        &mut self,
        spent: &Spent,
        _metadata: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.epsilon = spent.epsilon.unwrap_or(f64::INFINITY).max(self.epsilon);
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        let serialized = NumericEntry::Final(self.epsilon).serialize();
        Ok(SerializedEntry { serialized, ..self.entry() })
    }

    /// Spent privacy stays spent: another epoch changes nothing.
    fn clear(&mut self) {}
}

impl Numeric for EpsilonMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.epsilon))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.value()
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.epsilon)
    }
}
