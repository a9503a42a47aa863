//! Last values through the real daemon: who comes late has them before what follows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::{Client, Connection, Daemon, Server, assert_balanced, up};

const RETAIN: &str = "[topics]\npointer = \"/t\"\nretain = true\n";

fn say(upstream: &mut Connection, topic: &str, n: u64) {
    upstream.text(&json!({"t": topic, "n": n}).to_string());
}

/// Attaches, and returns the lines of the snapshot, with its end.
fn snapshot(client: &mut Client, attach: Value) -> Vec<Value> {
    let mut attach = attach;
    attach["op"] = json!("attach");
    attach["snapshot"] = json!(true);
    let answer = client.request(attach);
    assert_eq!(answer["result"], "attached", "{answer}");
    let mut lines = Vec::new();
    loop {
        let line = client.line();
        let is_end = line["type"] == "snapshot";
        assert!(is_end || line["snapshot"] == true, "{line}");
        lines.push(line);
        if is_end {
            return lines;
        }
    }
}

/// The topics and numbers of messages.
fn said(lines: &[Value]) -> Vec<(&str, u64)> {
    let messages = lines.iter().filter(|line| line["type"] == "message");
    messages.map(|line| (line["json"]["t"].as_str().unwrap(), line["json"]["n"].as_u64().unwrap())).collect()
}

#[test]
fn a_late_joiner_has_the_newest_of_each_topic_that_it_may_have_and_then_what_follows() {
    let (_server, daemon, mut upstream) = up(RETAIN);
    let mut early = daemon.client();
    for (n, topic) in ["a.x", "b.x", "a.x", "a.y"].into_iter().enumerate() {
        say(&mut upstream, topic, n as u64);
        early.message();
    }
    let (mut all, mut some) = (daemon.client(), daemon.client());
    let lines = snapshot(&mut all, json!({}));
    assert_eq!(said(&lines), [("b.x", 1), ("a.x", 2), ("a.y", 3)]);
    let head = early.status()["log"]["seq"].clone();
    assert_eq!(lines[3], json!({"type": "snapshot", "seq": head, "count": 3, "dropped": 0}));
    assert_eq!(said(&snapshot(&mut some, json!({"topics": ["*.x"]}))), [("b.x", 1), ("a.x", 2)]);
    say(&mut upstream, "b.x", 4);
    for client in [&mut early, &mut all, &mut some] {
        let line = client.message();
        assert_eq!((&line["json"]["n"], &line["snapshot"]), (&json!(4), &Value::Null), "{line}");
    }
    let status = some.status();
    assert_balanced(&status);
    let own = status["clients"].as_array().unwrap().iter().find(|row| row["you"] == true).unwrap();
    assert_eq!(own["ledger"]["delivered"], 1, "last values are no entries: {status}");
    assert_eq!(status["retained"]["values"], 3, "{status}");
    assert_eq!(status["retained"]["dropped"], 0, "{status}");
}

#[test]
fn what_is_not_retained_says_so_and_a_reload_frees_what_was() {
    let (server, daemon, mut upstream) = up("[topics]\npointer = \"/t\"\n");
    let mut client = daemon.client();
    let refused = client.request(json!({"op": "attach", "snapshot": true}));
    assert_eq!(refused["code"], "unsupported", "{refused}");
    assert_eq!(client.status()["retained"], Value::Null);
    let reload = |client: &mut Client, config: &str| {
        daemon.rewrite(&(server.config() + config));
        let answer = client.request(json!({"op": "reload"}));
        let keys = json!(["topics.retain, retain_key, retain_max and retain_bytes"]);
        assert_eq!((&answer["result"], &answer["live"]), (&json!("applied"), &keys), "{answer}");
    };
    reload(&mut client, &format!("{RETAIN}retain_key = \"/n\"\n"));
    for n in 0..5 {
        say(&mut upstream, "a", n % 4);
        client.message();
    }
    assert_eq!(said(&snapshot(&mut client, json!({}))), [("a", 1), ("a", 2), ("a", 3), ("a", 0)]);
    reload(&mut client, &format!("{RETAIN}retain_key = \"/n\"\nretain_max = 2\n"));
    let lines = snapshot(&mut client, json!({}));
    assert_eq!((said(&lines), &lines[2]["dropped"]), (vec![("a", 3), ("a", 0)], &json!(2)));
    reload(&mut client, "[topics]\npointer = \"/t\"\n");
    assert_eq!(client.status()["retained"], Value::Null);
}

#[test]
fn under_a_flood_nothing_is_missing_and_nothing_comes_twice_at_the_seam() {
    const TOPICS: u64 = 50;
    const MESSAGES: u64 = 6_000;
    let (_server, daemon, mut upstream) = up(RETAIN);
    let mut first = daemon.client();
    for n in 0..TOPICS {
        say(&mut upstream, &format!("t.{n}"), n);
        first.message();
    }
    let flood = std::thread::spawn(move || {
        for n in TOPICS..MESSAGES {
            say(&mut upstream, &format!("t.{}", n * n % TOPICS), n);
        }
        upstream
    });
    let wants = |narrowed: bool, topic: &str| !narrowed || topic.len() == 3;
    for round in 0..6 {
        let narrowed = round % 2 == 1;
        let mut client = daemon.client();
        let few: Vec<_> = (0..10).map(|n| format!("t.{n}")).collect();
        let attach = if narrowed { json!({"topics": few}) } else { json!({}) };
        let lines = snapshot(&mut client, attach);
        let mut values: BTreeMap<String, u64> = BTreeMap::new();
        for (topic, n) in said(&lines) {
            assert!(wants(narrowed, topic), "{topic}");
            assert!(values.insert(topic.to_owned(), n).is_none(), "{topic} twice");
        }
        assert_eq!(values.len() as u64, if narrowed { 10 } else { TOPICS });
        let end = lines.last().unwrap()["seq"].as_u64().unwrap();
        let newest = said(&lines).iter().map(|(_, n)| *n).max().unwrap();
        let (mut next, mut last) = (end + 1, newest);
        while last + TOPICS < MESSAGES && next < end + 500 {
            let line = client.message();
            let (seq, n) = (line["seq"].as_u64().unwrap(), line["json"]["n"].as_u64().unwrap());
            assert!(wants(narrowed, line["json"]["t"].as_str().unwrap()));
            assert!(if narrowed { seq >= next } else { seq == next }, "{seq} for {next}");
            for wanted in last + 1..n {
                assert!(!wants(narrowed, &format!("t.{}", wanted * wanted % TOPICS)), "{wanted} is missing");
            }
            (next, last) = (seq + 1, n);
        }
    }
    let mut upstream = flood.join().unwrap();
    say(&mut upstream, "end", MESSAGES);
    first.until(|line| line["json"]["t"] == "end");
    assert_balanced(&first.status());
}

#[test]
fn what_a_step_was_answered_is_there_for_who_comes_late_until_the_next_connection_is() {
    let script = "[[script.step]]\nexpect = { \"/type\" = \"hello\" }\nretain = true\n";
    let server = Server::bind();
    let daemon = Daemon::start(&(server.config() + script));
    let mut upstream = server.accept();
    upstream.text(r#"{"type":"hello","session":1}"#);
    let mut client = daemon.client();
    client.until_up();
    let sessions = |client: &mut Client| -> Vec<Value> {
        let lines = snapshot(client, json!({}));
        lines[..lines.len() - 1].iter().map(|line| line["json"]["session"].clone()).collect()
    };
    assert_eq!(sessions(&mut client), [1]);
    upstream.text(r#"{"type":"hello","session":2}"#);
    client.message();
    assert_eq!(sessions(&mut client), [1], "the step is done");
    drop(upstream);
    client.link("waiting");
    let mut upstream = server.accept();
    upstream.text(r#"{"type":"hello","session":3}"#);
    client.link("up");
    assert_eq!(sessions(&mut daemon.client()), [3]);
}

#[test]
fn what_a_step_that_is_a_request_was_answered_is_there_as_well() {
    let config = "[requests]\nid = \"/id\"\n[[script.step]]\nsend = '{\"id\":${next_id},\"op\":\"hello\"}'\n\
                  expect = { \"/session\" = { exists = true } }\nretain = true\n";
    let server = Server::bind();
    let daemon = Daemon::start(&(server.config() + config));
    let mut upstream = server.accept();
    assert_eq!(upstream.message().to_text().unwrap(), r#"{"id":1,"op":"hello"}"#);
    upstream.text(r#"{"id":1,"session":7}"#);
    let mut client = daemon.client();
    client.until_up();
    let lines = snapshot(&mut client, json!({}));
    assert_eq!((lines.len(), &lines[0]["json"]["session"]), (2, &json!(7)), "{lines:?}");
}

#[test]
fn who_may_receive_only_since_a_reload_connects_anew_and_gets_no_last_values_that_are_not_for_it() {
    let server = Server::bind();
    let listener = |lines: &str| {
        let listeners = format!(
            "[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.strict\"\nprivileged = false\n{lines}"
        );
        server.config() + RETAIN + &listeners
    };
    let daemon = Daemon::start(&listener("rights = [\"send\"]\n"));
    let mut upstream = server.accept();
    let mut all = daemon.client();
    all.until_up();
    for (n, topic) in ["a.x", "b.x"].into_iter().enumerate() {
        say(&mut upstream, topic, n as u64);
        all.message();
    }
    let strict = daemon.path().join("wsfan.sock.strict");
    let mut early = Client::connect(&strict);
    daemon.rewrite(&listener("rights = [\"receive\"]\ntopics = [\"a.*\"]\n"));
    let reloaded = all.request(json!({"op": "reload"}));
    assert_eq!(reloaded["result"], "applied", "{reloaded}");
    let refused = early.request(json!({"op": "attach", "snapshot": true}));
    assert_eq!(refused["code"], "forbidden", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("connect anew"), "{refused}");
    assert_eq!(early.request(json!({"op": "ping"}))["result"], "pong", "nothing comes before");
    assert_eq!(said(&snapshot(&mut Client::connect(&strict), json!({}))), [("a.x", 0)]);
}
