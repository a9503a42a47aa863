//! Patterns, compiled, and the cheap look that passes over messages that none can be about. Pure.

use memchr::memmem::Finder;

use super::{probe::Probed, spot::Fields};
use crate::config::{ANY, Expression, Pattern, Pointer, Test, array_index};

mod all_of;

pub(in crate::upstream) use all_of::AllOf;

/// The pointers of all patterns, each once, by their numbers.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Slots(Vec<Pointer>);

impl Slots {
    /// The number of a pointer.
    pub(in crate::upstream) fn of(&mut self, pointer: &Pointer) -> usize {
        self.0.iter().position(|there| there == pointer).unwrap_or_else(|| {
            self.0.push(pointer.clone());
            self.0.len() - 1
        })
    }

    /// All of them, in the order of their numbers.
    pub(in crate::upstream) fn pointers(&self) -> &[Pointer] {
        &self.0
    }
}

/// A pattern, compiled.
#[derive(Debug)]
pub(in crate::upstream) enum Matcher {
    /// The message has this text in it.
    Text(Box<Finder<'static>>),
    /// The message is empty.
    Empty,
    /// The message has what this matches in it.
    Regex(Expression),
    /// All of these hold.
    Json(AllOf),
    /// One of these matches.
    Any(Vec<Matcher>),
}

/// A message, and what was found in it; none where it isn't JSON.
#[derive(Debug, Clone, Copy)]
pub(in crate::upstream) struct Look<'m> {
    pub(in crate::upstream) bytes: &'m [u8],
    /// Its text; empty where it is none.
    pub(in crate::upstream) text: &'m str,
    pub(in crate::upstream) found: Option<&'m Probed<'m>>,
    /// Where the rule that looks at it finds values in lists.
    pub(in crate::upstream) fields: Option<&'m Fields>,
}

impl<'m> Look<'m> {
    /// The look at a text.
    pub(in crate::upstream) fn at(text: &'m str, found: Option<&'m Probed<'m>>) -> Self {
        Look { bytes: text.as_bytes(), text, found, fields: None }
    }

    /// The same, for a rule with these fields.
    pub(in crate::upstream) fn with(self, fields: &'m Fields) -> Self {
        Look { fields: Some(fields), ..self }
    }

    /// The value of a `${field:}`. `slots` are what the message was probed for.
    pub(in crate::upstream) fn field(&self, pointer: &Pointer, slots: &Slots) -> Option<&'m str> {
        match self.fields.and_then(|fields| fields.get(pointer)) {
            Some(spot) => spot.get(self),
            None => self.found?.get(slots.pointers().iter().position(|there| there == pointer)?),
        }
    }

    /// The value at the pointer of this number, as the message has it.
    pub(in crate::upstream) fn get(&self, slot: usize) -> Option<&str> {
        self.found?.get(slot)
    }
}

impl Matcher {
    pub(in crate::upstream) fn new(pattern: &Pattern, slots: &mut Slots) -> Matcher {
        match pattern {
            Pattern::Text(text) => Matcher::Text(Box::new(Finder::new(text).into_owned())),
            Pattern::Empty => Matcher::Empty,
            Pattern::Regex(expression) => Matcher::Regex(expression.clone()),
            Pattern::Json(tests) => {
                Matcher::Json(AllOf::new(tests.iter().map(|(pointer, test)| (pointer.clone(), test)), slots))
            }
            Pattern::Any(patterns) => {
                Matcher::Any(patterns.iter().map(|pattern| Matcher::new(pattern, slots)).collect())
            }
        }
    }

    /// Whether the message is meant.
    pub(in crate::upstream) fn matches(&self, look: &Look<'_>) -> bool {
        match self {
            Matcher::Text(finder) => finder.find(look.bytes).is_some(),
            Matcher::Empty => look.bytes.is_empty(),
            Matcher::Regex(expression) => expression.is_match(look.bytes),
            Matcher::Json(tests) => look.found.is_some_and(|found| tests.hold(Some(found))),
            Matcher::Any(matchers) => matchers.iter().any(|matcher| matcher.matches(look)),
        }
    }
}

/// The look that says whether any of some patterns can be about a message, without parsing it.
///
/// It never passes over a message that one of them matches: a key or a text stands in the message as it is,
/// unless it is written with escapes, and of these there is a sign too.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Sieve {
    needles: Vec<Needle>,
    /// For each concern, the needles that all must be there.
    concerns: Vec<Vec<usize>>,
    /// A message without anything in it is of concern.
    empty: bool,
}

#[derive(Debug)]
struct Needle {
    text: Vec<u8>,
    finder: Finder<'static>,
    escapes: Escapes,
}

/// How else than as it is a text can stand in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// In no other way: it isn't of JSON.
    None,
    /// With `\u` only.
    Unicode,
    /// With other escapes as well (RFC 8259, 7).
    Any,
}

impl Sieve {
    /// Makes what a pattern is about a concern.
    pub(in crate::upstream) fn pattern(&mut self, pattern: &Pattern) {
        match pattern {
            Pattern::Text(text) => {
                let needle = self.needle(text.as_bytes(), Escapes::None);
                self.concerns.push(vec![needle]);
            }
            Pattern::Empty => self.empty = true,
            // what it needs can't be told
            Pattern::Regex(_) => self.concern(Vec::new()),
            Pattern::Json(tests) => {
                let mut needles = Vec::new();
                for (pointer, test) in tests.iter().filter(|(_, test)| *test != Test::Exists(false)) {
                    self.keys(pointer, &mut needles);
                    match test {
                        Test::OneOf(scalars) => {
                            if let [serde_json::Value::String(text)] = &scalars[..] {
                                needles.push(self.quoted(text));
                            }
                        }
                        Test::Contains(text) => needles.push(self.needle(text.as_bytes(), escapes_of(text))),
                        Test::Exists(_) | Test::Regex(_) => {}
                    }
                }
                self.concern(needles);
            }
            Pattern::Any(patterns) => patterns.iter().for_each(|pattern| self.pattern(pattern)),
        }
    }

    /// Makes the value at a pointer a concern.
    pub(in crate::upstream) fn value(&mut self, pointer: &Pointer) {
        let mut needles = Vec::new();
        self.keys(pointer, &mut needles);
        self.concern(needles);
    }

    /// Whether nothing is of concern.
    pub(in crate::upstream) fn is_empty(&self) -> bool {
        self.concerns.is_empty() && !self.empty
    }

    /// Whether a message may be of concern. `scratch` is for the look's own notes, kept from one to the next.
    pub(in crate::upstream) fn may_concern(&self, message: &[u8], scratch: &mut Vec<Option<bool>>) -> bool {
        if message.is_empty() && self.empty {
            return true;
        }
        scratch.clear();
        scratch.resize(self.needles.len(), None);
        let mut escapes = [None; 2];
        let mut is_there = |at: usize| {
            *scratch[at].get_or_insert_with(|| {
                let needle = &self.needles[at];
                needle.finder.find(message).is_some()
                    || match needle.escapes {
                        Escapes::None => false,
                        Escapes::Unicode => {
                            *escapes[0].get_or_insert_with(|| memchr::memmem::find(message, b"\\u").is_some())
                        }
                        Escapes::Any => {
                            *escapes[1].get_or_insert_with(|| memchr::memchr(b'\\', message).is_some())
                        }
                    }
            })
        };
        self.concerns.iter().any(|needles| needles.iter().all(|needle| is_there(*needle)))
    }

    fn concern(&mut self, mut needles: Vec<usize>) {
        needles.sort_unstable();
        needles.dedup();
        // the longest is the rarest, as a rule
        needles.sort_by_key(|needle| std::cmp::Reverse(self.needles[*needle].text.len()));
        self.concerns.push(needles);
    }

    /// The keys on the way; what may lead into a list as well says nothing.
    fn keys(&mut self, pointer: &Pointer, needles: &mut Vec<usize>) {
        let is_key = |token: &&String| array_index(token).is_none() && *token != ANY;
        for token in pointer.tokens().iter().filter(is_key) {
            needles.push(self.quoted(token));
        }
    }

    /// A whole string of JSON.
    fn quoted(&mut self, text: &str) -> usize {
        self.needle(format!("\"{text}\"").as_bytes(), escapes_of(text))
    }

    fn needle(&mut self, text: &[u8], escapes: Escapes) -> usize {
        let is_same = |needle: &Needle| needle.text == text && needle.escapes == escapes;
        self.needles.iter().position(is_same).unwrap_or_else(|| {
            let finder = Finder::new(text).into_owned();
            self.needles.push(Needle { text: text.to_owned(), finder, escapes });
            self.needles.len() - 1
        })
    }
}

/// How a text can be escaped: these letters have escapes of their own.
fn escapes_of(text: &str) -> Escapes {
    match text.contains(|c: char| c.is_control() || "\"\\/".contains(c)) {
        true => Escapes::Any,
        false => Escapes::Unicode,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::upstream::session::probe::Probe;

    fn json_pattern(tests: &[(&str, Test)]) -> Pattern {
        let tests = tests.iter().map(|(pointer, test)| (Pointer::parse(pointer).unwrap(), test.clone()));
        Pattern::Json(tests.collect())
    }

    fn matches(pattern: &Pattern, message: &str) -> bool {
        let mut slots = Slots::default();
        let matcher = Matcher::new(pattern, &mut slots);
        let probe = Probe::new(slots.pointers());
        let found = probe.look(message);
        matcher.matches(&Look::at(message, found.as_ref()))
    }

    fn may_match(pattern: &Pattern, message: &str) -> bool {
        let mut sieve = Sieve::default();
        sieve.pattern(pattern);
        sieve.may_concern(message.as_bytes(), &mut Vec::new())
    }

    #[test]
    fn most_messages_are_passed_over() {
        let pattern = json_pattern(&[("/e", Test::OneOf(vec![json!("shutdown")]))]);
        for (message, may) in [
            (r#"{"e":"trade","p":"1"}"#, false),
            (r#"{"x":"shutdown"}"#, false),
            (r#"{"e":"shutdown"}"#, true),
            (r#"{"e":"\u0073hutdown"}"#, true),
            (r#"{"\u0065":"shutdown"}"#, true),
            (r#"{"e":"a \"quote\""}"#, false),
        ] {
            assert_eq!(may_match(&pattern, message), may, "{message}");
        }
        let any = json_pattern(&[("/*/e", Test::OneOf(vec![json!("shutdown")]))]);
        assert!(may_match(&any, r#"[{"e":"shutdown"}]"#) && !may_match(&any, r#"[{"e":"trade"}]"#));
        assert!(may_match(&json_pattern(&[("/a", Test::Exists(false))]), "{}"), "nothing is passed over");
        assert!(may_match(&json_pattern(&[("/0", Test::Exists(true))]), "[1]"));
        assert!(may_match(&json_pattern(&[("/a~1b", Test::Exists(true))]), r#"{"a\/b":1}"#));
        assert!(!may_match(&Pattern::Text("é".into()), r#""\u00e9""#), "a text is of the message as it is");
    }

    fn any_pattern() -> impl Strategy<Value = Pattern> {
        let scalar = prop_oneof![Just(json!("a")), Just(json!("a/\"")), Just(json!(1)), Just(json!(true))];
        let test = prop_oneof![
            prop::collection::vec(scalar, 1..3).prop_map(Test::OneOf),
            any::<bool>().prop_map(Test::Exists),
            "a|/|\"|é".prop_map(Test::Contains),
            "\\^?(a|/|é)".prop_map(|text| Test::Regex(Expression::new(&text).unwrap())),
        ];
        let pointer = prop_oneof!["(/(a|b|0|é|~1)){0,2}", "(/(a|0))?/\\*(/(a|b|\\*)){0,2}"];
        let pointer = pointer.prop_map(|text| Pointer::parse(&text).unwrap());
        let json = prop::collection::vec((pointer, test), 1..4).prop_map(Pattern::Json);
        let one = prop_oneof![
            8 => json,
            2 => "a|1|\"".prop_map(Pattern::Text),
            1 => Just(Pattern::Empty),
            1 => "[a1]\"?".prop_map(|text| Pattern::Regex(Expression::new(&text).unwrap())),
        ];
        one.prop_recursive(1, 4, 3, |inner| prop::collection::vec(inner, 1..3).prop_map(Pattern::Any))
    }

    /// A message of few words, some of them written with escapes.
    fn any_message() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            Just("\"a\""),
            Just("\"b\""),
            Just("\"\\u0061\""),
            Just("\"a\\/\\\"\""),
            Just("\"\\u00e9\""),
            Just("\"é\""),
            Just("\"/\""),
            Just("\"\\/\""),
            Just("\"0\""),
            Just("\"*\""),
        ];
        let leaf = prop_oneof![3 => text.clone(), 1 => Just("1"), 1 => Just("1.0"), 1 => Just("true"), 1 => Just("null")]
            .prop_map(str::to_owned);
        let json = leaf.prop_recursive(3, 12, 3, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(|list| format!("[{}]", list.join(", "))),
                prop::collection::vec((text.clone(), inner), 0..3).prop_map(|entries| {
                    let entries: Vec<_> =
                        entries.iter().map(|(key, value)| format!("{key}:{value}")).collect();
                    format!("{{{}}}", entries.join(","))
                }),
            ]
        });
        prop_oneof![9 => json, 1 => "[a1\"{}]{0,4}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_compiled_pattern_means_the_same(pattern in any_pattern(), message in any_message()) {
            prop_assert_eq!(matches(&pattern, &message), pattern.matches(message.as_bytes()));
        }

        #[test]
        fn the_sieve_holds_back_nothing_that_matches(pattern in any_pattern(), message in any_message()) {
            if pattern.matches(message.as_bytes()) {
                prop_assert!(may_match(&pattern, &message));
            }
        }
    }
}
