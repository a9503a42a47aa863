//! Where a fault may be planted, and how.

use std::collections::HashSet;

use fastrand::Rng;

use super::super::{
    calls::{Asked, What},
    oracle::{Head, head},
    payload::{Payload, send_key},
    record::{Attempt, Record, Session},
    shared::may_be_refused,
};

/// Changes one client's lines at an entry between two others.
pub(super) fn entry(record: &mut Record, rng: &mut Rng, change: fn(&mut Vec<Vec<u8>>, usize)) -> bool {
    let is_entry = |line: &Vec<u8>| head(line) != Head::Other;
    let mut places = Vec::new();
    for (of, session) in record.sessions.iter().enumerate().filter(|(_, session)| !session.raw) {
        let inner = session.lines.windows(3).enumerate().filter(|(_, three)| three.iter().all(is_entry));
        places.extend(inner.map(|(at, _)| (of, at + 1)));
    }
    pick(record, rng, &places, change)
}

/// Changes one client's lines at one that is so.
pub(super) fn line(
    record: &mut Record,
    rng: &mut Rng,
    is_so: fn(&[u8]) -> bool,
    change: fn(&mut Vec<Vec<u8>>, usize),
) -> bool {
    let mut places = Vec::new();
    for (of, session) in record.sessions.iter().enumerate().filter(|(_, session)| !session.raw) {
        let so = session.lines.iter().enumerate().filter(|(_, line)| is_so(line));
        places.extend(so.map(|(at, _)| (of, at)));
    }
    pick(record, rng, &places, change)
}

/// The sessions that have a name, by their numbers.
pub(super) fn named(record: &Record) -> Vec<u64> {
    let has = |session: &&Session| session.attaches.values().any(|attach| attach.name.is_some());
    record.sessions.iter().filter(has).map(|session| session.number).collect()
}

/// Changes what a connection was told of topics, at one that was accepted.
pub(super) fn topics(record: &mut Record, change: fn(&mut Vec<Asked>, usize)) -> bool {
    let is_it = |asked: &Asked| match &asked.what {
        What::Topics { more: true, topics } => !topics.iter().any(|topic| may_be_refused(topic)),
        _ => false,
    };
    record.attempts.iter_mut().any(|attempt| {
        let at = attempt.asked.iter().rposition(is_it);
        at.inspect(|at| change(&mut attempt.asked, *at)).is_some()
    })
}

/// Changes what arrived of requests on a connection.
pub(super) fn asked(record: &mut Record, change: fn(&mut Vec<Asked>)) -> bool {
    let is_call = |asked: &Asked| matches!(asked.what, What::Call(_));
    let calls = |attempt: &&mut Attempt| attempt.asked.len() > 1 && is_call(&attempt.asked[0]);
    record.attempts.iter_mut().find(calls).map(|attempt| change(&mut attempt.asked)).is_some()
}

/// Changes the lines of one that narrows, at a message that it wants.
pub(super) fn narrowed(record: &mut Record, change: fn(&mut Vec<Vec<u8>>, usize)) -> bool {
    let narrows = |session: &&mut Session| session.attaches.values().any(|attach| attach.topics.is_some());
    let mut narrow = record.sessions.iter_mut().filter(narrows);
    narrow.any(|session| {
        let is_message = |line: &Vec<u8>| line.starts_with(b"{\"type\":\"message\"");
        let at = session.lines.windows(2).position(|two| two.iter().all(is_message));
        at.inspect(|at| change(&mut session.lines, *at)).is_some()
    })
}

pub(super) fn pick(
    record: &mut Record,
    rng: &mut Rng,
    places: &[(usize, usize)],
    change: fn(&mut Vec<Vec<u8>>, usize),
) -> bool {
    let Some((session, at)) = rng.choice(places) else { return false };
    change(&mut record.sessions[*session].lines, *at);
    true
}

/// Changes a message in the same way wherever it came.
pub(super) fn everywhere(record: &mut Record, _: &mut Rng, change: fn(&mut Vec<u8>)) -> bool {
    let Some((epoch, seq, _)) = inner_message(record) else { return false };
    for session in of_life(record, &epoch) {
        session.lines.iter_mut().filter(|line| head(line) == Head::Entry(seq)).for_each(change);
    }
    true
}

/// A message of the last life that has one before and after it, and the life's newest entry.
pub(super) fn inner_message(record: &Record) -> Option<(String, u64, u64)> {
    let epoch = record.lives.last()?.epoch.clone();
    let lines =
        &record.sessions.iter().find(|session| hello_has(session, &epoch) && session.lines.len() > 10)?.lines;
    let is_message = |line: &Vec<u8>| line.starts_with(b"{\"type\":\"message\"");
    let at = lines.windows(3).rposition(|three| three.iter().all(is_message))? + 1;
    let (Head::Entry(seq), Some(Head::Entry(newest))) =
        (head(&lines[at]), lines.iter().rev().map(|line| head(line)).find(|head| *head != Head::Other))
    else {
        return None;
    };
    Some((epoch, seq, newest))
}

pub(super) fn of_life<'a>(record: &'a mut Record, epoch: &str) -> Vec<&'a mut Session> {
    record.sessions.iter_mut().filter(|session| hello_has(session, epoch)).collect()
}

pub(super) fn hello_has(session: &Session, epoch: &str) -> bool {
    let hello = session.lines.first().filter(|_| !session.raw);
    hello.is_some_and(|hello| String::from_utf8_lossy(hello).contains(epoch))
}

/// Changes one client's lines where a send that arrived is said to be written.
pub(super) fn written(record: &mut Record, rng: &mut Rng, change: fn(&mut Vec<Vec<u8>>, usize)) -> bool {
    let received = record.attempts.iter().flat_map(|attempt| &attempt.received);
    let arrived: HashSet<(u64, u64)> = received.filter_map(send_key).collect();
    let mut places = Vec::new();
    for (of, session) in record.sessions.iter().enumerate() {
        let is_so = |line: &Vec<u8>| {
            written_send(session, line).is_some_and(|k| arrived.contains(&(session.number, k)))
        };
        let so = session.lines.iter().enumerate().filter(|(_, line)| is_so(line));
        places.extend(so.map(|(at, _)| (of, at)));
    }
    pick(record, rng, &places, change)
}

/// Changes what arrived at the server, which is taken to have read all, at a send that is said to be written.
pub(super) fn arrived(record: &mut Record, rng: &mut Rng, change: fn(&mut Vec<Payload>, usize)) -> bool {
    let written: HashSet<(u64, u64)> = record
        .sessions
        .iter()
        .flat_map(|session| {
            session.lines.iter().filter_map(|line| Some((session.number, written_send(session, line)?)))
        })
        .collect();
    let mut places = Vec::new();
    for (conn, attempt) in record.attempts.iter_mut().enumerate() {
        attempt.read_to_end = true;
        let of = |payload: &Payload| send_key(payload).is_some_and(|key| written.contains(&key));
        let so = attempt.received.iter().enumerate().filter(|(_, payload)| of(payload));
        places.extend(so.map(|(at, _)| (conn, at)));
    }
    let Some((conn, at)) = rng.choice(places) else { return false };
    change(&mut record.attempts[conn].received, at);
    true
}

pub(super) fn renumber(line: &mut Vec<u8>, from: u64, to: u64) {
    replace(line, &format!("\"seq\":{from}"), &format!("\"seq\":{to}"));
}

pub(super) fn replace(line: &mut Vec<u8>, from: &str, to: &str) {
    *line = String::from_utf8_lossy(line).replacen(from, to, 1).into_bytes();
}

pub(super) fn is_gap(line: &[u8]) -> bool {
    line.starts_with(b"{\"type\":\"gap\",\"from\"")
}

pub(super) fn is_slow_gap(line: &[u8]) -> bool {
    is_gap(line) && String::from_utf8_lossy(line).contains("slow_client")
}

/// Which of a client's sends a line says is written. Units and requests are none.
pub(super) fn written_send(session: &Session, line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"type\":\"ok\",\"id\":\"")?;
    let text = str::from_utf8(rest).ok()?;
    let (id, rest) = text.split_once('"')?;
    rest.starts_with(",\"result\":\"written\"").then(|| session.sends.get(id).copied()).flatten()
}

pub(super) fn is_status(line: &[u8]) -> bool {
    line.starts_with(b"{\"type\":\"status\"")
}

pub(super) fn is_answer(line: &[u8]) -> bool {
    line.starts_with(b"{\"type\":\"answer\"")
}

pub(super) fn is_bye(line: &[u8]) -> bool {
    line == b"{\"type\":\"bye\",\"why\":\"shutdown\"}"
}
