//! *Pure.* Messages that can be made again from a seed and a number, so that each byte can be checked.

use base64::{Engine, engine::general_purpose::STANDARD};
use fastrand::Rng;

/// What a WebSocket message carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Payload {
    Text(String),
    Binary(Vec<u8>),
}

/// The largest message of a storm, in bytes.
pub(crate) const LARGEST: usize = 1 << 20;

/// How many messages one connection may say at most: number `n` is message `n % EACH` of the server's
/// connection `n / EACH`.
pub(crate) const EACH: u64 = 1_000_000;

impl Payload {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }

    /// As it stands in a line of a raw listener.
    pub(crate) fn raw_line(&self) -> Vec<u8> {
        match self {
            Payload::Text(text) => one_line(text).into_bytes(),
            Payload::Binary(bytes) => STANDARD.encode(bytes).into_bytes(),
        }
    }
}

/// The text with spaces for line breaks, as a line holds it.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Message `n` of a storm from the server: JSON, text or binary. JSON has the topic, if there is one. Some call for
/// the next connection.
pub(crate) fn message(seed: u64, n: u64, topic: Option<&str>) -> Payload {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n);
    let length = match rng.u32(0..200) {
        0 => rng.usize(100_000..LARGEST - 100),
        1..=9 => rng.usize(2_000..100_000),
        10..=19 => 0,
        _ => rng.usize(1..2_000),
    };
    match rng.u32(0..10) {
        0 => {
            let mut bytes = n.to_be_bytes().to_vec();
            let pattern: Vec<u8> = (0..61).map(|_| rng.u8(..)).collect();
            bytes.extend(pattern.iter().cycle().take(length));
            Payload::Binary(bytes)
        }
        1 | 2 => {
            // a control character takes six bytes in a line
            let text = repeated(&mut rng, &TEXT, length.min(100_000));
            Payload::Text(format!("#{n} {text}"))
        }
        _ => {
            let blank = ["", " ", "\n", "\r\n\t"][rng.usize(0..4)];
            let pad = repeated(&mut rng, &JSON, length);
            // drawn apart, so that the rest of a message doesn't hang on it
            let turns = Rng::with_seed(seed.rotate_left(32) ^ !n).u32(0..25) == 0;
            let turn = if turns { "\"turn\":true," } else { "" };
            let topic = topic.map(|topic| serde_json::to_string(topic).expect("text is JSON"));
            let topic = topic.map_or(String::new(), |topic| format!("\"topic\":{blank}{topic},"));
            Payload::Text(format!(
                "{{\"n\":{blank}{n},{turn}{topic}{blank}\"big\":12345678901234567890.10,\"n\":0,\"pad\":\"{pad}\"{blank}}}"
            ))
        }
    }
}

/// What number `k` of a client's session says upstream.
pub(crate) fn send(seed: u64, session: u64, k: u64) -> Payload {
    let mut rng = Rng::with_seed(seed ^ (session << 32) ^ k ^ 0x5e4d);
    let length = if rng.u32(0..30) == 0 { rng.usize(1_000..60_000) } else { rng.usize(0..300) };
    match rng.u32(0..3) {
        0 => {
            let mut bytes = [session.to_be_bytes(), k.to_be_bytes()].concat();
            bytes.extend((0..length).map(|at| (at * 7) as u8));
            Payload::Binary(bytes)
        }
        1 => Payload::Text(format!("@{session} {k} {}", repeated(&mut rng, &TEXT, length))),
        _ => Payload::Text(format!(
            "{{ \"s\":[{session},{k}], \"pad\":\"{}\"}}",
            repeated(&mut rng, &JSON, length)
        )),
    }
}

/// The session and the number of a send, as the server got it. `None`: no client of a storm said that.
pub(crate) fn send_key(payload: &Payload) -> Option<(u64, u64)> {
    match payload {
        Payload::Binary(bytes) => {
            let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
            Some((number(0)?, number(8)?))
        }
        Payload::Text(text) => {
            let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        }
    }
}

/// The line that asks for it.
pub(crate) fn send_line(id: &str, payload: &Payload) -> Vec<u8> {
    let field = match payload {
        Payload::Text(text) if text.starts_with('{') => format!("\"json\":{text}"),
        Payload::Text(text) => format!("\"text\":{}", serde_json::to_string(text).expect("text is JSON")),
        Payload::Binary(bytes) => format!("\"binary\":\"{}\"", STANDARD.encode(bytes)),
    };
    format!("{{\"op\":\"send\",\"id\":\"{id}\",{field}}}\n").into_bytes()
}

/// The number of a server's message, out of its line on a raw listener.
pub(crate) fn raw_number(line: &[u8]) -> Option<u64> {
    match line.first()? {
        b'#' | b'{' => digits(line),
        _ => {
            let head = STANDARD.decode(line.get(..line.len().min(16))?).ok()?;
            Some(u64::from_be_bytes(head.get(..8)?.try_into().ok()?))
        }
    }
}

/// The first number in a text.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    let from = text.iter().position(u8::is_ascii_digit)?;
    let to = text[from..].iter().position(|byte| !byte.is_ascii_digit()).map_or(text.len(), |at| from + at);
    std::str::from_utf8(&text[from..to]).ok()?.parse().ok()
}

const TEXT: [&str; 10] = ["a", "\u{1}", "\u{1f}", "\n", "\"", "\\", "é", "\u{2028}", "😀", "\u{7f}"];
const JSON: [&str; 8] = ["a", "\\u0001", "\\n", "\\\"", "\\ud83d\\ude00", "é", "😀", "/"];

/// About `length` bytes of the parts, from a pattern that is drawn once.
fn repeated(rng: &mut Rng, parts: &[&str], length: usize) -> String {
    let pattern: String = (0..23).map(|_| parts[rng.usize(0..parts.len())]).collect();
    pattern.repeat(length / pattern.len() + usize::from(length > 0))
}
