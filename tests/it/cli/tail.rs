//! `wsfan tail`: what it shows, and where it goes on.

use super::*;

#[test]
fn tail_gives_the_lines_as_they_come() {
    let done = feed().run(&["tail"], b"");
    assert_eq!(done.out, [HELLO, LINK, FIRST, GAP, SECOND, BYE, ""].join("\n"));
    assert_eq!(done.code, Some(0));
    assert!(done.err.contains("bye (shutdown)"), "{}", done.err);

    let done = feed().run(&["tail", "--raw"], b"");
    assert_eq!(done.out, "{\"n\":12345678901234567890, \"a\":1}\nplain\n");
    assert!(done.err.contains("3 entries lost"), "{}", done.err);

    let done = feed().run(&["tail", "--pretty"], b"");
    assert!(done.out.contains(" GAP  3 entries lost") && !done.out.contains('\u{1b}'), "{}", done.out);
    assert!(!done.out.contains("bye") && done.err.contains("bye (shutdown)"), "{}", done.out);

    let done = feed().run(&["tail", "--messages", "1"], b"");
    assert_eq!((done.code, done.out), (Some(0), [HELLO, LINK, FIRST, ""].join("\n")));
}

#[test]
fn tail_ends_as_the_connection_does() {
    let done = Fake::new(|peer| peer.say(HELLO)).run(&["tail"], b"");
    assert_eq!((done.code, done.out), (Some(1), format!("{HELLO}\n")));
    let cut = Fake::new(|peer| peer.say_all(&[HELLO, r#"{"type":"bye","why":"slow_client"}"#]));
    let done = cut.run(&["tail"], b"");
    assert!(done.code == Some(1) && done.err.contains("slow_client"), "{}", done.err);
}

#[test]
fn tail_attaches_and_leaves_out_what_came_before() {
    for (since, asked) in [("oldest", 1), ("9f2c51d0:41823", 41823)] {
        let done = Fake::new(move |peer| {
            peer.say(HELLO);
            peer.hear(&format!(r#"{{"op":"attach","id":1,"since":{{"epoch":"9f2c51d0","seq":{asked}}}}}"#));
            peer.say_all(&[SECOND, r#"{"type":"ok","id":1,"result":"attached","seq":1}"#, FIRST]);
        })
        .run(&["tail", "-m1", "--since", since], b"");
        assert_eq!((done.code, done.out), (Some(0), [HELLO, FIRST, ""].join("\n")));
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let fake = Fake::new(|peer| {
        peer.say(HELLO);
        while peer.lines.get_mut().write_all(format!("{FIRST}\n").as_bytes()).is_ok() {}
    });
    let mut child = command(&["tail", "--socket", fake.socket.to_str().unwrap()]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("{HELLO}\n"));
    let done = finish(child); // its stdout is closed now
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    fake.thread.join().unwrap();
}

#[test]
fn a_full_disk_is_told() {
    for args in [&["--json", "-m", "1"][..], &["--pretty", "-m", "1"], &["--raw", "-m", "1"], &["--json"]] {
        let fake = feed();
        let mut tail = command(&["tail", "--socket", fake.socket.to_str().unwrap()]);
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let done = finish(tail.args(args).stdout(full).spawn().unwrap());
        assert_eq!(done.code, Some(1), "{args:?}");
        assert!(done.err.contains("stdout can't be written: No space left"), "{args:?}: {}", done.err);
        fake.thread.join().unwrap();
    }
}

const NEW_HELLO: &str = r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"00c0ffee","seq":2,"oldest":1,"link":"up","client":1,"max_line":1000}"#;
const NEW_LINK: &str = r#"{"type":"link","seq":1,"time_us":1,"state":"up","conn":1,"attempt":0}"#;
const NEW_GAP: &str = r#"{"type":"gap","from":1,"to":0,"count":0,"why":"epoch"}"#;
const NEW_MESSAGE: &str = r#"{"type":"message","seq":2,"time_us":3,"json":2}"#;

#[test]
fn tail_survives_restarts_of_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut tail = command(&["tail", "--retry", "-m", "3", "--socket", socket.to_str().unwrap()]);
    let mut tail = tail.spawn().unwrap();
    let mut said = BufReader::new(tail.stderr.take().unwrap());
    let mut sentence = String::new();

    let mut peer = accept(&listener);
    fs::remove_file(&socket).unwrap();
    drop(listener);
    peer.say_all(&[HELLO, LINK, FIRST, GAP, BYE]);
    drop(peer);
    said.read_line(&mut sentence).unwrap();
    assert!(sentence.contains("bye (shutdown); dialling again"), "{sentence}");

    // a new life, which ends without a word
    let listener = UnixListener::bind(&socket).unwrap();
    let mut peer = accept(&listener);
    peer.say(NEW_HELLO);
    peer.hear(r#"{"op":"attach","id":1,"since":{"epoch":"9f2c51d0","seq":8}}"#);
    peer.say_all(&[r#"{"type":"ok","id":1,"result":"attached","seq":0}"#, NEW_GAP, NEW_LINK]);
    drop(peer);
    // and again, to one that turns us away at first
    accept(&listener).say(r#"{"type":"error","code":"too_many_clients","message":"it is full"}"#);
    let mut peer = accept(&listener);
    peer.say(NEW_HELLO);
    peer.hear(r#"{"op":"attach","id":1,"since":{"epoch":"00c0ffee","seq":1}}"#);
    peer.say_all(&[r#"{"type":"ok","id":1,"result":"attached","seq":1}"#, NEW_MESSAGE, SECOND]);
    peer.end();

    let done = finish(tail);
    let lives =
        [HELLO, LINK, FIRST, GAP, BYE, NEW_HELLO, NEW_GAP, NEW_LINK, NEW_HELLO, NEW_MESSAGE, SECOND, ""];
    assert_eq!((done.code, done.out), (Some(0), lives.join("\n")));
}

const DETACHED: &str = r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"","seq":0,"oldest":1,"link":"waiting","client":1,"max_line":1000,"node":"a","cluster":{"name":"c","state":"detached"}}"#;
const FOUND: &str = r#"{"type":"bye","why":"epoch"}"#;

#[test]
fn tail_waits_for_the_log_of_a_cluster_and_goes_on_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // that a log is found ends nothing, and no place is asked for before
    let tail = command(&["tail", "-m", "1", "--socket", socket.to_str().unwrap()]).spawn().unwrap();
    accept(&listener).say_all(&[DETACHED, FOUND]);
    let mut peer = accept(&listener);
    peer.say_all(&[NEW_HELLO, NEW_MESSAGE]);
    peer.end();
    let done = finish(tail);
    let lines = [DETACHED, FOUND, NEW_HELLO, NEW_MESSAGE, ""];
    assert_eq!((done.code, done.out), (Some(0), lines.join("\n")), "{}", done.err);

    // a machine that was restarted: who had a place keeps it meanwhile
    let tail =
        command(&["tail", "--retry", "-m", "2", "--socket", socket.to_str().unwrap()]).spawn().unwrap();
    accept(&listener).say_all(&[NEW_HELLO, NEW_MESSAGE, BYE]);
    accept(&listener).say_all(&[
        DETACHED,
        r#"{"type":"link","time_us":1,"state":"waiting","conn":0,"attempt":0}"#,
        FOUND,
    ]);
    let mut peer = accept(&listener);
    peer.say(NEW_HELLO);
    peer.hear(r#"{"op":"attach","id":1,"since":{"epoch":"00c0ffee","seq":2}}"#);
    peer.say_all(&[
        r#"{"type":"ok","id":1,"result":"attached","seq":2}"#,
        r#"{"type":"gap","seq":3,"time_us":9,"why":"failover","after_us":3}"#,
        r#"{"type":"message","seq":4,"time_us":10,"json":2}"#,
    ]);
    peer.end();
    let done = finish(tail);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("\"failover\"") && done.out.ends_with("\"json\":2}\n"), "{}", done.out);
}

#[test]
fn tail_does_not_retry_in_vain() {
    let done = Fake::new(|peer| peer.say_all(&[HELLO, r#"{"type":"bye","why":"bad_client"}"#]));
    let done = done.run(&["tail", "--retry"], b"");
    assert!(done.code == Some(1) && done.err.contains("bad_client"), "{}", done.err);
}

#[test]
fn tail_with_retry_waits_for_a_daemon_that_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("wsfan.sock");
    let mut tail =
        command(&["tail", "--retry", "-m", "1", "--socket", socket.to_str().unwrap()]).spawn().unwrap();
    let mut said = BufReader::new(tail.stderr.take().unwrap());
    let mut sentence = String::new();
    said.read_line(&mut sentence).unwrap();
    assert!(sentence.contains("no such socket") && sentence.contains("dialling until"), "{sentence}");
    let listener = UnixListener::bind(&socket).unwrap();
    accept(&listener).say_all(&[HELLO, FIRST]);
    let done = finish(tail);
    assert_eq!((done.code, done.out), (Some(0), [HELLO, FIRST, ""].join("\n")));
}

const LAST_HELLO: &str = r#"{"type":"hello","protocol":1,"server":"wsfan/0.1.0","epoch":"9f2c51d0","seq":40,"oldest":2,"link":"up","client":7,"max_line":1000}"#;

/// Entries 2 to 40 of a log, of which those in `messages` are messages.
fn entries(messages: &[u64]) -> Vec<String> {
    let entry = |seq: u64| match messages.contains(&seq) {
        true => format!(r#"{{"type":"message","seq":{seq},"time_us":{seq},"json":{seq}}}"#),
        false => format!(r#"{{"type":"link","seq":{seq},"time_us":{seq},"state":"up","conn":1}}"#),
    };
    (2..=40).map(entry).collect()
}

/// A daemon with these entries, which gives what is asked for.
fn log(entries: Vec<String>, asked: &'static [u64], more: &'static [&'static str]) -> Fake {
    Fake::new(move |peer| {
        peer.say(LAST_HELLO);
        for (id, after) in asked.iter().enumerate() {
            let id = id + 1;
            peer.hear(&format!(
                r#"{{"op":"attach","id":{id},"since":{{"epoch":"9f2c51d0","seq":{after}}}}}"#
            ));
            peer.say(&format!(r#"{{"type":"ok","id":{id},"result":"attached","seq":{after}}}"#));
            entries.iter().skip(*after as usize - 1).for_each(|line| peer.say(line));
        }
        peer.say_all(more);
        peer.end();
    })
}

#[test]
fn the_last_messages_are_shown_and_no_more() {
    let all: Vec<u64> = (2..=40).collect();
    let shown = |lines: &[String]| [&[LAST_HELLO.to_owned()], lines, &[String::new()]].concat().join("\n");
    let done = log(entries(&all), &[22], &[]).run(&["tail", "-n", "2"], b"");
    assert_eq!((done.code, done.out), (Some(0), shown(&entries(&all)[37..])));
    // few among many other entries: it is looked further back
    let few = entries(&[3, 4, 9]);
    let done = log(few.clone(), &[22, 1], &[]).run(&["tail", "-n", "2"], b"");
    assert_eq!((done.code, done.out), (Some(0), shown(&few[2..])));
    // fewer than are asked for: what there is
    let done = log(few.clone(), &[19, 1], &[]).run(&["tail", "-n", "5"], b"");
    assert_eq!((done.code, done.out), (Some(0), shown(&few)));
    // and on with what comes
    let next = r#"{"type":"message","seq":41,"time_us":41,"json":41}"#;
    let done = log(entries(&all), &[23, 40], &[r#"{"type":"message","seq":41,"time_us":41,"json":41}"#]);
    let done = done.run(&["tail", "-n", "1", "--follow", "-m", "2"], b"");
    assert_eq!((done.code, done.out), (Some(0), shown(&[entries(&all)[38].clone(), next.to_owned()])));
    for args in [&["tail", "-n", "1", "--since", "5m"][..], &["tail", "--follow"]] {
        assert_eq!(run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn tail_begins_so_long_ago() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64;
    let at = |seq: u64, ago_s: u64| {
        format!(r#"{{"type":"message","seq":{seq},"time_us":{},"json":1}}"#, now - ago_s * 1_000_000)
    };
    let lines = [at(2, 900), at(3, 301), at(4, 200), at(5, 0)];
    let expected = [HELLO, &lines[2], &lines[3], ""].join("\n");
    let done = Fake::new(move |peer| {
        peer.say(HELLO);
        peer.hear(r#"{"op":"attach","id":1,"since":{"epoch":"9f2c51d0","seq":1}}"#);
        peer.say(r#"{"type":"ok","id":1,"result":"attached","seq":1}"#);
        lines.iter().for_each(|line| peer.say(line));
        peer.end();
    })
    .run(&["tail", "--since", "5m", "-m", "2"], b"");
    assert_eq!((done.code, done.out), (Some(0), expected));
}
