//! What a storm was seen to do: by the server, by the clients, and by who held the daemon. The oracle
//! judges this and nothing else.

use std::{collections::BTreeMap, time::Duration};

use super::payload::Payload;

#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) seed: u64,
    /// The daemon's lives, in order.
    pub(crate) lives: Vec<Life>,
    /// TCP connections that the server took, in order.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) sessions: Vec<Session>,
    /// When somebody did something that may shorten a delay, from when to when since the storm's begin.
    pub(crate) interventions: Vec<(Duration, Duration)>,
    /// `history.slow_client`.
    pub(crate) slow_client: &'static str,
    /// `memory.stalled_lines` is so small that any client may be cut off for it.
    pub(crate) may_cut: bool,
    /// The most memory that the daemon was seen to take, and the bound, in bytes.
    pub(crate) memory: (usize, usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) epoch: String,
    /// SIGKILL, or a stop that lets clients have the rest.
    pub(crate) killed: bool,
}

/// A connection to the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempt {
    pub(crate) at: Duration,
    /// The server asked for so much time before the next one.
    pub(crate) retry_after: Option<Duration>,
    /// It answered 101.
    pub(crate) upgraded: bool,
    /// How many messages it began to say.
    pub(crate) begun: u64,
    /// How many of them went out whole.
    pub(crate) whole: u64,
    /// What clients' messages came, in order.
    pub(crate) received: Vec<Payload>,
    /// It read all that the daemon wrote: up to a close frame or the end.
    pub(crate) read_to_end: bool,
    /// The reason in its own close frame, when it closed first.
    pub(crate) closed: Option<String>,
}

/// One connection of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    pub(crate) number: u64,
    /// What its program is like, for people.
    pub(crate) what: String,
    pub(crate) raw: bool,
    /// It reads all the time and asks nothing wrong: nothing but the daemon's end may end it.
    pub(crate) steady: bool,
    /// All lines that came whole, without their ends.
    pub(crate) lines: Vec<Vec<u8>>,
    /// Its sends, by their ids.
    pub(crate) sends: BTreeMap<String, u64>,
    /// Where it attached, by its ids.
    pub(crate) attaches: BTreeMap<String, (String, u64)>,
    /// It closed the connection itself.
    pub(crate) left: bool,
}
