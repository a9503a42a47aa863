//! Clients' requests on their way: to the connection that they go to, and to their end.

use std::time::Instant;

use super::{Channel, Machine, Slot, State, find};
use crate::{
    hub::{Fate, MayAnswer, NoAnswer, Send},
    upstream::session::requests::Kind,
};

impl Machine {
    /// Takes a client's send, and says what it is; none where it is told that it won't go out.
    pub(in crate::upstream) fn take(&mut self, now: Instant, send: Send) -> Option<(Send, Kind)> {
        let is_request = send.asks.as_ref().is_some_and(|asks| asks.is_request);
        let timeout = self.settings.terms.requests.as_ref().map(|requests| requests.timeout);
        let Some(channel) = self.sending() else {
            // what answers is for the connection that asked, and a request isn't for later
            if is_request {
                let fate = match timeout {
                    Some(_) => Fate::LinkDown(self.state_for_sends()),
                    None => return refuse(send, NoAnswer::Unsupported),
                };
                send.ticket.settle(fate);
                return None;
            }
            return Some((send, Kind::Plain));
        };
        let mut send = send;
        let kind = match channel.session.kind(&send) {
            Err(why) => return refuse(send, why),
            Ok(Kind::Answer(_)) if send.may_answer != MayAnswer::Yes => {
                let fate = Fate::NotAnswerer(send.may_answer);
                send.ticket.settle(fate);
                return None;
            }
            Ok(Kind::Answer(key)) if !channel.session.answer(&key) => {
                send.ticket.settle(Fate::Answered);
                return None;
            }
            Ok(kind) => kind,
        };
        match (&kind, &mut send.asks) {
            (Kind::Request, Some(asks)) if asks.quota.is_none() => {
                send.ticket.settle(Fate::RateLimited);
                return None;
            }
            (Kind::Request, Some(asks)) => asks.until = asks.timeout.or(timeout).map(|timeout| now + timeout),
            (_, asks) => *asks = None,
        }
        Some((send, kind))
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

/// Tells that a request isn't sent at all.
fn refuse(send: Send, why: NoAnswer) -> Option<(Send, Kind)> {
    if let Some(asks) = &send.asks {
        asks.caller.fail(why);
    }
    send.ticket.drop_told();
    None
}
