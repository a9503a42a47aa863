//! The local protocol, version 1: lines from clients are read, and all lines that are not log
//! entries are written. Pure. `docs/protocol.md` is its description.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::hub::{Changes, Fate, LinkState, Lost, Payload, Reload, ReloadResult};

/// The version in `hello`. It changes when a client of the former version could misread a line.
pub const VERSION: u32 = 1;

/// `server` in `hello` and `status`.
pub const SERVER: &str = concat!("wsfan/", env!("CARGO_PKG_VERSION"));

/// The longest id in bytes. Ids are kept until the answer, and must not outweigh the payloads.
pub const MAX_ID: usize = 1024;

/// A request: one line from a client.
#[derive(Debug)]
pub struct Request<'a> {
    /// Echoed with the reply, as it came.
    pub id: Option<&'a RawValue>,
    /// What is asked.
    pub op: Op<'a>,
}

/// What a client asks.
#[derive(Debug)]
pub enum Op<'a> {
    /// Send this upstream.
    Send(Content<'a>),
    /// Move the cursor: to right after `since`, or to the head of the log.
    Attach {
        /// The last entry that the client has.
        since: Option<Since<'a>>,
    },
    /// Tell the state of everything.
    Status,
    /// Drop the connection and connect anew.
    Reconnect,
    /// Close the link, and keep it closed.
    Close,
    /// Open the link.
    Open,
    /// Read the configuration again.
    Reload,
    /// Answer.
    Ping,
}

/// What to send, as it stands in the line.
#[derive(Debug)]
pub enum Content<'a> {
    /// JSON, sent as the text that the client wrote. Blanks around the value belong to the line, and aren't.
    Json(&'a RawValue),
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary(Vec<u8>),
}

impl From<Content<'_>> for Payload {
    fn from(content: Content<'_>) -> Payload {
        match content {
            Content::Json(json) => Payload::Text(json.get().to_owned()),
            Content::Text(text) => Payload::Text(text.into_owned()),
            Content::Binary(bytes) => Payload::Binary(bytes),
        }
    }
}

/// An entry of the log, named for ever.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since<'a> {
    /// The life of the log that it belongs to.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    /// Its place in it.
    pub seq: u64,
}

/// The stable names of errors; `docs/protocol.md` explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The line isn't a JSON object in UTF-8.
    BadJson,
    /// A field is missing, unknown, of the wrong type, or makes no sense.
    BadRequest,
    /// There is no such op.
    UnknownOp,
    /// The client hasn't the right.
    Forbidden,
    /// The line is longer than `max_line`; the connection is closed.
    LineTooLong,
    /// The unfinished lines of all clients together take too much; the connection is closed.
    NoRoom,
    /// The listener has as many clients as it takes; the connection is closed.
    TooManyClients,
    /// The configuration was not reloaded: the old one stays in force.
    BadConfig,
    /// The link isn't up, and there is no outbox.
    LinkDown,
    /// The send waited too long in the outbox.
    Expired,
    /// The outbox has no room.
    OutboxFull,
    /// The send is over the server's largest message.
    TooLarge,
    /// The send is over the server's limit of messages, or `status` is asked for too often.
    RateLimited,
    /// The connection ended while the send was being written: it may have arrived or not.
    Unknown,
}

/// Why a line was not understood.
#[derive(Debug)]
pub struct Bad<'a> {
    /// The line's id, if that much was understood.
    pub id: Option<&'a RawValue>,
    /// The error's name.
    pub code: Code,
    /// A sentence for people.
    pub message: String,
}

/// Reads one line.
///
/// # Errors
/// What to tell the client.
pub fn parse(line: &[u8]) -> Result<Request<'_>, Bad<'_>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, expecting = "an object")]
    struct Wire<'a> {
        #[serde(borrow)]
        op: Option<Cow<'a, str>>,
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow, default, deserialize_with = "present")]
        json: Option<&'a RawValue>,
        #[serde(borrow)]
        text: Option<Cow<'a, str>>,
        #[serde(borrow)]
        binary: Option<Cow<'a, str>>,
        #[serde(borrow, default, deserialize_with = "since")]
        since: Option<Since<'a>>,
    }
    let bad = |id, code, message: String| Err(Bad { id, code, message });
    // serde would take an array for the fields in their order
    if line.trim_ascii_start().first() == Some(&b'[') {
        return bad(None, Code::BadRequest, "a request is a JSON object, not an array".to_owned());
    }
    let wire: Wire<'_> = match serde_json::from_slice(line) {
        Ok(wire) => wire,
        Err(error) => {
            let (id, code) = match error.classify() {
                serde_json::error::Category::Data => (id_of(line), Code::BadRequest),
                _ => (None, Code::BadJson),
            };
            return bad(id, code, format!("the line could not be read: {error}"));
        }
    };
    let id = wire.id;
    if let Some(id) = id.filter(|id| id.get().len() > MAX_ID) {
        let message = format!("the id has {} bytes; {MAX_ID} are enough for a name", id.get().len());
        return bad(None, Code::BadRequest, message);
    }
    let op = match wire.op.as_deref() {
        Some("send") => match (wire.json, wire.text, wire.binary) {
            (Some(json), None, None) => Op::Send(Content::Json(json)),
            (None, Some(text), None) => Op::Send(Content::Text(text)),
            (None, None, Some(text)) => match BASE64.decode(text.as_bytes()) {
                Ok(bytes) => Op::Send(Content::Binary(bytes)),
                Err(error) => return bad(id, Code::BadRequest, format!("`binary` is not base64: {error}")),
            },
            _ => {
                let message = "a send needs exactly one of `json`, `text` and `binary`".to_owned();
                return bad(id, Code::BadRequest, message);
            }
        },
        Some("attach") => Op::Attach { since: wire.since },
        Some("status") => Op::Status,
        Some("reconnect") => Op::Reconnect,
        Some("close") => Op::Close,
        Some("open") => Op::Open,
        Some("reload") => Op::Reload,
        Some("ping") => Op::Ping,
        Some(other) => {
            let known = "send, attach, status, reconnect, close, open, reload and ping";
            let shown: String = other.chars().take(40).collect();
            return bad(id, Code::UnknownOp, format!("there is no op {shown:?}; there are {known}"));
        }
        None => return bad(id, Code::BadRequest, "the line has no `op`".to_owned()),
    };
    Ok(Request { id, op })
}

/// A field that is there, whatever it holds: `null` is a payload like any other.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// `since`, as the object that it is: serde would take an array for its fields in their order.
fn since<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Since<'a>>, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Option<Since<'de>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object with `epoch` and `seq`")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Since::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// The id of a line whose other fields are wrong.
fn id_of(line: &[u8]) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Id<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
    }
    serde_json::from_slice::<Id<'_>>(line).ok()?.id.filter(|id| id.get().len() <= MAX_ID)
}

/// What a `hello` line says.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Hello<'a> {
    /// The life of the log.
    pub epoch: &'a str,
    /// The newest entry; what comes next has a higher `seq`.
    pub seq: u64,
    /// The oldest entry that `attach` can reach.
    pub oldest: u64,
    /// The link's present state.
    pub link: LinkState,
    /// The client's number, for logs and `status`.
    pub client: u64,
    /// The longest line that the client may send.
    pub max_line: usize,
    /// The longest line that an entry of the log may have, its end included.
    pub max_entry: usize,
}

/// The first line to every client of an `envelope` listener.
pub fn hello(hello: &Hello<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        protocol: u32,
        server: &'a str,
        #[serde(flatten)]
        hello: &'a Hello<'a>,
    }
    line("hello", None, &Line { protocol: VERSION, server: SERVER, hello })
}

/// Says that a request is done. `result` is what was done, in a word.
pub fn ok(id: &RawValue, result: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        result: &'a str,
    }
    line("ok", Some(id), &Line { result })
}

/// Answers `reload`: what it changed and what it couldn't, or that the new configuration is refused.
pub fn reloaded(id: Option<&RawValue>, reload: &Reload) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        result: ReloadResult,
        #[serde(flatten)]
        changes: &'a Changes,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    }
    let error = reload.error.as_deref();
    match reload.result {
        ReloadResult::Refused => self::error(id, Code::BadConfig, error.unwrap_or_default()),
        result => line("ok", id, &Line { result, changes: &reload.changes, error }),
    }
}

/// Says that an `attach` is done, and that the next entry has a `seq` higher than `seq`.
pub fn attached(id: &RawValue, seq: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line {
        result: &'static str,
        seq: u64,
    }
    line("ok", Some(id), &Line { result: "attached", seq })
}

/// Answers `status` with the fields of `status`.
pub fn status(id: Option<&RawValue>, status: &impl Serialize) -> Vec<u8> {
    line("status", id, status)
}

/// Says that a request failed, and why.
pub fn error(id: Option<&RawValue>, code: Code, message: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        code: Code,
        message: &'a str,
    }
    line("error", id, &Line { code, message })
}

/// Why entries are lost to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The client read too slowly, and the log moved on.
    SlowClient,
    /// It asked for entries that the log no longer holds.
    Expired,
    /// It asked for entries of another life of the log; how many of those it missed can't be known.
    Epoch,
}

/// Declares entries that the client will not get.
pub fn gap(lost: Lost, why: Why) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line {
        from: u64,
        to: u64,
        count: u64,
        why: Why,
    }
    line("gap", None, &Line { from: lost.from, to: lost.to, count: lost.count(), why })
}

/// Declares that what another life of the log had later is lost, and of this one's entries those up to
/// `to`, if any.
pub fn epoch_gap(to: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line {
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
        /// Always null: nobody knows.
        count: Option<u64>,
        why: Why,
    }
    let any = to > 0;
    line("gap", None, &Line { from: any.then_some(1), to: any.then_some(to), count: None, why: Why::Epoch })
}

/// Why wsfan closes a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bye {
    /// The daemon stops.
    Shutdown,
    /// The client fell out of the log, and `slow_client` is `disconnect`.
    SlowClient,
    /// A reload took away the listener, or the right to receive.
    Reconfigured,
    /// The client sent what ends a connection; the `error` line before says what.
    BadClient,
}

impl Bye {
    /// The cause's name in lines and logs.
    pub fn name(self) -> &'static str {
        match self {
            Bye::Shutdown => "shutdown",
            Bye::SlowClient => "slow_client",
            Bye::Reconfigured => "reconfigured",
            Bye::BadClient => "bad_client",
        }
    }
}

/// The last line to a client.
pub fn bye(why: Bye) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line {
        why: &'static str,
    }
    line("bye", None, &Line { why: why.name() })
}

/// The line that tells a send's fate. Without an id only errors are told.
pub fn fate(id: Option<&RawValue>, fate: Fate) -> Option<Vec<u8>> {
    let (code, message) = match fate {
        Fate::Written => return id.map(|id| ok(id, "written")),
        Fate::Queued => return id.map(|id| ok(id, "queued")),
        Fate::LinkDown(state) => (
            Code::LinkDown,
            Cow::from(match state {
                LinkState::Failed => "the link has failed: `open` or `reconnect` starts it again".to_owned(),
                LinkState::Closed => "the link is closed: `open` or `reconnect` opens it".to_owned(),
                _ => format!("the link is {}: send again when a `link` line says up", state.name()),
            }),
        ),
        Fate::Expired => (Code::Expired, "the link wasn't up again within outbox.ttl".into()),
        Fate::OutboxFull => {
            (Code::OutboxFull, "the outbox has no room: send again when the link is up".into())
        }
        Fate::TooLarge(max) => {
            (Code::TooLarge, format!("the message is over the {max} bytes of limits.max_message").into())
        }
        Fate::RateLimited => (
            Code::RateLimited,
            "more messages were sent than limits.messages let out: send again later".into(),
        ),
        Fate::Unknown => (
            Code::Unknown,
            "the connection ended while this was being written: it may have arrived, and is not sent again"
                .into(),
        ),
    };
    Some(error(id, code, &message))
}

/// `{"type":kind,"id":id,…fields}` and a newline.
fn line(kind: &str, id: Option<&RawValue>, fields: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::with_capacity(128);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.push(b'"');
    if let Some(id) = id {
        line.extend_from_slice(b",\"id\":");
        line.extend_from_slice(id.get().as_bytes());
    }
    let fields_start = line.len();
    serde_json::to_writer(&mut line, fields).expect("a line's fields are plain data");
    line[fields_start] = b',';
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bad(line: &str) -> (Option<String>, Code, String) {
        let Bad { id, code, message } = parse(line.as_bytes()).unwrap_err();
        (id.map(|id| id.get().to_owned()), code, message)
    }

    #[test]
    fn ids_and_payloads_are_kept_as_they_came() {
        let request =
            parse(br#"{"op":"send","id":{"a": 1.0},"json":{"n":1e400, "n":12345678901234567890123}}"#)
                .unwrap();
        assert_eq!(request.id.unwrap().get(), r#"{"a": 1.0}"#);
        let Op::Send(content) = request.op else { panic!("{request:?}") };
        assert_eq!(
            Payload::from(content),
            Payload::Text(r#"{"n":1e400, "n":12345678901234567890123}"#.into())
        );
    }

    #[test]
    fn each_op_is_read() {
        let cases = [
            (r#"{"op":"send","text":"a\nb"}"#, "Send(Text(\"a\\nb\"))"),
            (r#"{"op":"send","json":null}"#, "Send(Json(RawValue(null)))"),
            (r#"{"op":"send","binary":"AAEC"}"#, "Send(Binary([0, 1, 2]))"),
            (r#"{"op":"attach"}"#, "Attach { since: None }"),
            (r#"{"op":"attach","since":null}"#, "Attach { since: None }"),
            (
                r#"{"op":"attach","since":{"epoch":"e","seq":3}}"#,
                r#"Attach { since: Some(Since { epoch: "e", seq: 3 }) }"#,
            ),
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
            (r#"{"op":"send","id":1,"txet":""}"#, Code::BadRequest, "unknown field `txet`"),
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

        #[test]
        fn every_error_is_one_line_of_json(message in any::<String>(), id in any::<String>()) {
            let id = serde_json::value::to_raw_value(&id).unwrap();
            let line = error(Some(&id), Code::BadRequest, &message);
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(read["message"].as_str(), Some(message.as_str()));
        }
    }
}
