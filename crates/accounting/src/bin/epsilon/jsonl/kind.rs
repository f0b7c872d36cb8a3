//! What each kind of question asks for.

use burn_dp_accounting::{
    Accountant, Adjacency, ApproximateGdpAccountant, Delta, Epsilon, GaussianAccountant, GroupSize,
    NoiseMultiplier, PldAccountant, PrivacyAccountant, RdpAccountant, affordable_steps,
    calibrate_noise_multiplier,
};

use super::super::accountants::{Accountants, composed};
use super::answer::{Answer, Number};
use super::event::{self, Sampling};
use super::row::{Row, RowError, bad};

/// The answer to a question.
///
/// # Errors
/// What is wrong with the question, or that nothing is proven about it.
pub fn answer(row: &Row) -> Result<Answer, RowError> {
    match row.text("kind")? {
        "eps" | "eps_truncated" | "eps_group" | "compose" | "compose_mixed" | "zcdp" | "tuning"
        | "pure_dp_compose" => epsilon(row, RdpAccountant::new(row.adjacency()?)),
        "eps_rdp_exact" => {
            epsilon(row, RdpAccountant::with_orders(row.adjacency()?, &google_orders())?)
        }
        "delta" => delta(row),
        "rdp_curve" => rdp_curve(row),
        "gdp" => approximate(row),
        "calibrate_sigma" => noise_multiplier(row),
        "max_steps" => max_steps(row),
        "adaptive_clip" => adaptive_clip(row),
        "shuffle_gap" => Err(RowError::NoBound(
            "shuffled batches: Poisson sampling costs less, so its epsilon is not theirs",
        )),
        kind => Err(bad("kind", &kind.into(), "one that this program knows")),
    }
}

fn epsilon(row: &Row, rdp: RdpAccountant) -> Result<Answer, RowError> {
    let accountants = Accountants::with_rdp(rdp, &event::run(row)?, row.group()?)?;
    let epsilons = accountants.epsilons(row.quantity("delta")?);
    Ok(Answer {
        rdp: epsilons.rdp.map(Number::from),
        pld: epsilons.pld.map(Number::from),
        pld_lower: epsilons.pld_lower.map(Number::from),
        exact: epsilons.exact.map(Number::from),
        value: Some(epsilons.best.0.into()),
        approximate: None,
    })
}

fn delta(row: &Row) -> Result<Answer, RowError> {
    let accountants = Accountants::of(&event::run(row)?, row.adjacency()?, row.group()?)?;
    let deltas = accountants.deltas(row.quantity("epsilon")?);
    Ok(Answer {
        rdp: deltas.rdp.map(Number::from),
        pld: deltas.pld.map(Number::from),
        exact: deltas.exact.map(Number::from),
        value: Some(deltas.best.into()),
        ..Answer::default()
    })
}

fn rdp_curve(row: &Row) -> Result<Answer, RowError> {
    one_record(row)?;
    let rdp = RdpAccountant::with_orders(row.adjacency()?, &[row.number("alpha")?])?;
    let curve = composed(rdp, &event::run(row)?)?.rdp();
    Ok(only(curve.first().copied().unwrap_or(f64::INFINITY)))
}

/// The one answer that is no guarantee; it says so.
fn approximate(row: &Row) -> Result<Answer, RowError> {
    one_record(row)?;
    let estimate = ApproximateGdpAccountant::new(row.adjacency()?);
    let estimate = composed(estimate, &event::run(row)?)?.epsilon(row.quantity("delta")?);
    Ok(Answer { approximate: Some(true), ..only(estimate) })
}

/// The least noise, by the accountant that the row names.
fn noise_multiplier(row: &Row) -> Result<Answer, RowError> {
    let (target, at, adjacency, group) = target(row)?;
    let (sampling, steps) = (Sampling::of(row)?, row.count("steps")?);
    let run = |noise_multiplier| Ok(sampling.step(noise_multiplier).repeated(steps));
    let least = match Choice::of(row)? {
        Choice::Rdp => {
            calibrate_noise_multiplier(target, at, || RdpAccountant::new(adjacency), run)
        }
        Choice::Pld => {
            let new = || PldAccountant::for_groups(adjacency, group);
            calibrate_noise_multiplier(target, at, new, run)
        }
        Choice::Exact => {
            calibrate_noise_multiplier(target, at, || GaussianAccountant::new(adjacency), run)
        }
        Choice::Best => {
            calibrate_noise_multiplier(target, at, || PrivacyAccountant::new(adjacency), run)
        }
    };
    Ok(only(least?))
}

/// The most steps, by the accountant that the row names.
fn max_steps(row: &Row) -> Result<Answer, RowError> {
    let (target, at, adjacency, group) = target(row)?;
    let step = event::step(row)?;
    let steps = match Choice::of(row)? {
        Choice::Rdp => affordable_steps(target, at, || RdpAccountant::new(adjacency), &step),
        Choice::Pld => {
            affordable_steps(target, at, || PldAccountant::for_groups(adjacency, group), &step)
        }
        Choice::Exact => affordable_steps(target, at, || GaussianAccountant::new(adjacency), &step),
        Choice::Best => affordable_steps(target, at, || PrivacyAccountant::new(adjacency), &step),
    };
    Ok(only(steps?.value() as f64))
}

/// The noise multiplier that is left for the gradient.
fn adaptive_clip(row: &Row) -> Result<Answer, RowError> {
    let whole: NoiseMultiplier = row.quantity("effective_noise_multiplier")?;
    let sigma = row.number("sigma_b")?;
    // The centered count has sensitivity 1/2.
    let rest = whole.beside(2.0 * sigma).ok_or_else(|| RowError::Field {
        field: "sigma_b",
        value: sigma.to_string(),
        requirement: "greater than half the effective noise multiplier",
    })?;
    Ok(only(rest))
}

fn target(row: &Row) -> Result<(Epsilon, Delta, Adjacency, GroupSize), RowError> {
    let group = row.group()?;
    Ok((row.quantity("epsilon")?, row.quantity("delta")?, row.adjacency()?, group))
}

/// Whose bound a search uses.
enum Choice {
    Rdp,
    Pld,
    Exact,
    Best,
}

impl Choice {
    /// The best one unless the row names one. For groups of records, only loss distributions can be
    /// searched.
    fn of(row: &Row) -> Result<Self, RowError> {
        let name = if row.has("accountant") { row.text("accountant")? } else { "" };
        let named = |part: &str| name.to_ascii_lowercase().contains(part);
        let choice = if named("rdp") {
            Self::Rdp
        } else if named("pld") || named("prv") {
            Self::Pld
        } else if named("exact") || named("gaussian") {
            Self::Exact
        } else {
            Self::Best
        };
        match (choice, row.group()?) {
            (choice, GroupSize::ONE) => Ok(choice),
            (Self::Best | Self::Pld, _) => Ok(Self::Pld),
            _ => Err(RowError::NoBound("groups of records by this accountant")),
        }
    }
}

/// Refuses a group, because the answer would be that of one record.
fn one_record(row: &Row) -> Result<(), RowError> {
    match row.group()? {
        GroupSize::ONE => Ok(()),
        _ => Err(RowError::NoBound("groups of records in this form")),
    }
}

fn only(number: impl Into<Number>) -> Answer {
    Answer { value: Some(number.into()), ..Answer::default() }
}

/// The default orders of Google's dp-accounting.
fn google_orders() -> Vec<f64> {
    let tenths = (11..110).map(|n| f64::from(n) / 10.0);
    let integers = (11..64).map(f64::from);
    tenths.chain(integers).chain([128.0, 256.0, 512.0, 1024.0]).collect()
}
