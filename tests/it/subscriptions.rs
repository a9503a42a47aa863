//! Topics that clients subscribe to, through the real daemon: what they get of them, and what they may have.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::common::{self, Client, assert_balanced, up};

/// No answer of the server's is expected, and what nobody wants is given up at once.
const TOPICS: &str = "[topics]\npointer = \"/s\"\nsubscribe = '{\"sub\":[${topics}]}'\n\
                      unsubscribe = '{\"unsub\":[${topics}]}'\nlinger = \"0s\"\n";

fn subscribe(client: &mut Client, topics: &[&str]) -> Value {
    client.request(json!({"op": "subscribe", "topics": topics}))
}

fn unsubscribe(client: &mut Client, topics: &[&str]) {
    let answer = client.request(json!({"op": "unsubscribe", "topics": topics}));
    assert_eq!(answer["result"], "unsubscribed", "{answer}");
}

fn narrow(client: &mut Client, topics: &[&str]) {
    let answer = client.request(json!({"op": "attach", "topics": topics}));
    assert_eq!(answer["result"], "attached", "{answer}");
}

/// Says a message of each topic, and one that all get, and returns the topics of what the client gets of them.
fn gets(upstream: &mut common::Connection, client: &mut Client, topics: &[&str]) -> Vec<String> {
    // the last is of no topic that could be named, and so for all whose listener lets all topics through
    gets_before(upstream, client, topics, &"x".repeat(257))
}

/// The same, where the last one is of a topic that the client gets.
fn gets_before(
    upstream: &mut common::Connection,
    client: &mut Client,
    topics: &[&str],
    last: &str,
) -> Vec<String> {
    static ROUND: AtomicU64 = AtomicU64::new(0);
    let round = ROUND.fetch_add(1, Ordering::Relaxed);
    for topic in topics {
        upstream.text(&json!({"s": topic, "round": round}).to_string());
    }
    upstream.text(&json!({"s": last, "round": round, "last": true}).to_string());
    let mut got = Vec::new();
    loop {
        let message = client.until(|line| line["json"]["round"] == round);
        if message["json"]["last"] == true {
            return got;
        }
        got.push(message["topic"].as_str().unwrap_or_default().to_owned());
    }
}

fn heard(upstream: &mut common::Connection) -> Value {
    serde_json::from_str(&upstream.message().into_text().unwrap()).unwrap()
}

#[test]
fn who_narrows_gets_what_it_subscribes_to_beside_what_it_asks_for() {
    let (_server, daemon, mut upstream) = up(TOPICS);
    let (mut one, mut other) = (daemon.client(), daemon.client());
    let all = ["a", "b", "b.*", "b.x", "c"];
    narrow(&mut one, &["a", "c"]);
    assert_eq!(subscribe(&mut one, &["b.*", "c"])["result"], "subscribed");
    assert_eq!(heard(&mut upstream), json!({"sub": ["b.*", "c"]}));
    assert_eq!(gets(&mut upstream, &mut one, &all), ["a", "b.*", "c"], "a name is no pattern");
    // who subscribed before it narrows is subscribed still
    assert_eq!(subscribe(&mut other, &["b"])["result"], "subscribed");
    assert_eq!(heard(&mut upstream), json!({"sub": ["b"]}));
    assert_eq!(gets(&mut upstream, &mut other, &all), all, "it hasn't narrowed");
    narrow(&mut other, &[]);
    assert_eq!(gets(&mut upstream, &mut other, &all), ["b"]);
    unsubscribe(&mut one, &["b.*", "c"]);
    assert_eq!(heard(&mut upstream), json!({"unsub": ["b.*", "c"]}));
    assert_eq!(gets(&mut upstream, &mut one, &all), ["a", "c"], "c it asks for");
    unsubscribe(&mut other, &["b"]);
    assert_eq!(heard(&mut upstream), json!({"unsub": ["b"]}));
    assert_balanced(&one.status());
}

#[test]
fn a_topic_that_the_server_ends_or_refuses_comes_no_longer_to_who_narrows() {
    let answers = "[topics.answer]\naccept = { \"/ok\" = true }\nreject = { \"/ok\" = false }\n\
                   end = { \"/end\" = true }\ntopic = \"/of\"\n";
    let (_server, daemon, mut upstream) = up(&format!("{TOPICS}{answers}"));
    let mut client = daemon.client();
    narrow(&mut client, &[]);
    client.write(b"{\"op\":\"subscribe\",\"id\":\"s\",\"topics\":[\"a\",\"b\",\"c\"]}\n");
    assert_eq!(heard(&mut upstream), json!({"sub": ["a", "b", "c"]}));
    assert_eq!(gets(&mut upstream, &mut client, &["a", "d"]), ["a"], "it may come before its answer");
    for (of, ok) in [("a", true), ("b", false), ("c", true)] {
        upstream.text(&json!({"of": of, "ok": ok}).to_string());
    }
    let refused = client.until(|line| line["id"] == "s");
    assert_eq!((&refused["code"], &refused["topics"]), (&json!("refused"), &json!(["b"])));
    assert_eq!(gets(&mut upstream, &mut client, &["a", "b", "c"]), ["a", "c"]);
    upstream.text(&json!({"of": "c", "end": true}).to_string());
    assert_eq!(client.until(|line| line["type"] == "error")["code"], "ended");
    assert_eq!(gets(&mut upstream, &mut client, &["a", "b", "c"]), ["a"]);
}

/// Of what is no JSON, no pointer says where the id is.
#[test]
fn in_plain_text_the_id_of_a_subscription_is_the_number_that_wsfan_gave_it() {
    let topics = "[topics]\nsubscribe = \"SUB ${topic} ${next_id}\\r\\n\"\n\
                  unsubscribe = \"UNSUB ${subscribed_id}\\r\\n\"\nlinger = \"0s\"\n";
    let (_server, daemon, mut upstream) = up(topics);
    let mut client = daemon.client();
    for (topic, said) in [("a.*", "SUB a.* 1\r\n"), ("b.>", "SUB b.> 2\r\n"), ("c", "SUB c 3\r\n")] {
        assert_eq!(subscribe(&mut client, &[topic])["result"], "subscribed");
        assert_eq!(upstream.message().into_text().unwrap().as_str(), said);
    }
    unsubscribe(&mut client, &["b.>"]);
    assert_eq!(upstream.message().into_text().unwrap().as_str(), "UNSUB 2\r\n");
}

#[test]
fn what_lies_beyond_its_listener_a_client_may_not_subscribe_to() {
    let listener = "[[listener]]\npath = \"SOCKET\"\ntopics = [\"a.*\", \"b\"]\n";
    let (server, daemon, mut upstream) = up(&format!("{TOPICS}{listener}"));
    let mut client = daemon.client();
    narrow(&mut client, &[]);
    let refused = subscribe(&mut client, &["a.x", "a.x.y"]);
    assert_eq!(refused["code"], "forbidden", "{refused}");
    assert_eq!(refused["message"], "this listener doesn't let you have the topic \"a.x.y\" (topics)");
    assert_eq!(subscribe(&mut client, &["a.x", "b"])["result"], "subscribed");
    assert_eq!(heard(&mut upstream), json!({"sub": ["a.x", "b"]}), "and nothing before");
    assert_eq!(gets_before(&mut upstream, &mut client, &["a.x", "a.y", "b", "c"], "b"), ["a.x", "b"]);
    daemon.logged("refused what a client asked for");
    // what is beyond it after a reload is given up
    daemon.rewrite(&(server.config() + &format!("{TOPICS}{}", listener.replace("a.*", "c"))));
    let applied = daemon.client().request(json!({"op": "reload"}));
    assert_eq!(applied["result"], "applied", "{applied}");
    let lost = client.until(|line| line["type"] == "error");
    assert_eq!(
        (&lost["code"], &lost["topics"], &lost["id"]),
        (&json!("forbidden"), &json!(["a.x"]), &Value::Null)
    );
    assert_eq!(heard(&mut upstream), json!({"unsub": ["a.x"]}));
    assert_eq!(gets_before(&mut upstream, &mut client, &["a.x", "b", "c"], "b"), ["b"]);
}

#[test]
fn who_may_not_send_any_more_gives_up_what_it_has_subscribed_to_and_claimed() {
    let listeners = "[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.strict\"\nprivileged = false\n\
                     rights = [\"receive\", \"send\"]\n";
    let (server, daemon, mut upstream) = up(&format!("{TOPICS}{listeners}"));
    let mut other = daemon.client();
    let mut client = Client::connect(&daemon.path().join("wsfan.sock.strict"));
    assert_eq!(client.request(json!({"op": "attach", "answers": true}))["result"], "attached");
    assert_eq!(subscribe(&mut client, &["a", "b"])["result"], "subscribed");
    assert_eq!(subscribe(&mut other, &["b"])["result"], "subscribed");
    assert_eq!(heard(&mut upstream), json!({"sub": ["a", "b"]}));
    assert_eq!(other.request(json!({"op": "attach", "answers": true}))["code"], "answerer_taken");
    daemon.rewrite(&(server.config() + &format!("{TOPICS}{}", listeners.replace(", \"send\"", ""))));
    assert_eq!(other.request(json!({"op": "reload"}))["result"], "applied");
    let lost = client.until(|line| line["type"] == "error");
    assert_eq!((&lost["code"], &lost["topics"]), (&json!("forbidden"), &json!(["a", "b"])), "{lost}");
    assert_eq!(heard(&mut upstream), json!({"unsub": ["a"]}), "the other has b still");
    assert_eq!(other.request(json!({"op": "attach", "answers": true}))["result"], "attached");
}

#[test]
fn what_is_asked_for_counts_as_what_is_sent() {
    let topics = "[topics]\nsubscribe = '{\"type\":\"sub\",\"of\":${topic},\"query\":${payload}}'\n";
    let listener = "[[listener]]\npath = \"SOCKET\"\nprivileged = false\nrate = \"3/1h\"\nmax_message = 40\n\
                    send_when = { \"/query/op\" = \"read\" }\n";
    let (_server, daemon, mut upstream) = up(&format!("{topics}{listener}"));
    let mut client = daemon.client();
    let mut ask = |topics: &[&str], json: Value| {
        client.request(json!({"op": "subscribe", "topics": topics, "json": json}))
    };
    let read = || json!({"op": "read"});
    let other = ask(&["a"], json!({"op": "write"}));
    assert_eq!(other["code"], "forbidden", "{other}");
    assert!(other["message"].as_str().unwrap().ends_with("none of them (send_when)"), "{other}");
    let long = ask(&["a", &"b".repeat(40)], read());
    assert_eq!(long["code"], "too_large", "{long}");
    assert_eq!(ask(&["a", "b"], read())["result"], "subscribed", "two messages");
    let many = ask(&["c", "d"], read());
    assert_eq!(many["code"], "rate_limited", "{many}");
    assert!(
        many["message"].as_str().unwrap().contains("3/1h messages (rate), and for these topics it takes 2")
    );
    assert_eq!(ask(&["c"], read())["result"], "subscribed");
    assert_eq!(
        client.request(json!({"op": "send", "json": {"query": {"op": "read"}}}))["code"],
        "rate_limited"
    );
    for topic in ["a", "b", "c"] {
        assert_eq!(heard(&mut upstream), json!({"type": "sub", "of": topic, "query": {"op": "read"}}));
    }
    // what is given up costs nothing
    assert_eq!(client.request(json!({"op": "unsubscribe", "topics": ["a"]}))["result"], "unsubscribed");
    daemon.logged("op=\"subscribe\"");
}
