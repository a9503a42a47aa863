//! What a connection reads from and writes to: the hub, the machine and the sends that wait.

use std::{collections::VecDeque, time::Instant};

use super::{announce, backlog::Backlog, declare, now};
use crate::{
    hub::{Data, Hub, Send, Ticket, now_us},
    upstream::{
        machine::{Action, Machine, Slot},
        session::Heard,
        websocket::{Exchange, Frame},
    },
};

/// The books of one connection.
pub(super) struct Books<'a> {
    pub(super) slot: Slot,
    pub(super) hub: &'a Hub,
    pub(super) machine: &'a mut Machine,
    pub(super) backlog: &'a mut Backlog,
    /// What the machine wants done once the batch is read.
    pub(super) deferred: &'a mut VecDeque<Action>,
    /// Clients' sends wait until the other connection has written what it was given: they keep their
    /// order.
    pub(super) held: bool,
    /// The wall clock, read once a batch.
    pub(super) time_us: Option<u64>,
}

impl Exchange for Books<'_> {
    fn received(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Data(data) => {
                let time_us = *self.time_us.get_or_insert_with(now_us);
                if !self.machine.wants_messages(self.slot) || self.hear(time_us, data) {
                    self.hub.publish(time_us, data);
                }
                // what follows from the message stands behind it in the log
                self.tell();
            }
            Frame::Ping => self.machine.sent(now()), // its pong
            Frame::Pong(payload) => {
                let payload = payload.to_vec();
                self.machine
                    .handle(now(), crate::upstream::machine::Input::Pong { slot: self.slot, payload });
            }
        }
    }

    fn next_send(&mut self) -> Option<Send> {
        let now = now();
        if let Some(payload) = self.machine.next_own(now, self.slot) {
            return Some(Send { payload, ticket: Ticket::unheard(), extra: 0 });
        }
        if !self.takes_clients(now) {
            return None;
        }
        let send = self.backlog.next(now)?;
        self.machine.sent(now);
        Some(send)
    }

    fn written(&mut self, bytes: usize) {
        self.hub.count_sent(bytes);
    }
}

impl Books<'_> {
    /// Whether clients' sends go to this connection, now.
    fn takes_clients(&self, now: Instant) -> bool {
        let is_theirs = self.machine.sender() == Some(self.slot) || self.machine.drained() == Some(self.slot);
        is_theirs && !self.held && self.machine.lets_out(now)
    }

    /// Tells the machine, and returns whether clients get the message. A hole is declared before the
    /// message that shows it.
    fn hear(&mut self, time_us: u64, data: Data<'_>) -> bool {
        let heard = match data {
            Data::Text(text) => Heard::Text(text),
            Data::Binary(bytes) => Heard::Binary(bytes),
        };
        let publish = self.machine.hear(now(), self.slot, heard);
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Hole(hole) => declare(self.hub, time_us, &hole),
                action => self.deferred.push_back(action),
            }
        }
        publish
    }

    /// Tells clients of what has changed already; all else is done after the batch.
    fn tell(&mut self) {
        if self.deferred.is_empty() {
            return;
        }
        let mut rest = VecDeque::new();
        while let Some(action) = self.deferred.pop_front() {
            match action {
                Action::Announce(status) => announce(self.hub, status),
                action => rest.push_back(action),
            }
        }
        *self.deferred = rest;
    }
}
