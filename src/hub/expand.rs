//! Placeholders in what clients send: `${NAME}` is the present value of a public capture. Pure.
//!
//! A value is written as its place wants it. Within a string of JSON it is escaped; outside of one, and in the place of
//! a string that is nothing but the placeholder, it is the value itself, whatever its kind. In a text that has no JSON
//! it stands as it is.

use std::{fmt, ops::Range};

use serde::de::IgnoredAny;

use crate::{config::cut, protocol::says_twice};

/// So many placeholders in a message at most.
const MAX_PLACEHOLDERS: usize = 64;
/// A send grows by so many bytes at most, all of its messages together.
pub(super) const MAX_GROWTH: usize = 1 << 20;

/// A message, and where its placeholders are.
#[derive(Debug, PartialEq, Eq)]
pub struct Expandable<'t>(Vec<Piece<'t>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Value(&'t str, Notation),
}

/// What stands in for a value when it is looked where it stands: JSON, and no end of an escape.
const STAND_IN: &str = "1";

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notation {
    /// As it is.
    Verbatim,
    /// Escaped, within a string of JSON.
    Text,
    /// The same, within a key.
    Key,
    /// As a value of JSON.
    Json,
}

/// Why a message can't be expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unexpanded {
    /// A capture that it names has no value.
    NoValue,
    /// It would be too large, or no message that makes sense.
    Unfit,
}

impl<'t> Expandable<'t> {
    /// Looks for the placeholders of a message; `$${` is the text `${`.
    ///
    /// # Errors
    ///
    /// What is wrong with one: a sentence.
    pub fn parse(text: &'t str) -> Result<Expandable<'t>, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = memchr::memmem::find(rest.as_bytes(), b"${") {
            let (before, from) = rest.split_at(at);
            if before.ends_with('$') {
                parts.extend([Piece::Text(&rest[..at - 1]), Piece::Text("${")]);
                rest = &from[2..];
                continue;
            }
            let end = from
                .find('}')
                .ok_or("a `${` is not closed: add the `}`, or write `$${` for the text `${`")?;
            let name = &from[2..end];
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
                let shown = cut(name, 40);
                return Err(format!(
                    "`${{{shown}}}` names nothing: write the name of a public capture, of letters, digits, `_` and `-`"
                ));
            }
            parts.extend([Piece::Text(before), Piece::Value(name, Notation::Verbatim)]);
            rest = &from[end + 1..];
        }
        parts.push(Piece::Text(rest));
        let mut expandable = Expandable(parts);
        if expandable.names().count() > MAX_PLACEHOLDERS {
            return Err(format!(
                "the message has more than {MAX_PLACEHOLDERS} placeholders: send it in several"
            ));
        }
        expandable.place()?;
        Ok(expandable)
    }

    /// The captures that it names.
    pub fn names(&self) -> impl Iterator<Item = &'t str> {
        self.0.iter().filter_map(|part| match part {
            Piece::Value(name, _) => Some(*name),
            Piece::Text(_) => None,
        })
    }

    /// The message with each capture's value, which `value` gives as JSON. It takes what it grows by from `growth`.
    ///
    /// # Errors
    ///
    /// It has none, or what would come out is no message.
    pub fn expand<'v>(
        &self,
        growth: &mut usize,
        value: impl Fn(&str) -> Option<&'v str>,
    ) -> Result<String, Unexpanded> {
        let texts = self.0.iter().map(|part| if let Piece::Text(text) = part { text.len() } else { 0 });
        let texts = texts.sum::<usize>();
        let most = texts + *growth;
        let mut whole = String::new();
        for part in &self.0 {
            match part {
                Piece::Text(text) => whole.push_str(text),
                Piece::Value(name, place) => {
                    write(&mut whole, value(name).ok_or(Unexpanded::NoValue)?, *place);
                    if whole.len() > most {
                        return Err(Unexpanded::Unfit);
                    }
                }
            }
        }
        *growth = growth.saturating_sub(whole.len().saturating_sub(texts));
        let stands = |place: &[Notation]| {
            self.0.iter().any(|part| matches!(part, Piece::Value(_, here) if place.contains(here)))
        };
        // a key that became another's would say the contrary of what its client may say
        if stands(&[Notation::Key]) && says_twice(whole.as_bytes()) {
            return Err(Unexpanded::Unfit);
        }
        let is_json = stands(&[Notation::Json, Notation::Text, Notation::Key]);
        // a value by itself may be a number
        let stays_json =
            || json_within(&whole).is_some() || serde_json::from_str::<IgnoredAny>(&whole).is_ok();
        if is_json && !stays_json() { Err(Unexpanded::Unfit) } else { Ok(whole) }
    }

    /// Says how each value is to be written.
    fn place(&mut self) -> Result<(), String> {
        if self.names().next().is_none() {
            return Ok(());
        }
        let stand_in = self.to_string();
        let Some(json) = json_within(&stand_in) else {
            return match stand_in.trim_start().starts_with(['{', '[', '"']) {
                true => Err("it begins as JSON, but isn't: a placeholder stands within a string or in the place of a value".to_owned()),
                false => Ok(()),
            };
        };
        let within = within_strings(&stand_in.as_bytes()[json.clone()]);
        let byte = |at: usize| stand_in.as_bytes().get(at).copied();
        let starts: Vec<usize> = self.starts();
        for (index, here) in starts.into_iter().enumerate() {
            let Piece::Value(name, _) = self.0[index] else { continue };
            if !json.contains(&here) {
                continue;
            }
            let place = match within[here - json.start] {
                true if is_key(&stand_in[json.clone()], &within, here - json.start) => Notation::Key,
                true => Notation::Text,
                false => Notation::Json,
            };
            self.0[index] = Piece::Value(name, place);
            let is_alone = |before: Option<u8>, after: Option<u8>| {
                let is_edge = |byte: u8| b"[]{},: \t\r\n".contains(&byte);
                before.is_none_or(is_edge) && after.is_none_or(is_edge)
            };
            let before = here.checked_sub(1).filter(|at| *at >= json.start).and_then(byte);
            let after = byte(here + 1).filter(|_| here + 1 < json.end);
            match place {
                Notation::Json if !is_alone(before, after) => {
                    return Err(format!(
                        "`${{{name}}}` stands beside another value: write it within a string, or alone"
                    ));
                }
                // a string that begins here and ends here
                Notation::Text
                    if before == Some(b'"') && !within[here - 1 - json.start] && after == Some(b'"') =>
                {
                    self.take_quotes(index);
                    self.0[index] = Piece::Value(name, Notation::Json);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where each part begins, with a stand-in for each value.
    fn starts(&self) -> Vec<usize> {
        let mut at = 0;
        let start = |part: &Piece<'_>| {
            let length = if let Piece::Text(text) = part { text.len() } else { STAND_IN.len() };
            at += length;
            at - length
        };
        self.0.iter().map(start).collect()
    }

    /// Takes away the quotes around the value of this number.
    fn take_quotes(&mut self, index: usize) {
        let strip = |part: &mut Piece<'t>, strip: fn(&'t str) -> Option<&'t str>| {
            if let Piece::Text(text) = part
                && let Some(rest) = strip(text)
            {
                *text = rest;
            }
        };
        if let Some(before) = index.checked_sub(1) {
            strip(&mut self.0[before], |text| text.strip_suffix('"'));
        }
        if let Some(part) = self.0.get_mut(index + 1) {
            strip(part, |text| text.strip_prefix('"'));
        }
    }
}

impl fmt::Display for Expandable<'_> {
    /// The message with a stand-in for each value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Piece::Text(text) => f.write_str(text),
            Piece::Value(..) => f.write_str(STAND_IN),
        })
    }
}

/// Where the JSON is in a text: from where it may begin to its end. One look, however long the text.
fn json_within(text: &str) -> Option<Range<usize>> {
    let begin = text.len() - text.trim_start().len();
    let begin = match text[begin..].starts_with('"') {
        true => begin,
        false => text.find(['{', '['])?,
    };
    let mut values = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(begin..begin + values.byte_offset())
}

/// For each byte of a JSON text, whether it is within a string, or ends one.
fn within_strings(json: &[u8]) -> Vec<bool> {
    let (mut within, mut escaped) = (false, false);
    let look = |byte: &u8| {
        let was = within;
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = within,
            b'"' => within = !within,
            _ => {}
        }
        was
    };
    json.iter().map(look).collect()
}

/// Whether what stands here, within a string, is within a key.
fn is_key(json: &str, within: &[bool], here: usize) -> bool {
    let length = within[here..].iter().take_while(|within| **within).count();
    json[here + length..].trim_start().starts_with(':')
}

fn write(whole: &mut String, json: &str, place: Notation) {
    let text = serde_json::from_str::<String>(json);
    let text = text.as_deref().unwrap_or(json);
    match place {
        Notation::Json => whole.push_str(json),
        Notation::Verbatim => whole.push_str(text),
        Notation::Text | Notation::Key => {
            let quoted = serde_json::Value::from(text).to_string();
            whole.push_str(&quoted[1..quoted.len() - 1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(name: &str) -> Option<&'static str> {
        Some(match name {
            "number" => "12345678901234567890",
            "text" => r#""a\"b\n""#,
            "list" => "[1, {\"a\":null}]",
            _ => return None,
        })
    }

    fn growth() -> usize {
        MAX_GROWTH
    }

    fn expand(text: &str) -> Result<String, Unexpanded> {
        Expandable::parse(text).unwrap().expand(&mut growth(), value)
    }

    #[test]
    fn a_value_is_written_as_its_place_wants_it() {
        for (text, expanded) in [
            ("{}", "{}"),
            ("no placeholder: $ { } $name", "no placeholder: $ { } $name"),
            (r#"{"s":"${number}"}"#, r#"{"s":12345678901234567890}"#),
            (
                r#"{"s": "${text}" , "t":["${list}","${number}"]}"#,
                r#"{"s": "a\"b\n" , "t":[[1, {"a":null}],12345678901234567890]}"#,
            ),
            (r#"{"s":${number}}"#, r#"{"s":12345678901234567890}"#),
            (r#"{"s":"id ${number}"}"#, r#"{"s":"id 12345678901234567890"}"#),
            (r#"{"s":"${text}!","t":"${list} "}"#, r#"{"s":"a\"b\n!","t":"[1, {\"a\":null}] "}"#),
            (r#"{"${number}": "${number}"}"#, r#"{"12345678901234567890": 12345678901234567890}"#),
            (r#"{"${text}" :1}"#, r#"{"a\"b\n" :1}"#),
            (r#"{"a":"\"${number}"}"#, r#"{"a":"\"12345678901234567890"}"#),
            (r#"{"a":"$${number}","b":"$$${number}"}"#, r#"{"a":"${number}","b":"$${number}"}"#),
            (r#"42["join",{"id":"${text}"}]"#, r#"42["join",{"id":"a\"b\n"}]"#),
            ("SUB ${text} [", "SUB a\"b\n ["),
            ("${number}", "12345678901234567890"),
            (r#""${number}""#, "12345678901234567890"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (text, why) in [
            ("${number", "not closed"),
            ("${}", "names nothing"),
            ("${capture:x}", "`${capture:x}` names nothing"),
            ("{${number}", "begins as JSON"),
            (r#"{"a":1${number}}"#, "`${number}` stands beside another value"),
            (r#"{"a":${number}${number}}"#, "beside another value"),
            (r#"{"a":"\${number}"}"#, "begins as JSON"),
        ] {
            let refused = Expandable::parse(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let many = "${a} ".repeat(MAX_PLACEHOLDERS + 1);
        assert!(Expandable::parse(&many).unwrap_err().contains("64"));
        assert!(Expandable::parse(&many[5..]).is_ok());
    }

    #[test]
    fn what_has_no_value_or_comes_out_wrong_is_not_sent() {
        assert_eq!(expand(r#"{"a":"${other}"}"#), Err(Unexpanded::NoValue));
        let long = format!("\"{}\"", "x".repeat(64 << 10));
        let text = "${a} ".repeat(MAX_PLACEHOLDERS);
        let expanded = Expandable::parse(&text).unwrap().expand(&mut growth(), |_| Some(&long));
        assert_eq!(expanded, Err(Unexpanded::Unfit), "it is too large");
        // a value that would complete an escape which the text has begun
        let halves = Expandable::parse(r#"{"a":"\u00${a}${b}"}"#).unwrap();
        assert_eq!(halves.expand(&mut growth(), |_| Some(r#""\"""#)), Err(Unexpanded::Unfit));
    }

    #[test]
    fn a_key_does_not_become_anothers() {
        for (text, key, is_sent) in [
            (r#"{"op":"read","o${k}":"write"}"#, "p", false),
            (r#"{"op":"read","o${k}":"write"}"#, "q", true),
            (r#"{"x":{"${k}op" :1,"op":"read"}}"#, "", false),
            (r#"{"op":"read","x":"o${k}"}"#, "p", true),
        ] {
            let (key, mut growth) = (format!("{key:?}"), MAX_GROWTH);
            let expanded = Expandable::parse(text).unwrap().expand(&mut growth, |_| Some(&key));
            assert_eq!(expanded.is_ok(), is_sent, "{text} {expanded:?}");
        }
    }

    #[test]
    fn messages_that_go_out_together_grow_by_so_much_together() {
        let (long, mut growth) = (format!("\"{}\"", "x".repeat(MAX_GROWTH / 4)), MAX_GROWTH);
        let expandable = Expandable::parse("[${a},${a}]").unwrap();
        assert!(expandable.expand(&mut growth, |_| Some(&long)).is_ok());
        assert_eq!(expandable.expand(&mut growth, |_| Some(&long)), Err(Unexpanded::Unfit));
    }

    proptest! {
        /// Whatever stands there: nothing panics, and JSON stays JSON.
        #[test]
        fn json_stays_json(text in r#"[\[\]{}:,"\\ a1$]{0,12}(\$\{a\}[\[\]{}:,"\\ a1$]{0,8}){0,3}"#, value in r#"["\\a1\[ ]{0,6}"#) {
            let quoted = serde_json::Value::from(value).to_string();
            if let Ok(expandable) = Expandable::parse(&text)
                && let Ok(whole) = expandable.expand(&mut growth(), |_| Some(&quoted))
                && serde_json::from_str::<IgnoredAny>(&expandable.to_string()).is_ok()
                && expandable.names().next().is_some()
                && text.trim_start().starts_with(['{', '[', '"'])
            {
                prop_assert!(serde_json::from_str::<IgnoredAny>(&whole).is_ok(), "{} became {}", text, whole);
            }
        }
    }
}
