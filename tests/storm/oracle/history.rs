//! The log against what the server said: each message once, in order, byte for byte, and none left out
//! before the end that the server declared.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{
        payload::{EACH, Payload, digits, message, one_line},
        record::Record,
    },
    Faults, Logs, Said, parse, shown,
};

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    json: Option<&'a RawValue>,
    text: Option<String>,
    binary: Option<String>,
}

pub(super) fn judge(record: &Record, logs: &Logs, faults: &mut Faults) -> Said {
    let mut said = Said::new();
    let mut whose = std::collections::BTreeMap::new();
    for (epoch, log) in logs {
        // the last message, and how many entries nobody saw since
        let (mut last, mut unseen, mut before) = (None, 0, 0);
        // the last connection that was up, and how many nobody saw since
        let (mut conn, mut before_up) = (0, 0);
        for (&seq, &line) in log {
            unseen += seq - before - 1;
            before_up += seq - before - 1;
            before = seq;
            if line.starts_with(b"{\"type\":\"message\"") {
                let Some(number) = identified(record.seed, line) else {
                    faults.add(format!("message: {epoch} {seq} isn't what the server said: {}", shown(line)));
                    continue;
                };
                let (from, at) = (number / EACH, number % EACH);
                let begun = record.attempts.get(from as usize).map_or(0, |attempt| attempt.begun);
                faults.check(at < begun, || format!("message: {epoch} {seq} was never said: {number}"));
                let skipped = match last {
                    Some(last) if last / EACH == from && number > last => number - last - 1,
                    Some(last) if last / EACH >= from => {
                        faults.add(format!("order: {epoch} {seq} is message {number}, after {last}"));
                        0
                    }
                    Some(_) | None => at,
                };
                faults.check(skipped <= unseen, || {
                    format!(
                        "loss: before {epoch} {seq}, message {number}, {skipped} are missing from the log"
                    )
                });
                faults.check(*whose.entry(from).or_insert(epoch) == epoch, || {
                    format!("message: {epoch} {seq} is of a connection that another life had: {number}")
                });
                said.insert(from, at);
                (last, unseen) = (Some(number), 0);
            } else {
                let link = parse(line);
                if link["state"] == "up" {
                    let now = link["conn"].as_u64().unwrap_or(0);
                    faults.check(now == conn + 1 || (before_up > 0 && now > conn), || {
                        format!("link: {epoch} {seq} is up with connection {now} after {conn}")
                    });
                    (conn, before_up) = (now, 0);
                }
                if link["state"] == "waiting" {
                    all_came(record, &link["reason"], last, unseen, faults);
                }
            }
        }
    }
    said
}

/// Once the server's own close frame is told, all that it said before must be in the log.
fn all_came(
    record: &Record,
    reason: &serde_json::Value,
    last: Option<u64>,
    unseen: u64,
    faults: &mut Faults,
) {
    let closed = record
        .attempts
        .iter()
        .enumerate()
        .find(|(_, attempt)| attempt.closed.is_some() && attempt.closed.as_deref() == reason.as_str());
    let Some((from, attempt)) = closed else { return };
    let came = match last {
        Some(last) if last / EACH == from as u64 => last % EACH + 1,
        _ => 0,
    };
    faults.check(came + unseen >= attempt.whole, || {
        format!(
            "loss: connection {from} was closed after {} messages, and {came} of them came",
            attempt.whole
        )
    });
}

/// The number of the message in a line, if it is that message byte for byte.
pub(super) fn identified(seed: u64, line: &[u8]) -> Option<u64> {
    let line: Line = serde_json::from_slice(line).ok()?;
    match (line.json, line.text, line.binary) {
        (Some(json), None, None) => {
            let number = digits(json.get().as_bytes())?;
            let Payload::Text(text) = message(seed, number) else { return None };
            (text.starts_with('{') && one_line(&text) == json.get()).then_some(number)
        }
        (None, Some(text), None) => {
            let number = digits(text.as_bytes())?;
            (text.starts_with('#') && message(seed, number) == Payload::Text(text)).then_some(number)
        }
        (None, None, Some(binary)) => {
            let bytes = STANDARD.decode(binary).ok()?;
            let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
            (message(seed, number) == Payload::Binary(bytes)).then_some(number)
        }
        _ => None,
    }
}
