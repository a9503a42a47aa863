//! The lines to one client that tell what became of something: made from what the hub knows. Pure.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    hub::{
        Fate, LinkState, Lost, MayAnswer, NoAnswer, Payload, Reload, ReloadResult, SubscriptionError,
        Unexpanded, Unfit, Word,
    },
    protocol::{self, Bye, Code, Content, Done, Farewell, Gap, Line, Refusal, Success, Why},
};

const TOO_MANY_WAIT: &str =
    "1000 requests of this client wait for their answers, or 10000 of all: ask again when some have come";

/// Says that a request is done.
pub(in crate::local) fn ok(id: &RawValue, result: Done) -> Vec<u8> {
    Line::Ok(Success { id: Some(Cow::Borrowed(id)), result: result.into(), ..Success::default() }).write()
}

/// Answers `reload`: what it changed and what it couldn't, or that the new configuration is refused.
pub(in crate::local) fn reloaded(id: Option<&RawValue>, reload: &Reload) -> Vec<u8> {
    let error = reload.error.as_deref();
    let result = match reload.result {
        ReloadResult::Refused => return self::error(id, Code::BadConfig, error.unwrap_or_default()),
        ReloadResult::Applied => Done::Applied,
        ReloadResult::Partly => Done::Partly,
    };
    Line::Ok(Success {
        id: id.map(Cow::Borrowed),
        result: result.into(),
        live: Some((&reload.changes.live).into()),
        reconnect: Some((&reload.changes.reconnect).into()),
        restart: Some((&reload.changes.restart).into()),
        error: error.map(Cow::Borrowed),
        ..Success::default()
    })
    .write()
}

/// Says that an `attach` is done, and that the next entry has a `seq` higher than `seq`; of one by a name, which
/// entries may have come before, or that nothing was kept.
pub(in crate::local) fn attached(id: &RawValue, seq: u64, again_to: Option<u64>, new: bool) -> Vec<u8> {
    Line::Ok(Success {
        id: Some(Cow::Borrowed(id)),
        result: Done::Attached.into(),
        seq: Some(seq),
        again_to,
        new: new.then_some(true),
        ..Success::default()
    })
    .write()
}

/// Says that a request failed, and why.
pub(in crate::local) fn error(id: Option<&RawValue>, code: Code, message: &str) -> Vec<u8> {
    let (id, code) = (id.map(Cow::Borrowed), code.into());
    Line::Error(Refusal { id, code, message: message.into(), ..Refusal::default() }).write()
}

/// Says what became of topics. Without an id only errors are told.
pub(in crate::local) fn topics(id: Option<&RawValue>, word: &Word) -> Option<Vec<u8>> {
    let (code, topics, why) = match word {
        Word::Queued => return id.map(|id| ok(id, Done::Queued)),
        Word::Subscribed => return id.map(|id| ok(id, Done::Subscribed)),
        Word::Holds { .. } => return None,
        Word::Failed { trouble, topics, why } => (code(*trouble), topics, why),
    };
    let topics: Vec<_> = topics.iter().map(ToString::to_string).collect();
    Some(about_topics(id, code, why, &topics))
}

/// Says that a client doesn't hold these topics.
pub(in crate::local) fn not_subscribed(id: Option<&RawValue>, topics: &[String]) -> Vec<u8> {
    let message = "this client isn't subscribed to these topics: nothing is given up";
    about_topics(id, Code::NotSubscribed, message, topics)
}

fn about_topics(id: Option<&RawValue>, code: Code, message: &str, topics: &[String]) -> Vec<u8> {
    let topics = (!topics.is_empty()).then(|| topics.into());
    let (id, code) = (id.map(Cow::Borrowed), code.into());
    Line::Error(Refusal { id, code, message: message.into(), topics }).write()
}

fn code(trouble: SubscriptionError) -> Code {
    match trouble {
        SubscriptionError::Unsupported => Code::Unsupported,
        SubscriptionError::BadRequest => Code::BadRequest,
        SubscriptionError::TooMany => Code::TooManyTopics,
        SubscriptionError::Refused => Code::Refused,
        SubscriptionError::Ended => Code::Ended,
        SubscriptionError::Timeout => Code::Timeout,
        SubscriptionError::Cancelled => Code::Cancelled,
        SubscriptionError::Forbidden => Code::Forbidden,
    }
}

/// Declares entries that the client will not get.
pub(in crate::local) fn gap(lost: Lost) -> Vec<u8> {
    let (from, to, count) = (Some(lost.from), Some(lost.to), Some(lost.count));
    Line::Gap(Gap { from, to, count, why: lost.why.into() }).write()
}

/// Declares that what another life of the log had later is lost, and of this one's entries those up to
/// `to`, if any.
pub(in crate::local) fn epoch_gap(to: u64) -> Vec<u8> {
    let any = to > 0;
    let (from, to) = (any.then_some(1), any.then_some(to));
    Line::Gap(Gap { from, to, count: None, why: Why::Epoch.into() }).write()
}

/// The line with an answer to a request.
pub(in crate::local) fn answer(id: Option<&RawValue>, payload: &str, more: bool, failed: bool) -> Vec<u8> {
    protocol::answer_line(id, payload, more, failed)
}

/// The line that says why there is no answer, or no other.
pub(in crate::local) fn no_answer(id: &RawValue, why: NoAnswer) -> Vec<u8> {
    let (code, message) = match why {
        NoAnswer::Fate(why) => return fate(Some(id), why).unwrap_or_default(),
        NoAnswer::Timeout { written: true } => {
            (Code::Timeout, "no answer came in time; the server may have done it all the same")
        }
        NoAnswer::Timeout { written: false } => (
            Code::Timeout,
            "it had to wait for so long that it isn't sent: others await their answers, or limits.messages let no more out",
        ),
        NoAnswer::Cancelled => (Code::Cancelled, "it is cancelled, and no other answer follows"),
        NoAnswer::Ended => (
            Code::LinkDown,
            "the connection that its answers came over has ended: ask again when a `link` line says up",
        ),
        NoAnswer::Overrun => (
            Code::Overrun,
            "answers came faster than they were read, and no other follows: read them, and ask again",
        ),
        NoAnswer::Unsupported => (
            Code::Unsupported,
            "no [requests] are configured, which say where an id is: send it, and look for the answer among the messages",
        ),
        NoAnswer::NoPlace => (
            Code::BadRequest,
            "`json` has neither an id where requests.id is, nor an object there that one can be put into",
        ),
        NoAnswer::Twice => (Code::BadRequest, "a request with this id waits already: give each one its own"),
        NoAnswer::TooMany => (Code::RateLimited, TOO_MANY_WAIT),
    };
    error(Some(id), code, message)
}

/// The same of a send, which may have no id.
pub(in crate::local) fn overrun(id: Option<&RawValue>) -> Vec<u8> {
    error(id, Code::Overrun, "answers came faster than they were read, and no other follows")
}

/// An answer as a raw listener's client gets it.
pub(in crate::local) fn raw_answer(payload: &str) -> Vec<u8> {
    let mut line = payload.replace(['\n', '\r'], " ").into_bytes();
    line.push(b'\n');
    line
}

/// The last line to a client.
pub(in crate::local) fn bye(why: Bye) -> Vec<u8> {
    Line::Bye(Farewell { why: why.into() }).write()
}

/// The line that tells a send's fate. Without an id only errors are told.
pub(in crate::local) fn fate(id: Option<&RawValue>, fate: Fate) -> Option<Vec<u8>> {
    let (code, message) = match fate {
        Fate::Written => return id.map(|id| ok(id, Done::Written)),
        Fate::Queued => return id.map(|id| ok(id, Done::Queued)),
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
        Fate::TooMany(most) => (
            Code::TooLarge,
            format!("the unit has more messages than limits.messages ever let out at once, which is {most}")
                .into(),
        ),
        Fate::RateLimited => (
            Code::RateLimited,
            "more messages were sent than limits.messages let out: send again later".into(),
        ),
        Fate::Answered => (
            Code::Answered,
            "the server has no open request with this id: somebody has answered it, or it was open for too long".into(),
        ),
        Fate::NotAnswerer(MayAnswer::Claimed(client)) => {
            (Code::AnswererTaken, format!("client {client} has claimed the answers to the server's requests").into())
        }
        Fate::NotAnswerer(_) => (
            Code::Forbidden,
            "only clients of a listener with `answers = true` answer the server's requests".into(),
        ),
        Fate::IdTaken => (
            Code::IdTaken,
            "somebody awaits an answer by the id that this has: use `request`, or set requests.rewrite_sends, so \
             that wsfan gives each its own; or send it with another id"
                .into(),
        ),
        Fate::TooManyWait => (Code::RateLimited, TOO_MANY_WAIT.into()),
        Fate::TooManyRequests(max) => (
            Code::TooLarge,
            format!("the unit has more requests than requests.max_in_flight ever lets out at once, which is {max}").into(),
        ),
        Fate::Unfit(why) => (Code::BadRequest, unfit(why).into()),
        Fate::Unexpanded(Unexpanded::NoValue) => (
            Code::NoValue,
            "a public capture that it names has no value yet: send it when a `public` line says it".into(),
        ),
        Fate::Unexpanded(Unexpanded::Unfit) => {
            (Code::TooLarge, "with the values of its placeholders it is too large, no JSON any more, or has a key twice".into())
        }
        Fate::Unknown => (
            Code::Unknown,
            "the connection ended before what became of this was known: it may have arrived, and is not sent again"
                .into(),
        ),
    };
    Some(error(id, code, &message))
}

fn unfit(why: Unfit) -> &'static str {
    match why {
        Unfit::Doubled => {
            "a key by which [requests] go stands twice in an object of it, so that what it says can't be told: write it once"
        }
        Unfit::LongId => "its own id is longer than 1024 bytes: give it a shorter one",
        Unfit::List => "it is a list of requests, whose answers can't be told apart: send each one by itself",
        Unfit::Answers => "it answers a request of the server's (requests.server.answer): use `send`",
    }
}

impl From<Content<'_>> for Payload {
    fn from(content: Content<'_>) -> Payload {
        match content {
            Content::Json(json) => Payload::Text(json.get().to_owned()),
            Content::Text(text) => Payload::Text(text.into_owned()),
            Content::Binary(bytes) => Payload::Binary(bytes.into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
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
