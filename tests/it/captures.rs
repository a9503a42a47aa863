//! Public captures through the real daemon: clients are told them, and name them in what they send.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::common::{Client, Connection, Daemon, Server};

const SCRIPT: &str = r#"
[[script.step]]
send = "hello"
expect = { "/type" = "session" }
capture = { session = "/id", token = "/token" }
public = true

[[capture]]
match = { "/type" = "key" }
values = { key = "/key" }
"#;

/// Says who the session is, on a new connection.
fn welcome(server: &Server, id: &str) -> Connection {
    let mut upstream = server.accept();
    assert_eq!(upstream.message(), Message::text("hello"));
    upstream.text(&format!("{{\"type\":\"session\",\"id\":{id},\"token\":\"a\\\"b\"}}"));
    upstream
}

fn expand(client: &mut Client, payload: Value) -> Value {
    let mut send = payload;
    send["op"] = json!("send");
    send["expand"] = json!(true);
    client.request(send)
}

/// The text that the server gets of what is sent so.
fn gets(client: &mut Client, upstream: &mut Connection, payload: Value) -> String {
    let answer = expand(client, payload);
    assert_eq!(answer["result"], "written", "{answer}");
    upstream.message().into_text().unwrap().to_string()
}

#[test]
fn who_is_there_hears_of_a_new_session_and_who_comes_late_has_it_from_the_start() {
    let server = Server::bind();
    let daemon = Daemon::start(&(server.config() + SCRIPT));
    let mut upstream = welcome(&server, "12345678901234567890");
    let mut early = daemon.client();
    if early.hello["link"] != "up" {
        early.link("up");
    }
    let mut late = daemon.client();
    assert_eq!(late.hello["public"]["token"], "a\"b");
    assert_eq!(late.status()["public"], late.hello["public"]);
    for (payload, sent) in [
        (
            json!({"json": {"session": "${session}", "token": "t ${token}"}}),
            r#"{"session":12345678901234567890,"token":"t a\"b"}"#,
        ),
        (json!({"text": "SUB ${session} ${token} $${x}"}), r#"SUB 12345678901234567890 a"b ${x}"#),
        (json!({"text": "42[\"join\",{\"s\":${session}}]"}), r#"42["join",{"s":12345678901234567890}]"#),
    ] {
        assert_eq!(gets(&mut late, &mut upstream, payload), sent);
    }
    let unit = expand(&mut late, json!({"messages": [{"json": ["${session}"]}, {"text": "${token}"}]}));
    assert_eq!(unit["result"], "written", "{unit}");
    assert_eq!(upstream.message(), Message::text("[12345678901234567890]"));
    assert_eq!(upstream.message(), Message::text("a\"b"));
    let plain = late.request(json!({"op": "send", "json": ["${session}"]}));
    assert_eq!(plain["result"], "written");
    assert_eq!(upstream.message(), Message::text("[\"${session}\"]"), "only who asks for it");

    drop(upstream);
    early.link("waiting");
    let mut upstream = welcome(&server, "2");
    let told = early.until(|line| line["type"] == "public");
    assert_eq!((&told["public"]["session"], told["seq"].is_u64()), (&json!(2), true), "{told}");
    early.link("up");
    assert_eq!(gets(&mut early, &mut upstream, json!({"json": "${session}"})), "2");
}

#[test]
fn what_is_not_public_is_told_to_nobody_and_what_makes_no_sense_is_refused_by_name() {
    let server = Server::bind();
    let daemon = Daemon::start(&(server.config() + SCRIPT + "[log]\nlevel = \"debug\"\n"));
    let mut upstream = welcome(&server, "\"the-public-session\"");
    let mut client = daemon.client();
    if client.hello["link"] != "up" {
        client.link("up");
    }
    upstream.text(r#"{"type":"key","key":"the-secret-key"}"#);
    client.message();
    let public = client.status()["public"].clone();
    assert_eq!(public, json!({"session": "the-public-session", "token": "a\"b"}));
    for (payload, code, words) in [
        (
            json!({"text": "${key}"}),
            "bad_request",
            "`${key}` names no public capture: there is `${session}`, `${token}`",
        ),
        (json!({"text": "${nobody}"}), "bad_request", "`${nobody}` names no public capture"),
        (json!({"text": "${session"}), "bad_request", "not closed"),
        (json!({"binary": "AAEC"}), "bad_request", "binary message has no placeholders"),
        (json!({"messages": [{"text": "a"}, {"text": "${key}"}]}), "bad_request", "`${key}`"),
    ] {
        let answer = expand(&mut client, payload);
        assert_eq!(answer["code"], code, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(words), "{answer}");
    }
    let answer = client.request(json!({"op": "ping", "expand": true}));
    assert_eq!(answer["code"], "bad_request", "{answer}");
    // what is told on purpose stays hidden where it isn't
    let reason = "not the-public-session with the-secret-key".into();
    upstream.socket.close(Some(CloseFrame { code: CloseCode::from(4000), reason })).unwrap();
    upstream.closed();
    let ended = client.link("waiting");
    let log = daemon.logged("link down");
    for text in [ended.to_string(), log] {
        assert!(!text.contains("the-public-session") && !text.contains("the-secret-key"), "{text}");
    }
}

#[test]
fn what_has_no_value_yet_is_not_sent() {
    let server = Server::bind();
    let capture =
        "[[capture]]\nmatch = { \"/s\" = { exists = true } }\nvalues = { s = \"/s\" }\npublic = true\n";
    let daemon = Daemon::start(&(server.config() + capture));
    let mut upstream = server.accept();
    let mut client = daemon.client();
    if client.hello["link"] != "up" {
        client.link("up");
    }
    assert_eq!(client.hello["public"], Value::Null);
    let answer = expand(&mut client, json!({"json": "${s}"}));
    assert_eq!(answer["code"], "no_value", "{answer}");
    assert_eq!(client.status()["counters"]["failed_sends"]["no_value"], 1);
    upstream.text(r#"{"s":[1,null]}"#);
    client.until(|line| line["type"] == "public");
    assert_eq!(gets(&mut client, &mut upstream, json!({"json": {"a": "${s}"}})), r#"{"a":[1,null]}"#);
}
