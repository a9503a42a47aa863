//! What clients ask: one JSON object a line.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Code;

/// The longest id in bytes. Ids are kept until the answer, and must not outweigh the payloads.
pub const MAX_ID: usize = 1024;

/// So many messages are in a unit at most.
pub const MAX_UNIT: usize = 1000;

/// The longest name of a client, in characters.
pub const MAX_NAME: usize = 64;

/// The longest wait for an answer, in milliseconds: a day.
pub const MAX_TIMEOUT_MS: u64 = 86_400_000;

/// A request: one line from a client.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Request<'a> {
    /// Echoed with the reply, as it came.
    pub id: Option<&'a RawValue>,
    /// What is asked.
    #[cfg_attr(test, schemars(flatten))]
    pub op: Op<'a>,
    /// A `send` or a `request`: `${NAME}` in what is sent is the value of a public capture when it goes out.
    #[cfg_attr(test, schemars(default))]
    pub expand: bool,
}

impl Request<'_> {
    /// The line, without its end.
    pub fn write(&self) -> Vec<u8> {
        let raw = |content: &Content<'_>| serde_json::value::to_raw_value(&content.payload()).expect(PLAIN);
        let op = Some(Cow::Borrowed(self.op.name()));
        let mut fields = Fields { op, id: self.id, expand: self.expand, ..Fields::default() };
        match &self.op {
            Op::Send(content) => {
                let Payload { json, text, binary } = content.payload();
                (fields.json, fields.text, fields.binary) = (json, text, binary);
            }
            Op::Unit { messages } => {
                fields.messages = Some(messages.iter().map(raw).map(Cow::Owned).collect())
            }
            Op::Request { json, timeout_ms } => {
                (fields.json, fields.timeout_ms) = (Some(*json), *timeout_ms);
            }
            Op::Cancel { request } => fields.request = Some(request),
            Op::Attach(Attach { since, name, takeover, topics, answers, snapshot }) => {
                (fields.since, fields.name) = (since.clone(), name.as_deref().map(Cow::Borrowed));
                (fields.takeover, fields.topics, fields.answers) = (*takeover, topics.clone(), *answers);
                fields.snapshot = *snapshot;
            }
            Op::Ack { seq } => fields.seq = Some(*seq),
            Op::Subscribe { topics, json } => (fields.topics, fields.json) = (Some(topics.clone()), *json),
            Op::Unsubscribe { topics } => fields.topics = Some(topics.clone()),
            Op::Status | Op::Reconnect | Op::Close | Op::Open | Op::Reload | Op::Ping => {}
        }
        serde_json::to_vec(&fields).expect(PLAIN)
    }
}

/// What a client asks.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(tag = "op", rename_all = "snake_case"))]
pub enum Op<'a> {
    /// Send this upstream.
    Send(Content<'a>),
    /// Send these upstream, one right after another with nothing between, as a unit with one fate.
    #[cfg_attr(test, schemars(rename = "send"))]
    Unit {
        /// 1 to [`MAX_UNIT`] of them.
        #[cfg_attr(test, schemars(length(min = 1, max = MAX_UNIT)))]
        messages: Vec<Content<'a>>,
    },
    /// Move the cursor: to right after `since`, or to the head of the log.
    Attach(Attach<'a>),
    /// All entries up to this one are taken: under its name, it goes on after it.
    Ack {
        /// The entry.
        seq: u64,
    },
    /// Have these topics sent by the server, for as long as this client is there.
    Subscribe {
        /// Their names.
        #[cfg_attr(test, schemars(length(min = 1)))]
        topics: Vec<Cow<'a, str>>,
        /// The JSON that goes with them, where `topics.subscribe` has a `${payload}`.
        json: Option<&'a RawValue>,
    },
    /// Give these topics up, all of them or none.
    Unsubscribe {
        /// Their names.
        #[cfg_attr(test, schemars(length(min = 1)))]
        topics: Vec<Cow<'a, str>>,
    },
    /// Send this upstream, and tell its answer to this client alone.
    Request {
        /// The request.
        json: &'a RawValue,
        /// For so long its answer is awaited, in milliseconds; left out, for as long as is configured.
        #[cfg_attr(test, schemars(range(min = 1, max = MAX_TIMEOUT_MS)))]
        timeout_ms: Option<u64>,
    },
    /// Take no more answers to a request.
    Cancel {
        /// The request's id.
        request: &'a RawValue,
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

impl Op<'_> {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Send(_) | Op::Unit { .. } => "send",
            Op::Attach(_) => "attach",
            Op::Ack { .. } => "ack",
            Op::Subscribe { .. } => "subscribe",
            Op::Unsubscribe { .. } => "unsubscribe",
            Op::Request { .. } => "request",
            Op::Cancel { .. } => "cancel",
            Op::Status => "status",
            Op::Reconnect => "reconnect",
            Op::Close => "close",
            Op::Open => "open",
            Op::Reload => "reload",
            Op::Ping => "ping",
        }
    }
}

/// Where a client goes on, and under which name.
#[derive(Debug, Clone, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attach<'a> {
    /// The last entry that the client has.
    pub since: Option<Since<'a>>,
    /// The name under which its place is kept: 1 to [`MAX_NAME`] characters.
    #[cfg_attr(test, schemars(length(min = 1, max = MAX_NAME)))]
    pub name: Option<Cow<'a, str>>,
    /// Whether a client that has the name loses it.
    #[cfg_attr(test, schemars(default))]
    pub takeover: bool,
    /// Get messages of these topics alone: names, or patterns in which `*` is any run of characters but `.`, and `**`
    /// any. Left out: all that the listener lets through.
    #[cfg_attr(test, schemars(length(max = 1000)))]
    pub topics: Option<Vec<Cow<'a, str>>>,
    /// Whether it claims the answers to the server's requests for itself alone.
    #[cfg_attr(test, schemars(default))]
    pub answers: bool,
    /// Whether it gets the last values before what follows.
    #[cfg_attr(test, schemars(default))]
    pub snapshot: bool,
}

/// What to send, as it stands in the line.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub enum Content<'a> {
    /// JSON, sent as the text that the client wrote. Blanks around the value belong to the line, and aren't.
    Json(&'a RawValue),
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message, in base64 (RFC 4648, with padding).
    Binary(#[cfg_attr(test, schemars(with = "String"))] Cow<'a, [u8]>),
}

impl<'a> Content<'a> {
    fn payload(&self) -> Payload<'_> {
        match self {
            Content::Json(json) => Payload { json: Some(json), ..Payload::default() },
            Content::Text(text) => Payload { text: Some(Cow::Borrowed(text)), ..Payload::default() },
            Content::Binary(bytes) => {
                Payload { binary: Some(BASE64.encode(bytes).into()), ..Payload::default() }
            }
        }
    }

    /// What one of the three says; `what` needs it.
    fn read(payload: Payload<'a>, what: &str) -> Result<Content<'a>, String> {
        match (payload.json, payload.text, payload.binary) {
            (Some(json), None, None) => Ok(Content::Json(json)),
            (None, Some(text), None) => Ok(Content::Text(text)),
            (None, None, Some(text)) => match BASE64.decode(text.as_bytes()) {
                Ok(bytes) => Ok(Content::Binary(bytes.into())),
                Err(error) => Err(format!("`binary` is not base64: {error}")),
            },
            _ => Err(format!("{what} needs exactly one of `json`, `text` and `binary`")),
        }
    }
}

/// An entry of the log, named for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Since<'a> {
    /// The life of the log that it belongs to.
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    /// Its place in it.
    pub seq: u64,
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
    let bad = |id, code, message: String| Err(Bad { id, code, message });
    // serde would take an array for the fields in their order
    if line.trim_ascii_start().first() == Some(&b'[') {
        return bad(None, Code::BadRequest, "a request is a JSON object, not an array".to_owned());
    }
    let fields: Fields<'_> = match serde_json::from_slice(line) {
        Ok(fields) => fields,
        Err(error) => {
            let (id, code) = match error.classify() {
                serde_json::error::Category::Data => (id_of(line), Code::BadRequest),
                _ => (None, Code::BadJson),
            };
            return bad(id, code, unreadable(line, code, &error));
        }
    };
    let id = fields.id;
    if let Some(id) = id.filter(|id| id.get().len() > MAX_ID) {
        let message = format!("the id has {} bytes; {MAX_ID} are enough for a name", id.get().len());
        return bad(None, Code::BadRequest, message);
    }
    let expand = fields.expand;
    if expand && !matches!(fields.op.as_deref(), Some("send" | "request")) {
        return bad(id, Code::BadRequest, "`expand` goes with `send` and `request`".to_owned());
    }
    let op = match fields.op.as_deref() {
        Some("send") => {
            let Fields { json, text, binary, messages, .. } = fields;
            let payload = Payload { json, text, binary };
            let read = match messages {
                Some(messages) if payload.is_empty() => unit(&messages),
                Some(_) => {
                    Err("a send has `messages`, or one of `json`, `text` and `binary`, not both".to_owned())
                }
                None => Content::read(payload, "a send").map(Op::Send),
            };
            match read {
                Ok(op) => op,
                Err(message) => return bad(id, Code::BadRequest, message),
            }
        }
        Some("attach") => {
            let is_good = |name: &str| {
                (1..=MAX_NAME).contains(&name.chars().count()) && !name.contains(char::is_control)
            };
            if fields.name.as_deref().is_some_and(|name| !is_good(name)) {
                let message =
                    format!("a name has 1 to {MAX_NAME} characters, and none that controls a terminal");
                return bad(id, Code::BadRequest, message);
            }
            if fields.takeover && fields.name.is_none() {
                return bad(id, Code::BadRequest, "`takeover` goes with `name`".to_owned());
            }
            let Fields { since, name, takeover, topics, answers, snapshot, .. } = fields;
            Op::Attach(Attach { since, name, takeover, topics, answers, snapshot })
        }
        Some("request") => match request(&fields) {
            Ok(op) => op,
            Err(message) => return bad(id, Code::BadRequest, message),
        },
        Some("cancel") => match fields.request {
            Some(request) => Op::Cancel { request },
            None => {
                let message = "a cancel needs `request`, the id of the request that it is about";
                return bad(id, Code::BadRequest, message.to_owned());
            }
        },
        Some("ack") => match fields.seq {
            Some(seq) => Op::Ack { seq },
            None => {
                return bad(
                    id,
                    Code::BadRequest,
                    "an ack needs `seq`, the newest entry that is taken".to_owned(),
                );
            }
        },
        Some(op @ ("subscribe" | "unsubscribe")) => match fields.topics {
            Some(topics) if !topics.is_empty() => match op {
                "subscribe" => Op::Subscribe { topics, json: fields.json },
                _ => Op::Unsubscribe { topics },
            },
            _ => {
                let message = format!("`{op}` needs `topics`, a list of at least one");
                return bad(id, Code::BadRequest, message);
            }
        },
        Some("status") => Op::Status,
        Some("reconnect") => Op::Reconnect,
        Some("close") => Op::Close,
        Some("open") => Op::Open,
        Some("reload") => Op::Reload,
        Some("ping") => Op::Ping,
        Some(other) => {
            let known = "send, request, cancel, attach, ack, subscribe, unsubscribe, status, reconnect, close, open, reload and \
                         ping";
            let shown: String = other.chars().take(40).collect();
            return bad(id, Code::UnknownOp, format!("there is no op {shown:?}; there are {known}"));
        }
        None => return bad(id, Code::BadRequest, "the line has no `op`".to_owned()),
    };
    Ok(Request { id, op, expand })
}

/// A request, whose answer needs a name.
fn request<'a>(fields: &Fields<'a>) -> Result<Op<'a>, String> {
    let Fields { id, json, text, binary, messages, timeout_ms, .. } = fields;
    let Some(json) = *json else {
        return Err("a request needs `json`".to_owned());
    };
    if text.is_some() || binary.is_some() || messages.is_some() {
        return Err("a request has `json` alone: only JSON has a place for an id".to_owned());
    }
    if id.is_none_or(|id| id.get() == "null") {
        return Err("a request needs an `id`, which its answer carries".to_owned());
    }
    if timeout_ms.is_some_and(|millis| !(1..=MAX_TIMEOUT_MS).contains(&millis)) {
        return Err(format!("`timeout_ms` is from 1 to {MAX_TIMEOUT_MS}"));
    }
    Ok(Op::Request { json, timeout_ms: *timeout_ms })
}

/// The messages of a unit, each an object with its payload.
fn unit<'a>(messages: &[Cow<'a, RawValue>]) -> Result<Op<'a>, String> {
    if !(1..=MAX_UNIT).contains(&messages.len()) {
        return Err(format!("`messages` has 1 to {MAX_UNIT} messages: send more in several units"));
    }
    let of = |(at, message): (usize, &Cow<'a, RawValue>)| {
        let Cow::Borrowed(message) = message else { unreachable!("they are read") };
        // serde would take an array for the fields in their order
        if !message.get().starts_with('{') {
            return Err(format!("messages[{at}] is not an object with one of `json`, `text` and `binary`"));
        }
        let payload = serde_json::from_str(message.get()).map_err(|error| {
            let words = error.to_string();
            format!("messages[{at}]: {}", words.rsplit_once(" at line ").map_or(&*words, |(words, _)| words))
        })?;
        Content::read(payload, &format!("messages[{at}]"))
    };
    Ok(Op::Unit { messages: messages.iter().enumerate().map(of).collect::<Result<_, _>>()? })
}

/// Why a line can't be read, and how one is written. The place is its column: it is a line of its own.
fn unreadable(line: &[u8], code: Code, error: &serde_json::Error) -> String {
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    let column = error.column();
    if code == Code::BadJson {
        return format!(
            "a line is a JSON object, such as {{\"op\":\"send\",\"text\":\"hello\"}}: {words} at column {column}"
        );
    }
    match words.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
        Some((field, _)) => {
            let shown: String = field.chars().take(40).collect();
            let there = match op_of(line).as_deref() {
                Some("send") => {
                    "a send has `op`, `id`, `expand`, and one of `json`, `text`, `binary` and `messages`"
                }
                Some("attach") => {
                    "an attach has `op`, `id`, `since` with `epoch` and `seq`, `name`, `takeover`, `topics`, `answers` and `snapshot`"
                }
                Some("ack") => "an ack has `op`, `id` and `seq`",
                Some("subscribe") => {
                    "a subscribe has `op`, `id`, `topics`, and `json` where the server wants a payload"
                }
                Some("unsubscribe") => "an unsubscribe has `op`, `id` and `topics`",
                Some("request") => "a request has `op`, `id`, `json`, `timeout_ms` and `expand`",
                Some("cancel") => "a cancel has `op`, `id` and `request`",
                _ => {
                    "there are `op` and `id`, for a send one of `json`, `text`, `binary` and `messages`, for an attach `since` and `topics`, and for a subscribe `topics` and `json`"
                }
            };
            format!("unknown field `{shown}`: {there}")
        }
        None => format!("the line could not be read: {words} at column {column}"),
    }
}

/// The op of a line whose other fields are wrong.
fn op_of(line: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct OpOnly<'a> {
        #[serde(borrow)]
        op: Option<Cow<'a, str>>,
    }
    serde_json::from_slice::<OpOnly<'_>>(line).ok()?.op
}

const PLAIN: &str = "a request is plain data";

/// A payload, as it stands in a unit.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Payload<'a> {
    #[serde(borrow, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    json: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    binary: Option<Cow<'a, str>>,
}

impl Payload<'_> {
    fn is_empty(&self) -> bool {
        self.json.is_none() && self.text.is_none() && self.binary.is_none()
    }
}

/// The fields of a request, as they stand on the line.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Fields<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    op: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    json: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    binary: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "messages", skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Cow<'a, RawValue>>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    topics: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "since", skip_serializing_if = "Option::is_none")]
    since: Option<Since<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    takeover: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    answers: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    snapshot: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    expand: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    request: Option<&'a RawValue>,
}

/// A field that is there, whatever it holds: `null` is a payload like any other.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The messages of a unit, as they came. What is more than may be is passed over, but for one that shows it.
fn messages<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Cow<'a, RawValue>>>, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Vec<Cow<'de, RawValue>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of messages")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut messages = Vec::new();
            while messages.len() <= MAX_UNIT {
                let Some(message) = seq.next_element::<&RawValue>()? else { return Ok(messages) };
                messages.push(Cow::Borrowed(message));
            }
            while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(messages)
        }
    }
    deserializer.deserialize_seq(Visitor).map(Some)
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

#[cfg(test)]
mod tests;
