//! What the patterns of topics take that clients ask for, with a share for each user. Pure.

use std::collections::BTreeMap;

/// So many bytes all of them take at most. Each new topic is held against all of them.
const MAX_BYTES: usize = 8 << 20;

/// What is taken.
#[derive(Debug, Default)]
pub(in crate::local) struct Patterns {
    all: usize,
    of_users: BTreeMap<u32, usize>,
}

impl Patterns {
    /// A client of user `uid` takes `new` bytes and no longer `old`. False, and nothing changes: there is no room, or
    /// the user would take more than all others leave free.
    pub(in crate::local) fn change(&mut self, uid: u32, old: usize, new: usize) -> bool {
        if !self.has_room(uid, old, new) {
            return false;
        }
        let own = self.own(uid) - old + new;
        self.all = self.all - old + new;
        match own {
            0 => drop(self.of_users.remove(&uid)),
            own => drop(self.of_users.insert(uid, own)),
        }
        true
    }

    /// Whether [`Patterns::change`] would do it.
    pub(in crate::local) fn has_room(&self, uid: u32, old: usize, new: usize) -> bool {
        let (own, all) = (self.own(uid) - old + new, self.all - old + new);
        new <= old || all <= MAX_BYTES && own <= MAX_BYTES - all
    }

    fn own(&self, uid: u32) -> usize {
        self.of_users.get(&uid).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_takes_no_more_than_is_left_free() {
        let mut patterns = Patterns::default();
        assert!(patterns.change(1, 0, MAX_BYTES / 2));
        assert!(!patterns.change(1, 0, 1), "what is free is the others'");
        assert!(patterns.change(2, 0, MAX_BYTES / 4));
        assert!(!patterns.change(2, 0, 1));
        assert!(patterns.change(1, MAX_BYTES / 2, 10) && patterns.change(2, 0, 1), "there is room again");
        assert!(patterns.change(1, 10, 0) && patterns.change(2, MAX_BYTES / 4 + 1, 0));
        assert!(patterns.all == 0 && patterns.of_users.is_empty());
    }
}
