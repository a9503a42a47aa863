//! The log against what the server said: each message once, in order, byte for byte, and none left out
//! before the end that the server declared.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{
        payload::{EACH, Payload, digits, message, one_line},
        record::{Attempt, Record},
        shared::is_answer,
        topics::kept,
    },
    Entry, Faults, Logs, Places, parse, shown,
};

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    json: Option<&'a RawValue>,
    text: Option<String>,
    binary: Option<String>,
}

/// What the server said in JSON.
#[derive(Deserialize)]
struct Said {
    topic: Option<String>,
}

/// What was heard of one of the server's connections, in one life's log.
struct Heard {
    /// The last message.
    last: u64,
    /// How many entries of the log nobody saw, up to that message.
    unseen: u64,
    /// The entries that hold its first and its last message.
    span: (u64, u64),
}

/// By the server's connections.
type Heards = BTreeMap<u64, Heard>;

pub(super) fn judge(record: &Record, logs: &Logs, faults: &mut Faults) -> Places {
    let mut places = Places::default();
    for (which, life) in record.lives.iter().enumerate() {
        places.topics.push(Vec::new());
        let epoch = &*life.epoch;
        let Some(log) = logs.get(epoch) else { continue };
        let mut heards = Heards::new();
        let mut messages = 0;
        // entries that nobody saw, up to this one, and those of them that must have been messages
        let (mut unseen, mut missed, mut before) = (0, 0, 0);
        // how many nobody had seen at the last message
        let mut unseen_then = 0;
        // the last connection that was up, and how many nobody had seen then
        let (mut conn, mut unseen_up) = (0, 0);
        for (&seq, &Entry { line, topic }) in log {
            unseen += seq - before - 1;
            before = seq;
            if let Some(topic) = topic {
                let Some(number) = identified(record.seed, line) else {
                    // an answer about topics that came when nobody waited for it any more
                    if is_answer(parse(line)["json"].to_string().as_bytes()) {
                        continue;
                    }
                    faults.add(format!("message: {epoch} {seq} isn't what the server said: {}", shown(line)));
                    continue;
                };
                places.by_number.insert(number, (which, messages));
                places.topics[which].push(topic.map(str::to_owned));
                messages += 1;
                let (from, at) = (number / EACH, number % EACH);
                let attempt = record.attempts.get(from as usize);
                let begun = attempt.map_or(0, |attempt| attempt.begun);
                let said = attempt.and_then(|attempt| attempt.topics.get(at as usize)?.as_deref());
                let said = said.filter(|_| record.topics && has_topic(record.seed, number)).map(kept);
                faults.check(topic == said, || {
                    format!("topic: {epoch} {seq} is of {said:?}, and its line says {topic:?}")
                });
                faults.check(at < begun, || format!("message: {epoch} {seq} was never said: {number}"));
                faults.check(life.attempts.contains(&(from as usize)), || {
                    format!("message: {epoch} {seq} is of a connection that another life had: {number}")
                });
                let (next, could) = match heards.get(&from) {
                    Some(heard) => (heard.last + 1, unseen - heard.unseen),
                    // of one that came while another was heard, the first may be far before that one's last
                    None if record.rotates => (0, unseen),
                    None => (0, unseen - unseen_then),
                };
                let newest = heards.last_key_value().map_or(0, |(newest, _)| *newest);
                if at < next || (from < newest && !record.rotates) {
                    faults
                        .add(format!("order: {epoch} {seq} is message {number}, after {next} and {newest}"));
                }
                let skipped = at.saturating_sub(next);
                missed += skipped;
                faults.check(skipped <= could && missed <= unseen, || {
                    format!(
                        "loss: before {epoch} {seq}, message {number}, {skipped} are missing from the log"
                    )
                });
                let first = heards.get(&from).map_or(seq, |heard| heard.span.0);
                heards.insert(from, Heard { last: at, unseen, span: (first, seq) });
                unseen_then = unseen;
            } else {
                let link = parse(line);
                if link["state"] == "up" {
                    let now = link["conn"].as_u64().unwrap_or(0);
                    faults.check(now == conn + 1 || (unseen > unseen_up && now > conn), || {
                        format!("link: {epoch} {seq} is up with connection {now} after {conn}")
                    });
                    (conn, unseen_up) = (now, unseen);
                }
                if link["state"] == "waiting" {
                    let of = |attempt: &Attempt| {
                        attempt.closed.is_some() && attempt.closed.as_deref() == link["reason"].as_str()
                    };
                    let closed = record.attempts.iter().position(of);
                    closed.into_iter().for_each(|from| all_came(record, from, &heards, unseen, faults));
                }
            }
        }
        seats(record, epoch, &heards, faults);
        if !life.killed {
            for (from, attempt) in record.attempts.iter().enumerate() {
                // one that ends with the daemon isn't waited for
                let in_time = life.attempts.contains(&from) && attempt.ended + LINGER < life.until;
                if in_time && attempt.answered.as_deref() == Some("rotated") {
                    all_came(record, from, &heards, unseen, faults);
                }
            }
        }
    }
    places
}

/// For so long the end of a connection may wait for the server's, and be given up.
const LINGER: Duration = Duration::from_secs(1);

/// Two connections are heard at once at most, and only where one takes over from the other.
fn seats(record: &Record, epoch: &str, heards: &Heards, faults: &mut Faults) {
    let most = if record.rotates { 2 } else { 1 };
    for Heard { span: (first, _), .. } in heards.values() {
        let at_once = heards.iter().filter(|(_, heard)| (heard.span.0..=heard.span.1).contains(first));
        let at_once: Vec<_> = at_once.map(|(from, _)| from).collect();
        faults.check(at_once.len() <= most, || {
            format!("seats: in {epoch}, the connections {at_once:?} are heard at once at entry {first}")
        });
    }
}

/// All that the server said on a connection before its own close frame, or its answer to the daemon's, must
/// be in the log by now.
fn all_came(record: &Record, from: usize, heards: &Heards, unseen: u64, faults: &mut Faults) {
    let whole = record.attempts[from].whole;
    let (came, could) = match heards.get(&(from as u64)) {
        Some(heard) => (heard.last + 1, unseen - heard.unseen),
        None => (0, unseen),
    };
    faults.check(came + could >= whole, || {
        format!("loss: connection {from} was closed after {whole} messages, and {came} of them came")
    });
}

/// Whether a message is one that can have a topic.
fn has_topic(seed: u64, number: u64) -> bool {
    matches!(message(seed, number, None), Payload::Text(text) if text.starts_with('{'))
}

/// The number of the message in a line, if it is that message byte for byte.
pub(super) fn identified(seed: u64, line: &[u8]) -> Option<u64> {
    let line: Line = serde_json::from_slice(line).ok()?;
    match (line.json, line.text, line.binary) {
        (Some(json), None, None) => {
            let number = digits(json.get().as_bytes())?;
            let said: Said = serde_json::from_str(json.get()).ok()?;
            let Payload::Text(text) = message(seed, number, said.topic.as_deref()) else { return None };
            (text.starts_with('{') && one_line(&text) == json.get()).then_some(number)
        }
        (None, Some(text), None) => {
            let number = digits(text.as_bytes())?;
            (text.starts_with('#') && message(seed, number, None) == Payload::Text(text)).then_some(number)
        }
        (None, None, Some(binary)) => {
            let bytes = STANDARD.decode(binary).ok()?;
            let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
            (message(seed, number, None) == Payload::Binary(bytes)).then_some(number)
        }
        _ => None,
    }
}
