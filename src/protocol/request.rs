//! What clients ask: one JSON object a line.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod fields;
mod parser;

use fields::{Fields, Payload};
pub use parser::{Bad, parse};

/// The longest id in bytes. Ids are kept until the answer, and must not outweigh the payloads.
pub const MAX_ID: usize = 1024;

/// So many messages are in a unit at most.
pub const MAX_UNIT: usize = 1000;

/// The longest name of a client, in characters.
pub const MAX_NAME: usize = 64;

/// The longest wait for an answer, in milliseconds: a day.
pub const MAX_TIMEOUT_MS: u64 = 86_400_000;

const PLAIN: &str = "a request is plain data";

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

#[cfg(test)]
mod tests;
