//! The ids of requests that aren't remembered whole any more, and may still be answered. Pure.

use std::collections::BTreeMap;

use crate::upstream::session::requests::Key;

/// So many runs of ids at most; then the lowest is given up.
const MAX_RUNS: usize = 10_000;

/// Ids that are whole numbers, as wsfan gives them.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    /// The last of each run, by its first.
    runs: BTreeMap<u64, u64>,
}

impl Forgotten {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn has(&self, id: &Key) -> bool {
        number(id).is_some_and(|id| self.run_of(id).is_some())
    }

    /// Adds one, if it is such an id.
    pub(super) fn add(&mut self, id: &Key) {
        let Some(id) = number(id).filter(|id| self.run_of(*id).is_none()) else { return };
        let last = self.runs.remove(&(id + 1)).unwrap_or(id);
        let before = self.runs.range_mut(..id).next_back().filter(|(_, end)| **end + 1 == id);
        match before {
            Some((_, end)) => *end = last,
            None => drop(self.runs.insert(id, last)),
        }
        if self.runs.len() > MAX_RUNS {
            self.runs.pop_first();
        }
    }

    /// Somebody has this id now.
    pub(super) fn remove(&mut self, id: &Key) {
        let Some((id, (first, last))) = number(id).and_then(|id| Some((id, self.run_of(id)?))) else {
            return;
        };
        self.runs.remove(&first);
        if first < id {
            self.runs.insert(first, id - 1);
        }
        if id < last {
            self.runs.insert(id + 1, last);
        }
    }

    fn run_of(&self, id: u64) -> Option<(u64, u64)> {
        let (first, last) = self.runs.range(..=id).next_back()?;
        (id <= *last).then_some((*first, *last))
    }
}

/// The number that an id is, if it is written as wsfan does.
fn number(id: &Key) -> Option<u64> {
    let number: u64 = id.parse().ok().filter(|number| *number < u64::MAX)?;
    (itoa::Buffer::new().format(number) == &**id).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn key(id: u64) -> Key {
        id.to_string().into()
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0_u64..20), 0..60)) {
            let (mut forgotten, mut model) = (Forgotten::default(), BTreeSet::new());
            for (adds, id) in steps {
                match adds {
                    true => {
                        forgotten.add(&key(id));
                        model.insert(id);
                    }
                    false => {
                        forgotten.remove(&key(id));
                        model.remove(&id);
                    }
                }
                let all: BTreeSet<_> = (0..21).filter(|id| forgotten.has(&key(*id))).collect();
                prop_assert_eq!(&all, &model);
                let runs = model.iter().filter(|id| **id == 0 || !model.contains(&(**id - 1))).count();
                prop_assert_eq!(forgotten.runs.len(), runs, "each run once");
            }
        }
    }

    #[test]
    fn the_lowest_go_first_and_other_ids_are_none() {
        let mut forgotten = Forgotten::default();
        (0..=MAX_RUNS as u64).for_each(|n| forgotten.add(&key(2 * n)));
        assert!(!forgotten.has(&key(0)) && forgotten.has(&key(2)) && forgotten.runs.len() == MAX_RUNS);
        let mut forgotten = Forgotten::default();
        for other in ["", "x", "-1", "007", "1.5", "18446744073709551615"] {
            forgotten.add(&other.into());
            assert!(forgotten.is_empty() && !forgotten.has(&other.into()), "{other}");
        }
    }
}
