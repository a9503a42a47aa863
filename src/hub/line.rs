//! The lines of log entries: a message or a change of the link becomes bytes, once. Pure.

use super::{
    Data, Hole, LinkStatus,
    json::{Json, json},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

/// Writes the line of a message, and its raw form.
///
/// Text that is JSON (RFC 8259, as serde_json reads it) stands in the line byte for byte: it is
/// checked, never parsed and printed again. A line break in valid JSON can only stand between
/// tokens, so it becomes a space. Lone surrogate escapes (`\ud800`) pass, as the grammar allows.
pub(super) fn message(
    seq: u64,
    time_us: u64,
    data: Data<'_>,
    envelope: &mut Vec<u8>,
    raw: Option<&mut Vec<u8>>,
) {
    head("message", Some(seq), time_us, envelope);
    match data {
        Data::Text(text) => match json(text) {
            Json::Plain(json) => {
                envelope.extend_from_slice(b",\"json\":");
                envelope.extend_from_slice(json.as_bytes());
            }
            Json::Any(json) => {
                envelope.extend_from_slice(b",\"json\":");
                one_line(json, envelope);
            }
            Json::Not => {
                envelope.extend_from_slice(b",\"text\":");
                string(text, envelope);
            }
        },
        Data::Binary(bytes) => {
            envelope.extend_from_slice(b",\"binary\":\"");
            base64(bytes, envelope);
            envelope.push(b'"');
        }
    }
    envelope.extend_from_slice(b"}\n");
    if let Some(raw) = raw {
        match data {
            Data::Text(text) => one_line(text, raw),
            Data::Binary(bytes) => base64(bytes, raw),
        }
        raw.push(b'\n');
    }
}

/// Writes the line of the link's status; without `seq` it is a restatement.
pub(super) fn link(seq: Option<u64>, status: &LinkStatus, line: &mut Vec<u8>) {
    head("link", seq, status.since_us, line);
    let fields = line.len();
    serde_json::to_writer(&mut *line, status).expect("a status is plain data");
    line[fields] = b','; // instead of its opening brace: the fields belong to this object
    line.push(b'\n');
}

/// Writes the line that declares a hole in the server's messages.
pub(super) fn hole(seq: u64, time_us: u64, hole: &Hole, line: &mut Vec<u8>) {
    head("gap", Some(seq), time_us, line);
    let mut number = itoa::Buffer::new();
    line.extend_from_slice(b",\"why\":\"upstream\"");
    for (key, value) in [("from", hole.from), ("to", hole.to), ("count", hole.to - hole.from + 1)] {
        line.extend_from_slice(b",\"");
        line.extend_from_slice(key.as_bytes());
        line.extend_from_slice(b"\":");
        line.extend_from_slice(number.format(value).as_bytes());
    }
    if let Some(per) = &hole.per {
        line.extend_from_slice(b",\"per\":");
        one_line(per, line);
    }
    line.extend_from_slice(b"}\n");
}

fn head(kind: &str, seq: Option<u64>, time_us: u64, line: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.push(b'"');
    if let Some(seq) = seq {
        line.extend_from_slice(b",\"seq\":");
        line.extend_from_slice(number.format(seq).as_bytes());
    }
    line.extend_from_slice(b",\"time_us\":");
    line.extend_from_slice(number.format(time_us).as_bytes());
}

/// Appends `text` with each line break as a space.
fn one_line(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    // looked for before the copy: reading right after it would wait for the stores
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b' ');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is plain data");
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let length =
        base64::encoded_len(bytes.len(), true).expect("a message is far smaller than the address space");
    out.resize(start + length, 0);
    BASE64.encode_slice(bytes, &mut out[start..]).expect("the slice has the encoded length");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::hub::LinkState;

    fn lines(data: Data<'_>) -> (String, String) {
        let (mut envelope, mut raw) = (Vec::new(), Vec::new());
        message(7, 5, data, &mut envelope, Some(&mut raw));
        (String::from_utf8(envelope).unwrap(), String::from_utf8(raw).unwrap())
    }

    #[test]
    fn a_message_becomes_a_line() {
        let cases = [
            (Data::Text(r#"{"a":1}"#), r#""json":{"a":1}"#, r#"{"a":1}"#),
            (Data::Text(" [1, 2]\n"), r#""json":[1, 2]"#, " [1, 2] "),
            (Data::Text("{\r\n\"a\": 1\n}"), r#""json":{  "a": 1 }"#, "{  \"a\": 1 }"),
            (
                Data::Text(r#"{"n":123456789012345678901234567890.10,"n":1e400,"b":0}"#),
                r#""json":{"n":123456789012345678901234567890.10,"n":1e400,"b":0}"#,
                r#"{"n":123456789012345678901234567890.10,"n":1e400,"b":0}"#,
            ),
            (Data::Text(r#""\ud800""#), r#""json":"\ud800""#, r#""\ud800""#),
            (Data::Text("3"), r#""json":3"#, "3"),
            (Data::Text("not JSON"), r#""text":"not JSON""#, "not JSON"),
            (Data::Text("{\"a\":1} x"), r#""text":"{\"a\":1} x""#, "{\"a\":1} x"),
            (Data::Text("two\nlines\u{1}"), r#""text":"two\nlines\u0001""#, "two lines\u{1}"),
            (Data::Text(""), r#""text":"""#, ""),
            (Data::Binary(&[0, 1, 2]), r#""binary":"AAEC""#, "AAEC"),
            (Data::Binary(&[]), r#""binary":"""#, ""),
        ];
        for (data, envelope, raw) in cases {
            let expected = format!("{{\"type\":\"message\",\"seq\":7,\"time_us\":5,{envelope}}}\n");
            assert_eq!(lines(data), (expected, format!("{raw}\n")), "{data:?}");
        }
    }

    #[test]
    fn json_of_any_depth_passes() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(lines(Data::Text(&deep)).0.contains("\"json\":[[["));
    }

    #[test]
    fn a_status_becomes_a_line_with_what_is_known() {
        let status = LinkStatus {
            state: LinkState::Waiting,
            since_us: 9,
            conn: 12,
            url: "wss://host/path".into(),
            code: Some(1006),
            attempt: 3,
            retry_in: Some(Duration::from_millis(3200)),
            ..LinkStatus::default()
        };
        let mut line = Vec::new();
        link(Some(8), &status, &mut line);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"type\":\"link\",\"seq\":8,\"time_us\":9,\"state\":\"waiting\",\"conn\":12,\
             \"url\":\"wss://host/path\",\"code\":1006,\"attempt\":3,\"retry_in_ms\":3200}\n"
        );
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_line_that_gives_it_back(text in any::<String>()) {
            let (envelope, raw) = lines(Data::Text(&text));
            prop_assert_eq!(envelope.matches('\n').count(), 1);
            prop_assert_eq!(raw.matches(['\n', '\r']).count(), 1);
            let line: Value = serde_json::from_str(&envelope).unwrap();
            match (line.get("text"), line.get("json")) {
                (Some(Value::String(back)), None) => prop_assert_eq!(back, &text),
                (None, Some(json)) => prop_assert_eq!(json, &serde_json::from_str::<Value>(&text).unwrap()),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn any_bytes_become_one_line_that_gives_them_back(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let (envelope, _) = lines(Data::Binary(&bytes));
            let line: Value = serde_json::from_str(&envelope).unwrap();
            prop_assert_eq!(BASE64.decode(line["binary"].as_str().unwrap()).unwrap(), bytes);
        }
    }
}
