//! Home Assistant.

use std::time::Duration;

use serde_json::json;

use crate::{
    profiles::play::{attend, given_up, payload, run},
    simulators::{
        home_assistant::{Settings, open},
        stage::{Order, Stage},
    },
};

fn user(stage: &Stage, token: &str) -> String {
    format!("[upstream]\nurl = \"{}\"\n[vars]\ntoken = \"{token}\"\n", stage.url("/api/websocket"))
}

#[test]
fn events_come_and_services_are_called() {
    let stage = open(Settings::default());
    let daemon = run("home-assistant", &user(&stage, "good-token"));
    let mut client = attend(&daemon);
    stage.event("subscribed ", 1);
    stage.order(Order::Say("light.kitchen".into()));
    payload(&mut client, "/event/data/entity_id", "light.kitchen");
    let call = json!({"id": 1000, "type": "call_service", "domain": "light", "service": "turn_on"});
    assert_eq!(client.request(json!({"op": "send", "json": call}))["type"], "ok");
    assert_eq!(payload(&mut client, "/id", 1000)["success"], true);
    stage.event("called turn_on", 1);
    stage.assert_no_violations();
}

#[test]
fn a_user_chooses_what_to_hear() {
    let stage = open(Settings::default());
    let subscribe = r#"subscribe = { id = 1, type = "subscribe_events", event_type = "call_service" }"#;
    let _daemon = run("home-assistant", &(user(&stage, "good-token") + subscribe));
    stage.event("subscribed call_service", 1);
    stage.assert_no_violations();
}

#[test]
fn heartbeats_go_both_ways() {
    let stage = open(Settings { ping: Duration::from_millis(200), ..Settings::default() });
    let heartbeat = "[heartbeat]\ninterval = \"2s\"\n";
    let _daemon = run("home-assistant", &(user(&stage, "good-token") + heartbeat));
    stage.event("ping frame", 3);
    assert_eq!(stage.count("login"), 1);
    stage.assert_no_violations();
}

#[test]
fn after_a_break_it_is_logged_in_and_subscribed_again() {
    let stage = open(Settings::default());
    let heartbeat = "[heartbeat]\ninterval = \"2s\"\n";
    let daemon = run("home-assistant", &(user(&stage, "good-token") + heartbeat));
    let mut client = attend(&daemon);
    for (order, times) in [(Order::Drop, 2), (Order::Close(1001, ""), 3), (Order::Freeze, 4)] {
        stage.order(order);
        client.link("up");
        stage.event("subscribed ", times);
        stage.order(Order::Say("light.hall".into()));
        payload(&mut client, "/event/data/entity_id", "light.hall");
    }
    stage.assert_no_violations();
}

#[test]
fn a_bad_token_stops_by_name() {
    let stage = open(Settings::default());
    let daemon = run("home-assistant", &user(&stage, "bad-token"));
    let error = given_up(&daemon, &["log in"]);
    assert!(!error.contains("bad-token"), "{error}");
    assert_eq!(stage.count("login"), 0);
}
