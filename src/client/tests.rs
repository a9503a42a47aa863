use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixListener,
    thread::JoinHandle,
};

use super::*;
use crate::protocol::{Attach, Code, Name};

const HELLO: &str =
    r#"{"type":"hello","protocol":1,"epoch":"e","seq":9,"oldest":4,"link":"up","max_line":60}"#;

/// A daemon for one client: what it says at first, and what to each line of the client's.
fn daemon(first: &str, replies: &'static [&'static str]) -> (tempfile::TempDir, JoinHandle<Vec<String>>) {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("s")).unwrap();
    let first = first.to_owned();
    let thread = thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        stream.get_mut().write_all(first.as_bytes()).unwrap();
        let mut heard = Vec::new();
        for reply in replies {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            heard.push(line.trim_end().to_owned());
            stream.get_mut().write_all(reply.as_bytes()).unwrap();
        }
        heard
    });
    (directory, thread)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

#[test]
fn a_program_goes_on_where_it_was_and_hears_what_it_lost() {
    let (directory, thread) = daemon(
        &format!("{HELLO}\n{}\n", r#"{"type":"message","seq":10,"time_us":1,"json":0}"#),
        &[concat!(
            r#"{"type":"ok","id":1,"result":"attached","seq":6}"#,
            "\n",
            r#"{"type":"gap","from":3,"to":6,"count":4,"why":"expired"}"#,
            "\n",
            r#"{"type":"message","seq":7,"time_us":1,"json":1}"#,
            "\n"
        )],
    );
    let mut client = Client::connect(&directory.path().join("s")).unwrap();
    assert_eq!((client.hello.seq, client.greeting.as_slice()), (9, HELLO.as_bytes()));
    let mut place = Place { epoch: "e".into(), seq: 2 };
    client.resume(&mut place, soon()).unwrap();
    assert_eq!(place.seq, 2, "the gap isn't heard yet");
    let mut line = Vec::new();
    client.lines.read(&mut line, Some(soon())).unwrap();
    assert!(matches!(Line::parse(&line), Some(Line::Gap(gap)) if gap.count == Some(4)));
    place.pass(&Line::parse(&line).unwrap());
    assert_eq!(place, Place { epoch: "e".into(), seq: 6 });
    client.lines.read(&mut line, Some(soon())).unwrap();
    place.pass(&Line::parse(&line).unwrap());
    assert_eq!(place.seq, 7);
    assert!(matches!(client.lines.read(&mut line, Some(soon())), Err(Error::Ended { .. })));
    assert_eq!(thread.join().unwrap(), [r#"{"op":"attach","id":1,"since":{"epoch":"e","seq":2}}"#]);
}

#[test]
fn a_refusal_is_told_from_the_end_of_the_connection() {
    let replies = &[
        "{\"type\":\"error\",\"id\":1,\"code\":\"forbidden\",\"message\":\"no\"}\n",
        "{\"type\":\"error\",\"code\":\"no_room\",\"message\":\"too much\"}\n",
    ];
    let (directory, thread) = daemon(&format!("{HELLO}\n"), replies);
    let mut client = Client::connect(&directory.path().join("s")).unwrap();
    let mut place = Place::newest(&client.hello);
    let refused = client.resume(&mut place, soon()).unwrap_err();
    assert!(matches!(&refused, Error::Refused { code, .. } if code == Code::Forbidden.name()), "{refused}");
    assert_eq!(refused.to_string(), "no (forbidden)");
    let dismissed = client.resume(&mut place, soon()).unwrap_err();
    assert!(matches!(dismissed, Error::Dismissed { .. }), "{dismissed}");
    let long = "x".repeat(60);
    let too_long = client
        .requests
        .line(Op::Attach(Attach { since: Some(Place { epoch: long, seq: 1 }.since()), ..Attach::default() }));
    assert!(matches!(too_long, Err(Error::TooLong { max: 60, .. })));
    assert_eq!(thread.join().unwrap().len(), 2);
}

#[test]
fn a_request_has_its_answers_and_what_comes_between_is_skipped() {
    let replies = &[
        concat!(
            r#"{"type":"message","seq":10,"time_us":1,"json":0}"#,
            "\n",
            r#"{"type":"answer","id":1,"json":{"id": 1},"more":true}"#,
            "\n",
            r#"{"type":"answer","id":9,"json":"another's"}"#,
            "\n",
            r#"{"type":"answer","id":1,"json":null,"failed":true}"#,
            "\n"
        ),
        "{\"type\":\"error\",\"id\":2,\"code\":\"timeout\",\"message\":\"none came\"}\n",
        concat!(
            r#"{"type":"answer","id":3,"json":7,"more":true}"#,
            "\n",
            r#"{"type":"error","id":3,"code":"cancelled","message":"it is"}"#,
            "\n",
            r#"{"type":"ok","id":4,"result":"cancelled"}"#,
            "\n"
        ),
        "",
        "{\"type\":\"bye\",\"why\":\"shutdown\"}\n",
    ];
    let (directory, thread) = daemon(&(HELLO.replace(":60}", ":600}") + "\n"), replies);
    let mut client = Client::connect(&directory.path().join("s")).unwrap();
    let json = serde_json::value::RawValue::from_string("{\"a\": 1.0}".to_owned()).unwrap();
    let mut answers = client.request(&json, Some(Duration::from_micros(1500)), soon()).unwrap();
    let first = answers.next(Some(soon())).unwrap().unwrap();
    assert_eq!((first.json.unwrap().get(), first.more, first.failed), (r#"{"id": 1}"#, true, false));
    let last = answers.next(None).unwrap().unwrap();
    assert_eq!((last.json.unwrap().get(), last.more, last.failed), ("null", false, true));
    assert!(answers.next(None).unwrap().is_none());
    let mut answers = client.request(&json, None, soon()).unwrap();
    let error = answers.next(None).unwrap_err();
    assert!(matches!(&error, Error::Refused { code, .. } if code == Code::Timeout.name()), "{error}");
    assert!(answers.next(None).unwrap().is_none(), "it is over");
    let mut answers = client.request(&json, None, soon()).unwrap();
    assert!(answers.next(None).unwrap().unwrap().more);
    answers.cancel(soon()).unwrap();
    let error = client.request(&json, None, soon()).unwrap().next(None).unwrap_err();
    assert!(matches!(error, Error::Bye { .. }), "{error}");
    let heard = thread.join().unwrap();
    assert_eq!(heard[0], r#"{"op":"request","id":1,"json":{"a": 1.0},"timeout_ms":2}"#);
    assert_eq!(heard[3], r#"{"op":"cancel","id":4,"request":3}"#);
}

#[test]
fn what_greets_otherwise_is_explained() {
    for (first, sentence) in [
        ("", "closed the connection at once"),
        ("{\"type\":\"hello\",\"protocol\":2}\n", "speaks version 2 of the protocol"),
        (
            "{\"type\":\"error\",\"code\":\"too_many_clients\",\"message\":\"full\"}\n",
            "full (too_many_clients)",
        ),
        ("{\"type\":\"error\",\"code\":\"later\"}\n", "the daemon refused (later)"),
        ("{\"type\":\"bye\",\"why\":\"shutdown\"}\n", "said bye (shutdown)"),
        ("SSH-2.0\n", "doesn't greet as wsfan does"),
        ("half a line", "doesn't greet as wsfan does"),
    ] {
        let (directory, thread) = daemon(first, &[]);
        let error = Client::connect(&directory.path().join("s")).unwrap_err().to_string();
        assert!(error.contains(sentence), "{first}: {error}");
        thread.join().unwrap();
    }
    let missing = Client::connect(Path::new("/nonexistent/s")).unwrap_err();
    assert!(matches!(missing, Error::Unreachable { .. }));
}

#[test]
fn a_newer_state_is_no_reason_to_fail() {
    let (directory, thread) = daemon(&(HELLO.replace("\"up\"", "\"resting\"") + "\n"), &[]);
    let client = Client::connect(&directory.path().join("s")).unwrap();
    assert_eq!(client.hello.link, Name::Other("resting".into()));
    thread.join().unwrap();
}
