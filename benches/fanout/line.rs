//! What is sent: JSON of a given size, with its number and its time where they are found again at
//! the end of a line, whatever a bridge puts around it.

use std::io::Write;

/// The number of messages that count for nothing.
pub(crate) const MARKER: u64 = 99_999_999;

const NUMBER: usize = 9;
const TIME: usize = 16;
/// `,"n":` and `,"t":` and their numbers.
const TAIL: usize = 5 + NUMBER + 5 + TIME;

/// So many topics there are where messages have any: message N is of topic N modulo this.
pub(crate) const TOPICS: u64 = 100;

/// What a topic's name ends with.
const TOPIC_END: &str = "abcdefghij";

/// What a client asks for to get the messages of one topic alone: its name, or one of ten patterns that fit no other.
pub(crate) fn pattern(client: u64, wildcards: bool) -> String {
    let topic = client % TOPICS;
    match wildcards {
        false => format!("t{topic:02}.{TOPIC_END}"),
        true => format!("*{topic:02}.{}**", &TOPIC_END[..(client / TOPICS % 10) as usize]),
    }
}

/// `{"p":"xxx…","n":000000001,"t":0000000000000001}`, `size` bytes long if that is enough for it; with topics,
/// `{"s":"t01.abcdefghij","p":…`. A marker's can't be written, so that everyone gets it.
pub(crate) fn payload(number: u64, size: usize, topics: bool) -> Vec<u8> {
    let mut payload = Vec::with_capacity(size);
    payload.push(b'{');
    match topics {
        true if number == MARKER => payload.extend_from_slice(br#""s":"\u0000","#),
        true => {
            let _ = write!(payload, "\"s\":\"t{:02}.{TOPIC_END}\",", number % TOPICS);
        }
        false => {}
    }
    payload.extend_from_slice(b"\"p\":\"");
    let padding = size.saturating_sub(payload.len() + 1 + TAIL + 1);
    payload.resize(payload.len() + padding, b'x');
    payload.extend_from_slice(b"\",\"n\":1");
    digits(number, NUMBER - 1, &mut payload);
    payload.extend_from_slice(b",\"t\":1");
    digits(now_ns() % 1_000_000_000_000_000, TIME - 1, &mut payload);
    payload.push(b'}');
    payload
}

/// The number and the time of a line, without its line break. `None` for a line of the bridge's own.
pub(crate) fn read(line: &[u8]) -> Option<(u64, u64)> {
    let end = line.iter().rposition(|byte| *byte != b'}')? + 1;
    let time = number(line.get(end.checked_sub(TIME)? + 1..end)?)?;
    let end = end - TIME - 5;
    if line.get(end..end + 5)? != b",\"t\":" {
        return None;
    }
    Some((number(line.get(end.checked_sub(NUMBER)? + 1..end)?)?, time))
}

/// Whether a line says that a client gets what it has asked for.
pub(crate) fn is_attached(line: &[u8]) -> bool {
    line.starts_with(br#"{"type":"ok","id":1,"result":"attached""#)
}

/// How long ago a line was sent, in nanoseconds.
pub(crate) fn age_ns(time: u64) -> u64 {
    (now_ns() % 1_000_000_000_000_000).saturating_sub(time)
}

/// The monotonic clock, which is the same for all processes.
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn digits(number: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = number;
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number: u64, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}
