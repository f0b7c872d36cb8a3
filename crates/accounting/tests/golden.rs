//! On every setting of `data/accounting.json`, every accountant gives the same ε, to the last digit, as
//! when `data/golden.json` was written.
//!
//! `BURN_DP_WRITE_GOLDEN=1 cargo test -p burn-dp-accounting --test golden` writes the file anew. An ε that
//! changes belongs in CHANGELOG.md. If an ε rises, the earlier one was wrong.

use std::collections::BTreeMap;

use burn_dp_accounting::{
    Accountant, Adjacency, ApproximateGdpAccountant, Delta, DpEvent, GaussianAccountant,
    NoiseMultiplier, PldAccountant, PrivacyAccountant, RdpAccountant, SamplingRate, ZcdpAccountant,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod common {
    pub mod published;
}
use common::published::table;

const FILE: &str = "tests/data/golden.json";

/// The event of a row and how often it happens, if the row is about a Gaussian mechanism.
fn run(row: &Value) -> Option<(DpEvent, u64)> {
    let number = |key: &str| row[key].as_f64();
    let noise_multiplier = NoiseMultiplier::new(number("noise_multiplier")?).ok()?;
    let rate = SamplingRate::new(number("q").unwrap_or(1.0)).ok()?;
    let steps = row["steps"].as_u64().unwrap_or(1);
    Some((DpEvent::poisson_sampled_gaussian(rate, noise_multiplier), steps))
}

/// Rows by id; answers by accountant and adjacency.
fn computed() -> BTreeMap<String, BTreeMap<String, String>> {
    let table = table();
    let mut all = BTreeMap::new();
    for row in table["rows"].as_array().unwrap() {
        let Some((event, steps)) = run(row) else { continue };
        let delta = Delta::new(row["delta"].as_f64().unwrap_or(1e-5)).unwrap();
        let found = all.entry(row["id"].as_str().unwrap().to_owned()).or_insert(BTreeMap::new());
        for adjacency in [Adjacency::AddRemove, Adjacency::ZeroOut, Adjacency::ReplaceOne] {
            let accountants: [Box<dyn Accountant>; 6] = [
                Box::new(PrivacyAccountant::new(adjacency)),
                Box::new(PldAccountant::new(adjacency)),
                Box::new(RdpAccountant::new(adjacency)),
                Box::new(ZcdpAccountant::new(adjacency)),
                Box::new(GaussianAccountant::new(adjacency)),
                Box::new(ApproximateGdpAccountant::new(adjacency)),
            ];
            for mut accountant in accountants {
                let name = format!("{} {adjacency:?}", accountant.name());
                let epsilon = match accountant.compose(&event, steps) {
                    Ok(()) => format!("{:?}", accountant.epsilon(delta).value()),
                    Err(error) => error.to_string(),
                };
                found.insert(name, epsilon);
            }
        }
    }
    all
}

#[test]
fn every_epsilon_has_the_digits_that_it_always_had() {
    let found = Golden { mathematics: mathematics(), rows: computed() };
    assert!(found.rows.len() > 100, "{} rows", found.rows.len());
    if std::env::var_os("BURN_DP_WRITE_GOLDEN").is_some() {
        std::fs::write(FILE, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let before: Golden = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    assert_eq!(found.rows.len(), before.rows.len());
    let exact = found.mathematics == before.mathematics;
    for (row, answers) in &found.rows {
        for (name, epsilon) in answers {
            let before = &before.rows[row][name];
            let same = match (epsilon.parse::<f64>(), before.parse::<f64>()) {
                (Ok(a), Ok(b)) if !exact => a == b || (a - b).abs() <= 1e-9 * b,
                _ => epsilon == before,
            };
            assert!(same, "{row}, {name}: {epsilon}, and was {before}");
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Golden {
    /// How elementary functions round on the machine that wrote the file. The last digits depend on it.
    mathematics: u64,
    /// What each accountant says of each row.
    rows: BTreeMap<String, BTreeMap<String, String>>,
}

fn mathematics() -> u64 {
    let numbers = (1..1000).map(|i| f64::from(i) * 0.01);
    numbers.map(|x| x.exp().sqrt() + x.ln() + x.sin()).sum::<f64>().to_bits()
}
