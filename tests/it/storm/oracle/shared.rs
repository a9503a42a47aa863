//! Shared subscriptions: what the server was told against what clients asked for, and what each of these heard.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    super::{
        calls::What,
        record::{Attempt, Life, Record, Session, Sub},
        shared::{LINGER, is_refused, may_be_refused},
    },
    Faults, parse,
};

/// For so long, beside its linger, a topic may stay whose last subscriber has gone: what the daemon and a server that
/// are slow need.
const SLACK: Duration = Duration::from_secs(5);

pub(super) fn judge(record: &Record, faults: &mut Faults) {
    for (conn, attempt) in record.attempts.iter().enumerate() {
        told(record, conn, attempt, faults);
    }
    for session in record.sessions.iter().filter(|session| !session.subs.is_empty()) {
        heard(record, session, faults);
    }
}

/// What one connection was told: of the first and of the last who wants a topic, and of nothing else.
fn told(record: &Record, conn: usize, attempt: &Attempt, faults: &mut Faults) {
    let (mut has, mut refused_here) = (BTreeSet::new(), BTreeSet::new());
    for asked in &attempt.asked {
        let What::Topics { more, topics } = &asked.what else { continue };
        let refused = topics.iter().any(|topic| is_refused(topic, conn));
        for topic in topics {
            let is_news = match more {
                // one of them is refused, and all are: the others are said again
                true if refused => {
                    refused_here.insert(topic);
                    !has.contains(topic)
                }
                true => has.insert(topic),
                // the refusal may still have been on its way
                false => has.remove(topic) || refused_here.remove(topic),
            };
            faults.check(is_news, || {
                let what = if *more { "a second time" } else { "to be given up, and it hadn't it" };
                format!("topics: connection {conn} was told of {topic} {what}")
            });
            if *more {
                faults.check(is_asked(record, conn, topic, asked.at), || {
                    format!(
                        "topics: connection {conn} was told of {topic} at {:?}, which nobody wanted",
                        asked.at
                    )
                });
            } else if !record.rotates {
                let holder = record.sessions.iter().find(|session| holds(record, session, topic, asked.at));
                faults.check(holder.is_none(), || {
                    let who = holder.map(|session| (session.number, &session.what));
                    format!(
                        "topics: connection {conn} was told to give up {topic} at {:?}, which {who:?} had",
                        asked.at
                    )
                });
            }
        }
    }
}

/// Whether some client of the same life wanted it then, or a moment before.
fn is_asked(record: &Record, conn: usize, topic: &str, at: Duration) -> bool {
    let Some(life) = record.lives.iter().find(|life| life.attempts.contains(&conn)) else { return false };
    let mut sessions = record.sessions.iter().filter(|session| is_of(session, life));
    sessions.any(|session| {
        let asks = session
            .subs
            .values()
            .any(|sub| sub.more && sub.at <= at && sub.topics.iter().any(|of| of == topic));
        asks && at <= session.time.1.saturating_add(LINGER + SLACK)
    })
}

fn is_of(session: &Session, life: &Life) -> bool {
    session.lines.first().is_some_and(|line| parse(line)["epoch"] == life.epoch.as_str())
}

/// Whether a client surely had it then, as it was told.
fn holds(record: &Record, session: &Session, topic: &str, at: Duration) -> bool {
    // the daemon may have ended it long before it heard of that
    let has_ended = session.left || session.lines.last().is_some_and(|line| parse(line)["why"] == "shutdown");
    let is_sure = has_ended && !record.may_be_cut_off(session);
    let of = |sub: &&Sub| sub.topics.iter().any(|of| of == topic);
    let is_lost = session.losses.iter().any(|(_, topics)| topics.iter().any(|of| of == topic));
    let (mut since, mut until) = (None, session.until);
    for sub in session.subs.values().filter(of) {
        match (sub.more, sub.told) {
            (true, Some((told, true))) if told < at => since = since.max(Some(told)),
            // it may have been lost with that
            (true, Some((_, false))) => return false,
            _ => {}
        }
    }
    let Some(since) = since else { return false };
    for sub in session.subs.values().filter(of).filter(|sub| !sub.more && sub.at >= since) {
        until = until.min(sub.at);
    }
    let is_given_up =
        session.subs.values().filter(of).any(|sub| !sub.more && sub.at <= at && sub.at >= since);
    is_sure && !is_lost && !is_given_up && since < at && at < until
}

/// Each ask comes to one end, and it is the right one.
fn heard(record: &Record, session: &Session, faults: &mut Faults) {
    let mut fates = BTreeMap::<&str, Vec<String>>::new();
    for line in &session.lines {
        if !line.starts_with(b"{\"type\":\"ok\"") && !line.starts_with(b"{\"type\":\"error\"") {
            continue;
        }
        let line = parse(line);
        let named: Vec<&str> =
            line["topics"].as_array().into_iter().flatten().filter_map(|topic| topic.as_str()).collect();
        let Some(fate) = line["result"].as_str().or(line["code"].as_str()) else { continue };
        let Some((id, sub)) = line["id"].as_str().and_then(|id| session.subs.get_key_value(id)) else {
            let is_loss = line["id"].is_null() && !named.is_empty();
            let may_be = match fate {
                "refused" => named.iter().all(|topic| may_be_refused(topic)),
                "timeout" => true,
                _ => false,
            };
            faults.check(!is_loss || may_be, || {
                format!("subscriptions: session {} ({}) was told {line}", session.number, session.what)
            });
            continue;
        };
        fates.entry(id).or_default().push(fate.to_owned());
        let is_right = match (sub.more, fate) {
            (true, "queued") | (false, "unsubscribed") => true,
            (true, "subscribed") => !sub.topics.iter().any(|topic| topic.starts_with("bad")),
            (true, "refused") => {
                !named.is_empty()
                    && named
                        .iter()
                        .all(|topic| may_be_refused(topic) && sub.topics.iter().any(|of| of == topic))
            }
            (true, "timeout") => named.iter().all(|topic| sub.topics.iter().any(|of| of == topic)),
            // one that was lost on the way
            (false, "not_subscribed") => {
                named.iter().all(|topic| may_be_refused(topic)) || !session.losses.is_empty()
            }
            _ => false,
        };
        faults.check(is_right, || {
            format!(
                "subscriptions: session {} ({}) asked {sub:?}, and was told {line}",
                session.number, session.what
            )
        });
    }
    let is_last = record.lives.last().is_some_and(|life| is_of(session, life));
    let by_stop =
        is_last && !session.left && session.lines.last().is_some_and(|line| parse(line)["why"] == "shutdown");
    for id in session.subs.keys() {
        let fates = fates.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let is_whole = match fates {
            [] => !by_stop,
            [one] if one == "queued" => !by_stop,
            [_] => true,
            [first, second] => first == "queued" && second != "queued",
            _ => false,
        };
        faults.check(is_whole, || {
            format!("subscriptions: session {} ({}) heard {fates:?} of {id}", session.number, session.what)
        });
    }
}
