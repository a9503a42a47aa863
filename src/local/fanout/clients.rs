//! All clients: those that get everything, and those that narrow, whom nothing is offered that they don't want; and
//! those apart who linger.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use super::{Member, crowd::Crowd};

/// Clients by their numbers.
pub(super) struct Clients {
    /// They are offered what is new at once.
    pub(super) prompt: Group,
    /// The others, by how long they linger.
    pub(super) lingering: Vec<Group>,
}

/// A crowd and who is in it.
pub(super) struct Group {
    pub(super) crowd: Rc<Crowd>,
    /// They get everything; each is visited with each offer.
    pub(super) all: BTreeMap<u64, Member>,
    /// They have a selection.
    pub(super) narrowed: BTreeMap<u64, Member>,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients { prompt: Group::of(Crowd::new(Duration::ZERO, 0)), lingering: Vec::new() }
    }
}

impl Clients {
    /// The crowd of those who linger for so long. `head` is the log's newest entry.
    pub(super) fn crowd(&mut self, linger: Duration, head: u64) -> Rc<Crowd> {
        let there = self.groups().find(|group| group.crowd.length() == linger);
        if let Some(there) = there {
            return Rc::clone(&there.crowd);
        }
        // reloads may bring any number of them
        self.lingering.retain(|group| !group.is_empty());
        let group = Group::of(Crowd::new(linger, head));
        let crowd = Rc::clone(&group.crowd);
        self.lingering.push(group);
        crowd
    }

    /// The group of those who linger for so long.
    pub(super) fn group(&mut self, linger: Duration) -> Option<&mut Group> {
        self.groups_mut().find(|group| group.crowd.length() == linger)
    }

    pub(super) fn len(&self) -> usize {
        self.groups().map(|group| group.all.len() + group.narrowed.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups().all(Group::is_empty)
    }

    /// Takes in a client, whose crowd is one of these.
    pub(super) fn insert(&mut self, id: u64, client: Member) {
        let crowd = Rc::clone(&client.crowd);
        let Some(group) = self.groups_mut().find(|group| Rc::ptr_eq(&group.crowd, &crowd)) else { return };
        let clients = if client.selection.is_some() { &mut group.narrowed } else { &mut group.all };
        clients.insert(id, client);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Member> {
        self.groups_mut().find_map(|group| group.all.remove(&id).or_else(|| group.narrowed.remove(&id)))
    }

    pub(super) fn get(&self, id: u64) -> Option<&Member> {
        self.groups().find_map(|group| group.all.get(&id).or_else(|| group.narrowed.get(&id)))
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Member> {
        self.groups_mut().find_map(|group| group.get_mut(id))
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.groups().flat_map(Group::iter)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Member> {
        self.iter().map(|(_, client)| client)
    }

    /// Runs `work` for all; those leave for which it returns false.
    pub(super) fn retain(&mut self, mut work: impl FnMut(&u64, &mut Member) -> bool) {
        for group in self.groups_mut() {
            group.all.retain(&mut work);
            group.narrowed.retain(&mut work);
        }
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        std::iter::once(&self.prompt).chain(&self.lingering)
    }

    fn groups_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        std::iter::once(&mut self.prompt).chain(&mut self.lingering)
    }
}

impl Group {
    fn of(crowd: Crowd) -> Group {
        Group { crowd: Rc::new(crowd), all: BTreeMap::new(), narrowed: BTreeMap::new() }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.narrowed.is_empty()
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Member> {
        self.all.get_mut(&id).or_else(|| self.narrowed.get_mut(&id))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.all.iter().chain(&self.narrowed).map(|(id, client)| (*id, client))
    }
}
