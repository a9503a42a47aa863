//! What the machine is given of the configuration.

use std::{rc::Rc, time::Duration};

use super::MAX_BATCH;

/// A node that isn't allowed to append tries it at least this often: the right may have been given.
const MAX_DENIED: Duration = Duration::from_secs(30);

/// How one node takes part.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Its name, which no other node has.
    pub(crate) node: Rc<str>,
    /// So long a silence ends a term: 1 to 60 s.
    pub(crate) lease: Duration,
    /// It may hold the link.
    pub(crate) candidate: bool,
    /// It lets others try when it hasn't had the link up for so long.
    pub(crate) step_down_after: Option<Duration>,
    /// The upstream isn't read while more bytes than this are staged.
    pub(crate) max_unacked: usize,
    /// The longest line that is put together of parts; an entry that is longer is lost here, and declared.
    pub(crate) max_entry: usize,
    /// The most that one message holds; a larger line comes in parts of it.
    pub(crate) max_batch: usize,
    /// What `[upstream]` and the terms come to, as a hash: nodes in which it differs are warned of.
    pub(crate) fingerprint: Rc<str>,
}

impl Settings {
    /// A candidate with this name and lease, and the rest as it is by default.
    pub(crate) fn new(node: &str, lease: Duration) -> Settings {
        Settings {
            node: node.into(),
            lease,
            candidate: true,
            step_down_after: Some(Duration::from_secs(30)),
            max_unacked: 8 << 20,
            max_entry: 128 << 20,
            max_batch: MAX_BATCH,
            fingerprint: "".into(),
        }
    }

    /// An idle leader says so often that it is there.
    pub(super) fn renews_after(&self) -> Duration {
        self.lease / 4
    }

    /// After so long without an answer, an append or a question counts as unanswered.
    pub(super) fn answers_within(&self) -> Duration {
        (self.lease / 5).min(Duration::from_secs(2))
    }

    /// Candidates stand this much apart, at random. Who waits for nothing else is to follow within half a second.
    pub(super) fn spread(&self) -> Duration {
        (self.lease / 20).min(Duration::from_millis(100))
    }

    /// Before something is tried once more that has just been to no avail.
    pub(super) fn hesitates_for(&self) -> Duration {
        self.spread() / 4
    }

    /// So long after an attempt that came to nothing the next one is made, and a random time.
    pub(super) fn rests_for(&self) -> Duration {
        (self.lease / 8).min(Duration::from_secs(1))
    }

    /// So long after so many attempts in a row that NATS denied the next one is made, and a random time.
    pub(super) fn denied_for(&self, denials: u32) -> Duration {
        self.rests_for().saturating_mul(1 << denials.min(10)).min(MAX_DENIED)
    }
}
