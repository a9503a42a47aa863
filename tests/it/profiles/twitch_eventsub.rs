//! Twitch's EventSub.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    common::{Client, Daemon},
    profiles::play::{self, QUIET, payload},
    simulators::{
        stage::{Order, Stage},
        twitch::{Settings, TOKEN, open, post},
    },
};

const ONLINE: &str = "stream.online";

fn start(stage: &Stage, more: &str) -> Daemon {
    play::start("twitch-eventsub", stage, "/ws?keepalive_timeout_seconds=30", more)
}

/// The session's id, from the next welcome that a client hears.
fn welcome(client: &mut Client) -> Value {
    let welcome = payload(client, "/metadata/message_type", "session_welcome");
    welcome["payload"]["session"]["id"].clone()
}

/// Has something happen, which a client hears.
fn happens(stage: &Stage, client: &mut Client, id: &str) {
    stage.order(Order::Say(format!("{ONLINE} {{\"id\":\"{id}\"}}")));
    let line = client.until(|line| line["json"]["payload"]["event"]["id"] == id);
    assert_eq!(line["topic"], ONLINE, "{line}");
}

#[test]
fn one_program_subscribes_each_session_and_another_that_comes_late_knows_it() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "");
    let mut subscriber = play::from_start(&daemon);
    let mut session = Value::Null;
    for times in 1..4 {
        let next = welcome(&mut subscriber);
        assert_ne!(next, session, "after a break it is a new one");
        session = next;
        subscriber.link("up");
        assert_eq!(post(&stage, TOKEN, &session, ONLINE), 202);
        stage.event(&format!("subscribe {ONLINE}"), times);
        happens(&stage, &mut subscriber, &format!("event-{times}"));
        let mut late = daemon.client();
        late.ask(json!({"op": "attach", "snapshot": true}));
        assert_eq!(welcome(&mut late), session);
        stage.order(Order::Drop);
    }
    stage.assert_no_violations();
}

/// What a user writes for one subscription, but for the address: the profile's own example.
fn subscription(stage: &Stage, token: &str) -> (tempfile::TempDir, String) {
    let profile = include_str!("../../../config/profiles/twitch-eventsub.toml");
    let example = &profile[profile.find("#   [[script.then]]").unwrap()..];
    let example: String =
        example.lines().map_while(|line| line.strip_prefix("#   ")).map(|line| format!("{line}\n")).collect();
    let directory = tempfile::tempdir().unwrap();
    let headers = directory.path().join("twitch");
    std::fs::write(
        &headers,
        format!("Client-Id: me\nAuthorization: Bearer {token}\nContent-Type: application/json\n"),
    )
    .unwrap();
    let here = stage.url("").replacen("ws:", "http:", 1);
    let example = example
        .replace("https://api.twitch.tv", &here)
        .replace("/etc/wsfan/twitch", headers.to_str().unwrap());
    assert!(example.contains(&here) && example.contains(directory.path().to_str().unwrap()), "{example}");
    (directory, example)
}

#[test]
fn curl_subscribes_each_new_session_and_none_that_was_moved() {
    let stage = open(Settings::default());
    let (_directory, subscription) = subscription(&stage, TOKEN);
    let daemon = start(&stage, &format!("[rotate]\noverlap = \"300ms\"\n{subscription}"));
    let mut client = play::from_start(&daemon);
    for times in 1..3 {
        client.link("up");
        stage.event(&format!("subscribe {ONLINE}"), times);
        happens(&stage, &mut client, &format!("new-{times}"));
        stage.order(Order::Do("reconnect"));
        stage.event("left", times);
        happens(&stage, &mut client, &format!("moved-{times}"));
        stage.order(Order::Drop);
    }
    client.link("up");
    stage.event(&format!("subscribe {ONLINE}"), 3);
    assert!(stage.all_heard().is_empty(), "nothing is said to Twitch");
    stage.assert_no_violations();
}

#[test]
fn a_subscription_that_is_refused_is_told_in_curls_words() {
    let stage = open(Settings::default());
    let (_directory, subscription) = subscription(&stage, "bad");
    let daemon = start(&stage, &subscription);
    let mut client = play::from_start(&daemon);
    let line = client.link("waiting");
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("/usr/bin/curl") && error.contains("401"), "{line}");
}

#[test]
fn a_session_that_is_moved_is_followed_without_a_break_and_needs_no_subscription() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "[rotate]\noverlap = \"500ms\"\n");
    let mut client = play::from_start(&daemon);
    let session = welcome(&mut client);
    assert_eq!(post(&stage, TOKEN, &session, ONLINE), 202);
    for times in 1..3 {
        happens(&stage, &mut client, &format!("before-{times}"));
        stage.order(Order::Do("reconnect"));
        stage.event(&format!("moved {}", session.as_str().unwrap()), times);
        assert_eq!(welcome(&mut client), session);
        // the old one is left before its time is over
        stage.event("left", times);
        stage.order(Order::Say(format!("{ONLINE} {{\"id\":\"after-{times}\"}}")));
        loop {
            let line = client.line();
            assert_ne!(line["state"], "waiting", "{line}");
            if line["json"]["payload"]["event"]["id"] == format!("after-{times}") {
                break;
            }
        }
    }
    stage.assert_no_violations();
}

#[test]
fn after_a_break_a_moved_session_begins_anew() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "[rotate]\noverlap = \"300ms\"\n");
    let mut client = play::from_start(&daemon);
    let session = welcome(&mut client);
    assert_eq!(post(&stage, TOKEN, &session, ONLINE), 202);
    stage.order(Order::Do("reconnect"));
    assert_eq!(welcome(&mut client), session);
    stage.event("left", 1);
    stage.order(Order::Drop);
    let next = welcome(&mut client);
    assert_ne!(next, session);
    assert_eq!(stage.count("invalid reconnect"), 1, "the URL of the move is tried once");
    assert_eq!(post(&stage, TOKEN, &next, ONLINE), 202);
    happens(&stage, &mut client, "again");
    stage.assert_no_violations();
}

#[test]
fn without_keepalives_in_the_servers_time_the_connection_is_replaced() {
    // a second of 30 ms: keepalives each 900 ms; the server says 30, and the unit is what makes that a short time here
    let stage = open(Settings { second: Duration::from_millis(30), ..Settings::default() });
    let keepalive = "[heartbeat]\nidle_timeout = \"${capture:keepalive} + 2s\"\nidle_timeout_unit = \"ms\"\n";
    let daemon = start(&stage, keepalive);
    let mut client = play::from_start(&daemon);
    let session = welcome(&mut client);
    assert_eq!(post(&stage, TOKEN, &session, ONLINE), 202);
    stage.event("keepalive", 3);
    stage.order(Order::Mute);
    let line = client.until(|line| {
        assert_ne!(line["json"]["metadata"]["message_type"], "session_keepalive", "programs don't hear it");
        line["state"] == "waiting"
    });
    assert!(line["error"].as_str().unwrap().contains("2.03s"), "{line}");
    assert_ne!(welcome(&mut client), session);
    stage.assert_no_violations();
}

#[test]
fn nothing_that_a_program_sends_gets_to_twitch() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "");
    let mut client = play::from_start(&daemon);
    let session = welcome(&mut client);
    client.link("up");
    assert_eq!(post(&stage, TOKEN, &session, ONLINE), 202);
    let answer = client.request(json!({"op": "send", "text": "hello"}));
    assert_eq!(answer["type"], "error", "{answer}");
    happens(&stage, &mut client, "still there");
    stage.order(Order::Do("revoke"));
    let revoked = payload(&mut client, "/metadata/message_type", "revocation");
    assert_eq!(revoked["payload"]["subscription"]["status"], "authorization_revoked");
    stage.assert_no_violations();
}

#[test]
fn a_session_that_nobody_subscribes_in_time_is_made_anew_after_a_rest() {
    let stage = open(Settings { unused: Duration::from_millis(100), ..Settings::default() });
    let daemon = start(&stage, "");
    let mut client = play::from_start(&daemon);
    let line = client.link("waiting");
    assert_eq!((&line["code"], line["retry_in_ms"].as_u64() >= Some(9_000)), (&json!(4003), true), "{line}");
    stage.never_within(QUIET, "it connects again", |book| book.connections > 1);
}
