//! What a reader of the user's own data is told.

use super::bad_records::BadRecords;

/// How the user's own data are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// The classes, which are then public whatever the data are. Else they are taken from the training data.
    pub classes: Option<Vec<String>>,
    pub bad_records: BadRecords,
}
