//! What a client's line says, or what is wrong with it, in a sentence.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    Attach, Content, MAX_ID, MAX_NAME, MAX_TIMEOUT_MS, MAX_UNIT, Op, Request,
    fields::{Fields, Payload, id_of, op_of},
};
use crate::protocol::Code;

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
    match op(fields) {
        Ok(op) => Ok(Request { id, op, expand }),
        Err((code, message)) => bad(id, code, message),
    }
}

/// What is asked, with what goes with it.
fn op(fields: Fields<'_>) -> Result<Op<'_>, (Code, String)> {
    let op = match fields.op.as_deref() {
        Some("send") => send(fields),
        Some("attach") => attach(fields),
        Some("request") => request(&fields),
        Some("cancel") => {
            let needed = "a cancel needs `request`, the id of the request that it is about";
            fields.request.map(|request| Op::Cancel { request }).ok_or_else(|| needed.to_owned())
        }
        Some("ack") => {
            let needed = "an ack needs `seq`, the newest entry that is taken";
            fields.seq.map(|seq| Op::Ack { seq }).ok_or_else(|| needed.to_owned())
        }
        Some("subscribe") => {
            let json = fields.json;
            topics(fields).map(|topics| Op::Subscribe { topics, json })
        }
        Some("unsubscribe") => topics(fields).map(|topics| Op::Unsubscribe { topics }),
        Some("status") => Ok(Op::Status),
        Some("reconnect") => Ok(Op::Reconnect),
        Some("close") => Ok(Op::Close),
        Some("open") => Ok(Op::Open),
        Some("reload") => Ok(Op::Reload),
        Some("ping") => Ok(Op::Ping),
        Some(other) => {
            let known = "send, request, cancel, attach, ack, subscribe, unsubscribe, status, reconnect, close, open, \
                         reload and ping";
            let shown = shown(other);
            return Err((Code::UnknownOp, format!("there is no op {shown:?}; there are {known}")));
        }
        None => Err("the line has no `op`".to_owned()),
    };
    op.map_err(|message| (Code::BadRequest, message))
}

/// What a client has written, as far as a sentence has room for it; the rest is marked as cut.
fn shown(text: &str) -> String {
    const MAX: usize = 40;
    match text.len() {
        ..=MAX => text.to_owned(),
        length => {
            let end = text.floor_char_boundary(MAX);
            format!("{}… (+{} bytes)", &text[..end], length - end)
        }
    }
}

/// A message, or several as a unit.
fn send(fields: Fields<'_>) -> Result<Op<'_>, String> {
    let Fields { json, text, binary, messages, .. } = fields;
    let payload = Payload { json, text, binary };
    match messages {
        Some(messages) if payload.is_empty() => unit(&messages),
        Some(_) => Err("a send has `messages`, or one of `json`, `text` and `binary`, not both".to_owned()),
        None => Content::read(payload, "a send").map(Op::Send),
    }
}

/// A place to go on from, and a name.
fn attach(fields: Fields<'_>) -> Result<Op<'_>, String> {
    let Fields { since, name, takeover, topics, answers, snapshot, .. } = fields;
    let is_good =
        |name: &str| (1..=MAX_NAME).contains(&name.chars().count()) && !name.contains(char::is_control);
    if name.as_deref().is_some_and(|name| !is_good(name)) {
        return Err(format!("a name has 1 to {MAX_NAME} characters, and none that controls a terminal"));
    }
    if takeover && name.is_none() {
        return Err("`takeover` goes with `name`".to_owned());
    }
    Ok(Op::Attach(Attach { since, name, takeover, topics, answers, snapshot }))
}

/// The topics that `subscribe` and `unsubscribe` are about.
fn topics(fields: Fields<'_>) -> Result<Vec<Cow<'_, str>>, String> {
    let Fields { op, topics, .. } = fields;
    let missing = || format!("`{}` needs `topics`, a list of at least one", op.unwrap_or_default());
    topics.filter(|topics| !topics.is_empty()).ok_or_else(missing)
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
            let shown = shown(field);
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
