//! What the server asks, and that it is answered once. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    rules::RequestRules,
    splice::{Key, key_of},
};
use crate::upstream::session::matcher::Look;

/// So many requests of the server's are open at most; then the one that would be forgotten first is.
const MAX_OPEN: usize = 10_000;

/// The server's requests that nobody has answered.
#[derive(Debug, Default)]
pub(in crate::upstream::session) struct Serving {
    open: BTreeMap<Key, Instant>,
    ends: BTreeSet<(Instant, Key)>,
}

impl Serving {
    /// Looks whether a message is a request. Returns how many had to be forgotten for it.
    pub(in crate::upstream::session) fn hear(
        &mut self,
        now: Instant,
        rules: &RequestRules,
        look: &Look<'_>,
    ) -> usize {
        let Some(server) = rules.server.as_ref().filter(|server| server.when.matches(look)) else { return 0 };
        let Some(key) = look.get(server.id).and_then(key_of) else { return 0 };
        let until = now + server.timeout;
        if let Some(before) = self.open.insert(key.clone(), until) {
            self.ends.remove(&(before, key.clone()));
        }
        self.ends.insert((until, key));
        let is_full = self.open.len() > MAX_OPEN;
        if is_full && let Some((_, oldest)) = self.ends.pop_first() {
            self.open.remove(&oldest);
        }
        usize::from(is_full)
    }

    /// Somebody answers. False where no request of this id is open: it was answered already.
    pub(in crate::upstream::session) fn answer(&mut self, key: &Key) -> bool {
        let Some(until) = self.open.remove(key) else { return false };
        self.ends.remove(&(until, key.clone()));
        true
    }

    /// When [`Serving::expire`] has something to do.
    pub(in crate::upstream::session) fn next_timeout(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Forgets those that nobody has answered in time, and says how many they were.
    pub(in crate::upstream::session) fn expire(&mut self, now: Instant) -> usize {
        let before = self.open.len();
        while let Some((at, key)) = self.ends.pop_first() {
            if at > now {
                self.ends.insert((at, key));
                break;
            }
            self.open.remove(&key);
        }
        before - self.open.len()
    }
}
