//! The fields of a question.

use burn_dp_accounting::{Adjacency, GroupSize};
use serde_json::{Map, Value};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("a question must be a JSON object")]
    NotAnObject,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{field}` is {value}, but must be {requirement}")]
    Field { field: &'static str, value: String, requirement: &'static str },
    #[error("no bound is known for {0}")]
    NoBound(&'static str),
    #[error(transparent)]
    Privacy(#[from] burn_dp_accounting::Error),
}

/// One question.
#[derive(Debug, PartialEq)]
pub struct Row(Map<String, Value>);

impl Row {
    pub fn parse(line: &[u8]) -> Result<Self, RowError> {
        match serde_json::from_slice(line)? {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(RowError::NotAnObject),
        }
    }

    /// A part of a question that is an object itself.
    pub fn part(fields: &Map<String, Value>) -> Self {
        Self(fields.clone())
    }

    /// Whatever identifies the question; null if nothing does.
    pub fn id(&self) -> Value {
        self.0.get("id").cloned().unwrap_or_default()
    }

    /// Without the fields that no answer depends on.
    pub fn without_remarks(mut self) -> Self {
        for remark in ["id", "source", "note", "edge"] {
            self.0.remove(remark);
        }
        // Only a search uses one accountant; every other answer lists all of them.
        let is_search = |kind| ["calibrate_sigma", "max_steps"].contains(&kind);
        if !self.text("kind").is_ok_and(is_search) {
            self.0.remove("accountant");
        }
        self
    }

    pub fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// A number; a string that starts with "inf" is infinity.
    pub fn number(&self, field: &'static str) -> Result<f64, RowError> {
        match self.field(field)? {
            Value::String(text) if text.starts_with("inf") => Ok(f64::INFINITY),
            value => value.as_f64().ok_or_else(|| bad(field, value, "a number or \"inf\"")),
        }
    }

    pub fn quantity<T>(&self, field: &'static str) -> Result<T, RowError>
    where
        T: TryFrom<f64, Error = burn_dp_accounting::SettingError>,
    {
        Ok(T::try_from(self.number(field)?).map_err(burn_dp_accounting::Error::from)?)
    }

    /// A whole number; 1000.0 is one.
    pub fn count(&self, field: &'static str) -> Result<u64, RowError> {
        /// Every smaller whole number is itself as a float.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let value = self.field(field)?;
        let whole = |number: &f64| (0.0..EXACT).contains(number) && number.fract() == 0.0;
        let count = value.as_u64().or_else(|| value.as_f64().filter(whole).map(|n| n as u64));
        count.ok_or_else(|| bad(field, value, "a whole number of at least 0"))
    }

    pub fn text(&self, field: &'static str) -> Result<&str, RowError> {
        let value = self.field(field)?;
        value.as_str().ok_or_else(|| bad(field, value, "a string"))
    }

    pub fn list(&self, field: &'static str) -> Result<&[Value], RowError> {
        match self.field(field)? {
            Value::Array(values) => Ok(values),
            value => Err(bad(field, value, "a list")),
        }
    }

    /// A remark may follow the name. A name that is not known is never taken for the weakest one.
    pub fn adjacency(&self) -> Result<Adjacency, RowError> {
        let name = self.text("adjacency")?;
        match name.split([' ', '(']).next().unwrap_or(name) {
            // "any" is for costs that hold whatever the adjacency is.
            "add_remove" | "add/remove" | "any" => Ok(Adjacency::AddRemove),
            "zero_out" => Ok(Adjacency::ZeroOut),
            "replace_one" => Ok(Adjacency::ReplaceOne),
            _ => Err(RowError::Field {
                field: "adjacency",
                value: format!("{name:?}"),
                requirement: "add_remove, zero_out, replace_one or any",
            }),
        }
    }

    /// One record unless the row says otherwise.
    pub fn group(&self) -> Result<GroupSize, RowError> {
        if !self.has("group_size") {
            return Ok(GroupSize::ONE);
        }
        let records = self.count("group_size")?;
        Ok(GroupSize::new(u32::try_from(records).unwrap_or(u32::MAX))?)
    }

    fn field(&self, field: &'static str) -> Result<&Value, RowError> {
        self.0.get(field).filter(|value| !value.is_null()).ok_or(RowError::Missing(field))
    }
}

pub fn bad(field: &'static str, value: &Value, requirement: &'static str) -> RowError {
    RowError::Field { field, value: value.to_string(), requirement }
}
