//! Questions and answers as JSON, one object a line.
//!
//! A question has the fields of a row of `tests/data/accounting.json` without its answer; an answer has
//! `id` and what applies of `rdp`, `pld`, `pld_lower`, `exact` and `value`, or `error`. An infinite number
//! is the string "inf", in both directions.

mod event;
mod kind;
mod row;

use std::io::{self, BufRead, Write};

use serde::Serialize;
use serde_json::Value;

use self::row::{Row, RowError};

/// Answers every line that is not empty, in order; a bad line is answered with its error.
pub fn answer_lines(mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        // As bytes: a line that is not UTF-8 is one bad line, not the end.
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        serde_json::to_writer(&mut output, &answer(&line))?;
        output.write_all(b"\n")?;
        // Whoever asks may wait for the answer before asking on.
        output.flush()?;
    }
}

/// Answers one line.
pub fn answer(line: &[u8]) -> Line {
    let row = match Row::parse(line) {
        Ok(row) => row,
        Err(error) => return Line::failed(Value::Null, &error),
    };
    match kind::answer(&row) {
        Ok(answer) => Line { id: row.id(), answer, error: None },
        Err(error) => Line::failed(row.id(), &error),
    }
}

/// One answer.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub id: Value,
    #[serde(flatten)]
    pub answer: Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What applies to a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdp: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pld: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pld_lower: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<Number>,
    /// The answer to the question: the best proven bound where several apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Number>,
    /// `true` where the value is no guarantee.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approximate: Option<bool>,
}

/// A number, written "inf" where it is infinite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum Number {
    Finite(f64),
    Infinite(&'static str),
}

impl<T: Into<f64>> From<T> for Number {
    fn from(number: T) -> Self {
        let number = number.into();
        if number.is_finite() { Self::Finite(number) } else { Self::Infinite("inf") }
    }
}

impl Line {
    fn failed(id: Value, error: &RowError) -> Self {
        Self { id, answer: Answer::default(), error: Some(error.to_string()) }
    }
}
