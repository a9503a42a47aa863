//! What NATS is to be for one node, and what everything is called there.

use std::time::Duration;

use crate::config::{Cluster, History, Storage};

/// The stream holds so many bytes more than twice what the log does: each message has headers, and who was away finds
/// what it missed.
const ROOM: u64 = 16 << 20;

/// It holds a message so much longer than twice as long as the log does.
const TIME: Duration = Duration::from_secs(600);

/// How one node uses NATS.
#[derive(Debug, Clone)]
pub(in crate::cluster) struct Settings {
    /// `[cluster]`.
    pub(in crate::cluster) cluster: Cluster,
    /// What the stream is to be.
    pub(in crate::cluster) stream: StreamSettings,
}

/// What the stream is to be, beside what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster) struct StreamSettings {
    /// On so many servers: 1, 3 or 5.
    pub(in crate::cluster) replicas: usize,
    /// In memory, or on disk.
    pub(in crate::cluster) memory: bool,
    /// The most bytes that it holds.
    pub(in crate::cluster) max_bytes: u64,
    /// How long it holds a message, if not until there is no room for it.
    pub(in crate::cluster) max_age: Option<Duration>,
}

/// What a cluster's things are called in NATS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    name: String,
}

impl Settings {
    /// Those of this configuration.
    pub(in crate::cluster) fn new(cluster: &Cluster, history: &History) -> Settings {
        let stream = StreamSettings {
            replicas: usize::from(cluster.replicas),
            memory: cluster.storage == Storage::Memory,
            max_bytes: (history.max_bytes as u64).saturating_mul(2).saturating_add(ROOM),
            max_age: history.max_age.map(|age| age.saturating_mul(2).saturating_add(TIME)),
        };
        Settings { cluster: cluster.clone(), stream }
    }

    /// What its things are called.
    pub(in crate::cluster) fn names(&self) -> Names {
        Names::of(&self.cluster.name)
    }

    /// What begins every address at which this node hears answers.
    pub(in crate::cluster) fn inbox(&self) -> String {
        self.names().inbox(&self.cluster.node)
    }

    /// The machine takes a question for unanswered after so long.
    pub(super) fn answers_within(&self) -> Duration {
        (self.cluster.lease / 5).min(Duration::from_secs(2))
    }

    /// So long what is asked on the way to the stream may take.
    pub(super) fn setup_within(&self) -> Duration {
        (self.cluster.lease / 2).clamp(Duration::from_secs(1), Duration::from_secs(5))
    }

    /// Whether the stream is there is asked anew after so long without an answer. While NATS elects nobody answers, what
    /// was asked then stays unanswered, and a leader's lease runs on. An answer that takes longer counts all the same.
    pub(super) fn looks_again_after(&self) -> Duration {
        (self.cluster.lease / 15).clamp(Duration::from_secs(1), Duration::from_secs(5))
            + self.rests_for().min(Duration::from_millis(250))
    }

    /// Before something is looked at once more that wasn't there.
    pub(super) fn rests_for(&self) -> Duration {
        (self.cluster.lease / 8).min(Duration::from_secs(1))
    }

    /// The stream's server says so often that nothing is new.
    pub(super) fn heartbeat(&self) -> Duration {
        (self.cluster.lease / 8).clamp(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// A server that says nothing is asked so often whether it is there; with the third unanswered it isn't.
    pub(super) fn pings_after(&self) -> Duration {
        (self.cluster.lease / 6).min(Duration::from_secs(5))
    }
}

impl Names {
    /// Those of this cluster.
    pub(crate) fn of(name: &str) -> Names {
        Names { name: name.to_owned() }
    }

    /// The stream that is the log.
    pub(crate) fn stream(&self) -> String {
        format!("WSFAN_{}", self.name)
    }

    /// Its one subject.
    pub(in crate::cluster) fn log(&self) -> String {
        format!("wsfan.{}.log", self.name)
    }

    /// What clients have to send, and their orders to the link, go to the leader of this term.
    pub(in crate::cluster) fn send(&self, term: u64) -> String {
        format!("wsfan.{}.t{term}.send", self.name)
    }

    /// The same, of any term.
    pub(in crate::cluster) fn sends(&self) -> String {
        format!("wsfan.{}.*.send", self.name)
    }

    /// Each node says here that it is there.
    pub(in crate::cluster) fn here(&self) -> String {
        format!("wsfan.{}.here", self.name)
    }

    /// Who asks here is told by each node how it is.
    pub(in crate::cluster) fn who(&self) -> String {
        format!("wsfan.{}.who", self.name)
    }

    /// All nodes' addresses.
    pub(in crate::cluster) fn inboxes(&self) -> String {
        format!("_INBOX_{}.>", self.name)
    }

    /// Whether this is below one of these: what is answered elsewhere would be said by this node's rights to whomever who
    /// asks likes.
    pub(in crate::cluster) fn is_inbox(&self, subject: &str) -> bool {
        let rest = subject.strip_prefix("_INBOX_").and_then(|rest| rest.strip_prefix(self.name.as_str()));
        rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// What begins every address at which a node hears answers.
    pub(in crate::cluster) fn inbox(&self, node: &str) -> String {
        format!("_INBOX_{}.{node}", self.name)
    }
}
