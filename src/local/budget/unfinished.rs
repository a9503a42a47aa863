//! What clients have begun to write and not ended, bounded over all of them. Pure.

use std::collections::BTreeMap;

/// The lines that clients have begun and not ended, by client.
#[derive(Debug)]
pub(in crate::local) struct Unfinished {
    most: usize,
    total: usize,
    lines: BTreeMap<u64, Begun>,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    uid: u32,
    bytes: usize,
}

impl Unfinished {
    /// None yet; at most so many bytes of them.
    pub(in crate::local) fn new(most: usize) -> Unfinished {
        Unfinished { most, total: 0, lines: BTreeMap::new() }
    }

    /// Applies another bound, from the next change on.
    pub(in crate::local) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Notes what a client's line takes now. Who must go to keep the bound: of the user whose lines take
    /// the most, the client whose line does, so that no user has less room than an equal share.
    #[must_use]
    pub(in crate::local) fn set(&mut self, client: u64, uid: u32, bytes: usize) -> Vec<u64> {
        self.remove(client);
        let mut refused = Vec::new();
        if bytes == 0 {
            return refused;
        }
        self.lines.insert(client, Begun { uid, bytes });
        self.total += bytes;
        while self.total > self.most
            && let Some(victim) = self.largest()
        {
            self.remove(victim);
            refused.push(victim);
        }
        refused
    }

    /// A client has no unfinished line any more.
    pub(in crate::local) fn remove(&mut self, client: u64) {
        if let Some(line) = self.lines.remove(&client) {
            self.total -= line.bytes;
        }
    }

    /// The largest line of the user with the most; of equal ones the one of who came last.
    fn largest(&self) -> Option<u64> {
        let mut users = BTreeMap::<u32, usize>::new();
        for line in self.lines.values() {
            *users.entry(line.uid).or_default() += line.bytes;
        }
        let (user, _) = users.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let of_user = self.lines.iter().filter(|(_, line)| line.uid == user);
        of_user.max_by_key(|(_, line)| line.bytes).map(|(client, _)| *client)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOBODY: [u64; 0] = [];

    #[test]
    fn what_fits_is_nobodys_loss() {
        let mut unfinished = Unfinished::new(100);
        for bytes in [10, 50, 100, 0, 100] {
            assert_eq!(unfinished.set(1, 0, bytes), NOBODY);
        }
        unfinished.remove(1);
        assert_eq!(unfinished.set(2, 0, 100), NOBODY);
    }

    #[test]
    fn the_largest_of_the_user_with_the_most_goes() {
        let mut unfinished = Unfinished::new(100);
        assert_eq!(unfinished.set(1, 1000, 40), NOBODY);
        for (client, bytes) in [(2, 10), (3, 20), (4, 20)] {
            assert_eq!(unfinished.set(client, 1001, bytes), NOBODY);
        }
        // one user's many small ones weigh more than another's large one
        assert_eq!(unfinished.set(5, 1001, 11), [4]);
        assert_eq!(unfinished.set(1, 1000, 60), [1], "now it has the most itself");
    }

    #[test]
    fn a_smaller_bound_holds_from_the_next_change_on() {
        let mut unfinished = Unfinished::new(100);
        assert_eq!(unfinished.set(1, 0, 60), NOBODY);
        assert_eq!(unfinished.set(2, 0, 30), NOBODY);
        unfinished.set_most(50);
        assert_eq!(unfinished.set(3, 0, 5), [1]);
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_who_has_a_share_at_most_stays(
            changes in proptest::collection::vec((0_u64..20, 0_usize..60), 1..100),
        ) {
            let mut unfinished = Unfinished::new(200);
            let mut model = BTreeMap::new();
            for (client, bytes) in changes {
                let uid = (client % 4) as u32;
                model.insert(client, bytes);
                for victim in unfinished.set(client, uid, bytes) {
                    let of_user: usize =
                        model.iter().filter(|(other, _)| *other % 4 == victim % 4).map(|(_, bytes)| bytes).sum();
                    prop_assert!(of_user > 200 / 4, "a user with {} bytes loses one", of_user);
                    model.remove(&victim);
                }
                prop_assert_eq!(unfinished.total, model.values().sum::<usize>());
                prop_assert!(unfinished.total <= 200);
            }
        }
    }
}
