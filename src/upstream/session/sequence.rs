//! The server's own numbers: which are missing. Pure.

use std::collections::BTreeMap;

/// So many counts at most; what is counted for further values of `sequence.per` isn't looked at.
const MAX_COUNTS: usize = 1024;
/// The longest value that a count is for, in bytes of its JSON.
const MAX_KEY: usize = 256;

/// The last number of each count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::upstream) struct Counts(BTreeMap<String, u64>);

/// The first and the last number that are missing.
pub(in crate::upstream) type Missing = (u64, u64);

impl Counts {
    /// Takes in the next number of a count, and says which are missing before it. `per` is what the count
    /// is for, as JSON, or nothing.
    ///
    /// A number that isn't larger than the last is no hole: the server repeats itself, or has begun anew.
    pub(in crate::upstream) fn next(&mut self, per: &str, number: u64) -> Option<Missing> {
        match self.0.get_mut(per) {
            Some(last) => {
                let before = std::mem::replace(last, number);
                (number > before && number - before > 1).then(|| (before + 1, number - 1))
            }
            None => {
                if self.0.len() < MAX_COUNTS && per.len() <= MAX_KEY {
                    self.0.insert(per.to_owned(), number);
                }
                None
            }
        }
    }

    /// The last number of a count.
    pub(in crate::upstream) fn last(&self, per: &str) -> Option<u64> {
        self.0.get(per).copied()
    }

    /// Whether there is a count for this.
    pub(in crate::upstream) fn has(&self, per: &str) -> bool {
        self.0.contains_key(per)
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

    #[test]
    fn counts_are_bounded() {
        let mut counts = Counts::default();
        for per in 0..2 * MAX_COUNTS {
            counts.next(&per.to_string(), 1);
        }
        counts.next(&"x".repeat(MAX_KEY + 1), 1);
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
    }
}
