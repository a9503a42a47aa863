//! A rate limit.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// A bound on how many in how long: over the last half of `length`, never more than `most`. The other half is for a
/// busy machine: what was sent a second apart may be looked at closer together.
pub struct Window {
    most: usize,
    length: Duration,
    taken: VecDeque<Instant>,
}

impl Window {
    pub fn new(most: usize, length: Duration) -> Window {
        Window { most, length: length / 2, taken: VecDeque::new() }
    }

    /// Counts one more; whether it is still within the bound.
    pub fn take(&mut self) -> bool {
        let now = Instant::now();
        while self.taken.front().is_some_and(|first| now - *first >= self.length) {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
        self.taken.len() <= self.most
    }
}
