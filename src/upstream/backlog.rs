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
    /// The connection closes: so many of the queue are still for it, and the rest is for the next.
    remaining: Option<usize>,
}

impl Backlog {
    pub(super) fn new(limits: config::Outbox) -> Backlog {
        Backlog { queue: VecDeque::new(), outbox: Outbox::new(limits), remaining: None }
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
        if let Some(send) = self.outbox.pop() {
            return Some(send);
        }
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.checked_sub(1)?;
        }
        self.queue.pop_front()
    }

    /// What is here now is still for the connection that is about to close; what is pushed from now
    /// on is not.
    pub(super) fn close(&mut self) {
        self.remaining.get_or_insert(self.queue.len());
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
        self.remaining = None;
        for send in std::mem::take(&mut self.queue) {
            self.hold(now, send, state);
        }
    }

    /// When [`Backlog::expire`] has something to do.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.outbox.next_expiry()
    }

    /// How many sends would be written before the next one.
    pub(super) fn ahead(&self) -> usize {
        self.outbox.len() + self.queue.len()
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
        self.remaining = None;
        while let Some(send) = self.next() {
            send.ticket.settle(Fate::LinkDown(state));
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc, time::Duration};

    use super::*;
    use crate::hub::{Payload, Permit, Ticket};

    type Fates = Rc<RefCell<Vec<(&'static str, Fate)>>>;

    fn backlog(max_messages: usize) -> Backlog {
        Backlog::new(config::Outbox { max_messages, max_bytes: 1 << 20, ttl: Duration::from_secs(5) })
    }

    fn send(fates: &Fates, text: &'static str) -> Send {
        let told = Rc::clone(fates);
        let ticket = Ticket::new(Permit::free(), move |fate| told.borrow_mut().push((text, fate)));
        Send { payload: Payload::Text(text.into()), ticket, extra: 0 }
    }

    fn texts(backlog: &mut Backlog) -> Vec<String> {
        let taken = std::iter::from_fn(|| backlog.next());
        taken.map(|send| if let Payload::Text(text) = send.payload { text } else { unreachable!() }).collect()
    }

    #[test]
    fn a_connection_that_closes_gets_what_was_there_and_no_more() {
        let (fates, mut backlog, now) = (Fates::default(), backlog(10), Instant::now());
        backlog.hold(now, send(&fates, "old"), LinkState::Waiting);
        backlog.push(send(&fates, "a"));
        backlog.close();
        backlog.push(send(&fates, "b"));
        assert_eq!(texts(&mut backlog), ["old", "a"]);
        backlog.requeue(now, LinkState::Connecting);
        assert_eq!(texts(&mut backlog), ["b"]);
    }

    #[test]
    fn sends_keep_their_order_and_hear_once_that_they_wait_when_a_close_is_cut_short() {
        let (fates, mut backlog, now) = (Fates::default(), backlog(10), Instant::now());
        backlog.hold(now, send(&fates, "old"), LinkState::Waiting);
        backlog.push(send(&fates, "a"));
        backlog.close();
        backlog.push(send(&fates, "b"));
        backlog.requeue(now + Duration::from_secs(1), LinkState::Waiting);
        let queued = |text| fates.borrow().iter().filter(|told| **told == (text, Fate::Queued)).count();
        assert_eq!([queued("old"), queued("a"), queued("b")], [1, 1, 1]);
        assert_eq!(
            backlog.next_expiry(),
            Some(now + Duration::from_secs(5)),
            "the oldest still expires first"
        );
        assert_eq!(texts(&mut backlog), ["old", "a", "b"]);
    }

    #[test]
    fn without_an_outbox_what_is_left_hears_that_the_link_is_down() {
        let (fates, mut backlog) = (Fates::default(), backlog(0));
        backlog.push(send(&fates, "a"));
        backlog.requeue(Instant::now(), LinkState::Closed);
        assert_eq!(*fates.borrow(), [("a", Fate::LinkDown(LinkState::Closed))]);
    }
}
