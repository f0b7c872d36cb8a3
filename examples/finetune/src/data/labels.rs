//! What records are labeled with.

/// The labels of some records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// One class for each record, below the number of classes.
    Classes(Vec<u32>),
    /// For each record whether it is of each class: `[records, classes]`, flat.
    Multi { flags: Vec<bool>, classes: usize },
}

impl Labels {
    /// Number of records.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(labels) => labels.len(),
            Self::Multi { flags, classes } => flags.len() / (*classes).max(1),
        }
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records of each class. They are private: not to be released, nor to be trained with.
    pub fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        let mut count = |class: usize| counts.get_mut(class).into_iter().for_each(|n| *n += 1);
        match self {
            Self::Classes(labels) => labels.iter().for_each(|label| count(*label as usize)),
            Self::Multi { flags, classes } => {
                let set = flags.iter().enumerate().filter(|(_, flag)| **flag);
                set.for_each(|(at, _)| count(at % (*classes).max(1)));
            }
        }
        counts
    }

    /// The label of one record, to be hashed.
    pub(super) fn bytes(&self, record: usize) -> Vec<u8> {
        match self {
            Self::Classes(labels) => {
                labels.get(record).map_or_else(Vec::new, |label| label.to_le_bytes().to_vec())
            }
            Self::Multi { flags, classes } => {
                let row = flags.get(record * classes..(record + 1) * classes);
                row.unwrap_or_default().iter().map(|flag| u8::from(*flag)).collect()
            }
        }
    }

    /// The labels of the records in `kept`, in that order.
    pub(super) fn subset(&self, kept: &[usize]) -> Self {
        match self {
            Self::Classes(labels) => Self::Classes(
                kept.iter().filter_map(|record| labels.get(*record)).copied().collect(),
            ),
            Self::Multi { flags, classes } => {
                let row = |record: &usize| flags.get(record * classes..(record + 1) * classes);
                let flags = kept.iter().filter_map(row).flatten().copied().collect();
                Self::Multi { flags, classes: *classes }
            }
        }
    }
}
