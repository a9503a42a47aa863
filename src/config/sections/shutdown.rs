//! `[shutdown]`: the stop.

use std::time::Duration;

use crate::config::reader::Section;

/// `[shutdown]`: the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// `timeout`: for the closing handshake and the clients' last lines together; 0 s to 5 min.
    /// Default 2 s.
    pub timeout: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(2) }
    }
}

impl Shutdown {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        let timeouts = Duration::ZERO..=Duration::from_secs(300);
        let timeout = section.duration("timeout", timeouts).unwrap_or(Self::default().timeout);
        section.finish();
        Self { timeout }
    }
}
