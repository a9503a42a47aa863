//! Clients of one machine of a cluster: what it says of itself, where it is behind them, and when its log is another.

use serde_json::{Value, json};

use super::*;
use crate::hub::{ClusterNow, ClusterState, ClusterWhy, LinkState, LinkStatus};

const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// A listener on a machine of a cluster, with a log of this epoch.
fn in_cluster(epoch: &str, change: impl FnOnce(config::Listener) -> config::Listener) -> Rig {
    let hub = Hub::new(epoch.to_owned(), &History::default(), false);
    hub.set_cluster(ClusterNow {
        name: "c".into(),
        node: "host-a".into(),
        state: ClusterState::Detached,
        why: Some(ClusterWhy::Nats),
        error: Some("nobody is there".to_owned()),
        ..ClusterNow::default()
    });
    Rig::on(hub, History::default(), change)
}

impl Rig {
    /// Puts entries into the log that another machine has made.
    fn put(&self, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            let line = format!("{{\"type\":\"message\",\"seq\":{seq},\"time_us\":1,\"json\":{seq}}}\n");
            self.publisher.put(seq, 1, line.as_bytes()).unwrap();
        }
        self.publisher.flush();
    }

    /// Waits until a client waits for an entry.
    async fn awaited(&self) -> u64 {
        tokio::time::timeout(Duration::from_secs(10), self.hub.awaited()).await.expect("a client waits")
    }
}

fn say(client: &mut UnixStream, words: &Value) {
    client.write_all(format!("{words}\n").as_bytes()).unwrap();
}

fn attach(epoch: &str, seq: u64) -> Value {
    json!({"op": "attach", "id": 1, "since": {"epoch": epoch, "seq": seq}})
}

/// The lines in a text.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The `seq` of each message in a text.
fn seqs(text: &str) -> Vec<u64> {
    lines(text)
        .iter()
        .filter(|line| line["type"] == "message")
        .filter_map(|line| line["seq"].as_u64())
        .collect()
}

#[tokio::test(flavor = "local")]
async fn a_machine_that_does_not_know_the_log_says_so_and_no_place_in_it_is_anything() {
    let rig = in_cluster("", |config| config);
    let mut client = rig.connect();
    let hello = hears(&mut client, "\n").await;
    let hello = &lines(&hello)[0];
    assert_eq!((&hello["epoch"], &hello["node"]), (&json!(""), &json!("host-a")), "{hello}");
    let cluster =
        json!({"name": "c", "state": "detached", "why": "nats", "error": "nobody is there", "term": 0});
    assert_eq!(hello["cluster"], cluster);
    for since in [attach("e", 7), attach("", 0)] {
        say(&mut client, &since);
        let told = hears(&mut client, "\n").await;
        assert_eq!(lines(&told)[0]["code"], "detached", "{told}");
    }
    say(&mut client, &json!({"op": "attach", "id": 2}));
    hears(&mut client, "attached").await;
    say(&mut client, &json!({"op": "status", "id": 3}));
    let status = lines(&hears(&mut client, "\n").await)[0].clone();
    assert_eq!((&status["node"], &status["cluster"]["state"]), (&json!("host-a"), &json!("detached")));
    assert_eq!(status["cluster"]["counters"]["fenced"], json!({"lease": 0, "superseded": 0, "stream": 0}));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_comes_from_a_machine_that_is_further_waits_for_this_one_and_gets_nothing_twice() {
    let rig = in_cluster("e", |config| config);
    rig.put(1..=2);
    let mut client = rig.connect();
    say(&mut client, &attach("e", 5));
    say(&mut client, &json!({"op": "ping", "id": 2}));
    assert_eq!(rig.awaited().await, 5);
    tokio::time::advance(Duration::from_millis(50)).await; // it isn't a newcomer any more
    rig.put(3..=4);
    rig.hub.restate();
    let before = hears(&mut client, "\"link\",\"time_us\"").await;
    assert!(!before.contains("attached") && seqs(&before).is_empty(), "{before}");
    rig.put(5..=7);
    let told = hears(&mut client, "\"seq\":7").await;
    assert_eq!(seqs(&told), [6, 7]);
    let at = |what: &str| told.find(what).unwrap_or_else(|| panic!("{what} in {told}"));
    assert!(at("\"result\":\"attached\",\"seq\":5}") < at("\"seq\":6") && told.contains("pong"), "{told}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_waits_for_what_is_not_there_is_refused_and_begins_where_it_came_in() {
    let rig = in_cluster("e", |config| config);
    rig.put(1..=2);
    let mut client = rig.connect();
    say(&mut client, &attach("e", 5));
    assert_eq!(rig.awaited().await, 5);
    rig.put(3..=3);
    rig.hub.not_there(5);
    let told = hears(&mut client, "\"seq\":3").await;
    let refusal = lines(&told).into_iter().find(|line| line["type"] == "error").unwrap();
    assert_eq!(refusal["message"], "`since` names entry 5, but the newest is 3");
    assert_eq!(seqs(&told), [3]);
    // one that waits in vain, and goes
    say(&mut client, &attach("e", 9));
    assert_eq!(rig.awaited().await, 9);
    drop(client);
    for _ in 0..10 {
        tokio::time::advance(HALF_A_SECOND).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.fanout.count(), 0, "it is seen that it has gone");
}

#[tokio::test(flavor = "local")]
async fn without_a_cluster_who_is_ahead_is_refused_at_once() {
    let rig = Rig::start(Format::Envelope);
    let mut client = rig.connect();
    say(&mut client, &attach("e", 5));
    assert!(hears(&mut client, "\n").await.contains("hello"));
    let told = hears(&mut client, "\n").await;
    assert!(told.contains("but the newest is 0"), "{told}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn the_link_is_said_again_to_all_who_can_be_told_however_much_they_leave_unread() {
    let rig = in_cluster("e", |config| config);
    let waiting = |error: &str| LinkStatus {
        state: LinkState::Waiting,
        error: Some(error.to_owned()),
        ..LinkStatus::default()
    };
    let (mut client, mut stalled) = (rig.connect(), rig.connect());
    rig.clients(2).await;
    let (first, second) = (hears(&mut client, "\n").await, hears(&mut stalled, "\n").await);
    let number = |hello: &str| lines(hello)[0]["client"].as_u64().unwrap();
    assert_ne!(number(&first), number(&second));
    let pad = format!("{{\"pad\":\"{}\"}}\n", "x".repeat(100_000));
    (0..10).for_each(|_| rig.fanout.reply(number(&second), pad.as_bytes()));
    let unread = || rig.fanout.totals().unread_reply_bytes;
    tokio::time::advance(Duration::from_secs(1)).await; // the sums are kept for a while
    let had = unread();
    assert!(had > 100_000);
    for n in 0..1_000 {
        rig.publisher.follow_link(waiting(&format!("time {n}")));
        rig.hub.restate();
        tokio::task::yield_now().await;
    }
    let told = hears(&mut client, "time 999").await;
    assert!(lines(&told).iter().all(|line| line["type"] == "link" && line.get("seq").is_none()), "{told}");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(unread(), had, "nothing gathers for who doesn't read");
    stalled.set_nonblocking(true).unwrap();
    let mut heard = Vec::new();
    let reads = async {
        while !heard.ends_with(b"}\n")
            || !String::from_utf8_lossy(&heard[heard.len().saturating_sub(200)..]).contains("time 999")
        {
            let mut some = vec![0; 1 << 20];
            if let Ok(read) = stalled.read(&mut some) {
                heard.extend_from_slice(&some[..read]);
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), reads).await.expect("it is told once it has read");
    assert_eq!(String::from_utf8_lossy(&heard).matches("\"link\"").count(), 1);
    assert_eq!(rig.hub.log().head(), 0, "no entry was made up");

    let raw = in_cluster("e", |config| config::Listener { format: Format::Raw, ..config });
    let mut client = raw.connect();
    raw.clients(1).await;
    raw.hub.restate();
    raw.put(1..=1);
    assert_eq!(hears(&mut client, "\n").await, "1\n", "it has no line for the link");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn where_the_log_ends_its_clients_get_the_rest_and_others_come_to_the_next() {
    let rig = in_cluster("e", |config| config::Listener { max_clients: 1, ..config });
    // as many as this user may have, which is the daemon's own
    let most = 1 + Headcount::KEPT * if socket::own_uid() == 0 { 2 } else { 1 };
    let mut clients: Vec<_> = (0..most).map(|_| rig.connect()).collect();
    rig.clients(most).await;
    for (n, client) in clients.iter_mut().enumerate() {
        say(client, &json!({"op": "attach", "id": 1, "name": format!("bot {n}")}));
        hears(client, "\"new\":true").await;
    }
    let refused = rest(rig.connect_late().await);
    assert!(refused.contains("too_many_clients"), "{refused}");
    rig.put(1..=3);
    let next = rig.hub.successor("f".to_owned(), 41);
    let fanout = rig.fanout.successor(next.clone(), &History::default(), &MemoryBounds::default());
    tokio::task::spawn_local(fanout.clone().run());
    rig.handle.renew(next.clone(), fanout.clone());

    // those of the log before are still there, and keep nobody out
    let mut client = rig.connect();
    let hello = lines(&hears(&mut client, "\n").await)[0].clone();
    let of = |hello: &Value| (hello["epoch"].clone(), hello["seq"].clone(), hello["oldest"].clone());
    assert_eq!(of(&hello), (json!("f"), json!(40), json!(41)));
    assert_eq!(hello["client"], 1 + most, "no client has the number of another");
    let Rig { publisher, commands, .. } = rig;
    drop((publisher, commands));
    let (publisher, _commands) = next.publisher().unwrap();
    publisher.publish(1, Data::Text("1"), &MessageTopic::None);
    publisher.publish(1, Data::Text("2"), &MessageTopic::None);
    publisher.flush();
    say(&mut client, &json!({"op": "attach", "id": 1, "name": "bot 0"}));
    let told = hears(&mut client, "\"seq\":42").await;
    let [attached, gap, link, rest_of @ ..] = &lines(&told)[..] else { panic!("{told}") };
    assert_eq!((&attached["new"], &attached["seq"]), (&json!(true), &json!(40)), "{told}");
    assert_eq!(
        (&gap["why"], &gap["count"], &gap["to"]),
        (&json!("epoch"), &Value::Null, &json!(40)),
        "{told}"
    );
    assert!(link["type"] == "link" && link.get("seq").is_none() && rest_of.len() == 2, "{told}");

    rig.fanout.retire(tokio::time::Instant::now() + Duration::from_secs(5)).await;
    for client in clients {
        let told = rest(client);
        assert_eq!(seqs(&told), [1, 2, 3]);
        assert!(told.ends_with("{\"type\":\"bye\",\"why\":\"epoch\"}\n"), "{told}");
    }
    assert_eq!((rig.fanout.count(), fanout.count()), (0, 1));
}

impl Rig {
    /// One more client, which the listener has seen.
    async fn connect_late(&self) -> UnixStream {
        let refused = self.hub.counters().troubles().refused_clients;
        let client = self.connect();
        let seen = async {
            while self.hub.counters().troubles().refused_clients == refused {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), seen).await.expect("it is refused");
        client
    }
}
