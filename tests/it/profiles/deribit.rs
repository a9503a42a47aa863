//! Deribit.

use std::time::Duration;

use serde_json::json;

use crate::{
    common::Daemon,
    profiles::play,
    simulators::{
        deribit::{ID, SECRET, Settings, open},
        stage::{Order, Stage},
    },
};

fn start(stage: &Stage, more: &str) -> Daemon {
    play::start("deribit", stage, "/ws/api/v2", more)
}

/// A daemon with an API key.
fn private(stage: &Stage, secret: &str, more: &str) -> Daemon {
    let vars = format!("[vars]\nclient_id = \"{ID}\"\nclient_secret = \"{secret}\"\nscope = \"private\"\n");
    start(stage, &format!("{vars}channels = [\"user.orders.any.any.raw\"]\n{more}"))
}

#[test]
fn the_login_is_signed_anew_for_each_connection_and_test_requests_are_answered() {
    let stage = open(Settings { second: Duration::from_millis(3), ..Settings::default() });
    let daemon = private(&stage, SECRET, "");
    let mut client = play::up(&daemon);
    for times in 1..3 {
        stage.event("auth", times);
        stage.order(Order::Say(r#"user.orders.any.any.raw {"order_id":"1"}"#.into()));
        let order = client.until(|line| line["topic"] == "user.orders.any.any.raw");
        assert_eq!(order["json"]["params"]["data"]["order_id"], "1");
        stage.event("test", 3 * times);
        stage.order(Order::Drop);
        client.link("up");
    }
    assert!(!daemon.log().contains("1MbQ-J_4"), "the token is in the log");
    stage.assert_no_violations();
}

#[test]
fn public_channels_need_no_login() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "[vars]\nchannels = [\"book.BTC-PERPETUAL.100ms\"]\n");
    let mut client = play::up(&daemon);
    stage.order(Order::Say(r#"book.BTC-PERPETUAL.100ms {"bids":[]}"#.into()));
    client.until(|line| line["topic"] == "book.BTC-PERPETUAL.100ms");
    assert_eq!(stage.count("auth"), 0);
    stage.assert_no_violations();
}

#[test]
fn a_connection_without_heartbeats_is_replaced() {
    let stage = open(Settings { second: Duration::from_millis(3), ..Settings::default() });
    let daemon = start(&stage, "[heartbeat]\nidle_timeout = \"1s\"\n");
    let mut client = play::up(&daemon);
    stage.event("test", 2);
    stage.order(Order::Mute);
    client.link("waiting");
    client.link("up");
    stage.event("subscribe ticker.BTC-PERPETUAL.100ms", 2);
}

#[test]
fn a_wrong_secret_and_a_channel_that_there_is_not_are_final() {
    let stage = open(Settings::default());
    let daemon = private(&stage, "hunter2", "");
    play::given_up(&daemon, &["log in", "the server refused"]);
    assert_eq!(stage.violations().len(), 1);
    let stage = open(Settings::default());
    let daemon = start(&stage, "[vars]\nchannels = [\"tickers.BTC\"]\n");
    play::given_up(&daemon, &["subscribe"]);
}

#[test]
fn of_several_channels_those_that_there_are_not_are_refused_alone() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "");
    let mut client = play::up(&daemon);
    let mut other = daemon.client();
    let topics = json!(["ticker.A.100ms", "nothing.B", "book.C.100ms"]);
    let answer = client.request(json!({"op": "subscribe", "topics": topics}));
    assert_eq!((&answer["type"], &answer["topics"]), (&json!("error"), &json!(["nothing.B"])), "{answer}");
    let answer = other.request(json!({"op": "subscribe", "topics": ["book.C.100ms"]}));
    assert_eq!(answer["result"], "subscribed", "{answer}");
    assert_eq!(stage.count("subscribe book.C.100ms"), 1);
    stage.order(Order::Say(r#"book.C.100ms {"bids":[]}"#.into()));
    other.until(|line| line["topic"] == "book.C.100ms");
    stage.assert_no_violations();
}

#[test]
fn a_login_that_has_ended_is_told_to_who_asks() {
    let stage = open(Settings::default());
    let daemon = private(&stage, SECRET, "");
    let mut client = play::up(&daemon);
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "private/get_positions", "params": {}});
    client.write(format!("{}\n", json!({"op": "request", "id": "a", "json": ask})).as_bytes());
    let answer = client.until(|line| line["id"] == "a");
    assert_eq!((&answer["json"]["id"], &answer["json"]["result"]), (&json!(1), &json!([])), "{answer}");
    stage.order(Order::Do("expire"));
    stage.event("expired", 1);
    client.write(format!("{}\n", json!({"op": "request", "id": "b", "json": ask})).as_bytes());
    let answer = client.until(|line| line["id"] == "b");
    assert_eq!(
        (&answer["failed"], &answer["json"]["error"]["code"]),
        (&json!(true), &json!(13009)),
        "{answer}"
    );
}
