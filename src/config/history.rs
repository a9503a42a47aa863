//! `[history]`: the log's bounds.

use std::time::Duration;

use super::reader::Section;

/// `[history]`: the log's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// `max_bytes`: of encoded lines held; 64 KiB to 1 TiB. The newest entry is always held. Default
    /// 64 MiB.
    pub max_bytes: usize,
    /// `max_age`: older entries are dropped; 1 s to 365 d. Off by default.
    pub max_age: Option<Duration>,
    /// `slow_client`. Default [`SlowClient::Gap`].
    pub slow_client: SlowClient,
}

/// `history.slow_client`: what happens to a client whose next entry is no longer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowClient {
    /// It is told of the gap and goes on after it.
    Gap,
    /// It is disconnected.
    Disconnect,
}

impl Default for History {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_age: None, slow_client: SlowClient::Gap }
    }
}

impl History {
    pub(super) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let ages = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 60 * 60);
        let history = Self {
            max_bytes: section.size("max_bytes", 64 << 10..=1 << 40).unwrap_or(default.max_bytes),
            max_age: section.duration_or_off("max_age", ages).flatten(),
            slow_client: read_slow_client(&section).unwrap_or(default.slow_client),
        };
        section.finish();
        history
    }
}

fn read_slow_client(section: &Section<'_>) -> Option<SlowClient> {
    let item = section.item("slow_client")?;
    if item.value.as_str() == Some("block") {
        item.problem("is \"block\", which this version doesn't have: write \"gap\" or \"disconnect\"");
        return None;
    }
    let words = [("gap", SlowClient::Gap), ("disconnect", SlowClient::Disconnect)];
    section.one_of("slow_client", &words)
}
