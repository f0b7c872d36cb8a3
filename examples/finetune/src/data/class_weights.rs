//! How much a record of each class counts in the loss.

use anyhow::{Context, Result, ensure};

use super::words::{did_you_mean, listed, quoted};

/// A positive weight for each class, from public knowledge.
///
/// They are never computed from the training data: the usual "one over the class's count" would release the private
/// counts through the model, outside of what the accountant knows. Give what is known in public, such as that one
/// patient in four is ill, or what the cost of each mistake is.
///
/// A weight multiplies the loss of a record, hence its gradient, before clipping. What is clipped has a bounded norm
/// whatever it was before, so the privacy guarantee is the same for all weights.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassWeights {
    weights: Vec<f64>,
}

impl ClassWeights {
    /// Reads `a=1,b=3`. Classes that are not named weigh 1.
    ///
    /// # Errors
    /// When a class is unknown or named twice, or a weight is not a positive number.
    pub fn parse(text: &str, classes: &[String]) -> Result<Self> {
        let mut weights: Vec<Option<f64>> = vec![None; classes.len()];
        for part in text.split(',') {
            let (class, weight) = part.rsplit_once('=').with_context(|| {
                format!("--class-weights: {} should be class=weight, such as ill=3", quoted(part))
            })?;
            let class = class.trim();
            let near = || did_you_mean(class, classes.iter().map(String::as_str));
            let slot = classes.iter().zip(&mut weights).find(|(name, _)| *name == class);
            let (_, slot) = slot.with_context(|| {
                let (class, classes) = (quoted(class), listed(classes));
                format!("--class-weights: {class} is none of the classes {classes}{}", near())
            })?;
            ensure!(slot.is_none(), "--class-weights: {} is given twice", quoted(class));
            let value: Option<f64> = weight.trim().parse().ok();
            let value = value.filter(|value| value.is_finite() && *value > 0.0);
            *slot = Some(value.with_context(|| {
                format!("--class-weights: {} is not a positive number", quoted(weight))
            })?);
        }
        Ok(Self { weights: weights.into_iter().map(|weight| weight.unwrap_or(1.0)).collect() })
    }

    /// One for each class.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }
}
