//! The outbox: sends that wait for the link. Pure; time is an argument.

use std::{collections::VecDeque, time::Instant};

use super::Send;
use crate::config;

/// Sends that wait for the link, oldest first, bounded in number, bytes and time.
#[derive(Debug)]
pub struct Outbox {
    limits: config::Outbox,
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    send: Send,
}

/// A send that the outbox didn't take, and why.
#[derive(Debug)]
pub enum Refused {
    /// No outbox is configured.
    Off(Send),
    /// It has no room left.
    Full(Send),
}

impl Outbox {
    /// An empty outbox.
    pub fn new(limits: config::Outbox) -> Outbox {
        Outbox { limits, waiting: VecDeque::new(), bytes: 0 }
    }

    /// Applies new limits. What waits already stays, for the new `ttl`.
    pub fn set_limits(&mut self, limits: config::Outbox) {
        self.limits = limits;
    }

    /// Puts a send at the end, or gives it back.
    pub fn push(&mut self, now: Instant, send: Send) -> Result<(), Refused> {
        if self.limits.max_messages == 0 {
            return Err(Refused::Off(send));
        }
        let bytes = self.bytes + send.payload.len();
        if self.waiting.len() >= self.limits.max_messages || bytes > self.limits.max_bytes {
            return Err(Refused::Full(send));
        }
        self.bytes = bytes;
        self.waiting.push_back(Waiting { since: now, send });
        Ok(())
    }

    /// Takes the oldest send.
    pub fn pop(&mut self) -> Option<Send> {
        let send = self.waiting.pop_front()?.send;
        self.bytes -= send.payload.len();
        Some(send)
    }

    /// Takes the oldest send if it has waited for longer than `ttl`. Call until `None`.
    pub fn pop_expired(&mut self, now: Instant) -> Option<Send> {
        if self.next_expiry()? > now {
            return None;
        }
        self.pop()
    }

    /// When the oldest send expires.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.waiting.front().map(|oldest| oldest.since + self.limits.ttl)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
