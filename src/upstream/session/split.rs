//! A message that is a list, or has one, as that list's elements. Pure.

use std::ops::ControlFlow;

use super::{elements::each, probe::Probe};
use crate::{config::Pointer, hub::Data};

/// A list of more elements isn't taken apart.
pub(in crate::upstream) const MAX_ELEMENTS: usize = 100_000;

/// Where messages have the list that they are taken apart by.
#[derive(Debug)]
pub(in crate::upstream) struct Split {
    /// None where the message itself is the list.
    probe: Option<Probe>,
}

/// What a message is taken apart into.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Parted<'m> {
    /// Nothing: there is no such list, or none with anything in it.
    Whole,
    /// Nothing: it would be too many.
    TooMany,
    /// The elements, each as it stands in the message; never none, and at most [`MAX_ELEMENTS`].
    Elements(Vec<&'m str>),
}

impl Split {
    /// Takes apart by the list at a pointer.
    pub(in crate::upstream) fn new(pointer: &Pointer) -> Split {
        let is_inside = !pointer.tokens().is_empty();
        Split { probe: is_inside.then(|| Probe::new(std::slice::from_ref(pointer))) }
    }

    /// Takes a message apart.
    pub(in crate::upstream) fn part<'m>(&self, message: &'m str) -> Parted<'m> {
        let list = match &self.probe {
            Some(probe) => probe.look(message).and_then(|found| found.get(0)),
            None => Some(message),
        };
        let blanks = [' ', '\t', '\n', '\r'];
        let Some(list) = list.filter(|list| list.trim_start_matches(blanks).starts_with('[')) else {
            return Parted::Whole;
        };
        let (mut elements, mut are_many) = (Vec::new(), false);
        let whole = each(list, |element| {
            are_many = elements.len() >= MAX_ELEMENTS;
            if are_many {
                return ControlFlow::Break(());
            }
            elements.push(element);
            ControlFlow::Continue(())
        });
        match (whole, are_many) {
            (Ok(()), true) => Parted::TooMany,
            (Ok(()), false) if !elements.is_empty() => Parted::Elements(elements),
            _ => Parted::Whole,
        }
    }
}

/// The text of a message, of whatever kind it is; none where it isn't UTF-8.
pub(in crate::upstream) fn text_of(data: Data<'_>) -> Option<&str> {
    match data {
        Data::Text(text) => Some(text),
        Data::Binary(bytes) => str::from_utf8(bytes).ok(),
    }
}

/// A part of a message as a message of the same kind.
pub(in crate::upstream) fn as_message<'m>(whole: Data<'_>, part: &'m str) -> Data<'m> {
    match whole {
        Data::Text(_) => Data::Text(part),
        Data::Binary(_) => Data::Binary(part.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn split(pointer: &str) -> Split {
        Split::new(&Pointer::parse(pointer).unwrap())
    }

    #[test]
    fn a_list_is_its_elements_and_all_else_stays() {
        for (pointer, message, elements) in [
            ("", r#"[{"a": 1.0},"x",[2,3]]"#, &[r#"{"a": 1.0}"#, "\"x\"", "[2,3]"][..]),
            ("", "\n [1 , 2]\r\n", &["1", "2"]),
            ("", "[]", &[]),
            ("", "[ ]", &[]),
            ("", r#"{"a":[1]}"#, &[]),
            ("", r#"{"*":[1]}"#, &[]),
            ("", "[1,2", &[]),
            ("", "[1,2]]", &[]),
            ("", "[1,2,]", &[]),
            ("", "[x]", &[]),
            ("", "", &[]),
            ("", "\u{a0}[1]", &[]),
            ("/d", r#"{"d":[1,{"d":[2]}],"e":[3]}"#, &["1", r#"{"d":[2]}"#]),
            ("/d", r#"{"d":[1],"d":[2]}"#, &["2"]),
            ("/d", r#"{"d":[1],"d":{}}"#, &[]),
            ("/d", r#"{"d":[]}"#, &[]),
            ("/d", r#"{"d":[1]} x"#, &[]),
            ("/d", r#"{"e":[1]}"#, &[]),
            ("/d", "[[1]]", &[]),
            ("/1/0", r#"["update",[[7,8]]]"#, &["7", "8"]),
        ] {
            let expected = match elements {
                [] => Parted::Whole,
                elements => Parted::Elements(elements.to_vec()),
            };
            assert_eq!(split(pointer).part(message), expected, "{pointer:?} of {message}");
        }
    }

    #[test]
    fn a_list_of_too_many_stays_whole() {
        let list = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        let most = list(MAX_ELEMENTS);
        assert!(matches!(split("").part(&most), Parted::Elements(all) if all.len() == MAX_ELEMENTS));
        assert_eq!(split("").part(&list(MAX_ELEMENTS + 1)), Parted::TooMany);
        assert_eq!(split("/a").part(&format!("{{\"a\":{}}}", list(MAX_ELEMENTS + 1))), Parted::TooMany);
    }

    #[test]
    fn what_is_deep_is_taken_apart_as_well() {
        let deep = format!("[{}{},1]", "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(split("").part(&deep), Parted::Elements(elements) if elements[1] == "1"));
    }

    #[test]
    fn a_part_is_of_the_messages_kind() {
        assert_eq!(text_of(Data::Binary(b"[1]")), Some("[1]"));
        assert_eq!(text_of(Data::Binary(b"[\xff]")), None);
        assert!(matches!(as_message(Data::Binary(b"[1]"), "1"), Data::Binary(b"1")));
        assert!(matches!(as_message(Data::Text("[1]"), "1"), Data::Text("1")));
    }

    /// JSON with blanks and escapes.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("1.50e3".to_owned()),
            Just("12345678901234567890".to_owned()),
            Just(r#""a,]\"[\u005d""#.to_owned()),
            Just("\"\"".to_owned()),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[ {}]", list.join(" ,"))),
                prop::collection::vec(("[ab]", inner), 0..3).prop_map(|members| {
                    let members: Vec<_> =
                        members.iter().map(|(key, value)| format!("\"{key}\" :{value}")).collect();
                    format!("{{{} }}", members.join(", "))
                }),
            ]
        })
    }

    fn blanks() -> impl Strategy<Value = String> {
        "[ \t\r\n]{0,3}"
    }

    proptest! {
        #[test]
        fn what_is_put_together_comes_apart_again(
            elements in prop::collection::vec((blanks(), any_json(), blanks()), 0..6),
            (before, behind) in (blanks(), blanks()),
        ) {
            let inside: Vec<_> = elements.iter().map(|(a, json, b)| format!("{a}{json}{b}")).collect();
            let list = format!("{before}[{}]{behind}", inside.join(","));
            let within = format!("{{\"x\":[0],\"d\" :{list}}}");
            let expected = match &elements[..] {
                [] => Parted::Whole,
                elements => Parted::Elements(elements.iter().map(|(_, json, _)| &**json).collect()),
            };
            prop_assert_eq!(split("").part(&list), expected);
            let raw: Vec<&RawValue> = serde_json::from_str(&list).unwrap();
            let raw: Vec<_> = raw.iter().map(|element| element.get()).collect();
            if let Parted::Elements(elements) = split("/d").part(&within) {
                prop_assert_eq!(elements, raw);
            } else {
                prop_assert!(raw.is_empty());
            }
        }

        #[test]
        fn what_is_no_list_stays(message in "[\\[\\]{}\",:a1 ]{0,12}") {
            let raw: Option<Vec<&RawValue>> = serde_json::from_str(&message).ok();
            let raw = raw.map(|raw| raw.iter().map(|element| element.get()).collect::<Vec<_>>());
            let expected = match raw {
                Some(raw) if !raw.is_empty() => Parted::Elements(raw),
                _ => Parted::Whole,
            };
            prop_assert_eq!(split("").part(&message), expected);
        }
    }
}
