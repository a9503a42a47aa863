//! Names: who comes back by one goes on where it was, or hears that its place is gone.

use std::time::Duration;

use serde_json::Value;

use super::{
    super::{
        plan::KEEP,
        record::{Record, Session},
    },
    Faults, Head, head, parse,
};

/// What a daemon and a client that are slow need to hear of an end.
const SLACK: Duration = Duration::from_secs(5);

/// A session that asked for a name.
struct Named<'a> {
    session: &'a Session,
    name: &'a str,
    epoch: String,
    /// What came of it, and when that was read.
    answer: Value,
    at: Duration,
    /// The entry after which it goes on.
    after: u64,
}

pub(super) fn judge(record: &Record, faults: &mut Faults) {
    let all: Vec<Named<'_>> = record.sessions.iter().filter_map(named).collect();
    for one in &all {
        let others = || {
            let is_other = |of: &&Named<'_>| of.session.number != one.session.number;
            all.iter().filter(is_other).filter(|of| of.name == one.name && of.epoch == one.epoch)
        };
        // those that the daemon surely had to their ends: another may have taken over from them long before they read it
        let had = || {
            let attached = others().filter(|of| of.answer["result"] == "attached");
            attached.filter(|of| of.session.left && !record.may_be_cut_off(of.session))
        };
        // and those others that never read what came of it
        let asked = || {
            let is_other = |of: &&Session| of.number != one.session.number;
            record.sessions.iter().filter(is_other).filter(|of| is_of(of, one.name, &one.epoch))
        };
        let wrong = |what: &str| {
            let Session { number, what: who, .. } = one.session;
            format!("name: session {number} ({who}) {what}: {}", one.answer)
        };
        let from = one.session.time.0;
        match (&one.answer["result"], &one.answer["new"]) {
            (Value::Null, _) => {
                let is_there = |of: &Session| of.time.0 <= one.at && from <= of.time.1 + SLACK;
                faults.check(one.answer["code"] == "name_taken" && asked().any(is_there), || {
                    wrong("was refused a name that nobody had")
                });
            }
            (_, Value::Bool(true)) => {
                let is_kept = |of: &Named<'_>| of.at <= from && one.at < of.session.until + KEEP;
                let kept = had().find(|of| is_kept(of)).map(|of| of.session);
                faults.check(kept.is_none(), || {
                    let whose = kept.map(|of| (of.number, of.until, KEEP));
                    wrong(&format!("lost a place that was to be kept for {whose:?} until {:?}", one.at))
                });
            }
            _ => {
                let before = || asked().filter(|of| of.time.0 <= one.at);
                let is_kept = |of: &Session| from <= of.time.1 + KEEP + SLACK;
                faults.check(before().any(is_kept), || wrong("has a place that nobody had"));
                let read = before().filter_map(last).max().unwrap_or(0);
                // who left before it read what came of it may have begun anew, where the log ended then
                let has_read = |of: &Session| all.iter().any(|named| named.session.number == of.number);
                let is_known = before().filter(|of| is_kept(of)).all(has_read);
                faults.check(!is_known || one.after <= read, || {
                    wrong(&format!("goes on after {}, and {read} is what was read by that name", one.after))
                });
            }
        }
    }
}

/// Whether it asked for this name in this life.
fn is_of(session: &Session, name: &str, epoch: &str) -> bool {
    let wanted = session.attaches.get("t").and_then(|attach| attach.name.as_deref());
    wanted == Some(name) && session.lines.first().is_some_and(|hello| parse(hello)["epoch"] == epoch)
}

fn named(session: &Session) -> Option<Named<'_>> {
    let name = session.attaches.get("t")?.name.as_deref()?;
    let at = session.attached?;
    let epoch = parse(session.lines.first()?)["epoch"].as_str()?.to_owned();
    let is_answer = |line: &Value| line["id"] == "t";
    let control = session.lines.iter().enumerate().filter(|(_, line)| head(line) == Head::Other);
    let (place, answer) =
        control.map(|(place, line)| (place, parse(line))).find(|(_, line)| is_answer(line))?;
    // what is gone of it already is declared at once
    let next = session.lines.get(place + 1).map(|line| parse(line)).filter(|line| line["type"] == "gap");
    let gap = next.and_then(|gap| Some(gap["from"].as_u64()? - 1));
    let after = gap.or(answer["seq"].as_u64()).unwrap_or(0);
    Some(Named { session, name, epoch, answer, at, after })
}

/// The last entry that was read or declared, or the one that it began after.
fn last(session: &Session) -> Option<u64> {
    let of = |line: &Vec<u8>| match head(line) {
        Head::Entry(seq) => Some(seq),
        Head::Other => {
            let line = parse(line);
            match line["type"].as_str()? {
                "gap" => line["to"].as_u64(),
                "hello" | "ok" => line["seq"].as_u64(),
                _ => None,
            }
        }
    };
    session.lines.iter().filter_map(of).max()
}
