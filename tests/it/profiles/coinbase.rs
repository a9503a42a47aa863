use std::{fs, time::Duration};

use crate::{
    common::Daemon,
    profiles::play,
    simulators::{
        coinbase::{Settings, open},
        stage::Order,
    },
};

fn quick() -> Settings {
    Settings { quiet: Duration::from_secs(2), heartbeat: Duration::from_millis(100), ..Settings::default() }
}

#[test]
fn a_quiet_channel_stays_and_a_lost_message_is_declared() {
    let stage = open(quick());
    let daemon = play::start("coinbase", &stage, "/", "");
    let mut client = play::up(&daemon);
    // longer than a quiet channel would last
    client.until(|line| line["json"]["events"][0]["heartbeat_counter"].as_u64() >= Some(25));
    stage.order(Order::Do("lose"));
    stage.order(Order::Say(r#"ticker {"price":"1.5"}"#.into()));
    let gap = client.until(|line| line["type"] == "gap");
    assert_eq!((&gap["why"], &gap["count"]), (&"upstream".into(), &1.into()));
    assert_eq!(gap["from"], gap["to"]);
    let next = client.until(|line| !line["json"]["sequence_num"].is_null());
    assert_eq!(next["json"]["sequence_num"], gap["to"].as_u64().unwrap() + 1);
    stage.assert_no_violations();
}

#[test]
fn with_on_hole_a_lost_message_leads_to_a_new_connection() {
    let stage = open(quick());
    let daemon = play::start("coinbase", &stage, "/", "[sequence]\non_hole = \"reconnect\"\n");
    let mut client = play::up(&daemon);
    stage.order(Order::Do("lose"));
    client.until(|line| line["type"] == "gap" && line["why"] == "upstream");
    client.link("up");
    stage.event("subscribe ticker", 2);
    stage.assert_no_violations();
}

#[test]
fn heartbeats_that_stop_lead_to_a_new_connection() {
    let stage = open(quick());
    let daemon = play::start("coinbase", &stage, "/", "[heartbeat]\nidle_timeout = \"1s\"\n");
    let mut client = play::up(&daemon);
    stage.order(Order::Mute);
    client.link("waiting");
    client.link("up");
    stage.event("subscribe ticker", 2);
}

/// What a user writes for a channel of the account.
const ACCOUNT: &str = r#"
[vars]
subscribe = { type = "subscribe", channel = "user", jwt = "${command:jwt}" }
"#;

#[test]
fn an_accounts_channel_gets_a_new_jwt_for_each_connection() {
    let stage = open(quick());
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    fs::write(&count, "0").unwrap();
    let more = format!(
        "[command.jwt]\nrun = [\"/bin/sh\", \"-c\", 'n=$(($(cat {0}) + 1)); echo $n > {0}; echo jwt-$n']\n\
         {ACCOUNT}",
        count.display()
    );
    let mut daemon = Daemon::spawn_in(directory, &play::config("coinbase", &stage, "/", &more));
    daemon.notified("READY=1");
    let mut client = play::up(&daemon);
    stage.order(Order::Drop);
    client.link("up");
    stage.event("subscribe user", 2);
    stage.assert_no_violations();
}

#[test]
fn a_refused_subscription_is_not_tried_again() {
    let stage = open(quick());
    let more = "[vars]\nsubscribe = { type = \"subscribe\", channel = \"user\" }\n";
    let daemon = play::start("coinbase", &stage, "/", more);
    let line = play::failed(&daemon);
    assert!(line["error"].as_str().unwrap().contains("subscribe"), "{line}");
    assert_eq!(stage.violations(), ["connection 1: authentication failure"]);
}
