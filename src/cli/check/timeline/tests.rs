use super::*;
use crate::upstream::live_check::{StepReport, Trouble};

fn plain(part: Part, found: Found) -> Row {
    let elapsed = Duration::from_micros(1234);
    Row { part, name: None, elapsed, found: Some(found), narrow: None, trouble: None }
}

fn day(day: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400)
}

fn tls(days: u64) -> Row {
    let names = (1..=8).map(|n| format!("{n}.example")).collect();
    let certificate = Certificate { names, issuer: "Ours, R3".into(), not_after: day(20_000 + days) };
    plain(
        Part::Tls,
        Found::Tls {
            version: "TLS 1.3".into(),
            cipher: "TLS13_AES_256_GCM_SHA384".into(),
            alpn: None,
            certificate: Some(certificate),
        },
    )
}

/// A row's text without its colours, a line each without the indent.
fn text(row: &Row) -> Vec<String> {
    let text = anstream::adapter::strip_str(&super::row(row, day(20_000))).to_string();
    assert!(text.ends_with('\n') && !text.contains(" \n"), "{text:?}");
    text.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn rows_for_people() {
    for (part, found, lines) in [
        (
            Part::Prepare,
            Found::Prepared { address: "h:443".into(), headers: vec!["Authorization".into()] },
            &["ok        prepare          1.2 ms  h:443, with Authorization"][..],
        ),
        (
            Part::Dns,
            Found::Resolved {
                host: "h".into(),
                addresses: vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()],
            },
            &["ok        dns              1.2 ms  h is ::1, 127.0.0.1"],
        ),
        (
            Part::Dns,
            Found::Resolved { host: "::1".into(), addresses: vec!["::1".parse().unwrap()] },
            &["ok        dns              1.2 ms  an address already"],
        ),
        (
            Part::Tcp,
            Found::Connected {
                address: "127.0.0.1:443".parse().unwrap(),
                failed: vec![("::1".parse().unwrap(), "connection refused".into())],
            },
            &["warning   tcp              1.2 ms  127.0.0.1:443 answered", "::1 didn't: connection refused"],
        ),
        (
            Part::Upgrade,
            Found::Upgraded {
                status: 101,
                subprotocol: Some("v1".into()),
                extensions: Some("permessage-deflate".into()),
            },
            &["ok        http             1.2 ms  101, subprotocol v1, extensions permessage-deflate"],
        ),
        (
            Part::Heartbeat,
            Found::Beat { message: None, round_trip: Some(Duration::from_millis(1)), answered: Some(true) },
            &["ok        heartbeat        1.2 ms  a ping, answered after 1.0 ms"],
        ),
        (
            Part::Heartbeat,
            Found::Beat {
                message: Some("{\"op\":\"ping\"}".into()),
                round_trip: Some(Duration::from_millis(1)),
                answered: Some(true),
            },
            &["ok        heartbeat        1.2 ms  sent {\"op\":\"ping\"}", "answered after 1.0 ms"],
        ),
        (
            Part::Heartbeat,
            Found::Beat {
                message: Some("hi".into()),
                round_trip: Some(Duration::from_millis(1)),
                answered: Some(false),
            },
            &[
                "ok        heartbeat        1.2 ms  sent hi",
                "something came after 1.0 ms: without `expect` nothing tells the answer from other messages",
            ],
        ),
        (
            Part::Heartbeat,
            Found::Beat { message: Some("\\n".into()), round_trip: None, answered: None },
            &["ok        heartbeat        1.2 ms  sent \\n", "an answer isn't awaited"],
        ),
        (
            Part::Heartbeat,
            Found::Beat { message: None, round_trip: None, answered: None },
            &["ok        heartbeat        1.2 ms  a ping, whose answer isn't awaited"],
        ),
        (
            Part::Close,
            Found::Closed { code: None },
            &["warning   close            1.2 ms  the server didn't answer the close in time"],
        ),
    ] {
        assert_eq!(text(&plain(part, found)), lines);
    }
}

#[test]
fn a_certificate_that_ends_soon_is_warned_of() {
    let lines = text(&tls(14));
    assert_eq!(lines[0], "ok        tls              1.2 ms  TLS 1.3, TLS13_AES_256_GCM_SHA384, no ALPN");
    assert_eq!(
        lines[1],
        "a certificate for 1.example, 2.example, 3.example, 4.example, 5.example, 6.example and 2 more"
    );
    assert_eq!(lines[2], "by Ours, R3; until Fri, 18 Oct 2024, 14 days left");
    let lines = text(&tls(1));
    assert!(lines[0].starts_with("warning"), "{lines:?}");
    assert_eq!(lines[3], "it ends in 1 day: see that it is renewed");
    let object = object("wss://h/", &tls(1), day(20_000));
    assert_eq!(object["certificate"]["days_left"], 1);
    assert_eq!(object["certificate"]["not_after_s"], 20_001 * 86_400);
}

#[test]
fn a_step_that_fails_says_what_was_heard_and_what_to_do() {
    let found =
        Found::Step(StepReport { sent: Some("a".into()), heard: Some("\u{1b}[2J".into()), skipped: None });
    let trouble =
        Trouble { error: "nothing came".into(), advice: Some("wait"), http_status: None, code: Some(4004) };
    let name = Some("log in to the very long name".to_owned());
    let row = Row { name, trouble: Some(trouble), ..plain(Part::Step, found) };
    let lines = text(&row);
    assert_eq!(lines[0], "failed    log in to the very long name     1.2 ms");
    assert_eq!(lines[1..], ["sent a", "heard \\u{1b}[2J"]);
    assert_eq!(
        sentence("wss://h/", &row),
        "wss://h/ fails at step \"log in to the very long name\": nothing came; wait"
    );
    assert_eq!(
        result(Some(("wss://h/", &row)), Duration::from_millis(2), Vec::new(), &["a".to_owned()]),
        json!({
            "type": "result", "ok": false, "ms": 2.0, "warnings": ["a"], "url": "wss://h/", "stage": "step",
            "name": "log in to the very long name", "error": "nothing came", "advice": "wait", "code": 4004
        })
    );
    let object = object("wss://h/", &row, day(0));
    assert_eq!(
        (&object["ok"], &object["sent"], &object["skipped"]),
        (&json!(false), &json!("a"), &json!(false))
    );
}

#[test]
fn a_step_that_is_left_out_says_so() {
    let found =
        Found::Step(StepReport { skipped: Some("by its `if_captured`".into()), ..StepReport::default() });
    let row = Row { name: Some("resume".into()), ..plain(Part::Step, found) };
    assert_eq!(text(&row), ["left out  resume           1.2 ms  by its `if_captured`"]);
}

#[test]
fn an_answer_that_came_only_just_in_time_is_warned_of() {
    let ms = Duration::from_millis;
    let narrow = Narrow { left: ms(38), limit: ms(1_000), key: "the step's timeout" };
    let found = Found::Step(StepReport { heard: Some("ok".into()), ..StepReport::default() });
    let row = Row { name: Some("log in".into()), narrow: Some(narrow), ..plain(Part::Step, found) };
    let lines = text(&row);
    assert_eq!(lines[0], "warning   log in           1.2 ms  heard ok");
    assert_eq!(lines[1], "the answer came 38.0 ms before its limit of 1s: raise the step's timeout");
    let object = object("wss://h/", &row, day(0));
    assert_eq!((&object["left_ms"], &object["limit_ms"]), (&json!(38.0), &json!(1_000.0)));
}

#[test]
fn a_program_is_named_in_full_on_one_line() {
    let running = |run: &[&str], keep| Running {
        key: "[command.a]".into(),
        run: run.iter().map(|word| (*word).to_owned()).collect(),
        keep,
    };
    let long = "x".repeat(5_000);
    for (run, line) in [
        (&["/bin/a", "--json", "a=b"][..], "/bin/a --json a=b".to_owned()),
        (&["/bin/sh", "-c", "echo 'a b'\nexit"], "/bin/sh -c 'echo '\\''a b'\\''\\nexit'".to_owned()),
        (&["/bin/a", "", "a b", "$x", "***"], "/bin/a '' 'a b' '$x' '***'".to_owned()),
        (&["/bin/a", &long], format!("/bin/a {long}")),
    ] {
        let text = anstream::adapter::strip_str(&super::running(&running(run, false))).to_string();
        assert_eq!(text, format!("  runs      [command.a]: {line}\n"));
    }
    let kept = super::running(&running(&["/bin/a"], true));
    assert!(kept.ends_with("(the daemon keeps what it prints; this check runs it for itself)\n"), "{kept}");
    let object = running_object("wss://h/", &running(&["/bin/a", "b"], true));
    assert_eq!(
        object,
        json!({ "type": "run", "url": "wss://h/", "key": "[command.a]", "run": ["/bin/a", "b"], "keep": true })
    );
}

#[test]
fn what_is_not_tried_says_why() {
    let row = plain(Part::Upgrade, Found::Untried { why: "it needs more".into() });
    assert_eq!(text(&row), ["left out  http             1.2 ms  it needs more"]);
    assert_eq!(
        untried("wss://h/", &row),
        json!({ "url": "wss://h/", "stage": "http", "name": null, "why": "it needs more" })
    );
    assert_eq!(object("wss://h/", &row, day(0))["untried"], true);
    let one = vec![untried("wss://h/", &row)];
    assert_eq!(result(None, Duration::ZERO, one.clone(), &[])["untried"], json!(one));
    assert!(well(Duration::ZERO, false).contains("as far as it was tried"));
}
