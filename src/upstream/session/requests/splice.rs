//! Puts an id into a message, and leaves every other byte as it is. Pure.

use std::ops::Range;

use crate::config::{IdKind, Pointer};

/// An id by which requests and answers are matched: what a text says, or a number's digits, so that a server may
/// answer with either.
pub(in crate::upstream) type Key = Box<str>;

/// The longest id that is looked at, in bytes.
pub(in crate::upstream) const MAX_KEY: usize = 1024;

/// The key that a value of JSON is; none if it is no text or number, or too long.
pub(in crate::upstream) fn key_of(json: &str) -> Option<Key> {
    match json.as_bytes().first()? {
        _ if json.len() > MAX_KEY => None,
        b'"' => serde_json::from_str::<String>(json).ok().map(String::into_boxed_str),
        b'-' | b'0'..=b'9' => Some(whole(json).unwrap_or_else(|| json.into())),
        _ => None,
    }
}

/// The digits of a whole number that is written as another kind: who has but one kind of numbers may answer 7 by 7.0,
/// or 1000000 by 1e+06.
fn whole(json: &str) -> Option<Key> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !json.contains(['.', 'e', 'E']) {
        return None;
    }
    let number: f64 = json.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < EXACT).then(|| format!("{number:.0}").into())
}

/// An id as it is written.
pub(in crate::upstream) fn written(id: u64, kind: IdKind) -> String {
    match kind {
        IdKind::Number => id.to_string(),
        IdKind::Text => format!("\"{id}\""),
    }
}

/// Where a part lies in the text that it is a slice of.
pub(in crate::upstream) fn place(text: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    debug_assert!(text.get(start..start + part.len()) == Some(part), "it is no slice of it");
    start..start + part.len()
}

/// The text with something else in some places.
pub(in crate::upstream) fn spliced(text: &str, mut places: Vec<(Range<usize>, &str)>) -> String {
    places.sort_by_key(|(place, _)| place.start);
    let mut whole = String::with_capacity(text.len() + 32);
    let mut from = 0;
    for (place, new) in places {
        if place.start < from {
            continue; // the same place by another pointer
        }
        whole.push_str(&text[from..place.start]);
        whole.push_str(new);
        from = place.end;
    }
    whole.push_str(&text[from..]);
    whole
}

/// Where a member that isn't there can be put, and what stands before and behind its value: at the beginning of the
/// object that it belongs to. None where there is no such object.
pub(in crate::upstream) fn room(
    text: &str,
    parent: Option<&str>,
    pointer: &Pointer,
) -> Option<(usize, String, &'static str)> {
    let (parent, key) = (parent?, pointer.tokens().last()?);
    let inside = parent.strip_prefix('{')?;
    let is_empty = inside.trim_start().starts_with('}');
    let before = format!("{}:", serde_json::Value::from(key.as_str()));
    Some((place(text, parent).start + 1, before, if is_empty { "" } else { "," }))
}

/// The pointer to what the value at this one is in.
pub(in crate::upstream) fn parent(pointer: &Pointer) -> Pointer {
    let text = pointer.as_str();
    let above = text.rfind('/').map_or("", |at| &text[..at]);
    Pointer::parse(above).unwrap_or_else(|_| pointer.clone())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::session::probe::Probe;

    /// The text with this value at a pointer, replaced or put in.
    fn put(text: &str, pointer: &str, value: &str) -> Option<String> {
        let pointer = Pointer::parse(pointer).unwrap();
        let probe = Probe::new(&[pointer.clone(), parent(&pointer)]);
        let found = probe.look(text)?;
        if let Some(there) = found.get(0) {
            return Some(spliced(text, vec![(place(text, there), value)]));
        }
        let (at, before, behind) = room(text, found.get(1), &pointer)?;
        Some(spliced(text, vec![(at..at, &format!("{before}{value}{behind}"))]))
    }

    #[test]
    fn an_id_is_put_in_and_the_rest_stays() {
        for (text, pointer, whole) in [
            (r#"{"id":1,"a": 1.10}"#, "/id", Some(r#"{"id":77,"a": 1.10}"#)),
            (
                " { \"a\" : 1e400 ,\n\"id\" : \"x\\u0061\" } ",
                "/id",
                Some(" { \"a\" : 1e400 ,\n\"id\" : 77 } "),
            ),
            (r#"{"a":1}"#, "/id", Some(r#"{"id":77,"a":1}"#)),
            ("{ }", "/id", Some(r#"{"id":77 }"#)),
            (r#"{"h":{},"id":5}"#, "/h/id", Some(r#"{"h":{"id":77},"id":5}"#)),
            (r#"{"id":{"id":null}}"#, "/id/id", Some(r#"{"id":{"id":77}}"#)),
            (r#"[2,"abc","Boot",{}]"#, "/1", Some(r#"[2,77,"Boot",{}]"#)),
            (r#"{"id":1,"id":2}"#, "/id", Some(r#"{"id":1,"id":77}"#)),
            (r#"{"\u0069d":9}"#, "/id", Some(r#"{"\u0069d":77}"#)),
            (r#"{"a":1}"#, "/h/id", None),
            (r#"{"h":[]}"#, "/h/id", None),
            ("[2]", "/1", None),
            ("7", "/id", None),
            ("not JSON", "/id", None),
        ] {
            assert_eq!(put(text, pointer, "77").as_deref(), whole, "{text} {pointer}");
        }
    }

    #[test]
    fn ids_are_the_same_whatever_their_kind() {
        for (json, key) in [
            ("7", Some("7")),
            ("7.0", Some("7")),
            ("7.00", Some("7")),
            ("1e+06", Some("1000000")),
            ("-1E2", Some("-100")),
            ("7.5", Some("7.5")),
            ("1e400", Some("1e400")),
            ("9007199254740993", Some("9007199254740993")),
            ("1e16", Some("1e16")),
            ("\"7\"", Some("7")),
            ("\"\\u0037\"", Some("7")),
            ("12345678901234567890123", Some("12345678901234567890123")),
            ("null", None),
            ("true", None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(key_of(json).as_deref(), key, "{json}");
        }
        assert_eq!(key_of(&format!("\"{}\"", "x".repeat(MAX_KEY))), None);
        assert_eq!((written(7, IdKind::Number), written(7, IdKind::Text)), ("7".into(), "\"7\"".into()));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i32>().prop_map(Into::into),
            "[a-z\"\\\\\u{e9}]{0,4}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
                prop::collection::btree_map("(a|b|id)", inner, 0..3)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// What was put in is there, and taken out again gives the very bytes of before.
        #[test]
        fn what_is_put_in_is_there_and_nothing_else_is_changed(json in any_json(), pointer in "(/(a|b|0|id)){1,2}") {
            let text = json.to_string();
            let Some(whole) = put(&text, &pointer, "4711") else { return Ok(()) };
            let read: serde_json::Value = serde_json::from_str(&whole).unwrap();
            prop_assert_eq!(read.pointer(&pointer), Some(&serde_json::json!(4711)));
            if let Some(before) = json.pointer(&pointer) {
                prop_assert_eq!(put(&whole, &pointer, &before.to_string()), Some(text));
            }
        }
    }
}
