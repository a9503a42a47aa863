//! `[reconnect]`: what happens after a failure.

use std::time::Duration;

use super::{heartbeat::read_close_code, rule::Rule};
use crate::config::reader::{Section, duration::format_duration};

const MIN: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `[reconnect]`: the delays between attempts, and when to give up.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconnect {
    /// `initial_delay`: before the first new attempt; 10 ms to 1 h. Default 500 ms, or `max_delay` if
    /// that is shorter.
    pub initial_delay: Duration,
    /// `max_delay`: no delay is longer; `initial_delay` to 24 h. Default 30 s, or `initial_delay` if
    /// that is longer.
    pub max_delay: Duration,
    /// `max_retry_after`: how long a server may ask to be left alone (`Retry-After`), which may be longer than
    /// `max_delay`; 0 s to 24 h. Default 1 h.
    pub max_retry_after: Duration,
    /// `multiplier`: how a delay grows with each failure in a row; 1 to 100. Default 2.
    pub multiplier: f64,
    /// `jitter`: which part of a delay is random; 0 to 1. Default 1 (full).
    pub jitter: f64,
    /// `max_attempts`: failures in a row before the link is given up; 0 means never. Default 0.
    pub max_attempts: u32,
    /// `stable_after`: a connection up for so long starts the count from 0; 0 s to 24 h. Default 10 s.
    pub stable_after: Duration,
    /// `on_exhausted`. Default [`OnExhausted::Wait`].
    pub on_exhausted: OnExhausted,
    /// `close_code`: what wsfan closes a connection with where it is to open another; 1000 or 3000 to 4999.
    /// None by default: 1000.
    pub close_code: Option<u16>,
    /// `[[reconnect.rule]]`: what certain failures lead to; all others are tried again. None by default.
    pub rules: Vec<Rule>,
}

/// `reconnect.on_exhausted`: what to do when `max_attempts` are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExhausted {
    /// Stay, with the link `failed`, until someone says `open` or `reconnect`.
    Wait,
    /// End the daemon with exit code 69.
    Exit,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            max_retry_after: HOUR,
            multiplier: 2.0,
            jitter: 1.0,
            max_attempts: 0,
            stable_after: Duration::from_secs(10),
            on_exhausted: OnExhausted::Wait,
            close_code: None,
            rules: Vec::new(),
        }
    }
}

impl Reconnect {
    /// Whether `initial_delay` and `max_delay` are what they are where the file leaves each out.
    pub(in crate::config) fn has_default_delays(&self) -> (bool, bool) {
        let default = Self::default();
        (
            self.initial_delay == default.initial_delay.min(self.max_delay),
            self.max_delay == default.max_delay.max(self.initial_delay),
        )
    }

    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let (initial_delay, max_delay) = read_delays(&section, &default);
        let exhausted = [("wait", OnExhausted::Wait), ("exit", OnExhausted::Exit)];
        let reconnect = Self {
            initial_delay,
            max_delay,
            max_retry_after: section
                .duration("max_retry_after", Duration::ZERO..=DAY)
                .unwrap_or(default.max_retry_after),
            multiplier: section.number("multiplier", 1.0..=100.0).unwrap_or(default.multiplier),
            jitter: section.number("jitter", 0.0..=1.0).unwrap_or(default.jitter),
            max_attempts: section.integer("max_attempts", 0..=u32::MAX.into()).unwrap_or(0),
            stable_after: section
                .duration("stable_after", Duration::ZERO..=DAY)
                .unwrap_or(default.stable_after),
            on_exhausted: section.one_of("on_exhausted", &exhausted).unwrap_or(default.on_exhausted),
            close_code: read_close_code(&section),
            rules: Rule::read_all(&section),
        };
        section.finish();
        reconnect
    }
}

/// Both delays. Where the file has only one, the other's default gives way to it.
fn read_delays(section: &Section<'_>, default: &Reconnect) -> (Duration, Duration) {
    let why = ", but every loop has a delay";
    let initial = section.duration_since("initial_delay", MIN..=HOUR, why);
    let max = section.duration_since("max_delay", MIN..=DAY, why);
    match (initial, max) {
        (Some(initial), Some(max)) => {
            if initial > max {
                section.problem(
                    "max_delay",
                    format_args!(
                        "is {}, shorter than reconnect.initial_delay, which is {}: write a longer \
                         one, or leave it out",
                        format_duration(max),
                        format_duration(initial)
                    ),
                );
            }
            (initial, max)
        }
        (Some(initial), None) => (initial, default.max_delay.max(initial)),
        (None, Some(max)) => (default.initial_delay.min(max), max),
        (None, None) => (default.initial_delay, default.max_delay),
    }
}
