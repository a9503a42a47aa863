//! Signal K.

use std::time::Duration;

use serde_json::json;

use crate::{
    common::Daemon,
    profiles::play::{attend, given_up, payload, run},
    simulators::{
        signalk::{Settings, open},
        stage::{Order, Stage},
    },
};

fn start(stage: &Stage, more: &str) -> Daemon {
    let url = stage.url("/signalk/v1/stream?subscribe=none");
    run("signalk", &format!("[upstream]\nurl = \"{url}\"\n{more}\n"))
}

const LOGIN: &str = "[vars]\nusername = \"john\"\npassword = \"good-password\"\n";

#[test]
fn deltas_come_and_values_are_put() {
    let stage = open(Settings::default());
    let daemon = start(&stage, LOGIN);
    let mut client = attend(&daemon);
    stage.event("subscribed *", 1);
    assert_eq!(stage.count("login"), 1);
    stage.order(Order::Say("navigation.speedOverGround".into()));
    payload(&mut client, "/updates/0/values/0/path", "navigation.speedOverGround");
    let put = json!({"requestId": "p1", "put": {"path": "steering.autopilot.state", "value": "auto"}});
    client.request(json!({"op": "send", "json": put}));
    assert_eq!(payload(&mut client, "/requestId", "p1")["statusCode"], 200);
    stage.assert_no_violations();
}

#[test]
fn the_token_of_the_login_is_not_given_to_clients() {
    let stage = open(Settings::default());
    let daemon = start(&stage, LOGIN);
    let mut client = attend(&daemon);
    let epoch = client.hello["epoch"].clone();
    client.ask(json!({"op": "attach", "since": {"epoch": epoch, "seq": 0}}));
    stage.event("subscribed *", 1);
    stage.order(Order::Say("navigation.position".into()));
    loop {
        let line = client.line();
        assert!(!line.to_string().contains("good-token"), "{line}");
        if line["json"]["updates"].is_array() {
            break;
        }
    }
}

#[test]
fn a_token_at_the_upgrade_needs_no_login() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "[upstream.headers]\nAuthorization = \"Bearer good-token\"\n");
    let mut client = attend(&daemon);
    stage.event("subscribed *", 1);
    stage.order(Order::Say("navigation.position".into()));
    payload(&mut client, "/updates/0/values/0/path", "navigation.position");
    assert_eq!(stage.count("login"), 0);
    stage.assert_no_violations();
}

#[test]
fn an_open_server_needs_neither() {
    let stage = open(Settings { open_to_read: true, ..Settings::default() });
    let vars = r#"
        [vars.subscribe]
        context = "vessels.self"
        subscribe = [{ path = "navigation.*", policy = "instant" }, { path = "environment.depth.*" }]"#;
    let daemon = start(&stage, vars);
    let mut client = attend(&daemon);
    stage.event("subscribed environment.depth.*", 1);
    stage.order(Order::Say("environment.depth.belowKeel".into()));
    payload(&mut client, "/updates/0/values/0/path", "environment.depth.belowKeel");
    stage.assert_no_violations();
}

#[test]
fn heartbeats_go_both_ways_and_a_break_is_mended() {
    let stage = open(Settings { ping: Duration::from_millis(150), ..Settings::default() });
    let daemon = start(&stage, &format!("{LOGIN}[heartbeat]\ninterval = \"100ms\"\n"));
    let mut client = attend(&daemon);
    stage.event("subscribed *", 1);
    for (order, times) in [(Order::Drop, 2), (Order::Freeze, 3)] {
        stage.order(order);
        client.link("up");
        stage.event("subscribed *", times);
    }
    stage.assert_no_violations();
}

#[test]
fn a_bad_login_stops_by_name() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "[vars]\nusername = \"john\"\npassword = \"bad-password\"\n");
    let error = given_up(&daemon, &["log in"]);
    assert!(!error.contains("bad-password"), "{error}");
    let daemon = start(&stage, "[upstream.headers]\nAuthorization = \"Bearer bad-token\"\n");
    given_up(&daemon, &["401"]);
    assert_eq!(stage.violations().len(), 2);
}
