//! What becomes of clients' sends: where they go, and what the server's limits let out of them. Pure.

use std::time::Instant;

use super::{
    Machine,
    events::Slot,
    pacing::{Leeway, Sender},
    state::{State, Then},
};
use crate::{config::Excess, hub::LinkState};

impl Machine {
    /// The connection that clients' sends go to now.
    pub(in crate::upstream) fn sender(&self) -> Option<Slot> {
        match &self.state {
            State::Up { channel, .. } => Some(channel.slot),
            _ => None,
        }
    }

    /// The connection that is to be closed once the sends from before are out.
    pub(in crate::upstream) fn drained(&self) -> Option<Slot> {
        match &self.state {
            State::Closing { channel, drains: true, .. } => Some(channel.slot),
            _ => None,
        }
    }

    /// The largest message that the server takes.
    pub(in crate::upstream) fn max_message(&self) -> Option<usize> {
        self.settings.terms.limits.max_message
    }

    /// What the limits let out of clients' messages now.
    pub(in crate::upstream) fn leeway(&self, now: Instant) -> Leeway {
        let pacing = &self.world.pacing;
        Leeway { free: pacing.free(now, Sender::Client), most: pacing.most(Sender::Client) }
    }

    /// Whether a client's send of so many messages is too many, with so many before it.
    pub(in crate::upstream) fn refuses(&self, now: Instant, before: usize, messages: usize) -> bool {
        self.settings.terms.limits.excess == Excess::Refuse
            && self.sender().is_some()
            && before.saturating_add(messages) > self.world.pacing.free(now, Sender::Client)
    }

    /// When the limits let something out that waits for it; of clients' sends, when they let out so many messages.
    pub(in crate::upstream) fn next_let_out(&self, now: Instant, clients: Option<usize>) -> Option<Instant> {
        let own = Slot::ALL.iter().find_map(|slot| self.channel(*slot)?.let_out(now, &self.world));
        let clients = clients
            .filter(|_| self.sender().is_some())
            .map(|messages| self.world.pacing.messages_at(now, messages, Sender::Client));
        [own, clients].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// So many messages of a client's send go out, or an answer to the server's ping, which no limit holds back.
    pub(in crate::upstream) fn sent(&mut self, now: Instant, messages: usize) {
        (0..messages).for_each(|_| self.world.pacing.sent(now));
    }

    /// The state that a send which doesn't go out is told. While the connection closes, that is
    /// the one to come.
    pub(in crate::upstream) fn state_for_sends(&self) -> LinkState {
        match &self.state {
            State::Dialling(_) | State::Opening { .. } => LinkState::Connecting,
            State::Up { .. } => LinkState::Up,
            State::Waiting { .. } => LinkState::Waiting,
            State::Failed => LinkState::Failed,
            State::Closed | State::Finished => LinkState::Closed,
            State::Closing { then, .. } => match then {
                Then::Fail(_) => LinkState::Waiting,
                Then::Reconnect(_) => LinkState::Connecting,
                Then::Closed(_) | Then::Stop(_) => LinkState::Closed,
            },
        }
    }
}
