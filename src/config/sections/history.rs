//! `[history]`: the log's bounds.

use std::time::Duration;

use super::terms::Terms;
use crate::config::reader::Section;

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
    /// `stall_timeout`: under [`SlowClient::Block`], a client that holds up the others and hasn't
    /// taken a byte for so long is disconnected; 10 ms to 1 h. Default 5 s.
    pub stall_timeout: Duration,
    /// `latest_after`: under [`SlowClient::Latest`], a client lags whose next entry came so long ago; 0 s to 1 h. Default
    /// 1 s.
    pub latest_after: Duration,
}

/// `history.slow_client` and `listener.slow_client`: what happens to a client that reads too slowly, mostly to one
/// whose next entry is no longer held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowClient {
    /// It is told of the gap and goes on after it.
    Gap,
    /// It is disconnected.
    Disconnect,
    /// One that lags gets of what it has missed the newest message of each topic, and is told of the others.
    Latest,
    /// It can't happen: the link reads no further while a client is more than 1 MiB behind, or half
    /// of `max_bytes`.
    Block,
}

const SLOW_CLIENTS: [(&str, SlowClient); 4] = [
    ("gap", SlowClient::Gap),
    ("disconnect", SlowClient::Disconnect),
    ("latest", SlowClient::Latest),
    ("block", SlowClient::Block),
];

impl Default for History {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_age: None,
            slow_client: SlowClient::Gap,
            stall_timeout: Duration::from_secs(5),
            latest_after: Duration::from_secs(1),
        }
    }
}

impl History {
    pub(in crate::config) fn read(section: Section<'_>, terms: &Terms) -> Self {
        let default = Self::default();
        let ages = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 60 * 60);
        let history = Self {
            max_bytes: section.size("max_bytes", 64 << 10..=1 << 40).unwrap_or(default.max_bytes),
            max_age: section.duration_or_off("max_age", ages).flatten(),
            slow_client: SlowClient::read(&section, &SLOW_CLIENTS, terms).unwrap_or(default.slow_client),
            stall_timeout: section
                .duration("stall_timeout", Duration::from_millis(10)..=Duration::from_secs(60 * 60))
                .unwrap_or(default.stall_timeout),
            latest_after: section
                .duration("latest_after", Duration::ZERO..=Duration::from_secs(60 * 60))
                .unwrap_or(default.latest_after),
        };
        section.finish();
        history
    }
}

impl SlowClient {
    /// The one of a listener: whether the link waits is said for all of them.
    pub(in crate::config) fn read_of_listener(section: &Section<'_>, terms: &Terms) -> Option<Self> {
        Self::read(section, &SLOW_CLIENTS[..3], terms)
    }

    fn read(section: &Section<'_>, known: &[(&str, Self)], terms: &Terms) -> Option<Self> {
        let slow_client = section.one_of("slow_client", known)?;
        if slow_client == Self::Latest && !terms.has_topics() {
            section.problem(
                "slow_client",
                "is \"latest\", but no message has a topic whose newest there could be: write [topics] with \
                 a pointer or rules",
            );
        }
        Some(slow_client)
    }
}
