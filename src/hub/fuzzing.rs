//! What the fuzz targets try of this room: the functions panic where something is wrong.

use serde_json::value::RawValue;

use super::{Data, Log, Retention};
use crate::{
    config::Format,
    protocol::{Encoder, Json, json},
};

/// A text is judged as serde_json does, and becomes one line that gives it back.
pub fn message(text: &str) {
    let judged = serde_json::from_str::<&RawValue>(text);
    match json(text) {
        Json::Plain(plain) => {
            assert_eq!(judged.expect("it is JSON").get(), text);
            assert!(plain == text && !text.contains(['\n', '\r']));
        }
        Json::Any(inner) => assert_eq!(judged.expect("it is JSON").get(), inner),
        Json::Not => assert!(judged.is_err(), "it is JSON"),
    }
    let message = Encoder::new(Data::Text(text));
    let mut log = Log::new(Retention { max_bytes: 0, max_age_us: None }, true);
    let seq = log.append(1, message.room(), None, |seq, envelope, raw| message.write(seq, 1, envelope, raw));
    let [envelope, raw] =
        [Format::Envelope, Format::Raw].map(|format| log.chunk(seq, format).expect("both are kept").lines());
    for bytes in [envelope, raw] {
        assert_eq!(memchr::memchr_iter(b'\n', bytes).count(), 1, "it is one line");
        assert_eq!(bytes.last(), Some(&b'\n'));
    }
    let back: Back<'_> = serde_json::from_slice(envelope).expect("the line is JSON");
    match (back.json, back.text) {
        (Some(json), None) => {
            let spaced = text.replace(['\n', '\r'], " ");
            assert_eq!(json.get(), spaced.trim_matches([' ', '\t']), "the payload is as it came");
        }
        (None, Some(back)) => assert_eq!(back, text),
        _ => panic!("a line has one payload"),
    }
}

#[derive(serde::Deserialize)]
struct Back<'a> {
    #[serde(borrow, default, deserialize_with = "some")]
    json: Option<&'a RawValue>,
    text: Option<String>,
}

/// `null` is a payload too.
fn some<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    serde::Deserialize::deserialize(from).map(Some)
}
