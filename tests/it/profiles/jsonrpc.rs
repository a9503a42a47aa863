//! JSON-RPC 2.0, by an Ethereum node and Kodi.

use serde_json::json;

use crate::{
    common::Daemon,
    profiles::play,
    simulators::{
        ethereum::open,
        stage::{Order, Stage},
    },
};

fn start(stage: &Stage, path: &str, more: &str) -> Daemon {
    play::start("jsonrpc", stage, path, more)
}

#[test]
fn two_programs_share_a_subscription_which_the_node_gives_another_id_after_each_break() {
    let stage = open();
    let daemon = start(&stage, "/", "[topics]\nlinger = \"50ms\"\n");
    let mut one = play::up(&daemon);
    let mut other = daemon.client();
    let logs = json!(["logs", {"address": "0xabc"}]);
    for client in [&mut one, &mut other] {
        let answer = client.request(json!({"op": "subscribe", "topics": ["newHeads"]}));
        assert_eq!(answer["result"], "subscribed", "{answer}");
        let answer = client.request(json!({"op": "subscribe", "topics": ["my logs"], "json": logs}));
        assert_eq!(answer["result"], "subscribed", "{answer}");
    }
    for times in 1..4 {
        stage.event("subscribe newHeads", times);
        stage.event("subscribe logs", times);
        for (kind, topic) in [("newHeads", "newHeads"), ("logs", "my logs")] {
            stage.order(Order::Say(format!("{kind} {{\"number\":{times}}}")));
            for client in [&mut one, &mut other] {
                let line = client.until(|line| line["type"] == "message");
                assert_eq!(
                    (&line["topic"], &line["json"]["params"]["result"]["number"]),
                    (&json!(topic), &json!(times)),
                    "{line}"
                );
            }
        }
        stage.order(Order::Drop);
        one.link("up");
        other.link("up");
    }
    drop(one);
    let answer = other.request(json!({"op": "unsubscribe", "topics": ["newHeads", "my logs"]}));
    assert_eq!(answer["result"], "unsubscribed", "{answer}");
    stage.event("unsubscribe newHeads", 1);
    stage.event("unsubscribe logs", 1);
    stage.assert_no_violations();
}

#[test]
fn a_subscription_of_a_programs_own_is_its_own() {
    let stage = open();
    let daemon = start(&stage, "/", "");
    let mut one = play::up(&daemon);
    let mut other = daemon.client();
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]});
    one.write(format!("{}\n", json!({"op": "request", "id": "a", "json": ask})).as_bytes());
    let first = one.until(|line| line["id"] == "a");
    assert_eq!((&first["json"]["id"], &first["json"]["result"]), (&json!(1), &json!("0x1")), "{first}");
    stage.order(Order::Say("newHeads {\"number\":1}".into()));
    let news = one.until(|line| line["id"] == "a");
    assert_eq!(news["json"]["params"]["result"]["number"], 1, "{news}");
    one.request(json!({"op": "cancel", "request": "a"}));
    stage.event("unsubscribe newHeads", 1);
    stage.order(Order::Close(1001, ""));
    let seen = other.until(|line| line["type"] == "message" || line["type"] == "link");
    assert_eq!(seen["type"], "link", "nobody else sees it: {seen}");
    stage.assert_no_violations();
}

#[test]
fn what_a_node_refuses_is_told_by_its_topic() {
    let stage = open();
    let daemon = start(&stage, "/", "");
    let mut client = play::up(&daemon);
    let answer = client.request(json!({"op": "subscribe", "topics": ["newTails"]}));
    assert_eq!((&answer["type"], &answer["topics"]), (&json!("error"), &json!(["newTails"])), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("subscription in eth namespace"), "{answer}");
}

#[test]
fn kodi_answers_who_asks_and_tells_all_what_happens() {
    let stage = open();
    let daemon = start(&stage, "/jsonrpc", "");
    let mut one = play::up(&daemon);
    let mut other = daemon.client();
    let ask = json!({"jsonrpc": "2.0", "id": "x", "method": "JSONRPC.Ping"});
    one.write(format!("{}\n", json!({"op": "request", "id": "a", "json": ask})).as_bytes());
    let pong = one.until(|line| line["id"] == "a");
    assert_eq!(pong["json"], json!({"jsonrpc": "2.0", "id": "x", "result": "pong"}));
    let event =
        json!({"jsonrpc": "2.0", "method": "Player.OnPlay", "params": {"sender": "xbmc", "data": {}}});
    stage.order(Order::Say(event.to_string()));
    for client in [&mut one, &mut other] {
        assert_eq!(client.until(|line| line["type"] == "message")["topic"], "Player.OnPlay");
    }
    stage.assert_no_violations();
}

#[test]
fn a_node_that_is_silent_is_replaced_and_a_wrong_token_is_final() {
    let stage = open();
    let daemon = start(&stage, "/", "[heartbeat]\ninterval = \"200ms\"\ntimeout = \"200ms\"\n");
    let mut client = play::up(&daemon);
    stage.event("ping", 3);
    stage.order(Order::Freeze);
    client.link("waiting");
    client.link("up");
    let daemon = start(&stage, "/secret", "headers = { Authorization = \"Bearer bad\" }\n");
    play::given_up(&daemon, &["401"]);
}
