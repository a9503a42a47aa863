use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn pointers(texts: &[&str]) -> Vec<Pointer> {
    texts.iter().map(|text| Pointer::parse(text).unwrap()).collect()
}

fn found<'m>(texts: &[&str], message: &'m str) -> Option<Vec<Option<&'m str>>> {
    Some(Probe::new(&pointers(texts)).look(message)?.values)
}

#[test]
fn values_are_as_the_message_has_them() {
    let message = r#" {"a": 1.50, "b": {"c": [ {"d": "x\n"} , 2 ]}, "e": null, "a~b/c": true} "#;
    for (pointer, value) in [
        ("", Some(message.trim())),
        ("/a", Some("1.50")),
        ("/b/c/0/d", Some(r#""x\n""#)),
        ("/b/c/1", Some("2")),
        ("/b/c/2", None),
        ("/b/c/01", None),
        ("/b/c/-", None),
        ("/b/c/d", None),
        ("/e", Some("null")),
        ("/e/x", None),
        ("/a/0", None),
        ("/a~0b~1c", Some("true")),
        ("/missing", None),
    ] {
        assert_eq!(found(&[pointer], message), Some(vec![value]), "{pointer}");
    }
    let all = found(&["/b", "/b/c/1", "/b/c", ""], message).unwrap();
    assert!(all.iter().all(Option::is_some) && all[1] == Some("2"));
}

#[test]
fn escaped_keys_are_the_same_keys() {
    assert_eq!(found(&["/abc", "/\n"], r#"{"\u0061bc":1,"\n":2}"#), Some(vec![Some("1"), Some("2")]));
}

#[test]
fn of_doubled_keys_the_last_counts_with_all_that_is_in_it() {
    assert_eq!(found(&["/a"], r#"{"a":1,"a":2}"#), Some(vec![Some("2")]));
    assert_eq!(found(&["/a/b", "/a/c"], r#"{"a":{"b":1},"a":{"c":2}}"#), Some(vec![None, Some("2")]));
    assert_eq!(found(&["/a/b", "/a"], r#"{"a":{"b":1},"a":0}"#), Some(vec![None, Some("0")]));
}

#[test]
fn what_is_no_json_has_nothing() {
    for message in ["", "pong", "{", r#"{"a":1}x"#, r#"{"a":1"#, "{1:2}", "[1,]", r#"{"a":01}"#] {
        assert_eq!(found(&["/a"], message), None, "{message}");
    }
}

#[test]
fn what_is_passed_over_may_be_deep_and_odd() {
    let deep = format!(r#"{{"x":{}{},"a":1}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(found(&["/a"], &deep), Some(vec![Some("1")]));
    assert_eq!(found(&["/a"], r#"{"x":"\ud800","y":1e999,"a":1}"#), Some(vec![Some("1")]));
}

/// Any JSON, of few keys, so that pointers lead somewhere.
fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![r#"[ab01~/"\\é]{0,2}"#, Just("a".to_owned()), Just("0".to_owned())];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |x| x.is_finite()).prop_map(Value::from),
        ".{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_pointers() -> impl Strategy<Value = Vec<Pointer>> {
    let token = prop_oneof!["a|b|0|1|00|-|", "(~0|~1|a|é|\"){0,2}"];
    let text = prop::collection::vec(token, 0..4)
        .prop_map(|tokens| tokens.iter().map(|token| format!("/{token}")).collect::<String>());
    prop::collection::btree_set(text, 1..8)
        .prop_map(|texts| texts.iter().map(|text| Pointer::parse(text).unwrap()).collect())
}

/// Writes a key or a text with every letter escaped.
fn escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn write_escaped(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            format!("[ {} ]", list.iter().map(write_escaped).collect::<Vec<_>>().join(" ,\n"))
        }
        Value::Object(map) => {
            let entry =
                |(key, value): (&String, &Value)| format!("\"{}\" : {}", escaped(key), write_escaped(value));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join("\t,"))
        }
        Value::String(text) => format!("\"{}\"", escaped(text)),
        other => other.to_string(),
    }
}

proptest! {
    #[test]
    fn it_agrees_with_the_pointers_of_serde_json(json in any_json(), pointers in any_pointers(), escape: bool) {
        let message = if escape { write_escaped(&json) } else { json.to_string() };
        // what the message says, which may differ from what was written by the last bit of a float
        let json: Value = serde_json::from_str(&message).unwrap();
        let found = Probe::new(&pointers).look(&message).unwrap();
        for (slot, pointer) in pointers.iter().enumerate() {
            let value = found.get(slot).map(|raw| serde_json::from_str::<Value>(raw).unwrap());
            prop_assert_eq!(value.as_ref(), json.pointer(pointer.as_str()), "{}", pointer);
        }
    }

    #[test]
    fn no_message_panics(message in r#"([{}"\[\]:,a1\\ ]|.){0,24}"#, pointers in any_pointers()) {
        let found = Probe::new(&pointers).look(&message);
        let json: Result<Value, _> = serde_json::from_str(&message);
        if json.is_ok() {
            prop_assert!(found.is_some());
        }
    }

    #[test]
    fn doubled_keys_are_those_of_serde_json(
        entries in prop::collection::vec(("a|b", prop_oneof![Just(json!(1)), Just(json!({"a": 2})), Just(json!({"b": {}}))]), 0..5),
        pointers in any_pointers(),
    ) {
        let entries: Vec<_> = entries.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let message = format!("{{{}}}", entries.join(","));
        let json: Value = serde_json::from_str(&message).unwrap();
        let found = Probe::new(&pointers).look(&message).unwrap();
        for (slot, pointer) in pointers.iter().enumerate() {
            let value = found.get(slot).map(|raw| serde_json::from_str::<Value>(raw).unwrap());
            prop_assert_eq!(value.as_ref(), json.pointer(pointer.as_str()), "{}", pointer);
        }
    }
}
