//! The server's own numbers: which are missing. Pure.

use std::collections::{BTreeMap, VecDeque};

use crate::hub::Counted;

/// So many counts at most; what is counted for further values of `sequence.per` isn't looked at.
const MAX_COUNTS: usize = 1024;
/// The longest value that a count is for, in bytes of its JSON.
const MAX_KEY: usize = 256;
/// So many holes of a count are remembered, the newest ones.
const MAX_HOLES: usize = 8;

/// How far each count has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::upstream) struct Counts(BTreeMap<String, Count>);

/// The first and the last number that are missing.
pub(in crate::upstream) type Missing = (u64, u64);

/// The numbers that one message stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) struct Numbers {
    /// The first one, right behind those of the message before; beyond `last` where it stands for none.
    pub(in crate::upstream) first: u64,
    /// The last one, up to which the count has come with it.
    pub(in crate::upstream) last: u64,
}

impl From<u64> for Numbers {
    fn from(number: u64) -> Numbers {
        Numbers { first: number, last: number }
    }
}

/// How far one count has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Count {
    last: u64,
    /// Nothing is missing up to this, which isn't below `last`: a snapshot says so, or an older snapshot came. Until
    /// the next numbers show whether they go on behind this, or behind `last`, since the server has begun anew.
    covered: Option<u64>,
    /// What was missing may still come, late or since somebody has asked for it. The oldest first.
    holes: VecDeque<Missing>,
    /// Somebody else may have heard numbers behind this that aren't known here.
    is_unsure: bool,
}

impl Counts {
    /// Takes in the next numbers of a count, and says which are missing before them. `per` is what the count
    /// is for, as JSON, or nothing.
    ///
    /// What was missing and comes late is no hole, and changes nothing. Nor is any other number that isn't larger than
    /// the last a hole: the server repeats itself, or has begun anew, and the count goes on behind it.
    pub(in crate::upstream) fn next(&mut self, per: &str, numbers: impl Into<Numbers>) -> Option<Missing> {
        let numbers = numbers.into();
        match self.0.get_mut(per) {
            Some(count) => count.next(numbers),
            None => {
                self.begin(per, Count { last: numbers.last, ..Count::default() });
                None
            }
        }
    }

    /// Takes in the number of a snapshot, which stands for all up to it.
    pub(in crate::upstream) fn snapshot(&mut self, per: &str, number: u64) {
        match self.0.get_mut(per) {
            // it is still open where the count goes on, and what came last is the likelier place
            Some(count) if count.covered.is_some() && number < count.last => {}
            Some(count) => {
                count.covered = Some(count.reach().max(number));
                count.last = number;
            }
            None => self.begin(per, Count { last: number, covered: Some(number), ..Count::default() }),
        }
    }

    /// Up to where nothing more is to come of a count.
    pub(in crate::upstream) fn last(&self, per: &str) -> Option<u64> {
        self.0.get(per).map(Count::reach)
    }

    /// Whether there is a count for this.
    pub(in crate::upstream) fn has(&self, per: &str) -> bool {
        self.0.contains_key(per)
    }

    /// Whether somebody else may have heard of what is missing before the next numbers.
    pub(in crate::upstream) fn is_unsure(&self, per: &str) -> bool {
        self.0.get(per).is_some_and(|count| count.is_unsure)
    }

    /// How far a count has come, for somebody else.
    pub(in crate::upstream) fn told(&self, per: &str) -> Option<Counted> {
        let Count { last, covered, holes, .. } = self.0.get(per)?;
        let (last, covered, holes) = (*last, *covered, holes.iter().copied().collect());
        Some(Counted { per: per.to_owned(), last, covered, holes })
    }

    /// Somebody else has counted so far.
    pub(in crate::upstream) fn set(&mut self, told: &Counted) {
        let Counted { per, last, covered, holes } = told;
        let holes = holes[holes.len().saturating_sub(MAX_HOLES)..].iter().copied().collect();
        // late numbers don't show how far it had come
        let is_unsure = self.0.remove(per).is_some_and(|count| count.is_unsure && count.last == *last);
        self.begin(per, Count { last: *last, covered: *covered, holes, is_unsure });
    }

    /// Has all counts that there are be unsure, each until its next numbers.
    pub(in crate::upstream) fn doubt(&mut self) {
        self.0.values_mut().for_each(|count| count.is_unsure = true);
    }

    fn begin(&mut self, per: &str, count: Count) {
        if self.0.len() < MAX_COUNTS && per.len() <= MAX_KEY {
            self.0.insert(per.to_owned(), count);
        }
    }
}

impl Count {
    fn next(&mut self, Numbers { first, last }: Numbers) -> Option<Missing> {
        let is_missing = |(from, to): &Missing| (*from..=*to).contains(&last);
        if last <= self.reach() && self.holes.iter().any(is_missing) {
            return None;
        }
        let before = self.covered.filter(|covered| last > *covered).unwrap_or(self.last);
        if last < self.last {
            self.holes.clear();
        }
        if last > self.last {
            self.covered = None;
        }
        (self.last, self.is_unsure) = (last, false);
        let hole = (last > before && first > before + 1).then(|| (before + 1, first - 1))?;
        if self.holes.len() == MAX_HOLES {
            self.holes.pop_front();
        }
        self.holes.push_back(hole);
        Some(hole)
    }

    fn reach(&self) -> u64 {
        self.covered.unwrap_or(self.last)
    }
}

/// A number as a message has it: an integer from 0 on, or a text of one.
pub(in crate::upstream) fn number(json: &str) -> Option<u64> {
    let digits = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(json);
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hole_is_between_two_numbers() {
        let mut counts = Counts::default();
        for (number, missing) in [
            (5, None),
            (6, None),
            (9, Some((7, 8))),
            (9, None),
            (8, None),
            (9, None),
            (1, None),
            (2, None),
            (u64::MAX, Some((3, u64::MAX - 1))),
        ] {
            assert_eq!(counts.next("", number), missing, "{number}");
        }
        assert_eq!(counts.next("\"b\"", 7), None, "another count");
        assert_eq!(counts.next("\"b\"", 9), Some((8, 8)));
    }

    /// Numbers from a first one to a last one, or a snapshot's.
    enum Heard {
        Numbers(u64, u64),
        Snapshot(u64),
    }

    use Heard::{Numbers as N, Snapshot as S};

    fn holes(heard: &[Heard]) -> Vec<Missing> {
        let mut counts = Counts::default();
        let hear = |heard: &Heard| match heard {
            N(first, last) => counts.next("", Numbers { first: *first, last: *last }),
            S(number) => {
                counts.snapshot("", *number);
                None
            }
        };
        heard.iter().filter_map(hear).collect()
    }

    #[test]
    fn a_message_may_stand_for_several_numbers() {
        // Binance: U and u
        assert_eq!(holes(&[N(157, 160), N(161, 161), N(162, 170), N(175, 180)]), [(171, 174)]);
        assert_eq!(holes(&[N(157, 160), N(159, 165), N(166, 166)]), [], "an overlap");
        assert_eq!(holes(&[N(157, 160), N(150, 155), N(156, 160), N(161, 162)]), [], "a repetition");
        // OKX: none since, twice; then some were missed
        assert_eq!(holes(&[N(6, 10), N(11, 10), N(11, 10), N(11, 15), N(19, 18), N(19, 20)]), [(16, 18)]);
        assert_eq!(holes(&[N(0, u64::MAX), N(u64::MAX, u64::MAX)]), []);
    }

    #[test]
    fn a_snapshot_sets_the_count() {
        for (what, heard, missing) in [
            ("the first of all", vec![S(100), N(101, 103)], vec![]),
            ("what it leads into", vec![S(100), N(99, 103), N(104, 104)], vec![]),
            ("a hole right behind it", vec![S(100), N(102, 103)], vec![(101, 101)]),
            ("what was missing is in it", vec![N(1, 50), S(100), N(101, 101)], vec![]),
            (
                "what is older comes after it",
                vec![N(1, 50), S(100), N(51, 90), N(91, 101), N(102, 102)],
                vec![],
            ),
            ("the same, to its very number", vec![N(1, 50), S(100), N(51, 100), N(101, 101)], vec![]),
            ("a hole that it covers", vec![N(1, 50), S(100), N(51, 90), N(98, 104)], vec![]),
            ("it is older than what was seen", vec![N(1, 160), S(155), N(161, 161)], vec![]),
            ("the same, and a hole", vec![N(1, 160), S(155), N(163, 163)], vec![(161, 162)]),
            (
                "two of them, older and older",
                vec![N(1, 160), S(155), S(150), N(161, 161), N(162, 162)],
                vec![],
            ),
            ("what it doesn't have is said again", vec![N(1, 160), S(155), N(156, 158), N(159, 161)], vec![]),
            ("the count begins anew", vec![N(1, 1000), S(5), N(6, 6), N(8, 8)], vec![(7, 7)]),
            ("the same, with a hole at once", vec![N(1, 1000), S(5), N(8, 8), N(9, 9)], vec![(6, 7)]),
            ("at the end of all numbers", vec![S(u64::MAX), N(3, 4), N(5, 5)], vec![]),
        ] {
            assert_eq!(holes(&heard), missing, "{what}");
        }
    }

    #[test]
    fn what_was_missing_and_comes_late_is_no_new_beginning() {
        // asked for and said again, even twice, while others come
        let again = [N(1, 1), N(5, 5), N(2, 2), N(6, 6), N(3, 3), N(2, 2), N(4, 4), N(7, 7)];
        assert_eq!(holes(&again), [(2, 4)]);
        assert_eq!(holes(&[N(1, 1), N(5, 5), N(2, 4), N(6, 6)]), [(2, 4)]);
        // a second hole while the first is being filled
        assert_eq!(holes(&[N(1, 1), N(5, 5), N(9, 9), N(2, 2), N(6, 6), N(10, 10)]), [(2, 4), (6, 8)]);
        // once the count has begun anew, it was of another one
        assert_eq!(holes(&[N(1, 1), N(9, 9), N(1, 1), N(2, 2), N(4, 4)]), [(2, 8), (3, 3)]);
        // beneath a snapshot that is older than what was seen
        assert_eq!(holes(&[N(1, 150), N(156, 160), S(149), N(151, 153), N(161, 161)]), [(151, 155)]);
    }

    #[test]
    fn holes_that_are_remembered_are_bounded() {
        let mut counts = Counts::default();
        for number in 0..100 {
            counts.next("", 2 * number);
        }
        assert_eq!(counts.0[""].holes.len(), MAX_HOLES);
        assert_eq!(counts.0[""].holes[MAX_HOLES - 1], (197, 197), "the newest");
    }

    #[test]
    fn counts_are_bounded() {
        let mut counts = Counts::default();
        for per in 0..2 * MAX_COUNTS {
            counts.next(&per.to_string(), 1);
        }
        counts.next(&"x".repeat(MAX_KEY + 1), 1);
        counts.snapshot("more", 1);
        assert_eq!(counts.0.len(), MAX_COUNTS);
        assert_eq!(counts.next("1", 3), Some((2, 2)), "those that are there go on");
    }

    #[test]
    fn numbers_are_integers() {
        for (json, value) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("\"12\"", Some(12)),
            ("-1", None),
            ("1.0", None),
            ("null", None),
            ("\"\"", None),
            ("[1]", None),
        ] {
            assert_eq!(number(json), value, "{json}");
        }
    }

    proptest! {
        #[test]
        fn what_was_heard_and_what_is_missing_is_all(gaps in prop::collection::vec(1_u64..5, 1..50)) {
            let mut counts = Counts::default();
            let (mut number, mut seen) = (0, 0);
            counts.next("", number);
            for gap in gaps {
                number += gap;
                seen += 1;
                if let Some((from, to)) = counts.next("", number) {
                    seen += to - from + 1;
                }
                prop_assert_eq!(seen, number);
            }
        }

        /// A server counts up in messages of several numbers, some of which are lost, and gives snapshots, which may be
        /// behind what it has said or ahead of it.
        #[test]
        fn what_no_snapshot_has_and_nobody_said_is_told_once(
            steps in prop::collection::vec((1_u64..4, any::<bool>(), prop::option::weighted(0.2, -6_i64..12)), 1..60),
        ) {
            let mut counts = Counts::default();
            let (mut said, mut seen, mut lost, mut told, mut covered) = (100, vec![100], vec![], vec![], 0);
            counts.next("", said);
            for (width, is_lost, snapshot) in steps {
                let (first, last) = (said + 1, said + width);
                said = last;
                if is_lost {
                    lost.push((first, last));
                } else {
                    seen.extend(first..=last);
                    let hole = counts.next("", Numbers { first, last });
                    hole.into_iter().for_each(|(from, to)| told.extend(from..=to));
                }
                if let Some(ahead) = snapshot {
                    let number = said.saturating_add_signed(ahead);
                    counts.snapshot("", number);
                    covered = covered.max(number);
                    // what it stands for needn't be told
                    lost.retain(|(_, last)| *last > covered);
                }
            }
            counts.next("", Numbers { first: said + 1, last: said + 20 }).into_iter().for_each(|(from, to)| told.extend(from..=to));
            let mut once = told.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), told.len(), "told twice");
            prop_assert!(seen.iter().all(|number| !told.contains(number)), "what came is told");
            for number in lost.iter().flat_map(|(first, last)| *first..=*last).filter(|number| *number > covered) {
                prop_assert!(told.contains(&number), "{} is missing", number);
            }
        }
    }
}
