//! What comes of a request, and the last line.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Name, name::names};

names! {
    /// What was done.
    pub enum Done {
        /// A send: the operating system has taken all of it for the connection that is up.
        Written = "written",
        /// A send: it waits in the outbox; another reply follows.
        Queued = "queued",
        /// The client's place in the log was moved.
        Attached = "attached",
        /// The entries up to there are noted as taken.
        Acknowledged = "acknowledged",
        /// The server has all the topics of a `subscribe`.
        Subscribed = "subscribed",
        /// An `unsubscribe`: the client doesn't hold these topics any more.
        Unsubscribed = "unsubscribed",
        /// The link will do it.
        Accepted = "accepted",
        /// An answer.
        Pong = "pong",
        /// A `cancel`: no other answer follows to the request.
        Cancelled = "cancelled",
        /// A reload: the new configuration is in force, but for what waits for a restart.
        Applied = "applied",
        /// The same, but for listeners that couldn't be bound or changed.
        Partly = "partly",
    }
}

names! {
    /// The stable names of errors; `docs/protocol.md` explains each.
    pub enum Code {
        /// The line isn't a JSON object in UTF-8.
        BadJson = "bad_json",
        /// A field is missing, unknown, of the wrong type, or makes no sense.
        BadRequest = "bad_request",
        /// A send names a public capture that has no value yet.
        NoValue = "no_value",
        /// There is no such op.
        UnknownOp = "unknown_op",
        /// An attach with `since`, while this machine of a cluster doesn't know the log yet.
        Detached = "detached",
        /// The client hasn't the right.
        Forbidden = "forbidden",
        /// The line is longer than `max_line`; the connection is closed.
        LineTooLong = "line_too_long",
        /// The unfinished lines of all clients together take too much; the connection is closed.
        NoRoom = "no_room",
        /// The listener has as many clients as it takes; the connection is closed.
        TooManyClients = "too_many_clients",
        /// Another client has the name, or it is another user's.
        NameTaken = "name_taken",
        /// There are as many names as there may be.
        TooManyNames = "too_many_names",
        /// The configuration was not reloaded: the old one stays in force.
        BadConfig = "bad_config",
        /// The link isn't up, and there is no outbox.
        LinkDown = "link_down",
        /// The send waited too long in the outbox.
        Expired = "expired",
        /// The outbox has no room.
        OutboxFull = "outbox_full",
        /// The send is over the server's largest message.
        TooLarge = "too_large",
        /// Over the server's limit of messages; or too many ask for `status`, or wait for a reload.
        RateLimited = "rate_limited",
        /// Answers to a request came faster than the client read.
        Overrun = "overrun",
        /// A request of the server's was answered already.
        Answered = "answered",
        /// Another client has claimed the answers to the server's requests.
        AnswererTaken = "answerer_taken",
        /// The send has an id by which somebody else awaits an answer.
        IdTaken = "id_taken",
        /// The connection ended while the send was being written, or before a request's answer: it may have arrived or not.
        Unknown = "unknown",
        /// The configuration has nothing for this: no `topics.subscribe`, or no `[requests]`.
        Unsupported = "unsupported",
        /// The server refused topics, or they can't be said.
        Refused = "refused",
        /// The server has ended the subscription to topics.
        Ended = "ended",
        /// The server hasn't answered in time.
        Timeout = "timeout",
        /// The client gave it up before the server had answered.
        Cancelled = "cancelled",
        /// There is no room for so many topics.
        TooManyTopics = "too_many_topics",
        /// The client doesn't hold these topics.
        NotSubscribed = "not_subscribed",
    }
}

names! {
    /// Why wsfan closes a client's connection.
    pub enum Bye {
        /// The daemon stops.
        Shutdown = "shutdown",
        /// The client fell out of the log, and `slow_client` is `disconnect`.
        SlowClient = "slow_client",
        /// Entries were discarded before they came here, and a `raw` listener has no line that could say so. Nor has it one
        /// for this: it is counted, and said in the daemon's log.
        Discarded = "discarded",
        /// A reload took away the listener, or the right to receive.
        Reconfigured = "reconfigured",
        /// The log ends here, and another one begins: the cluster's stream was replaced, or had lost what it had stored; or
        /// this machine knows the log only now. Connect anew.
        Epoch = "epoch",
        /// Another connection took over the client's name.
        TakenOver = "taken_over",
        /// The client sent what ends a connection; the `error` line before says what.
        BadClient = "bad_client",
    }
}

/// Says that a request is done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Success<'a> {
    /// The request's, as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, RawValue>>,
    /// What was done.
    pub result: Name<'a, Done>,
    /// Of an `attach`: the entry after which it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Of an `attach` that goes on from a name's place: entries up to this one may have come before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_to: Option<u64>,
    /// Of an `attach` with a name: nothing was kept under it, so that it begins anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<bool>,
    /// Of a `reload`: the keys that are in force at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Cow<'a, [String]>>,
    /// Of a `reload`: the keys that are in force with the new connection that is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<Cow<'a, [String]>>,
    /// Of a `reload`: the keys that wait for a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Cow<'a, [String]>>,
    /// Of a `reload`: what couldn't be done, in sentences, a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
}

/// Says that a request or a line failed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Refusal<'a> {
    /// The request's, as it came; none where none could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, RawValue>>,
    /// The error's name, which is stable.
    pub code: Name<'a, Code>,
    /// A sentence for people.
    pub message: Cow<'a, str>,
    /// The topics that it is about, if it is about any: these aren't subscribed to. With `timeout` and no `id` they
    /// still are, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<Cow<'a, [String]>>,
}

/// The last line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Farewell<'a> {
    /// Why.
    pub why: Name<'a, Bye>,
}
