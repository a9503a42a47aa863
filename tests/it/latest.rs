//! `slow_client = "latest"` through the real daemon: who lags gets the newest of each topic, and hears of the rest.

use std::{collections::BTreeMap, os::unix::net::UnixStream, time::Instant};

use serde_json::{Value, json};

use crate::common::{self, Client, DEADLINE, Daemon, Server, assert_balanced};

const CONFIG: &str = "[topics]\npointer = \"/stream\"\n[history]\nlatest_after = \"0s\"\n\
                      [[listener]]\npath = \"SOCKET\"\n";

fn up(listener: &str) -> (Server, Daemon, common::Connection) {
    common::up(&(CONFIG.to_owned() + listener))
}

/// Has the server say so many messages of 10 kB, of ten topics in turn, and waits until the daemon has them.
fn say(daemon: &Daemon, upstream: &mut common::Connection, numbers: std::ops::Range<u64>) {
    let pad = "x".repeat(10_000);
    for n in numbers.clone() {
        upstream.text(&json!({"stream": format!("t{}", n % 10), "n": n, "pad": pad}).to_string());
    }
    let (mut client, end) = (daemon.client(), Instant::now() + DEADLINE);
    while client.status()["traffic"]["received"] != numbers.end {
        assert!(Instant::now() < end);
    }
}

/// What a client is given up to the last message: its numbers, and how many entries it was told to have lost, by why.
/// Each entry comes or is declared, in order.
fn read(client: &mut Client, last: u64) -> (Vec<u64>, BTreeMap<String, u64>) {
    let (mut numbers, mut lost) = (Vec::new(), BTreeMap::new());
    let mut next = None;
    loop {
        let line = client.line();
        let (from, to) = match (line["type"].as_str().unwrap(), line["seq"].as_u64()) {
            ("gap", None) => {
                let [from, to, count] = ["from", "to", "count"].map(|key| line[key].as_u64().unwrap());
                assert_eq!(count, to + 1 - from);
                *lost.entry(line["why"].as_str().unwrap().to_owned()).or_default() += count;
                (from, to)
            }
            (_, Some(seq)) => (seq, seq),
            _ => continue,
        };
        assert!(next.is_none_or(|next| next == from), "{line} where {next:?} was due");
        next = Some(to + 1);
        if let Some(n) = line["json"]["n"].as_u64() {
            numbers.push(n);
            if n == last {
                return (numbers, lost);
            }
        }
    }
}

#[test]
fn one_that_lags_gets_the_newest_of_each_topic_and_the_others_everything() {
    let (_server, daemon, mut upstream) =
        up("slow_client = \"latest\"\n[[listener]]\npath = \"SOCKET.all\"\n");
    let mut stuck = daemon.client();
    let plain = UnixStream::connect(format!("{}.all", daemon.socket().display())).unwrap();
    let mut plain = Client::on(plain);
    plain.status();
    say(&daemon, &mut upstream, 0..1_000);
    let (numbers, lost) = read(&mut stuck, 999);
    let newest: Vec<u64> = (990..1_000).collect();
    assert_eq!(numbers[numbers.len() - 10..], newest, "the newest of each");
    assert!(numbers.len() < 100, "some lay in its socket already, and no others came: {}", numbers.len());
    assert_eq!(lost.keys().collect::<Vec<_>>(), ["conflated"]);
    assert_eq!(numbers.len() as u64 + lost["conflated"], 1_000);
    let (all, none) = read(&mut plain, 999);
    assert!(all == (0..1_000).collect::<Vec<_>>() && none.is_empty());
    let status = stuck.status();
    assert_balanced(&status);
    let gaps = &status["counters"]["gaps"];
    assert_eq!((&gaps["entries"], &gaps["slow_client"]), (&json!(lost["conflated"]), &json!(0)));
    assert!(gaps["conflated"].as_u64() > Some(0), "{gaps}");
    // it has caught up, and gets everything
    say(&daemon, &mut upstream, 1_000..1_005);
    assert_eq!(read(&mut stuck, 1_004), ((1_000..1_005).collect(), BTreeMap::new()));
    // what it asks for by name it gets whole
    let since = json!({"op": "attach", "since": {"epoch": stuck.hello["epoch"], "seq": 500}});
    assert_eq!(stuck.request(since)["seq"], 500);
    let (again, none) = read(&mut stuck, 1_004);
    assert!(again.len() > 490 && none.is_empty(), "{}", again.len());
}

#[test]
fn one_that_narrows_hears_of_its_own_topics_alone() {
    let (_server, daemon, mut upstream) = up("slow_client = \"latest\"\n");
    let mut stuck = daemon.client();
    assert_eq!(stuck.request(json!({"op": "attach", "topics": ["t3", "t7"]}))["result"], "attached");
    say(&daemon, &mut upstream, 0..1_000);
    let (mut numbers, mut lost) = (Vec::new(), 0);
    while numbers.last() != Some(&997) {
        let line = stuck.line();
        match line["type"].as_str().unwrap() {
            "gap" => {
                assert_eq!(line["why"], "conflated");
                lost += line["count"].as_u64().unwrap();
            }
            _ => numbers.push(line["json"]["n"].as_u64().unwrap()),
        }
    }
    assert_eq!(numbers[numbers.len() - 2..], [993, 997]);
    assert_eq!(numbers.len() as u64 + lost, 200, "of these topics there were so many");
    let status = stuck.status();
    assert_balanced(&status);
    let own = status["clients"].as_array().unwrap().iter().find(|row| row["you"] == true).unwrap();
    let of = |key: &str| own["ledger"][key].as_u64().unwrap();
    assert_eq!((of("lost"), of("passed"), of("ahead")), (lost, 800, 0));
}

#[test]
fn a_reload_changes_what_happens_to_those_who_are_connected() {
    let (server, daemon, mut upstream) = up("");
    let mut stuck = daemon.client();
    say(&daemon, &mut upstream, 0..200);
    let reload = |listener: &str, key: &str| {
        daemon.rewrite(&(server.config() + CONFIG + listener));
        let answer = daemon.client().request(json!({"op": "reload"}));
        let keys: Vec<Value> = vec![json!(format!("{key} of {}", daemon.socket().display()))];
        assert_eq!((&answer["result"], &answer["live"]), (&json!("applied"), &json!(keys)));
    };
    reload("slow_client = \"latest\"\n", "listener.slow_client");
    let (numbers, lost) = read(&mut stuck, 199);
    assert!(numbers.len() < 100 && lost["conflated"] == 200 - numbers.len() as u64, "{}", numbers.len());
    say(&daemon, &mut upstream, 200..400);
    reload("slow_client = \"gap\"\n", "listener.slow_client");
    let (numbers, none) = read(&mut stuck, 399);
    assert!(numbers == (200..400).collect::<Vec<_>>() && none.is_empty());
    assert_balanced(&stuck.status());
}
