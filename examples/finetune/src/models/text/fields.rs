//! The fields of `config.json`, one by one, so that an error names the field.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Map, Value};

use super::Family;
use crate::models::checkpoint::ADVICE;

/// A `config.json`. Fields go by BERT's names for them, and errors by the family's.
pub(super) struct Fields {
    pub(super) family: Family,
    fields: Map<String, Value>,
}

impl Fields {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read {}; {ADVICE}", file.display()))?;
        let fields = serde_json::from_str(&text)
            .with_context(|| format!("{} is no JSON object; {ADVICE}", file.display()))?;
        let mut fields = Self { family: Family::Bert, fields };
        // Files from before there were families are BERT's.
        let name = fields.text("model_type", "bert")?;
        fields.family = Family::named(name)
            .ok_or_else(|| anyhow!("model_type is {name:?}: only {} can be read", Family::NAMES))?;
        Ok(fields)
    }

    /// A count that the file must give.
    pub(super) fn size(&self, field: &'static str) -> Result<usize> {
        self.count(field)?.ok_or_else(|| anyhow!("{} is missing; {ADVICE}", self.name(field)))
    }

    /// A count, `default` where the file says nothing.
    pub(super) fn size_or(&self, field: &'static str, default: usize) -> Result<usize> {
        Ok(self.count(field)?.unwrap_or(default))
    }

    pub(super) fn number(&self, field: &'static str, default: f64) -> Result<f64> {
        self.get(field).map_or(Ok(default), |value| {
            value.as_f64().ok_or_else(|| self.wrong(field, value, "a number"))
        })
    }

    pub(super) fn text<'a>(&'a self, field: &'static str, default: &'a str) -> Result<&'a str> {
        self.get(field).map_or(Ok(default), |value| {
            value.as_str().ok_or_else(|| self.wrong(field, value, "a text"))
        })
    }

    /// Refuses everything but `supported` in a field that may be left out.
    pub(super) fn only(&self, field: &'static str, supported: Value) -> Result<()> {
        let given = self.get(field).unwrap_or(&supported);
        ensure!(given == &supported, "{field} is {given}: only {supported} is supported");
        Ok(())
    }

    /// The family's own name for a field.
    pub(super) fn name(&self, field: &'static str) -> &'static str {
        self.family.field(field)
    }

    fn count(&self, field: &'static str) -> Result<Option<usize>> {
        let count = |value: &Value| {
            let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
            size.ok_or_else(|| self.wrong(field, value, "a count"))
        };
        self.get(field).map(count).transpose()
    }

    fn get(&self, field: &'static str) -> Option<&Value> {
        self.fields.get(self.name(field)).filter(|value| !value.is_null())
    }

    fn wrong(&self, field: &'static str, value: &Value, kind: &str) -> anyhow::Error {
        anyhow!("{} is {value} instead of {kind}", self.name(field))
    }
}
