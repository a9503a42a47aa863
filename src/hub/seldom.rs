//! Log lines that others can cause at will are said seldom, with a count of those that were not. Each client
//! that is cut off, and each whose message isn't sent, is named at `debug`.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// At most one line in so long a time.
const PAUSE: Duration = Duration::from_secs(10);

/// When one kind of line was last said.
#[derive(Debug, Default)]
pub struct Seldom {
    last: Cell<Option<Instant>>,
    unsaid: Cell<u64>,
}

impl Seldom {
    /// Whether it is time for the line again; then how many weren't said since the last.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        if self.last.get().is_some_and(|last| now - last < PAUSE) {
            self.unsaid.set(self.unsaid.get() + 1);
            return None;
        }
        self.last.set(Some(now));
        Some(self.unsaid.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_then_one_for_each_pause() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let at = |seconds| seldom.due_at(start + Duration::from_secs(seconds));
        assert_eq!(
            [at(0), at(1), at(9), at(10), at(11), at(30)],
            [Some(0), None, None, Some(2), None, Some(1)]
        );
    }
}
