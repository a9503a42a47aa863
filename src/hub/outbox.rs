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

    /// Puts a send at the end and tells it that it waits, or gives it back.
    pub fn push(&mut self, now: Instant, mut send: Send) -> Result<(), Refused> {
        if self.limits.max_messages == 0 {
            return Err(Refused::Off(send));
        }
        let bytes = self.bytes + send.cost();
        if self.waiting.len() >= self.limits.max_messages || bytes > self.limits.max_bytes {
            return Err(Refused::Full(send));
        }
        self.bytes = bytes;
        send.ticket.queued();
        self.waiting.push_back(Waiting { since: now, send });
        Ok(())
    }

    /// Takes the oldest send.
    pub fn pop(&mut self) -> Option<Send> {
        let send = self.waiting.pop_front()?.send;
        self.bytes -= send.cost();
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc, time::Duration};

    use super::*;
    use crate::hub::{Fate, Lane, Payload, Permit, Ticket};

    const LIMITS: config::Outbox =
        config::Outbox { max_messages: 3, max_bytes: 10 + 3 * Lane::OVERHEAD, ttl: Duration::from_secs(5) };

    fn send(text: &str) -> (Send, Rc<RefCell<Vec<Fate>>>) {
        let fates = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&fates);
        let ticket = Ticket::new(Permit::free(), move |fate| told.borrow_mut().push(fate));
        (Send { payload: Payload::Text(text.into()), ticket, extra: 0 }, fates)
    }

    #[test]
    fn sends_come_out_in_order() {
        let now = Instant::now();
        let mut outbox = Outbox::new(LIMITS);
        for text in ["a", "b", "c"] {
            outbox.push(now, send(text).0).unwrap();
        }
        let texts: Vec<_> = std::iter::from_fn(|| outbox.pop()).map(|send| send.payload).collect();
        assert_eq!(texts, ["a", "b", "c"].map(|text| Payload::Text(text.into())));
    }

    #[test]
    fn it_is_bounded_in_number_and_bytes() {
        let now = Instant::now();
        let mut outbox = Outbox::new(LIMITS);
        outbox.push(now, send("12345").0).unwrap();
        outbox.push(now, send("12345").0).unwrap();
        assert!(matches!(outbox.push(now, send("1").0), Err(Refused::Full(_))));
        outbox.push(now, send("").0).unwrap();
        assert!(matches!(outbox.push(now, send("").0), Err(Refused::Full(_))));
        outbox.pop();
        outbox.push(now, send("12345").0).unwrap();
    }

    #[test]
    fn without_room_for_any_message_it_is_off() {
        let mut outbox = Outbox::new(config::Outbox { max_messages: 0, ..LIMITS });
        assert!(matches!(outbox.push(Instant::now(), send("").0), Err(Refused::Off(_))));
    }

    #[test]
    fn what_waited_longer_than_ttl_expires_oldest_first() {
        let now = Instant::now();
        let mut outbox = Outbox::new(LIMITS);
        outbox.push(now, send("a").0).unwrap();
        outbox.push(now + Duration::from_secs(2), send("b").0).unwrap();
        assert_eq!(outbox.next_expiry(), Some(now + LIMITS.ttl));
        assert!(outbox.pop_expired(now + Duration::from_millis(4999)).is_none());
        assert_eq!(outbox.pop_expired(now + LIMITS.ttl).unwrap().payload, Payload::Text("a".into()));
        assert!(outbox.pop_expired(now + LIMITS.ttl).is_none());
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn a_send_that_is_dropped_tells_that_its_fate_is_unknown() {
        let (send, fates) = send("a");
        drop(send);
        assert_eq!(*fates.borrow(), [Fate::Unknown]);
    }

    #[test]
    fn a_send_that_waits_is_told_so_and_told_its_end() {
        let (send, fates) = send("a");
        let mut outbox = Outbox::new(LIMITS);
        outbox.push(Instant::now(), send).unwrap();
        outbox.pop().unwrap().ticket.settle(Fate::Expired);
        assert_eq!(*fates.borrow(), [Fate::Queued, Fate::Expired]);
    }
}
