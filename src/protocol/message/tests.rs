use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::protocol::Line;

fn lines(data: Data<'_>) -> (String, String) {
    let (mut envelope, mut raw) = (Vec::new(), Vec::new());
    Encoder::new(data).write(7, 5, &mut envelope, Some(&mut raw));
    (String::from_utf8(envelope).unwrap(), String::from_utf8(raw).unwrap())
}

#[test]
fn a_message_becomes_a_line() {
    let cases = [
        (Data::Text(r#"{"a":1}"#), r#""json":{"a":1}"#, r#"{"a":1}"#),
        (Data::Text(" [1, 2]\n"), r#""json":[1, 2]"#, " [1, 2] "),
        (Data::Text("{\r\n\"a\": 1\n}"), r#""json":{  "a": 1 }"#, "{  \"a\": 1 }"),
        (
            Data::Text(r#"{"n":123456789012345678901234567890.10,"n":1e400,"b":0}"#),
            r#""json":{"n":123456789012345678901234567890.10,"n":1e400,"b":0}"#,
            r#"{"n":123456789012345678901234567890.10,"n":1e400,"b":0}"#,
        ),
        (Data::Text(r#""\ud800""#), r#""json":"\ud800""#, r#""\ud800""#),
        (Data::Text("3"), r#""json":3"#, "3"),
        (Data::Text("not JSON"), r#""text":"not JSON""#, "not JSON"),
        (Data::Text("{\"a\":1} x"), r#""text":"{\"a\":1} x""#, "{\"a\":1} x"),
        (Data::Text("two\nlines\u{1}"), r#""text":"two\nlines\u0001""#, "two lines\u{1}"),
        (Data::Text(""), r#""text":"""#, ""),
        (Data::Binary(&[0, 1, 2]), r#""binary":"AAEC""#, "AAEC"),
        (Data::Binary(&[]), r#""binary":"""#, ""),
    ];
    for (data, envelope, raw) in cases {
        let expected = format!("{{\"type\":\"message\",\"seq\":7,\"time_us\":5,{envelope}}}\n");
        assert_eq!(lines(data), (expected, format!("{raw}\n")), "{data:?}");
    }
}

#[test]
fn a_topic_stands_in_the_line_and_is_found_there() {
    for (name, written) in [
        ("btc.trades", r#","topic":"btc.trades""#),
        ("a\"\\b", r#","topic":"a\"\\b""#),
        ("", ""),
        (&"x".repeat(257), r#","topic":"""#),
    ] {
        let topic = MessageTopic::new(name.to_owned());
        for data in [Data::Text("1"), Data::Text("\"topic\""), Data::Binary(b"x")] {
            let message = Encoder::new(data).with_topic(&topic);
            let (mut line, mut raw) = (Vec::new(), Vec::new());
            message.write(u64::MAX, u64::MAX, &mut line, Some(&mut raw));
            assert!(line.len() <= message.room().envelope && raw.len() <= message.room().raw);
            let text = String::from_utf8(line.clone()).unwrap();
            assert!(text.contains(&format!("\"time_us\":{}{written},\"", u64::MAX)), "{text}");
            assert_eq!(Message::topic_of(&line), topic);
            let read = Line::parse(text.trim_end().as_bytes());
            let Some(Line::Message(message)) = &read else { panic!("{text}") };
            assert_eq!(message.topic.as_deref(), topic.as_line());
            assert_eq!(read.unwrap().write(), line);
        }
    }
    assert_eq!(Message::topic_of(br#"{"type":"link","seq":1,"time_us":1,"topic":"a"}"#), MessageTopic::None);
    let later = br#"{"type":"message","seq":1,"time_us":1,"json":{"topic":"a"}}"#;
    assert_eq!(Message::topic_of(later), MessageTopic::None);
}

#[test]
fn json_of_any_depth_passes() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(lines(Data::Text(&deep)).0.contains("\"json\":[[["));
}

#[test]
fn the_longest_envelope_has_room() {
    for data in [Data::Text("1"), Data::Text("x"), Data::Binary(b"x")] {
        let message = Encoder::new(data);
        let mut line = Vec::new();
        message.write(u64::MAX, u64::MAX, &mut line, None::<&mut Vec<u8>>);
        let length = line.len();
        assert!(length <= message.room().envelope, "{length} bytes");
    }
}

#[test]
fn no_line_is_longer_than_the_longest() {
    for length in [20_000, 100_000] {
        let (control, bytes) = ("\u{1}".repeat(length), vec![0; length]);
        for data in [Data::Text(&control), Data::Binary(&bytes)] {
            assert!(Encoder::new(data).room().envelope <= longest(length));
        }
    }
    assert_eq!(longest(0), OTHER_BYTES);
}

#[test]
fn a_payload_is_kept_as_it_is() {
    let raw = |line: &str| serde_json::from_str::<Message<'_>>(line).unwrap().raw().into_owned();
    let number =
        r#"{"type":"message","seq":1,"time_us":2,"json":{"b":1.10,"a":12345678901234567890123,"a":2}}"#;
    assert_eq!(raw(number), r#"{"b":1.10,"a":12345678901234567890123,"a":2}"#);
    assert_eq!(raw(r#"{"type":"message","json":null}"#), "null");
    assert_eq!(raw(r#"{"type":"message","text":"a\nb"}"#), "a b");
    assert_eq!(raw(r#"{"type":"message","binary":"AAEC"}"#), "AAEC");
}

#[test]
fn a_message_is_known_by_its_beginning() {
    assert!(Message::is_one(b"{\"type\":\"message\",\"seq\":1}"));
    assert!(!Message::is_one(b"{\"type\":\"link\",\"seq\":1}"));
    assert!(!Message::is_one(b"{\"type\":\"mess"));
    assert_eq!(Message::seq_of(b"{\"type\":\"message\",\"seq\":41,\"json\":1}"), Some(41));
    for odd in [
        "{\"type\":\"message\",\"seq\":41",
        "{\"type\":\"message\",\"seq\":,",
        "{\"type\":\"link\",\"seq\":1}",
    ] {
        assert_eq!(Message::seq_of(odd.as_bytes()), None);
    }
}

proptest! {
    #[test]
    fn the_encoder_writes_what_the_type_reads_and_writes(text in prop_oneof![any::<String>(), "[\\[\\]{},:\"0-9 \n]{0,9}"]) {
        let (line, raw) = lines(Data::Text(&text));
        let read = Line::parse(line.trim_end().as_bytes());
        let Some(Line::Message(message)) = &read else { panic!("{line}") };
        prop_assert_eq!((message.seq, message.time_us), (7, 5));
        let back = message.raw().into_owned();
        prop_assert_eq!(back.trim(), raw.trim());
        prop_assert_eq!(String::from_utf8(read.unwrap().write()).unwrap(), line);
    }

    #[test]
    fn the_length_of_a_string_is_known_before_it_is_written(text in any::<String>()) {
        prop_assert_eq!(string_len(&text), serde_json::to_string(&text).unwrap().len());
    }

    #[test]
    fn any_text_becomes_one_line_that_gives_it_back(text in any::<String>()) {
        let (envelope, raw) = lines(Data::Text(&text));
        prop_assert_eq!(envelope.matches('\n').count(), 1);
        prop_assert_eq!(raw.matches(['\n', '\r']).count(), 1);
        let line: Value = serde_json::from_str(&envelope).unwrap();
        match (line.get("text"), line.get("json")) {
            (Some(Value::String(back)), None) => prop_assert_eq!(back, &text),
            (None, Some(json)) => prop_assert_eq!(json, &serde_json::from_str::<Value>(&text).unwrap()),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_bytes_become_one_line_that_gives_them_back(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let (envelope, _) = lines(Data::Binary(&bytes));
        let line: Value = serde_json::from_str(&envelope).unwrap();
        prop_assert_eq!(BASE64.decode(line["binary"].as_str().unwrap()).unwrap(), bytes);
    }

    #[test]
    fn a_line_gives_the_payload_back_that_came(
        said in prop_oneof![any::<String>(), "[ \n\r\t]{0,2}(\\[[0-9, \r\n]{0,5}\\]|\"\\\\ud800\"|1e400)[ \n]{0,2}"],
        bytes in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let came = |data| {
            let line = lines(data).0;
            let message: Message<'_> = serde_json::from_str(&line).unwrap();
            message.payload().unwrap().into_owned()
        };
        prop_assert_eq!(&came(Data::Binary(&bytes)), &bytes);
        let is_json = serde_json::from_str::<&RawValue>(&said).is_ok();
        let expected = match is_json {
            true => said.trim_matches([' ', '\n', '\r', '\t']).replace(['\n', '\r'], " "),
            false => said.clone(),
        };
        prop_assert_eq!(came(Data::Text(&said)), expected.into_bytes());
    }
}
