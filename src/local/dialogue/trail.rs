//! How far a client surely has come, as far as that can be known from what it was sent.

use std::collections::VecDeque;

/// What a client was sent lies in the kernel until it reads it, and is gone with a client that doesn't. The trail knows
/// which entries are so far back that they can't lie there any more.
#[derive(Debug)]
pub(super) struct Trail {
    /// So many bytes may lie there at most.
    unread: u64,
    /// Oldest first, never empty: one that is so far back that it is sure, or the beginning, and those after it.
    marks: VecDeque<Waypoint>,
}

/// When so many bytes were written, all entries up to `seq` were, and what was declared in their stead.
#[derive(Debug, Clone, Copy)]
struct Waypoint {
    total: u64,
    seq: u64,
}

/// So many marks fit into what may lie unread.
const MARKS: u64 = 32;

impl Trail {
    /// A trail that begins after entry `seq`, when so many bytes were written.
    pub(super) fn new(unread: u64, total: u64, seq: u64) -> Trail {
        Trail { unread, marks: [Waypoint { total, seq }].into() }
    }

    /// Begins anew.
    pub(super) fn begin(&mut self, total: u64, seq: u64) {
        *self = Trail::new(self.unread, total, seq);
    }

    /// Notes that all up to `seq` is among the first `total` bytes.
    pub(super) fn note(&mut self, total: u64, seq: u64) {
        let is_due = self.marks.back().is_none_or(|mark| total >= mark.total + (self.unread / MARKS).max(1));
        if is_due {
            self.marks.push_back(Waypoint { total, seq });
        }
        while self.marks.get(1).is_some_and(|mark| mark.total + self.unread <= total) {
            self.marks.pop_front();
        }
    }

    /// The last entry that can't lie unread, where so many bytes were written.
    pub(super) fn sure(&self, total: u64) -> u64 {
        let sure = self.marks.iter().take_while(|mark| mark.total + self.unread <= total).last();
        sure.or(self.marks.front()).map_or(0, |mark| mark.seq)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is written: what is sure was never within the last `unread` bytes, and no more is unsure than that
        /// and two steps between marks, beside the longest entry.
        #[test]
        fn what_is_sure_was_read_and_little_else_is_not(
            lengths in prop::collection::vec(1_u64..200, 1..300),
            unread in 1_u64..3000,
        ) {
            let mut trail = Trail::new(unread, 0, 0);
            let (mut total, mut ends) = (0, vec![0]);
            for length in lengths {
                total += length;
                ends.push(total);
                trail.note(total, ends.len() as u64 - 1);
                let sure = trail.sure(total);
                let end = ends[sure as usize];
                prop_assert!(sure == 0 || end + unread <= total);
                let slack = unread + 2 * (unread / MARKS).max(1) + 400;
                prop_assert!(total - end <= slack, "{} of {}", total - end, slack);
                prop_assert!(trail.marks.len() as u64 <= MARKS + 4, "{}", trail.marks.len());
            }
        }
    }
}
