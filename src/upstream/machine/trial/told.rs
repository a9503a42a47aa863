//! What is told of a trial, and what it wants done.

use std::time::Duration;

use crate::upstream::{failure::Failure, session::runs::Run};

/// How it goes.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) enum Told {
    /// A step of the script begins. What it sends is as configured, with its placeholders.
    Step { name: String, sent: Option<String> },
    /// A step is left out: of its captures one is there or isn't.
    Skipped { name: String },
    /// The script hears this, on one line, with nothing secret in it.
    Heard(String),
    /// The heartbeat begins.
    Beats,
    /// It has come to this: its message as configured, and the answer's time, or that of a sign of life. `answered` is none
    /// where no answer was awaited.
    Beaten { message: Option<String>, round_trip: Option<Duration>, answered: Option<bool> },
    /// What the part waits for came with no more left than this of its limit, which this key says.
    Narrow { left: Duration, limit: Duration, key: &'static str },
    /// The part that was under way is done, and all it had to say is written.
    Done,
    /// The part that was under way has failed. The connection is closed, and nothing more is told.
    Failed { failure: Failure, how: How },
    /// All went well, and the close begins.
    Closes,
    /// It is over; the server's code, if it answered.
    Closed { code: Option<u16> },
}

/// How a part failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum How {
    /// As its sentence says.
    Plain,
    /// Nothing came in time.
    Late,
    /// What came is a refusal.
    Refused,
    /// The server isn't ready for it yet.
    PutOff,
    /// Something that was to be sent has no value.
    Unsaid,
    /// The program that was to make it did not.
    Program,
    /// The connection ended.
    Lost,
}

/// What is to be done with the connection.
#[derive(Debug, PartialEq)]
pub(in crate::upstream) enum TrialAction {
    /// Send a ping.
    Ping([u8; 8]),
    /// Run a program for as long as [`Trial::awaits_run`](super::Trial::awaits_run), and say what it came to.
    Run(Run),
    /// Begin the closing handshake with this code.
    Close(u16),
}
