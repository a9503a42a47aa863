//! Slack's Socket Mode.

use serde_json::Value;

use crate::{
    common::Daemon,
    profiles::play::{QUIET, attend, given_up, payload, run},
    simulators::{
        slack::{Settings, open},
        stage::{Order, Stage},
    },
};

/// The profile's own command, but for the address.
fn start(stage: &Stage, token: &str) -> Daemon {
    let profile = include_str!("../../../config/profiles/slack.toml");
    let command = &profile[profile.find("[upstream.url_command]").unwrap()..];
    let command = &command[..command.find("[[script.step]]").unwrap()];
    let command = command.replace("https://slack.com", &stage.url("").replacen("ws:", "http:", 1));
    run("slack", &format!("[vars]\ntoken = \"{token}\"\n{command}"))
}

#[test]
fn each_event_is_acknowledged_and_given_to_clients() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "xapp-good");
    let mut client = attend(&daemon);
    for (text, times) in [("one", 1), ("two", 2)] {
        stage.order(Order::Say(text.into()));
        stage.event("ack", times);
        payload(&mut client, "/payload/event/text", text);
    }
    assert_eq!((stage.count("url"), stage.count("hello")), (1, 1));
    stage.assert_no_violations();
}

#[test]
fn a_warning_is_answered_by_a_new_connection_before_the_old_one_ends() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "xapp-good");
    let mut client = attend(&daemon);
    stage.order(Order::Do("warning"));
    stage.event("hello", 2);
    // what is sent on both is acknowledged twice and given once
    stage.order(Order::Do("again"));
    stage.event("ack", 2);
    stage.order(Order::Say("after".into()));
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &Value| line["json"]["payload"]["event"]["text"] != "after") {
        lines.push(client.line());
    }
    let given = lines.iter().filter(|line| line["json"]["payload"]["event"]["text"] == "last words").count();
    assert_eq!(given, 1, "{lines:#?}");
    assert!(!lines.iter().any(|line| line["state"] == "waiting"), "{lines:#?}");
    stage.event("ack", 3);
    assert_eq!(stage.count("url"), 2);
    stage.assert_no_violations();
}

#[test]
fn each_connection_has_a_url_of_its_own() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "xapp-good");
    let mut client = attend(&daemon);
    for (order, times) in [(Order::Do("refresh"), 2), (Order::Drop, 3), (Order::Close(1001, ""), 4)] {
        stage.order(order);
        stage.event("hello", times);
        client.link("up");
    }
    assert_eq!(stage.count("url"), 4);
    stage.assert_no_violations();
}

#[test]
fn a_bad_token_stops_by_name() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "xapp-bad");
    let error = given_up(&daemon, &["url_command", "invalid_auth"]);
    assert!(!error.contains("xapp-bad"), "{error}");
    stage.never_within(QUIET, "it asks again", |book| book.violations.len() > 1);
    assert_eq!(stage.violations(), ["invalid_auth"]);
}
