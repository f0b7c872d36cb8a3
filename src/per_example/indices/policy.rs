//! What to do with a record that holds an index out of range.

/// What to do with a record that holds an index out of range, such as a label of a class that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRecords {
    /// Refuse the batch with [`BatchError::IndexOutOfRange`](crate::error::BatchError::IndexOutOfRange), before anything is spent.
    #[default]
    Refuse,
    /// Count the record's gradient and loss as zero, as for a gradient that is not finite.
    /// [`PerExample::excluded`](crate::per_example::PerExample::excluded) lists these records, and
    /// is as private as they are.
    Exclude,
}
