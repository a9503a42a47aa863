//! OBS Studio.

use serde_json::{Value, json};

use crate::{
    common::{Client, Daemon},
    profiles::play,
    simulators::{
        obs_websocket::{PASSWORD, open},
        stage::{Order, Stage},
    },
};

fn start(stage: &Stage, password: &str, more: &str) -> Daemon {
    play::start("obs-websocket", stage, "/", &format!("{more}\n[vars]\npassword = \"{password}\"\n"))
}

fn ask(client: &mut Client, id: &str, request: &Value) -> Value {
    let json = json!({"op": 6, "d": request});
    client.write(format!("{}\n", json!({"op": "request", "id": id, "json": json})).as_bytes());
    client.until(|line| line["id"] == id)
}

#[test]
fn each_connections_challenge_is_answered() {
    let stage = open();
    let daemon = start(&stage, PASSWORD, "");
    let mut client = play::up(&daemon);
    for times in 1..4 {
        stage.event("authenticated", times);
        stage.order(Order::Say(r#"CurrentProgramSceneChanged 4 {"sceneName":"Start"}"#.into()));
        client.until(|line| line["topic"] == "CurrentProgramSceneChanged");
        stage.order(Order::Drop);
        client.link("up");
    }
    stage.heard("all usual events are wanted", |heard| heard["d"]["eventSubscriptions"] == 2047);
    stage.assert_no_violations();
}

#[test]
fn where_no_password_is_wanted_none_is_needed_and_it_may_be_wanted_later() {
    let stage = open();
    let daemon = start(&stage, PASSWORD, "");
    let mut client = play::up(&daemon);
    stage.event("authenticated", 1);
    stage.order(Order::Do("open"));
    stage.order(Order::Drop);
    client.link("up");
    stage.event("identified", 2);
    assert_eq!(stage.count("authenticated"), 1);
    stage.order(Order::Do("lock"));
    stage.order(Order::Drop);
    client.link("up");
    stage.event("authenticated", 2);
    // nor is there one to be read
    stage.order(Order::Do("open"));
    stage.order(Order::Drop);
    stage.event("identified", 4);
    let daemon = play::start("obs-websocket", &stage, "/", "");
    play::up(&daemon);
    stage.assert_no_violations();
}

#[test]
fn a_wrong_password_and_a_session_that_is_ended_in_obs_are_final() {
    let stage = open();
    let daemon = start(&stage, "hunter2", "");
    let error = play::given_up(&daemon, &["4009", "Authentication failed"]);
    assert!(!error.contains("hunter2") && !daemon.log().contains("hunter2"));
    assert_eq!(stage.violations().len(), 1);
    let stage = open();
    let daemon = start(&stage, PASSWORD, "");
    let mut client = play::up(&daemon);
    stage.order(Order::Do("kick"));
    let line = client.link("failed");
    assert!(line["error"].as_str().unwrap().contains("4011"), "{line}");
}

#[test]
fn a_scene_that_one_program_sets_is_told_to_those_who_want_to_know_and_to_no_others() {
    let stage = open();
    let daemon = start(&stage, PASSWORD, "");
    let mut one = play::up(&daemon);
    let mut other = daemon.client();
    let answer = other.request(json!({"op": "attach", "topics": ["CurrentProgramSceneChanged"]}));
    assert_eq!(answer["type"], "ok", "{answer}");
    let scene = json!({"sceneName": "End"});
    let set = json!({"requestType": "SetCurrentProgramScene", "requestId": "1", "requestData": scene});
    let answer = ask(&mut one, "a", &set);
    assert_eq!(
        (&answer["json"]["d"]["requestId"], &answer["failed"]),
        (&json!("1"), &Value::Null),
        "{answer}"
    );
    let event = other.until(|line| line["type"] == "message");
    assert_eq!(event["json"]["d"]["eventData"]["sceneName"], "End", "{event}");
    stage.order(Order::Say(r#"InputMuteStateChanged 8 {"inputMuted":true}"#.into()));
    stage.order(Order::Say(r#"CurrentProgramSceneChanged 4 {"sceneName":"Start"}"#.into()));
    let event = other.until(|line| line["type"] == "message");
    assert_eq!(event["json"]["d"]["eventData"]["sceneName"], "Start", "{event}");
    stage.assert_no_violations();
}

#[test]
fn a_connection_that_answers_no_ping_is_replaced() {
    let stage = open();
    let daemon = start(&stage, PASSWORD, "[heartbeat]\ninterval = \"200ms\"\ntimeout = \"200ms\"\n");
    let mut client = play::up(&daemon);
    stage.event("ping", 2);
    stage.order(Order::Freeze);
    client.link("waiting");
    client.link("up");
    stage.event("authenticated", 2);
}
