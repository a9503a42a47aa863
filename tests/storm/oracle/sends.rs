//! Sends: what was told of each against what the server got.

use std::collections::BTreeMap;

use super::{
    super::{
        payload::{Payload, send, send_key},
        record::{Record, Session},
    },
    Faults, parse,
};

const ERRORS: [&str; 5] = ["link_down", "expired", "outbox_full", "rate_limited", "unknown"];

/// On which connections a send arrived, by session and number.
type Arrived = BTreeMap<(u64, u64), Vec<usize>>;

pub(super) fn judge(record: &Record, faults: &mut Faults) {
    let mut arrived = Arrived::new();
    let mut newest = BTreeMap::new();
    for (conn, attempt) in record.attempts.iter().enumerate() {
        for payload in &attempt.received {
            let Some((session, k)) = known(record, payload) else {
                faults.add(format!("send: no client said what came on connection {conn}: {payload:.80?}"));
                continue;
            };
            let last = newest.insert(session, (k, conn));
            faults.check(last.is_none_or(|(last, _)| last < k), || {
                format!("send: {k} of session {session} arrived on connection {conn}, after {last:?}")
            });
            arrived.entry((session, k)).or_default().push(conn);
        }
    }
    for session in record.sessions.iter().filter(|session| !session.sends.is_empty()) {
        let told = told(session);
        let by_stop = session.lines.last().is_some_and(|line| parse(line)["why"] == "shutdown")
            && hello(session) == record.lives.last().map(|life| life.epoch.clone());
        for (id, &k) in &session.sends {
            let name = || format!("send {k} of session {} ({})", session.number, session.what);
            let fates = told.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let fates: Vec<&str> = fates.iter().map(String::as_str).collect();
            let conns = arrived.get(&(session.number, k)).map_or(&[][..], Vec::as_slice);
            faults.check(conns.len() <= 1, || format!("fate: {} arrived on {conns:?}", name()));
            let last = match fates[..] {
                [] | ["queued"] => {
                    faults.check(!by_stop, || format!("fate: of {} it is {fates:?} that was told", name()));
                    continue;
                }
                [last] | ["queued", last] => last,
                _ => {
                    faults.add(format!("fate: of {} too much was told: {fates:?}", name()));
                    continue;
                }
            };
            match last {
                "written" => faults
                    .check(!conns.is_empty() || may_be_lost(record, session.number, k, &arrived), || {
                        format!("fate: {} was written, and didn't arrive", name())
                    }),
                "unknown" => {}
                error if ERRORS.contains(&error) => faults.check(conns.is_empty(), || {
                    format!("fate: {} failed with {error}, and arrived on {conns:?}", name())
                }),
                other => faults.add(format!("fate: of {} it was told {other}", name())),
            }
        }
    }
}

/// Whose it is, if it is byte for byte what that one sent.
fn known(record: &Record, payload: &Payload) -> Option<(u64, u64)> {
    let (number, k) = send_key(payload)?;
    let session = record.sessions.iter().find(|session| session.number == number)?;
    let asked = session.sends.values().any(|sent| *sent == k);
    (asked && send(record.seed, number, k) == *payload).then_some((number, k))
}

/// Whether one of the connections that it may have gone over, by what arrived before and after it, wasn't
/// read to its end by the server.
fn may_be_lost(record: &Record, session: u64, k: u64, arrived: &Arrived) -> bool {
    let first = arrived.range((session, 0)..(session, k)).next_back().map_or(0, |(_, conns)| conns[0]);
    let next = arrived.range((session, k + 1)..(session + 1, 0)).next();
    let last = next.map_or(record.attempts.len() - 1, |(_, conns)| conns[0]);
    let mut between = record.attempts.iter().skip(first).take((last + 1).saturating_sub(first));
    between.any(|attempt| attempt.upgraded && !attempt.read_to_end)
}

/// What was told of each id: results and codes.
fn told(session: &Session) -> BTreeMap<String, Vec<String>> {
    let mut told = BTreeMap::<String, Vec<String>>::new();
    for line in &session.lines {
        if !line.starts_with(b"{\"type\":\"ok\"") && !line.starts_with(b"{\"type\":\"error\"") {
            continue;
        }
        let line = parse(line);
        let fate = line["result"].as_str().or(line["code"].as_str());
        if let (Some(id), Some(fate)) = (line["id"].as_str(), fate) {
            told.entry(id.to_owned()).or_default().push(fate.to_owned());
        }
    }
    told
}

fn hello(session: &Session) -> Option<String> {
    Some(parse(session.lines.first()?)["epoch"].as_str()?.to_owned())
}
