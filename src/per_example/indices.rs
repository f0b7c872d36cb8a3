//! Indices that come from data: tokens, labels, positions.
//!
//! A record may hold any number, in any integer type. Two laws therefore hold for every operation
//! that reads an index:
//!
//! - *Range.* An index out of range is found before the operation runs. Either it is an error that
//!   names operation, index and bound, or its record counts as zero ([`BadRecords`]). It is never
//!   moved to an index that exists, and it never reaches another example's numbers.
//! - *Width.* Values that are computed from an index (an offset, a row in a joint table) are
//!   computed in [`index_type`], never in the type of the data: `example * rows` does not fit into
//!   a byte.

mod checks;
mod in_replay;
mod policy;
mod uses;
mod width;

pub(crate) use checks::Checks;
pub use policy::BadRecords;
pub(crate) use uses::{ctc_bounds, read_by};
pub(crate) use width::{index_type, of_one_type, offsets};
