//! Patterns: which messages are meant.

use std::fmt;

use toml::de::DeValue;

use super::pointer::Pointer;
use crate::config::reader::{
    Item, Section,
    values::{json_scalar, kind, quoted},
};

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
                let place = |pointer: &Pointer| match pointer.as_str() {
                    "" => "the whole".to_owned(),
                    text => text.to_owned(),
                };
                let tests: Vec<_> =
                    tests.iter().map(|(pointer, test)| format!("{} {test}", place(pointer))).collect();
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

/// So many alternatives, or tests, at most.
const MAX: usize = 256;

impl Pattern {
    /// The pattern of a key, if the file has it.
    pub(in crate::config) fn read(section: &Section<'_>, key: &'static str) -> Option<Self> {
        Self::of(&section.item(key)?)
    }

    /// The pattern that a value is: a text, a table, or a list of these.
    pub(in crate::config) fn of(item: &Item<'_>) -> Option<Self> {
        let Some(elements) = item.elements() else { return Self::one(item) };
        if elements.is_empty() || elements.len() > MAX {
            item.problem(format_args!("is a list of {}, but one of 1 to {MAX} can match", elements.len()));
            return None;
        }
        let patterns: Vec<_> = elements.iter().filter_map(Self::one).collect();
        (patterns.len() == elements.len()).then_some(Self::Any(patterns))
    }

    fn one(item: &Item<'_>) -> Option<Self> {
        match item.value {
            DeValue::String(text) if text.is_empty() => {
                item.problem("is empty, which every message would match: write a text that is in it");
                None
            }
            DeValue::String(text) => Some(Self::Text(text.to_string())),
            DeValue::Table(_) => read_table(item).map(Self::Json),
            other => {
                item.problem(format_args!(
                    "is {}: write a text, or a table such as {{ \"/type\" = \"pong\" }}",
                    kind(other)
                ));
                None
            }
        }
    }
}

fn read_table(item: &Item<'_>) -> Option<Vec<(Pointer, Test)>> {
    let entries = item.section().items();
    if entries.is_empty() || entries.len() > MAX {
        item.problem(
            "is empty: write a JSON pointer and its value, such as { \"/type\" = \"pong\" }, or leave it out",
        );
        return None;
    }
    let mut tests: Vec<(Pointer, Test)> = Vec::new();
    let mut sound = true;
    for entry in &entries {
        let pointer = Pointer::parse(entry.name).map_err(|why| entry.problem(why)).ok();
        let (Some(pointer), Some(test)) = (pointer, read_test(entry)) else {
            sound = false;
            continue;
        };
        if let Some((other, _)) =
            tests.iter().find(|other| contradict(other, &(pointer.clone(), test.clone())))
        {
            entry.problem(format_args!(
                "can't hold together with \"{other}\": one leads into what the other says is no object or list"
            ));
            sound = false;
        }
        tests.push((pointer, test));
    }
    sound.then_some(tests)
}

fn read_test(item: &Item<'_>) -> Option<Test> {
    let scalar = |item: &Item<'_>| {
        let value = json_scalar(item.value);
        if value.is_none() {
            let kind = kind(item.value);
            item.problem(format_args!(
                "is {kind}, which is no JSON text, number, true or false: write one of these"
            ));
        }
        value
    };
    match item.value {
        DeValue::Array(_) => {
            let elements = item.elements()?;
            if elements.is_empty() || elements.len() > MAX {
                item.problem(format_args!(
                    "is a list of {}, but one of 1 to {MAX} can match",
                    elements.len()
                ));
                return None;
            }
            let scalars: Vec<_> = elements.iter().filter_map(scalar).collect();
            (scalars.len() == elements.len()).then_some(Test::OneOf(scalars))
        }
        DeValue::Table(_) => {
            let section = item.section();
            let (exists, contains) = (section.truth("exists"), section.text("matches"));
            let both = section.item("exists").is_some() as u8 + section.item("matches").is_some() as u8;
            let before = section.problems();
            if both != 1 {
                item.problem("is a table without exactly one of its keys: write { exists = true } or { matches = \"text\" }");
            } else if contains == Some("") {
                item.problem("is empty: write a text that is in the value, or { exists = true }");
            }
            let sound = section.problems() == before;
            section.finish();
            match (exists, contains) {
                _ if !sound => None,
                (Some(exists), _) => Some(Test::Exists(exists)),
                (_, Some(text)) => Some(Test::Contains(text.to_owned())),
                _ => None,
            }
        }
        _ => scalar(item).map(|value| Test::OneOf(vec![value])),
    }
}

/// Whether two tests can't both hold: a scalar, or nothing, has nothing in it.
fn contradict((one, is): &(Pointer, Test), (other, also): &(Pointer, Test)) -> bool {
    let above = |above: &Pointer, test: &Test, below: &Pointer, inner: &Test| {
        below.tokens().len() > above.tokens().len()
            && below.tokens().starts_with(above.tokens())
            && *test != Test::Exists(true)
            && *inner != Test::Exists(false)
    };
    above(one, is, other, also) || above(other, also, one, is)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json_pattern(tests: &[(&str, Test)]) -> Pattern {
        let tests = tests.iter().map(|(pointer, test)| (Pointer::parse(pointer).unwrap(), test.clone()));
        Pattern::Json(tests.collect())
    }

    #[test]
    fn a_pattern_is_met_by_all_of_its_tests() {
        let one_of = |value| Test::OneOf(vec![value]);
        let pattern = json_pattern(&[("/a/b", one_of(json!(1))), ("/t", one_of(json!("pong")))]);
        for (message, matches) in [
            (r#"{"t":"pong","a":{"b":1},"x":null}"#, true),
            (r#"{"t":"pong","a":{"b":1.0}}"#, true),
            (r#"{"t":"pong"}"#, false),
            (r#"{"t":"ping","a":{"b":1}}"#, false),
            ("pong", false),
        ] {
            assert_eq!(pattern.matches(message), matches, "{message}");
        }
        assert!(json_pattern(&[("", one_of(json!("pong")))]).matches("\"pong\""));
    }

    #[test]
    fn a_value_is_there_or_not_or_has_a_text_in_it() {
        let there = json_pattern(&[("/a", Test::Exists(true))]);
        let not = json_pattern(&[("/a", Test::Exists(false))]);
        let contains = json_pattern(&[("/a", Test::Contains("on".into()))]);
        for (message, is) in [
            (r#"{"a":null}"#, [true, false, false]),
            (r#"{"a":"pong"}"#, [true, false, true]),
            (r#"{"a":["pong"]}"#, [true, false, false]),
            (r#"{"b":1}"#, [false, true, false]),
            ("not JSON", [false, false, false]),
        ] {
            assert_eq!([&there, &not, &contains].map(|pattern| pattern.matches(message)), is, "{message}");
        }
        let any = Pattern::Any(vec![Pattern::Text("x".into()), there]);
        assert!(any.matches("x") && any.matches(r#"{"a":1}"#) && !any.matches("{}"));
    }

    #[test]
    fn it_is_shown_in_words() {
        let pattern =
            json_pattern(&[("/a", Test::OneOf(vec![json!(1), json!("b")])), ("/c", Test::Exists(true))]);
        assert_eq!(pattern.to_string(), "/a = 1 or \"b\" and /c is there");
        let whole = json_pattern(&[("", Test::OneOf(vec![json!(41)]))]);
        assert_eq!(whole.to_string(), "the whole = 41");
    }
}
