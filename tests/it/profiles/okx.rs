use std::time::Duration;

use crate::{
    common::Daemon,
    profiles::play,
    simulators::{
        okx::{KEY, PASSPHRASE, SECRET, Settings, open, sign, timestamp},
        stage::{Order, Stage},
    },
};

/// A daemon with a key and a program that signs: one that prints a signature of now.
fn start(stage: &Stage, passphrase: &str, more: &str) -> Daemon {
    let directory = tempfile::tempdir().unwrap();
    let timestamp = timestamp();
    let sign = sign(SECRET, &timestamp);
    let more = format!(
        "[vars]\napi_key = \"{KEY}\"\npassphrase = '{passphrase}'\n\
         timestamp = \"${{command:sign/timestamp}}\"\nsign = \"${{command:sign/sign}}\"\n\
         channels = [{{ channel = \"orders\", instType = \"ANY\" }}]\n\
         [command.sign]\nrun = [\"/bin/echo\", '{{\"timestamp\":\"{timestamp}\",\"sign\":\"{sign}\"}}']\n{more}"
    );
    let config = play::config("okx", stage, "/ws/v5/private", &more);
    let mut daemon = Daemon::spawn_in(directory, &config);
    daemon.notified("READY=1");
    daemon
}

#[test]
fn the_login_is_signed_and_silence_is_filled_with_pings() {
    let stage = open(Settings::default());
    let quick = "[heartbeat]\ninterval = \"2s\"\ntimeout = \"2s\"\n";
    let daemon = start(&stage, PASSPHRASE, quick);
    let mut client = play::up(&daemon);
    stage.order(Order::Say(r#"orders {"ordId":"1"}"#.into()));
    client.until(|line| line["json"]["data"][0]["ordId"] == "1");
    stage.event("ping", 2);
    stage.assert_no_violations();
}

#[test]
fn public_channels_need_no_login() {
    let stage = open(Settings::default());
    let channels = "[vars]\nchannels = [{ channel = \"books\" }, { channel = \"trades\" }]\n";
    let daemon = play::start("okx", &stage, "/ws/v5/public", channels);
    let mut client = play::up(&daemon);
    stage.event("subscribe trades", 1);
    stage.order(Order::Say(r#"books {"seqId":1}"#.into()));
    client.until(|line| line["json"]["data"][0]["seqId"] == 1);
    stage.assert_no_violations();
}

#[test]
fn a_wrong_passphrase_is_not_tried_again() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "hunter2", "");
    let line = play::failed(&daemon);
    assert!(line["error"].as_str().unwrap().contains("log in"), "{line}");
    assert_eq!(stage.count("error 60024"), 1);
    assert!(!daemon.log().contains("hunter2"), "the passphrase is in the log");
}

#[test]
fn an_upgrade_of_the_service_is_survived_without_a_break() {
    let stage = open(Settings { upgrade: Duration::from_secs(20), ..Settings::default() });
    let daemon = start(&stage, PASSPHRASE, "[rotate]\noverlap = \"500ms\"\n");
    let mut client = play::up(&daemon);
    stage.order(Order::Do("upgrade"));
    client.until(|line| line["json"]["code"] == "64008");
    stage.event("subscribe orders", 2);
    stage.order(Order::Say(r#"orders {"ordId":"2"}"#.into()));
    loop {
        let line = client.line();
        assert_ne!(line["state"], "waiting", "{line}");
        if line["json"]["data"][0]["ordId"] == "2" {
            break;
        }
    }
    stage.assert_no_violations();
}

#[test]
fn no_more_than_three_connections_are_made_in_a_second() {
    let stage = open(Settings::default());
    let daemon = start(&stage, PASSPHRASE, "");
    for connection in 1..=5 {
        stage.event("subscribe orders", connection);
        stage.order(Order::Drop);
        stage.empty();
    }
    play::up(&daemon);
    stage.assert_no_violations();
}
