//! `wsfan send`: the fate of each, and nothing twice.

use super::*;

#[test]
fn send_tells_the_fate() {
    const OK: &str = r#"{"type":"ok","id":1,"result":"written"}"#;
    const QUEUED: &str = r#"{"type":"ok","id":1,"result":"queued"}"#;
    const EXPIRED: &str = r#"{"type":"error","id":1,"code":"expired","message":"too late"}"#;
    const UNKNOWN: &str = r#"{"type":"error","id":1,"code":"unknown","message":"gone"}"#;
    let json = r#"{"op":"send","id":1,"json":{"a": 1.10}}"#;
    let text = r#"{"op":"send","id":1,"text":"hello"}"#;
    let binary = r#"{"op":"send","id":1,"binary":"AAEC"}"#;
    for (request, replies, args, stdin, code, said) in [
        (json, &[OK][..], &["send", "{\"a\": 1.10}"][..], &b""[..], 0, "written"),
        (json, &[OK], &["send"], b"{\"a\": 1.10}\n", 0, "written"),
        (text, &[OK], &["send", "-"], b"hello\n", 0, "written"),
        (text, &[OK], &["send", "--json", "hello"], b"", 0, OK),
        (binary, &[OK], &["send", "--binary"], b"\x00\x01\x02", 0, "written"),
        (text, &[QUEUED], &["send", "hello"], b"", 3, "queued"),
        (text, &[QUEUED, OK], &["send", "--wait", "hello"], b"", 0, "written"),
        (text, &[QUEUED, EXPIRED], &["send", "--wait", "hello"], b"", 1, "not sent: too late (expired)"),
        (text, &[UNKNOWN], &["send", "hello"], b"", 3, "perhaps sent: gone (unknown)"),
        (text, &[BYE], &["send", "hello"], b"", 3, "said bye (shutdown)"),
        (text, &[], &["send", "--timeout", "2s", "hello"], b"", 3, "didn't say in time"),
        (text, &[QUEUED], &["send", "--wait", "--timeout", "2s", "hello"], b"", 3, "didn't say in time"),
    ] {
        let done = asked(request, replies).run(args, stdin);
        assert_eq!(done.code, Some(code), "{args:?}: {}", done.err);
        let said_where = if code == 0 { &done.out } else { &done.err };
        assert!(said_where.contains(said), "{args:?}: {said_where}");
    }
}

#[test]
fn send_refuses_what_cannot_be_sent() {
    let too_long = "x".repeat(1000);
    for (args, stdin, said) in [
        (&["send"][..], &b""[..], "stdin is empty"),
        (&["send"], b"\xff", "--binary"),
        (&["send", &too_long], b"", "max_line"),
    ] {
        let fake = Fake::new(|peer| peer.say(HELLO));
        let socket = fake.socket.to_str().unwrap().to_owned();
        let done = run_with(&[&args[..1], &["--socket", &socket], &args[1..]].concat(), stdin);
        assert_eq!(done.code, Some(1));
        assert!(done.err.contains(said), "{}", done.err);
    }
}

#[test]
fn send_lines_as_they_come() {
    let play = |second: &'static str| {
        Fake::new(move |peer| {
            peer.say(HELLO);
            peer.hear(r#"{"op":"send","id":1,"json":1}"#);
            peer.say(r#"{"type":"ok","id":1,"result":"written"}"#);
            peer.hear(r#"{"op":"send","id":2,"text":"two"}"#);
            peer.say(second);
            peer.end();
        })
    };
    let done = play(r#"{"type":"ok","id":2,"result":"queued"}"#).run(&["send", "--lines"], b"1\n\ntwo\n");
    assert_eq!((done.code, done.out.as_str()), (Some(3), "1 message written, 1 queued\n"));
    let error = r#"{"type":"error","id":2,"code":"link_down","message":"the link is waiting"}"#;
    let done = play(error).run(&["send", "--lines"], b"1\n\ntwo\nthree\n");
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("line 3: not sent: the link is waiting (link_down)"), "{}", done.err);
    assert!(done.err.contains("`--from-line 3` goes on there"), "{}", done.err);
    // what may have gone isn't offered again
    let error = r#"{"type":"error","id":2,"code":"unknown","message":"gone"}"#;
    let done = play(error).run(&["send", "--lines"], b"1\n\ntwo\nthree\n");
    assert_eq!(done.code, Some(3));
    assert!(
        done.err.contains("line 3: perhaps sent") && done.err.contains("`--from-line 4`"),
        "{}",
        done.err
    );
}

#[test]
fn send_lines_goes_on_where_it_is_told_to() {
    let fake = Fake::new(|peer| {
        peer.say(HELLO);
        peer.hear(r#"{"op":"send","id":1,"text":"two"}"#);
        peer.say(r#"{"type":"ok","id":1,"result":"written"}"#);
        peer.end();
    });
    let done = fake.run(&["send", "--lines", "--from-line", "3"], b"1\n\ntwo\n");
    assert_eq!((done.code, done.out.as_str()), (Some(0), "1 message written\n"));
    for args in [&["send", "--lines", "--from-line", "0"][..], &["send", "--from-line", "2", "x"]] {
        assert_eq!(run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn send_waits_with_retry_and_sends_nothing_twice() {
    const WRITTEN: &str = r#"{"type":"ok","id":1,"result":"written"}"#;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let mut send = command(&["send", "--lines", "--retry", "--socket", socket.to_str().unwrap()]);
    let mut send = send.spawn().unwrap();
    send.stdin.take().unwrap().write_all(b"1\n2\n3\n").unwrap();
    let mut said = BufReader::new(send.stderr.take().unwrap());
    let mut sentence = String::new();
    said.read_line(&mut sentence).unwrap();
    assert!(sentence.contains("no such socket") && sentence.contains("trying"), "{sentence}");

    // the daemon comes, and its link later; then it goes
    let listener = UnixListener::bind(&socket).unwrap();
    let mut peer = accept(&listener);
    peer.say(HELLO);
    peer.hear(r#"{"op":"send","id":1,"json":1}"#);
    peer.say(r#"{"type":"error","id":1,"code":"link_down","message":"the link is waiting"}"#);
    peer.hear(r#"{"op":"send","id":2,"json":1}"#);
    peer.say(r#"{"type":"ok","id":2,"result":"written"}"#);
    peer.hear(r#"{"op":"send","id":3,"json":2}"#);
    peer.say(r#"{"type":"ok","id":3,"result":"written"}"#);
    peer.hear(r#"{"op":"send","id":4,"json":3}"#);
    drop(peer);
    // whether the third went can't be known
    let done = finish(send);
    assert_eq!(done.code, Some(3));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("line 3: perhaps sent") && rest.contains("2 messages written before it"), "{rest}");

    // one that ends before it is asked has had nothing
    let mut send = command(&["send", "--retry", "--socket", socket.to_str().unwrap(), "3"]).spawn().unwrap();
    accept(&listener).say(r#"{"type":"error","code":"too_many_clients","message":"it is full"}"#);
    let mut peer = accept(&listener);
    peer.say(HELLO);
    peer.hear(r#"{"op":"send","id":1,"json":3}"#);
    peer.say(WRITTEN);
    drop(send.stdin.take());
    assert_eq!(finish(send).code, Some(0));
}
