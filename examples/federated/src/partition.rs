//! Who has what.

use anyhow::{Result, bail, ensure};
use chacha20::ChaCha20Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Gamma};

/// Decides the division, which is the same in every run: runs differ in training and noise alone.
const PUBLIC_SEED: u64 = 2026;

/// Divides records among clients so that each class is shared out by a Dirichlet distribution of concentration `alpha` (Hsu
/// et al. 2019, arXiv 1909.06335): the smaller, the fewer classes a client has. Every record is at one client; a
/// client may have none.
///
/// # Errors
/// For no clients, or a concentration that is not positive and finite.
pub fn dirichlet(labels: &[u32], clients: usize, alpha: f64) -> Result<Vec<Vec<usize>>> {
    ensure!(clients > 0, "--clients must be at least 1");
    ensure!(alpha > 0.0 && alpha.is_finite(), "--alpha must be positive and finite");
    let mut rng = ChaCha20Rng::seed_from_u64(PUBLIC_SEED);
    let mut shares = vec![Vec::new(); clients];
    // A Dirichlet draw is a row of gamma draws over its sum.
    let gamma = Gamma::new(alpha, 1.0)?;
    for class in 0..=labels.iter().copied().max().unwrap_or(0) {
        let mut records: Vec<usize> =
            (0..labels.len()).filter(|record| labels[*record] == class).collect();
        records.shuffle(&mut rng);
        let weights: Vec<f64> = (0..clients).map(|_| gamma.sample(&mut rng)).collect();
        let total: f64 = weights.iter().sum();
        let (mut sum, mut begin) = (0.0, 0);
        for (share, weight) in shares.iter_mut().zip(weights) {
            sum += weight;
            let end = (sum / total * records.len() as f64).round() as usize;
            let end = end.clamp(begin, records.len());
            share.extend_from_slice(&records[begin..end]);
            begin = end;
        }
        // What rounding left over.
        let last = rng.random_range(0..clients);
        shares[last].extend_from_slice(&records[begin..]);
    }
    Ok(shares)
}

/// The words of a client's `share` file: `2/300` is the second of 300 clients; as (1, 300).
///
/// # Errors
/// For other words.
pub fn share_in_words(text: &str) -> Result<(usize, usize)> {
    let numbers = text.trim().split_once('/').map(|(one, all)| (one.parse(), all.parse()));
    match numbers {
        Some((Ok(one), Ok(all))) if (1..=all).contains(&one) => Ok((one - 1, all)),
        _ => bail!("`share` says {text:?}; write 2/300 for the second of 300 clients"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_at_one_client() -> Result<()> {
        let labels: Vec<u32> = (0..1000).map(|record| record % 7).collect();
        for (clients, alpha) in [(1, 0.3), (10, 0.01), (300, 0.3), (3000, 100.0)] {
            let mut all = dirichlet(&labels, clients, alpha)?.concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..1000), "{clients} clients, {alpha}");
        }
        Ok(())
    }

    #[test]
    fn a_small_concentration_leaves_clients_few_classes() -> Result<()> {
        let labels: Vec<u32> = (0..10_000).map(|record| record % 10).collect();
        let classes = |alpha| -> Result<f64> {
            let shares = dirichlet(&labels, 20, alpha)?;
            let seen = |share: &Vec<usize>| {
                (0..10).filter(|class| share.iter().any(|r| labels[*r] == *class)).count()
            };
            Ok(shares.iter().map(seen).sum::<usize>() as f64 / 20.0)
        };
        assert!(classes(0.05)? < 5.0 && classes(100.0)? > 9.9);
        Ok(())
    }

    #[test]
    fn shares_are_read() {
        assert_eq!(share_in_words("2/300\n").ok(), Some((1, 300)));
        for wrong in ["", "0/3", "4/3", "a/3", "3"] {
            assert!(share_in_words(wrong).is_err(), "{wrong}");
        }
    }
}
