//! The mean of the last rounds' weights, which noise moves less than it moves the last (Polyak & Juditsky 1992). It is made of
//! releases alone, so it costs no privacy.

use std::borrow::Cow;

pub struct Average {
    /// The rounds after this one count.
    after: u64,
    sum: Vec<f64>,
    count: u64,
}

impl Average {
    /// Of the last `last` of so many rounds.
    pub const fn new(rounds: u64, last: u64) -> Self {
        Self { after: rounds.saturating_sub(last), sum: Vec::new(), count: 0 }
    }

    /// Counts the weights after a round.
    pub fn add(&mut self, round: u64, weights: &[f32]) {
        if round > self.after {
            self.sum.resize(weights.len(), 0.0);
            self.sum.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += f64::from(*weight));
            self.count += 1;
        }
    }

    /// The mean so far; these weights where no round counts yet.
    pub fn of<'w>(&self, weights: &'w [f32]) -> Cow<'w, [f32]> {
        if self.count == 0 {
            return Cow::Borrowed(weights);
        }
        let count = self.count as f64;
        Cow::Owned(self.sum.iter().map(|sum| (sum / count) as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_rounds_count() {
        let mut average = Average::new(4, 2);
        for round in 1..=4 {
            let weights = [round as f32, -2.0 * round as f32];
            average.add(round, &weights);
            let mean = if round < 3 { round as f32 } else { (3.0 + round as f32) / 2.0 };
            assert_eq!(average.of(&weights).as_ref(), [mean, -2.0 * mean]);
        }
    }
}
