//! A client's own count of what it got, to hold against the daemon's ledger.

/// Which entries came, which were declared lost, and whether any is missing without a word.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The first entry that is accounted for.
    first: Option<u64>,
    /// The last one.
    last: u64,
    seen: u64,
    lost: u64,
    /// Entries that are neither here nor declared, or came twice or out of order.
    wrong: u64,
}

impl Tally {
    /// An entry came.
    pub(super) fn entry(&mut self, seq: u64) {
        self.cover(seq, seq);
        self.seen += 1;
    }

    /// A gap was declared.
    pub(super) fn gap(&mut self, from: u64, to: u64) {
        if from <= to {
            self.cover(from, to);
            self.lost += to - from + 1;
        }
    }

    /// The last entry that is accounted for; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    fn cover(&mut self, from: u64, to: u64) {
        if self.first.is_none() {
            self.first = Some(from);
        } else {
            self.wrong += from.abs_diff(self.last + 1);
        }
        self.last = self.last.max(to);
    }

    /// Whether every entry came once and in order, or was declared lost.
    pub(super) fn is_whole(&self) -> bool {
        self.wrong == 0
    }

    /// The sentence for it.
    pub(super) fn sentence(&self) -> String {
        let Some(first) = self.first else { return "it saw no entry".to_owned() };
        let range = format!("it accounts for entries {first} to {}", self.last);
        match (self.lost, self.wrong) {
            (0, 0) => format!("{range}: each came once, in order, and none is missing"),
            (lost, 0) => {
                format!("{range}: {} came, {lost} were declared lost, and none is missing", self.seen)
            }
            (_, wrong) => {
                format!("{range}, but {wrong} are missing or out of order, which is a fault of wsfan")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(steps: &[(u64, u64)]) -> Tally {
        let mut tally = Tally::default();
        for (from, to) in steps {
            match from == to {
                true => tally.entry(*from),
                false => tally.gap(*from, *to),
            }
        }
        tally
    }

    #[test]
    fn every_entry_is_accounted_for_or_not() {
        assert!(tally(&[]).is_whole());
        assert!(tally(&[(5, 5), (6, 6), (7, 7)]).sentence().contains("5 to 7: each came once"));
        assert!(tally(&[(1, 1), (2, 10), (11, 11)]).sentence().contains("1 to 11: 2 came, 9 were declared"));
        assert!(!tally(&[(1, 1), (3, 3)]).is_whole());
        assert!(!tally(&[(1, 1), (1, 1)]).is_whole());
        assert!(!tally(&[(2, 2), (1, 1)]).is_whole());
        assert!(!tally(&[(1, 1), (3, 9)]).is_whole());
    }
}
