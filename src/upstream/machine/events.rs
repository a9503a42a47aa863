//! What the machine is told, and what it wants done.

use std::time::Duration;

use crate::{
    hub::LinkStatus,
    upstream::{Ended, Settings, failure::Failure, heartbeat::Beat},
};

/// What happened.
#[derive(Debug)]
pub(in crate::upstream) enum Input<'a> {
    /// The daemon starts.
    Start,
    /// The attempt came to a connection, ready to use.
    Connected { subprotocol: Option<String> },
    /// The attempt came to nothing.
    ConnectFailed(Failure),
    /// Bytes came in.
    Inbound,
    /// A pong came in.
    Pong(&'a [u8]),
    /// A text message came in. Wanted only while [`Machine::wants_messages`](super::Machine::wants_messages).
    Message(&'a str),
    /// wsfan doesn't read until further notice.
    Paused,
    /// wsfan reads again.
    Resumed,
    /// The connection ends: the server's close frame is here, or ours for its fault is on its way.
    /// What remains is the end of TCP.
    Closing(Failure),
    /// The connection is gone.
    Ended(Failure),
    /// Someone asks for the link to be open.
    Open,
    /// Someone asks for a new connection.
    Reconnect,
    /// Someone asks for the link to be closed.
    Close,
    /// The daemon stops.
    Stop,
    /// The configuration changed.
    Settings(Box<Settings>),
    /// [`Machine::next_timeout`](super::Machine::next_timeout) may have been reached.
    Timeout,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) enum Action {
    /// Begin an attempt with the URL at this index.
    Connect { url: usize },
    /// Give up the attempt.
    AbandonConnect,
    /// Send a heartbeat.
    Heartbeat(Beat),
    /// Write what was sent before, then begin the closing handshake.
    Close { code: u16, reason: &'static str },
    /// Drop the connection as it is.
    Drop,
    /// Tell everyone of the new state. Its `since_us` is left to the one who knows the wall clock.
    Announce(LinkStatus),
    /// Change what is shown of the state, without a line.
    Note(Note),
    /// It is over.
    Finish(Ended),
}

/// A change within a state.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Note {
    /// The heartbeat's newest round trip.
    RoundTrip(Duration),
    /// The connection has been up for so long that failures count from 0 again.
    Stable,
    /// The present wait became shorter: it ends so long after it began.
    RetryIn(Duration),
}
