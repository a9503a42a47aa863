//! How many clients a listener has, and whose they are. Pure.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// The clients of one listener, by user.
#[derive(Debug, Clone, Default)]
pub(in crate::local) struct Places(Rc<RefCell<BTreeMap<u32, usize>>>);

/// A client's place, given back when dropped.
#[derive(Debug)]
pub(in crate::local) struct Place {
    uid: u32,
    places: Places,
}

/// Why a client gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::local) enum Full {
    /// The listener has as many clients as it takes.
    Listener,
    /// Its user has as many as one user may have.
    User,
}

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(in crate::local) struct Most {
    pub(in crate::local) clients: usize,
    pub(in crate::local) of_a_user: usize,
}

impl Places {
    /// So many more than there may be are kept for the daemon's own user, and twice as many for root: who has
    /// to look after the daemon is never kept out by others.
    pub(in crate::local) const KEPT: usize = 8;

    /// Takes a place for a client of `uid`. What a user may have at most is no bound for root and for the
    /// daemon's own user.
    pub(in crate::local) fn take(&self, uid: u32, own_uid: u32, most: Most) -> Result<Place, Full> {
        let mut users = self.0.borrow_mut();
        let all: usize = users.values().sum();
        let own = users.get(&uid).copied().unwrap_or_default();
        let kept = match uid {
            0 => 2 * Places::KEPT,
            uid if uid == own_uid => Places::KEPT,
            _ => 0,
        };
        if all >= most.clients + kept {
            return Err(Full::Listener);
        }
        if kept == 0 && own >= most.of_a_user {
            return Err(Full::User);
        }
        *users.entry(uid).or_default() += 1;
        drop(users);
        Ok(Place { uid, places: self.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut users = self.places.0.borrow_mut();
        if let Some(count) = users.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Most = Most { clients: 12, of_a_user: 9 };
    const OWN: u32 = 900;

    fn fill(places: &Places, uid: u32) -> (Vec<Place>, Full) {
        let mut held = Vec::new();
        loop {
            match places.take(uid, OWN, MOST) {
                Ok(place) => held.push(place),
                Err(full) => return (held, full),
            }
        }
    }

    #[test]
    fn one_user_leaves_places_for_others_and_all_leave_some_for_root() {
        let places = Places::default();
        let (one, why) = fill(&places, 1000);
        assert_eq!((one.len(), why), (9, Full::User));
        let (other, why) = fill(&places, 1001);
        assert_eq!((other.len(), why), (3, Full::Listener));
        let (own, why) = fill(&places, OWN);
        assert_eq!((own.len(), why), (Places::KEPT, Full::Listener));
        let (root, why) = fill(&places, 0);
        assert_eq!((root.len(), why), (Places::KEPT, Full::Listener));
        drop(one);
        let (one, _) = fill(&places, 1000);
        assert!(one.is_empty(), "what is kept for root is no place for others");
        drop((own, root));
        assert_eq!(fill(&places, 1000).0.len(), 9);
        drop(other);
        assert!(places.0.borrow().is_empty());
    }

    #[test]
    fn the_daemons_own_user_may_have_all_and_root_still_comes_in() {
        let places = Places::default();
        let (own, _) = fill(&places, OWN);
        assert_eq!(own.len(), MOST.clients + Places::KEPT);
        assert_eq!(fill(&places, 0).0.len(), Places::KEPT);
    }
}
