//! `[limits]`: how much the server takes.

use std::time::Duration;

/// `[limits]`: how much is sent, and how often is connected. Nothing is limited by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// `messages`: outbound messages, those of heartbeats, replies and the script included; all windows
    /// hold. At most [`MAX_WINDOWS`].
    pub messages: Vec<Window>,
    /// `reserve`: of the tightest window, so many messages are kept for heartbeats and replies; less than
    /// its count. Left out: a tenth of it, at least 1 (0 where the window has only 1). 0 without windows.
    pub reserve: u32,
    /// `connects`: connection attempts; all windows hold.
    pub connects: Vec<Window>,
    /// `max_message`: the largest outbound message in bytes; 1 byte to 512 MiB. Off by default.
    pub max_message: Option<usize>,
    /// `excess`. Default [`Excess::Wait`].
    pub excess: Excess,
}

/// So many windows at most.
pub const MAX_WINDOWS: usize = 8;

/// So many in any time of this length: `"120/60s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How many; 1 to 100,000.
    pub count: u32,
    /// In how long; 1 ms to 24 h.
    pub per: Duration,
}

/// `limits.excess`: what becomes of a client's send that is too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Excess {
    /// It waits its turn.
    #[default]
    Wait,
    /// It is an error, `rate_limited`.
    Refuse,
}

impl Limits {
    /// The window of `messages` that lets the fewest through in the long run.
    pub fn tightest(&self) -> Option<Window> {
        let rate = |window: &&Window| f64::from(window.count) / window.per.as_secs_f64();
        self.messages.iter().min_by(|a, b| rate(a).total_cmp(&rate(b))).copied()
    }
}
