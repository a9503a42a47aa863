//! Heartbeats: which there are, and what each needs.

use super::*;

#[test]
fn heartbeat() {
    refused(&[
        ("heartbeat.interval = \"0s\"", "line 2: heartbeat.interval is 0s: write 100ms to 1d"),
        ("heartbeat.interval = \"99ms\"", "line 2: heartbeat.interval is 99ms: write 100ms to 1d"),
        ("heartbeat.interval = \"25h\"", "line 2: heartbeat.interval is 25h: write 100ms to 1d"),
        (
            "heartbeat.interval = 1.5",
            "line 2: heartbeat.interval is 1.5 without a unit: write \"1.5s\" if it is seconds",
        ),
        (
            "heartbeat.interval = false",
            "line 2: heartbeat.interval is true or false: write a duration such as \"30s\"",
        ),
        ("heartbeat.timeout = \"9ms\"", "line 2: heartbeat.timeout is 9ms: write 10ms to 1d, or \"off\""),
        (
            "[heartbeat]\ninterval = \"5s\"\ntimeout = \"6s\"",
            "line 4: heartbeat.timeout is 6s, longer than heartbeat.interval, which is 5s: write a shorter one, or leave it out",
        ),
        (
            "heartbeat.timeout = \"31s\"",
            "line 2: heartbeat.timeout is 31s, longer than heartbeat.interval, which is 30s: write a shorter one, or leave it out",
        ),
        // A bad interval is not compared with anything.
        (
            "[heartbeat]\ninterval = \"0s\"\ntimeout = \"1m\"",
            "line 3: heartbeat.interval is 0s: write 100ms to 1d",
        ),
        (
            "heartbeat.idle_timeout = \"0s\"",
            "line 2: heartbeat.idle_timeout is 0s: write 1s to 365d, or \"off\"",
        ),
        (
            "heartbeat.idle_timeout = \"never\"",
            "line 2: heartbeat.idle_timeout is \"never\", not a duration: write a number and a unit, such as \"30s\" or \"1m30s\", or \"off\"",
        ),
        (
            "heartbeat.timeout = \"never\"",
            "line 2: heartbeat.timeout is \"never\", not a duration: write a number and a unit, such as \"30s\" or \"1m30s\", or \"off\"",
        ),
        (
            "heartbeat.idle_timeout = \"${capture:i} + 5s\"",
            "line 2: heartbeat.idle_timeout has `${capture:i}`, which is captured nowhere: write `capture = { … }` in a step of the script, or a [[capture]]",
        ),
        (
            "heartbeat.idle_timeout = \"5s + ${uuid}\"",
            "line 2: heartbeat.idle_timeout has \"${uuid}\", which is neither a duration nor a capture: write such as \"90s\", \"${capture:NAME}\" or \"${capture:NAME} + 5s\"",
        ),
        (
            "heartbeat.idle_timeout = \"5s + 5s\"",
            "line 2: heartbeat.idle_timeout is \"5s + 5s\", not a duration: write a number and a unit, such as \"30s\" or \"1m30s\", or \"off\"",
        ),
        (
            "heartbeat.idle_timeout_unit = \"m\"",
            "line 2: heartbeat.idle_timeout_unit is \"m\": write \"ms\" or \"s\"",
        ),
        (
            "heartbeat.kind = \"pong\"",
            "line 2: heartbeat.kind is \"pong\": write \"ping\", \"message\" or \"off\"",
        ),
        (
            "heartbeat.kind = false",
            "line 2: heartbeat.kind is true or false: write \"ping\", \"message\" or \"off\"",
        ),
        (
            "heartbeat.message = \"\"",
            "line 2: heartbeat.message only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "heartbeat.expect = { \"/a\" = 1 }",
            "line 2: heartbeat.expect only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "heartbeat.message = \"ping\"",
            "line 2: heartbeat.message only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "heartbeat = { kind = \"off\", message = \"ping\" }",
            "line 2: heartbeat.message only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "heartbeat.message_binary = \"wAA=\"",
            "line 2: heartbeat.message_binary only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        ),
        (
            "heartbeat = { kind = \"message\", message_binary = \"wAA\" }",
            "line 2: heartbeat.message_binary is no base64 with padding (RFC 4648, 4): Invalid padding",
        ),
        (
            "heartbeat = { kind = \"message\", message = \"ping\", message_binary = \"wAA=\" }",
            "line 2: heartbeat.message_binary is there beside `message`: write one of them",
        ),
        (
            "heartbeat = { kind = \"message\", expect = {} }",
            "line 2: heartbeat.expect is empty: write a JSON pointer and its value, such as { \"/type\" = \"pong\" }, or leave it out",
        ),
        (
            "heartbeat = { kind = \"message\", expect = 1 }",
            "line 2: heartbeat.expect is an integer: write a text, or a table such as { \"/type\" = \"pong\" }",
        ),
        (
            "heartbeat.interval_unit = \"m\"",
            "line 2: heartbeat.interval_unit is \"m\": write \"ms\" or \"s\"",
        ),
        (
            "heartbeat.interval = \"${capture:i}\"",
            "line 2: heartbeat.interval has `${capture:i}`, which is captured nowhere: write `capture = { … }` in a step of the script, or a [[capture]]",
        ),
        (
            "heartbeat.interval = \"${uuid}\"",
            "line 2: heartbeat.interval is neither a duration nor a capture: write such as \"30s\" or \"${capture:NAME}\"",
        ),
        (
            "heartbeat.first = \"soon\"",
            "line 2: heartbeat.first is \"soon\": write \"interval\", \"random\" or \"now\"",
        ),
        (
            "heartbeat.only_when_idle = 1",
            "line 2: heartbeat.only_when_idle is an integer: write true or false",
        ),
        (
            "heartbeat.close_code = 1001",
            "line 2: heartbeat.close_code is 1001: write 1000, or a number from 3000 to 4999",
        ),
        (
            "heartbeat.message = '{\"a\":${env:A}}'",
            "line 2: heartbeat.message has `${env:A}`, which is text that stands bare in JSON: put quotes around it",
        ),
        (
            "heartbeat = { kind = \"message\", expect = { type = 1 } }",
            "line 2: heartbeat.expect.type is no JSON pointer: write one such as \"/type\", or \"\" for the whole",
        ),
        (
            "heartbeat = { kind = \"message\", expect = { \"/a\" = [[1]] } }",
            "line 2: heartbeat.expect.\"/a\"[0] is a list, which is no JSON text, number, true or false: write one of these",
        ),
        (
            "heartbeat = { kind = \"message\", expect = { \"/a\" = nan } }",
            "line 2: heartbeat.expect.\"/a\" is a decimal number, which is no JSON text, number, true or false: write one of these",
        ),
    ]);
    let beat = |lines: &str| with(lines).unwrap().heartbeat;
    assert_eq!(beat("heartbeat.interval = \"5s\"").timeout, Some(Duration::from_secs(5)));
    assert_eq!(beat("heartbeat.interval = \"1h\"").timeout, Some(Duration::from_secs(10)));
    assert_eq!(beat("heartbeat.timeout = \"30s\"").timeout, Some(Duration::from_secs(30)));
    assert_eq!(beat("heartbeat.kind = \"off\"").kind, HeartbeatKind::Off);
    let idle = beat("heartbeat.idle_timeout = \"1m30s\"").idle_timeout;
    assert_eq!(idle, Some(Duration::from_secs(90)));
    let HeartbeatKind::Message { message, expect } = beat("heartbeat.kind = \"message\"").kind else {
        panic!("no message");
    };
    let hello = r#"{"module":"HEART_CHECK","message":"请求心跳"}"#;
    assert_eq!(message, Say::Text(Template::literal(hello)));
    assert_eq!(expect, None);
    let lines = "heartbeat = { kind = \"message\", message = \"ping\", \
                 expect = { \"/t\" = \"pong\", \"/n\" = 0x10, \"/f\" = 1.5, \"/a~1b\" = true } }";
    let HeartbeatKind::Message { message, expect } = beat(lines).kind else { panic!("no message") };
    assert_eq!(message, Say::Text(Template::literal("ping")));
    let answer = r#"{"f":1.5,"n":16,"t":"pong","a/b":true}"#;
    assert!(expect.unwrap().matches(answer.as_bytes()));

    let lines = "[heartbeat]\nkind = \"message\"\nmessage_binary = \"wAA=\"";
    let HeartbeatKind::Message { message, expect } = beat(lines).kind else { panic!("no message") };
    assert_eq!((message, expect), (Say::Binary(vec![0xc0, 0]), None));
}

#[test]
fn an_idle_timeout_may_be_what_the_server_says() {
    let told = |idle: &str| {
        let lines = format!(
            "[heartbeat]\nidle_timeout = \"{idle}\"\n[[capture]]\nmatch = \"a\"\nvalues = {{ a = \"/a\", b = \"/b\" }}"
        );
        with(&lines).map(|config| config.heartbeat)
    };
    let heartbeat = told("2s + ${capture:a} + ${capture:b} + 1m").unwrap();
    let from = heartbeat.idle_timeout_from.unwrap();
    assert_eq!((&from.captures[..], heartbeat.idle_timeout), (&["a".to_owned(), "b".to_owned()][..], None));
    assert_eq!((from.unit, from.plus), (Duration::from_millis(1), Duration::from_secs(62)));
    assert_eq!(from.to_string(), "${capture:a} + ${capture:b} + 1m2s");
    let many = ["${capture:a}"; 9].join("+");
    assert_eq!(told(&many).unwrap_err(), "line 3: heartbeat.idle_timeout adds up 9 values: write at most 8");
    for bad in [
        "${capture:a} +",
        "${capture:a} 5s",
        "${capture:a}s",
        "x${capture:a}",
        "${capture:a} - 5s",
        "${capture:a} + 366d",
    ] {
        let why = told(bad).unwrap_err();
        assert!(why.contains("which is neither a duration nor a capture"), "{bad}: {why}");
    }
}

#[test]
fn a_heartbeat_that_nothing_answers_or_that_is_off_wants_another_proof_of_life() {
    let warnings = |lines: &str| {
        let warnings = with(lines).unwrap().warnings;
        warnings.into_iter().map(|warning| (warning.line, warning.sentence)).collect::<Vec<_>>()
    };
    let message = "[heartbeat]\nkind = \"message\"\nmessage = \"\\n\"\ntimeout = \"off\"\n";
    let told = warnings(message);
    let [(Some(5), sentence)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        sentence,
        "heartbeat.timeout is \"off\" without `idle_timeout`, so that a dead connection isn't noticed until the system \
         gives it up: write in idle_timeout after which silence it is dead"
    );
    assert_eq!(warnings("heartbeat.timeout = \"off\"").len(), 1);
    let capture = "[[capture]]\nmatch = \"a\"\nvalues = { a = \"/a\" }";
    for proven in ["idle_timeout = \"1m\"", &format!("idle_timeout = \"${{capture:a}}\"\n{capture}")] {
        assert_eq!(warnings(&format!("{message}{proven}")), []);
    }
    let told = warnings("heartbeat = { kind = \"off\", timeout = \"off\" }");
    let [(Some(2), sentence)] = &told[..] else { panic!("{told:?}") };
    assert!(sentence.starts_with("heartbeat.kind is \"off\" without `idle_timeout`"), "{sentence}");
    assert_eq!(warnings("heartbeat = { kind = \"off\", idle_timeout = \"1m\" }"), []);
    assert_eq!(with(message).unwrap().heartbeat.timeout, None);
}
