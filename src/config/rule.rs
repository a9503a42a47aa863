//! `[[reconnect.rule]]`: what certain failures lead to.

use std::{ops::RangeInclusive, time::Duration};

/// One `[[reconnect.rule]]`. No code and no status is covered twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `codes`: of the server's close frame; 1005 and 1006 as well.
    pub codes: Vec<RangeInclusive<u16>>,
    /// `statuses`: HTTP statuses of an upgrade that was refused.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// `then`, with its `delay`.
    pub then: Remedy,
}

/// What a failure leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Remedy {
    /// `"retry"`: another attempt, after the delay of `[reconnect]`.
    #[default]
    Retry,
    /// `"after"`: another attempt, no sooner than after this `delay`; 0 s to 24 h.
    After(Duration),
    /// `"refresh"`: another attempt at once, with secrets that are read afresh. The second time in a row
    /// it is `retry`.
    Refresh,
    /// `"fresh"`: captures are forgotten, then as `retry`.
    Fresh,
    /// `"stop"`: the link is given up, as when `reconnect.max_attempts` are used up.
    Stop,
}

impl Rule {
    /// Whether the rule is about this close code.
    pub fn covers_code(&self, code: u16) -> bool {
        self.codes.iter().any(|codes| codes.contains(&code))
    }

    /// Whether the rule is about this HTTP status.
    pub fn covers_status(&self, status: u16) -> bool {
        self.statuses.iter().any(|statuses| statuses.contains(&status))
    }
}
