use std::rc::Rc;

use super::*;
use crate::{
    config::History,
    hub::{Cursor, Data, Hub, Ledger, LinkStatus, MessageTopic, Publisher, Reader},
    local::dialogue::outgoing::{Next, Outgoing, Seek},
};

/// A log, and one client of it that catches up.
struct Rig {
    publisher: Publisher,
    reader: Reader,
    hub: Hub,
    outgoing: Outgoing,
    picked: Picked,
    /// The client wants these topics alone.
    wanted: Option<&'static [&'static str]>,
}

/// All that was long ago.
const LATE: u64 = 1_000;

impl Rig {
    fn new() -> Rig {
        let hub = Hub::new("e".to_owned(), &History { max_bytes: 64 << 10, ..History::default() }, false);
        let (publisher, _) = hub.publisher().unwrap();
        let outgoing = Outgoing::new(Some(Cursor::new(Format::Envelope, 0)), Rc::default());
        Rig { publisher, reader: hub.reader(), hub, outgoing, picked: Picked::default(), wanted: None }
    }

    fn narrowed(wanted: &'static [&'static str]) -> Rig {
        let mut rig = Rig { wanted: Some(wanted), ..Rig::new() };
        rig.outgoing.narrow(Some(Rc::default()));
        rig
    }

    /// Publishes a message for each word: its topic, or `-` for none, `!` for a change of the link.
    fn say(&mut self, words: &str) {
        for word in words.split_whitespace() {
            match word {
                "!" => self.publisher.announce(LinkStatus::default()),
                "-" => self.publisher.publish(5, Data::Text("1"), &MessageTopic::None),
                topic => {
                    self.publisher.publish(5, Data::Text("1"), &MessageTopic::new(topic.to_owned()));
                }
            }
        }
        self.offered();
    }

    fn offered(&mut self) {
        let head = self.hub.log().head();
        self.reader.offered(head, u64::MAX);
    }

    fn catch_up(&mut self) {
        self.outgoing.catch_up(&self.hub.log(), LATE);
    }

    /// Takes so many bytes, as a socket that has no more room. None: there is nothing.
    fn write(&mut self, room: usize) -> Option<Vec<u8>> {
        let Rig { reader, outgoing, picked, wanted, .. } = self;
        reader.with_log(|log| {
            loop {
                let taken = match outgoing.next(log) {
                    Next::Wait | Next::Close | Next::Snapshot => return None,
                    Next::Lost => {
                        let lost = |lost: Lost| format!("lost {} {}\n", lost.from, lost.to).into_bytes();
                        outgoing.declare(log, lost);
                        continue;
                    }
                    Next::Pick { from, latest_to } => {
                        while !log.link_topics(7) {}
                        let to = latest_to.unwrap_or(log.head());
                        let is_wanted = |seq| match (log.topic_of(seq), *wanted) {
                            (_, None) | (crate::hub::TopicOf::Everybody | crate::hub::TopicOf::Unfit, _) => {
                                true
                            }
                            (crate::hub::TopicOf::Topic { name, .. }, Some(names)) => names.contains(&name),
                            (crate::hub::TopicOf::None, Some(_)) => false,
                        };
                        pick(picked, log, (from, to), Format::Envelope, |seq| Some(is_wanted(seq)), gap);
                        let taken = picked.bytes()[..room.min(picked.bytes().len())].to_vec();
                        outgoing.wrote_picked(log, picked, taken.len());
                        if taken.is_empty() {
                            continue;
                        }
                        return Some(taken);
                    }
                    Next::Write(bytes) => bytes[..room.min(bytes.len())].to_vec(),
                    Next::Lines(lines) => lines[..room.min(lines.len())].to_vec(),
                };
                outgoing.wrote(log, taken.len());
                return Some(taken);
            }
        })
    }

    /// All that the client is given, its entries by their `seq`.
    fn all(&mut self, room: usize) -> String {
        let mut bytes = Vec::new();
        while let Some(more) = self.write(room) {
            bytes.extend(more);
        }
        let text = String::from_utf8(bytes).unwrap();
        let words = text.lines().map(|line| match serde_json::from_str::<serde_json::Value>(line) {
            Ok(entry) => entry["seq"].to_string(),
            Err(_) => line.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn ledger(&self) -> Ledger {
        let ledger = self.outgoing.ledger(&self.hub.log());
        assert!(ledger.balances(), "{ledger:?}");
        ledger
    }
}

fn gap(lost: Lost) -> Vec<u8> {
    format!("gap {}-{}:{}\n", lost.from, lost.to, lost.count).into_bytes()
}

#[test]
fn the_newest_of_each_topic_comes_in_order_and_the_rest_is_declared_where_it_would_have_stood() {
    for (words, expected) in [
        ("a", "1"),
        ("a b c", "1 2 3"),
        ("a a a", "gap 1-2:2 3"),
        ("a b a b a", "gap 1-3:3 4 5"),
        ("a b b a c c", "gap 1-2:2 3 4 gap 5-5:1 6"),
        // what is no message, or has no topic, is nobody's older one
        ("- ! - a ! a -", "1 2 3 gap 4-4:1 5 6 7"),
        ("a ! a ! a", "gap 1-1:1 2 gap 3-3:1 4 5"),
    ] {
        for room in [usize::MAX, 90, 7, 1] {
            let mut rig = Rig::new();
            rig.say(words);
            rig.catch_up();
            assert_eq!(rig.all(room), expected, "{words}, {room} bytes at once");
            let ledger = rig.ledger();
            let lost = expected.split(':').skip(1).map(|rest| rest.split(' ').next().unwrap());
            assert_eq!(ledger.lost, lost.map(|count| count.parse::<u64>().unwrap()).sum::<u64>());
            assert_eq!((ledger.ahead, ledger.passed), (0, 0));
        }
    }
}

#[test]
fn one_that_narrows_hears_of_its_own_topics_alone() {
    for room in [usize::MAX, 90, 7, 1] {
        let mut rig = Rig::narrowed(&["a", "c"]);
        rig.say("a b a - b c ! c a b");
        rig.catch_up();
        assert_eq!(rig.all(room), "gap 1-6:3 7 8 9", "{room}");
        assert_eq!(rig.ledger(), Ledger { entries: 10, delivered: 3, lost: 3, passed: 4, ahead: 0 });
        assert_eq!(rig.all(room), "");
    }
}

#[test]
fn what_comes_meanwhile_is_no_part_of_it_so_that_a_busy_topic_comes_too() {
    let mut rig = Rig::new();
    rig.say("a busy a b busy c");
    rig.catch_up();
    let mut seen = String::new();
    for _ in 0..4 {
        seen += std::str::from_utf8(&rig.write(100).unwrap()).unwrap();
        rig.say("busy");
    }
    assert!(seen.contains(r#""seq":5,"#), "it was the newest when the client began to catch up: {seen}");
    assert_eq!(rig.all(usize::MAX), "7 8 9 10", "and then all comes");
    rig.say("busy a busy");
    rig.catch_up();
    assert_eq!(rig.all(usize::MAX), "gap 11-11:1 12 13", "until it lags again");
}

#[test]
fn only_one_that_lags_catches_up_and_what_it_asked_for_comes_whole() {
    let mut rig = Rig::new();
    rig.say("a a");
    rig.outgoing.catch_up(&rig.hub.log(), 5);
    assert_eq!(rig.all(usize::MAX), "1 2", "its next entry is not so old");
    rig.say("a a");
    rig.outgoing.seek(b"", Seek { after: 0, start: 0, head: 4, snapshot: false, narrow: None });
    rig.say("a a");
    rig.catch_up();
    assert_eq!(rig.write(200).map(|bytes| bytes.len()), Some(200));
    rig.catch_up();
    let rest = rig.all(usize::MAX);
    assert!(rest.ends_with("} 5 6"), "it is still at what it asked for: {rest}");
    rig.say("a a");
    rig.catch_up();
    assert_eq!(rig.all(usize::MAX), "gap 7-7:1 8");
    rig.say("a a");
    rig.catch_up();
    rig.outgoing.stop_catching_up();
    assert_eq!(rig.all(usize::MAX), "9 10");
}

#[test]
fn one_whose_next_entry_is_gone_gets_the_newest_of_what_is_left() {
    let mut rig = Rig::new();
    let long = "x".repeat(1_000);
    let publish = |rig: &mut Rig, topic: &str| {
        rig.publisher.publish(u64::MAX - 1, Data::Text(&long), &MessageTopic::new(topic.to_owned()));
        rig.offered();
    };
    publish(&mut rig, "once");
    assert_eq!(rig.write(20).map(|bytes| bytes.len()), Some(20), "it is within a line");
    (0..200).for_each(|n| publish(&mut rig, if n % 2 == 0 { "a" } else { "b" }));
    rig.outgoing.catch_up(&rig.hub.log(), 0);
    let oldest = rig.hub.log().oldest();
    let expected = format!("lost 2 {} gap {oldest}-199:{} 200 201", oldest - 1, 200 - oldest);
    let seen = rig.all(usize::MAX);
    assert!(seen.ends_with(&expected), "{seen}");
    assert_eq!(rig.ledger().delivered, 3);
    // and one that falls out while it catches up
    (0..10).for_each(|_| publish(&mut rig, "a"));
    rig.outgoing.catch_up(&rig.hub.log(), u64::MAX);
    assert!(rig.write(5).is_some());
    (0..200).for_each(|_| publish(&mut rig, "a"));
    rig.outgoing.catch_up(&rig.hub.log(), 0);
    let oldest = rig.hub.log().oldest();
    let seen = rig.all(usize::MAX);
    let expected = format!("lost 211 {} gap {oldest}-410:{} 411", oldest - 1, 411 - oldest);
    assert!(seen.ends_with(&expected), "{seen}");
    rig.ledger();
}

#[test]
fn a_long_way_is_gone_in_pieces_and_a_giant_is_written_from_where_it_is() {
    let hub = Hub::new("e".to_owned(), &History::default(), false);
    let (publisher, _) = hub.publisher().unwrap();
    let mut rig = Rig { publisher, reader: hub.reader(), hub, ..Rig::new() };
    rig.say(&"a ".repeat(MAX_LOOKED_AT as usize + 5));
    let giant = "x".repeat(PIECE_BYTES);
    for topic in ["a", "b", "a"] {
        rig.publisher.publish(5, Data::Text(&giant), &MessageTopic::new(topic.to_owned()));
    }
    rig.offered();
    rig.catch_up();
    let n = MAX_LOOKED_AT;
    let expected = format!("gap 1-{n}:{n} gap {}-{}:6 {} {}", n + 1, n + 6, n + 7, n + 8);
    assert_eq!(rig.all(50_000), expected);
    assert_eq!(rig.ledger().delivered, 2);
}
