//! A message: its payload becomes a line, once.

use std::{borrow::Cow, io};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{
    json::{Json, json},
    topic::{MAX_TOPIC, MessageTopic},
};

/// What a message from the upstream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    /// A text message; always valid UTF-8 (RFC 6455, 8.1).
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl Data<'_> {
    /// The payload's bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        }
    }
}

/// A message that is to become a line.
///
/// Text that is JSON (RFC 8259, as serde_json reads it) stands in the line byte for byte: it is
/// checked, never parsed and printed again. A line break in valid JSON can only stand between
/// tokens, so it becomes a space; blanks around the whole stand in the raw form only. Lone surrogate escapes (`\ud800`) pass, as the grammar allows.
#[derive(Debug)]
pub struct Encoder<'a> {
    data: Data<'a>,
    /// Its topic, as it stands in the line.
    topic: Option<&'a str>,
    /// What a text is.
    json: Json<'a>,
}

/// An entry of the log: a message, with one of the three payloads.
// the daemon's way to its line is `Encoder`: once, and without a look at what the payload holds
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(
    test,
    derive(schemars::JsonSchema),
    schemars(extend("oneOf" = [{"required": ["json"]}, {"required": ["text"]}, {"required": ["binary"]}]))
)]
#[serde(default)]
pub struct Message<'a> {
    /// Its place in the log.
    pub seq: u64,
    /// When it came, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// Its topic, where topics are configured and it has one; empty for one that can't be written.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Cow<'a, str>>,
    /// Text that is JSON, byte for byte but for line breaks and blanks around it.
    #[serde(borrow, deserialize_with = "even_null", skip_serializing_if = "Option::is_none")]
    pub json: Option<&'a RawValue>,
    /// Other text.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'a, str>>,
    /// A binary message, in base64 (RFC 4648, with padding).
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub binary: Option<Cow<'a, str>>,
    /// It is a last value, told again: see `attach`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
}

/// What marks a message as a last value that is told again: the last member of its line.
pub const SNAPSHOT_MARK: &str = ",\"snapshot\":true";

/// A message's line, marked.
pub fn mark_snapshot(line: &[u8]) -> Vec<u8> {
    let open = line.strip_suffix(b"}\n").unwrap_or(line);
    [open, SNAPSHOT_MARK.as_bytes(), b"}\n"].concat()
}

/// How the line of a message begins. The daemon writes the type first, so most lines need no parsing.
const BEGINNING: &[u8] = b"{\"type\":\"message\",";

impl<'a> Message<'a> {
    /// Whether a line surely is a message, without a look inside.
    pub fn is_one(line: &[u8]) -> bool {
        line.starts_with(BEGINNING)
    }

    /// The place of what surely is a message, without a look inside.
    pub fn seq_of(line: &[u8]) -> Option<u64> {
        let rest = line.strip_prefix(BEGINNING)?.strip_prefix(b"\"seq\":")?;
        let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
    }

    /// The topic of what surely is a message, without a look at what it holds.
    pub fn topic_of(line: &[u8]) -> MessageTopic {
        let digits = |line: &[u8]| line.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(line.len());
        let topic = || {
            let seq = line.strip_prefix(BEGINNING)?.strip_prefix(b"\"seq\":")?;
            let time = seq[digits(seq)..].strip_prefix(b",\"time_us\":")?;
            let text = time[digits(time)..].strip_prefix(b",\"topic\":")?;
            let mut texts = serde_json::Deserializer::from_slice(text).into_iter::<Cow<'_, str>>();
            texts.next()?.ok()
        };
        MessageTopic::of_line(topic().as_deref())
    }

    /// The payload as it came, but for line breaks in JSON and blanks around it. None without one, or where `binary` is
    /// no base64.
    pub fn payload(self) -> Option<Cow<'a, [u8]>> {
        let bytes = |text: Cow<'a, str>| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        match (self.json, self.text, self.binary) {
            (Some(json), ..) => Some(Cow::Borrowed(json.get().as_bytes())),
            (None, Some(text), _) => Some(bytes(text)),
            (None, None, Some(binary)) => BASE64.decode(binary.as_bytes()).ok().map(Cow::Owned),
            (None, None, None) => None,
        }
    }

    /// The payload as the raw format writes it: JSON and text as they are, binary in base64, line breaks as spaces.
    pub fn raw(&self) -> Cow<'_, str> {
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
pub(super) fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The most bytes that an entry's lines may have, line breaks included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Of the line.
    pub envelope: usize,
    /// Of the raw form; 0 for an entry without one.
    pub raw: usize,
}

/// The most that an envelope has beside its payload: `{"type":"message","seq":…,"time_us":…,"binary":"…"}`
/// with numbers of twenty digits, and the line break.
const ENVELOPE_BYTES: usize = 96;

/// What stands before a topic: `,"topic":`.
const TOPIC_BYTES: usize = 9;

/// What other entries than messages have at most, in practice: a link's change tells an error, a reason and a
/// URL.
const OTHER_BYTES: usize = 64 << 10;

/// The longest line of an entry, its end included, where no message is longer than `max_message`: a text of
/// nothing but control characters, six bytes each.
pub fn longest(max_message: usize) -> usize {
    (6 * max_message + 2 + ENVELOPE_BYTES + TOPIC_BYTES + 2 * MAX_TOPIC + 2).max(OTHER_BYTES)
}

impl<'a> Encoder<'a> {
    /// Looks at what a message is.
    pub fn new(data: Data<'a>) -> Encoder<'a> {
        let json = match data {
            Data::Text(text) => json(text),
            Data::Binary(_) => Json::Not,
        };
        Encoder { data, topic: None, json }
    }

    /// Has the topic stand in the line.
    pub fn with_topic(self, topic: &'a MessageTopic) -> Encoder<'a> {
        Encoder { topic: topic.as_line(), ..self }
    }

    /// Leaves the blanks around JSON out of the raw form as well, so that it is what [`Message::raw`] makes of the line.
    pub fn without_blanks(self) -> Encoder<'a> {
        match self.json {
            Json::Any(json) => Encoder { data: Data::Text(json), ..self },
            Json::Plain(_) | Json::Not => self,
        }
    }

    /// What its lines take at most.
    pub fn room(&self) -> Room {
        let (payload, raw) = match (self.data, &self.json) {
            (Data::Text(text), Json::Plain(_) | Json::Any(_)) => (text.len(), text.len()),
            (Data::Text(text), Json::Not) => (string_len(text), text.len()),
            (Data::Binary(bytes), _) => (base64_len(bytes), base64_len(bytes)),
        };
        let topic = self.topic.map_or(0, |topic| string_len(topic) + TOPIC_BYTES);
        Room { envelope: payload + topic + ENVELOPE_BYTES, raw: raw + 1 }
    }

    /// Writes its line, and its raw form.
    #[inline]
    pub fn write(&self, seq: u64, time_us: u64, envelope: &mut impl Sink, raw: Option<&mut impl Sink>) {
        head(seq, time_us, envelope);
        if let Some(topic) = self.topic {
            envelope.put(b",\"topic\":");
            serde_json::to_writer(&mut *envelope, topic).expect("a string is plain data");
        }
        match (self.data, &self.json) {
            (_, Json::Plain(json)) => {
                envelope.put(b",\"json\":");
                envelope.put(json.as_bytes());
            }
            (_, Json::Any(json)) => {
                envelope.put(b",\"json\":");
                one_line(json, envelope);
            }
            (Data::Text(text), Json::Not) => {
                envelope.put(b",\"text\":");
                serde_json::to_writer(&mut *envelope, text).expect("a string is plain data");
            }
            (Data::Binary(bytes), Json::Not) => {
                envelope.put(b",\"binary\":\"");
                base64(bytes, envelope);
                envelope.put(b"\"");
            }
        }
        envelope.put(b"}\n");
        if let Some(raw) = raw {
            match self.data {
                Data::Text(text) => one_line(text, raw),
                Data::Binary(bytes) => base64(bytes, raw),
            }
            raw.put(b"\n");
        }
    }
}

/// Where a line is written to; it has the room that was asked for.
pub trait Sink: io::Write {
    /// Adds bytes to the line.
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.next(bytes.len()).copy_from_slice(bytes);
    }

    /// The next so many bytes of the line, to be written.
    fn next(&mut self, length: usize) -> &mut [u8];
}

impl Sink for Vec<u8> {
    fn next(&mut self, length: usize) -> &mut [u8] {
        let start = self.len();
        self.resize(start + length, 0);
        &mut self[start..]
    }
}

fn head(seq: u64, time_us: u64, line: &mut impl Sink) {
    let mut number = itoa::Buffer::new();
    line.put(b"{\"type\":\"message\",\"seq\":");
    line.put(number.format(seq).as_bytes());
    line.put(b",\"time_us\":");
    line.put(number.format(time_us).as_bytes());
}

/// Appends `text` with each line break as a space.
pub(super) fn one_line(text: &str, out: &mut impl Sink) {
    let mut rest = text.as_bytes();
    // looked for before the copy: reading right after it would wait for the stores
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        out.put(&rest[..at]);
        out.put(b" ");
        rest = &rest[at + 1..];
    }
    out.put(rest);
}

/// The length of a text as a JSON string, as serde_json writes it.
fn string_len(text: &str) -> usize {
    let escaped = |byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.as_bytes().iter().map(escaped).sum::<usize>() + 2
}

fn base64_len(bytes: &[u8]) -> usize {
    base64::encoded_len(bytes.len(), true).expect("a message is far smaller than the address space")
}

fn base64(bytes: &[u8], out: &mut impl Sink) {
    let out = out.next(base64_len(bytes));
    BASE64.encode_slice(bytes, out).expect("the slice has the encoded length");
}

#[cfg(test)]
mod tests;
