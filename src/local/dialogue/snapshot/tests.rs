use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    config::{Format, History, Pointer, RetainBounds, Topics},
    hub::{Cursor, Data, Hub, MessageTopic, Publisher, Retain, RetainAs},
    local::dialogue::outgoing::{Next, Outgoing, Seek},
    protocol::Message,
};

fn hub(max: usize) -> (Hub, Publisher) {
    let history = History { max_bytes: 1 << 20, ..History::default() };
    let hub = Hub::new("e".to_owned(), &history, false);
    let (publisher, _) = hub.publisher().unwrap();
    let topics = Topics { pointers: vec![Pointer::parse("/t").unwrap()], retain: true, ..Topics::default() };
    let bounds = RetainBounds { max, bytes: 64 << 20 };
    publisher.set_retain(Retain { topics: Some(topics), script: None, bounds });
    (hub, publisher)
}

fn publish(publisher: &Publisher, topic: &str, length: usize) {
    let topic = MessageTopic::new(topic.to_owned());
    let text = format!("\"{}\"", "x".repeat(length));
    publisher.publish_retained(1, Data::Text(&text), &topic, Some(&RetainAs::Newest(None)));
}

/// A client, and the bytes that it has got.
struct Client {
    outgoing: Outgoing,
    got: Vec<u8>,
    wants: fn(&LastValue<'_>) -> bool,
}

impl Client {
    fn new() -> Client {
        let cursor = Cursor::new(Format::Envelope, 0);
        Client { outgoing: Outgoing::new(Some(cursor), Rc::default()), got: Vec::new(), wants: |_| true }
    }

    fn attach(&mut self, hub: &Hub, back: u64) {
        let head = hub.log().head();
        let start = head.saturating_sub(back);
        let seek = Seek { after: start, start, head: start, snapshot: true, narrow: None };
        self.outgoing.seek(format!("attached {start}\n").as_bytes(), seek);
    }

    /// Takes so many bytes, or all that there is; returns how many pieces of the snapshot there were.
    fn read(&mut self, reader: &crate::hub::Reader, room: usize) -> usize {
        let (mut room, mut pieces) = (room, 0);
        reader.with_log(|log| {
            while room > 0 {
                let taken = match self.outgoing.next(log) {
                    Next::Write(bytes) => bytes[..room.min(bytes.len())].to_vec(),
                    Next::Lines(bytes) => bytes[..room.min(bytes.len())].to_vec(),
                    Next::Snapshot => {
                        self.outgoing.go_on(log, 0, self.wants);
                        pieces += 1;
                        continue;
                    }
                    Next::Wait | Next::Close => break,
                    other => panic!("{other:?}"),
                };
                room -= taken.len();
                self.outgoing.wrote(log, taken.len());
                self.got.extend(taken);
            }
        });
        pieces
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.got.clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn last_values_come_between_the_answer_and_the_entries_that_follow() {
    let (hub, publisher) = hub(10);
    let reader = hub.reader();
    for topic in ["a", "b", "a", "c"] {
        publish(&publisher, topic, 1);
    }
    let mut client = Client::new();
    client.wants = |value| value.topic != Some("b");
    client.attach(&hub, 0);
    publish(&publisher, "b", 1);
    client.read(&reader, usize::MAX);
    let message = |seq: u64, topic: &str, mark: &str| {
        format!(
            "{{\"type\":\"message\",\"seq\":{seq},\"time_us\":1,\"topic\":\"{topic}\",\"json\":\"x\"{mark}}}"
        )
    };
    let expected = [
        "attached 4".to_owned(),
        message(3, "a", ",\"snapshot\":true"),
        message(4, "c", ",\"snapshot\":true"),
        r#"{"type":"snapshot","seq":4,"count":2,"dropped":0}"#.to_owned(),
        message(5, "b", ""),
    ];
    assert_eq!(client.lines(), expected);
    let ledger = client.outgoing.ledger(&hub.log());
    assert_eq!((ledger.entries, ledger.delivered), (1, 1), "last values are no entries");
}

#[test]
fn who_goes_on_from_before_gets_the_values_of_before() {
    let (hub, publisher) = hub(10);
    let reader = hub.reader();
    for topic in ["a", "b", "a", "c"] {
        publish(&publisher, topic, 1);
    }
    let mut client = Client::new();
    client.attach(&hub, 2);
    client.read(&reader, usize::MAX);
    let seqs: Vec<_> = client.lines().iter().map(|line| Message::seq_of(line.as_bytes())).collect();
    assert_eq!(seqs, [None, Some(2), None, Some(3), Some(4)], "{:?}", client.lines());
}

#[test]
fn a_piece_is_small_and_a_long_line_is_not_copied() {
    let (hub, publisher) = hub(1_000);
    let reader = hub.reader();
    for number in 0..200 {
        publish(&publisher, &format!("t{number}"), 1_000);
    }
    publish(&publisher, "long", 1 << 20);
    publish(&publisher, "end", 1);
    let mut client = Client::new();
    client.attach(&hub, 0);
    let mut pieces = 0;
    while client.outgoing.unread_replies() > 0 || pieces == 0 || client.lines().len() < 204 {
        pieces += client.read(&reader, 10_000);
        assert!(
            client.outgoing.unread_replies() <= PIECE_BYTES + 2_000,
            "{}",
            client.outgoing.unread_replies()
        );
    }
    assert!(pieces >= 8, "{pieces}");
    let lines = client.lines();
    assert_eq!(Message::seq_of(lines[201].as_bytes()), Some(201));
    assert!(
        lines[201].len() > 1 << 20 && lines[203].starts_with(r#"{"type":"snapshot","seq":202,"count":202,"#)
    );
}

#[test]
fn one_that_attaches_anew_or_is_cut_off_finishes_its_line_and_no_more() {
    let (hub, publisher) = hub(10);
    let reader = hub.reader();
    publish(&publisher, "a", 1);
    publish(&publisher, "long", 100_000);
    let mut client = Client::new();
    client.attach(&hub, 0);
    client.read(&reader, 50_000);
    assert!(client.outgoing.holds());
    publish(&publisher, "long", 2); // it stays for this client alone
    assert!(reader.with_log(|log| log.kept_bytes()) > 100_000);
    client.attach(&hub, 0);
    client.read(&reader, usize::MAX);
    let seqs: Vec<_> = client.lines().iter().map(|line| Message::seq_of(line.as_bytes())).collect();
    assert_eq!(seqs, [None, Some(1), Some(2), None, Some(1), Some(3), None]);
    assert_eq!(reader.with_log(|log| log.kept_bytes()), 0);

    publish(&publisher, "long", 100_000);
    let mut client = Client::new();
    client.attach(&hub, 0);
    client.read(&reader, 50_000);
    client.outgoing.cut_off(b"bye\n".to_vec());
    client.read(&reader, 1 << 20);
    let lines = client.lines();
    assert_eq!((lines.len(), lines.last().map(String::as_str)), (4, Some("bye")));
    assert_eq!(Message::seq_of(lines[2].as_bytes()), Some(4));
}

/// What may happen while a snapshot is under way.
#[derive(Debug, Clone)]
enum Step {
    Publish { topic: u8, length: usize },
    Read(usize),
    Attach(u64),
    Reply,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..8, prop_oneof![4 => 0usize..200, 1 => 15_000usize..40_000])
            .prop_map(|(topic, length)| Step::Publish { topic, length }),
        6 => prop_oneof![2 => 1usize..300, 1 => 1usize..60_000].prop_map(Step::Read),
        1 => (0u64..6).prop_map(Step::Attach),
        1 => Just(Step::Reply),
    ]
}

proptest! {
    /// Whatever is published meanwhile, however slowly it is read: after the snapshot come all entries, each once, and
    /// who takes both has the newest of each topic that wasn't dropped.
    #[test]
    fn there_is_no_hole_and_no_double_at_the_seam(steps in prop::collection::vec(step(), 1..80), max in 2usize..10) {
        let (hub, publisher) = hub(max);
        let reader = hub.reader();
        let mut client = Client::new();
        let mut newest = BTreeMap::new();
        for step in steps.into_iter().chain([Step::Attach(0), Step::Read(usize::MAX)]) {
            match step {
                Step::Publish { topic, length } => {
                    publish(&publisher, &format!("t{topic}"), length);
                    newest.insert(format!("t{topic}"), hub.log().head());
                }
                Step::Read(room) => drop(client.read(&reader, room)),
                Step::Attach(back) => client.attach(&hub, back),
                Step::Reply => client.outgoing.reply(b"reply\n"),
            }
        }
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        let (mut next, mut in_snapshot, mut is_sure) = (1, None, true);
        for line in client.lines() {
            if let Some(start) = line.strip_prefix("attached ") {
                let start: u64 = start.parse().unwrap();
                (next, in_snapshot, is_sure) = (start + 1, Some(0), true);
                seen.clear();
                continue;
            }
            match Line::parse(line.as_bytes()) {
                _ if line == "reply" => {}
                Some(Line::Message(message)) if message.snapshot => {
                    let above = in_snapshot.ok_or_else(|| TestCaseError::fail("no snapshot is under way"))?;
                    prop_assert!(message.seq > above && message.seq < next);
                    in_snapshot = Some(message.seq);
                    seen.insert(message.topic.unwrap().into_owned(), message.seq);
                }
                Some(Line::Message(message)) => {
                    prop_assert_eq!((message.seq, in_snapshot), (next, None), "after the snapshot, in order");
                    next += 1;
                    seen.insert(message.topic.unwrap().into_owned(), message.seq);
                }
                Some(Line::Snapshot(end)) => {
                    prop_assert_eq!(end.seq + 1, next);
                    prop_assert_eq!(end.count, seen.len() as u64, "each topic once");
                    is_sure = end.dropped == 0;
                    in_snapshot = None;
                }
                _ => return Err(TestCaseError::fail(line)),
            }
        }
        prop_assert_eq!(next, hub.log().head() + 1);
        if is_sure {
            prop_assert_eq!(&seen, &newest);
        }
        for (topic, seq) in &seen {
            prop_assert_eq!(newest.get(topic), Some(seq));
        }
    }
}
