//! Records that cannot be used: refused, or left out and counted.
//!
//! Leaving out is safe for privacy: whether a record is left out depends on that record alone, so two data sets
//! that differ in one record still differ in at most one. The counts are meant for who holds the data; they are
//! no private release.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::words::count;

/// What happens with records that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum BadRecords {
    /// None may be there: the error lists the first ones.
    #[default]
    Refuse,
    /// They are left out, and a note says how many of each kind.
    LeaveOut,
}

/// Bad records that an error lists.
const SHOWN: usize = 5;

/// A record that cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bad {
    pub at: Place,
    pub kind: BadKind,
    /// What is wrong, in words.
    pub told: String,
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A line of the table; the first one is 1.
    Line(usize),
    File(PathBuf),
}

/// What can be wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BadKind {
    Fields,
    NotUtf8,
    NotJson,
    NotText,
    NoText,
    Label,
    NoUser,
    Image,
}

/// Refuses or reports the bad records of `file`: one note if there are any.
pub(super) fn settle(file: &Path, mut bad: Vec<Bad>, rule: BadRecords) -> Result<Vec<String>> {
    if bad.is_empty() {
        return Ok(Vec::new());
    }
    let count = count(bad.len(), "record");
    let file = file.display();
    if rule == BadRecords::LeaveOut {
        let mut kinds: BTreeMap<BadKind, usize> = BTreeMap::new();
        bad.iter().for_each(|bad| *kinds.entry(bad.kind).or_default() += 1);
        let kinds: Vec<String> =
            kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        return Ok(vec![format!("{file}: left out {count}: {}", kinds.join(", "))]);
    }
    bad.sort_by(|a, b| a.at.cmp(&b.at));
    let shown: String =
        bad.iter().take(SHOWN).map(|bad| format!("\n  {}: {}", bad.at, bad.told)).collect();
    let more = match bad.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    bail!(
        "{file} has {count} that cannot be used:{shown}{more}\n\
         correct what is wrong, or leave such records out with --bad-records leave-out"
    )
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::File(file) => file.display().fmt(f),
        }
    }
}

impl fmt::Display for BadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fields => "with another number of fields than the header",
            Self::NotUtf8 => "not in UTF-8",
            Self::NotJson => "not a JSON object",
            Self::NotText => "with a list or an object instead of a text",
            Self::NoText => "without a text",
            Self::Label => "without a label that is known",
            Self::NoUser => "without a user",
            Self::Image => "with an image that cannot be read",
        })
    }
}
