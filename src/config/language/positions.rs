//! Where the placeholders of a template stand, and how values are written there.

use std::fmt::Write as _;

use serde::de::IgnoredAny;

use super::template::{Position, Segment, Value};

/// Sets the positions of a URL's placeholders.
///
/// What a URL begins with may be a whole base URL; a scheme, a host and a port have no use for
/// percent-encoding (RFC 3986, 3.2). The user's name and password do.
pub(in crate::config) fn of_url(segments: &mut [Segment]) {
    let text: String = segments.iter().map(Segment::stand_in).collect();
    let authority = text.find("://").map_or(0, |at| at + 3);
    let path = match authority {
        0 => 0,
        start => text[start..].find(['/', '?']).map_or(text.len(), |at| start + at),
    };
    let userinfo =
        authority..text[authority..path.max(authority)].rfind('@').map_or(authority, |at| authority + at);
    set(segments, |at| match at {
        0 => Position::Verbatim,
        at if at < path && !userinfo.contains(&at) => Position::Verbatim,
        _ => Position::Url,
    });
}

/// Sets the positions of a message's placeholders: those within JSON and those outside.
pub(in crate::config) fn of_message(segments: &mut [Segment]) -> Result<(), String> {
    if segments.iter().all(|segment| matches!(segment, Segment::Text(_))) {
        return Ok(());
    }
    let text: String = segments.iter().map(Segment::stand_in).collect();
    let begin = text.len() - text.trim_start().len();
    // for each byte, how a placeholder's value is written there
    let mut positions = vec![Position::Verbatim; text.len()];
    let mut at = 0;
    while let Some(start) = next_json(&text, at, begin) {
        match json_end(&text[start..]) {
            Ok(length) => {
                mark(&text[start..start + length], &mut positions[start..start + length]);
                at = start + length;
            }
            Err(why) if start == begin => {
                let advice = "write JSON, a placeholder in the place of a value or within a string";
                return Err(format!("it begins as JSON, but isn't ({why}): {advice}"));
            }
            Err(_) => at = start + 1,
        }
    }
    set(segments, |at| positions[at]);
    no_neighbours(segments)?;
    no_halves(segments)
}

/// Writes a value into a text.
pub(in crate::config) fn write(whole: &mut String, value: &Value, position: Position) {
    let text = match (value, position) {
        (Value::Json(json), Position::JsonValue) => return whole.push_str(json),
        (Value::Text(text), _) => text.as_str().into(),
        (Value::Json(json), _) => match serde_json::from_str::<String>(json) {
            Ok(text) => std::borrow::Cow::Owned(text),
            Err(_) => json.as_str().into(),
        },
    };
    match position {
        Position::Verbatim => whole.push_str(&text),
        Position::Url => percent_encode(whole, &text),
        Position::JsonValue => whole.push_str(&quoted(&text)),
        Position::JsonText => {
            let quoted = quoted(&text);
            whole.push_str(&quoted[1..quoted.len() - 1]);
        }
    }
}

/// A text as a string of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn percent_encode(whole: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => whole.push(byte.into()),
            byte => {
                let _ = write!(whole, "%{byte:02X}");
            }
        }
    }
}

/// Sets each placeholder's position by where it stands in the text with stand-ins.
fn set(segments: &mut [Segment], position_at: impl Fn(usize) -> Position) {
    let mut at = 0;
    for segment in segments {
        let length = segment.stand_in().len();
        if let Segment::Placeholder(_, position) = segment {
            *position = position_at(at);
        }
        at += length;
    }
}

/// Where JSON may begin, from `at` on: an object or a list, or a string that the whole text begins with.
fn next_json(text: &str, at: usize, begin: usize) -> Option<usize> {
    if at <= begin && text[begin..].starts_with('"') {
        return Some(begin);
    }
    text[at..].find(['{', '[']).map(|found| at + found)
}

/// How long the JSON value is that a text begins with.
fn json_end(text: &str) -> Result<usize, serde_json::Error> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Ok(values.byte_offset()),
        Some(Err(error)) => Err(error),
        None => Ok(0),
    }
}

/// Marks what is within strings of a JSON text, and what isn't.
fn mark(json: &str, positions: &mut [Position]) {
    let (mut within, mut escaped) = (false, false);
    for (byte, position) in json.bytes().zip(positions) {
        *position = if within { Position::JsonText } else { Position::JsonValue };
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = within,
            b'"' => within = !within,
            _ => {}
        }
    }
}

/// Within a string of JSON no value completes an escape that the text has begun.
fn no_halves(segments: &[Segment]) -> Result<(), String> {
    let mut before = String::new();
    for segment in segments {
        if let Segment::Placeholder(placeholder, Position::JsonText) = segment
            && ends_within_escape(&before)
        {
            return Err(format!(
                "`{placeholder}` stands within an escape that begins with `\\`: finish the escape before it, or \
                 write `\\\\` for a backslash"
            ));
        }
        before.push_str(segment.stand_in());
    }
    Ok(())
}

/// Whether a text of JSON ends within an escape (RFC 8259, 7).
fn ends_within_escape(text: &str) -> bool {
    let begins = |text: &str| (text.len() - text.trim_end_matches('\\').len()) % 2 == 1;
    let digits = text.bytes().rev().take(3).take_while(u8::is_ascii_hexdigit).count();
    let unicode = (0..=digits).any(|count| text[..text.len() - count].strip_suffix('u').is_some_and(begins));
    begins(text) || unicode
}

/// A value of JSON stands alone: a digit or another placeholder beside it would make another value.
fn no_neighbours(segments: &[Segment]) -> Result<(), String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    for (at, segment) in segments.iter().enumerate() {
        let Segment::Placeholder(placeholder, Position::JsonValue) = segment else { continue };
        let before = at.checked_sub(1).and_then(|at| segments[at].stand_in().chars().next_back());
        let after = segments.get(at + 1).and_then(|segment| segment.stand_in().chars().next());
        if [before, after].into_iter().flatten().any(is_part) {
            return Err(format!(
                "`{placeholder}` stands beside another part of its value: put quotes around both"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::language::template::Template;

    fn positions(template: Result<Template, crate::config::TemplateError>) -> Vec<Position> {
        template.unwrap().placeholders().map(|(_, position)| position).collect()
    }

    #[test]
    fn a_urls_placeholders_are_encoded_behind_the_host() {
        use Position::{Url, Verbatim};
        for (text, expected) in [
            ("${env:URL}", &[Verbatim][..]),
            ("${env:URL}/a?t=${env:T}", &[Verbatim, Url]),
            ("w${env:S}://${env:H}:${env:P}/${env:A}?b=${env:B}", &[Verbatim, Verbatim, Verbatim, Url, Url]),
            ("wss://${env:U}:${env:P}@${env:H}", &[Url, Url, Verbatim]),
            ("wss://h?t=${env:T}", &[Url]),
            ("wss://h/a@${env:T}", &[Url]),
        ] {
            assert_eq!(positions(Template::parse_url(text)), expected, "{text}");
        }
    }

    #[test]
    fn no_value_completes_an_escape() {
        for (text, is_right) in [
            (r#"{"a":"\u00${var:a}"}"#, false),
            (r#"{"a":"\u${var:a}"}"#, false),
            (r#"{"a":"\u00e${var:a}"}"#, false),
            (r#"{"a":"\u00e9${var:a}"}"#, true),
            (r#"{"a":"\\u00${var:a}"}"#, true),
            (r#"{"a":"\\\u00${var:a}"}"#, false),
            (r#"{"a":"\\${var:a}"}"#, true),
            (r#"{"a":"\n${var:a}"}"#, true),
            (r#"{"a":"u00${var:a}"}"#, true),
            (r#"{"a":"${uuid}\u00e9${var:a}"}"#, true),
            (r#"\u00${var:a}"#, true),
        ] {
            assert_eq!(Template::parse_message(text).is_ok(), is_right, "{text}");
        }
    }

    #[test]
    fn a_messages_placeholders_are_json_where_it_is_json() {
        use Position::{JsonText, JsonValue, Verbatim};
        for (text, expected) in [
            ("ping ${uuid}", &[Verbatim][..]),
            ("${uuid}", &[Verbatim]),
            (r#"{"a":"${uuid}","b":${now_ms}}"#, &[JsonText, JsonValue]),
            (r#" [ ${now_s} , "\"${uuid}" ]"#, &[JsonValue, JsonText]),
            (r#""${uuid}""#, &[JsonText]),
            (r#"42["join",{"t":"${uuid}"}]"#, &[JsonText]),
            ("{\"a\":${now_s}}\u{1e}{\"b\":\"${uuid}\"}\u{1e}${uuid}", &[JsonValue, JsonText, Verbatim]),
            (r#"a { b ${uuid}"#, &[Verbatim]),
            (r#"{"${uuid}":1}"#, &[JsonText]),
        ] {
            assert_eq!(positions(Template::parse_message(text)), expected, "{text}");
        }
    }

    #[test]
    fn what_begins_as_json_is_json() {
        for (text, part) in [
            (r#"{"a":${uuid}"#, "it begins as JSON, but isn't (EOF"),
            (r#"{${uuid}:1}"#, "it begins as JSON"),
            (r#"{"a":1${uuid}}"#, "`${uuid}` stands beside another part of its value"),
            (r#"{"a":${uuid}${now_s}}"#, "`${uuid}` stands beside"),
            (r#"{"a":-${now_s}}"#, "stands beside"),
        ] {
            let error = Template::parse_message(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(Template::parse_message("{ not JSON, and nothing to escape").is_ok());
    }

    #[test]
    fn values_are_escaped_for_their_place() {
        let (text, number, string) =
            (Value::Text("a\"é/\n".into()), Value::Json("1.50".into()), Value::Json(r#""\u0041\"""#.into()));
        for (value, position, written) in [
            (&text, Position::Verbatim, "a\"é/\n"),
            (&text, Position::Url, "a%22%C3%A9%2F%0A"),
            (&text, Position::JsonText, r#"a\"é/\n"#),
            (&text, Position::JsonValue, r#""a\"é/\n""#),
            (&number, Position::Verbatim, "1.50"),
            (&number, Position::JsonText, "1.50"),
            (&number, Position::JsonValue, "1.50"),
            (&string, Position::Verbatim, "A\""),
            (&string, Position::JsonText, r#"A\""#),
            (&string, Position::JsonValue, r#""\u0041\"""#),
        ] {
            let mut whole = String::new();
            write(&mut whole, value, position);
            assert_eq!(whole, written, "{position:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_rendered_into_json_is_json(text in ".*", json: bool) {
            let template = Template::parse_message(r#"{"a":"x${uuid}y","b":[${uuid}]}"#).unwrap();
            let value = if json { Value::Json(quoted(&text)) } else { Value::Text(text.clone()) };
            let rendered = template.render(|_| Ok(value.clone())).unwrap();
            let parsed: serde_json::Value = serde_json::from_str(rendered.expose()).unwrap();
            proptest::prop_assert_eq!(parsed, serde_json::json!({"a": format!("x{text}y"), "b": [text]}));
        }

        #[test]
        fn no_message_panics(text in r#"([{}"\[\]:,a1 ]|[$][{]uuid[}]){0,16}"#) {
            let _ = Template::parse_message(&text);
            let _ = Template::parse_url(&text);
        }
    }
}
