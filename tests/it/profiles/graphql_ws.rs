//! GraphQL over WebSocket.

use std::time::Duration;

use serde_json::json;

use crate::{
    common::Daemon,
    profiles::play::{attend, given_up, payload, run},
    simulators::{
        graphql_ws::{Settings, open},
        stage::{Order, Stage},
    },
};

fn start(stage: &Stage, token: &str, more: &str) -> Daemon {
    let url = stage.url("/graphql");
    let vars = format!("[vars]\ninit = {{ authorization = \"Bearer {token}\" }}\n");
    run("graphql-ws", &format!("[upstream]\nurl = \"{url}\"\n{vars}{more}\n"))
}

const SUBSCRIBE: &str =
    r#"subscribe = { id = "a", type = "subscribe", payload = { query = "subscription { price }" } }"#;

#[test]
fn results_come_and_programs_subscribe_too() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "good-token", SUBSCRIBE);
    let mut client = attend(&daemon);
    stage.event("subscribed a", 1);
    stage.order(Order::Say(r#"{"price":42}"#.into()));
    assert_eq!(payload(&mut client, "/id", "a")["payload"]["data"]["price"], 42);
    let subscribe = json!({"id": "b", "type": "subscribe", "payload": {"query": "subscription { news }"}});
    client.request(json!({"op": "send", "json": subscribe}));
    stage.event("subscribed b", 1);
    stage.order(Order::Say(r#"{"news":"none"}"#.into()));
    payload(&mut client, "/id", "b");
    stage.assert_no_violations();
}

#[test]
fn without_a_subscription_of_its_own_it_only_logs_in() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "good-token", "");
    attend(&daemon);
    assert_eq!(stage.all_heard().len(), 1);
    stage.assert_no_violations();
}

#[test]
fn pings_are_answered_on_both_sides() {
    let stage = open(Settings { ping: Duration::from_millis(150), ..Settings::default() });
    let _daemon = start(&stage, "good-token", "[heartbeat]\ninterval = \"2s\"\n");
    stage.event("ping", 2);
    stage.event("pong", 4);
    assert_eq!(stage.count("init"), 1);
    stage.assert_no_violations();
}

#[test]
fn after_a_break_it_subscribes_again() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "good-token", SUBSCRIBE);
    let mut client = attend(&daemon);
    stage.event("subscribed a", 1);
    for (order, times) in [(Order::Drop, 2), (Order::Close(1001, "going away"), 3)] {
        stage.order(order);
        client.link("up");
        stage.event("subscribed a", times);
    }
    stage.assert_no_violations();
}

#[test]
fn a_bad_login_stops_by_name() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "bad-token", SUBSCRIBE);
    let error = given_up(&daemon, &["4403", "Forbidden"]);
    assert!(!error.contains("bad-token"), "{error}");
    assert_eq!(stage.violations().len(), 1);
}
