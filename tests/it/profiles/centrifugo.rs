use std::{fs, time::Duration};

use serde_json::json;

use crate::{
    common::Daemon,
    profiles::play,
    simulators::{
        centrifugo::{EXPIRED, Settings, TOKEN, open},
        stage::{Order, Stage},
    },
};

const PATH: &str = "/connection/websocket";

fn start(stage: &Stage, token: &str) -> Daemon {
    play::start("centrifugo", stage, PATH, &vars(token))
}

fn vars(token: &str) -> String {
    format!("[vars]\ntoken = \"{token}\"\nchannel = \"news\"\n")
}

#[test]
fn a_channel_is_subscribed_to_and_pings_are_answered() {
    let quick = Duration::from_millis(100);
    let stage = open(Settings { ping: quick, ..Settings::default() });
    let daemon = start(&stage, TOKEN);
    let mut client = play::up(&daemon);
    stage.event("pong", 3);
    stage.order(Order::Say(r#"news {"n":1}"#.into()));
    loop {
        let line = client.message();
        assert_ne!(line["json"], json!({}), "a ping isn't for programs");
        if line["json"]["push"]["pub"]["data"]["n"] == 1 {
            break;
        }
    }
    client.ask(json!({"op": "send", "json": {"id": 1000, "subscribe": {"channel": "chat"}}}));
    client.until(|line| line["json"]["id"] == 1000);
    stage.event("subscribe chat", 1);
    stage.assert_no_violations();
}

#[test]
fn replies_in_one_message_are_heard_one_by_one() {
    let stage = open(Settings { batch: true, ..Settings::default() });
    let daemon = start(&stage, TOKEN);
    let mut client = daemon.client();
    stage.event("pong", 1);
    if client.hello["link"] != "up" {
        client.link("up");
    }
    stage.order(Order::Say(r#"news {"n":1}"#.into()));
    client.until(|line| line["json"]["push"]["pub"]["data"]["n"] == 1);
    stage.assert_no_violations();
}

#[test]
fn a_code_that_says_so_ends_the_link_and_others_do_not() {
    for (code, reason, ends) in [
        (3012, "no pong", false),
        (4000, "custom", false),
        (3503, "force disconnect", true),
        (4500, "custom", true),
    ] {
        let stage = open(Settings::default());
        let daemon = start(&stage, TOKEN);
        let mut client = play::up(&daemon);
        stage.order(Order::Close(code, reason));
        let line = client.link(if ends { "failed" } else { "waiting" });
        assert_eq!(line["code"], code);
        if !ends {
            client.link("up");
        }
        stage.assert_no_violations();
    }
}

#[test]
fn an_invalid_token_is_not_tried_again() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "made up");
    assert_eq!(play::failed(&daemon)["code"], 3500);
    assert_eq!(stage.violations().len(), 1);
}

#[test]
fn an_expired_token_is_read_anew() {
    let stage = open(Settings::default());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, EXPIRED).unwrap();
    let config = play::config("centrifugo", &stage, PATH, &vars(&format!("${{file:{}}}", file.display())));
    let mut daemon = Daemon::spawn_in(directory, &config);
    daemon.notified("READY=1");
    stage.event("error 109", 1);
    fs::write(&file, TOKEN).unwrap();
    play::up(&daemon);
}

#[test]
fn a_connection_whose_token_expires_is_replaced() {
    let stage = open(Settings { expires: Some(Duration::from_millis(300)), ..Settings::default() });
    let daemon = start(&stage, TOKEN);
    let mut client = play::up(&daemon);
    client.until(|line| line["code"] == 3005);
    client.link("up");
    stage.event("subscribe news", 2);
    stage.assert_no_violations();
}
