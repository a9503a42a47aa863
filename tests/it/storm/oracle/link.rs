//! Connections to the server: no more than were told, and not before it said.

use std::time::Duration;

use super::{
    super::record::{Life, Record},
    Faults, Logs, parse,
};

/// What was asked for is done within this after it was accepted.
const SOON: Duration = Duration::from_millis(500);

/// What leads to an attempt beside a connection that is up, in the daemon's log: entries tell of those alone
/// that take over.
const ROTATIONS: [&str; 2] =
    ["a new connection is made to take over", "the new connection failed; the old one goes on"];

pub(super) fn judge(record: &Record, logs: &Logs, faults: &mut Faults) {
    for life in &record.lives {
        told(record, life, logs, faults);
    }
    for at in 1..record.attempts.len() {
        let (before, attempt) = (&record.attempts[at - 1], &record.attempts[at]);
        let Some(least) = before.retry_after else { continue };
        // another life knows nothing of it
        if record.lives.iter().any(|life| life.attempts.start == at) {
            continue;
        }
        let free = |(from, to): &(Duration, Duration)| *from <= attempt.at && before.at <= *to + SOON;
        let took = attempt.at.saturating_sub(before.at);
        faults.check(took >= least || record.interventions.iter().any(free), || {
            format!("link: the server asked for {least:?} (Retry-After), and was left alone for {took:?}")
        });
    }
}

/// Each attempt of a life is told before it is made, and each connection that came up.
fn told(record: &Record, life: &Life, logs: &Logs, faults: &mut Faults) {
    let Some(log) = logs.get(&*life.epoch) else { return };
    let Some(attempts) = record.attempts.get(life.attempts.clone()) else { return };
    let (mut connecting, mut up) = (0, 0);
    for entry in log.values().filter(|entry| entry.line.starts_with(b"{\"type\":\"link\"")) {
        match parse(entry.line)["state"].as_str() {
            Some("connecting") => connecting += 1,
            Some("up") => up += 1,
            _ => {}
        }
    }
    let upgraded = attempts.iter().filter(|attempt| attempt.upgraded).count();
    faults.check(up <= upgraded, || {
        format!("link: in {} it was up {up} times over {upgraded} connections", life.epoch)
    });
    let Some(last) = last(record, life) else { return };
    let unseen = last - log.range(..=last).count() as u64;
    let rotations = life.log.lines().filter(|line| ROTATIONS.iter().any(|of| line.contains(of))).count();
    let made = attempts.len() as u64;
    faults.check(made <= connecting + unseen + rotations as u64, || {
        format!(
            "link: in {} {made} connections were made, and {connecting} told and {rotations} rotated, with \
             {unseen} entries unseen",
            life.epoch
        )
    });
}

/// The last entry of a life, as one knows who was told `shutdown`: the newest that it got or was told of.
/// `None` if nobody was, so that nobody knows what came at last.
fn last(record: &Record, life: &Life) -> Option<u64> {
    record.sessions.iter().filter(|session| !session.raw).find_map(|session| {
        let hello = parse(session.lines.first()?);
        let bye = parse(session.lines.last()?);
        if hello["epoch"] != life.epoch.as_str() || bye["why"] != "shutdown" {
            return None;
        }
        let told = session.lines.iter().filter_map(|line| match super::head(line) {
            super::Head::Entry(seq) => Some(seq),
            super::Head::Other if line.starts_with(b"{\"type\":\"gap\"") => parse(line)["to"].as_u64(),
            super::Head::Other => None,
        });
        told.chain(hello["seq"].as_u64()).max()
    })
}
