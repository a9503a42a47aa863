//! All clients: those that get everything, and those that narrow, whom nothing is offered that they don't want.

use std::collections::BTreeMap;

use super::Member;

/// Clients by their numbers.
#[derive(Default)]
pub(super) struct Clients {
    /// They get everything; each is visited with each offer.
    pub(super) all: BTreeMap<u64, Member>,
    /// They have a selection.
    pub(super) narrowed: BTreeMap<u64, Member>,
}

impl Clients {
    pub(super) fn len(&self) -> usize {
        self.all.len() + self.narrowed.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.narrowed.is_empty()
    }

    pub(super) fn insert(&mut self, id: u64, client: Member) {
        let clients = if client.selection.is_some() { &mut self.narrowed } else { &mut self.all };
        clients.insert(id, client);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Member> {
        self.all.remove(&id).or_else(|| self.narrowed.remove(&id))
    }

    pub(super) fn get(&self, id: u64) -> Option<&Member> {
        self.all.get(&id).or_else(|| self.narrowed.get(&id))
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Member> {
        self.all.get_mut(&id).or_else(|| self.narrowed.get_mut(&id))
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.all.iter().chain(&self.narrowed).map(|(id, client)| (*id, client))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Member> {
        self.iter().map(|(_, client)| client)
    }
}
