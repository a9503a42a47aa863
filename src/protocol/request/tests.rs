use proptest::prelude::*;

use super::*;
use crate::protocol::Code;

fn bad(line: &str) -> (Option<String>, Code, String) {
    let Bad { id, code, message } = parse(line.as_bytes()).unwrap_err();
    (id.map(|id| id.get().to_owned()), code, message)
}

#[test]
fn ids_and_payloads_are_kept_as_they_came() {
    let request =
        parse(br#"{"op":"send","id":{"a": 1.0},"json":{"n":1e400, "n":12345678901234567890123}}"#).unwrap();
    assert_eq!(request.id.unwrap().get(), r#"{"a": 1.0}"#);
    let Op::Send(content) = request.op else { panic!("{request:?}") };
    let Content::Json(json) = content else { panic!("{content:?}") };
    assert_eq!(json.get(), r#"{"n":1e400, "n":12345678901234567890123}"#);
}

#[test]
fn a_line_that_is_no_request_says_how_one_is_written() {
    for (line, sentence) in [
        (
            "hello",
            "a line is a JSON object, such as {\"op\":\"send\",\"text\":\"hello\"}: expected value at column 1",
        ),
        (
            r#"{"op":"send","message":"x"}"#,
            "unknown field `message`: a send has `op`, `id`, `expand`, and one of `json`, `text`, `binary` and `messages`",
        ),
        (
            r#"{"op":"attach","from":1}"#,
            "unknown field `from`: an attach has `op`, `id`, `since` with `epoch` and `seq`, `name`, `takeover`, `topics`, `answers` and `snapshot`",
        ),
    ] {
        assert_eq!(bad(line).2, sentence, "{line}");
    }
}

#[test]
fn each_op_is_read() {
    let cases = [
        (r#"{"op":"send","text":"a\nb"}"#, "Send(Text(\"a\\nb\"))"),
        (r#"{"op":"send","json":null}"#, "Send(Json(RawValue(null)))"),
        (r#"{"op":"send","binary":"AAEC"}"#, "Send(Binary([0, 1, 2]))"),
        (
            r#"{"op":"send","messages":[{"json":[1]},{"text":"a"},{ "binary":"AA==" },{"json":null}]}"#,
            "Unit { messages: [Json(RawValue([1])), Text(\"a\"), Binary([0]), Json(RawValue(null))] }",
        ),
        (
            r#"{"op":"attach","answers":true}"#,
            "Attach(Attach { since: None, name: None, takeover: false, topics: None, answers: true, snapshot: false })",
        ),
        (
            r#"{"op":"request","id":1,"json":{},"timeout_ms":5}"#,
            "Request { json: RawValue({}), timeout_ms: Some(5) }",
        ),
        (r#"{"op":"cancel","request":"a"}"#, r#"Cancel { request: RawValue("a") }"#),
        (
            r#"{"op":"attach","topics":["a.*","b\n"]}"#,
            r#"Attach(Attach { since: None, name: None, takeover: false, topics: Some(["a.*", "b\n"]), answers: false, snapshot: false })"#,
        ),
        (
            r#"{"op":"attach"}"#,
            "Attach(Attach { since: None, name: None, takeover: false, topics: None, answers: false, snapshot: false })",
        ),
        (
            r#"{"op":"attach","since":null}"#,
            "Attach(Attach { since: None, name: None, takeover: false, topics: None, answers: false, snapshot: false })",
        ),
        (
            r#"{"op":"attach","name":"b\u00f6t","takeover":true}"#,
            "Attach(Attach { since: None, name: Some(\"böt\"), takeover: true, topics: None, answers: false, snapshot: false })",
        ),
        (r#"{"op":"ack","seq":7}"#, "Ack { seq: 7 }"),
        (
            r#"{"op":"attach","since":{"epoch":"e","seq":3}}"#,
            r#"Attach(Attach { since: Some(Since { epoch: "e", seq: 3 }), name: None, takeover: false, topics: None, answers: false, snapshot: false })"#,
        ),
        (
            r#"{"op":"subscribe","topics":["a","b"],"json":null}"#,
            r#"Subscribe { topics: ["a", "b"], json: Some(RawValue(null)) }"#,
        ),
        (r#"{"op":"unsubscribe","topics":["a\"b"]}"#, r#"Unsubscribe { topics: ["a\"b"] }"#),
        (r#"{"op":"status","id":null}"#, "Status"),
        (r#"{ "op" : "reconnect" }"#, "Reconnect"),
        (r#"{"op":"close"}"#, "Close"),
        (r#"{"op":"open"}"#, "Open"),
        (r#"{"op":"ping"}"#, "Ping"),
    ];
    for (line, op) in cases {
        assert_eq!(format!("{:?}", parse(line.as_bytes()).unwrap().op), op, "{line}");
    }
}

#[test]
fn what_is_wrong_with_a_line_is_said() {
    let cases = [
        ("", Code::BadJson, "EOF"),
        ("{", Code::BadJson, "EOF"),
        ("nonsense", Code::BadJson, "expected"),
        (r#"{"op":"ping"} {}"#, Code::BadJson, "trailing"),
        ("[]", Code::BadRequest, "not an array"),
        (r#" ["ping",1]"#, Code::BadRequest, "not an array"),
        ("1", Code::BadRequest, "an object"),
        (r#"{"id":1}"#, Code::BadRequest, "no `op`"),
        (r#"{"op":7,"id":1}"#, Code::BadRequest, "expected a string"),
        (r#"{"op":"fly","id":1}"#, Code::UnknownOp, "no op \"fly\""),
        (r#"{"op":"send","id":1}"#, Code::BadRequest, "exactly one of"),
        (r#"{"op":"send","id":1,"json":1,"text":""}"#, Code::BadRequest, "exactly one of"),
        (r#"{"op":"send","id":1,"binary":"AAE"}"#, Code::BadRequest, "not base64"),
        (r#"{"op":"send","id":1,"messages":[]}"#, Code::BadRequest, "has 1 to 1000 messages"),
        (r#"{"op":"send","id":1,"messages":{}}"#, Code::BadRequest, "expected a list of messages"),
        (r#"{"op":"send","id":1,"messages":null}"#, Code::BadRequest, "expected a list of messages"),
        (r#"{"op":"send","id":1,"text":"","messages":[{"text":""}]}"#, Code::BadRequest, "not both"),
        (
            r#"{"op":"send","id":1,"messages":[{"text":""},"x"]}"#,
            Code::BadRequest,
            "messages[1] is not an object",
        ),
        (
            r#"{"op":"send","id":1,"messages":[[1,"x","y"]]}"#,
            Code::BadRequest,
            "messages[0] is not an object",
        ),
        (r#"{"op":"send","id":1,"messages":[{}]}"#, Code::BadRequest, "messages[0] needs exactly one of"),
        (
            r#"{"op":"send","id":1,"messages":[{"json":1,"text":""}]}"#,
            Code::BadRequest,
            "messages[0] needs exactly",
        ),
        (r#"{"op":"send","id":1,"messages":[{"binary":"AAE"}]}"#, Code::BadRequest, "not base64"),
        (
            r#"{"op":"send","id":1,"messages":[{"txet":""}]}"#,
            Code::BadRequest,
            "messages[0]: unknown field `txet`",
        ),
        (
            r#"{"op":"send","id":1,"messages":[{"messages":[]}]}"#,
            Code::BadRequest,
            "unknown field `messages`",
        ),
        (r#"{"op":"send","id":1,"txet":""}"#, Code::BadRequest, "unknown field `txet`"),
        (r#"{"op":"attach","id":1,"name":""}"#, Code::BadRequest, "1 to 64 characters"),
        (r#"{"op":"attach","id":1,"name":"a\u001b"}"#, Code::BadRequest, "none that controls"),
        (r#"{"op":"attach","id":1,"name":7}"#, Code::BadRequest, "expected a string"),
        (r#"{"op":"attach","id":1,"takeover":true}"#, Code::BadRequest, "goes with `name`"),
        (r#"{"op":"attach","id":1,"name":"a","takeover":1}"#, Code::BadRequest, "expected a boolean"),
        (r#"{"op":"ack","id":1}"#, Code::BadRequest, "an ack needs `seq`"),
        (r#"{"op":"ack","id":1,"seq":-1}"#, Code::BadRequest, "expected u64"),
        (r#"{"op":"subscribe","id":1}"#, Code::BadRequest, "`subscribe` needs `topics`"),
        (r#"{"op":"unsubscribe","id":1,"topics":[]}"#, Code::BadRequest, "a list of at least one"),
        (r#"{"op":"subscribe","id":1,"topics":"a"}"#, Code::BadRequest, "expected a sequence"),
        (r#"{"op":"subscribe","id":1,"topics":[1]}"#, Code::BadRequest, "expected a string"),
        (r#"{"op":"subscribe","id":1,"topic":["a"]}"#, Code::BadRequest, "field `topic`: a subscribe has"),
        (r#"{"op":"request","id":1}"#, Code::BadRequest, "needs `json`"),
        (r#"{"op":"request","json":{}}"#, Code::BadRequest, "needs an `id`"),
        (r#"{"op":"request","id":1,"json":{},"timeout_ms":0}"#, Code::BadRequest, "from 1 to 86400000"),
        (r#"{"op":"request","id":1,"json":{},"timeout_ms":86400001}"#, Code::BadRequest, "from 1 to"),
        (r#"{"op":"request","id":1,"json":{},"timeout_ms":-1}"#, Code::BadRequest, "expected u64"),
        (r#"{"op":"request","id":1,"text":"x"}"#, Code::BadRequest, "needs `json`"),
        (r#"{"op":"request","id":1,"json":1,"text":"x"}"#, Code::BadRequest, "`json` alone"),
        (r#"{"op":"cancel","id":1}"#, Code::BadRequest, "needs `request`"),
        (r#"{"op":"attach","id":1,"since":3}"#, Code::BadRequest, "expected an object with `epoch` and"),
        (r#"{"op":"attach","id":1,"since":["e",3]}"#, Code::BadRequest, "expected an object with"),
        (r#"{"op":"attach","id":1,"since":{"epoch":"e","seq":3,"x":1}}"#, Code::BadRequest, "field `x`"),
        (r#"{"op":"attach","id":1,"since":{"epoch":"e"}}"#, Code::BadRequest, "missing field `seq`"),
        (r#"{"op":"attach","id":1,"since":{"epoch":"e","seq":-1}}"#, Code::BadRequest, "expected u64"),
    ];
    for (line, code, part) in cases {
        let (id, found, message) = bad(line);
        assert_eq!(found, code, "{line}: {message}");
        assert!(message.contains(part), "{line}: {message}");
        assert_eq!(id.as_deref(), line.contains("\"id\":1").then_some("1"), "{line}");
    }
}

#[test]
fn a_unit_is_bounded() {
    let line = |count: usize| {
        format!(r#"{{"op":"send","id":1,"messages":[{}]}}"#, vec![r#"{"json":1}"#; count].join(","))
    };
    assert!(parse(line(MAX_UNIT).as_bytes()).is_ok());
    for count in [MAX_UNIT + 1, MAX_UNIT + 2, 50_000] {
        assert_eq!(bad(&line(count)).1, Code::BadRequest);
        assert!(bad(&line(count)).2.contains("has 1 to 1000 messages"), "{count}");
    }
}

#[test]
fn an_id_is_a_name_and_no_load() {
    let line = |length: usize, op: &str| format!(r#"{{"op":{op},"id":"{}"}}"#, "x".repeat(length - 2));
    assert!(parse(line(MAX_ID, r#""ping""#).as_bytes()).is_ok());
    for op in [r#""ping""#, "7"] {
        let (id, code, _) = bad(&line(MAX_ID + 1, op));
        assert_eq!((id, code), (None, Code::BadRequest));
    }
}

#[test]
fn invalid_utf8_is_bad_json() {
    assert_eq!(parse(b"{\"op\":\"send\",\"text\":\"\xff\"}").unwrap_err().code, Code::BadJson);
    assert_eq!(parse(b"{\"op\":\"send\",\"json\":\"\xff\"}").unwrap_err().code, Code::BadJson);
}

#[test]
fn depth_costs_no_stack() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(parse(format!(r#"{{"op":"send","json":{deep}}}"#).as_bytes()).is_ok());
    assert_eq!(bad(&deep).1, Code::BadRequest);
    assert_eq!(bad(&format!(r#"{{"op":{deep}}}"#)).1, Code::BadRequest);
    assert_eq!(bad(&format!(r#"{{"x":{deep}}}"#)).1, Code::BadRequest);
}

proptest! {
    #[test]
    fn no_line_breaks_the_reader(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&line);
    }
}

#[test]
fn what_was_written_is_read_and_written_the_same() {
    for line in [
        r#"{"op":"send","id":1,"json":{"a": 1.10}}"#,
        r#"{"op":"send","id":"a","text":"a\nb"}"#,
        r#"{"op":"send","id":1,"binary":"AAEC"}"#,
        r#"{"op":"send","json":null}"#,
        r#"{"op":"send","id":1,"messages":[{"json":{"a": 1.10}},{"text":"a"},{"binary":"AAEC"}]}"#,
        r#"{"op":"attach","id":1,"since":{"epoch":"e","seq":3}}"#,
        r#"{"op":"attach","id":1}"#,
        r#"{"op":"attach","id":1,"name":"bot","takeover":true}"#,
        r#"{"op":"ack","id":1,"seq":3}"#,
        r#"{"op":"attach","id":1,"answers":true}"#,
        r#"{"op":"request","id":1,"json":{"a": 1.10},"timeout_ms":5000}"#,
        r#"{"op":"cancel","id":2,"request":1}"#,
        r#"{"op":"status","id":1}"#,
        r#"{"op":"reconnect"}"#,
        r#"{"op":"close"}"#,
        r#"{"op":"open"}"#,
        r#"{"op":"reload"}"#,
        r#"{"op":"ping"}"#,
    ] {
        assert_eq!(String::from_utf8(parse(line.as_bytes()).unwrap().write()).unwrap(), line);
    }
}
