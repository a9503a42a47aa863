//! How far the server has counted its messages, where the log's entries don't say it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// So many counts are remembered.
const MAX_COUNTS: usize = 1024;

/// How far one of the server's counts has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// What the count is of, as JSON; empty where there is one (`sequence.per`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub per: String,
    /// The last number.
    pub last: u64,
    /// Nothing is missing up to this number: a snapshot says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub covered: Option<u64>,
    /// The first and the last number of what was missing and may still come, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<(u64, u64)>,
}

/// What is known of the server's counts beside a log's entries, since messages were counted that clients don't get: of each
/// count how far it had come before which entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountedBeside {
    counts: BTreeMap<String, (u64, Counted)>,
    /// Before this entry somebody had the link who hasn't told of such messages.
    pub untold: u64,
    /// Whoever had the link last has told of all of them.
    pub is_whole: bool,
}

impl CountedBeside {
    /// Takes note of how far a count had come before the entry `seq`.
    pub fn note(&mut self, seq: u64, counted: Counted) {
        if self.counts.len() < MAX_COUNTS || self.counts.contains_key(&counted.per) {
            self.counts.insert(counted.per.clone(), (seq, counted));
        }
    }

    /// All counts, each with the entry before which it was so.
    pub fn counts(&self) -> impl Iterator<Item = (u64, &Counted)> {
        self.counts.values().map(|(seq, counted)| (*seq, counted))
    }

    /// Whether whoever had the link last may have heard more such messages than it came to tell of, of any count: where
    /// there were some, more may have come, and the first of another count too.
    pub fn is_unsure(&self) -> bool {
        !self.is_whole && !self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(per: &str, last: u64) -> Counted {
        Counted { per: per.to_owned(), last, ..Counted::default() }
    }

    #[test]
    fn what_clients_don_t_get_makes_counts_unsure_until_all_is_told() {
        let mut beside = CountedBeside::default();
        assert!(!beside.is_unsure(), "there are none");
        beside.note(7, counted("a", 1));
        beside.note(9, counted("a", 3));
        assert!(beside.is_unsure());
        assert_eq!(beside.counts().collect::<Vec<_>>(), [(9, &counted("a", 3))]);
        beside.is_whole = true;
        assert!(!beside.is_unsure());
    }

    #[test]
    fn counts_are_bounded() {
        let mut beside = CountedBeside::default();
        (0..2 * MAX_COUNTS).for_each(|per| beside.note(1, counted(&per.to_string(), 1)));
        beside.note(2, counted("0", 2));
        assert_eq!((beside.counts.len(), beside.counts["0"].0), (MAX_COUNTS, 2));
    }

    #[test]
    fn what_is_not_there_is_not_written() {
        let text = serde_json::to_string(&counted("", 5)).unwrap();
        assert_eq!(text, r#"{"last":5}"#);
        let all = Counted { covered: Some(7), holes: vec![(1, 2)], ..counted("\"a\"", 5) };
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Counted>(&text).unwrap(), all);
    }
}
