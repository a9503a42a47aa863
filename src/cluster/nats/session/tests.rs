use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::{
    cluster::machine::{Body, Header},
    config::{Cluster, History, NatsUrl},
};

/// A session, and what JetStream would have to answer.
struct Play {
    now: Instant,
    session: Session,
    sent: Vec<OutboundMessage>,
}

impl Play {
    fn new(change: impl FnOnce(&mut Cluster)) -> Play {
        Play::with("2.9.10", 1 << 20, false, change)
    }

    fn with(version: &str, max_payload: usize, is_known: bool, change: impl FnOnce(&mut Cluster)) -> Play {
        let mut cluster = Cluster::new("x", "a", NatsUrl::parse("nats://127.0.0.1").unwrap());
        change(&mut cluster);
        let settings = Rc::new(Settings::new(&cluster, &History::default()));
        let server = Server { url: "nats://127.0.0.1:4222", version, max_payload };
        let now = Instant::now();
        let session = Session::new(now, settings, "_INBOX_x.a.5ec", 3, &server, is_known);
        let mut play = Play { now, session, sent: Vec::new() };
        play.collect();
        play
    }

    /// One whose stream is there.
    fn up() -> Play {
        let mut play = Play::new(|_| {});
        play.answer("STREAM.INFO", info(0, 0));
        assert_eq!(play.told(), ["NatsUp"]);
        play
    }

    fn collect(&mut self) {
        for out in std::mem::take(&mut self.session.outs) {
            if let Out::Publish(message) | Out::Say(message) = out {
                self.sent.push(message);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.session.timeout(self.now);
        self.collect();
    }

    /// Until something is due.
    fn wait(&mut self) {
        let next = self.session.next_timeout().expect("something is due");
        self.now = self.now.max(next);
        self.pass(Duration::ZERO);
    }

    /// The oldest request to this part of the API, which is taken out.
    fn request(&mut self, part: &str) -> OutboundMessage {
        let at = self.sent.iter().position(|message| message.subject.contains(part));
        let at = at.unwrap_or_else(|| panic!("no {part} in {:?}", self.subjects()));
        self.sent.remove(at)
    }

    fn subjects(&self) -> Vec<&str> {
        self.sent.iter().map(|message| message.subject.as_str()).collect()
    }

    /// Answers the oldest request to this part of the API.
    fn answer(&mut self, part: &str, answer: Value) {
        let reply = self.request(part).reply.expect("an address for the answer");
        self.take(&reply, None, answer.to_string().as_bytes());
    }

    fn nobody(&mut self, part: &str) {
        let reply = self.request(part).reply.expect("an address for the answer");
        self.take(&reply, Some(503), b"");
    }

    fn take(&mut self, subject: &str, status: Option<u16>, payload: &[u8]) {
        self.session.take(self.now, &message(subject, None, status, payload));
        self.collect();
    }

    fn read(&mut self, message: Received) {
        self.session.take_read(self.now, message);
        self.collect();
    }

    /// What has arrived since, in short.
    fn told(&mut self) -> Vec<String> {
        let arrivals = std::mem::take(&mut self.session.arrivals);
        let short = |arrival: Arrival| match arrival {
            Arrival::Event(Event::Answer(answer)) => {
                let places: Vec<u64> = answer.messages.iter().map(|stored| stored.place).collect();
                format!("Answer {}/{} {places:?}", answer.covered, answer.last)
            }
            Arrival::Event(Event::Read(_, stored)) => format!("Read {}", stored.place),
            Arrival::Event(event) => format!("{event:?}"),
            Arrival::Trouble(trouble) => format!("! {trouble}"),
            Arrival::Message(incoming) => format!("< {}", incoming.subject),
        };
        arrivals.into_iter().map(short).collect()
    }
}

fn message(subject: &str, reply: Option<&str>, status: Option<u16>, payload: &[u8]) -> Received {
    received(HeaderMap::new(), subject, reply, status, payload)
}

fn received(
    headers: HeaderMap,
    subject: &str,
    reply: Option<&str>,
    status: Option<u16>,
    payload: &[u8],
) -> Received {
    let message = Message {
        subject: subject.into(),
        reply: reply.map(Into::into),
        payload: payload.to_vec().into(),
        headers: Some(headers),
        status: status.map(|status| StatusCode::from_u16(status).unwrap()),
        description: None,
        length: 0,
    };
    Received::new(&message, true)
}

fn info(first: u64, last: u64) -> Value {
    json!({
        "config": { "name": "WSFAN_x", "subjects": ["wsfan.x.log"], "retention": "limits", "discard": "old",
            "storage": "file", "num_replicas": 1, "max_bytes": (64 << 20) * 2 + (16 << 20), "max_age": 0, "max_msgs": -1 },
        "state": { "messages": last, "bytes": 0, "first_seq": first, "last_seq": last, "num_deleted": 0 },
    })
}

fn error(err_code: u32, description: &str) -> Value {
    json!({ "error": { "code": 400, "err_code": err_code, "description": description } })
}

fn append(first: u64) -> Append {
    let headers = [
        ("Wsfan-Epoch", "e".to_owned()),
        ("Wsfan-Term", "1".to_owned()),
        ("Wsfan-Node", "a".to_owned()),
        ("Wsfan-First", first.to_string()),
        ("Wsfan-Count", "1".to_owned()),
        ("Wsfan-Nonce", "ff".to_owned()),
    ];
    let value = |name: &'static str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| &**value);
    Append { header: Header::read(value).unwrap(), body: Body::new(b"{}\n".to_vec()) }
}

const NOT_FOUND: u32 = api::STREAM_NOT_FOUND;

#[test]
fn a_stream_that_is_there_is_used() {
    let mut play = Play::new(|_| {});
    assert_eq!(play.subjects(), ["$JS.API.STREAM.INFO.WSFAN_x"]);
    assert!(play.told().is_empty() && !play.session.is_up());
    play.answer("STREAM.INFO", info(1, 7));
    assert_eq!(play.told(), ["NatsUp"]);
    assert!(play.session.is_up() && play.session.is_known());
    assert_eq!(play.session.next_timeout(), None);
}

#[test]
fn a_candidate_makes_the_stream_and_another_node_waits_for_it() {
    let mut play = Play::new(|_| {});
    play.answer("STREAM.INFO", error(NOT_FOUND, "stream not found"));
    assert_eq!(play.told(), ["StreamGone"]);
    let made: Value = serde_json::from_slice(&play.request("STREAM.CREATE.WSFAN_x").payload).unwrap();
    assert_eq!((&made["subjects"], &made["discard"]), (&json!(["wsfan.x.log"]), &json!("old")));

    let mut play = Play::new(|_| {});
    play.answer("STREAM.INFO", error(NOT_FOUND, "stream not found"));
    play.answer("STREAM.CREATE", info(0, 0));
    play.answer("STREAM.INFO", info(0, 0));
    assert_eq!(play.told(), ["StreamGone", "NatsUp"]);

    let mut play = Play::new(|cluster| cluster.candidate = false);
    play.answer("STREAM.INFO", error(NOT_FOUND, "stream not found"));
    assert_eq!(
        play.told(),
        [
            "StreamGone",
            "! the stream WSFAN_x isn't there, and a node with candidate = false doesn't make it: start a candidate, \
             or run wsfan cluster init with a candidate's login"
        ]
    );
    play.wait();
    play.answer("STREAM.INFO", error(NOT_FOUND, "stream not found"));
    assert!(play.told().is_empty() && play.sent.is_empty(), "it is said once");
    play.wait();
    play.answer("STREAM.INFO", info(0, 0));
    assert_eq!(play.told(), ["NatsUp"]);
}

#[test]
fn what_keeps_the_log_away_is_told_once_and_tried_again() {
    for (answer, start) in [
        (error(10_039, "jetstream not enabled for account"), "! JetStream is off"),
        (
            error(10_008, "jetstream system temporarily unavailable"),
            "! JetStream says of the stream WSFAN_x: jetstream",
        ),
        (json!("nonsense"), "! JetStream says of the stream WSFAN_x: the answer can't be read"),
        (
            {
                let mut other = info(0, 0);
                other["config"]["retention"] = "workqueue".into();
                other
            },
            "! the stream WSFAN_x can't be the log: its retention is workqueue instead of limits; remove it",
        ),
    ] {
        let mut play = Play::new(|_| {});
        play.answer("STREAM.INFO", answer.clone());
        let told = play.told();
        assert!(told.len() == 1 && told[0].starts_with(start), "{told:?}");
        play.wait();
        play.answer("STREAM.INFO", answer);
        assert!(play.told().is_empty(), "{start}");
        play.wait();
        play.answer("STREAM.INFO", info(0, 0));
        assert_eq!(play.told(), ["NatsUp"]);
    }
    let mut play = Play::new(|_| {});
    play.nobody("STREAM.INFO");
    assert!(play.told()[0].starts_with("! JetStream is off"));
    let mut play = Play::new(|_| {});
    play.wait();
    assert!(play.told()[0].starts_with("! JetStream doesn't answer for the stream WSFAN_x"));
}

#[test]
fn a_stream_that_differs_is_used_and_pointed_out() {
    let mut other = info(0, 0);
    other["config"]["max_age"] = json!(60_000_000_000_i64);
    let mut play = Play::new(|_| {});
    play.answer("STREAM.INFO", other);
    let told = play.told();
    assert!(told[0].contains("max_age is 1m instead of unlimited"), "{told:?}");
    assert_eq!(told[1..], ["NatsUp"]);
}

#[test]
fn a_server_that_is_too_old_or_takes_too_little_is_left() {
    for (version, max_payload, start) in [
        ("2.8.4", 1 << 20, "! the NATS server nats://127.0.0.1:4222 is version 2.8.4"),
        (
            "2.9.0",
            100_000,
            "! the NATS server nats://127.0.0.1:4222 takes messages of 100000 bytes at most, and a cluster needs 270336",
        ),
    ] {
        let mut play = Play::with(version, max_payload, false, |_| {});
        assert!(play.session.is_of_no_use() && play.sent.is_empty());
        assert!(play.told()[0].starts_with(start));
    }
    for (version, expected) in [
        ("2.9.0", true),
        ("2.15.1", true),
        ("3.0", true),
        ("v2.10.0-beta.1", true),
        ("2.8.9", false),
        ("", false),
    ] {
        assert_eq!(is_new_enough(version), expected, "{version}");
    }
}

#[test]
fn appends_go_out_in_order_and_each_answer_finds_its_own() {
    let mut play = Play::up();
    for id in 1..=4 {
        play.session.append(AppendId::of(id), id + 6, &append(id));
    }
    play.collect();
    let sent = std::mem::take(&mut play.sent);
    let header = |message: &OutboundMessage, name: &'static str| {
        message.headers.as_ref().and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned())
    };
    let expected: Vec<_> = sent.iter().filter_map(|message| header(message, EXPECTED)).collect();
    assert_eq!(expected, ["7", "8", "9", "10"]);
    assert_eq!((&*sent[0].subject, &sent[0].payload[..]), ("wsfan.x.log", &b"{}\n"[..]));
    assert_eq!(header(&sent[2], "Wsfan-First").as_deref(), Some("3"));

    let addresses: Vec<_> = sent.iter().map(|message| message.reply.clone().unwrap()).collect();
    play.take(&addresses[1], None, br#"{"stream":"WSFAN_x","seq":9}"#);
    play.take(&addresses[0], None, br#"{"stream":"WSFAN_x","seq":8}"#);
    play.take(&addresses[2], None, error(10_071, "wrong last sequence: 12").to_string().as_bytes());
    play.take(&addresses[3], None, b"+OK");
    let id = |number| AppendId::of(number);
    assert_eq!(
        play.told(),
        [Event::Acked(id(2), 9), Event::Acked(id(1), 8), Event::Refused(id(3)), Event::Unclear(id(4))]
            .map(|event| format!("{event:?}"))
    );
    play.take("_INBOX_x.a.5ec.js.a.none", None, b"{}");
    play.take("_INBOX_x.a.other.js.a.1", None, br#"{"seq":1}"#);
    assert!(play.told().is_empty());
}

#[test]
fn an_append_that_nobody_hears_has_the_stream_looked_for_and_one_that_is_gone_is_made_anew() {
    let mut play = Play::up();
    play.session.append(AppendId::of(1), 0, &append(1));
    play.session.append(AppendId::of(2), 1, &append(2));
    play.collect();
    play.nobody("wsfan.x.log");
    play.nobody("wsfan.x.log");
    assert_eq!(play.told(), ["Unclear(AppendId(1))", "Unclear(AppendId(2))"]);
    assert_eq!(play.subjects(), ["$JS.API.STREAM.INFO.WSFAN_x"], "once");
    play.answer("STREAM.INFO", error(NOT_FOUND, "stream not found"));
    assert_eq!(play.told(), ["NatsDown"], "a stream that was there is looked for twice");
    play.wait();
    play.answer("STREAM.INFO", error(NOT_FOUND, "stream not found"));
    assert_eq!(play.told(), ["StreamGone"]);
    play.answer("STREAM.CREATE", info(0, 0));
    play.answer("STREAM.INFO", info(0, 0));
    assert_eq!(play.told(), ["NatsUp"]);

    // with too few servers, it is there all the same
    play.session.append(AppendId::of(3), 0, &append(1));
    play.collect();
    play.nobody("wsfan.x.log");
    play.wait();
    assert_eq!(play.told(), ["Unclear(AppendId(3))"]);
    assert!(play.session.is_up());
}

#[test]
fn a_stream_that_was_there_before_this_connection_is_looked_for_twice_too() {
    let mut play = Play::with("2.9.10", 1 << 20, true, |_| {});
    play.answer("STREAM.INFO", error(NOT_FOUND, "stream not found"));
    assert!(play.told().is_empty() && play.sent.is_empty());
    play.wait();
    play.answer("STREAM.INFO", info(3, 9));
    assert_eq!(play.told(), ["NatsUp"]);
}

#[test]
fn a_question_is_answered_by_what_the_stream_holds() {
    let mut play = Play::up();
    play.session.ask(play.now, AskId::of(5), 8);
    play.collect();
    play.answer("STREAM.INFO", info(2, 9));
    assert_eq!(play.subjects(), ["$JS.API.STREAM.MSG.GET.WSFAN_x"; 2]);
    play.answer("MSG.GET", json!({ "message": { "subject": "wsfan.x.log", "seq": 8, "data": "e30K" } }));
    play.answer("MSG.GET", json!({ "message": { "subject": "wsfan.x.log", "seq": 9, "data": "e30K" } }));
    assert_eq!(play.told(), ["Answer 9/9 [8, 9]"]);
    assert_eq!(play.session.next_timeout(), None);

    play.session.ask(play.now, AskId::of(6), 8);
    play.collect();
    play.answer("STREAM.INFO", info(2, 9));
    play.answer("MSG.GET", error(api::NO_MESSAGE, "no message found"));
    assert_eq!(play.told(), ["NoAnswer(AskId(6))"]);
    play.sent.clear();

    play.session.ask(play.now, AskId::of(7), 8);
    play.collect();
    let late = play.request("STREAM.INFO").reply.unwrap();
    play.wait();
    assert_eq!(play.told(), ["NoAnswer(AskId(7))"]);
    play.take(&late, None, info(2, 9).to_string().as_bytes());
    assert!(play.told().is_empty() && play.sent.is_empty(), "too late");

    play.session.ask(play.now, AskId::of(8), 1);
    play.session.ask(play.now, AskId::of(9), 1);
    play.collect();
    play.nobody("STREAM.INFO");
    assert!(play.told().is_empty(), "that was asked before");
    play.nobody("STREAM.INFO");
    assert_eq!(play.told(), ["NoAnswer(AskId(9))"]);
}

#[test]
fn nothing_is_asked_of_a_stream_that_cannot_be_had() {
    let mut play = Play::new(|_| {});
    play.session.ask(play.now, AskId::of(5), 8);
    play.session.read(play.now, ReadId::of(6), 8);
    play.collect();
    assert_eq!(play.told(), ["NoAnswer(AskId(5))"]);
    assert_eq!(play.subjects(), ["$JS.API.STREAM.INFO.WSFAN_x"]);
}

#[test]
fn what_is_read_comes_in_order_and_a_consumer_that_is_lost_has_the_machine_begin_anew() {
    let mut play = Play::up();
    play.session.read(play.now, ReadId::of(6), 8);
    play.collect();
    let request = play.request("$JS.API.CONSUMER.CREATE.WSFAN_x.a_5ec_3_1");
    let body: Value = serde_json::from_slice(&request.payload).unwrap();
    let config = &body["config"];
    assert_eq!(
        (&config["opt_start_seq"], &config["deliver_subject"]),
        (&json!(9), &json!("_INBOX_x.a.5ec.r.3.1"))
    );
    let delivered = |place: u64, number: u64| {
        let reply = format!("$JS.ACK.WSFAN_x.a_5ec_3_1.1.{place}.{number}.0.0");
        message("wsfan.x.log", Some(&reply), None, b"{}\n")
    };
    play.read(delivered(9, 1));
    play.take(&request.reply.unwrap(), None, br#"{"name":"a_5ec_3_1"}"#);
    play.read(delivered(10, 2));
    assert_eq!(play.told(), ["Read 9", "Read 10"]);
    play.read(message("_INBOX_x.a.5ec.r.3.1", Some("$JS.FC.WSFAN_x.a_5ec_3_1.x"), Some(100), b""));
    assert_eq!(play.subjects(), ["$JS.FC.WSFAN_x.a_5ec_3_1.x"]);
    play.sent.clear();

    play.read(delivered(12, 4));
    assert_eq!(play.told(), ["NatsDown"]);
    assert_eq!(play.request("CONSUMER.DELETE").subject.as_str(), "$JS.API.CONSUMER.DELETE.WSFAN_x.a_5ec_3_1");
    play.read(delivered(13, 5));
    assert!(play.told().is_empty());
    play.wait();
    play.answer("STREAM.INFO", info(2, 13));
    assert_eq!(play.told(), ["NatsUp"]);

    play.session.read(play.now, ReadId::of(7), 10);
    play.collect();
    play.answer("CONSUMER.CREATE.WSFAN_x.a_5ec_3_2", json!({}));
    play.wait();
    assert!(play.session.is_up(), "what has come may not have been looked at yet");
    play.wait();
    assert_eq!(play.told(), ["NatsDown"]);
}

#[test]
fn a_stream_that_gives_no_consumer_is_not_there_until_it_gives_one() {
    let mut play = Play::up();
    play.session.read(play.now, ReadId::of(6), 8);
    play.collect();
    (0..3).for_each(|_| play.wait());
    play.sent.clear();
    assert_eq!(play.told(), ["NatsDown"]);
    // its leader still tells of it, though the servers are too few
    for number in 4..7 {
        play.wait();
        play.answer("STREAM.INFO", info(2, 13));
        // by another name each time: JetStream may have given the one before to a server that is dead
        let subject = play.request("CONSUMER.CREATE").subject;
        assert_eq!(&*subject, format!("$JS.API.CONSUMER.CREATE.WSFAN_x.a_5ec_3_{number}"));
        play.pass(Duration::from_secs(1));
        assert!(play.request("CONSUMER.DELETE").subject.ends_with(&format!("a_5ec_3_{number}")));
    }
    assert_eq!(play.told(), [format!("! {}", Trouble::unanswered("WSFAN_x"))], "once");
    play.wait();
    play.answer("STREAM.INFO", info(2, 13));
    play.answer("CONSUMER.CREATE", json!({}));
    assert_eq!(play.told(), ["NatsUp"]);
    assert!(play.subjects().contains(&"$JS.API.CONSUMER.DELETE.WSFAN_x.a_5ec_3_7"), "{:?}", play.subjects());

    play.session.read(play.now, ReadId::of(7), 8);
    play.collect();
    play.answer(
        "CONSUMER.CREATE.WSFAN_x.a_5ec_3_8",
        error(10_008, "JetStream system temporarily unavailable"),
    );
    assert_eq!(play.told(), ["NatsDown"]);
    play.wait();
    play.answer("STREAM.INFO", info(2, 13));
    play.answer("CONSUMER.CREATE", error(10_059, "stream not found"));
    assert_eq!(play.told().len(), 1, "the error's words");
    assert!(!play.session.is_up());
}

#[test]
fn a_consumer_that_is_not_made_in_time_is_asked_for_by_another_name_and_nobody_hears_of_it() {
    let mut play = Play::up();
    play.session.read(play.now, ReadId::of(6), 8);
    play.collect();
    let late = play.request("CONSUMER.CREATE.WSFAN_x.a_5ec_3_1").reply.unwrap();
    play.wait();
    assert!(play.told().is_empty());
    play.request("CONSUMER.DELETE.WSFAN_x.a_5ec_3_1");
    let request = play.request("CONSUMER.CREATE.WSFAN_x.a_5ec_3_2");
    let body: Value = serde_json::from_slice(&request.payload).unwrap();
    assert_eq!(body["config"]["opt_start_seq"], json!(9));
    play.take(&late, None, error(10_012, "consumer replacement").to_string().as_bytes());
    play.wait();
    play.request("CONSUMER.CREATE.WSFAN_x.a_5ec_3_3");
    let reply = "$JS.ACK.WSFAN_x.a_5ec_3_3.1.9.1.0.0";
    play.read(message("wsfan.x.log", Some(reply), None, b"{}\n"));
    play.wait();
    assert_eq!(play.told(), ["Read 9"], "the answer alone got lost");

    let mut play = Play::up();
    play.session.read(play.now, ReadId::of(6), 8);
    (0..3).for_each(|_| play.wait());
    assert_eq!(play.told(), ["NatsDown"]);
}

#[test]
fn reading_ends_when_it_is_told_to() {
    let mut play = Play::up();
    play.session.read(play.now, ReadId::of(6), 0);
    play.session.stop_reading();
    play.collect();
    assert!(play.subjects().contains(&"$JS.API.CONSUMER.DELETE.WSFAN_x.a_5ec_3_1"));
    assert_eq!(play.session.next_timeout(), None);
}

#[test]
fn rights_that_lack_are_told_by_their_subject_and_end_what_waits_for_them() {
    let denied = |subject: &str| format!("Permissions Violation for Publish to \"{subject}\"");
    let mut play = Play::new(|_| {});
    play.answer("STREAM.INFO", error(NOT_FOUND, "stream not found"));
    play.told();
    play.session.complaint(play.now, &denied("$JS.API.STREAM.CREATE.WSFAN_x"));
    assert_eq!(
        play.told(),
        [
            "! NATS denies this node the right to publish to $JS.API.STREAM.CREATE.WSFAN_x: wsfan cluster init prints the \
             permissions of each kind of node"
        ]
    );
    play.sent.clear();
    play.wait();
    assert_eq!(play.subjects(), ["$JS.API.STREAM.INFO.WSFAN_x"], "it is tried again");

    let mut play = Play::up();
    play.session.ask(play.now, AskId::of(5), 1);
    play.collect();
    play.answer("STREAM.INFO", info(1, 1));
    play.session.complaint(play.now, &denied("$JS.API.STREAM.MSG.GET.WSFAN_x"));
    assert_eq!(play.told().last().unwrap(), "NoAnswer(AskId(5))");
    play.session.complaint(play.now, &denied("$JS.API.STREAM.MSG.GET.WSFAN_x"));
    play.session.complaint(play.now, "Stale Connection");
    assert_eq!(play.told(), ["! the NATS server says: Stale Connection"]);
    play.session.read(play.now, ReadId::of(6), 0);
    play.collect();
    play.session.complaint(play.now, &denied("$JS.API.CONSUMER.CREATE.WSFAN_x.a_5ec_3_1"));
    assert_eq!(play.told().last().unwrap(), "NatsDown");
    let rest = play.session.next_timeout().unwrap() - play.now;
    assert_eq!(rest, LONG_REST, "it doesn't go up and down all the time");
    play.session.complaint(play.now, &denied("$JS.API.CONSUMER.CREATE.WSFAN_x.a_5ec_3_2"));
    assert!(play.told().is_empty(), "another address is the same right");

    let mut play = Play::up();
    play.session.append(AppendId::of(7), 0, &append(1));
    play.session.complaint(play.now, &denied("wsfan.x.log"));
    let told = play.told();
    assert!(told[0].starts_with("! NATS denies this node the right to publish to wsfan.x.log"), "{told:?}");
    assert_eq!(told[1..], ["Denied"]);
    play.session.complaint(play.now, &denied("wsfan.x.log"));
    assert_eq!(play.told(), ["Denied"], "people are told once");
}

/// A leader with such a lease has 10.5 s, of which an election may take 9.
#[test]
fn a_stream_without_a_leader_is_looked_at_again_soon_however_long_the_lease() {
    let mut play = Play::new(|cluster| cluster.lease = Duration::from_secs(15));
    let began = play.now;
    for look in 1..=8 {
        play.request("STREAM.INFO"); // which nobody answers
        while play.sent.is_empty() {
            play.wait();
        }
        assert!(
            play.now - began <= Duration::from_millis(1_250) * look,
            "look {look}: {:?}",
            play.now - began
        );
    }
    assert_eq!(play.told(), [format!("! {}", Trouble::unanswered("WSFAN_x"))]);
    play.answer("STREAM.INFO", info(0, 0));
    assert_eq!(play.told(), ["NatsUp"]);
}

/// An overloaded JetStream, or a far one.
#[test]
fn an_answer_that_comes_after_the_stream_was_looked_at_again_counts_and_the_others_dont_any_more() {
    for lease in [3, 15, 60].map(Duration::from_secs) {
        let mut play = Play::new(|cluster| cluster.lease = lease);
        let within = play.session.settings.setup_within();
        let asked = play.now;
        let slow = play.request("STREAM.INFO").reply.unwrap();
        while play.session.next_timeout().is_some_and(|next| next < asked + within) {
            play.wait();
        }
        let others: Vec<_> = play.sent.drain(..).map(|look| look.reply.unwrap()).collect();
        assert!(!others.is_empty(), "it was looked at again");
        assert_eq!(play.told(), [format!("! {}", Trouble::unanswered("WSFAN_x"))]);
        play.take(&slow, None, info(0, 0).to_string().as_bytes());
        assert_eq!(play.told(), ["NatsUp"], "{lease:?}");
        assert_eq!(play.session.next_timeout(), None);
        for other in others {
            play.take(&other, None, info(0, 0).to_string().as_bytes());
        }
        assert!(play.told().is_empty() && play.sent.is_empty());
    }

    // one that says no ends them all too, and none is answered for ever
    let mut play = Play::new(|cluster| cluster.lease = Duration::from_secs(15));
    (0..2).for_each(|_| play.wait());
    play.told();
    play.answer("STREAM.INFO", error(NOT_FOUND, "stream not found"));
    assert_eq!(play.told(), ["StreamGone"]);
    play.sent.retain(|message| !message.subject.contains("STREAM.CREATE"));
    for _ in 0..2 {
        play.answer("STREAM.INFO", info(0, 0));
    }
    assert!(play.told().is_empty() && play.sent.is_empty());

    let mut play = Play::new(|cluster| cluster.lease = Duration::from_secs(15));
    let late = play.request("STREAM.INFO").reply.unwrap();
    let within = play.session.settings.setup_within();
    let began = play.now;
    while play.now < began + within {
        play.wait();
    }
    play.told();
    play.take(&late, None, info(0, 0).to_string().as_bytes());
    assert!(play.told().is_empty());
}

#[test]
fn a_connection_that_ends_takes_all_with_it() {
    let mut play = Play::up();
    play.session.ask(play.now, AskId::of(5), 1);
    play.session.read(play.now, ReadId::of(6), 0);
    play.session.end();
    assert_eq!(play.told(), ["NoAnswer(AskId(5))", "NatsDown"]);
    assert!(play.session.outs.is_empty());
    play.session.end();
    assert!(play.told().is_empty());
}

#[test]
fn what_other_nodes_say_is_passed_on() {
    let mut play = Play::up();
    let mut headers = HeaderMap::new();
    headers.insert("x", "y");
    let reply = "_INBOX_x.b.1";
    play.session.hear(received(headers, "wsfan.x.here", Some(reply), None, b"hi"));
    let Some(Arrival::Message(incoming)) = play.session.arrivals.pop_front() else { panic!() };
    assert_eq!(
        incoming,
        Incoming {
            subject: "wsfan.x.here".into(),
            reply: Some(reply.into()),
            status: None,
            payload: b"hi".to_vec()
        }
    );
}

#[test]
fn nobody_has_this_node_answer_where_no_node_hears_answers() {
    let mut play = Play::up();
    for reply in
        ["wsfan.x.log", "wsfan.x.t7.send", "$JS.API.STREAM.DELETE.WSFAN_x", "_INBOX_xy.b.1", "_INBOX_x", "r"]
    {
        play.session.hear(message("wsfan.x.who", Some(reply), None, b""));
        let Some(Arrival::Message(incoming)) = play.session.arrivals.pop_front() else { panic!() };
        assert_eq!(incoming.reply, None, "{reply}");
    }
}
