//! From one record to several: what any (ε, δ) means for all records of one person.

use super::quantities::{Delta, Epsilon, GroupSize};
use crate::error::{Error, Result};

/// The guarantee for data sets that differ in up to `records` records of one person, from that for a
/// single record: (kε, δ·(e^(kε) − 1)/(e^ε − 1)), rounded up.
///
/// Group privacy (Dwork & Roth 2014; Vadhan 2017) uses nothing about the mechanism: applying P(D₀) ≤ e^ε
/// P(D₁) + δ k times in a row gives δ(1 + e^ε + … + e^((k−1)ε)). It holds only if nobody has more than
/// `records` records. An accountant that takes a [`GroupSize`] itself (privacy-loss distributions) is much
/// tighter.
///
/// # Errors
/// [`Error::Setting`] where the new δ is not below 1, so that nothing is guaranteed: start from
/// a smaller δ.
pub fn user_level(epsilon: Epsilon, delta: Delta, records: GroupSize) -> Result<(Epsilon, Delta)> {
    let (once, k) = (epsilon.value(), f64::from(records.value()));
    if records == GroupSize::ONE {
        return Ok((epsilon, delta));
    }
    // log of (e^(kε) − 1)/(e^ε − 1) = e^((k−1)ε)·(1 − e^(−kε))/(1 − e^(−ε)), which tends to k.
    let log_factor = if once == 0.0 {
        k.ln()
    } else {
        (k - 1.0) * once + ((-k * once).exp_m1() / (-once).exp_m1()).ln()
    };
    let log_delta = delta.value().ln() + log_factor;
    let allowance = 1e-14 + 8.0 * f64::EPSILON * (delta.value().ln().abs() + log_factor);
    let grown = (log_delta + allowance).exp().max(delta.value());
    let delta = Delta::new(grown).map_err(|_| {
        Error::setting("delta for several records", grown, "below 1: start from a smaller delta")
    })?;
    let all = if once == 0.0 { 0.0 } else { (once * k).next_up() };
    Ok((Epsilon::new(all)?, delta))
}

/// The guarantee under replace-one, from that under add/remove or zero-out: (2ε, (1 + e^ε)δ), rounded
/// up. One record leaves and another enters, so this is [`user_level`] for two records.
///
/// An accountant that knows the mechanism is much tighter: make it for
/// [`ReplaceOne`](super::Adjacency::ReplaceOne).
///
/// # Errors
/// As [`user_level`].
pub fn replace_one_level(epsilon: Epsilon, delta: Delta) -> Result<(Epsilon, Delta)> {
    user_level(epsilon, delta, GroupSize::new(2)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(epsilon: f64, delta: f64, records: u32) -> Result<(f64, f64)> {
        let records = GroupSize::new(records).unwrap();
        let start = (Epsilon::new(epsilon).unwrap(), Delta::new(delta).unwrap());
        user_level(start.0, start.1, records).map(|(e, d)| (e.value(), d.value()))
    }

    #[test]
    fn the_geometric_sum_is_bounded_from_above() {
        for epsilon in [0.0, 1e-300, 1e-9, 0.1, 1.0, 3.0] {
            for records in [1, 2, 3, 10] {
                let (grown_epsilon, grown) = level(epsilon, 1e-14, records).unwrap();
                let sum: f64 = (0..records).map(|i| (f64::from(i) * epsilon).exp()).sum();
                assert!(
                    (0.0..1e-12).contains(&(grown / (1e-14 * sum) - 1.0)),
                    "{epsilon} {records}"
                );
                let expected = f64::from(records) * epsilon;
                assert!(grown_epsilon >= expected && grown_epsilon <= expected.next_up());
            }
        }
    }

    #[test]
    fn no_guarantee_is_an_error() {
        assert!(matches!(level(10.0, 1e-5, 3), Err(Error::Setting(_))));
        assert!(level(f64::INFINITY, 1e-5, 2).is_err());
        assert!(level(0.0, 0.5, 2).is_err());
        assert_eq!(level(f64::INFINITY, 1e-5, 1).unwrap().0, f64::INFINITY);
    }

    #[test]
    fn replacing_is_removing_and_adding() {
        let start = (Epsilon::new(0.7).unwrap(), Delta::new(1e-6).unwrap());
        let (epsilon, delta) = replace_one_level(start.0, start.1).unwrap();
        assert!((epsilon.value() / 1.4 - 1.0).abs() < 1e-15);
        assert!((delta.value() / (1e-6 * (1.0 + 0.7_f64.exp())) - 1.0).abs() < 1e-13);
    }
}
