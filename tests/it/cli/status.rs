//! `wsfan status`: for people, and for scripts that wait.

use super::*;

#[test]
fn status_is_for_people_too() {
    let done = Fake::new(|peer| {
        peer.say(HELLO);
        peer.hear(r#"{"op":"status","id":1}"#);
        peer.say(r#"{"type":"message","seq":4,"time_us":1,"json":{"type":"status","id":1}}"#);
        peer.say(r#"{"type":"ok","id":"1","result":"somebody else's"}"#);
        peer.say(STATUS);
    })
    .run(&["status"], b"");
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert!(done.out.starts_with("link       up for "), "{}", done.out);
    assert!(done.out.contains("wss://host/path") && !done.out.contains('\u{1b}'), "{}", done.out);
}

#[test]
fn status_up_is_for_scripts() {
    const DOWN: &str = r#"{"type":"status","id":1,"link":{"state":"waiting","since_us":1,"attempt":2,"last_end":{"error":"refused"}},"log":{"seq":3,"oldest":2}}"#;
    for (status, code, said) in
        [(STATUS, 0, "the link is up, connection 3\n"), (DOWN, 1, "the link is waiting")]
    {
        let done = Fake::new(move |peer| {
            peer.say(HELLO);
            peer.hear(r#"{"op":"status","id":1}"#);
            peer.say(status);
        })
        .run(&["status", "--up"], b"");
        assert_eq!(done.code, Some(code), "{}", done.err);
        assert!(
            if code == 0 { done.out == said } else { done.err.contains(said) },
            "{}{}",
            done.out,
            done.err
        );
    }
    assert_eq!(run(&["status", "--within", "1s"]).code, Some(2));
}

#[test]
fn status_up_waits_for_the_daemon_and_then_for_the_link() {
    let down = |id: u64| format!(r#"{{"type":"status","id":{id},"link":{{"state":"waiting"}},"log":{{}}}}"#);
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let command = |within: &str| {
        command(&["status", "--up", "--within", within, "--socket", socket.to_str().unwrap()])
            .spawn()
            .unwrap()
    };
    let waiting = command("30s");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut peer = accept(&listener);
    peer.say(HELLO);
    peer.hear(r#"{"op":"attach","id":1}"#);
    peer.say(r#"{"type":"ok","id":1,"result":"attached","seq":3}"#);
    peer.hear(r#"{"op":"status","id":2}"#);
    peer.say(&down(2));
    peer.say_all(&[FIRST, r#"{"type":"link","seq":6,"time_us":1,"state":"connecting"}"#, LINK]);
    // asked, and not guessed: it may have fallen again
    peer.hear(r#"{"op":"status","id":3}"#);
    peer.say(&STATUS.replace("\"id\":1", "\"id\":3"));
    let done = finish(waiting);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "the link is up, connection 3\n"), "{}", done.err);

    let waiting = command("3s");
    let mut peer = accept(&listener);
    peer.say(HELLO);
    peer.hear(r#"{"op":"attach","id":1}"#);
    peer.say(r#"{"type":"ok","id":1,"result":"attached","seq":3}"#);
    peer.hear(r#"{"op":"status","id":2}"#);
    peer.say(&down(2));
    let done = finish(waiting);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("the link is waiting"), "{}", done.err);

    let waiting = command("30s");
    let mut peer = accept(&listener);
    peer.say(HELLO);
    peer.hear(r#"{"op":"attach","id":1}"#);
    peer.say(r#"{"type":"error","id":1,"code":"forbidden","message":"no receive"}"#);
    // who may not read the link's lines asks until it is up
    for id in 2..=3 {
        peer.hear(&format!(r#"{{"op":"status","id":{id}}}"#));
        peer.say(&down(id));
    }
    peer.hear(r#"{"op":"status","id":4}"#);
    peer.say(&STATUS.replace("\"id\":1", "\"id\":4"));
    let done = finish(waiting);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "the link is up, connection 3\n"), "{}", done.err);
}
