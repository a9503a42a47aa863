//! OpenAI's Realtime API.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    common::{Client, Daemon},
    profiles::play,
    simulators::{
        openai_realtime::{KEY, Settings, open},
        stage::{Order, Stage},
    },
};

const PATH: &str = "/v1/realtime?model=gpt-realtime";

fn start(stage: &Stage, key: &str, more: &str) -> Daemon {
    let session = "session = { type = \"realtime\", instructions = \"Be brief.\" }";
    play::start("openai-realtime", stage, PATH, &format!("{more}\n[vars]\ntoken = \"{key}\"\n{session}\n"))
}

fn send(client: &mut Client, event: &Value) {
    let answer = client.request(json!({"op": "send", "json": event}));
    assert_eq!(answer["type"], "ok", "{answer}");
}

#[test]
fn each_session_is_configured_and_programs_follow_what_they_want_of_it() {
    let stage = open(Settings::default());
    let daemon = start(&stage, KEY, "");
    let mut one = play::up(&daemon);
    let mut other = daemon.client();
    let answer = other.request(json!({"op": "attach", "topics": ["response.output_text.delta"]}));
    assert_eq!(answer["type"], "ok", "{answer}");
    for times in 1..3 {
        stage.event("update", times);
        let content = json!([{"type": "input_text", "text": "Hi"}]);
        send(
            &mut one,
            &json!({"type": "conversation.item.create", "item": {"type": "message", "content": content}}),
        );
        send(&mut one, &json!({"type": "response.create"}));
        one.until(|line| line["json"]["type"] == "response.done");
        let delta = other.until(|line| line["type"] == "message");
        assert_eq!(delta["json"]["delta"], "I heard 1 of you.", "{delta}");
        stage.order(Order::Drop);
        one.link("up");
        other.link("up");
    }
    stage.heard("the instructions", |heard| heard["session"]["instructions"] == "Be brief.");
    stage.assert_no_violations();
}

#[test]
fn a_new_session_takes_over_before_the_old_one_is_over() {
    let stage = open(Settings { session: Duration::from_secs(4) });
    let daemon = start(&stage, KEY, "[rotate]\nafter = \"1s\"\noverlap = \"300ms\"\n");
    let mut client = play::attend(&daemon);
    let mut sessions = 0;
    while sessions < 3 {
        let line = client.line();
        assert_ne!(line["state"], "waiting", "{line}");
        sessions += usize::from(line["json"]["type"] == "session.created");
    }
    assert_eq!(stage.count("expired"), 0);
    stage.assert_no_violations();
}

#[test]
fn a_session_that_is_over_all_the_same_is_followed_by_another() {
    let stage = open(Settings { session: Duration::from_millis(500) });
    let daemon = start(&stage, KEY, "");
    let mut client = play::attend(&daemon);
    let error = client.until(|line| line["json"]["type"] == "error");
    assert_eq!(error["json"]["error"]["code"], "session_expired", "{error}");
    client.link("up");
    stage.event("update", 2);
    stage.assert_no_violations();
}

#[test]
fn a_wrong_key_and_a_session_that_is_refused_are_final() {
    let stage = open(Settings::default());
    let daemon = start(&stage, "sk-hunter2", "");
    play::given_up(&daemon, &["401"]);
    assert_eq!(stage.violations().len(), 1);
    assert!(!daemon.log().contains("sk-hunter2"), "the key is in the log");
    let stage = open(Settings::default());
    let more = format!("[vars]\ntoken = \"{KEY}\"\nsession = {{ type = \"realtime\", volume = 11 }}\n");
    let daemon = play::start("openai-realtime", &stage, PATH, &more);
    play::given_up(&daemon, &["configure", "session.volume"]);
    let more = format!("[vars]\ntoken = \"{KEY}\"\n");
    let daemon = play::start("openai-realtime", &stage, "/v1/realtime?model=none", &more);
    play::given_up(&daemon, &["session", "model_not_found"]);
}

#[test]
fn a_programs_mistake_is_told_and_ends_nothing() {
    let stage = open(Settings::default());
    let daemon = start(&stage, KEY, "");
    let mut client = play::up(&daemon);
    send(&mut client, &json!({"type": "fly", "event_id": "mine"}));
    let error = client.until(|line| line["topic"] == "error");
    assert_eq!(error["json"]["error"]["event_id"], "mine", "{error}");
    send(&mut client, &json!({"type": "response.create"}));
    client.until(|line| line["topic"] == "response.done");
    assert_eq!(stage.count("session"), 1);
}

#[test]
fn a_connection_that_answers_no_ping_is_replaced() {
    let stage = open(Settings::default());
    let daemon = start(&stage, KEY, "[heartbeat]\ninterval = \"200ms\"\ntimeout = \"200ms\"\n");
    let mut client = play::up(&daemon);
    stage.event("ping", 2);
    stage.order(Order::Freeze);
    client.link("waiting");
    client.link("up");
    stage.event("update", 2);
}
