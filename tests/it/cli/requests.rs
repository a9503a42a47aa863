//! `wsfan request`: what is asked, what is printed, and how it ends.

use std::process::Command;

use super::*;
use crate::common::{Daemon, Server};

const ANSWER: &str = r#"{"type":"answer","id":1,"json":{"id": 7,"n": 1.10}}"#;
const MORE: &str = r#"{"type":"answer","id":1,"json":{"n":1},"more":true}"#;
const LAST: &str = r#"{"type":"answer","id":1,"json":{"n":2}}"#;
const REFUSED: &str = r#"{"type":"answer","id":1,"json":{"error":"no"},"failed":true}"#;
const TIMEOUT: &str = r#"{"type":"error","id":1,"code":"timeout","message":"none came"}"#;
const UNKNOWN: &str = r#"{"type":"error","id":1,"code":"unknown","message":"gone"}"#;
const DOWN: &str = r#"{"type":"error","id":1,"code":"link_down","message":"the link is waiting"}"#;
const OVERRUN: &str = r#"{"type":"error","id":1,"code":"overrun","message":"too fast"}"#;
const ODD: &str = r#"{"type":"ok","id":1,"result":"later"}"#;

#[test]
fn the_answer_is_printed_and_how_it_ended_is_the_exit_code() {
    let plain = r#"{"op":"request","id":1,"json":{"id": 7}}"#;
    let within = r#"{"op":"request","id":1,"json":{"id": 7},"timeout_ms":20500}"#;
    let answers = "{\"n\":1}\n{\"n\":2}\n";
    for (request, replies, args, stdin, code, out, err) in [
        (plain, &[ANSWER][..], &["{\"id\": 7}"][..], &b""[..], 0, "{\"id\": 7,\"n\": 1.10}\n", ""),
        (plain, &[ANSWER], &[], b"{\"id\": 7}\n", 0, "{\"id\": 7,\"n\": 1.10}\n", ""),
        (plain, &[ANSWER], &["-", "--pretty"], b"{\"id\": 7}", 0, "{\"id\":7, \"n\":1.10}\n", ""),
        (within, &[ANSWER], &["--json", "--timeout", "20500ms", "{\"id\": 7}"], b"", 0, ANSWER, ""),
        // the first of several, or all of them
        (plain, &[MORE], &["{\"id\": 7}"], b"", 0, "{\"n\":1}\n", ""),
        (plain, &[MORE, LAST], &["--more", "{\"id\": 7}"], b"", 0, answers, ""),
        (
            plain,
            &[MORE, OVERRUN],
            &["--more", "{\"id\": 7}"],
            b"",
            1,
            "{\"n\":1}\n",
            "no more answers: too fast",
        ),
        (plain, &[REFUSED], &["{\"id\": 7}"], b"", 1, "{\"error\":\"no\"}\n", "the server refused"),
        (plain, &[TIMEOUT], &["{\"id\": 7}"], b"", 124, "", "none came (timeout)"),
        (plain, &[TIMEOUT], &["--json", "{\"id\": 7}"], b"", 124, TIMEOUT, "none came (timeout)"),
        (plain, &[UNKNOWN], &["{\"id\": 7}"], b"", 3, "", "perhaps asked: gone (unknown)"),
        (plain, &[DOWN], &["{\"id\": 7}"], b"", 69, "", "not asked: the link is waiting (link_down)"),
        (
            plain,
            &[MORE, DOWN],
            &["--more", "{\"id\": 7}"],
            b"",
            69,
            "{\"n\":1}\n",
            "no more answers: the link",
        ),
        (plain, &[BYE], &["{\"id\": 7}"], b"", 3, "", "said bye (shutdown)"),
        (plain, &[ODD], &["{\"id\": 7}"], b"", 3, "", "doesn't know"),
    ] {
        let done = asked(request, replies).run(&[&["request"], args].concat(), stdin);
        assert_eq!(done.code, Some(code), "{args:?}, {replies:?}: {}", done.err);
        assert_eq!(done.out.trim_end(), out.trim_end(), "{args:?}, {replies:?}");
        assert!(done.err.contains(err) && err.is_empty() == done.err.is_empty(), "{args:?}: {}", done.err);
    }
}

#[test]
fn what_is_no_request_is_not_asked() {
    for (args, stdin, code, said) in [
        (&["request"][..], &b""[..], 1, "stdin is empty"),
        (&["request", "hello"], b"", 1, "isn't JSON"),
        (&["request"], b"\xff", 1, "isn't UTF-8"),
        (&["request", "--timeout", "0s", "1"], b"", 2, "write 1ms to 1d"),
        (&["request", "--timeout", "5", "1"], b"", 2, "timeout"),
    ] {
        // before anybody is called
        let done = run_with(&[args, &["--socket", "/nonexistent/wsfan.sock"]].concat(), stdin);
        assert_eq!(done.code, Some(code), "{args:?}: {}", done.err);
        assert!(done.err.contains(said), "{args:?}: {}", done.err);
    }
}

/// A request with many answers ends with the command, for the server too.
#[test]
fn ctrl_c_cancels() {
    let server = Server::bind();
    let config = "[requests]\nid = \"/id\"\n[[requests.stream]]\nwhen = { \"/type\" = \"watch\" }\n\
                  cancel = '{\"type\":\"enough\",\"of\":${key}}'\n";
    let daemon = Daemon::start(&(server.config() + config));
    let mut upstream = server.accept();
    let mut client = daemon.client();
    if client.hello["link"] != "up" {
        client.link("up");
    }
    let socket = daemon.socket();
    let mut child =
        interruptible(&["request", "--more", "--socket", socket.to_str().unwrap(), "{\"type\":\"watch\"}"])
            .spawn()
            .unwrap();
    let ask: serde_json::Value = serde_json::from_str(upstream.message().to_text().unwrap()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    for n in 1..=2 {
        upstream.text(&format!("{{\"id\":{},\"n\":{n}}}", ask["id"]));
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{{\"id\":{},\"n\":{n}}}\n", ask["id"]));
    }
    let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    assert_eq!(finish(child).code, None, "a signal ended it");
    assert_eq!(
        upstream.message().to_text().unwrap(),
        format!("{{\"type\":\"enough\",\"of\":{}}}", ask["id"])
    );
}
