//! So many events in any time of some length.
//!
//! The windows slide exactly: whatever moment one looks at, the stretch of a window's length that
//! ends there holds no more than the window's count.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::config::Window;

/// One kind of event and its windows; none at all bound nothing.
#[derive(Debug, Default)]
pub struct Windows {
    windows: Vec<Window>,
    /// The one that a part may be kept of.
    tightest: Option<Window>,
    /// The newest events, oldest first; as many as the largest count.
    past: VecDeque<Instant>,
    /// The newest event that `past` no longer has.
    forgotten: Option<Instant>,
}

impl Windows {
    /// Applies other windows. What happened before counts for them too. Of `tightest`, the callers below may keep a part.
    pub fn set(&mut self, windows: Vec<Window>, tightest: Option<Window>) {
        (self.windows, self.tightest) = (windows, tightest);
        // of what is forgotten only its newest moment is known: all of it counts as of then
        while let Some(at) = self.forgotten.filter(|_| self.past.len() < self.largest()) {
            self.past.push_front(at);
        }
        self.trim();
    }

    /// One happens.
    pub fn happened(&mut self, now: Instant) {
        if !self.windows.is_empty() {
            self.past.push_back(now);
            self.trim();
        }
    }

    /// The windows that hold.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.past.is_empty()
    }

    /// Whether what happened bounds nothing any more.
    pub fn is_over(&self, now: Instant) -> bool {
        let longest = self.windows.iter().map(|window| window.per).max().unwrap_or_default();
        self.past.back().is_none_or(|newest| *newest + longest <= now)
    }

    fn trim(&mut self) {
        let largest = self.largest();
        while self.past.len() > largest {
            self.forgotten = self.past.pop_front();
        }
    }

    fn largest(&self) -> usize {
        self.windows.iter().map(|window| window.count as usize).max().unwrap_or(0)
    }

    /// When the next so many events may happen at once: `now`, or later; with so many of the tightest window kept
    /// back. Where that is more than ever may, when the most may.
    pub fn next(&self, now: Instant, events: usize, kept: usize) -> Instant {
        let events = if events > 1 { events.min(self.most(kept)) } else { 1 };
        let freed = self.counts(kept).filter_map(|(count, length)| {
            let at = (self.past.len() + events - 1).checked_sub(count)?;
            Some(self.past[at] + length)
        });
        freed.fold(now, Instant::max)
    }

    /// How many may ever happen at once; `usize::MAX` without windows.
    pub fn most(&self, kept: usize) -> usize {
        self.counts(kept).map(|(count, _)| count).min().unwrap_or(usize::MAX)
    }

    /// How many may happen at `now`; `usize::MAX` without windows.
    pub fn free(&self, now: Instant, kept: usize) -> usize {
        let free = self.counts(kept).map(|(count, length)| {
            let before = self.past.partition_point(|at| *at + length <= now);
            count.saturating_sub(self.past.len() - before)
        });
        free.min().unwrap_or(usize::MAX)
    }

    /// The windows' counts and lengths, with so many of the tightest kept back.
    fn counts(&self, kept: usize) -> impl Iterator<Item = (usize, Duration)> {
        self.windows.iter().map(move |window| {
            let kept = if Some(*window) == self.tightest { kept } else { 0 };
            ((window.count as usize).saturating_sub(kept).max(1), window.per)
        })
    }
}
