//! The states.

use std::time::{Duration, Instant};

use super::{Attempt, Fault, Slot, channel::Channel};
use crate::upstream::failure::Failure;

/// The one state that the machine is in.
#[derive(Debug)]
pub(super) enum State {
    Closed,
    /// An attempt is under way.
    Dialling(Attempt),
    /// The connection is open, and its script is under way. Shown as `connecting`.
    Opening {
        channel: Box<Channel>,
    },
    Up {
        channel: Box<Channel>,
        since: Instant,
        stable: bool,
    },
    /// `drains`: clients' sends from before still go out.
    Closing {
        channel: Box<Channel>,
        until: Instant,
        then: Then,
        drains: bool,
    },
    Waiting {
        since: Instant,
        until: Instant,
        why: Wait,
    },
    Failed,
    Finished,
}

/// What follows a closing handshake.
#[derive(Debug)]
pub(super) enum Then {
    /// The connection failed; what that leads to is known.
    Fail(Fault),
    /// A new connection, at once.
    Reconnect(Failure),
    /// Stay closed.
    Closed(Failure),
    /// Finish.
    Stop(Failure),
}

/// What a wait is for.
#[derive(Debug)]
pub(super) enum Wait {
    /// The delay after a failure, with the random number it was made of, and how
    /// long ago a stable connection was lost.
    Backoff { random: f64, down: Option<Duration>, retry_after: Option<Duration> },
    /// A delay that a rule names.
    Fixed,
    /// `limits.connects`.
    Limit,
    /// An attempt that was asked for too soon after the one before.
    Asked,
}

impl State {
    /// The seat that is taken.
    pub(super) fn slot(&self) -> Option<Slot> {
        match self {
            State::Dialling(attempt) => Some(attempt.slot),
            State::Opening { channel } | State::Up { channel, .. } | State::Closing { channel, .. } => {
                Some(channel.slot)
            }
            State::Closed | State::Waiting { .. } | State::Failed | State::Finished => None,
        }
    }

    /// The connection that there is.
    pub(super) fn channel(&self) -> Option<&Channel> {
        match self {
            State::Opening { channel } | State::Up { channel, .. } | State::Closing { channel, .. } => {
                Some(channel)
            }
            _ => None,
        }
    }

    /// The same, to change it.
    pub(super) fn channel_mut(&mut self) -> Option<&mut Channel> {
        match self {
            State::Opening { channel } | State::Up { channel, .. } | State::Closing { channel, .. } => {
                Some(channel)
            }
            _ => None,
        }
    }
}

impl Then {
    /// How the connection ended, whatever follows.
    pub(super) fn take_failure(&mut self) -> Failure {
        match self {
            Then::Fail(fault) => std::mem::take(&mut fault.failure),
            Then::Reconnect(failure) | Then::Closed(failure) | Then::Stop(failure) => std::mem::take(failure),
        }
    }
}
