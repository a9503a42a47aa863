//! A rate limit.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// A bound on how many in how long: over the last `length`, never more than `most`.
pub struct Window {
    most: usize,
    length: Duration,
    taken: VecDeque<Instant>,
}

impl Window {
    pub fn new(most: usize, length: Duration) -> Window {
        Window { most, length, taken: VecDeque::new() }
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
