//! `[names]`: places in the log that are kept for clients by their names.

use std::time::Duration;

use crate::config::reader::Section;

/// `[names]`: names that clients give themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// `keep`: the place of a client that is gone is kept for so long; 0 s to 30 d. Default 1 h.
    pub keep: Duration,
}

impl Default for Names {
    fn default() -> Self {
        Self { keep: Duration::from_secs(60 * 60) }
    }
}

impl Names {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        let times = Duration::ZERO..=Duration::from_secs(30 * 24 * 60 * 60);
        let keep = section.duration("keep", times).unwrap_or(Self::default().keep);
        section.finish();
        Self { keep }
    }
}
