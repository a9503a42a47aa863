//! How many clients a listener has, and whose they are. Pure.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// The clients of one listener, by user.
#[derive(Debug, Clone, Default)]
pub(in crate::local) struct Headcount(Rc<RefCell<BTreeMap<u32, usize>>>);

/// A client that is counted, until this is dropped.
#[derive(Debug)]
pub(in crate::local) struct Counted {
    uid: u32,
    headcount: Headcount,
}

/// Why a client isn't let in.
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

impl Headcount {
    /// So many more than there may be are kept for the daemon's own user, and twice as many for root: who has
    /// to look after the daemon is never kept out by others.
    pub(in crate::local) const KEPT: usize = 8;

    /// Counts a client of `uid` in. What a user may have at most is no bound for root and for the
    /// daemon's own user.
    pub(in crate::local) fn admit(&self, uid: u32, own_uid: u32, most: Most) -> Result<Counted, Full> {
        let mut users = self.0.borrow_mut();
        let all: usize = users.values().sum();
        let own = users.get(&uid).copied().unwrap_or_default();
        let kept = match uid {
            0 => 2 * Headcount::KEPT,
            uid if uid == own_uid => Headcount::KEPT,
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
        Ok(Counted { uid, headcount: self.clone() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut users = self.headcount.0.borrow_mut();
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

    fn fill(headcount: &Headcount, uid: u32) -> (Vec<Counted>, Full) {
        let mut held = Vec::new();
        loop {
            match headcount.admit(uid, OWN, MOST) {
                Ok(counted) => held.push(counted),
                Err(full) => return (held, full),
            }
        }
    }

    #[test]
    fn one_user_leaves_room_for_others_and_all_leave_some_for_root() {
        let headcount = Headcount::default();
        let (one, why) = fill(&headcount, 1000);
        assert_eq!((one.len(), why), (9, Full::User));
        let (other, why) = fill(&headcount, 1001);
        assert_eq!((other.len(), why), (3, Full::Listener));
        let (own, why) = fill(&headcount, OWN);
        assert_eq!((own.len(), why), (Headcount::KEPT, Full::Listener));
        let (root, why) = fill(&headcount, 0);
        assert_eq!((root.len(), why), (Headcount::KEPT, Full::Listener));
        drop(one);
        let (one, _) = fill(&headcount, 1000);
        assert!(one.is_empty(), "what is kept for root is no place for others");
        drop((own, root));
        assert_eq!(fill(&headcount, 1000).0.len(), 9);
        drop(other);
        assert!(headcount.0.borrow().is_empty());
    }

    #[test]
    fn the_daemons_own_user_may_have_all_and_root_still_comes_in() {
        let headcount = Headcount::default();
        let (own, _) = fill(&headcount, OWN);
        assert_eq!(own.len(), MOST.clients + Headcount::KEPT);
        assert_eq!(fill(&headcount, 0).0.len(), Headcount::KEPT);
    }
}
