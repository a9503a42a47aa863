//! `wsfan subscribe`, and `wsfan tail` with columns: what is asked, what is shown, and how it ends.

use std::process::Command;

use super::*;
use crate::common::{Daemon, Server};

const STATUS: &str = r#"{"op":"status","id":1}"#;
const TOPICS: &str = r#"{"type":"status","id":1,"log":{"seq":3,"oldest":2,"topics":0}}"#;
const ATTACH: &str = r#"{"op":"attach","id":2,"topics":["btc","eth"],"since":{"epoch":"9f2c51d0","seq":3}}"#;
const ATTACHED: &str = r#"{"type":"ok","id":2,"result":"attached","seq":3}"#;
const SUBSCRIBE: &str = r#"{"op":"subscribe","id":3,"topics":["btc","eth"]}"#;
const SUBSCRIBED: &str = r#"{"type":"ok","id":3,"result":"subscribed"}"#;
const QUEUED: &str = r#"{"type":"ok","id":3,"result":"queued"}"#;
const PRICE: &str = r#"{"type":"message","seq":5,"time_us":2,"topic":"btc","json":{"p":1.50,"s":"a\tb"}}"#;
const REFUSED: &str = r#"{"type":"error","id":3,"code":"refused","message":"no such","topics":["eth"]}"#;
const ENDED: &str = r#"{"type":"error","code":"ended","message":"over","topics":["eth"]}"#;
const ALL_ENDED: &str = r#"{"type":"error","code":"ended","message":"over","topics":["btc","eth"]}"#;
const LATE: &str =
    r#"{"type":"error","id":3,"code":"timeout","message":"nothing came","topics":["btc","eth"]}"#;

/// A daemon that is asked for two topics, and says these lines then.
fn subscribed(lines: &'static [&'static str]) -> Fake {
    Fake::new(move |peer| {
        peer.say(HELLO);
        peer.hear(STATUS);
        peer.say(TOPICS);
        peer.hear(ATTACH);
        peer.say(ATTACHED);
        peer.hear(SUBSCRIBE);
        peer.say_all(lines);
    })
}

#[test]
fn topics_are_followed_and_what_is_said_of_them_is_told() {
    let json = [HELLO, QUEUED, SUBSCRIBED, PRICE, BYE, ""].join("\n");
    for (lines, args, code, out, said) in [
        (&[QUEUED, SUBSCRIBED, PRICE, BYE][..], &[][..], 0, &*json, "bye (shutdown)"),
        (
            &[SUBSCRIBED, PRICE],
            &["--raw", "-m", "1"],
            0,
            "{\"p\":1.50,\"s\":\"a\\tb\"}\n",
            "subscribed to btc, eth",
        ),
        (
            &[QUEUED, SUBSCRIBED, PRICE],
            &["--fields", "topic,/p,/s,/none", "-m1"],
            0,
            "btc\t1.50\ta\\tb\t\n",
            "isn't up",
        ),
        (
            &[SUBSCRIBED, ENDED, PRICE, BYE],
            &["--raw"],
            0,
            "{\"p\":1.50,\"s\":\"a\\tb\"}\n",
            "no longer subscribed to eth: over (ended)",
        ),
        (
            &[SUBSCRIBED, PRICE, ALL_ENDED],
            &["--raw"],
            1,
            "{\"p\":1.50,\"s\":\"a\\tb\"}\n",
            "to btc, eth: over (ended)",
        ),
        (&[REFUSED], &["--raw"], 1, "", "not subscribed to eth: no such (refused)"),
        (&[LATE], &["--raw"], 124, "", "not subscribed to btc, eth: nothing came (timeout)"),
    ] {
        let done = subscribed(lines).run(&[&["subscribe", "btc", "eth"], args].concat(), b"");
        assert_eq!((done.code, done.out.as_str()), (Some(code), out), "{lines:?}: {}", done.err);
        assert!(done.err.contains(said), "{lines:?}: {}", done.err);
    }
    let done = subscribed(&[REFUSED]).run(&["subscribe", "btc", "eth"], b"");
    assert_eq!(
        (done.code, done.out),
        (Some(1), [HELLO, REFUSED, ""].join("\n")),
        "programs get the line, too"
    );
    let done = subscribed(&[SUBSCRIBED, PRICE]).run(&["subscribe", "--pretty", "-m1", "btc", "eth"], b"");
    assert!(done.out.contains("  btc  {\"p\":1.50") && !done.out.contains("result"), "{}", done.out);
}

#[test]
fn all_messages_and_a_payload() {
    let done = Fake::new(|peer| {
        peer.say(HELLO);
        peer.hear(r#"{"op":"subscribe","id":1,"json":{"q": 1},"topics":["btc"]}"#);
        peer.say_all(&[r#"{"type":"ok","id":1,"result":"subscribed"}"#, FIRST]);
    })
    .run(&["subscribe", "--all", "-m1", "--payload", "{\"q\":\n1}", "btc"], b"");
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.ends_with(&format!("{FIRST}\n")), "{}", done.out);
}

#[test]
fn where_messages_have_no_topics_nobody_waits_for_them() {
    for (args, said) in [
        (&["subscribe", "btc"][..], "or show all with --all"),
        (&["tail", "--topic", "btc"], "or leave --topic out"),
        (&["tail", "--topic", "btc", "-n5"], "or leave --topic out"),
    ] {
        let done = Fake::new(|peer| {
            peer.say(HELLO);
            peer.hear(STATUS);
            peer.say(&TOPICS.replace(",\"topics\":0", ""));
        })
        .run(args, b"");
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(done.err.contains("no message has a topic there") && done.err.contains(said), "{}", done.err);
    }
}

#[test]
fn the_last_values_come_first_and_again_from_another_log() {
    const OLD: &str =
        r#"{"type":"message","seq":2,"time_us":1,"topic":"btc","json":{"p":1},"snapshot":true}"#;
    let attach = |snapshot: &str, epoch: &str, seq: u64| {
        format!(r#"{{"op":"attach","id":1,"since":{{"epoch":"{epoch}","seq":{seq}}}{snapshot}}}"#)
    };
    let with = ",\"snapshot\":true";
    let asked = [
        (HELLO.to_owned(), attach(with, "9f2c51d0", 3), vec![OLD], 3),
        // it hasn't had all of them
        (HELLO.to_owned(), attach(with, "9f2c51d0", 3), vec![OLD, PRICE], 3),
        // it has, and goes on after what came last
        (HELLO.to_owned(), attach("", "9f2c51d0", 5), vec![], 5),
        (HELLO.replace("9f2c51d0", "other"), attach(with, "9f2c51d0", 5), vec![OLD], 9),
    ];
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let thread = thread::spawn(move || {
        for (at, (hello, attach, lines, seq)) in asked.into_iter().enumerate() {
            let mut peer = accept(&listener);
            peer.say(&hello);
            peer.hear(&attach);
            peer.say(
                &ATTACHED.replace("\"id\":2", "\"id\":1").replace("\"seq\":3", &format!("\"seq\":{seq}")),
            );
            lines.iter().filter(|line| line.contains("snapshot")).for_each(|line| peer.say(line));
            if at > 0 && !lines.is_empty() {
                peer.say(r#"{"type":"snapshot","seq":3,"count":1,"dropped":7}"#);
            }
            lines.iter().filter(|line| !line.contains("snapshot")).for_each(|line| peer.say(line));
        }
    });
    let socket = socket.to_str().unwrap();
    let done = run(&["tail", "--snapshot", "--retry", "--fields", "seq,/p", "-m4", "--socket", socket]);
    thread.join().unwrap();
    assert_eq!((done.code, done.out.as_str()), (Some(0), "2\t1\n2\t1\n5\t1.50\n2\t1\n"), "{}", done.err);
    assert!(done.err.contains("7 last values were let go for want of room"), "{}", done.err);
}

/// Through the real daemon: without a hole or a double, and refused where nothing is retained.
#[test]
fn a_late_joiner_has_the_last_values() {
    let server = Server::bind();
    let daemon = Daemon::start(&(server.config() + "[topics]\npointer = \"/t\"\nretain = true\n"));
    let mut upstream = server.accept();
    for (topic, n) in [("btc", 1), ("eth", 2), ("btc", 3)] {
        upstream.text(&format!("{{\"t\":\"{topic}\",\"n\":{n}}}"));
    }
    let mut witness = daemon.client();
    let end = std::time::Instant::now() + DEADLINE;
    while witness.status()["traffic"]["received"] != 3 {
        assert!(std::time::Instant::now() < end);
    }
    let socket = daemon.socket();
    let tail =
        |args: &[&str]| run(&[&["tail", "--snapshot", "--socket", socket.to_str().unwrap()], args].concat());
    assert_eq!(tail(&["--fields", "topic,/n", "-m2"]).out, "eth\t2\nbtc\t3\n");
    assert_eq!(tail(&["--raw", "-m1", "--topic", "e*"]).out, "{\"t\":\"eth\",\"n\":2}\n");
    let pretty = tail(&["--pretty", "-m1", "--topic", "eth"]).out;
    assert!(pretty.contains("last  eth"), "{pretty}");

    let daemon = Daemon::start(&server.config());
    let refused = run(&["tail", "--snapshot", "--socket", daemon.socket().to_str().unwrap()]);
    assert!(refused.code == Some(1) && refused.err.contains("(unsupported)"), "{}", refused.err);
}

#[test]
fn a_restart_of_the_daemon_is_survived_with_the_topics() {
    let after = |seq: u64| ATTACH.replace("\"seq\":3", &format!("\"seq\":{seq}"));
    let asked = [(after(3), PRICE), (after(5), SECOND)];
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let thread = thread::spawn(move || {
        for (attach, message) in asked {
            let mut peer = accept(&listener);
            peer.say(HELLO);
            peer.hear(STATUS);
            peer.say(TOPICS);
            peer.hear(&attach);
            peer.say(ATTACHED);
            peer.hear(SUBSCRIBE);
            peer.say_all(&[SUBSCRIBED, message]);
        }
    });
    let socket = socket.to_str().unwrap();
    let done = run(&["subscribe", "--retry", "--raw", "-m2", "--socket", socket, "btc", "eth"]);
    thread.join().unwrap();
    assert_eq!((done.code, done.out.lines().count()), (Some(0), 2), "{}", done.err);
}

#[test]
fn what_is_wrong_is_said() {
    for (args, said) in [
        (&["subscribe"][..], "TOPIC"),
        (&["subscribe", ""], "is empty"),
        (&["subscribe", "--payload", "{", "btc"], "--payload isn't JSON"),
        (&["subscribe", "--raw", "--json", "btc"], "cannot be used with"),
        (&["tail", "--snapshot", "-n", "5"], "cannot be used with"),
        (&["tail", "--snapshot", "--since", "5m"], "cannot be used with"),
        (&["tail", "--fields", "price"], "is no JSON pointer: write one such as \"/type\""),
        (&["tail", "--fields", "/a,/~2"], "write ~0 for `~`"),
        (&["tail", "--fields", "/a", "--raw"], "cannot be used with"),
        (&["send", "a", "b"], "--unit sends them together"),
        (&["send", "--unit", "--lines"], "cannot be used with"),
    ] {
        let done = run_with(&[args, &["--socket", "/nonexistent/wsfan.sock"]].concat(), b"");
        assert_eq!(done.code, Some(2), "{args:?}: {}", done.err);
        assert!(done.err.contains(said), "{args:?}: {}", done.err);
    }
}

#[test]
fn columns_of_messages_and_gaps_beside_them() {
    let done = feed().run(&["tail", "--fields", "seq,/n,/a", "--fields", ""], b"");
    let whole = r#"{"n":12345678901234567890, "a":1}"#;
    assert_eq!(done.out, format!("5\t12345678901234567890\t1\t{whole}\n9\t\t\tplain\n"));
    assert!(done.err.contains("3 entries lost"), "{}", done.err);
}

/// The server hears of the topic while the command runs, and no longer.
#[test]
fn ctrl_c_unsubscribes() {
    let server = Server::bind();
    let config = "[topics]\npointer = \"/t\"\nsubscribe = '{\"sub\":[${topics}]}'\nunsubscribe = '{\"unsub\":[${topics}]}'\n\
                  linger = \"0s\"\n";
    let daemon = Daemon::start(&(server.config() + config));
    let mut upstream = server.accept();
    let socket = daemon.socket();
    let mut child =
        interruptible(&["subscribe", "--fields", "/n", "--socket", socket.to_str().unwrap(), "btc"])
            .spawn()
            .unwrap();
    assert_eq!(upstream.message().to_text().unwrap(), r#"{"sub":["btc"]}"#);
    for (topic, n) in [("btc", 1), ("eth", 2), ("btc", 3)] {
        upstream.text(&format!("{{\"t\":\"{topic}\",\"n\":{n}}}"));
    }
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    for n in ["1\n", "3\n"] {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, n);
    }
    let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    assert_eq!(finish(child).code, None, "a signal ended it");
    assert_eq!(upstream.message().to_text().unwrap(), r#"{"unsub":["btc"]}"#);
}

#[test]
fn a_unit_has_one_fate() {
    const OK: &str = r#"{"type":"ok","id":1,"result":"written"}"#;
    let texts = r#"{"op":"send","id":1,"messages":[{"json":{"h":1}},{"text":"two"},{"json":3}]}"#;
    let binary = r#"{"op":"send","id":1,"messages":[{"binary":"AAE="}]}"#;
    for (request, args, stdin) in [
        (texts, &["send", "--unit", "{\"h\":1}", "two", "3"][..], &b""[..]),
        (texts, &["send", "--unit"], b"{\"h\":1}\n\ntwo\r\n3"),
        (texts, &["send", "--unit", "-"], b"{\"h\":1}\ntwo\n3\n"),
        (binary, &["send", "--unit", "--binary"], b"\x00\x01"),
    ] {
        let done = asked(request, &[OK]).run(args, stdin);
        assert_eq!(
            (done.code, done.out.as_str()),
            (Some(0), "written to the upstream\n"),
            "{args:?}: {}",
            done.err
        );
    }
    let many = "1\n".repeat(1001);
    for (stdin, said) in
        [(&b"\n\n"[..], "no message"), (many.as_bytes(), "1001 messages are more than the 1000")]
    {
        let done = run_with(&["send", "--unit", "--socket", "/nonexistent/wsfan.sock"], stdin);
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(done.err.contains(said), "{}", done.err);
    }
}
