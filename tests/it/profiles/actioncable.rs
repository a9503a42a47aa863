//! Action Cable.

use std::time::Duration;

use serde_json::json;

use crate::{
    common::Daemon,
    profiles::play,
    simulators::{
        action_cable::{ORIGIN, Settings, TOKEN, open},
        stage::{Order, Stage},
    },
};

const CHAT: &str = r#"{"channel":"ChatChannel","room":"1"}"#;

fn start(stage: &Stage, token: &str, more: &str) -> Daemon {
    let origin = format!("headers = {{ Origin = \"{ORIGIN}\" }}\n");
    play::start("actioncable", stage, &format!("/cable?token={token}"), &format!("{origin}{more}"))
}

#[test]
fn two_programs_share_a_channel_which_comes_back_after_each_break() {
    let stage = open(Settings::default());
    let daemon = start(&stage, TOKEN, "[topics]\nlinger = \"50ms\"\n");
    let mut one = play::up(&daemon);
    let mut other = daemon.client();
    for client in [&mut one, &mut other] {
        let answer = client.request(json!({"op": "subscribe", "topics": [CHAT]}));
        assert_eq!(answer["result"], "subscribed", "{answer}");
    }
    for (times, order) in [Order::Drop, Order::Do("restart"), Order::Do("remote")].into_iter().enumerate() {
        stage.event(&format!("subscribe {CHAT}"), times + 1);
        stage.order(Order::Say(format!("ChatChannel {{\"number\":{times}}}")));
        for client in [&mut one, &mut other] {
            let line = client.until(|line| line["json"]["message"]["number"] == times);
            assert_eq!(line["topic"], CHAT, "{line}");
        }
        stage.order(order);
        one.link("up");
        other.link("up");
    }
    let speak = json!({"command": "message", "identifier": CHAT, "data": "{\"action\":\"speak\"}"});
    assert_eq!(one.request(json!({"op": "send", "json": speak}))["type"], "ok");
    stage.event("perform speak", 1);
    drop(one);
    other.request(json!({"op": "unsubscribe", "topics": [CHAT]}));
    stage.event(&format!("unsubscribe {CHAT}"), 1);
    stage.assert_no_violations();
}

#[test]
fn a_channel_that_rejects_is_told_to_who_asked() {
    let stage = open(Settings::default());
    let daemon = start(&stage, TOKEN, "");
    let mut client = play::up(&daemon);
    let topic = r#"{"channel":"SecretChannel"}"#;
    let answer = client.request(json!({"op": "subscribe", "topics": [topic]}));
    assert_eq!((&answer["type"], &answer["topics"]), (&json!("error"), &json!([topic])), "{answer}");
    stage.assert_no_violations();
}

#[test]
fn a_connection_without_pings_is_replaced() {
    let stage = open(Settings { ping: Duration::from_millis(300) });
    let daemon = start(&stage, TOKEN, "[heartbeat]\nidle_timeout = \"1s\"\n");
    let mut client = play::up(&daemon);
    stage.event("ping", 5);
    stage.order(Order::Mute);
    client.until(|line| {
        assert_ne!(line["json"]["type"], "ping", "programs don't hear it");
        line["state"] == "waiting"
    });
    client.link("up");
    stage.event("welcome", 2);
    stage.assert_no_violations();
}

#[test]
fn a_wrong_token_or_origin_is_final_and_so_is_the_end_of_a_login() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "bad", "");
    play::given_up(&daemon, &["unauthorized"]);
    assert_eq!(stage.violations().len(), 1);
    let daemon = play::start("actioncable", &stage, &format!("/cable?token={TOKEN}"), "");
    play::given_up(&daemon, &["404"]);
    let stage = open(Settings::default());
    let daemon = start(&stage, TOKEN, "");
    let mut client = play::up(&daemon);
    stage.order(Order::Do("unauthorized"));
    client.link("failed");
    assert_eq!(stage.count("welcome"), 1);
}
