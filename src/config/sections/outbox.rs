//! `[outbox]`: sends that wait for the link.

use std::time::Duration;

use crate::config::reader::Section;

/// `[outbox]`: sends that wait while the link is not up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbox {
    /// `max_messages`: 0 means that a send while the link is down is an error; at most 1,000,000,000.
    /// Default 0.
    pub max_messages: usize,
    /// `max_bytes`: of sends that wait, each with its id and 256 bytes more; 1 KiB to 1 TiB. Default 1 MiB.
    pub max_bytes: usize,
    /// `ttl`: a send that waited longer has expired; 1 ms to 24 h. Default 30 s.
    pub ttl: Duration,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { max_messages: 0, max_bytes: 1 << 20, ttl: Duration::from_secs(30) }
    }
}

impl Outbox {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let ttls = Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
        let outbox = Self {
            max_messages: section.integer("max_messages", 0..=1_000_000_000).unwrap_or(0),
            max_bytes: section.size("max_bytes", 1 << 10..=1 << 40).unwrap_or(default.max_bytes),
            ttl: section.duration("ttl", ttls).unwrap_or(default.ttl),
        };
        section.finish();
        outbox
    }
}
