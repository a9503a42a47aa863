//! What a server could have said as often as it likes is said seldom, with a count of what wasn't. Pure.

use std::time::{Duration, Instant};

/// At most once in so long a time.
const PAUSE: Duration = Duration::from_secs(10);

/// When something was last said.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// Whether it is time to say it again; then how often it wasn't since the last time.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_then_one_for_each_pause() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        for (seconds, due) in [(0, Some(0)), (1, None), (9, None), (10, Some(2)), (19, None), (30, Some(1))] {
            assert_eq!(seldom.due(start + Duration::from_secs(seconds)), due, "at {seconds} s");
        }
    }
}
