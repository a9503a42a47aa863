//! Patterns: which messages are meant.

use std::fmt;

use super::{Pointer, values::quoted};

/// Which messages are meant: those with a text in them, or JSON with certain values at certain places.
///
/// A binary message is looked at as a text one, where it is UTF-8; else it matches nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Pattern {
    /// The message holds this text somewhere. Never empty.
    Text(String),
    /// The message is JSON, and all of these hold. Never empty, each pointer once.
    Json(Vec<(Pointer, Test)>),
    /// At least one of these matches. Never empty.
    Any(Vec<Pattern>),
}

/// What must hold at a pointer.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// The value is one of these scalars, never none. Numbers are equal by their value: 1 is 1.0.
    OneOf(Vec<serde_json::Value>),
    /// There is a value, `null` included; or there is none.
    Exists(bool),
    /// The value is a string with this text in it.
    Contains(String),
}

impl Pattern {
    /// Whether `message` is meant. Parses the whole of it: what looks at every message of a busy
    /// server has compiled its patterns instead.
    pub fn matches(&self, message: &str) -> bool {
        let json = || serde_json::from_str(message).ok();
        match self {
            Self::Text(text) => message.contains(text),
            Self::Json(tests) => json().is_some_and(|json: serde_json::Value| {
                tests.iter().all(|(pointer, test)| test.holds(json.pointer(pointer.as_str())))
            }),
            Self::Any(patterns) => patterns.iter().any(|pattern| pattern.matches(message)),
        }
    }
}

impl Test {
    /// Whether this holds for what is at the pointer; `None` where there is nothing.
    pub fn holds(&self, value: Option<&serde_json::Value>) -> bool {
        match (self, value) {
            (Self::Exists(there), value) => value.is_some() == *there,
            (_, None) => false,
            (Self::OneOf(scalars), Some(value)) => scalars.iter().any(|scalar| same(scalar, value)),
            (Self::Contains(text), Some(value)) => value.as_str().is_some_and(|whole| whole.contains(text)),
        }
    }
}

/// Whether two scalars are the same; numbers by their value.
fn same(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        // integers that a float can't tell apart are compared as they are
        (Some(a), Some(b)) if one.is_f64() || other.is_f64() => a == b,
        _ => one == other,
    }
}

/// As a person would say it: `/type = "pong"`.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Json(tests) => {
                let tests: Vec<_> = tests.iter().map(|(pointer, test)| format!("{pointer} {test}")).collect();
                f.write_str(&tests.join(" and "))
            }
            Self::Any(patterns) => {
                let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
                f.write_str(&patterns.join(", or "))
            }
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(scalars) => {
                let scalars: Vec<_> = scalars.iter().map(ToString::to_string).collect();
                write!(f, "= {}", scalars.join(" or "))
            }
            Self::Exists(true) => f.write_str("is there"),
            Self::Exists(false) => f.write_str("is not there"),
            Self::Contains(text) => write!(f, "has {} in it", quoted(text)),
        }
    }
}
