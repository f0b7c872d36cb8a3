//! What is protected: each record by itself, or all records of a user.

use anyhow::{Result, ensure};

/// Units of protection, as lists of records.
#[derive(Clone, Debug, PartialEq)]
pub struct Units {
    /// None where each record is a unit.
    users: Option<Vec<Vec<usize>>>,
    records: usize,
    /// Records that a unit may have.
    largest: usize,
}

impl Units {
    /// Each of so many records.
    pub fn records(records: usize) -> Self {
        Self { users: None, records, largest: 1 }
    }

    /// Each user with all of his records, of which at most `most` are used: the first ones in each list. All of a user is sampled and
    /// clipped as one (user-level sampling: Charles et al. 2024, arXiv 2407.07737).
    ///
    /// # Errors
    /// When `most` is zero, or a user has no records.
    pub fn users(users: Vec<Vec<usize>>, most: usize) -> Result<Self> {
        ensure!(most > 0, "at least one record of each user must be used");
        ensure!(users.iter().all(|records| !records.is_empty()), "a user has no records");
        let users: Vec<Vec<usize>> = users
            .into_iter()
            .map(|mut records| {
                records.truncate(most);
                records
            })
            .collect();
        let records = users.iter().map(Vec::len).sum();
        Ok(Self { users: Some(users), records, largest: most })
    }

    /// The first so many units.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        match &self.users {
            None => Self::records(self.records.min(count)),
            Some(users) => {
                let users: Vec<_> = users.iter().take(count).cloned().collect();
                let records = users.iter().map(Vec::len).sum();
                Self { users: Some(users), records, largest: self.largest }
            }
        }
    }

    /// How many units there are.
    pub fn len(&self) -> usize {
        self.users.as_ref().map_or(self.records, Vec::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a unit is a user.
    pub fn is_by_user(&self) -> bool {
        self.users.is_some()
    }

    /// What is protected, in a word.
    pub fn name(&self) -> &'static str {
        if self.is_by_user() { "user" } else { "record" }
    }

    /// How many records are used.
    pub fn used(&self) -> usize {
        self.records
    }

    /// The records of a unit.
    pub(super) fn of(&self, unit: usize) -> Vec<usize> {
        match &self.users {
            None => vec![unit],
            Some(users) => users[unit].clone(),
        }
    }

    /// The records of some units, as many for each: those of a smaller unit are filled up with its first, which then counts nothing.
    /// Each row's share in its unit is one divided by the unit's records.
    pub(super) fn rows(&self, units: &[usize]) -> (Vec<usize>, Vec<f32>, usize) {
        let lists: Vec<Vec<usize>> = units.iter().map(|unit| self.of(*unit)).collect();
        let longest = lists.iter().map(Vec::len).max().unwrap_or(1).max(1);
        // Few different shapes: whatever traces the model sees each as a new one.
        let rows = longest.next_power_of_two().min(self.largest.max(longest));
        let (mut records, mut shares) = (Vec::new(), Vec::new());
        for list in lists {
            let share = 1.0 / list.len().max(1) as f32;
            for row in 0..rows {
                records.push(list.get(row).or(list.first()).copied().unwrap_or_default());
                shares.push(if row < list.len() { share } else { 0.0 });
            }
        }
        (records, shares, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_counts_once_whatever_it_holds() -> Result<()> {
        let units = Units::users(vec![vec![5], vec![1, 2, 3], vec![0, 4]], 3)?;
        let (records, shares, rows) = units.rows(&[0, 1, 2]);
        assert_eq!(rows, 3);
        assert_eq!(records, [5, 5, 5, 1, 2, 3, 0, 4, 0]);
        for unit in shares.chunks(rows) {
            assert!((unit.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_eq!(shares[1..3], [0.0, 0.0]);
        assert_eq!(Units::users(vec![vec![1, 2, 3]], 2)?.used(), 2);
        assert!(Units::users(vec![vec![]], 2).is_err() && Units::users(vec![], 0).is_err());
        assert_eq!(Units::records(3).rows(&[2, 0]), (vec![2, 0], vec![1.0, 1.0], 1));
        Ok(())
    }
}
