use super::*;

fn tail(form: Form) -> Tail<Vec<u8>> {
    let (left, start, last, skip) = (None, None, None, None);
    Tail {
        form,
        is_terminal: false,
        left,
        start,
        last,
        follow: true,
        skip,
        topics: Vec::new(),
        subscription: None,
        snapshot: false,
        has_snapshot: false,
        out: Vec::new(),
    }
}

fn taken(form: Form, left: Option<u64>, lines: &[&str]) -> (String, bool) {
    let mut tail = Tail { left, ..tail(form) };
    let mut ended = false;
    for line in lines {
        assert!(!ended, "a line after the end");
        ended = tail.take(line.as_bytes()).unwrap().is_some();
    }
    (String::from_utf8(tail.out).unwrap(), ended)
}

#[test]
fn a_terminal_is_not_steered_and_a_pipe_gets_every_byte() {
    let line =
        "{\"type\":\"message\",\"seq\":1,\"time_us\":1,\"text\":\"a\\u001b]0;x\\u0007\u{9b}2J\u{200e}\"}";
    for (form, is_terminal, shown) in [
        (Form::Raw, false, "a\u{1b}]0;x\u{7}\u{9b}2J\u{200e}\n".to_owned()),
        (Form::Raw, true, "a\\u{1b}]0;x\\u{7}\\u{9b}2J\\u{200e}\n".to_owned()),
        (Form::Plain, false, format!("{line}\n")),
        (
            Form::Plain,
            true,
            format!("{}\n", line.replace('\u{9b}', "\\u009b").replace('\u{200e}', "\\u200e")),
        ),
    ] {
        let mut tail = Tail { is_terminal, ..tail(form) };
        assert!(tail.take(line.as_bytes()).unwrap().is_none());
        assert_eq!(String::from_utf8(tail.out).unwrap(), shown);
    }
}

#[test]
fn plain_lines_pass_as_they_come() {
    let lines = [r#"{"type":"link","seq":1,"state":"up"}"#, r#"{"type":"message","seq":2,"json": 1}"#];
    assert_eq!(taken(Form::Plain, None, &lines), (lines.join("\n") + "\n", false));
}

#[test]
fn raw_is_the_payload_alone() {
    let lines = [
        r#"{"type":"link","seq":1,"state":"up"}"#,
        r#"{"type":"message","seq":2,"json":{"a": 1}}"#,
        r#"{"type":"message","seq":3,"text":"two\nlines"}"#,
    ];
    assert_eq!(taken(Form::Raw, None, &lines), ("{\"a\": 1}\ntwo lines\n".to_owned(), false));
}

#[test]
fn only_messages_are_counted() {
    let message = r#"{"type":"message","seq":2,"json":1}"#;
    let blank = r#"{ "type": "message","seq":3,"json":1}"#;
    let link = r#"{"type":"link","seq":1,"state":"up"}"#;
    assert!(!taken(Form::Plain, Some(2), &[link, message, link]).1);
    assert!(taken(Form::Plain, Some(2), &[link, message, blank]).1);
}

#[test]
fn what_came_before_a_time_is_passed_over() {
    let gap = r#"{"type":"gap","from":2,"to":3,"count":2,"why":"slow_client"}"#;
    let restated = r#"{"type":"link","time_us":9,"state":"up"}"#;
    let at = |seq: u64, time: u64| format!(r#"{{"type":"message","seq":{seq},"time_us":{time},"json":1}}"#);
    for (lines, shown) in [
        (vec![at(1, 5), at(2, 9), at(3, 10), at(4, 11)], vec![at(3, 10), at(4, 11)]),
        // what is lost may have been of that time, or can't have been
        (vec![at(1, 5), gap.into(), restated.into(), at(4, 11)], vec![gap.into(), at(4, 11)]),
        (vec![gap.into(), restated.into(), at(4, 5), at(5, 10), gap.into()], vec![at(5, 10), gap.into()]),
    ] {
        let mut tail = Tail { skip: Some(Skip { until_us: 10, gap: None }), ..tail(Form::Plain) };
        for line in &lines {
            assert!(tail.take(line.as_bytes()).unwrap().is_none());
        }
        let out = String::from_utf8(tail.out).unwrap();
        assert_eq!(out.lines().collect::<Vec<_>>(), shown);
    }
}

#[test]
fn bye_is_the_end() {
    assert!(taken(Form::Plain, None, &[r#"{"type":"bye","why":"shutdown"}"#]).1);
}
