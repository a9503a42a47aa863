//! Sends that aren't handed to the connection yet, and what they are told. No sockets, no clocks.

use std::{
    cell::Cell,
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    config,
    hub::{Fate, Keeper, LinkState, NoAnswer, Outbox, Send, Stored, Turns},
    upstream::machine::{Kinds, Leeway, Room},
};

/// What waits for the connection that is up, and the outbox for when none is. Users take turns, and of each its
/// clients; the sends of one client keep their order.
#[derive(Debug)]
pub(in crate::upstream) struct Backlog {
    /// Those that aren't in the outbox are bounded by the lane: each holds its room there until its fate is
    /// told.
    waiting: Turns<Waiting>,
    /// Answers to the server's requests, which may wait for one: they go before everything else.
    answers: VecDeque<Waiting>,
    /// When requests that wait here have waited for too long, with their numbers.
    ends: BTreeSet<(Instant, u64)>,
    /// What of the outbox is taken.
    outbox: Outbox,
    /// How many messages wait, those in the outbox and the others.
    messages: usize,
    /// The unit that waits for the limits to let out all of it at once.
    saving: Option<Saving>,
    /// The unit that waits until all of its requests may go at once, by its number: no other request goes before it.
    asking: Option<u64>,
    /// The connection closes: what has a lower number is still for it, and the rest is for the next.
    closing: Option<u64>,
    next_number: u64,
    /// Something was said of topics, and now it is the turn of what waits here.
    pub(super) is_next: bool,
}

#[derive(Debug)]
struct Waiting {
    send: Send,
    /// In the order of their coming.
    number: u64,
    /// So many answers are awaited, so that it may have to wait for those of others.
    requests: usize,
    /// It is of no use on another connection.
    is_bound: bool,
    /// Since when it is in the outbox. What is there is older than what else its client has waiting.
    since: Option<Instant>,
}

/// A unit for which the limits don't have enough at once. Each turn of its client saves it one message of what they
/// let out, so that others go on meanwhile and yet don't keep it from ever going. It is the only one for which is saved.
#[derive(Debug, Clone, Copy)]
struct Saving {
    /// Its number.
    number: u64,
    /// So many messages are saved.
    saved: usize,
}

impl Backlog {
    pub(in crate::upstream) fn new(limits: config::Outbox) -> Backlog {
        Backlog {
            waiting: Turns::default(),
            answers: VecDeque::new(),
            ends: BTreeSet::new(),
            outbox: Outbox::new(limits),
            messages: 0,
            saving: None,
            asking: None,
            closing: None,
            next_number: 0,
            is_next: false,
        }
    }

    /// Applies new limits. What waits already stays, for the new `ttl`.
    pub(in crate::upstream) fn set_limits(&mut self, limits: config::Outbox) {
        self.outbox.set_limits(limits);
    }

    /// Takes a send for the connection that is up.
    pub(in crate::upstream) fn push(&mut self, send: Send, kinds: &Kinds) {
        let waiting = self.numbered(send, kinds);
        if kinds.are_answers(waiting.send.count()) {
            self.messages += waiting.send.count();
            return self.answers.push_back(waiting);
        }
        self.add(waiting);
    }

    fn numbered(&mut self, send: Send, kinds: &Kinds) -> Waiting {
        let number = self.next_number;
        self.next_number += 1;
        let asks = send.asks.as_deref();
        let is_bound = !kinds.answers.is_empty() || asks.is_some_and(|asks| asks.is_request);
        Waiting { send, number, requests: kinds.requests, is_bound, since: None }
    }

    /// The next send to write, as far as the limits let it out, and one with requests only where there is `room` for
    /// them. One that waited for its turn for too long after its client had gone is none.
    pub(in crate::upstream) fn next(&mut self, now: Instant, leeway: Leeway, room: Room) -> Option<Send> {
        let closing = self.closing.unwrap_or(u64::MAX);
        let fits = |answer: &Waiting| answer.number < closing && answer.send.count() <= leeway.free;
        if self.answers.front().is_some_and(fits) {
            let answer = self.answers.pop_front()?;
            self.messages -= answer.send.count();
            return Some(answer.send);
        }
        while leeway.free > self.saving.map_or(0, |saving| saving.saved) {
            let (saving, asking) = (self.saving, Cell::new(self.asking));
            let may_go = |waiting: &Waiting| {
                let may_save = || saving.is_none_or(|saving| saving.number == waiting.number);
                waiting.number < closing
                    && may_ask(waiting, room, &asking)
                    && (waiting.send.rest.is_empty() || may_save())
            };
            let next = self.waiting.pop(may_go);
            self.asking = asking.get();
            let waiting = next?;
            let messages = waiting.send.count();
            if waiting.is_left(now) {
                self.remove(&waiting);
                waiting.send.ticket.settle(Fate::Expired);
            } else if waiting.requests > room.most {
                self.remove(&waiting);
                waiting.send.ticket.settle(Fate::TooManyRequests(room.most));
            } else if messages == 1 || messages <= leeway.free {
                self.remove(&waiting);
                return Some(waiting.send);
            } else if messages > leeway.most {
                // the limits have changed
                self.remove(&waiting);
                waiting.send.ticket.settle(Fate::TooMany(leeway.most));
            } else {
                let saved = 1 + saving.map_or(0, |saving| saving.saved);
                self.saving = Some(Saving { number: waiting.number, saved });
                let from = Rc::clone(waiting.send.ticket.from());
                self.waiting.put_back(&from, waiting);
            }
        }
        None
    }

    /// How many messages the limits must let out for [`Backlog::next`] to have anything to do.
    pub(in crate::upstream) fn wants(&self) -> Option<usize> {
        if let Some(answer) = self.answers.front() {
            return Some(answer.send.count());
        }
        let saved = self.saving.map_or(0, |saving| saving.saved);
        (!self.waiting.is_empty()).then_some(saved + 1)
    }

    /// What is here now is still for the connection that is about to close; what is pushed from now
    /// on is not.
    pub(in crate::upstream) fn close(&mut self) {
        self.closing.get_or_insert(self.next_number);
    }

    /// Takes a send while no connection is up: it waits in the outbox, or hears that it can't. What the
    /// connection that has gone hadn't begun goes before it.
    pub(in crate::upstream) fn hold(&mut self, now: Instant, send: Send, kinds: &Kinds, state: LinkState) {
        self.requeue(now, state);
        let waiting = self.numbered(send, kinds);
        self.put_by(now, waiting, state);
    }

    /// The connection is gone: what it hadn't begun waits for the next one.
    pub(in crate::upstream) fn requeue(&mut self, now: Instant, state: LinkState) {
        (self.closing, self.saving, self.asking) = (None, None, None);
        for answer in std::mem::take(&mut self.answers) {
            self.messages -= answer.send.count();
            answer.send.ticket.settle(Fate::LinkDown(state));
        }
        if self.waiting.len() == self.outbox.sends() {
            return;
        }
        let mut rest = self.waiting.take_all(|waiting| waiting.since.is_none());
        for waiting in &rest {
            self.messages -= waiting.send.count();
            self.forget_end(waiting);
        }
        rest.sort_unstable_by_key(|waiting| waiting.number);
        for waiting in rest {
            self.put_by(now, waiting, state);
        }
    }

    /// When [`Backlog::expire`] has something to do.
    pub(in crate::upstream) fn next_expiry(&self) -> Option<Instant> {
        let request = self.ends.first().map(|(at, _)| *at);
        let front = self.waiting.fronts().filter_map(|waiting| waiting.end(self.outbox.limits().ttl)).min();
        [request, front].into_iter().flatten().min()
    }

    /// How many messages would be written before the next send.
    pub(in crate::upstream) fn ahead(&self) -> usize {
        self.messages
    }

    /// How many sends wait for the link.
    pub(in crate::upstream) fn waiting(&self) -> usize {
        self.outbox.sends()
    }

    /// Tells those that waited for too long, and returns how many they were.
    pub(in crate::upstream) fn expire(&mut self, now: Instant) -> usize {
        self.end_requests(now);
        let ttl = self.outbox.limits().ttl;
        let expired = self.waiting.take_fronts(|waiting| waiting.end(ttl).is_some_and(|end| end <= now));
        let count = expired.len();
        for waiting in expired {
            self.remove(&waiting);
            waiting.send.ticket.settle(Fate::Expired);
        }
        count
    }

    /// There won't be another connection. Returns how many sends are left unsent.
    pub(in crate::upstream) fn give_up(&mut self, state: LinkState) -> usize {
        let left = self.take_rest();
        let count = left.len();
        left.into_iter().for_each(|waiting| waiting.send.ticket.settle(Fate::LinkDown(state)));
        count
    }

    /// There won't be another connection here, but elsewhere, for which the rest is given back, each client's in its
    /// order. What can't go over another connection, and what came from another machine, hears that the link is down.
    pub(in crate::upstream) fn leave(&mut self, state: LinkState) -> Vec<Send> {
        let mut kept = Vec::new();
        for waiting in self.take_rest() {
            if waiting.is_bound || waiting.send.ticket.from().is_remote() {
                waiting.send.ticket.settle(Fate::LinkDown(state));
            } else {
                kept.push(waiting.send);
            }
        }
        kept
    }

    fn take_rest(&mut self) -> Vec<Waiting> {
        self.closing = None;
        let mut left = self.waiting.take_all(|_| true);
        left.iter().for_each(|waiting| self.remove(waiting));
        for answer in std::mem::take(&mut self.answers) {
            self.messages -= answer.send.count();
            left.push(answer);
        }
        left
    }

    /// Tells those requests whose time is over that they aren't sent.
    fn end_requests(&mut self, now: Instant) {
        if self.ends.first().is_none_or(|(at, _)| *at > now) {
            return;
        }
        let is_over = |waiting: &Waiting| waiting.until().is_some_and(|until| until <= now);
        self.take_back(is_over, NoAnswer::Timeout { written: false });
    }

    /// A client cancels the request that it names so. False where it isn't here.
    pub(in crate::upstream) fn cancel(&mut self, client: u64, name: &str) -> bool {
        let is_it = |waiting: &Waiting| {
            let asks = waiting.send.asks.as_deref().filter(|asks| asks.is_request);
            asks.is_some_and(|asks| asks.caller.from().client == client && asks.caller.id() == Some(name))
        };
        self.take_back(is_it, NoAnswer::Cancelled) > 0
    }

    fn take_back(&mut self, which: impl Fn(&Waiting) -> bool, why: NoAnswer) -> usize {
        let back = self.waiting.take_all(which);
        back.iter().for_each(|waiting| self.remove(waiting));
        let count = back.len();
        for waiting in back {
            if let Some(asks) = &waiting.send.asks {
                asks.caller.fail(why);
            }
            waiting.send.ticket.drop_told();
        }
        count
    }

    fn forget_end(&mut self, waiting: &Waiting) {
        if let Some(until) = waiting.until() {
            self.ends.remove(&(until, waiting.number));
        }
    }

    /// Puts a send into the outbox, as far as [room](Keeper::make_room) can be made for it.
    fn put_by(&mut self, now: Instant, mut waiting: Waiting, state: LinkState) {
        let is_kept = self.outbox.is_on() && !waiting.is_bound && !waiting.send.ticket.from().is_remote();
        if !is_kept {
            return waiting.send.ticket.settle(Fate::LinkDown(state));
        }
        if !self.make_room(waiting.send.ticket.from(), waiting.share()) {
            return waiting.send.ticket.settle(Fate::OutboxFull);
        }
        waiting.since = Some(waiting.send.ticket.queued(now));
        self.add(waiting);
    }

    fn add(&mut self, waiting: Waiting) {
        let from = Rc::clone(waiting.send.ticket.from());
        self.messages += waiting.send.count();
        if let Some(until) = waiting.until() {
            self.ends.insert((until, waiting.number));
        }
        if waiting.since.is_some() {
            self.outbox.add(&from, waiting.share());
        }
        self.waiting.push(&from, waiting);
    }

    /// Notes that one was taken out.
    fn remove(&mut self, waiting: &Waiting) {
        self.messages -= waiting.send.count();
        self.forget_end(waiting);
        self.saving = self.saving.filter(|saving| saving.number != waiting.number);
        self.asking = self.asking.filter(|number| *number != waiting.number);
        if waiting.since.is_some() {
            self.outbox.remove(waiting.send.ticket.from(), waiting.share());
        }
    }
}

impl Keeper for Backlog {
    fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn take_newest(&mut self, client: u64) -> Option<Send> {
        let waiting = self.waiting.take_newest(client)?;
        self.remove(&waiting);
        Some(waiting.send)
    }
}

/// Whether there is room for what it asks. A unit that finds too little waits for it, and others wait behind it.
fn may_ask(waiting: &Waiting, room: Room, asking: &Cell<Option<u64>>) -> bool {
    let is_turn = asking.get().is_none_or(|number| number == waiting.number);
    match waiting.requests {
        0 => true,
        requests if requests > room.most => true, // it is told that it can't
        _ if !is_turn => false,
        requests if requests <= room.free => true,
        1 => false,
        _ => {
            asking.set(Some(waiting.number));
            false
        }
    }
}

impl Waiting {
    fn share(&self) -> Stored {
        Stored::of(&self.send)
    }

    /// When it has waited for too long. In the outbox that is a matter of `ttl` alone: its client was told that
    /// it waits, and may go.
    fn end(&self, ttl: Duration) -> Option<Instant> {
        self.since.map(|since| since + ttl).or_else(|| self.send.ticket.from().end())
    }

    /// When a request has waited for too long.
    fn until(&self) -> Option<Instant> {
        self.send.asks.as_ref().filter(|asks| asks.is_request).and_then(|asks| asks.until)
    }

    /// Whether it waits for its turn, and its client has gone for so long that it isn't sent any more.
    fn is_left(&self, now: Instant) -> bool {
        self.since.is_none() && self.send.ticket.from().end().is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests;
