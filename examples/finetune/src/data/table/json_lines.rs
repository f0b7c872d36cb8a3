//! JSON lines: an object a line, whose keys are the columns. A key may be absent: its value is then missing.

use std::collections::{HashMap, HashSet};
use std::fmt;

use anyhow::{Result, ensure};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::row::{Field, Parsed, Row};
use crate::data::bad_records::{Bad, BadKind, Place};

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed> {
    ensure!(
        !bytes.trim_ascii().starts_with(b"["),
        "it is one JSON list: write one object a line, without brackets and commas around"
    );
    let mut parsed = Parsed::default();
    let mut indices: HashMap<String, usize> = HashMap::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match object(line, index + 1) {
            Err(bad) => parsed.bad.push(bad),
            Ok(Object(pairs)) => {
                let mut column = |name: String| {
                    *indices.entry(name).or_insert_with_key(|name| {
                        parsed.columns.push(name.clone());
                        parsed.columns.len() - 1
                    })
                };
                let fields =
                    pairs.into_iter().map(|(name, value)| (column(name), field(value))).collect();
                parsed.rows.push(Row::new(index + 1, fields));
            }
        }
    }
    let empty = parsed.rows.is_empty() && parsed.bad.is_empty();
    ensure!(!empty, "it is empty: each line is a JSON object");
    Ok(parsed)
}

fn object(line: &[u8], number: usize) -> Result<Object, Bad> {
    let bad = |kind, told| Bad { at: Place::Line(number), kind, told };
    let text = std::str::from_utf8(line).map_err(|error| {
        let told = format!("byte {} is not UTF-8: save the file in UTF-8", error.valid_up_to() + 1);
        bad(BadKind::NotUtf8, told)
    })?;
    serde_json::from_str(text).map_err(|error| {
        // The parser counts lines too, and sees but one.
        let told = error.to_string().replace(" at line 1 column ", " at column ");
        bad(BadKind::NotJson, told)
    })
}

/// A number or a truth value is the text that stands in the file, up to how floats are written.
fn field(value: Value) -> Field {
    match value {
        Value::String(text) => Field::Text(text),
        Value::Number(number) => Field::Text(number.to_string()),
        Value::Bool(truth) => Field::Text(truth.to_string()),
        Value::Null => Field::Missing,
        Value::Array(_) | Value::Object(_) => Field::Nested,
    }
}

/// Keys and values in order. serde_json's own map would silently keep the last of two values of a key.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object, such as {\"text\": \"fine\", \"label\": 1}")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
        let (mut pairs, mut keys) = (Vec::new(), HashSet::new());
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if !keys.insert(key.clone()) {
                return Err(M::Error::custom(format_args!("the key `{key}` stands there twice")));
            }
            pairs.push((key, value));
        }
        Ok(Object(pairs))
    }
}
