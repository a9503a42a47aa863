//! Mistakes are refused as documented.

use super::{super::visitor::Visitor, *};

const PATH: &str = "/?v=10&encoding=json";

fn quick() -> Settings {
    Settings { identifies: 100, ..Settings::default() }
}

fn identify() -> Value {
    let properties = json!({"os": "linux", "browser": "test", "device": "test"});
    json!({"op": 2, "d": {"token": "good-token", "intents": 513, "properties": properties}})
}

fn resume(session: &str, seq: u64) -> Value {
    json!({"op": 6, "d": {"token": "good-token", "session_id": session, "seq": seq}})
}

/// A connection that is past hello.
fn enter(stage: &Stage, path: &str) -> Visitor {
    let mut visitor = Visitor::enter(stage, path);
    assert_eq!(visitor.json()["op"], 10);
    visitor
}

#[test]
fn who_does_as_documented_is_served_and_resumed() {
    let stage = open(quick());
    let mut visitor = enter(&stage, PATH);
    visitor.say(json!({"op": 1, "d": null}));
    assert_eq!(visitor.json()["op"], 11);
    visitor.say(identify());
    let ready = visitor.json();
    assert_eq!((&ready["t"], &ready["s"]), (&json!("READY"), &json!(1)));
    assert_eq!(ready["d"]["resume_gateway_url"], stage.url("/resume"));
    let session = ready["d"]["session_id"].as_str().unwrap().to_owned();
    stage.order(Order::Say("one".into()));
    assert_eq!(visitor.json()["d"]["content"], "one");
    visitor.say(json!({"op": 1, "d": 2}));
    assert_eq!(visitor.json()["op"], 11);
    visitor.say(json!({"op": 3, "d": {"status": "online"}}));
    stage.event("op 3", 1);
    stage.order(Order::Do("heartbeat"));
    assert_eq!(visitor.json()["op"], 1);
    visitor.say(json!({"op": 1, "d": 2}));
    assert_eq!(visitor.json()["op"], 11);
    stage.order(Order::Do("miss"));
    assert_eq!(visitor.closed().0, 1006);

    let mut visitor = enter(&stage, "/resume/?v=10&encoding=json");
    visitor.say(resume(&session, 2));
    let missed = visitor.json();
    assert_eq!((&missed["s"], &missed["d"]["content"]), (&json!(3), &json!("missed")));
    let resumed = visitor.json();
    assert_eq!((&resumed["s"], &resumed["t"]), (&json!(4), &json!("RESUMED")));
    stage.assert_no_violations();
}

#[test]
fn each_mistake_has_its_close_code() {
    let stage = open(quick());
    let with = |pointer: &str, value: Value| {
        let mut message = identify();
        *message.pointer_mut(pointer).unwrap() = value;
        message
    };
    let long = json!({"op": 1, "d": null, "x": "x".repeat(4096)});
    for (path, said, code) in [
        ("/?v=9&encoding=json", vec![], 4012),
        ("/?v=10&encoding=etf", vec![], 4002),
        (PATH, vec![json!("nonsense")], 4002),
        (PATH, vec![long], 4002),
        (PATH, vec![json!({"op": 99, "d": null})], 4001),
        (PATH, vec![json!({"op": 3, "d": {}})], 4003),
        (PATH, vec![with("/d/token", json!("bad"))], 4004),
        (PATH, vec![with("/d/properties", json!(null))], 4002),
        (PATH, vec![identify(), identify()], 4005),
        (PATH, vec![with("/d/intents", json!(1_u64 << 40))], 4013),
        (PATH, vec![with("/d/intents", json!(1 << 15))], 4014),
    ] {
        let mut visitor = Visitor::enter(&stage, path);
        for message in &said {
            visitor.say(message);
        }
        assert_eq!(visitor.closed().0, code, "{path} {said:?}");
    }
    assert_eq!(stage.violations().len(), 11);
}

#[test]
fn the_121st_event_in_a_minute_is_too_much() {
    let stage = open(quick());
    let mut visitor = enter(&stage, PATH);
    for _ in 0..120 {
        visitor.say(json!({"op": 1, "d": null}));
    }
    stage.event("heartbeat", 120);
    assert_eq!(stage.violations(), [""; 0]);
    visitor.say(json!({"op": 1, "d": null}));
    assert_eq!(visitor.closed().0, 4008);
}

#[test]
fn a_second_identify_within_five_seconds_gets_an_invalid_session() {
    let stage = open(Settings::default());
    enter(&stage, PATH).say(identify());
    stage.event("identify", 1);
    let mut visitor = enter(&stage, PATH);
    visitor.say(identify());
    let answer = visitor.json();
    assert_eq!((&answer["op"], &answer["d"]), (&json!(9), &json!(false)));
}

#[test]
fn who_sends_no_heartbeat_is_closed() {
    let stage = open(Settings { heartbeat: Duration::from_millis(50), patience: Duration::ZERO, ..quick() });
    let mut visitor = enter(&stage, PATH);
    visitor.say(json!({"op": 1, "d": null}));
    assert_eq!(visitor.closed().0, 4000);
    assert!(stage.violations()[0].contains("no heartbeat"));
}

#[test]
fn a_heartbeat_names_an_event_that_was() {
    let stage = open(quick());
    let mut visitor = enter(&stage, PATH);
    visitor.say(json!({"op": 1, "d": 7}));
    visitor.json();
    assert!(stage.violations()[0].contains("a heartbeat with 7"));
}

#[test]
fn a_session_ends_with_1000_and_1001_and_with_nothing_else() {
    for (code, answer) in [(1000, 9), (1001, 9), (4000, 0)] {
        let stage = open(quick());
        let mut visitor = enter(&stage, PATH);
        visitor.say(identify());
        let session = visitor.json()["d"]["session_id"].as_str().unwrap().to_owned();
        visitor.leave(code);
        stage.event(&format!("left {code}"), 1);
        let mut visitor = enter(&stage, "/resume/?v=10&encoding=json");
        visitor.say(resume(&session, 1));
        assert_eq!(visitor.json()["op"], answer, "{code}");
    }
}

#[test]
fn a_resume_must_fit_its_session() {
    let stage = open(quick());
    let mut visitor = enter(&stage, PATH);
    visitor.say(identify());
    let session = visitor.json()["d"]["session_id"].as_str().unwrap().to_owned();
    visitor.leave(4000);
    let path = "/resume/?v=10&encoding=json";
    let mut visitor = enter(&stage, path);
    visitor.say(resume(&session, 5));
    assert_eq!(visitor.closed().0, 4007);
    let mut visitor = enter(&stage, path);
    visitor.say(resume("unheard of", 1));
    let answer = visitor.json();
    assert_eq!((&answer["op"], &answer["d"]), (&json!(9), &json!(false)));
    let mut visitor = enter(&stage, PATH);
    visitor.say(resume(&session, 1));
    assert_eq!(visitor.json()["t"], "RESUMED");
    assert!(stage.violations().last().unwrap().contains("elsewhere"));
}
