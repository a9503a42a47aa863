//! Sends that aren't handed to the connection yet, and what they are told. No sockets, no clocks.

use std::{collections::VecDeque, time::Instant};

use crate::{
    config,
    hub::{Fate, LinkState, Outbox, Refused, Send},
};

/// The queue of the connection that is up, and the outbox for when none is. What is in the outbox is
/// older than what is in the queue.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Bounded by the lane: each send holds its room there until its fate is told.
    queue: VecDeque<Send>,
    outbox: Outbox,
    /// The connection closes: it still gets what is in the queue, and the rest waits for the next.
    closing: bool,
}

impl Backlog {
    pub(super) fn new(limits: config::Outbox) -> Backlog {
        Backlog { queue: VecDeque::new(), outbox: Outbox::new(limits), closing: false }
    }

    pub(super) fn set_limits(&mut self, limits: config::Outbox) {
        self.outbox.set_limits(limits);
    }

    /// Takes a send for the connection that is up.
    pub(super) fn push(&mut self, send: Send) {
        self.queue.push_back(send);
    }

    /// The next send to write.
    pub(super) fn next(&mut self) -> Option<Send> {
        if self.closing {
            return self.queue.pop_front();
        }
        self.outbox.pop().or_else(|| self.queue.pop_front())
    }

    /// What is here now still belongs to the connection that is about to close; what comes from now
    /// on doesn't.
    pub(super) fn close(&mut self) {
        let waiting: Vec<Send> = std::iter::from_fn(|| self.outbox.pop()).collect();
        waiting.into_iter().rev().for_each(|send| self.queue.push_front(send));
        self.closing = true;
    }

    /// Takes a send while no connection is up: it waits in the outbox, or hears that it can't.
    pub(super) fn hold(&mut self, now: Instant, send: Send, state: LinkState) {
        match self.outbox.push(now, send) {
            Ok(()) => {}
            Err(Refused::Off(send)) => send.ticket.settle(Fate::LinkDown(state)),
            Err(Refused::Full(send)) => send.ticket.settle(Fate::OutboxFull),
        }
    }

    /// The connection is gone: what it hadn't begun waits for the next one.
    pub(super) fn requeue(&mut self, now: Instant, state: LinkState) {
        self.closing = false;
        for send in std::mem::take(&mut self.queue) {
            self.hold(now, send, state);
        }
    }

    /// When [`Backlog::expire`] has something to do.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.outbox.next_expiry()
    }

    /// How many sends wait for the link.
    pub(super) fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Tells those that waited for too long, and returns how many they were.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let before = self.outbox.len();
        while let Some(send) = self.outbox.pop_expired(now) {
            send.ticket.settle(Fate::Expired);
        }
        before - self.outbox.len()
    }

    /// There won't be another connection. Returns how many sends are left unsent.
    pub(super) fn give_up(&mut self, state: LinkState) -> usize {
        let left = self.outbox.len() + self.queue.len();
        self.closing = false;
        while let Some(send) = self.next() {
            send.ticket.settle(Fate::LinkDown(state));
        }
        left
    }
}
