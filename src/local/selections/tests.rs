use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::{
    config::History,
    hub::{Cursor, Data, Hub, Ledger, LinkStatus, MessageTopic, Publisher, Reader},
    local::dialogue::outgoing::{Next, Outgoing, Seek},
};

fn patterns(texts: &[&str]) -> Vec<TopicPattern> {
    texts.iter().map(|text| TopicPattern::parse(text).unwrap()).collect()
}

fn narrowing(texts: &[&str]) -> Narrowing {
    Narrowing::default().asking(Some(&patterns(texts)), &[])
}

#[test]
fn what_means_the_same_is_one_selection() {
    let mut selections = Selections::default();
    let first = selections.join(narrowing(&["a", "b.*"]), 1, 0);
    assert_eq!(selections.join(narrowing(&["b.*", "a", "a"]), 2, 0), first);
    assert_ne!(selections.join(narrowing(&["a"]), 3, 0), first);
    let within = narrowing(&["a"]).within(Some(&patterns(&["b.*"])));
    assert_ne!(selections.join(within, 4, 0), selections.join(narrowing(&["a"]), 5, 0));
    assert!(Narrowing::default().is_all() && !narrowing(&[]).is_all());
}

#[test]
fn a_client_is_within_what_its_listener_lets_through() {
    let both = narrowing(&["a.*", "b"]).within(Some(&patterns(&["a.**", "c"])));
    let listener = Narrowing::default().within(Some(&patterns(&["a.**", "c"])));
    for (topic, of_both, of_listener) in
        [("a.x", true, true), ("a.x.y", false, true), ("b", false, false), ("c", false, true)]
    {
        let view = TopicView::new(topic);
        assert_eq!((both.wants(&view), listener.wants(&view)), (of_both, of_listener), "{topic}");
    }
}

#[test]
fn what_a_client_is_subscribed_to_it_gets_by_that_very_name() {
    let held = |topics: &[&str]| topics.iter().map(|topic| Topic::from(*topic)).collect::<Vec<_>>();
    let mut narrowing = Narrowing::default()
        .asking(Some(&patterns(&["b"])), &held(&["a.*"]))
        .within(Some(&patterns(&["a.**", "b", "c"])));
    let wants = |narrowing: &Narrowing, topic: &str| narrowing.wants(&TopicView::new(topic));
    let both = |narrowing: &Narrowing| ["a.*", "a.x", "b", "c", "d"].map(|topic| wants(narrowing, topic));
    assert_eq!(both(&narrowing), [true, false, true, false, false], "a name is no pattern");
    narrowing.set_held(&held(&["b", "c", "d"]), true);
    assert_eq!(both(&narrowing), [true, false, true, true, false], "d is beyond the listener");
    narrowing.set_held(&held(&["a.*", "b", "c"]), false);
    assert_eq!(both(&narrowing), [false, false, true, false, false], "b it asks for, too");
    let mut all = Narrowing::default();
    all.set_held(&held(&["a"]), true);
    assert!(all.is_all() && !all.depends_on_held());
}

/// What the log says, plainly.
#[derive(Debug, Clone)]
struct Entry {
    /// None for one that isn't a message.
    topic: Option<MessageTopic>,
    line: Vec<u8>,
    raw: Vec<u8>,
}

/// What a client wants; everything where it says nothing.
type Wants = Option<Vec<&'static str>>;

/// A client, and what it was to get.
struct Client {
    outgoing: Outgoing,
    format: Format,
    selection: Option<usize>,
    lagging: bool,
    /// What its socket still takes.
    room: usize,
    got: Vec<u8>,
    /// For each of its attaches, what it wanted, from which entry on.
    wanted: Vec<Vec<(u64, Wants)>>,
}

const TOPICS: [&str; 4] = ["a", "a.b", "b", "c.d.e"];
const PATTERNS: [&[&str]; 6] = [&["a"], &["a.*", "b"], &["**"], &[], &["**.e", "a**"], &["*"]];

/// A fan-out without sockets.
struct Stage {
    hub: Hub,
    publisher: Publisher,
    reader: Reader,
    selections: Selections,
    clients: BTreeMap<u64, Client>,
    behind: BTreeSet<u64>,
    entries: BTreeMap<u64, Entry>,
}

impl Stage {
    fn new() -> Stage {
        let history = History { max_bytes: 64 << 10, ..History::default() };
        let hub = Hub::new("e".to_owned(), &history, true);
        let (publisher, _) = hub.publisher().unwrap();
        let reader = hub.reader();
        reader.want_raw(true);
        let clients =
            (0..5).map(|id| (id, Client::new(if id % 2 == 0 { Format::Envelope } else { Format::Raw })));
        let clients = clients.collect();
        Stage {
            hub,
            publisher,
            reader,
            selections: Selections::default(),
            clients,
            behind: BTreeSet::new(),
            entries: BTreeMap::new(),
        }
    }

    /// Notes the newest entry as the log has it.
    fn note(&mut self, topic: Option<MessageTopic>) {
        let log = self.hub.log();
        let seq = log.head();
        let line = |format| log.line(seq, format).unwrap().to_vec();
        let entry = Entry { topic, line: line(Format::Envelope), raw: line(Format::Raw) };
        drop(log);
        self.entries.insert(seq, entry);
    }

    fn publish(&mut self, topic: MessageTopic, length: usize) {
        self.publisher.publish(5, Data::Text(&"x".repeat(length)), &topic);
        self.note(Some(topic));
    }

    /// As the fan-out does it.
    fn offer(&mut self) {
        let head = self.hub.log().head();
        self.selections.scan(&self.hub.log());
        let touched: Vec<u64> = self.selections.touched().filter(|id| !self.behind.contains(id)).collect();
        let whole = self.clients.iter().filter(|(_, client)| client.selection.is_none()).map(|(id, _)| *id);
        let ids: Vec<u64> = whole.chain(touched).chain(self.behind.iter().copied()).collect();
        ids.into_iter().for_each(|id| self.pump(id));
        self.selections.offered(head);
        self.reader.offered(head, u64::MAX);
    }

    fn read(&mut self, id: u64, room: usize) {
        let client = self.clients.get_mut(&id).unwrap();
        client.room += room;
        client.lagging = false;
        self.pump(id);
    }

    fn pump(&mut self, id: u64) {
        let client = self.clients.get_mut(&id).unwrap();
        let Stage { reader, selections, .. } = self;
        let Client { outgoing, format, selection, lagging, room, got, .. } = client;
        if !*lagging {
            reader.with_log(|log| {
                loop {
                    let (length, written) = match outgoing.next(log) {
                        Next::Wait | Next::Close => break,
                        Next::Snapshot => unreachable!("nobody asks for one"),
                        Next::Lost => {
                            let words = |lost: crate::hub::Lost| format!("lost {} {}\n", lost.from, lost.to);
                            outgoing.declare(log, |lost| words(lost).into_bytes());
                            continue;
                        }
                        Next::Pick { from, .. } => {
                            let picked = selections.pick(log, selection.unwrap(), *format, from);
                            let (length, written) = Client::take(got, room, picked.bytes());
                            outgoing.wrote_picked(log, picked, written);
                            if written < length {
                                *lagging = true;
                                break;
                            }
                            continue;
                        }
                        Next::Write(bytes) => Client::take(got, room, bytes),
                        Next::Lines(lines) => Client::take(got, room, &lines),
                    };
                    outgoing.wrote(log, written);
                    if written < length {
                        *lagging = true;
                        break;
                    }
                }
            });
        }
        if client.selection.is_some() {
            if !client.lagging && client.outgoing.follow(&self.hub.log()) {
                self.behind.remove(&id);
            } else {
                client.outgoing.fall_behind();
                self.behind.insert(id);
            }
        }
    }

    /// Has a client want something else, from its place on or from another one.
    fn narrow(&mut self, id: u64, wants: Wants, back: Option<u64>) {
        let head = self.hub.log().head();
        let client = self.clients.get_mut(&id).unwrap();
        let joined = wants.as_ref().map(|wants| self.selections.join(narrowing(wants), id, head));
        client.outgoing.fall_behind();
        if let Some(left) = std::mem::replace(&mut client.selection, joined) {
            self.selections.leave(left, id);
        }
        self.behind.remove(&id);
        if joined.is_some() {
            self.behind.insert(id);
        }
        let upto = joined.map(|_| self.selections.upto());
        match back {
            None => {
                let wanted = client.wanted.last_mut().unwrap();
                match client.outgoing.place() {
                    Some(place) => wanted.push((place, wants)),
                    None => *wanted = vec![(0, wants)],
                }
                client.outgoing.narrow(upto);
            }
            Some(back) => {
                let after = head.saturating_sub(back);
                let start = after.max(self.hub.log().oldest() - 1);
                let lines = format!("at {after} {start}\n").into_bytes();
                client.outgoing.seek(&lines, Seek { after, start, head, snapshot: false, narrow: upto });
                client.wanted.push(vec![(0, wants)]);
            }
        }
        self.pump(id);
    }

    /// A client that has read all there is has got what it wanted, line by line, and its ledger says so.
    fn check(&self, id: u64) -> Result<(), TestCaseError> {
        let (client, head) = (&self.clients[&id], self.hub.log().head());
        let text = String::from_utf8(client.got.clone()).unwrap();
        prop_assert!(text.is_empty() || text.ends_with('\n'), "within a line: {}", text);
        let (mut attaches, mut wanted) = (client.wanted.iter(), &Vec::new());
        wanted = attaches.next().unwrap_or(wanted);
        let (mut next, mut base, mut lost, mut delivered, mut passed) = (1, 0, 0, 0, 0);
        let line_of = |entry: &Entry| match client.format {
            Format::Envelope => entry.line.clone(),
            Format::Raw => entry.raw.clone(),
        };
        for line in text.split_inclusive('\n') {
            let words: Vec<&str> = line.split_whitespace().collect();
            let numbers: Vec<u64> = words[1..].iter().map_while(|word| word.parse().ok()).collect();
            match words[0] {
                "at" => {
                    wanted = attaches.next().unwrap();
                    (base, next, lost) = (numbers[0], numbers[1] + 1, numbers[1] - numbers[0]);
                    (delivered, passed) = (0, 0);
                }
                "lost" => {
                    for seq in next..numbers[0] {
                        let is_wanted =
                            self.is_wanted(wanted, seq) && !line_of(&self.entries[&seq]).is_empty();
                        prop_assert!(!is_wanted, "{} is wanted, and not said to be lost", seq);
                    }
                    let counted = |seq: &u64| !self.is_wanted(wanted, *seq);
                    passed += (next..numbers[0]).filter(counted).count() as u64;
                    delivered += (next..numbers[0]).filter(|seq| !counted(seq)).count() as u64;
                    lost += numbers[1] + 1 - numbers[0];
                    next = numbers[1] + 1;
                }
                _ => loop {
                    let seq = next;
                    let Some(entry) = self.entries.get(&seq) else {
                        return Err(TestCaseError::fail(format!(
                            "{line} is not wanted, or was there before"
                        )));
                    };
                    next += 1;
                    if !self.is_wanted(wanted, seq) {
                        passed += 1;
                        continue;
                    }
                    delivered += 1;
                    let expected = line_of(entry);
                    if !expected.is_empty() {
                        prop_assert!(expected == line.as_bytes(), "{} instead of {}", line, seq);
                        break;
                    }
                },
            }
        }
        for seq in next..=head {
            match self.is_wanted(wanted, seq) {
                false => passed += 1,
                true => {
                    prop_assert!(
                        line_of(&self.entries[&seq]).is_empty(),
                        "{} is wanted, and has not come",
                        seq
                    );
                    delivered += 1;
                }
            }
        }
        let expected = Ledger { entries: head - base, delivered, lost, passed, ahead: 0 };
        prop_assert_eq!(client.outgoing.ledger(&self.hub.log()), expected);
        Ok(())
    }

    fn is_wanted(&self, wanted: &[(u64, Wants)], seq: u64) -> bool {
        let wants = wanted.iter().rev().find(|(from, _)| *from <= seq).and_then(|(_, wants)| wants.as_ref());
        match (&self.entries.get(&seq).and_then(|entry| entry.topic.as_ref()), wants) {
            (_, None) | (None | Some(MessageTopic::Unfit), _) => true,
            (Some(MessageTopic::None), Some(_)) => false,
            (Some(MessageTopic::Of(name)), Some(wants)) => {
                patterns(wants).iter().any(|pattern| pattern.matches(&TopicView::new(name)))
            }
        }
    }
}

impl Client {
    fn new(format: Format) -> Client {
        Client {
            outgoing: Outgoing::new(Some(Cursor::new(format, 0)), Rc::default()),
            format,
            selection: None,
            lagging: false,
            room: 0,
            got: Vec::new(),
            wanted: vec![vec![(0, None)]],
        }
    }

    fn take(got: &mut Vec<u8>, room: &mut usize, bytes: &[u8]) -> (usize, usize) {
        let taken = bytes.len().min(*room);
        got.extend(&bytes[..taken]);
        *room -= taken;
        (bytes.len(), taken)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish { topic: usize, length: usize },
    Announce,
    SkipBy(u64),
    Offer,
    Read { client: u64, room: usize },
    Narrow { client: u64, patterns: Option<usize>, back: Option<u64> },
}

fn step() -> impl Strategy<Value = Step> {
    let patterns = prop::option::weighted(0.8, 0..PATTERNS.len());
    prop_oneof![
        12 => (0..TOPICS.len() + 2, 1usize..3000).prop_map(|(topic, length)| Step::Publish { topic, length }),
        1 => Just(Step::Announce),
        1 => (1u64..4).prop_map(Step::SkipBy),
        6 => Just(Step::Offer),
        8 => (0u64..5, 1usize..20_000).prop_map(|(client, room)| Step::Read { client, room }),
        3 => (0u64..5, patterns, prop::option::of(0u64..30))
            .prop_map(|(client, patterns, back)| Step::Narrow { client, patterns, back }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever is published, offered, read and narrowed: each client gets the lines that it wants, whole and in order,
    /// hears what is lost, and its ledger says what it passed.
    #[test]
    fn each_client_gets_what_it_wants(steps in prop::collection::vec(step(), 1..150)) {
        let mut stage = Stage::new();
        for step in steps {
            match step {
                Step::Publish { topic, length } => stage.publish(
                    match TOPICS.get(topic) {
                        Some(name) => MessageTopic::new((*name).to_owned()),
                        None if topic == TOPICS.len() => MessageTopic::None,
                        None => MessageTopic::Unfit,
                    },
                    length,
                ),
                Step::Announce => {
                    stage.publisher.announce(LinkStatus::default());
                    stage.note(None);
                }
                Step::SkipBy(count) => {
                    stage.offer();
                    let seq = stage.hub.log().next() + count;
                    stage.publisher.skip_to(seq).now_or_never().unwrap().unwrap();
                    let line = format!(
                        "{{\"type\":\"message\",\"seq\":{seq},\"time_us\":1,\"topic\":\"a.b\",\"json\":1}}\n"
                    );
                    stage.publisher.put(seq, 1, line.as_bytes()).unwrap();
                    stage.note(Some(MessageTopic::new("a.b".to_owned())));
                }
                Step::Offer => stage.offer(),
                Step::Read { client, room } => stage.read(client, room),
                Step::Narrow { client, patterns, back } => {
                    stage.narrow(client, patterns.map(|patterns| PATTERNS[patterns].to_vec()), back);
                }
            }
            for client in stage.clients.values() {
                let ledger = client.outgoing.ledger(&stage.hub.log());
                prop_assert!(ledger.balances(), "{:?}", ledger);
            }
        }
        for id in 0..5 {
            stage.read(id, usize::MAX / 2);
        }
        stage.offer();
        for id in 0..5 {
            stage.check(id)?;
        }
    }
}

#[test]
fn one_that_is_behind_has_no_more_looked_at_for_a_write_than_it_may() {
    let mut stage = Stage::new();
    for n in 0..100 {
        stage.publish(MessageTopic::new(format!("t.{n}")), 1);
    }
    let patterns: Vec<_> =
        (0..10).map(|n| crate::config::TopicPattern::parse(&format!("u{n}.*")).unwrap()).collect();
    let narrowing = Narrowing::default().asking(Some(&patterns), &[]);
    let (cost, log) = (narrowing.cost(), stage.hub.log());
    assert!(cost > patterns.len());
    let at = stage.selections.join(narrowing, 7, log.head());
    let mut from = 1;
    while from <= log.head() {
        let picked = stage.selections.pick(&log, at, Format::Envelope, from);
        assert!(picked.to > from, "it goes on");
        assert!((picked.to - from) as usize <= MAX_LOOKS.div_ceil(cost), "{from} to {}", picked.to);
        from = picked.to;
    }
    // what was looked at is known
    let picked = stage.selections.pick(&log, at, Format::Envelope, 1);
    assert_eq!(picked.to, 101);
}

#[test]
fn a_topic_that_cannot_be_written_may_be_what_a_client_wants_and_passes_no_listener() {
    let pattern = [crate::config::TopicPattern::parse("a.*").unwrap()];
    let asks = Narrowing::default().asking(Some(&pattern), &[]);
    assert!(asks.wants_on(Some("")) && !asks.clone().within(Some(&pattern)).wants_on(Some("")));
}

#[test]
fn names_without_wildcards_are_found_and_not_gone_through() {
    let patterns = |texts: &[String]| {
        texts.iter().map(|text| crate::config::TopicPattern::parse(text).unwrap()).collect::<Vec<_>>()
    };
    let names: Vec<_> = (0..500).map(|n| format!("t.{n}")).collect();
    let narrowing = Narrowing::default().asking(Some(&patterns(&names)), &[]);
    assert!(narrowing.cost() < 10);
    let mixed =
        Narrowing::default().asking(Some(&patterns(&[&names[..], &["u.*".to_owned()]].concat())), &[]);
    for (topic, is_wanted) in [("t.0", true), ("t.499", true), ("t.500", false), ("t", false), ("u.x", true)]
    {
        assert_eq!(mixed.wants_on(Some(topic)), is_wanted, "{topic}");
        assert_eq!(narrowing.wants_on(Some(topic)), is_wanted && topic != "u.x", "{topic}");
    }
}
