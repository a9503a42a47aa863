use std::time::Duration;

use serde_json::json;

use crate::{
    profiles::play,
    simulators::{
        binance::{Settings, open},
        stage::{Order, Stage},
    },
};

const STREAMS: &str = "[vars]\nstreams = [\"btcusdt@trade\", \"ethusdt@depth\"]\n";

fn trade(stage: &Stage, number: u64) {
    stage.order(Order::Say(format!("btcusdt@trade {{\"e\":\"trade\",\"t\":{number}}}")));
}

#[test]
fn streams_are_subscribed_to_on_every_connection_and_pings_are_answered() {
    let quick = Duration::from_millis(100);
    let stage = open(Settings { ping_every: quick, messages: 1_000, ..Settings::default() });
    let daemon = play::start("binance", &stage, "/stream", STREAMS);
    let mut client = play::up(&daemon);
    trade(&stage, 1);
    let event = client.until(|line| line["json"]["stream"] == "btcusdt@trade");
    assert_eq!(event["json"]["data"]["t"], 1);
    stage.event("pong", 3);

    stage.order(Order::Drop);
    stage.event("stream ethusdt@depth", 2);
    client.link("up");
    trade(&stage, 2);
    client.until(|line| line["json"]["data"]["t"] == 2);
    stage.assert_no_violations();
}

#[test]
fn what_programs_ask_for_keeps_the_limit_of_messages() {
    let stage = open(Settings { ping_every: Duration::from_secs(2), ..Settings::default() });
    let daemon = play::start("binance", &stage, "/stream", STREAMS);
    let mut client = play::up(&daemon);
    for number in 10..20 {
        client.ask(json!({"op": "send", "json": {"method": "LIST_SUBSCRIPTIONS", "id": number}}));
    }
    client.until(|line| line["json"]["id"] == 19);
    stage.assert_no_violations();
}

#[test]
fn a_shutdown_of_the_server_is_survived_without_a_break() {
    let stage = open(Settings { shutdown: Duration::from_secs(20), ..Settings::default() });
    let daemon = play::start("binance", &stage, "/stream", &format!("{STREAMS}[rotate]\noverlap = \"1s\"\n"));
    let mut client = play::up(&daemon);
    stage.order(Order::Do("shutdown"));
    stage.event("stream btcusdt@trade", 2);
    trade(&stage, 7);
    loop {
        let line = client.line();
        assert_ne!(line["state"], "waiting", "{line}");
        if line["json"]["data"]["t"] == 7 {
            break;
        }
    }
    stage.assert_no_violations();
}

#[test]
fn a_subscription_that_is_refused_is_not_tried_again() {
    let stage = open(Settings::default());
    let daemon = play::start("binance", &stage, "/stream", "[vars]\nstreams = 5\n");
    let line = play::failed(&daemon);
    assert!(line["error"].as_str().unwrap().contains("subscribe"), "{line}");
    assert_eq!(stage.violations().len(), 1);
}
