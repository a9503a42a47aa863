//! Clients that linger. The clock stands still but for where a test lets time pass, so that what comes has not waited.

use serde_json::{Value, json};

use super::*;
use crate::{
    config::{Grant, SlowClient, TopicPattern},
    hub::{Data, LinkState, LinkStatus, MessageTopic},
};

const LINGER: Duration = Duration::from_millis(200);

/// A listener whose clients linger.
fn lingering(format: Format) -> Rig {
    Rig::of(History::default(), |config| config::Listener { format, linger: LINGER, ..config })
}

impl Rig {
    /// A message, of this topic, that is offered.
    async fn publish(&self, n: u64, topic: &str) {
        let text = json!({"n": n, "pad": "x".repeat(500)}).to_string();
        let topic = if topic.is_empty() { MessageTopic::None } else { MessageTopic::new(topic.to_owned()) };
        self.publisher.publish(1, Data::Text(&text), &topic);
        self.publisher.flush();
        self.publisher.ready().await;
    }

    /// A client that has said its first line, and its `attached`.
    async fn attach(&self, words: Value) -> Reader {
        let mut client = Reader::new(self.connect());
        client.say(&words);
        client.until("attached").await;
        client
    }
}

/// A client and what it has read.
struct Reader {
    stream: UnixStream,
    rest: Vec<u8>,
    /// What is read and not asked for yet, in short.
    lines: Vec<String>,
}

impl Reader {
    fn new(stream: UnixStream) -> Reader {
        stream.set_nonblocking(true).unwrap();
        Reader { stream, rest: Vec::new(), lines: Vec::new() }
    }

    fn say(&mut self, words: &Value) {
        self.stream.write_all(format!("{words}\n").as_bytes()).unwrap();
    }

    /// Reads what is there now. True: there was something.
    fn read(&mut self) -> bool {
        let mut bytes = vec![0; 1 << 20];
        match self.stream.read(&mut bytes) {
            Ok(length) => {
                self.rest.extend_from_slice(&bytes[..length]);
                length > 0
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                false
            }
        }
    }

    /// The lines that have come by now, however often all others are let go first.
    async fn lines(&mut self) -> Vec<String> {
        for _ in 0..20 {
            tokio::task::yield_now().await;
            self.read();
        }
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let read: Vec<u8> = self.rest.drain(..end).collect();
        self.lines.extend(String::from_utf8(read).unwrap().lines().map(short));
        std::mem::take(&mut self.lines)
    }

    /// The lines up to one that is this, in short.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..1_000 {
            lines.extend(self.lines().await);
            if let Some(at) = lines.iter().position(|line| line == last) {
                self.lines = lines.split_off(at + 1);
                return lines;
            }
        }
        panic!("no {last:?}, but {lines:?}");
    }
}

/// A message's number, or what else the line is.
fn short(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    let json = if line["n"].is_u64() { &line } else { &line["json"] };
    match line["type"].as_str() {
        Some("ok") => line["result"].as_str().unwrap().to_owned(),
        Some("message") | None => json["n"].to_string(),
        Some("link") => line["state"].as_str().unwrap().to_owned(),
        Some(other) => other.to_owned(),
    }
}

fn attach() -> Value {
    json!({"op": "attach", "id": 1})
}

fn up() -> LinkStatus {
    LinkStatus { state: LinkState::Up, ..LinkStatus::default() }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_comes_gathers_and_is_given_in_one_write() {
    let rig = lingering(Format::Envelope);
    let mut client = rig.attach(attach()).await;
    for round in 0..3 {
        for n in 0..5 {
            rig.publish(5 * round + n, "").await;
        }
        assert_eq!(client.lines().await, [""; 0], "it waits");
        tokio::time::sleep(LINGER).await;
        while !client.read() {
            tokio::task::yield_now().await;
        }
        let given = client.rest.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(given, 5, "one read finds it all");
        let numbers: Vec<_> = (0..5).map(|n| (5 * round + n).to_string()).collect();
        assert_eq!(client.lines().await, numbers);
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn links_and_answers_dont_wait_and_come_after_what_has_gathered() {
    let rig = lingering(Format::Envelope);
    let mut client = rig.attach(attach()).await;
    let begun = tokio::time::Instant::now();
    rig.publish(1, "").await;
    rig.publish(2, "").await;
    client.say(&json!({"op": "ping", "id": 1}));
    assert_eq!(client.until("pong").await, ["1", "2", "pong"]);
    rig.publish(3, "").await;
    rig.publisher.announce(up());
    assert_eq!(client.until("up").await, ["3", "up"]);
    rig.publish(4, "").await;
    client.say(&attach());
    assert_eq!(client.until("attached").await, ["4", "attached"], "before it begins anew");
    rig.publish(5, "").await;
    client.say(&json!({"op": "attach", "id": 2, "topics": []}));
    assert_eq!(client.until("attached").await, ["5", "attached"], "nor is it narrowed after the fact");
    assert_eq!(begun.elapsed(), Duration::ZERO, "nothing has waited");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_gathers_is_never_lost_by_it() {
    for (slow_client, format) in [
        (SlowClient::Gap, Format::Envelope),
        (SlowClient::Disconnect, Format::Envelope),
        (SlowClient::Block, Format::Envelope),
        (SlowClient::Disconnect, Format::Raw),
        (SlowClient::Gap, Format::Raw),
    ] {
        let history = History { max_bytes: 64 << 10, slow_client, ..History::default() };
        let rig = Rig::of(history, |config| config::Listener { format, linger: LINGER, ..config });
        rig.fanout.offer_raw(format == Format::Raw);
        let (words, asks) = (attach(), format == Format::Envelope);
        let mut clients = Vec::new();
        for topics in [None, Some("rare")] {
            let mut client = Reader::new(rig.connect());
            rig.clients(clients.len() + 1).await;
            if asks {
                let mut words = words.clone();
                topics.iter().for_each(|topic| words["topics"] = json!([topic]));
                client.say(&words);
                client.until("attached").await;
            }
            clients.push(client);
        }
        let mut got = [Vec::new(), Vec::new()];
        for n in 0..600_u64 {
            rig.publish(n, if n % 100 == 0 { "rare" } else { "common" }).await;
            if n % 50 == 0 {
                for (client, got) in clients.iter_mut().zip(&mut got) {
                    got.extend(client.lines().await);
                }
            }
        }
        tokio::time::sleep(LINGER).await;
        for (client, got) in clients.iter_mut().zip(&mut got) {
            got.extend(client.lines().await);
        }
        let of = |step: usize| (0..600).step_by(step).map(|n: u64| n.to_string()).collect::<Vec<_>>();
        assert!(rig.hub.log().oldest() > 400, "much has left the log");
        assert_eq!(got[0], of(1), "{slow_client:?} {format:?}");
        assert_eq!(got[1], of(if asks { 100 } else { 1 }), "{slow_client:?} {format:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_name_keeps_the_place_of_what_was_written_not_of_what_gathers() {
    for words in [attach(), json!({"op": "attach", "id": 1, "topics": ["a"]})] {
        let rig = lingering(Format::Envelope);
        let mut words = words;
        words["name"] = json!("bot");
        let client = rig.attach(words.clone()).await;
        rig.publish(1, "a").await;
        rig.publish(2, "a").await;
        drop(client);
        rig.clients(0).await;
        rig.publish(3, "a").await;
        let mut again = rig.attach(words.clone()).await;
        assert_eq!(again.until("3").await, ["1", "2", "3"]);
        // and to whom another connection leaves it
        rig.publish(4, "a").await;
        words["takeover"] = json!(true);
        let mut other = rig.attach(words).await;
        assert_eq!(again.until("bye").await, ["4", "bye"]);
        drop(again);
        rig.clients(1).await;
        rig.publish(5, "a").await;
        tokio::time::sleep(LINGER).await;
        let got = other.until("5").await;
        assert!(got == ["5"] || got.ends_with(&["4".to_owned(), "5".to_owned()]), "{got:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_reload_gives_what_has_gathered_and_its_linger_holds_for_those_who_are_there() {
    let rig = lingering(Format::Envelope);
    let mut some = rig.attach(json!({"op": "attach", "id": 1, "topics": ["a"]})).await;
    let mut all = rig.attach(attach()).await;
    let begun = tokio::time::Instant::now();
    let change = |linger| {
        let config = config::Listener { linger, ..rig.handle.config() };
        rig.handle.change(config, None).unwrap();
    };
    rig.publish(1, "a").await;
    rig.publish(2, "b").await;
    change(Duration::ZERO);
    assert_eq!(all.until("2").await, ["1", "2"]);
    assert_eq!(some.until("1").await, ["1"]);
    rig.publish(3, "a").await;
    rig.publish(4, "b").await;
    assert_eq!(all.until("4").await, ["3", "4"]);
    assert_eq!(some.until("3").await, ["3"]);
    change(2 * LINGER);
    rig.publish(5, "a").await;
    rig.publish(6, "b").await;
    assert_eq!((all.lines().await, some.lines().await), (vec![], vec![]));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    tokio::time::sleep(LINGER).await;
    assert_eq!((all.lines().await, some.lines().await), (vec![], vec![]));
    tokio::time::sleep(LINGER).await;
    assert_eq!(all.until("6").await, ["5", "6"]);
    assert_eq!(some.until("5").await, ["5"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_is_dismissed_or_stopped_has_what_has_gathered_before_its_bye() {
    let rig = lingering(Format::Envelope);
    let mut client = rig.attach(attach()).await;
    rig.publish(1, "").await;
    let Rig { fanout, handle, hub, publisher, .. } = rig;
    handle.end();
    assert_eq!(client.until("bye").await, ["1", "bye"]);
    drop((fanout, hub, publisher));

    let rig = lingering(Format::Envelope);
    let mut client = rig.attach(attach()).await;
    rig.publish(1, "").await;
    let fanout = rig.fanout.clone();
    let stop = async { fanout.finish(tokio::time::Instant::now() + Duration::from_secs(5)).await };
    let read = async {
        let lines = client.until("bye").await;
        drop(client);
        lines
    };
    assert_eq!(tokio::join!(read, stop).0, ["1", "bye"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_listener_that_narrows_and_lingers_gives_what_it_lets_through() {
    let topics = Some(vec![TopicPattern::parse("a.*").unwrap()]);
    let grant = Grant { topics, ..Grant::default() };
    let rig = Rig::of(History::default(), |config| config::Listener { grant, linger: LINGER, ..config });
    let mut client = rig.attach(attach()).await;
    for (n, topic) in [(1, "a.x"), (2, "b"), (3, "a.y"), (4, "")] {
        rig.publish(n, topic).await;
    }
    assert_eq!(client.lines().await, [""; 0]);
    tokio::time::sleep(LINGER).await;
    assert_eq!(client.until("3").await, ["1", "3"]);
    client.say(&json!({"op": "status", "id": 1}));
    loop {
        tokio::task::yield_now().await;
        client.read();
        if client.rest.ends_with(b"\n") {
            break;
        }
    }
    let status: Value = serde_json::from_slice(&client.rest).unwrap();
    let ledger = &status["clients"][0]["ledger"];
    assert_eq!((&ledger["passed"], &ledger["ahead"]), (&json!(2), &json!(0)), "{status}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_gathers_is_given_before_another_log_makes_a_hole_of_it() {
    let rig = lingering(Format::Envelope);
    let mut client = rig.attach(attach()).await;
    rig.publish(1, "").await;
    rig.publish(2, "").await;
    assert_eq!(client.lines().await, [""; 0]);
    let seq = rig.hub.log().head() + 10;
    rig.publisher.skip_to(seq).await.unwrap();
    assert_eq!(client.lines().await, ["1", "2"]);
    rig.publisher
        .put(seq, 1, b"{\"type\":\"message\",\"seq\":12,\"time_us\":1,\"json\":{\"n\":12}}\n")
        .unwrap();
    rig.publisher.flush();
    tokio::time::sleep(LINGER).await;
    assert_eq!(client.until("12").await, ["gap", "closed", "12"]);
}
