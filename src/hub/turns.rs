//! What waits for its turn: users take turns, and of each user its clients do. What one client waits with keeps
//! its order.

use std::collections::{BTreeMap, VecDeque};

use super::Origin;

/// So many users, and clients of each, are looked at for one whose turn it can be.
const LOOKS: usize = 64;

/// Things that wait, by the client they came from.
#[derive(Debug)]
pub struct Turns<T> {
    /// The users with something that waits, whose turn is next first.
    users: VecDeque<u32>,
    /// Their clients, likewise.
    clients: BTreeMap<u32, VecDeque<u64>>,
    queues: BTreeMap<u64, VecDeque<T>>,
    len: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Turns<T> {
        Turns { users: VecDeque::new(), clients: BTreeMap::new(), queues: BTreeMap::new(), len: 0 }
    }
}

impl<T> Turns<T> {
    /// How many things wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a thing behind what its client waits with already.
    pub fn push(&mut self, from: &Origin, thing: T) {
        self.len += 1;
        let queue = self.queues.entry(from.client).or_default();
        queue.push_back(thing);
        if queue.len() > 1 {
            return;
        }
        let clients = self.clients.entry(from.uid).or_default();
        clients.push_back(from.client);
        if clients.len() == 1 {
            self.users.push_back(from.uid);
        }
    }

    /// Takes what comes next of those things for which `may` holds. Who has had its turn is last again.
    pub fn pop(&mut self, may: impl Fn(&T) -> bool) -> Option<T> {
        let (user, client) = self.find(may)?;
        let uid = self.users.remove(user)?;
        let clients = self.clients.get_mut(&uid)?;
        let id = clients.remove(client)?;
        let queue = self.queues.get_mut(&id)?;
        let thing = queue.pop_front()?;
        self.len -= 1;
        if queue.is_empty() {
            self.queues.remove(&id);
        } else {
            clients.push_back(id);
        }
        if clients.is_empty() {
            self.clients.remove(&uid);
        } else {
            self.users.push_back(uid);
        }
        Some(thing)
    }

    /// Puts back what was just taken, before what else its client waits with. The turn is used up all the same.
    pub fn put_back(&mut self, from: &Origin, thing: T) {
        self.push(from, thing);
        if let Some(queue) = self.queues.get_mut(&from.client) {
            queue.rotate_right(1);
        }
    }

    /// Adds a thing before the first of its client's for which `later` holds.
    pub fn insert(&mut self, from: &Origin, thing: T, later: impl Fn(&T) -> bool) {
        self.push(from, thing);
        if let Some(queue) = self.queues.get_mut(&from.client) {
            let last = queue.len() - 1;
            let at = queue.iter().take(last).position(later);
            if let Some(at) = at
                && let Some(thing) = queue.pop_back()
            {
                queue.insert(at, thing);
            }
        }
    }

    /// What would be taken next if all of it may.
    pub fn peek(&self) -> Option<&T> {
        let client = self.clients.get(self.users.front()?)?.front()?;
        self.queues.get(client)?.front()
    }

    /// What is next of each client.
    pub fn fronts(&self) -> impl Iterator<Item = &T> {
        self.queues.values().filter_map(VecDeque::front)
    }

    /// Takes out what is next of each client, again and again, for as long as `which` holds.
    pub fn take_fronts(&mut self, which: impl Fn(&T) -> bool) -> Vec<T> {
        self.take(|queue, taken| {
            while queue.front().is_some_and(&which) {
                taken.extend(queue.pop_front());
            }
        })
    }

    /// Takes out everything for which `which` holds, in the order of each client.
    pub fn take_all(&mut self, which: impl Fn(&T) -> bool) -> Vec<T> {
        self.take(|queue, taken| {
            for thing in std::mem::take(queue) {
                if which(&thing) {
                    taken.push(thing);
                } else {
                    queue.push_back(thing);
                }
            }
        })
    }

    /// Takes out things for which `which` holds, in the order of each client, `most` at most. No more than `looks` of each
    /// are looked at.
    pub fn take_some(&mut self, most: usize, looks: usize, which: impl Fn(&T) -> bool) -> Vec<T> {
        self.take(|queue, taken| {
            let mut passed = Vec::new();
            for _ in 0..looks.min(queue.len()) {
                if taken.len() == most {
                    break;
                }
                match queue.pop_front() {
                    Some(thing) if which(&thing) => taken.push(thing),
                    thing => passed.extend(thing),
                }
            }
            passed.into_iter().rev().for_each(|thing| queue.push_front(thing));
        })
    }

    /// Takes out the newest thing of a client.
    pub fn take_newest(&mut self, client: u64) -> Option<T> {
        let queue = self.queues.get_mut(&client)?;
        let thing = queue.pop_back()?;
        self.len -= 1;
        if queue.is_empty() {
            self.tidy();
        }
        Some(thing)
    }

    fn find(&self, may: impl Fn(&T) -> bool) -> Option<(usize, usize)> {
        self.users.iter().take(LOOKS).enumerate().find_map(|(user, uid)| {
            let clients = self.clients.get(uid)?.iter().take(LOOKS);
            let may = |client: &u64| self.queues.get(client).and_then(VecDeque::front).is_some_and(&may);
            clients.enumerate().find(|(_, client)| may(client)).map(|(client, _)| (user, client))
        })
    }

    fn take(&mut self, mut from: impl FnMut(&mut VecDeque<T>, &mut Vec<T>)) -> Vec<T> {
        let mut taken = Vec::new();
        self.queues.values_mut().for_each(|queue| from(queue, &mut taken));
        if !taken.is_empty() {
            self.len -= taken.len();
            self.tidy();
        }
        taken
    }

    /// Forgets clients and users that wait with nothing any more.
    fn tidy(&mut self) {
        self.queues.retain(|_, queue| !queue.is_empty());
        self.clients.retain(|_, clients| {
            clients.retain(|client| self.queues.contains_key(client));
            !clients.is_empty()
        });
        self.users.retain(|user| self.clients.contains_key(user));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(turns: &mut Turns<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| turns.pop(|_| true)).collect()
    }

    #[test]
    fn users_take_turns_and_of_each_its_clients() {
        let mut turns = Turns::default();
        for (uid, client, things) in
            [(1, 1, &["a1", "a2", "a3", "a4"][..]), (1, 2, &["b1", "b2"]), (2, 3, &["c1", "c2", "c3"])]
        {
            things.iter().for_each(|thing| turns.push(&Origin::new(uid, client), *thing));
        }
        assert_eq!(turns.peek(), Some(&"a1"));
        assert_eq!(all(&mut turns), ["a1", "c1", "b1", "c2", "a2", "c3", "b2", "a3", "a4"]);
        assert!(turns.is_empty());
    }

    #[test]
    fn who_may_not_go_is_passed_over_and_keeps_its_place() {
        let mut turns = Turns::default();
        for (client, thing) in [(1, "large"), (2, "a"), (3, "b")] {
            turns.push(&Origin::new(1, client), thing);
        }
        assert_eq!(turns.pop(|thing| *thing != "large"), Some("a"));
        assert_eq!(turns.pop(|thing| *thing == "none"), None);
        assert_eq!(all(&mut turns), ["large", "b"]);
    }

    #[test]
    fn what_is_taken_out_leaves_no_trace() {
        let mut turns = Turns::default();
        for (uid, client, thing) in [(1, 1, "a"), (1, 1, "b"), (2, 2, "c"), (3, 3, "d")] {
            turns.push(&Origin::new(uid, client), thing);
        }
        assert_eq!(turns.take_some(0, 9, |_| true), [""; 0]);
        assert_eq!(turns.take_some(1, 9, |thing| *thing > "c"), ["d"]);
        assert_eq!(turns.take_some(9, 1, |thing| *thing == "b"), [""; 0], "it is the second");
        turns.push(&Origin::new(3, 3), "d");
        assert_eq!(turns.take_newest(1), Some("b"));
        assert_eq!(turns.take_newest(2), Some("c"));
        assert_eq!(turns.take_newest(2), None);
        assert_eq!(turns.take_fronts(|thing| *thing == "a"), ["a"]);
        assert_eq!(turns.take_all(|_| true), ["d"]);
        assert!(turns.is_empty() && turns.users.is_empty() && turns.clients.is_empty());
    }

    #[test]
    fn what_comes_late_has_its_place_before_what_is_later() {
        let (mut turns, from) = (Turns::default(), Origin::new(1, 1));
        for number in [5, 7, 3, 6, 4, 9] {
            turns.insert(&from, number, |other| *other > number);
        }
        assert_eq!(std::iter::from_fn(|| turns.pop(|_| true)).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 9]);
    }

    proptest! {
        #[test]
        fn each_client_s_order_holds_and_no_user_waits_for_two_of_another(
            pushes in proptest::collection::vec((0_u32..4, 0_u64..3), 1..200),
        ) {
            let mut turns = Turns::default();
            for (number, (uid, client)) in pushes.iter().enumerate() {
                turns.push(&Origin::new(*uid, u64::from(*uid) * 10 + client), (*uid, *client, number));
            }
            prop_assert_eq!(turns.len(), pushes.len());
            let out: Vec<_> = std::iter::from_fn(|| turns.pop(|_| true)).collect();
            prop_assert_eq!(out.len(), pushes.len());
            for (at, (uid, client, number)) in out.iter().enumerate() {
                let later = &out[at + 1..];
                prop_assert!(later.iter().all(|(u, c, n)| (u, c) != (uid, client) || n > number));
                // between two of one user each other one that waits has its turn
                if let Some(again) = later.iter().position(|(u, ..)| u == uid) {
                    for other in later[again..].iter().map(|(u, ..)| u).filter(|u| *u != uid) {
                        prop_assert!(later[..again].iter().any(|(u, ..)| u == other), "{:?}", out);
                    }
                }
            }
        }
    }
}
