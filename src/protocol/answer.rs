//! The answer to a request.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::message::{even_null, one_line};

/// An answer of the server's to a request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Answer<'a> {
    /// The request's, as it came; none for a send that had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, RawValue>>,
    /// What the server said, byte for byte but for line breaks and blanks around it, and for the client's own id where
    /// the daemon's was.
    #[serde(borrow, deserialize_with = "even_null", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(required))]
    pub json: Option<&'a RawValue>,
    /// Other answers follow.
    #[serde(skip_serializing_if = "is_false")]
    #[cfg_attr(test, schemars(extend("const" = true)))]
    pub more: bool,
    /// The server refuses.
    #[serde(skip_serializing_if = "is_false")]
    #[cfg_attr(test, schemars(extend("const" = true)))]
    pub failed: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The line of an answer, with its end. The payload is JSON that was read already, and is never printed again.
pub fn answer_line(id: Option<&RawValue>, payload: &str, more: bool, failed: bool) -> Vec<u8> {
    let mut line = Vec::with_capacity(payload.len() + 96);
    line.extend_from_slice(b"{\"type\":\"answer\"");
    if let Some(id) = id {
        line.extend_from_slice(b",\"id\":");
        line.extend_from_slice(id.get().as_bytes());
    }
    line.extend_from_slice(b",\"json\":");
    one_line(payload.trim_matches([' ', '\t', '\n', '\r']), &mut line);
    for (is, name) in [(more, "more"), (failed, "failed")] {
        if is {
            line.extend_from_slice(format!(",\"{name}\":true").as_bytes());
        }
    }
    line.extend_from_slice(b"}\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Line;

    #[test]
    fn the_payload_stays_as_it_is_on_one_line() {
        let id = RawValue::from_string("{\"a\": 1.0}".to_owned()).unwrap();
        let line = answer_line(Some(&id), " {\"n\": 1e400,\n \"n\":\"\\ud800\"}\r\n", true, false);
        let whole = "{\"type\":\"answer\",\"id\":{\"a\": 1.0},\"json\":{\"n\": 1e400,  \"n\":\"\\ud800\"},\"more\":true}\n";
        assert_eq!(str::from_utf8(&line).unwrap(), whole);
        let Some(Line::Answer(read)) = Line::parse(&line) else { panic!("{whole}") };
        assert!(read.more && !read.failed);
        assert_eq!(Line::Answer(read).write(), line);
    }
}
