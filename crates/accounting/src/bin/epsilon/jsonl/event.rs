//! What a question's run releases.

use burn_dp_accounting::{DpEvent, Epsilon, NoiseMultiplier, RunCount, SamplingRate};
use serde_json::Value;

use super::row::{Row, RowError, bad};

/// The whole run of a question about its cost.
pub fn run(row: &Row) -> Result<DpEvent, RowError> {
    match row.text("kind")? {
        "zcdp" => Ok(DpEvent::ZeroConcentrated { rho: row.quantity("rho")? }),
        "pure_dp_compose" => pure(row),
        "tuning" => {
            let event = Box::new(training(row)?);
            Ok(DpEvent::RepeatAndSelect { event, runs: runs(row)? })
        }
        "compose" | "compose_mixed" => {
            let phases = row.list("phases")?;
            Ok(DpEvent::Composed(phases.iter().map(phase).collect::<Result<_, _>>()?))
        }
        _ => training(row),
    }
}

/// One step with the noise multiplier of the question.
pub fn step(row: &Row) -> Result<DpEvent, RowError> {
    // The distance under replace-one is 2C, and our multiplier is relative to C.
    const OVER_TWICE: &str = "noise_multiplier_over_replace_sensitivity";
    let noise_multiplier = if row.has("noise_multiplier") || !row.has(OVER_TWICE) {
        row.quantity("noise_multiplier")?
    } else {
        NoiseMultiplier::new(2.0 * row.number(OVER_TWICE)?)?
    };
    Ok(Sampling::of(row)?.step(noise_multiplier))
}

/// How each batch is drawn.
pub enum Sampling {
    Everything,
    Poisson { rate: SamplingRate },
    Truncated { rate: SamplingRate, dataset_size: u64, largest_batch: u64 },
    WithoutReplacement { dataset_size: u64, batch_size: u64 },
}

impl Sampling {
    /// Poisson unless the row says otherwise.
    pub fn of(row: &Row) -> Result<Self, RowError> {
        let name = if row.has("sampling") { row.text("sampling")? } else { "poisson" };
        let starts = |start: &str| name.starts_with(start);
        if starts("poisson") {
            Ok(Self::Poisson { rate: row.quantity("q")? })
        } else if starts("full batch") {
            match row.has("q").then(|| row.number("q")).transpose()? {
                None | Some(1.0) => Ok(Self::Everything),
                Some(rate) => Err(bad("q", &rate.into(), "1 where nothing is sampled")),
            }
        } else if starts("truncated poisson") {
            Ok(Self::Truncated {
                rate: row.quantity("q")?,
                dataset_size: row.count("dataset_size")?,
                largest_batch: row.count("truncated_batch")?,
            })
        } else if starts("fixed-size without replacement") {
            Ok(Self::WithoutReplacement {
                dataset_size: row.count("dataset_size")?,
                batch_size: row.count("batch")?,
            })
        } else {
            Err(RowError::NoBound(
                "this sampling: it is none of poisson, full batch, truncated poisson and \
                 fixed-size without replacement",
            ))
        }
    }

    pub fn step(&self, noise_multiplier: NoiseMultiplier) -> DpEvent {
        let event = Box::new(DpEvent::gaussian(noise_multiplier));
        match *self {
            Self::Everything => *event,
            Self::Poisson { rate } => DpEvent::PoissonSampled { rate, event },
            Self::Truncated { rate, dataset_size, largest_batch } => {
                DpEvent::TruncatedPoissonSampled { rate, dataset_size, largest_batch, event }
            }
            Self::WithoutReplacement { dataset_size, batch_size } => {
                DpEvent::SampledWithoutReplacement { dataset_size, batch_size, event }
            }
        }
    }
}

fn training(row: &Row) -> Result<DpEvent, RowError> {
    Ok(step(row)?.repeated(row.count("steps")?))
}

fn pure(row: &Row) -> Result<DpEvent, RowError> {
    let event = DpEvent::PureDp { epsilon: row.quantity("epsilon_each")? };
    Ok(event.repeated(row.count("steps")?))
}

fn runs(row: &Row) -> Result<RunCount, RowError> {
    let (mean, shape) = (row.number("mean_runs")?, row.number("shape")?);
    Ok(if shape == f64::INFINITY {
        RunCount::poisson(mean)?
    } else {
        RunCount::negative_binomial(mean, shape)?
    })
}

/// A phase is an object with the fields of a run, or one of three sentences.
fn phase(value: &Value) -> Result<DpEvent, RowError> {
    match value {
        Value::Object(fields) if fields.contains_key("epsilon_each") => pure(&Row::part(fields)),
        Value::Object(fields) => training(&Row::part(fields)),
        Value::String(text) => phase_in_words(text).unwrap_or_else(|| Err(unknown(value))),
        _ => Err(unknown(value)),
    }
}

fn unknown(value: &Value) -> RowError {
    let requirement = "an object with q, noise_multiplier and steps, or with epsilon_each and steps, \
                       or \"pure-DP E selection\", \"Gaussian sigma=Z full batch\" or \
                       \"Poisson q=Q sigma=Z T=N\"";
    bad("phases", value, requirement)
}

/// `None` for a sentence that is not understood to its last word.
fn phase_in_words(text: &str) -> Option<Result<DpEvent, RowError>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["pure-DP", epsilon, "selection"] => {
            let epsilon = Epsilon::new(epsilon.parse().ok()?);
            Some(epsilon.map(|epsilon| DpEvent::PureDp { epsilon }).map_err(Into::into))
        }
        ["Gaussian", sigma, "full", "batch"] => {
            let sigma = NoiseMultiplier::new(setting(sigma, "sigma=")?);
            Some(sigma.map(DpEvent::gaussian).map_err(Into::into))
        }
        ["Poisson", rate, sigma, steps] => {
            let (rate, sigma) = (setting(rate, "q=")?, setting(sigma, "sigma=")?);
            let steps = steps.strip_prefix("T=")?.parse().ok()?;
            let event = SamplingRate::new(rate).and_then(|rate| {
                let sigma = NoiseMultiplier::new(sigma)?;
                Ok(DpEvent::poisson_sampled_gaussian(rate, sigma).repeated(steps))
            });
            Some(event.map_err(Into::into))
        }
        _ => None,
    }
}

fn setting(word: &str, name: &str) -> Option<f64> {
    word.strip_prefix(name)?.parse().ok()
}
