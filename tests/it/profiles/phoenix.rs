//! Phoenix channels.

use serde_json::json;

use crate::{
    common::Daemon,
    profiles::play::{attend, given_up, payload, run},
    simulators::{
        phoenix::{Settings, open},
        stage::{Order, Stage},
    },
};

fn start(stage: &Stage, token: &str, vars: &str, more: &str) -> Daemon {
    let url = stage.url(&format!("/socket/websocket?vsn=2.0.0&token={token}"));
    run("phoenix", &format!("[upstream]\nurl = \"{url}\"\n[vars]\n{vars}\n{more}\n"))
}

const ROOM: &str = "topic = \"room:lobby\"\nparams = { pass = \"please\" }";

#[test]
fn the_topic_is_joined_and_messages_flow() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "good-token", ROOM, "");
    let mut client = attend(&daemon);
    stage.event("joined room:lobby", 1);
    stage.order(Order::Say("hello".into()));
    payload(&mut client, "/4/body", "hello");
    let shout = json!(["wsfan", "1", "room:lobby", "shout", {}]);
    client.request(json!({"op": "send", "json": shout}));
    stage.event("pushed shout", 1);
    assert_eq!(payload(&mut client, "/1", "1")[4]["status"], "ok");
    stage.assert_no_violations();
}

#[test]
fn heartbeats_keep_the_connection() {
    let stage = open(Settings::default());
    let _daemon = start(&stage, "good-token", ROOM, "[heartbeat]\ninterval = \"2s\"\n");
    stage.event("heartbeat", 3);
    assert_eq!(stage.count("joined room:lobby"), 1);
    stage.assert_no_violations();
}

#[test]
fn after_a_break_or_a_crash_it_joins_again() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "good-token", ROOM, "");
    let mut client = attend(&daemon);
    for (order, times) in [(Order::Drop, 2), (Order::Do("crash"), 3), (Order::Close(1001, ""), 4)] {
        stage.order(order);
        stage.event("joined room:lobby", times);
        client.link("up");
    }
    stage.assert_no_violations();
}

#[test]
fn a_refusal_stops_by_name() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "good-token", "topic = \"room:lobby\"", "");
    given_up(&daemon, &["join"]);
    let daemon = start(&stage, "bad-token", ROOM, "");
    let error = given_up(&daemon, &["403"]);
    assert!(!error.contains("bad-token"), "{error}");
    assert_eq!(stage.violations().len(), 2);
}
