//! What to do with a record that points nowhere.

/// What to do with a record that holds an index out of range, such as a label of a class that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRecords {
    /// Refuse the batch with [`BatchError::IndexOutOfRange`](crate::error::BatchError::IndexOutOfRange), before anything is spent.
    #[default]
    Refuse,
    /// Count the record's gradient and loss as zero, like a gradient that is not finite. Which records these are
    /// is [`PerExample::excluded`](crate::per_example::PerExample::excluded), and as private as the records.
    Exclude,
}
