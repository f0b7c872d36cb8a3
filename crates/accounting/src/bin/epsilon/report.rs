//! The answer for people: a table, and in words what it covers.

use std::fmt::Write;

use burn_dp_accounting::Result;
use burn_dp_accounting::{
    Accountant, ApproximateGdpAccountant, DpEvent, Epsilon, GaussianAccountant, GroupSize,
    calibrate_noise_multiplier,
};
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::accountants::{Epsilons, composed};
use super::run::Run;

/// What there is to say about a run.
pub struct Report<'a> {
    pub run: &'a Run,
    /// What was asked for and found.
    pub solved: Option<String>,
    pub show_approximate: bool,
}

impl Report<'_> {
    /// # Errors
    /// Where no accountant supports the run.
    pub fn text(&self) -> Result<String> {
        let epsilons = self.run.epsilons()?;
        let mut text = String::new();
        for line in self.solved.iter().chain([&self.run.in_words()]) {
            let _ = writeln!(text, "{line}"); // Writing to a string cannot fail.
        }
        let _ = writeln!(text, "{}", self.table(&epsilons));
        let _ = writeln!(text, "{}", self.run.covers(&epsilons));
        Ok(text)
    }

    fn table(&self, epsilons: &Epsilons) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_header(["", "epsilon", "what it is"]);
        let mut row = |name: &str, value: Option<String>, meaning: String| {
            let shown = value.unwrap_or_else(|| "-".to_owned());
            table.add_row([name.to_owned(), shown, meaning]);
        };
        // `Display` of an epsilon rounds up.
        let shown = |epsilon: Option<Epsilon>| epsilon.map(|epsilon| epsilon.to_string());
        let or_none = |epsilon: Option<Epsilon>, meaning: &str| match epsilon {
            Some(_) => meaning.to_owned(),
            None => "no proof for this".to_owned(),
        };
        let upper = "proven upper bound";
        let rdp = match self.run.group {
            GroupSize::ONE => upper,
            _ => "proven upper bound, from that for one record",
        };
        let exact = match epsilons.exact {
            Some(_) => "the value itself: nothing is sampled",
            None => "applies only where nothing is sampled",
        };
        let (pld, lower) = (epsilons.pld, epsilons.pld_lower);
        row("Rényi DP", shown(epsilons.rdp), or_none(epsilons.rdp, rdp));
        row("loss distribution", shown(pld), or_none(pld, upper));
        let below = or_none(lower, "proven: the true epsilon is not below this");
        row("  lower end", lower.map(rounded_down), below);
        row("exact Gaussian", shown(epsilons.exact), exact.to_owned());
        let (best, whose) = epsilons.best;
        let guarantee = match best.is_finite() {
            true => format!("guaranteed, by: {whose}"),
            false => "no guarantee".to_owned(),
        };
        row("best", Some(best.to_string()), guarantee);
        if self.show_approximate {
            let (value, meaning) = self.approximate();
            row("central limit", value, meaning.to_owned());
        }
        // Rounded down: less noise is the weaker claim.
        let down = |sigma: f64| format!("{:.4}", (sigma * 1e4).floor() / 1e4);
        row(
            "equivalent sigma",
            self.equivalent_noise_multiplier(best).map(down),
            "noise multiplier of one release on all records that costs `best`".to_owned(),
        );
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// An estimate, never presented as a guarantee.
    fn approximate(&self) -> (Option<String>, &'static str) {
        let accountant = ApproximateGdpAccountant::new(self.run.adjacency);
        match composed(accountant, &self.run.event()) {
            Ok(estimate) if self.run.group == GroupSize::ONE => (
                Some(format!("~{}", estimate.epsilon(self.run.delta))),
                "APPROXIMATE, NOT A GUARANTEE: it under-reports",
            ),
            _ => (None, "no such approximation for this"),
        }
    }

    /// The noise multiplier of a single Gaussian release on all records that costs the (ε, δ) of the run.
    fn equivalent_noise_multiplier(&self, epsilon: Epsilon) -> Option<f64> {
        let adjacency = self.run.adjacency;
        let sigma = calibrate_noise_multiplier(
            epsilon,
            self.run.delta,
            || GaussianAccountant::new(adjacency),
            |noise_multiplier| Ok(DpEvent::gaussian(noise_multiplier)),
        );
        // k records move the sum k times as far.
        Some(sigma.ok()?.value() * f64::from(self.run.group.value()))
    }
}

impl Run {
    fn in_words(&self) -> String {
        format!(
            "Sampling rate {}, noise multiplier {}, {} steps, delta {}, {}",
            self.rate.value(),
            self.noise_multiplier.value(),
            self.steps.value(),
            self.delta,
            self.neighbors(),
        )
    }

    fn neighbors(&self) -> String {
        match self.group.value() {
            1 => self.adjacency.to_string(),
            records => format!("{} (up to {records} such records at once)", self.adjacency),
        }
    }

    fn covers(&self, epsilons: &Epsilons) -> String {
        let (best, _) = epsilons.best;
        if !best.is_finite() {
            return "Covers nothing: epsilon is infinite, so there is no privacy.".to_owned();
        }
        let sampling = match self.rate.value() {
            1.0 => "every record is in every batch",
            _ => {
                "every record enters every batch independently (Poisson sampling; a shuffled or \
                 fixed-size loader has no such guarantee)"
            }
        };
        format!(
            "Covers ({best}, {})-differential privacy for data sets that differ by: {}. Assumed: \
             {sampling}; the {} planned steps are paid for even if the run stops earlier; the settings \
             were chosen without looking at the data; noise is drawn in exact real arithmetic.",
            self.delta,
            self.neighbors(),
            self.steps.value(),
        )
    }
}

fn rounded_down(epsilon: Epsilon) -> String {
    let nearest = format!("{:.4}", epsilon.value());
    match nearest.parse::<f64>() {
        Ok(shown) if shown > epsilon.value() => format!("{:.4}", (shown - 1e-4).max(0.0)),
        _ => nearest,
    }
}
