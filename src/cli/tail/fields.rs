//! Some values of each message, as columns.

use std::{borrow::Cow, collections::HashMap};

use serde_json::value::RawValue;

use crate::{
    config::{Pointer, array_index},
    protocol::Message,
};

/// What stands in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Field {
    /// A value of the payload.
    At(Pointer),
    Seq,
    TimeUs,
    Topic,
}

/// Reads what is asked for.
pub(in crate::cli) fn field(text: &str) -> Result<Field, String> {
    match text {
        "seq" => Ok(Field::Seq),
        "time_us" => Ok(Field::TimeUs),
        "topic" => Ok(Field::Topic),
        _ => Pointer::parse(text)
            .map(Field::At)
            .map_err(|why| format!("it {why}; the line's own fields are seq, time_us and topic")),
    }
}

/// A message's columns with tabs between, and empty where there is no value: texts without their quotes, all else as
/// it came. What would break the line is escaped, as jq's @tsv does.
pub(super) fn row(fields: &[Field], message: &Message<'_>) -> String {
    let mut row = String::new();
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            row.push('\t');
        }
        match field {
            Field::Seq => row.push_str(&message.seq.to_string()),
            Field::TimeUs => row.push_str(&message.time_us.to_string()),
            Field::Topic => escape(message.topic.as_deref().unwrap_or_default(), &mut row),
            Field::At(pointer) => escape(&value(message, pointer), &mut row),
        }
    }
    row
}

/// What is at a pointer of a payload. One that isn't JSON is a text as a whole.
fn value<'m>(message: &'m Message<'_>, pointer: &Pointer) -> Cow<'m, str> {
    let whole = message.text.as_deref().or(message.binary.as_deref());
    match (message.json, whole) {
        (Some(json), _) => at(json, pointer).map_or(Cow::Borrowed(""), plain),
        (None, Some(whole)) if pointer.tokens().is_empty() => Cow::Borrowed(whole),
        _ => Cow::Borrowed(""),
    }
}

fn at<'j>(json: &'j RawValue, pointer: &Pointer) -> Option<&'j RawValue> {
    pointer.tokens().iter().try_fold(json, |json, token| match json.get().as_bytes().first()? {
        // of a key that stands there twice, the last one counts
        b'{' => serde_json::from_str::<HashMap<Cow<'_, str>, &RawValue>>(json.get()).ok()?.remove(&**token),
        b'[' => serde_json::from_str::<Vec<&RawValue>>(json.get()).ok()?.get(array_index(token)?).copied(),
        _ => None,
    })
}

/// A text without its quotes, if it can be; anything else as it is.
fn plain(json: &RawValue) -> Cow<'_, str> {
    match serde_json::from_str::<String>(json.get()) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(json.get()),
    }
}

fn escape(text: &str, row: &mut String) {
    for c in text.chars() {
        match c {
            '\t' => row.push_str("\\t"),
            '\n' => row.push_str("\\n"),
            '\r' => row.push_str("\\r"),
            '\\' => row.push_str("\\\\"),
            c => row.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Line;

    fn shown(fields: &[&str], content: &str) -> String {
        let fields: Vec<_> = fields.iter().map(|text| field(text).unwrap()).collect();
        let line = format!(r#"{{"type":"message","seq":3,"time_us":5,"topic":"b.t",{content}}}"#);
        let Some(Line::Message(message)) = Line::parse(line.as_bytes()) else { panic!("{line}") };
        row(&fields, &message)
    }

    #[test]
    fn columns() {
        let payload = r#""json":{"a":"x","n":12345678901234567890.10,"l":[1,{"k":"é"}],"o":{"p": "q"},"t":"a\tb\n\\","z":null,"a/b":true}"#;
        for (fields, row) in [
            (&["/a", "/n"][..], "x\t12345678901234567890.10"),
            (&["/none", "/a", "/a/deeper", "/l/7"], "\tx\t\t"),
            (&["/l/1/k", "/l", "/o"], "é\t[1,{\"k\":\"é\"}]\t{\"p\": \"q\"}"),
            (&["/t"], "a\\tb\\n\\\\"),
            (&["/z", "/a~1b"], "null\ttrue"),
            (&["seq", "time_us", "topic", "/a"], "3\t5\tb.t\tx"),
        ] {
            assert_eq!(shown(fields, payload), row, "{fields:?}");
        }
        assert_eq!(shown(&["", "/a"], r#""text":"one\ntwo""#), "one\\ntwo\t");
        assert_eq!(shown(&["", "/a"], r#""binary":"AAE=""#), "AAE=\t");
        assert_eq!(shown(&[""], r#""json":"\ud800""#), "\"\\\\ud800\"");
        assert_eq!(shown(&["/a"], r#""json":{"a":1,"a":2}"#), "2");
    }

    #[test]
    fn what_is_no_field() {
        for (text, said) in
            [("a", "write one such as"), ("/~", "write ~0"), ("Topic", "seq, time_us and topic")]
        {
            assert!(field(text).unwrap_err().contains(said), "{text}");
        }
    }
}
