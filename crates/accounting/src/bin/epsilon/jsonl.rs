//! Questions and answers as JSON, one object a line.
//!
//! A question has the fields of a row of `tests/data/accounting.json` without its answer. An answer has
//! `id`, and either `error` or those of `rdp`, `pld`, `pld_lower`, `exact` and `value` that apply. An
//! infinite number is the string "inf", in both directions.

mod answer;
mod event;
mod kind;
mod row;

use std::io::{self, BufRead, Write};

use serde::Serialize;
use serde_json::Value;

use self::answer::Answer;
use self::row::{Row, RowError};

/// Answers every line that is not empty, in order; a bad line is answered with its error.
pub fn answer_lines(mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    let mut memory = Memory::default();
    loop {
        line.clear();
        // As bytes: a line that is not UTF-8 is one bad line, not the end.
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        serde_json::to_writer(&mut output, &memory.answer(&line))?;
        output.write_all(b"\n")?;
        // The other side may wait for this answer before it asks the next question.
        output.flush()?;
    }
}

/// The last question and its answer. Lists of published values ask the same for several accountants in a
/// row, and the bracket of a loss distribution can take a second.
#[derive(Default)]
struct Memory(Option<(Row, Answer)>);

impl Memory {
    fn answer(&mut self, line: &[u8]) -> Line {
        let row = match Row::parse(line) {
            Ok(row) => row,
            Err(error) => return Line::failed(Value::Null, &error),
        };
        let id = row.id();
        let question = row.without_remarks();
        if let Some((known, answer)) = &self.0
            && *known == question
        {
            return Line { id, answer: *answer, error: None };
        }
        match kind::answer(&question) {
            Ok(answer) => {
                self.0 = Some((question, answer));
                Line { id, answer, error: None }
            }
            Err(error) => Line::failed(id, &error),
        }
    }
}

/// One answer.
#[derive(Debug, Clone, Serialize)]
struct Line {
    id: Value,
    #[serde(flatten)]
    answer: Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Line {
    fn failed(id: Value, error: &RowError) -> Self {
        Self { id, answer: Answer::default(), error: Some(error.to_string()) }
    }
}
