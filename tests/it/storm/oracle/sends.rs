//! Sends: what was told of each against what the server got.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::{
        payload::{Payload, send, send_key},
        record::{Life, Record, Session},
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
    for life in record.lives.iter().filter(|life| !life.killed) {
        carried_out(record, life, &arrived, faults);
    }
    for session in record.sessions.iter().filter(|session| !session.sends.is_empty()) {
        let told = told(session);
        // one that has left can't be told
        let by_stop = !session.left
            && session.lines.last().is_some_and(|line| parse(line)["why"] == "shutdown")
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

/// A daemon that stops has read by then what was written so long before, on a machine that has much else to do.
const READ: Duration = Duration::from_secs(3);

/// What the log says of a client that is made to leave.
const DISMISSED: [&str; 2] = ["cut off a client", "disconnected a client that had stopped reading"];

/// Whole lines of clients that closed at once are carried out; else they were told so before, or the log says
/// that nobody could be.
fn carried_out(record: &Record, life: &Life, arrived: &Arrived, faults: &mut Faults) {
    let attempts = record.attempts.get(life.attempts.clone()).unwrap_or_default();
    for session in record.sessions.iter().filter(|session| session.whole > 0) {
        let Some(hello) = session.lines.first().map(|line| parse(line)) else { continue };
        let (from, to) = session.time;
        let is_its = hello["epoch"] == life.epoch.as_str() && to + READ <= life.until;
        // what was on its way when the server stopped reading is lost, and may be
        let cut = attempts.iter().any(|at| at.upgraded && !at.read_to_end && at.ended >= from);
        let client = format!("client={}", hello["client"]);
        let of_it = |line: &&str| line.split_whitespace().any(|word| word == client);
        // what it has written isn't carried out once it was told `bye`, or would have been
        let dismissed = |line: &str| DISMISSED.iter().any(|what| line.contains(what));
        if !is_its || cut || life.log.lines().filter(of_it).any(dismissed) {
            continue;
        }
        let told = told(session);
        let is_missing = |k: &u64| {
            let fates = told.get(&format!("s{k}")).map_or(&[][..], Vec::as_slice);
            let is_told = fates.last().is_some_and(|fate| fate != "queued");
            !is_told && !arrived.contains_key(&(session.number, *k))
        };
        let missing: Vec<u64> = (0..session.whole).filter(is_missing).collect();
        let dropped =
            life.log.lines().filter(|line| line.contains("a message isn't sent")).filter(of_it).count();
        faults.check(missing.len() <= dropped, || {
            format!(
                "left: {missing:?} of session {} ({}) didn't arrive, and the log tells of {dropped} sends of \
                 {client} that were dropped",
                session.number, session.what
            )
        });
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
