//! How far the server has counted in what clients don't get: what a leader is still to say of it.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
    rc::Rc,
};

/// A message carries so many bytes of it, at most; with all other headers that is well below what the stream takes.
pub(super) const MAX_COUNTED: usize = 4 << 10;
/// So many counts are kept.
const MAX_COUNTS: usize = 1024;

/// What a leader has not said yet.
#[derive(Debug, Default)]
pub(super) struct Uncarried {
    /// By what is counted: the oldest that is to be said, so that its time comes however far entries are behind, and the
    /// newest.
    counts: BTreeMap<String, (Count, Option<Count>)>,
    /// What was said last, so that all come in turn.
    last: String,
    /// There was too much.
    is_lossy: bool,
    has_said: bool,
}

/// How far a count had come before an entry.
#[derive(Debug)]
struct Count {
    seq: u64,
    text: String,
}

impl Uncarried {
    /// A count has come so far, by its `text` in JSON, before the entry `seq`.
    pub(super) fn push(&mut self, seq: u64, per: String, text: String) {
        let (count, has_room) = (Count { seq, text }, self.counts.len() < MAX_COUNTS);
        match self.counts.get_mut(&per) {
            Some((oldest, None)) if oldest.seq == seq => *oldest = count,
            Some((_, newest)) => *newest = Some(count),
            None if has_room => drop(self.counts.insert(per, (count, None))),
            None => self.is_lossy = true,
        }
    }

    /// The list for a message behind which the entry `end` comes. None where it would seem to be all, and isn't.
    pub(super) fn take(&mut self, end: u64) -> Option<Rc<str>> {
        if self.is_lossy {
            return None;
        }
        let mut list = String::from("[");
        let behind = self.counts.range::<str, _>((Excluded(&*self.last), Unbounded));
        let due: Vec<String> = behind
            .chain(self.counts.range::<str, _>((Unbounded, Included(&*self.last))))
            .filter(|(_, (oldest, _))| oldest.seq <= end)
            .map(|(per, _)| per.clone())
            .collect();
        for per in due {
            let Some((oldest, newest)) = self.counts.get(&per) else { continue };
            let count = newest.as_ref().filter(|newest| newest.seq <= end).unwrap_or(oldest);
            if list.len() + count.text.len() + 2 > MAX_COUNTED {
                break;
            }
            if list.len() > 1 {
                list.push(',');
            }
            list += &count.text;
            self.has_said = true;
            let rest =
                self.counts.remove(&per).and_then(|(_, newest)| newest).filter(|newest| newest.seq > end);
            rest.into_iter().for_each(|newest| drop(self.counts.insert(per.clone(), (newest, None))));
            self.last = per;
        }
        list.push(']');
        Some(list.into())
    }

    /// Whether one message has room for all.
    pub(super) fn fits(&self) -> bool {
        let length =
            |(oldest, newest): &(Count, Option<Count>)| newest.as_ref().unwrap_or(oldest).text.len() + 1;
        self.is_lossy || self.counts.values().map(length).sum::<usize>() < MAX_COUNTED
    }

    /// Whether there is something to say at once: the first of a term's, by which others know that there is such.
    pub(super) fn is_urgent(&self, end: u64) -> bool {
        !self.has_said && !self.is_lossy && self.counts.values().any(|(oldest, _)| oldest.seq <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_entries_lie_before_is_said_with_them_the_newest_of_each_count() {
        let mut uncarried = Uncarried::default();
        assert_eq!(uncarried.take(9).as_deref(), Some("[]"));
        for (seq, per, text) in [(5, "a", "1"), (5, "a", "2"), (6, "b", "3"), (7, "a", "4"), (9, "a", "5")] {
            uncarried.push(seq, per.to_owned(), text.to_owned());
        }
        assert!(!uncarried.is_urgent(4) && uncarried.is_urgent(5));
        assert_eq!(uncarried.take(4).as_deref(), Some("[]"));
        assert_eq!(uncarried.take(6).as_deref(), Some("[2,3]"));
        assert!(!uncarried.is_urgent(9), "others know");
        assert_eq!(uncarried.take(8).as_deref(), Some("[]"), "what entries lie behind is in doubt with them");
        assert_eq!(uncarried.take(9).as_deref(), Some("[5]"));
        assert_eq!(uncarried.take(u64::MAX).as_deref(), Some("[]"));
    }

    #[test]
    fn a_message_carries_so_much_and_all_come_in_turn() {
        let mut uncarried = Uncarried::default();
        let push = |uncarried: &mut Uncarried| {
            for per in 0..30 {
                uncarried.push(1, format!("{per:02}"), format!("\"{per:02}{}\"", "x".repeat(200)));
            }
        };
        push(&mut uncarried);
        assert!(!uncarried.fits());
        let first = uncarried.take(1).unwrap();
        assert!(first.len() <= MAX_COUNTED && first.contains("\"18x") && uncarried.fits());
        push(&mut uncarried); // those that were said come again, behind the others
        let second = uncarried.take(1).unwrap();
        assert!(second.starts_with("[\"19x"), "{second:.9}");
        assert!(serde_json::from_str::<Vec<String>>(&second).is_ok());
    }

    #[test]
    fn of_too_many_counts_nothing_is_said_any_more() {
        let mut uncarried = Uncarried::default();
        (0..=MAX_COUNTS).for_each(|per| uncarried.push(1, per.to_string(), "1".to_owned()));
        assert_eq!((uncarried.take(1), uncarried.fits(), uncarried.is_urgent(1)), (None, true, false));
    }
}
