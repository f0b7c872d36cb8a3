//! The answer for people.

use std::fmt::Write;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use burn_dp::privacy::{
    Accountant, Adjacency, ApproximateGdpAccountant, Delta, DpEvent, Epsilon, GaussianAccountant,
    GroupSize, NoiseMultiplier, PldAccountant, RdpAccountant, calibrate_noise_multiplier,
};

use crate::settings::Run;

/// A table of ε by every accountant that applies, and what the number is about.
pub fn of(run: &Run, show_approximate: bool) -> Result<String, String> {
    let words = |error: burn_dp::Error| error.to_string();
    let (event, delta) = (run.step(), run.delta);
    let mut rows: Vec<[String; 3]> = Vec::new();
    let mut best: Option<(Epsilon, &str)> = None;
    let mut add = |name: &'static str, epsilon: Epsilon, note: &str| {
        if best.is_none_or(|(least, _)| epsilon < least) {
            best = Some((epsilon, name));
        }
        rows.push([name.to_owned(), shown(epsilon), note.to_owned()]);
    };

    // The other accountants are about single records.
    if run.group == GroupSize::ONE {
        let mut exact = GaussianAccountant::new(run.adjacency);
        if exact.compose(&event, run.steps).is_ok() {
            add("exact Gaussian", exact.epsilon(delta), "exact");
        }
        let mut renyi = RdpAccountant::new(run.adjacency);
        renyi.compose(&event, run.steps).map_err(words)?;
        add("Rényi DP", renyi.epsilon(delta), "upper bound");
    }
    let mut pld = PldAccountant::for_groups(run.adjacency, run.group);
    pld.compose(&event, run.steps).map_err(words)?;
    let (lower, upper) = pld.epsilon_bracket(delta);
    add("privacy loss distribution", upper, "upper bound");
    let lower = if lower.is_finite() { format!("{:.4}", floor(lower.value())) } else { shown(lower) };
    rows.push(["  no proof can go below".to_owned(), lower, "lower bound".to_owned()]);
    if show_approximate {
        let mut approximate = ApproximateGdpAccountant::new(run.adjacency);
        approximate.compose(&event, run.steps).map_err(words)?;
        let epsilon = approximate.epsilon(delta);
        rows.push([
            "central limit theorem (GDP)".to_owned(),
            shown(epsilon),
            "approximate, NOT a guarantee".to_owned(),
        ]);
    }

    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(["accountant", "ε", ""]);
    rows.into_iter().for_each(|row| drop(table.add_row(row)));
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }

    let mut text = String::new();
    let out = &mut text;
    let written = (|| {
        if let Some(solved) = &run.solved {
            writeln!(out, "{solved}")?;
        }
        writeln!(
            out,
            "q = {}, σ = {}, {} steps, δ = {delta}, {}",
            run.rate.value(),
            run.noise_multiplier.value(),
            run.steps,
            neighbours(run),
        )?;
        writeln!(out, "{table}")?;
        let Some((epsilon, accountant)) = best else { return Ok(()) };
        if !epsilon.is_finite() {
            return writeln!(out, "No guarantee: ε is infinite.");
        }
        writeln!(out, "The run is ({epsilon}, {delta})-differentially private, by {accountant}.")?;
        if let Some(z) = equivalent(epsilon, delta, run.adjacency) {
            writeln!(
                out,
                "It costs as much as one release of a sum of all records with σ = {:.4}.",
                z.value()
            )?;
        }
        write!(
            out,
            "This covers every intermediate model of the planned steps, if each record enters each batch \
             by its own coin (Poisson sampling; shuffled batches are not covered), and rate, noise and \
             steps were fixed in advance. Computed for exact real arithmetic, rounded up.\n"
        )
    })();
    written.map_err(|_: std::fmt::Error| "the report could not be written".to_owned())?;
    Ok(text)
}

/// The noise multiplier at which one Gaussian release of everything has the same (ε, δ).
fn equivalent(epsilon: Epsilon, delta: Delta, adjacency: Adjacency) -> Option<NoiseMultiplier> {
    if epsilon.value() == 0.0 {
        return None;
    }
    let new = || GaussianAccountant::new(adjacency);
    calibrate_noise_multiplier(epsilon, delta, new, |z| Ok(DpEvent::gaussian(z))).ok()
}

fn neighbours(run: &Run) -> String {
    match run.group.value() {
        1 => run.adjacency.to_string(),
        records => format!("{}, for groups of {records} records", run.adjacency),
    }
}

/// Rounded up, which `Display` does.
fn shown(epsilon: Epsilon) -> String {
    if epsilon.is_finite() { format!("{epsilon:.4}") } else { "infinite".to_owned() }
}

/// A lower bound is rounded down.
fn floor(value: f64) -> f64 {
    (value * 1e4).floor() / 1e4
}
