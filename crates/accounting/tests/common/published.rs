//! Published values, from `data/accounting.json`. Its `meta` says which tool made each row and how to
//! compare.

#![allow(dead_code, reason = "each test crate uses a part")]

use burn_dp_accounting::Adjacency;
use serde_json::Value;

/// The whole file.
pub fn table() -> Value {
    serde_json::from_str(include_str!("../data/accounting.json")).unwrap()
}

/// The rows of one kind whose accountant's name starts with `accountant`; never none.
pub fn rows(kind: &str, accountant: &str) -> Vec<Value> {
    let table = table();
    let wanted = |row: &&Value| {
        row["kind"] == kind && row["accountant"].as_str().unwrap().starts_with(accountant)
    };
    let rows: Vec<Value> =
        table["rows"].as_array().unwrap().iter().filter(wanted).cloned().collect();
    assert!(!rows.is_empty(), "no {kind} rows of {accountant}");
    rows
}

/// A number; "inf" is infinity.
pub fn number(row: &Value, key: &str) -> f64 {
    if row[key] == "inf" {
        return f64::INFINITY;
    }
    row[key].as_f64().unwrap_or_else(|| panic!("{}: no {key}", row["id"]))
}

pub fn count(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or_else(|| panic!("{}: no {key}", row["id"]))
}

pub fn adjacency(row: &Value) -> Adjacency {
    match row["adjacency"].as_str().unwrap() {
        "add_remove" => Adjacency::AddRemove,
        "zero_out" => Adjacency::ZeroOut,
        // Some rows go on with a remark.
        name if name.starts_with("replace_one") => Adjacency::ReplaceOne,
        other => panic!("unknown adjacency {other}"),
    }
}
