//! A send that was handed over to the leader.

use std::{rc::Rc, time::Instant};

use super::OVERTIME;
use crate::hub::{Asks, Fate, NoAnswer, Origin, Payload, Send, Told};

/// A send that was handed over.
#[derive(Debug)]
pub(super) struct Handed {
    /// In which session, and where it ended there.
    pub(super) session: u64,
    pub(super) end: u64,
    /// Its number in the line.
    pub(super) number: u64,
    pub(super) generation: u64,
    pub(super) from: Rc<Origin>,
    pub(super) cost: usize,
    /// When its client waits for an answer no longer.
    pub(super) until: Option<Instant>,
    /// The send, as long as it is untold.
    pub(super) send: Option<Send>,
    /// What is left of it then, where answers may come.
    pub(super) asks: Option<Box<Asks>>,
    pub(super) is_answered: bool,
}

/// What a message is, for whoever puts it together again.
pub(super) fn shape(message: &Payload) -> (bool, usize) {
    (matches!(message, Payload::Binary(_)), message.len())
}

impl Handed {
    fn asks(&self) -> Option<&Asks> {
        self.asks.as_deref().or_else(|| self.send.as_ref()?.asks.as_deref())
    }

    /// Whether it is the request that a client names so.
    pub(super) fn is_request(&self, client: u64, name: &str) -> bool {
        let asks = self.asks().filter(|asks| asks.is_request && !asks.caller.is_over());
        self.from.client == client && asks.is_some_and(|asks| asks.caller.id() == Some(name))
    }

    /// When its end is said here, if the leader doesn't say it.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.until.map(|until| until + OVERTIME).filter(|_| self.is_waited_for())
    }

    /// Whether its client waits for an answer.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.is_answered && self.asks().is_some_and(|asks| asks.is_request && !asks.caller.is_over())
    }

    /// Tells its fate, once; what is left of it waits for answers.
    pub(super) fn settle(&mut self, fate: Fate) {
        if let Some(Send { ticket, asks, .. }) = self.send.take() {
            self.asks = asks;
            ticket.settle(fate);
        }
    }

    /// Tells an answer. False when it can't reach the client, and no other will.
    pub(super) fn answer(&mut self, payload: &str, more: bool, failed: bool) -> bool {
        self.is_answered = true;
        let Some(asks) = self.asks() else { return false };
        match asks.is_request {
            true => asks.caller.answer(payload, more, failed),
            // its messages may have several, and the leader counts them
            false => asks.caller.pass_on(Told::Answer { payload, more, failed }),
        }
    }

    /// Tells that there won't be an answer, or no other.
    pub(super) fn fail(&mut self, why: NoAnswer) {
        if let Some(asks) = self.asks() {
            asks.caller.fail(why);
        }
    }

    /// The leader has nothing more to tell.
    pub(super) fn end(mut self) {
        let is_over = self.asks().is_some_and(|asks| asks.is_request && asks.caller.is_over());
        match self.send.take() {
            // it wasn't sent, and its client has heard why
            Some(send) if is_over => send.ticket.drop_told(),
            Some(send) => send.ticket.settle(Fate::Unknown),
            None => self.fail(NoAnswer::Fate(Fate::Unknown)),
        }
    }

    /// The leader is lost.
    pub(super) fn lose(mut self) {
        self.settle(Fate::Unknown);
        self.fail(match self.is_answered {
            true => NoAnswer::Ended,
            false => NoAnswer::Fate(Fate::Unknown),
        });
    }
}
