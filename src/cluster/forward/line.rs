//! Sends that wait on a node for the leader: for their turn, or in the node's outbox. Pure.

use std::{rc::Rc, time::Instant};

use crate::{
    config,
    hub::{Fate, Keeper, LinkState, NoAnswer, Outbox, Send, Stored, Turns},
};

/// What waits. Users take turns, and of each its clients; the sends of one client keep their order.
#[derive(Debug)]
pub(super) struct Line {
    outbox: Outbox,
    /// Those that aren't in the outbox are bounded by the lane.
    waiting: Turns<Waiting>,
    next_number: u64,
    /// Somebody was told to send again when the link is up.
    has_refused: bool,
}

#[derive(Debug)]
struct Waiting {
    send: Send,
    /// In the order of their coming.
    number: u64,
    /// Since when it is in the outbox.
    since: Option<Instant>,
}

impl Line {
    pub(super) fn new(limits: config::Outbox) -> Line {
        Line { outbox: Outbox::new(limits), waiting: Turns::default(), next_number: 0, has_refused: false }
    }

    /// Applies new limits. What waits already stays, for the new `ttl`.
    pub(super) fn set_limits(&mut self, limits: config::Outbox) {
        self.outbox.set_limits(limits);
    }

    /// A send that is to go out as soon as it is its turn.
    pub(super) fn push(&mut self, send: Send) {
        let number = self.number();
        self.waiting.push(&Rc::clone(send.ticket.from()), Waiting { send, number, since: None });
    }

    /// A send that nobody takes now: it waits in the outbox, or hears that it can't.
    pub(super) fn hold(&mut self, now: Instant, send: Send, state: LinkState) {
        self.requeue(now, state);
        let number = self.number();
        self.put_by(now, Waiting { send, number, since: None }, state);
    }

    /// One that was [taken](Line::next) and isn't sent: it goes before what came later.
    pub(super) fn give_back(&mut self, now: Instant, number: u64, send: Send, state: LinkState) {
        self.requeue(now, state);
        self.put_by(now, Waiting { send, number, since: None }, state);
    }

    /// The same while this node's own link takes what waits.
    pub(super) fn put_back(&mut self, number: u64, send: Send) {
        let from = Rc::clone(send.ticket.from());
        self.waiting.insert(&from, Waiting { send, number, since: None }, |other| other.number > number);
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Nobody takes anything now: what waits for its turn waits in the outbox, or hears that it can't.
    pub(super) fn requeue(&mut self, now: Instant, state: LinkState) {
        if self.waiting.len() == self.outbox.sends() {
            return;
        }
        let mut rest = self.waiting.take_all(|waiting| waiting.since.is_none());
        rest.sort_unstable_by_key(|waiting| waiting.number);
        rest.into_iter().for_each(|waiting| self.put_by(now, waiting, state));
    }

    /// The next one for which `may` holds, with its number.
    pub(super) fn next(&mut self, may: impl Fn(&Send) -> bool) -> Option<(u64, Send)> {
        let waiting = self.waiting.pop(|waiting| may(&waiting.send))?;
        self.remove(&waiting);
        Some((waiting.number, waiting.send))
    }

    /// Everything that is of such a client, each client's in its order.
    pub(super) fn take_all(&mut self, is_meant: impl Fn(u64) -> bool) -> Vec<Send> {
        let mut all = self.waiting.take_all(|waiting| is_meant(waiting.send.ticket.from().client));
        all.iter().for_each(|waiting| self.remove(waiting));
        all.sort_unstable_by_key(|waiting| waiting.number);
        all.into_iter().map(|waiting| waiting.send).collect()
    }

    /// A client cancels the request that it names so. False where it isn't here.
    pub(super) fn cancel(&mut self, client: u64, name: &str) -> bool {
        let is_it = |waiting: &Waiting| {
            let asks = waiting.send.asks.as_deref().filter(|asks| asks.is_request);
            asks.is_some_and(|asks| asks.caller.from().client == client && asks.caller.id() == Some(name))
        };
        let cancelled = self.waiting.take_all(is_it);
        let is_there = !cancelled.is_empty();
        cancelled.into_iter().for_each(|waiting| waiting.send.refuse(NoAnswer::Cancelled));
        is_there
    }

    /// How many sends are in the outbox.
    pub(super) fn queued(&self) -> usize {
        self.outbox.sends()
    }

    /// Whether somebody was told, since this was asked last, to send again when the link is up.
    pub(super) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.has_refused)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When [`Line::expire`] has something to do.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.waiting.fronts().filter_map(|waiting| self.end(waiting)).min()
    }

    /// Tells those that have waited for too long, and returns how many they were.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let ttl = self.outbox.limits().ttl;
        let expired = self.waiting.take_fronts(|waiting| end(waiting, ttl).is_some_and(|end| end <= now));
        let count = expired.len();
        for waiting in expired {
            self.remove(&waiting);
            let until = waiting.send.asks.as_ref().and_then(|asks| asks.until);
            match until.filter(|until| *until <= now) {
                Some(_) => waiting.send.refuse(NoAnswer::Timeout { written: false }),
                None => waiting.send.ticket.settle(Fate::Expired),
            }
        }
        count
    }

    fn end(&self, waiting: &Waiting) -> Option<Instant> {
        end(waiting, self.outbox.limits().ttl)
    }

    fn put_by(&mut self, now: Instant, mut waiting: Waiting, state: LinkState) {
        if !self.outbox.is_on() || !waiting.send.can_wait() {
            self.has_refused = true;
            return waiting.send.ticket.settle(Fate::LinkDown(state));
        }
        let (share, before) = (Stored::of(&waiting.send), self.outbox.sends());
        let has_room = self.make_room(waiting.send.ticket.from(), share);
        self.has_refused |= !has_room || self.outbox.sends() < before;
        if !has_room {
            return waiting.send.ticket.settle(Fate::OutboxFull);
        }
        waiting.since = Some(waiting.send.ticket.queued(now));
        let from = Rc::clone(waiting.send.ticket.from());
        self.outbox.add(&from, share);
        let number = waiting.number;
        self.waiting.insert(&from, waiting, |other| other.number > number);
    }

    /// Notes that one was taken out.
    fn remove(&mut self, waiting: &Waiting) {
        if waiting.since.is_some() {
            self.outbox.remove(waiting.send.ticket.from(), Stored::of(&waiting.send));
        }
    }
}

impl Keeper for Line {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn take_newest(&mut self, client: u64) -> Option<Send> {
        let waiting = self.waiting.take_newest(client)?;
        self.remove(&waiting);
        Some(waiting.send)
    }
}

/// When it has waited for too long. In the outbox that is a matter of `ttl` alone: its client was told that it waits,
/// and may go.
fn end(waiting: &Waiting, ttl: std::time::Duration) -> Option<Instant> {
    let until = waiting.send.asks.as_ref().filter(|asks| asks.is_request).and_then(|asks| asks.until);
    let turn = waiting.since.map(|since| since + ttl).or_else(|| waiting.send.ticket.from().end());
    until.into_iter().chain(turn).min()
}
