use std::fs;

use serde_json::{Value, json};

use crate::{
    common::Daemon,
    profiles::play,
    simulators::{
        kraken::{KEY, Settings, open},
        stage::{Order, Stage},
        visitor::http,
    },
};

const TICKER: &str = "[vars]\nsubscribe = { channel = \"ticker\", symbol = [\"BTC/USD\", \"ETH/USD\"] }\n";

/// A quick heartbeat, in place of the one of 30 seconds. An answer has as long as there is between two.
const QUICK: &str = "[heartbeat]\ninterval = \"2s\"\ntimeout = \"2s\"\n";

#[test]
fn a_channel_is_subscribed_to_and_pings_are_answered() {
    let stage = open(Settings::default());
    let daemon = play::start("kraken", &stage, "/v2", &format!("{TICKER}{QUICK}"));
    let mut client = play::up(&daemon);
    stage.order(Order::Say(r#"ticker {"symbol":"BTC/USD","last":1.5}"#.into()));
    let update = client.until(|line| line["json"]["channel"] == "ticker");
    assert_eq!(update["json"]["data"][0]["last"], 1.5);
    client.until(|line| line["json"]["channel"] == "heartbeat");
    stage.event("ping", 2);
    stage.assert_no_violations();
}

#[test]
fn a_connection_that_says_nothing_any_more_is_replaced() {
    let stage = open(Settings::default());
    let daemon = play::start("kraken", &stage, "/v2", &format!("{TICKER}{}", QUICK.replace("2s", "200ms")));
    let mut client = play::up(&daemon);
    stage.order(Order::Mute);
    client.link("waiting");
    client.link("up");
    stage.event("subscribed ticker", 4);
    stage.assert_no_violations();
}

/// What a user writes for a private channel.
const PRIVATE: &str = r#"
[vars]
subscribe = { channel = "executions", token = "${command:token/result/token}" }
"#;

/// A daemon on a private channel whose token is what is in the file.
fn private(stage: &Stage, token: &Value) -> (Daemon, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, token.to_string()).unwrap();
    let more = format!("[command.token]\nrun = [\"/bin/cat\", \"{}\"]\n{PRIVATE}", file.display());
    let config = play::config("kraken", stage, "/v2", &more);
    let mut daemon = Daemon::spawn_in(directory, &config);
    daemon.notified("READY=1");
    (daemon, file)
}

/// What the server's REST API answers.
fn token(stage: &Stage) -> Value {
    let path = "/0/private/GetWebSocketsToken";
    let (_, answer) = http(stage, "POST", path, &format!("API-Key: {KEY}\r\n"), "nonce=1");
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn a_private_channel_is_subscribed_to_with_a_token_that_a_command_gives() {
    let stage = open(Settings::default());
    let (daemon, _) = private(&stage, &token(&stage));
    let mut client = play::up(&daemon);
    stage.order(Order::Say(r#"executions {"order_id":"A"}"#.into()));
    client.until(|line| line["json"]["data"][0]["order_id"] == "A");
    stage.assert_no_violations();
}

#[test]
fn a_token_that_is_no_longer_good_is_asked_for_anew() {
    let stage = open(Settings::default());
    let (daemon, file) = private(&stage, &json!({"error": [], "result": {"token": "old"}}));
    stage.until("a refusal", |book| (!book.violations.is_empty()).then_some(()));
    fs::write(file, token(&stage).to_string()).unwrap();
    play::up(&daemon);
    let wrong = "ESession:Invalid session";
    assert!(stage.violations().iter().all(|violation| violation.contains(wrong)));
}

#[test]
fn a_symbol_that_there_is_not_is_not_asked_for_again() {
    let stage = open(Settings::default());
    let more = "[vars]\nsubscribe = { channel = \"ticker\", symbol = [\"XXX/YYY\"] }\n";
    let daemon = play::start("kraken", &stage, "/v2", more);
    let line = play::failed(&daemon);
    assert!(line["error"].as_str().unwrap().contains("subscribe"), "{line}");
    assert_eq!(stage.violations().len(), 1);
}
