//! *Pure.* The judge of a storm: what a [`Record`] shows against what `docs/protocol.md` and the README's
//! promises say. What it doesn't know it passes over, as the protocol asks of every client.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{payload::digits, record::Record, topics::Taste};

mod calls;
mod history;
mod link;
mod names;
mod reading;
mod sends;
mod shared;
mod units;

/// What is wrong, a sentence each; nothing, if all promises held.
pub(crate) fn judge(record: &Record) -> Vec<String> {
    let mut faults = Faults::default();
    let logs = reading::logs(record, &mut faults);
    let places = history::judge(record, &logs, &mut faults);
    reading::judge(record, &logs, &places, &mut faults);
    sends::judge(record, &mut faults);
    calls::judge(record, &mut faults);
    shared::judge(record, &mut faults);
    units::judge(record, &mut faults);
    names::judge(record, &mut faults);
    link::judge(record, &logs, &mut faults);
    let (taken, bound) = record.memory;
    if taken > bound {
        faults.add(format!("memory: {taken} bytes were taken, and {bound} are the bound"));
    }
    faults.0.into_iter().collect()
}

/// The entries of each life's log that anybody saw.
type Logs<'a> = BTreeMap<&'a str, BTreeMap<u64, Entry<'a>>>;

/// An entry of a log.
#[derive(Debug, Clone, PartialEq)]
struct Entry<'a> {
    line: &'a [u8],
    /// Of a message: what topic its line has, if any. No topic, of an entry that isn't a message, goes to everybody.
    topic: Option<Option<&'a str>>,
}

impl Entry<'_> {
    fn is_wanted(&self, taste: &Taste) -> bool {
        self.topic.is_none_or(|topic| taste.wants(topic))
    }
}

/// Where each message stands among those of its life's log that anybody saw.
#[derive(Default)]
struct Places {
    /// By number: the life, and how many are before.
    by_number: HashMap<u64, (usize, usize)>,
    /// Of each life, whether each of its messages has a topic in its line, and which.
    topics: Vec<Vec<Option<String>>>,
}

#[derive(Default)]
struct Faults(BTreeSet<String>);

impl Faults {
    fn add(&mut self, fault: String) {
        // the first few say it
        if self.0.len() < 50 {
            self.0.insert(fault);
        }
    }

    fn check(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.add(fault());
        }
    }
}

/// The number of the message in a line of a log, if the line holds that message byte for byte.
pub(crate) fn number(seed: u64, line: &[u8]) -> Option<u64> {
    history::identified(seed, line)
}

/// What a line is, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// An entry of the log.
    Entry(u64),
    Other,
}

pub(crate) fn head(line: &[u8]) -> Head {
    let begins: [&[u8]; 3] =
        [b"{\"type\":\"message\",\"seq\":", b"{\"type\":\"link\",\"seq\":", b"{\"type\":\"gap\",\"seq\":"];
    for begin in begins {
        if let Some(rest) = line.strip_prefix(begin) {
            return digits(&rest[..rest.len().min(24)]).map_or(Head::Other, Head::Entry);
        }
    }
    Head::Other
}

fn parse(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap_or(Value::Null)
}

/// The begin of a line, for people.
fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(160)]).into_owned()
}

#[test]
fn entries_are_known_by_their_first_bytes() {
    for (line, wanted) in [
        (r#"{"type":"message","seq":12,"time_us":3,"json":1}"#, Head::Entry(12)),
        (r#"{"type":"link","seq":1,"state":"up"}"#, Head::Entry(1)),
        (r#"{"type":"gap","seq":4,"why":"upstream"}"#, Head::Entry(4)),
        (r#"{"type":"gap","from":4,"to":5}"#, Head::Other),
        (r#"{"type":"link","time_us":4}"#, Head::Other),
        (r#"{"type":"hello","seq":4}"#, Head::Other),
    ] {
        assert_eq!(head(line.as_bytes()), wanted, "{line}");
    }
}
