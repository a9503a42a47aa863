//! What the machine is told, and what it wants done.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    hub::{Hole, LinkStatus, MessageTopic, RetainAs},
    upstream::{
        failure::Failure,
        secrets::Secrets,
        session::{OfTopics, Stray, destination::Destination, runs::Run},
        settings::{Exit, Settings},
    },
};

/// One of the two seats that there are for connections: the link's own sits in one, and while one
/// connection takes over from another each has its seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Slot {
    A,
    B,
}

impl Slot {
    /// Both.
    pub(in crate::upstream) const ALL: [Slot; 2] = [Slot::A, Slot::B];

    /// The other one.
    pub(in crate::upstream) fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// Its place in an array of two.
    pub(in crate::upstream) fn index(self) -> usize {
        self as usize
    }
}

/// What a new connection came to.
#[derive(Debug, Clone, Default)]
pub(in crate::upstream) struct Reached {
    /// The subprotocol that the server chose.
    pub(in crate::upstream) subprotocol: Option<String>,
    /// Where it is, if that isn't what the configuration says: scheme, host and port.
    pub(in crate::upstream) place: Option<String>,
}

/// What happened.
#[derive(Debug)]
pub(in crate::upstream) enum Input {
    /// The daemon starts.
    Start,
    /// The attempt came to a connection, ready to use; with what its templates' placeholders stand for.
    Connected { slot: Slot, reached: Reached, secrets: Secrets },
    /// The attempt came to nothing.
    ConnectFailed { slot: Slot, failure: Failure },
    /// Bytes came in, whole messages among them or not.
    Inbound { slot: Slot, messages: bool },
    /// A pong came in.
    Pong { slot: Slot, payload: Vec<u8> },
    /// wsfan doesn't read from this connection until further notice.
    Paused { slot: Slot },
    /// wsfan reads again.
    Resumed { slot: Slot },
    /// The connection ends: the server's close frame is here, or ours for its fault is on its way.
    /// What remains is the end of TCP.
    Closing { slot: Slot, failure: Failure },
    /// The connection is gone.
    Ended { slot: Slot, failure: Failure },
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
    /// The topics that were there are all said again on this connection, whose script is done.
    Resubscribed { slot: Slot },
    /// A program has ended that was run for a connection: what it printed, or the end of a sentence.
    Ran { slot: Slot, id: u64, outcome: Result<Vec<u8>, String> },
    /// [`Machine::next_timeout`](super::Machine::next_timeout) may have been reached.
    Timeout,
}

/// What is to be done with connections.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) enum Action {
    /// Begin an attempt.
    Connect { slot: Slot, to: Destination },
    /// Give up the attempt.
    AbandonConnect { slot: Slot },
    /// Run a program for as long as [`Machine::awaits_run`](super::Machine::awaits_run), and say what it came to.
    Run { slot: Slot, run: Run },
    /// Send a ping.
    Ping { slot: Slot, payload: [u8; 8] },
    /// Write what was sent before, then begin the closing handshake.
    Close { slot: Slot, code: u16, reason: &'static str },
    /// Drop the connection as it is.
    Drop { slot: Slot },
    /// It is over.
    Finish(Exit),
}

/// What clients and people hear of.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) enum News {
    /// The new state. Its `since_us` is left to the one who knows the wall clock.
    Announce(LinkStatus),
    /// The values of public captures, as JSON.
    Public(BTreeMap<String, String>),
    /// A change of what is shown of the state, without a line.
    Note(Note),
}

/// What a message came to.
#[derive(Debug, Default, PartialEq)]
pub(in crate::upstream) struct Hearing {
    /// What is missing before it.
    pub(in crate::upstream) holes: Vec<Hole>,
    /// Clients get it.
    pub(in crate::upstream) publish: bool,
    /// What it has to do with topics.
    pub(in crate::upstream) topics: OfTopics,
    /// Which topic it is of.
    pub(in crate::upstream) topic: MessageTopic,
    /// As what it is retained.
    pub(in crate::upstream) retain: Option<RetainAs>,
}

/// A change within a state.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Note {
    /// The heartbeat's newest round trip.
    RoundTrip(Duration),
    /// The connection has been up for so long that failures count from 0 again.
    Stable,
    /// The server has a step of the script wait, in the words of this sentence.
    PutOff(String),
    /// A request came to its end without being of use to anybody.
    Stray(Stray),
    /// A reply or a heartbeat isn't sent, for the reason in the sentence, since its program made none. It is time to
    /// say so again; then so many weren't said.
    Unsent { error: String, unsaid: Option<u64> },
    /// A new connection is being made, to take over, for this reason.
    Rotating(String),
    /// It came to nothing; the next attempt is so far away, if there is to be one.
    RotationFailed { error: String, retry_in: Option<Duration> },
}
