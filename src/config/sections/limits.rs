//! `[limits]`: how much the server takes.

use std::time::Duration;

use crate::config::reader::{
    Item, Section,
    duration::{format_duration, parse_duration},
    values::quoted,
};

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

/// The largest count of a window.
const MAX_COUNT: u32 = 100_000;

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

impl Limits {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        let words = [("wait", Excess::Wait), ("refuse", Excess::Refuse)];
        let mut limits = Self {
            messages: read_windows(&section, "messages", MAX_COUNT),
            reserve: 0,
            connects: read_windows(&section, "connects", MAX_COUNT),
            max_message: section.size("max_message", 1..=512 << 20),
            excess: section.one_of("excess", &words).unwrap_or_default(),
        };
        let reserve: Option<u32> = section.integer("reserve", 0..=MAX_COUNT.into());
        if let Some(window) = limits.tightest() {
            limits.reserve = reserve.unwrap_or_else(|| (window.count / 10).max(1).min(window.count - 1));
            if limits.reserve >= window.count {
                section.problem(
                    "reserve",
                    format_args!(
                        "is {}, which leaves nothing of {window} for clients: write less than {}",
                        limits.reserve, window.count
                    ),
                );
            }
        }
        section.finish();
        limits
    }
}

/// As it is written: `120/1m`.
impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.count, format_duration(self.per))
    }
}

/// `max` is the largest count.
pub(super) fn read_windows(section: &Section<'_>, key: &'static str, max: u32) -> Vec<Window> {
    let items = section.one_or_more(key).unwrap_or_default();
    if items.len() > MAX_WINDOWS {
        section.problem(key, format_args!("is a list of {}: write at most {MAX_WINDOWS}", items.len()));
    }
    items.iter().filter_map(|item| read_window(item, max)).collect()
}

fn read_window(item: &Item<'_>, max: u32) -> Option<Window> {
    let text = item.text()?;
    let parsed = text.split_once('/').and_then(|(count, per)| {
        let count = count.trim().parse().ok().filter(|count| (1..=max).contains(count))?;
        let (min, max) = (Duration::from_millis(1), Duration::from_secs(24 * 60 * 60));
        let per = parse_duration(per).ok().filter(|per| (min..=max).contains(per))?;
        Some(Window { count, per })
    });
    if parsed.is_none() {
        item.problem(format_args!(
            "is {}: write a number from 1 to {max}, a slash and a time of 1ms to 1d, such as \"120/60s\"",
            quoted(text)
        ));
    }
    parsed
}
