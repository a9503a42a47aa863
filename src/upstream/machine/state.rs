//! The states.

use std::time::{Duration, Instant};

use crate::upstream::failure::Failure;

/// The one state that the machine is in.
#[derive(Debug)]
pub(super) enum State {
    Closed,
    Connecting,
    Up { since: Instant, stable: bool },
    Closing { until: Instant, then: Then },
    Waiting { since: Instant, until: Instant, why: Wait },
    Failed,
    Finished,
}

/// What follows a closing handshake.
#[derive(Debug)]
pub(super) enum Then {
    /// The connection failed; try again after a delay.
    Retry { failure: Failure, stable: bool },
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
    /// The delay after a failure, with the random number it was made of.
    Backoff { random: f64, retry_after: Option<Duration> },
    /// An attempt that was asked for too soon after the one before.
    Asked,
}
