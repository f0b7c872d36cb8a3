//! What an answer says.

use serde::Serialize;

/// The numbers that apply to a question.
#[derive(Debug, Clone, Copy, Default, Serialize)]
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
#[derive(Debug, Clone, Copy, Serialize)]
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
