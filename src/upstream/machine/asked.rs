//! Clients' requests on their way: to the connection that they go to, and to their end.

use std::{collections::BTreeSet, time::Instant};

use super::{Channel, Machine, Slot, State, find};
use crate::{
    hub::{Fate, MayAnswer, NoAnswer, Send},
    upstream::session::requests::{Key, Kinds, Room},
};

impl Machine {
    /// Takes a client's send, and says what it has in it; none where it is told that it won't go out. Of answers to the
    /// server's requests no other is taken from now on.
    pub(in crate::upstream) fn take(&mut self, now: Instant, send: Send) -> Option<(Send, Kinds)> {
        let mut send = send;
        match self.look_at(now, &mut send) {
            Ok(kinds) => Some((send, kinds)),
            Err(why) => {
                send.refuse(why);
                None
            }
        }
    }

    fn look_at(&mut self, now: Instant, send: &mut Send) -> Result<Kinds, NoAnswer> {
        let is_request = send.asks.as_ref().is_some_and(|asks| asks.is_request);
        let requests = self.settings.terms.requests.as_ref();
        let timeout = requests.map(|requests| requests.timeout);
        let state = self.state_for_sends();
        let kinds = match self.sending() {
            Some(channel) => channel.session.kinds(send)?,
            None => self.rules.kinds(send)?,
        };
        let (most, is_up) = match self.sending() {
            Some(channel) => (channel.session.room().most, true),
            None => (usize::MAX, false),
        };
        if !is_up && (is_request || !kinds.answers.is_empty()) {
            // what answers is for the connection that asked, and a request isn't for later
            return Err(NoAnswer::Fate(Fate::LinkDown(state)));
        }
        if kinds.requests > most {
            return Err(NoAnswer::Fate(Fate::TooManyRequests(most)));
        }
        if !kinds.answers.is_empty() && send.may_answer != MayAnswer::Yes {
            return Err(NoAnswer::Fate(Fate::NotAnswerer(send.may_answer)));
        }
        match &mut send.asks {
            Some(asks) if kinds.requests > 0 => {
                if !asks.quota.as_mut().is_some_and(|quota| quota.grow(kinds.requests - 1)) {
                    return Err(NoAnswer::Fate(Fate::TooManyWait));
                }
                if is_request {
                    asks.until = asks.timeout.or(timeout).map(|timeout| now + timeout);
                }
            }
            asks => *asks = None,
        }
        if let Some(channel) = self.sending().filter(|_| !kinds.answers.is_empty()) {
            let distinct: BTreeSet<_> = kinds.answers.iter().collect();
            let are_open = distinct.len() == kinds.answers.len()
                && kinds.answers.iter().all(|key| channel.session.is_open(key));
            if !are_open {
                return Err(NoAnswer::Fate(Fate::Answered));
            }
            for key in &kinds.answers {
                channel.session.take_answer(key);
            }
        }
        Ok(kinds)
    }

    /// The ids of the server's requests that a send answers on a connection.
    pub(in crate::upstream) fn answered_by(&self, slot: Slot, send: &Send) -> Vec<Key> {
        let kinds = self.channel(slot).and_then(|channel| channel.session.kinds(send).ok());
        kinds.map(|kinds| kinds.answers).unwrap_or_default()
    }

    /// What was [taken](Machine::take) for answers to the server's requests of these ids doesn't go out: they are open
    /// again.
    pub(in crate::upstream) fn reopen(&mut self, now: Instant, slot: Slot, answers: &[Key]) {
        if let Some(channel) = self.channel_mut(slot) {
            channel.session.reopen(now, answers);
        }
    }

    /// How many requests may go out on a connection.
    pub(in crate::upstream) fn room(&self, slot: Slot) -> Room {
        self.channel(slot).map_or(Room::ALL, |channel| channel.session.room())
    }

    /// Whether one more request may go out on a connection.
    pub(in crate::upstream) fn has_room(&self, slot: Slot) -> bool {
        self.channel(slot).is_none_or(|channel| channel.session.has_room())
    }

    /// A client's send goes out on a connection: its requests get their ids. None where it is told that it doesn't.
    pub(in crate::upstream) fn write(&mut self, now: Instant, slot: Slot, send: Send) -> Option<Send> {
        match self.channel_mut(slot) {
            Some(channel) => channel.session.write(now, send),
            None => Some(send),
        }
    }

    /// A client cancels the request that it names so. False where none of it waits on any connection.
    pub(in crate::upstream) fn cancel(&mut self, now: Instant, client: u64, name: &str) -> bool {
        let mut is_there = false;
        for slot in Slot::ALL {
            let Machine { state, rotation, world, .. } = self;
            if let Some(channel) = find(state, rotation, slot) {
                is_there |= channel.cancel(now, world, client, name);
            }
            self.settle(now, slot);
        }
        is_there
    }

    /// A client has left: nobody takes its answers any more.
    pub(in crate::upstream) fn part(&mut self, now: Instant, client: u64) {
        for slot in Slot::ALL {
            let Machine { state, rotation, world, .. } = self;
            if let Some(channel) = find(state, rotation, slot) {
                channel.leave(now, world, client);
            }
            self.settle(now, slot);
        }
    }

    /// The connection that clients' sends go to, or still go to.
    fn sending(&mut self) -> Option<&mut Channel> {
        match &mut self.state {
            State::Up { channel, .. } | State::Closing { channel, drains: true, .. } => Some(channel),
            _ => None,
        }
    }
}
