//! A place for a connection, or for the attempt that is to become one.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use super::apart::Apart;
use crate::{
    config::Pointer,
    upstream::{
        attempt::{AttemptResult, makers::Makers},
        websocket::{Connection, Listen},
    },
};

/// One of the two places.
#[derive(Default)]
pub(super) struct Seat {
    pub(super) attempt: Option<Pin<Box<dyn Future<Output = AttemptResult>>>>,
    pub(super) connection: Option<Box<Connection>>,
    /// What its messages are taken apart into.
    pub(super) apart: Apart,
    /// The programs that run for the connection.
    pub(super) makers: Makers,
    /// Nothing is read from the connection, since the hub isn't ready for more, or since too much
    /// waits to be said.
    pub(super) paused: bool,
}

impl Seat {
    /// Takes a connection, whose messages are taken apart by the list at a pointer, if there is one.
    pub(super) fn sit(&mut self, connection: Box<Connection>, split: Option<&Pointer>) {
        self.connection = Some(connection);
        self.apart = Apart::new(split);
    }

    /// Drops the connection, with what is left of its last message.
    pub(super) fn leave(&mut self) {
        self.connection = None;
        self.apart = Apart::default();
    }

    /// Whether a message is to be gone on with now, by how the connection is listened to. Where it can't be written to
    /// any more, what waits to be said is no reason to wait.
    pub(super) fn goes_on(&self, listen: Listen) -> bool {
        let is_broken = self.connection.as_ref().is_some_and(|connection| connection.is_broken());
        self.apart.has_rest() && (listen == Listen::Yes || is_broken && listen == Listen::AfterWriting)
    }

    /// Whether the connection has sends that aren't all with the kernel yet.
    pub(super) fn has_unwritten(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.has_unwritten())
    }

    /// Whether a close waits for what is still to be sent.
    pub(super) fn is_draining(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.is_draining())
    }

    /// When the connection counts as dead because nothing could be written for so long.
    pub(super) fn stall_deadline(&self) -> Option<Instant> {
        self.connection.as_ref().and_then(|connection| connection.stall_deadline())
    }

    /// Goes on with the attempt. Cancel-safe.
    pub(super) fn poll_attempt(&mut self, cx: &mut Context<'_>) -> Poll<AttemptResult> {
        let Some(attempt) = &mut self.attempt else { return Poll::Pending };
        let outcome = std::task::ready!(attempt.as_mut().poll(cx));
        self.attempt = None;
        Poll::Ready(outcome)
    }
}
