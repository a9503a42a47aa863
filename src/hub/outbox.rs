//! What of an outbox is taken: in all, of each user, and of each client.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{Fate, Origin, Send};
use crate::config;

/// Counts what waits in an outbox, and says who makes room where there is none. Where the sends themselves are is
/// their [keeper's](Keeper) affair.
#[derive(Debug)]
pub struct Outbox {
    limits: config::Outbox,
    all: Stored,
    users: BTreeMap<u32, Stored>,
    clients: BTreeMap<(u32, u64), Stored>,
}

/// What somebody has in an outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    sends: usize,
    messages: usize,
    bytes: usize,
}

/// Who keeps the sends of an outbox.
pub trait Keeper {
    /// What of the outbox is taken.
    fn outbox(&self) -> &Outbox;

    /// Takes out a client's newest send, and notes that it is gone.
    fn take_newest(&mut self, client: u64) -> Option<Send>;

    /// Makes room for one more send, of `from`: where there is none, the newest of who has the most in the outbox goes,
    /// and hears that it is full, if that one has more than the send's own user, or client, would then have. False
    /// where there is no room all the same.
    fn make_room(&mut self, from: &Origin, share: Stored) -> bool {
        let can = self.outbox().can_hold(share);
        while can && !self.outbox().has_room(share) {
            let yields = self.outbox().who_yields(from, share);
            let Some(victim) = yields.and_then(|client| self.take_newest(client)) else { break };
            victim.ticket.settle(Fate::OutboxFull);
        }
        can && self.outbox().has_room(share)
    }
}

impl Outbox {
    /// An empty one.
    pub fn new(limits: config::Outbox) -> Outbox {
        Outbox { limits, all: Stored::default(), users: BTreeMap::new(), clients: BTreeMap::new() }
    }

    /// Its limits.
    pub fn limits(&self) -> &config::Outbox {
        &self.limits
    }

    /// Applies new limits. What is there already stays.
    pub fn set_limits(&mut self, limits: config::Outbox) {
        self.limits = limits;
    }

    /// Whether there is one at all.
    pub fn is_on(&self) -> bool {
        self.limits.max_messages > 0
    }

    /// How many sends it has.
    pub fn sends(&self) -> usize {
        self.all.sends
    }

    /// Whether so much fits into an empty one.
    fn can_hold(&self, share: Stored) -> bool {
        share.bytes <= self.limits.max_bytes && share.messages <= self.limits.max_messages
    }

    /// Whether there is room for so much more.
    fn has_room(&self, share: Stored) -> bool {
        let Stored { messages, bytes, .. } = self.all.plus(share);
        messages <= self.limits.max_messages && bytes <= self.limits.max_bytes
    }

    /// The client whose newest send makes room for one of `from`: of the user with the most in the outbox, the
    /// client with the most. `None` where that is no more than this send's own would be.
    fn who_yields(&self, from: &Origin, own: Stored) -> Option<u64> {
        let with_own = |share: Option<&Stored>| self.load(share.copied().unwrap_or_default().plus(own));
        let (user, most) = self.users.iter().max_by_key(|(_, share)| self.load(**share))?;
        let has_more = *user != from.uid && self.load(*most) > with_own(self.users.get(&from.uid));
        let user = if has_more { *user } else { from.uid };
        let of_user = self.clients.range((user, 0)..=(user, u64::MAX));
        let (client, most) = of_user.max_by_key(|(_, share)| self.load(**share))?;
        let has_more = has_more || self.load(*most) > with_own(self.clients.get(&(from.uid, from.client)));
        has_more.then_some(client.1)
    }

    /// How much of the outbox a share is, whichever limit it is nearer to.
    fn load(&self, share: Stored) -> u128 {
        let (messages, bytes) = (share.messages as u128, share.bytes as u128);
        (messages * self.limits.max_bytes as u128).max(bytes * self.limits.max_messages as u128)
    }

    /// Notes that so much is there.
    pub fn add(&mut self, from: &Origin, share: Stored) {
        self.all = self.all.plus(share);
        let user = self.users.entry(from.uid).or_default();
        *user = user.plus(share);
        let client = self.clients.entry((from.uid, from.client)).or_default();
        *client = client.plus(share);
    }

    /// Notes that it isn't any more.
    pub fn remove(&mut self, from: &Origin, share: Stored) {
        self.all = self.all.minus(share);
        if let Entry::Occupied(mut user) = self.users.entry(from.uid) {
            *user.get_mut() = user.get().minus(share);
            if *user.get() == Stored::default() {
                user.remove();
            }
        }
        if let Entry::Occupied(mut client) = self.clients.entry((from.uid, from.client)) {
            *client.get_mut() = client.get().minus(share);
            if *client.get() == Stored::default() {
                client.remove();
            }
        }
    }

    /// How many messages of a client it has.
    #[cfg(test)]
    pub(crate) fn messages_of(&self, from: &Origin) -> usize {
        self.clients.get(&(from.uid, from.client)).map_or(0, |share| share.messages)
    }

    /// Whether nothing is there, of anybody.
    pub fn is_empty(&self) -> bool {
        self.all == Stored::default() && self.users.is_empty() && self.clients.is_empty()
    }
}

impl Stored {
    /// What a send takes.
    pub fn of(send: &Send) -> Stored {
        Stored { sends: 1, messages: send.count(), bytes: send.cost() }
    }

    fn plus(self, other: Stored) -> Stored {
        let (sends, messages) = (self.sends + other.sends, self.messages + other.messages);
        Stored { sends, messages, bytes: self.bytes + other.bytes }
    }

    fn minus(self, other: Stored) -> Stored {
        let (sends, messages) = (self.sends - other.sends, self.messages - other.messages);
        Stored { sends, messages, bytes: self.bytes - other.bytes }
    }
}
