//! Bybit.

use serde_json::json;

use crate::{
    common::Daemon,
    profiles::play,
    simulators::{
        bybit::{KEY, SECRET, Settings, open},
        stage::{Order, Stage},
    },
};

/// A quick heartbeat, in place of the one of 20 seconds. An answer has as long as there is between two.
const QUICK: &str = "[heartbeat]\ninterval = \"2s\"\n";

/// A daemon on the private stream, with this key and secret.
fn private(stage: &Stage, key: &str, secret: &str) -> Daemon {
    let vars =
        format!("[vars]\napi_key = '{key}'\nsecret = '{secret}'\ntopics = [\"order\", \"position\"]\n");
    play::start("bybit", stage, "/v5/private", &format!("{vars}{QUICK}"))
}

#[test]
fn the_login_is_signed_anew_for_each_connection_and_pings_are_answered() {
    let stage = open(Settings::default());
    let daemon = private(&stage, KEY, SECRET);
    let mut client = play::up(&daemon);
    for times in 1..3 {
        stage.event("auth", times);
        stage.event("subscribe position", times);
        stage.order(Order::Say(r#"order [{"orderId":"1"}]"#.into()));
        let order = client.until(|line| line["topic"] == "order");
        assert_eq!(order["json"]["data"][0]["orderId"], "1");
        stage.event("ping", 2 * times);
        stage.order(Order::Drop);
        client.link("up");
    }
    stage.assert_no_violations();
}

#[test]
fn public_topics_need_no_login() {
    let stage = open(Settings::default());
    let more = format!("[vars]\ntopics = [\"tickers.BTCUSDT\", \"publicTrade.BTCUSDT\"]\n{QUICK}");
    let daemon = play::start("bybit", &stage, "/v5/public/spot", &more);
    let mut client = play::up(&daemon);
    stage.event("subscribe publicTrade.BTCUSDT", 1);
    stage.event("ping", 2);
    stage.order(Order::Say(r#"tickers.BTCUSDT {"lastPrice":"1"}"#.into()));
    client.until(|line| line["json"]["data"]["lastPrice"] == "1");
    assert_eq!(stage.count("auth"), 0);
    stage.assert_no_violations();
}

#[test]
fn a_connection_that_says_nothing_any_more_is_replaced() {
    let stage = open(Settings::default());
    let daemon = play::start("bybit", &stage, "/v5/public/linear", &QUICK.replace("2s", "200ms"));
    let mut client = play::up(&daemon);
    stage.order(Order::Mute);
    client.link("waiting");
    client.link("up");
    stage.event("subscribe tickers.BTCUSDT", 2);
    stage.assert_no_violations();
}

#[test]
fn a_wrong_secret_is_not_tried_again() {
    let stage = open(Settings::default());
    let daemon = private(&stage, KEY, "hunter2");
    play::given_up(&daemon, &["log in", "Sign error"]);
    assert_eq!(stage.violations().len(), 1);
    assert!(!daemon.log().contains("hunter2"), "the secret is in the log");
}

#[test]
fn spot_takes_ten_topics_in_a_message_and_a_bad_one_takes_no_others_with_it() {
    const TOPICS: [&str; 25] = [
        "tickers.BTCUSDT",
        "t.1",
        "t.2",
        "t.3",
        "t.4",
        "t.5",
        "t.6",
        "t.7",
        "t.8",
        "t.9",
        "t.10",
        "t.11",
        "t.12",
        "t.13",
        "t.14",
        "t.15",
        "t.16",
        "t.17",
        "t.18",
        "t.19",
        "t.20",
        "t.21",
        "t.22",
        "t.23",
        "t.24",
    ];
    let stage = open(Settings { topics: &TOPICS, ..Settings::default() });
    let daemon = play::start("bybit", &stage, "/v5/public/spot", "");
    let mut client = play::up(&daemon);
    let answer = client.request(json!({"op": "subscribe", "topics": &TOPICS[1..]}));
    assert_eq!(answer["result"], "subscribed", "{answer}");
    stage.assert_no_violations();
    let answer = client.request(json!({"op": "subscribe", "topics": ["tickers.NO"]}));
    assert_eq!(answer["type"], "error", "{answer}");
    stage.order(Order::Say(r#"t.24 {"lastPrice":"1"}"#.into()));
    client.until(|line| line["json"]["topic"] == "t.24");
}
