//! Patterns: which messages are meant.

use std::fmt;

use toml::de::DeValue;

use super::{
    expression::Expression,
    pointer::{ANY, Pointer, array_index},
};
use crate::config::reader::{
    Item, Section,
    values::{json_scalar, kind, quoted},
};

/// Which messages are meant: those with a text in them, or JSON with certain values at certain places.
///
/// Of a binary message the bytes are looked at, as of a text one; JSON is UTF-8 in either.
#[derive(Debug, Clone, PartialEq)]
pub enum Pattern {
    /// The message holds this text somewhere, as UTF-8. Never empty.
    Text(String),
    /// The message is empty.
    Empty,
    /// The message has something in it that the expression matches.
    Regex(Expression),
    /// The message is JSON, and all of these hold. Never empty, each pointer once. Where a token is [`ANY`] and there
    /// is a list, there must be one of its elements for which all hold that go on from the same list.
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
    /// The value is a string with something in it that the expression matches.
    Regex(Expression),
}

impl Pattern {
    /// Whether `message` is meant. Parses the whole of it: what looks at every message of a busy
    /// server has compiled its patterns instead.
    pub fn matches(&self, message: &[u8]) -> bool {
        let json = || serde_json::from_slice(message).ok();
        match self {
            Self::Text(text) => memchr::memmem::find(message, text.as_bytes()).is_some(),
            Self::Empty => message.is_empty(),
            Self::Regex(expression) => expression.is_match(message),
            Self::Json(tests) => json().is_some_and(|json: serde_json::Value| {
                let tests: Vec<_> = tests.iter().map(|(pointer, test)| (pointer.tokens(), test)).collect();
                hold(&tests, Some(&json))
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
            (Self::Regex(expression), Some(value)) => {
                value.as_str().is_some_and(|whole| expression.is_match(whole.as_bytes()))
            }
        }
    }
}

/// The tokens that lead to what a test is about.
type TestAt<'t> = (&'t [String], &'t Test);

/// Whether all tests hold for what is at the end of their tokens, from this value on.
fn hold(tests: &[TestAt<'_>], value: Option<&serde_json::Value>) -> bool {
    let at = |tokens: &[String]| {
        tokens.iter().try_fold(value?, |value, token| match value {
            serde_json::Value::Object(members) => members.get(token),
            serde_json::Value::Array(elements) => elements.get(array_index(token)?),
            _ => None,
        })
    };
    let mut lists: Vec<(&[String], Vec<TestAt<'_>>)> = Vec::new();
    for (tokens, test) in tests {
        let Some(any) = tokens.iter().position(|token| token == ANY) else {
            if !test.holds(at(tokens)) {
                return false;
            }
            continue;
        };
        let (list, rest) = (&tokens[..any], (&tokens[any + 1..], *test));
        match lists.iter_mut().find(|(there, _)| *there == list) {
            Some((_, tests)) => tests.push(rest),
            None => lists.push((list, vec![rest])),
        }
    }
    lists.iter().all(|(list, tests)| match at(list) {
        Some(serde_json::Value::Array(elements)) => elements.iter().any(|element| hold(tests, Some(element))),
        Some(serde_json::Value::Object(members)) => hold(tests, members.get(ANY)),
        _ => hold(tests, None),
    })
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
            Self::Empty => f.write_str("an empty message"),
            Self::Regex(expression) => write!(f, "what /{expression}/ matches"),
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
            Self::Regex(expression) => write!(f, "has what /{expression}/ matches in it"),
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
            DeValue::String(text) if text.is_empty() => Some(Self::Empty),
            DeValue::String(text) => Some(Self::Text(text.to_string())),
            DeValue::Table(table) if table.contains_key("regex") => {
                let section = item.section();
                let regex = section.item("regex").and_then(|item| Expression::read(&item));
                section.finish();
                regex.map(Self::Regex)
            }
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
            let keys = ["exists", "matches", "regex"].into_iter().filter(|key| section.item(key).is_some());
            let regex = section.item("regex").map(|item| Expression::read(&item));
            let before = section.problems();
            if keys.count() != 1 {
                item.problem(
                    "is a table without exactly one of its keys: write { exists = true }, { matches = \"text\" } or \
                     { regex = '…' }",
                );
            } else if contains == Some("") {
                item.problem("is empty: write a text that is in the value, or { exists = true }");
            }
            let sound = section.problems() == before;
            section.finish();
            match (exists, contains, regex) {
                _ if !sound => None,
                (Some(exists), ..) => Some(Test::Exists(exists)),
                (_, Some(text), _) => Some(Test::Contains(text.to_owned())),
                (.., regex) => regex.flatten().map(Test::Regex),
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
            assert_eq!(pattern.matches(message.as_bytes()), matches, "{message}");
        }
        assert!(json_pattern(&[("", one_of(json!("pong")))]).matches(b"\"pong\""));
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
            assert_eq!(
                [&there, &not, &contains].map(|pattern| pattern.matches(message.as_bytes())),
                is,
                "{message}"
            );
        }
        let any = Pattern::Any(vec![Pattern::Text("x".into()), there]);
        assert!(any.matches(b"x") && any.matches(br#"{"a":1}"#) && !any.matches(b"{}"));
    }

    #[test]
    fn a_text_is_bytes_and_an_empty_message_is_one() {
        let text = Pattern::Text("é{".into());
        assert!(text.matches("\u{0}é{\"a\"".as_bytes()));
        assert!(text.matches(b"\xff\xc3\xa9{\xfe") && !text.matches(b"\xe9{"), "UTF-8, in what isn't");
        assert!(Pattern::Empty.matches(b"") && !Pattern::Empty.matches(b" "));
        assert!(!json_pattern(&[("/a", Test::Exists(true))]).matches(b"{\"a\":1}\xff"));
    }

    #[test]
    fn an_expression_is_searched_for() {
        let expression = |text: &str| Expression::new(text).unwrap();
        let whole = Pattern::Regex(expression("^id: [0-9]+:"));
        assert!(whole.matches(b"id: 1795476208:0\n\n{}") && !whole.matches(b"x id: 1:0"));
        let value = json_pattern(&[("/a", Test::Regex(expression("^p.ng$")))]);
        for (message, is) in
            [(r#"{"a":"p\u006fng"}"#, true), (r#"{"a":"pongo"}"#, false), (r#"{"a":1}"#, false)]
        {
            assert_eq!(value.matches(message.as_bytes()), is, "{message}");
        }
        assert_eq!(whole.to_string(), "what /^id: [0-9]+:/ matches");
    }

    #[test]
    fn a_star_is_any_element_and_one_for_all_tests_of_a_list() {
        let one_of = |value| Test::OneOf(vec![value]);
        let both = json_pattern(&[("/*/topic", one_of(json!("a"))), ("/*/on", one_of(json!(true)))]);
        let free = json_pattern(&[("/*/topic", one_of(json!("a"))), ("/*/error", Test::Exists(false))]);
        let none = json_pattern(&[("/*/error", Test::Exists(false))]);
        for (message, is) in [
            (r#"[{"topic":"b"},{"topic":"a","on":true}]"#, [true, true, true]),
            (r#"[{"topic":"a","on":false},{"topic":"b","on":true}]"#, [false, true, true]),
            (r#"[{"topic":"a","on":true,"error":1}]"#, [true, false, false]),
            // an empty list has no element, of which anything could be said
            ("[]", [false, false, false]),
            ("[[]]", [false, false, true]),
            // of an object the member of this name is meant
            (r#"{"*":{"topic":"a","on":true}}"#, [true, true, true]),
            (r#"{"*":{"topic":"a","on":true,"error":1}}"#, [true, false, false]),
            (r#"{"topic":"a","on":true}"#, [false, false, true]),
            ("1", [false, false, true]),
        ] {
            let patterns = [&both, &free, &none];
            assert_eq!(patterns.map(|pattern| pattern.matches(message.as_bytes())), is, "{message}");
        }
        let deep = json_pattern(&[
            ("/d/*/id", one_of(json!(1))),
            ("/d/*/parts/*/k", one_of(json!("x"))),
            ("/d/*/parts/*/v", one_of(json!(2))),
            ("/e/*", one_of(json!(3))),
        ]);
        for (message, is) in [
            (r#"{"d":[{"id":1,"parts":[{"k":"y"},{"k":"x","v":2}]}],"e":[1,3]}"#, true),
            (r#"{"d":[{"id":1,"parts":[{"k":"x"},{"v":2}]}],"e":[1,3]}"#, false),
            (r#"{"d":[{"id":1,"parts":[]},{"id":2,"parts":[{"k":"x","v":2}]}],"e":[1,3]}"#, false),
            (r#"{"d":[{"id":1,"parts":[{"k":"x","v":2}]}],"e":[]}"#, false),
        ] {
            assert_eq!(deep.matches(message.as_bytes()), is, "{message}");
        }
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
