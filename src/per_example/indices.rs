//! Indices that come from data: tokens, labels, positions.
//!
//! A record may hold any number, in any integer type. Two laws follow, for every operation that reads an index:
//!
//! - *Range.* An index outside of what it points into is found before the operation runs. It is an error that names
//!   operation, index and bound, or its record counts as zero ([`BadRecords`]); it is never moved to an index
//!   that exists, and never reaches another example's numbers.
//! - *Width.* What is computed from an index (an offset, a row in a joint table) is computed in
//!   [`index_type`], never in the type of the data: `example * rows` does not fit into a byte.

mod checks;
mod in_replay;
mod policy;
mod uses;
mod width;

pub(crate) use checks::Checks;
pub use policy::BadRecords;
pub(crate) use uses::{ctc_bounds, read_by};
pub(crate) use width::{index_type, of_one_type, offsets};
