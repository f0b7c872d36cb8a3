//! Whose privacy is protected: the records of each user.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::path::Path;

use super::hash::hash;
use super::labels::Labels;
use super::words::count;

/// The records of each user. Neither the order of users nor that of their records depends on the file's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// By user id. A user's records are ordered by the hash of their contents and labels.
    users: Vec<(String, Vec<usize>)>,
}

impl Units {
    /// Groups records, of each of which the user's id and a hash of the contents are given.
    pub(super) fn new(
        ids: impl IntoIterator<Item = String>,
        contents: &[u64],
        labels: &Labels,
    ) -> Self {
        let mut users: BTreeMap<String, Vec<(u64, usize)>> = BTreeMap::new();
        for (record, (user, content)) in ids.into_iter().zip(contents).enumerate() {
            // With the label, so that only records that are the same in all are ordered as in the file.
            let order = hash([content.to_le_bytes().as_slice(), &labels.bytes(record)]);
            users.entry(user).or_default().push((order, record));
        }
        let ordered = users.into_iter().map(|(user, mut records)| {
            records.sort_unstable();
            (user, records.into_iter().map(|(_, record)| record).collect())
        });
        Self { users: ordered.collect() }
    }

    /// Number of users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Each user's id and records.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[usize])> {
        self.users.iter().map(|(id, records)| (id.as_str(), records.as_slice()))
    }

    /// The records of the user at a position; none if there are fewer users.
    pub fn records(&self, user: usize) -> &[usize] {
        self.users.get(user).map_or(&[], |(_, records)| records)
    }

    /// At most `cap` records of each user: a public bound on what one user can add to a sum.
    ///
    /// They are the first by the hash of their contents and labels. So which ones are used depends on that user's
    /// records alone: another user's data cannot push them out, and the file's order doesn't matter.
    #[must_use]
    pub fn capped(mut self, cap: NonZeroUsize) -> Self {
        self.users.iter_mut().for_each(|(_, records)| records.truncate(cap.get()));
        self
    }

    /// The units of the records in `kept`, which are numbered anew in that order.
    pub(super) fn subset(&self, kept: &[usize]) -> Self {
        let new: HashMap<usize, usize> =
            kept.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let users = self.users.iter().filter_map(|(id, records)| {
            let records: Vec<usize> =
                records.iter().filter_map(|record| new.get(record).copied()).collect();
            (!records.is_empty()).then(|| (id.clone(), records))
        });
        Self { users: users.collect() }
    }
}

/// What to say if records without users have the same contents, so that one person may stand behind several.
pub(super) fn repeats(hashes: &[u64], file: &Path) -> Option<String> {
    let mut seen = HashSet::new();
    let again = hashes.iter().filter(|hash| !seen.insert(**hash)).count();
    (again > 0).then(|| {
        format!(
            "{}: {} repeating the contents of another. The privacy is that of one record, so whoever has several is \
             protected less: name the column of the users if there is one",
            file.display(),
            count(again, "record")
        )
    })
}
