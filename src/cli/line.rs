//! A line of the local protocol, as a client reads it. Pure.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A line from the daemon: all fields that any type of line has, as far as a client wants them.
///
/// It is flat, and not an enum by `type`, since serde buffers what it has to choose by a tag, and a
/// payload must not be parsed and printed again.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "even_null")]
    pub(super) id: Option<&'a RawValue>,
    pub(super) seq: Option<u64>,
    pub(super) time_us: Option<u64>,

    // hello
    pub(super) protocol: u64,
    #[serde(borrow)]
    pub(super) server: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) epoch: Cow<'a, str>,
    pub(super) oldest: u64,
    /// The state's name in `hello`, and much more in `status`.
    #[serde(borrow)]
    pub(super) link: Option<&'a RawValue>,
    pub(super) client: u64,
    pub(super) max_line: Option<u64>,

    // message
    #[serde(borrow, deserialize_with = "even_null")]
    pub(super) json: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) binary: Option<Cow<'a, str>>,

    // link
    #[serde(borrow)]
    pub(super) state: Cow<'a, str>,
    pub(super) conn: u64,
    #[serde(borrow)]
    pub(super) url: Cow<'a, str>,
    /// A close code, or the name of an error.
    #[serde(borrow)]
    pub(super) code: Option<Code<'a>>,
    #[serde(borrow)]
    pub(super) reason: Option<Cow<'a, str>>,
    pub(super) http_status: Option<u16>,
    #[serde(borrow)]
    pub(super) error: Option<Cow<'a, str>>,
    pub(super) attempt: u64,
    pub(super) retry_in_ms: Option<u64>,

    // gap and bye
    pub(super) from: u64,
    pub(super) to: u64,
    /// `null` where nobody knows.
    pub(super) count: Option<u64>,
    #[serde(borrow)]
    pub(super) why: Cow<'a, str>,
    /// What the server's count is of.
    #[serde(borrow)]
    pub(super) per: Option<&'a RawValue>,

    // ok and error
    #[serde(borrow)]
    pub(super) result: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) message: Cow<'a, str>,
}

/// `code` is a number in a `link` line and a name in an `error` line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Code<'a> {
    /// A close code.
    Close(u16),
    /// An error's name.
    Name(Cow<'a, str>),
}

/// How the line of a message begins. The daemon writes the type first, so most lines need no parsing.
const MESSAGE: &[u8] = b"{\"type\":\"message\",";

impl<'a> Line<'a> {
    /// Reads a line. None when it isn't a JSON object of the protocol.
    pub(super) fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        // serde would take an array for a struct too
        let object = line.trim_ascii_start().starts_with(b"{");
        object.then(|| serde_json::from_slice(line).ok()).flatten()
    }

    /// The link's state in a `hello` line.
    pub(super) fn link_state(&self) -> Cow<'a, str> {
        let state = self.link.and_then(|link| serde_json::from_str(link.get()).ok());
        state.map_or(Cow::Borrowed("unknown"), Cow::Owned)
    }

    /// Whether this surely is a message, without a look inside.
    pub(super) fn is_message(line: &[u8]) -> bool {
        line.starts_with(MESSAGE)
    }

    /// The place of what surely is a message, without a look inside.
    pub(super) fn message_seq(line: &[u8]) -> Option<u64> {
        let rest = line.strip_prefix(MESSAGE)?.strip_prefix(b"\"seq\":")?;
        let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
    }

    /// Whether the line is a reply to the request with this id.
    pub(super) fn replies_to(&self, id: u64) -> bool {
        self.id.is_some_and(|mine| mine.get() == id.to_string())
    }

    /// The name of an `error` line's error.
    pub(super) fn error_name(&self) -> &str {
        match &self.code {
            Some(Code::Name(name)) => name,
            _ => "error",
        }
    }

    /// A message's payload as the raw format writes it: JSON and text as they are, binary in base64,
    /// line breaks as spaces.
    pub(super) fn raw(&self) -> Cow<'_, str> {
        let payload = match (self.json, &self.text, &self.binary) {
            (Some(json), ..) => json.get(),
            (None, Some(text), _) => text,
            (None, None, Some(binary)) => binary,
            (None, None, None) => "",
        };
        match payload.contains(['\n', '\r']) {
            true => Cow::Owned(payload.replace(['\n', '\r'], " ")),
            false => Cow::Borrowed(payload),
        }
    }
}

/// A value that is there, even if it is `null`: a message may well be the JSON text `null`.
fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_kept_as_it_is() {
        let raw = |line: &str| Line::parse(line.as_bytes()).unwrap().raw().into_owned();
        let number =
            r#"{"type":"message","seq":1,"time_us":2,"json":{"b":1.10,"a":12345678901234567890123,"a":2}}"#;
        assert_eq!(raw(number), r#"{"b":1.10,"a":12345678901234567890123,"a":2}"#);
        assert_eq!(raw(r#"{"type":"message","json":null}"#), "null");
        assert_eq!(raw(r#"{"type":"message","text":"a\nb"}"#), "a b");
        assert_eq!(raw(r#"{"type":"message","binary":"AAEC"}"#), "AAEC");
    }

    #[test]
    fn a_message_is_known_by_its_beginning() {
        assert!(Line::is_message(b"{\"type\":\"message\",\"seq\":1}"));
        assert!(!Line::is_message(b"{\"type\":\"link\",\"seq\":1}"));
        assert!(!Line::is_message(b"{\"type\":\"mess"));
        assert_eq!(Line::message_seq(b"{\"type\":\"message\",\"seq\":41,\"json\":1}"), Some(41));
        for odd in [
            "{\"type\":\"message\",\"seq\":41",
            "{\"type\":\"message\",\"seq\":,",
            "{\"type\":\"link\",\"seq\":1}",
        ] {
            assert_eq!(Line::message_seq(odd.as_bytes()), None);
        }
    }

    #[test]
    fn ids_and_codes() {
        let line = Line::parse(br#"{"type":"error","id":7,"code":"link_down","message":"m"}"#).unwrap();
        assert!(line.replies_to(7) && !line.replies_to(8));
        assert_eq!(line.error_name(), "link_down");
        let line = Line::parse(br#"{"type":"link","state":"waiting","code":1006,"new":{"x":[]}}"#).unwrap();
        assert_eq!(line.code, Some(Code::Close(1006)));
        assert!(!line.replies_to(7));
        // the same field means more in another line
        let line = Line::parse(br#"{"type":"status","id":7,"link":{"state":"up"},"log":{}}"#).unwrap();
        assert!(line.replies_to(7));
        assert_eq!(Line::parse(br#"{"type":"hello","link":"up"}"#).unwrap().link_state(), "up");
    }

    #[test]
    fn what_is_no_line_is_none() {
        for bad in ["", "x", "[]", "1", "{\"type\":1}", "{\"type\":\"link\""] {
            assert!(Line::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
