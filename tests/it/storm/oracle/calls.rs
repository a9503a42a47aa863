//! Requests: each arrives once, with an id of its own; each client gets its own answers, with its own id in them, and
//! each request comes to one end.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{
        calls::{Asked, Call, How, What},
        record::{Record, Session},
    },
    Faults, parse,
    reading::ANSWER,
    shown,
};

/// Why a request has no answer that isn't about it alone.
const ERRORS: [&str; 4] = ["link_down", "rate_limited", "timeout", "unknown"];

/// Where requests arrived, and with which ids of wsfan's.
type Arrived = BTreeMap<Call, Vec<(usize, u64)>>;

pub(super) fn judge(record: &Record, faults: &mut Faults) {
    let arrived = arrived(record, faults);
    for session in &record.sessions {
        match session.raw {
            true => raw(record, session, faults),
            false => envelope(record, session, &arrived, faults),
        }
    }
}

/// What the server was asked.
fn arrived(record: &Record, faults: &mut Faults) -> Arrived {
    let mut arrived = Arrived::new();
    for (conn, attempt) in record.attempts.iter().enumerate() {
        let mut streams = BTreeSet::new();
        let mut last = 0;
        for Asked { id, text, what, .. } in &attempt.asked {
            faults.check(*id > last, || {
                format!("request: on connection {conn} the id {id} comes after {last}: {text:.80}")
            });
            last = *id;
            match what {
                What::Call(call) => {
                    faults.check(is_asked(record, *call, text, *id), || {
                        format!("request: no client asked what came on connection {conn}: {text:.200}")
                    });
                    if matches!(call.how(record.seed), How::Stream | How::Endless) {
                        streams.insert(*id);
                    }
                    arrived.entry(*call).or_default().push((conn, *id));
                }
                What::Topics { .. } => {}
                What::Cancel(of) => faults.check(streams.remove(of), || {
                    format!("request: on connection {conn} there is no stream {of} to be cancelled")
                }),
            }
        }
    }
    for (call, conns) in arrived.iter().filter(|(_, conns)| conns.len() > 1) {
        faults.add(format!("request: {call:?} arrived more than once: {conns:?}"));
    }
    arrived
}

/// Whether a client asked this, byte for byte but for its id.
fn is_asked(record: &Record, call: Call, text: &str, id: u64) -> bool {
    let Some(session) = record.sessions.iter().find(|session| session.number == call.session) else {
        return false;
    };
    let Some(own) = own_id(record, session, call) else {
        // one was put in, with its comma before it or behind it
        let plain = call.text(record.seed, None);
        let put = [format!("\"id\":{id},"), format!(",\"id\":{id}")];
        return put.iter().any(|put| text.replacen(put.as_str(), "", 1) == plain);
    };
    session.calls.values().any(|k| *k == call.k)
        && text == call.text(record.seed, Some(&id.to_string()))
        && !own.is_empty()
}

/// The id that the client wrote into a request.
fn own_id(record: &Record, session: &Session, call: Call) -> Option<String> {
    let by_send = session.raw || session.calls.contains_key(&format!("c{}", call.k));
    call.own_id(record.seed).or(by_send.then(|| (call.k + 1).to_string()))
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: &'a str,
    #[serde(borrow)]
    json: &'a RawValue,
    #[serde(default)]
    more: bool,
    #[serde(default)]
    failed: bool,
}

/// What came of one request.
#[derive(Default)]
struct Fate {
    parts: u64,
    is_over: bool,
    was_written: bool,
}

fn envelope(record: &Record, session: &Session, arrived: &Arrived, faults: &mut Faults) {
    let mut fates = BTreeMap::<&str, Fate>::new();
    let mut cancels = BTreeSet::new();
    let wrong = |what: &str, line: &[u8]| {
        format!("answer: session {} ({}): {what}: {}", session.number, session.what, shown(line))
    };
    for line in &session.lines {
        if line.starts_with(b"{\"type\":\"answer\"") {
            let Ok(answer) = serde_json::from_slice::<Answer>(line) else {
                faults.add(wrong("it has no id or no payload", line));
                continue;
            };
            let Some((id, k)) = session.calls.get_key_value(answer.id) else { continue };
            let call = Call { session: session.number, k: *k };
            let fate = fates.entry(id).or_default();
            let of_wsfan = || Some(arrived.get(&call)?.first()?.1.to_string());
            let own = own_id(record, session, call).or_else(of_wsfan).unwrap_or_default();
            let answers = call.answers(record.seed, &own);
            let wanted = answers.get(fate.parts as usize);
            let is_last = fate.parts + 1 == answers.len() as u64 && call.how(record.seed) != How::Endless;
            faults.check(wanted.is_some_and(|(_, wanted)| wanted == answer.json.get()), || {
                wrong(&format!("its answer {} is {wanted:?}", fate.parts), line)
            });
            faults.check(!fate.is_over && answer.more != is_last, || wrong("more or less follows", line));
            let failed = call.how(record.seed) == How::Failed;
            faults.check(answer.failed == failed, || wrong("it is a refusal, or none", line));
            fate.parts += 1;
            fate.is_over |= !answer.more;
            continue;
        }
        if !line.starts_with(b"{\"type\":\"ok\"") && !line.starts_with(b"{\"type\":\"error\"") {
            continue;
        }
        let parsed = parse(line);
        let id = parsed["id"].as_str().unwrap_or_default();
        if session.cancels.contains_key(id) {
            faults.check(cancels.insert(id.to_owned()), || wrong("a cancel is answered twice", line));
            let is_right = parsed["result"] == "cancelled" || parsed["code"] == "bad_request";
            faults.check(is_right, || wrong("this is no answer to a cancel", line));
            continue;
        }
        let Some((id, k)) = session.calls.get_key_value(id) else { continue };
        let call = Call { session: session.number, k: *k };
        let fate = fates.entry(id).or_default();
        let by_send = id.starts_with('c');
        let code = parsed["code"].as_str().unwrap_or_default();
        if by_send && code.is_empty() {
            fate.was_written |= parsed["result"] == "written";
            continue;
        }
        faults.check(!fate.is_over, || wrong("there was another end before", line));
        fate.is_over = true;
        let is_cancelled = || session.cancels.values().any(|of| of == id);
        let is_right = match code {
            "cancelled" => is_cancelled(),
            // a stream ends with its connection
            "link_down" if fate.parts > 0 => !by_send,
            "link_down" | "rate_limited" => !arrived.contains_key(&call),
            "outbox_full" | "expired" => by_send && !arrived.contains_key(&call),
            code => ERRORS.contains(&code) && fate.parts == 0 && !(by_send && code == "timeout"),
        };
        faults.check(is_right, || wrong("that isn't its end", line));
    }
    let is_told = session.lines.last().is_some_and(|line| parse(line)["why"] == "shutdown")
        && session.lines.first().is_some_and(|line| {
            record.lives.last().is_some_and(|life| parse(line)["epoch"] == life.epoch.as_str())
        });
    if is_told && !session.left {
        for id in session.calls.keys().filter(|id| id.starts_with('r')) {
            faults.check(fates.get(&**id).is_some_and(|fate| fate.is_over), || {
                format!("answer: session {} ({}) never heard of {id}", session.number, session.what)
            });
        }
    }
}

/// A raw listener's lines that are answers: this client's own, in their order.
fn raw(record: &Record, session: &Session, faults: &mut Faults) {
    let mut parts = BTreeMap::<u64, u64>::new();
    for line in session.lines.iter().filter(|line| line.starts_with(ANSWER)) {
        let text = String::from_utf8_lossy(line);
        let is_right = Call::of_answer(&text).is_some_and(|(call, part)| {
            let next = parts.entry(call.k).or_default();
            let Some(own) = own_id(record, session, call) else { return false };
            let answers = call.answers(record.seed, &own);
            let is_next = *next == part && call.session == session.number;
            *next += 1;
            is_next
                && session.calls.values().any(|k| *k == call.k)
                && answers.get(part as usize).is_some_and(|(_, answer)| *answer == text)
        });
        faults.check(is_right, || {
            format!("answer: session {} ({}) got {text:.200}", session.number, session.what)
        });
    }
}
