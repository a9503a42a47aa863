//! What `wsfan send` and `wsfan request` send.

use std::io::{self, IsTerminal as _, Read as _};

use serde_json::value::RawValue;

use super::failure::{Failure, Outcome, note, reason};

/// What is sent.
#[derive(Debug)]
pub(super) enum Payload {
    /// JSON on one line, otherwise as it came.
    Json(Box<RawValue>),
    Text(String),
    Binary(Vec<u8>),
}

/// The bytes of the argument, or all of stdin where there is none, or it is `-`.
pub(super) fn given(argument: Option<&str>, command: &str) -> Outcome<Vec<u8>> {
    match argument {
        Some(argument) if argument != "-" => Ok(argument.as_bytes().to_owned()),
        given => {
            if given.is_none() && io::stdin().is_terminal() {
                return Err(Failure::usage(format!(
                    "nothing to send: give the message as an argument, or on stdin (see `wsfan {command} --help`)"
                )));
            }
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map_err(unreadable)?;
            match bytes.is_empty() {
                true => Err(Failure::failed("stdin is empty: nothing was sent")),
                false => Ok(bytes),
            }
        }
    }
}

/// Stdin can't be read.
pub(super) fn unreadable(error: io::Error) -> Failure {
    Failure::failed(format!("stdin can't be read: {}", reason(&error)))
}

/// JSON on one line, otherwise as it came.
pub(super) fn json(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    let json = serde_json::from_str::<&RawValue>(text)?;
    // a line break in JSON can only stand between tokens
    RawValue::from_string(json.get().replace(['\n', '\r'], " "))
}

/// JSON if it is, else text.
pub(super) fn text(bytes: Vec<u8>, force: bool) -> Result<Payload, String> {
    let text = String::from_utf8(bytes).map_err(|_| "the message isn't UTF-8 text".to_owned())?;
    if force {
        return Ok(Payload::Text(text));
    }
    match json(&text) {
        Ok(json) => Ok(Payload::Json(json)),
        Err(error) => {
            if text.trim_start().starts_with(['{', '[']) {
                note(format!("sent as text, as it isn't JSON ({error}); --text says that this is meant"));
            }
            Ok(Payload::Text(text))
        }
    }
}

/// A line without the break at its end.
pub(super) fn without_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_if_it_parses_else_text() {
        let shown = |bytes: &str, force| match text(bytes.as_bytes().to_owned(), force).unwrap() {
            Payload::Json(json) => format!("json {}", json.get()),
            Payload::Text(text) => format!("text {text}"),
            Payload::Binary(_) => unreachable!(),
        };
        assert_eq!(shown("{\"a\":\n 1.10}\n", false), "json {\"a\":  1.10}");
        assert_eq!(shown("12345678901234567890123", false), "json 12345678901234567890123");
        assert_eq!(shown("{\"a\":1}", true), "text {\"a\":1}");
        assert_eq!(shown("hello", false), "text hello");
        assert_eq!(shown("", false), "text ");
        assert!(text(vec![0xff], false).is_err());
    }

    #[test]
    fn one_break_ends_a_line() {
        for (line, bare) in [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n"), ("\n", "")] {
            assert_eq!(without_break(line.as_bytes()), bare.as_bytes());
        }
    }
}
