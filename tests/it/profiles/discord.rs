//! Discord.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    common::{Client, Daemon},
    profiles::play::{QUIET, attend, given_up, payload, run},
    simulators::{
        discord::{Settings, open},
        stage::{Order, Stage},
    },
};

/// As it is, but for identifies, of which a test makes several in a short time.
fn server() -> Stage {
    open(Settings { identifies: 100, ..Settings::default() })
}

fn start(stage: &Stage, user: &str) -> Daemon {
    let url = stage.url("/?v=10&encoding=json");
    let limits = if user.contains("[limits]") { "" } else { "[limits]\nconnects = [\"100/1s\"]\n" };
    let token = if user.contains("token") { "" } else { "[vars]\ntoken = \"good-token\"\n" };
    run("discord", &format!("[upstream]\nurl = \"{url}\"\n{token}{limits}{user}\n"))
}

fn said(client: &mut Client, what: &str) -> Value {
    payload(client, "/d/content", what)
}

#[test]
fn a_session_begins_and_events_flow() {
    let stage = server();
    let daemon = start(&stage, "");
    let mut client = attend(&daemon);
    stage.order(Order::Say("hello".into()));
    said(&mut client, "hello");
    let presence = json!({"op": 3, "d": {"status": "online"}});
    assert_eq!(client.request(json!({"op": "send", "json": presence}))["type"], "ok");
    stage.event("op 3", 1);
    let identify = stage.heard("identify", |it| it["op"] == 2);
    assert_eq!(identify["d"]["intents"], 513);
    stage.assert_no_violations();
}

#[test]
fn heartbeats_are_as_often_as_the_gateway_says() {
    let stage = open(Settings { heartbeat: Duration::from_millis(200), ..Settings::default() });
    let daemon = start(&stage, "");
    attend(&daemon);
    stage.event("heartbeat", 5);
    stage.order(Order::Say("one".into()));
    stage.heard("a heartbeat that names the newest event", |it| *it == json!({"op": 1, "d": 2}));
    assert_eq!(stage.count("identify"), 1);
    stage.assert_no_violations();
}

#[test]
fn a_heartbeat_that_the_gateway_asks_for_comes_at_once() {
    let stage = open(Settings { heartbeat: Duration::from_secs(36_000), ..Settings::default() });
    let daemon = start(&stage, "");
    let mut client = attend(&daemon);
    stage.order(Order::Do("heartbeat"));
    payload(&mut client, "/op", 1);
    stage.event("heartbeat", 1);
    stage.assert_no_violations();
}

#[test]
fn a_break_is_resumed_and_nothing_is_lost() {
    let stage = server();
    let daemon = start(&stage, "");
    let mut client = attend(&daemon);
    for times in 1..4 {
        stage.order(Order::Do("miss"));
        stage.event("resume", times);
        said(&mut client, "missed");
        client.link("up");
    }
    assert_eq!(stage.count("identify"), 1);
    stage.assert_no_violations();
}

#[test]
fn the_gateway_says_reconnect_and_it_does_so_without_ending_the_session() {
    let stage = server();
    let daemon = start(&stage, "");
    let mut client = attend(&daemon);
    for (order, times) in [("reconnect", 1), ("resumable", 2)] {
        stage.order(Order::Do(order));
        stage.event("resume", times);
        client.link("up");
        stage.order(Order::Say(order.into()));
        said(&mut client, order);
    }
    assert_eq!((stage.count("identify"), stage.count("left 4000")), (1, 2));
    stage.assert_no_violations();
}

#[test]
fn an_invalid_session_begins_anew() {
    let stage = server();
    let daemon = start(&stage, "");
    let mut client = attend(&daemon);
    stage.order(Order::Do("invalid"));
    stage.event("identify", 2);
    client.link("up");
    for (code, times) in [(4007, 3), (4009, 4)] {
        stage.order(Order::Close(code, ""));
        stage.event("identify", times);
        client.link("up");
    }
    assert_eq!(stage.count("resume"), 0);
    stage.assert_no_violations();
}

#[test]
fn a_session_that_is_gone_when_it_is_resumed_begins_anew() {
    let stage = server();
    let daemon = start(&stage, "");
    let mut client = attend(&daemon);
    stage.order(Order::Do("forget"));
    stage.event("identify", 2);
    client.link("up");
    stage.assert_no_violations();
}

#[test]
fn other_closes_are_resumed() {
    let stage = server();
    let daemon = start(&stage, "");
    let mut client = attend(&daemon);
    for (code, times) in [(4000, 1), (4008, 2), (1001, 3)] {
        stage.order(Order::Close(code, ""));
        stage.event("resume", times);
        client.link("up");
    }
    assert_eq!(stage.count("identify"), 1);
    stage.assert_no_violations();
}

#[test]
fn a_gateway_that_answers_no_heartbeat_is_left_and_resumed() {
    let stage = open(Settings { heartbeat: Duration::from_millis(300), ..Settings::default() });
    let daemon = start(&stage, "[heartbeat]\ntimeout = \"200ms\"\n");
    let mut client = attend(&daemon);
    stage.order(Order::Mute);
    stage.event("resume", 1);
    client.link("up");
    stage.event("left 4000", 1);
    stage.assert_no_violations();
}

#[test]
fn what_is_refused_for_good_stops_by_name() {
    let stage = server();
    let daemon = start(&stage, "[vars]\ntoken = \"bad-token\"\n");
    let error = given_up(&daemon, &["4004"]);
    assert!(!error.contains("bad-token"), "{error}");
    let daemon = start(&stage, "[vars]\ntoken = \"good-token\"\nintents = 32768\n");
    given_up(&daemon, &["4014"]);
    assert_eq!(stage.count("identify"), 0);
    assert_eq!(stage.violations().len(), 2);
}

#[test]
fn more_than_the_gateway_takes_waits_and_heartbeats_go_on() {
    let stage = open(Settings { heartbeat: Duration::from_millis(500), ..Settings::default() });
    let daemon = start(&stage, "");
    let mut client = attend(&daemon);
    for _ in 0..200 {
        client.ask(json!({"op": "send", "json": {"op": 3, "d": {"status": "idle"}}}));
    }
    stage.event("op 3", 100);
    stage.event("heartbeat", stage.count("heartbeat") + 3);
    assert!(stage.count("op 3") < 120, "{}", stage.count("op 3"));
    stage.assert_no_violations();
}

#[test]
fn what_is_larger_than_4096_bytes_is_refused() {
    let stage = server();
    let daemon = start(&stage, "");
    let mut client = attend(&daemon);
    let long = json!({"op": 3, "d": {"status": "x".repeat(4096)}});
    assert_eq!(client.request(json!({"op": "send", "json": long}))["code"], "too_large");
    assert_eq!(client.status()["type"], "status");
    stage.assert_no_violations();
}

#[test]
fn identifies_are_five_seconds_apart() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "[limits]\nmessages = [\"120/60s\"]\n");
    let mut client = attend(&daemon);
    stage.order(Order::Do("invalid"));
    client.link("waiting");
    stage.never_within(QUIET, "it identifies too soon", |book| book.connections > 1);
    stage.event("identify", 2);
    stage.assert_no_violations();
}
