//! The answer to `status`: the daemon, its link, its log, and who is connected. `docs/protocol.md` explains each field.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Ended, LinkFields, Name, PublicValues, cluster::ClusterStatus, name::names};

mod counters;

pub use counters::{Counters, CutCounts, GapCounts, HoleCounts, LinkCounts, RequestCounts, SendCounts};

names! {
    /// How a topic is.
    pub enum TopicState {
        /// The server has it.
        Subscribed = "subscribed",
        /// It waits to be said, or for the server's answer.
        Waiting = "waiting",
        /// Its last subscriber has gone, and it is given up soon.
        Lingering = "lingering",
    }
}

names! {
    /// How a reload ended.
    pub enum ReloadResult {
        /// The new configuration is in force, but for what waits for a restart.
        Applied = "applied",
        /// The same, but for listeners that couldn't be bound or changed.
        Partly = "partly",
        /// The old one stays in force.
        Refused = "refused",
    }
}

/// The whole answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Status<'a> {
    /// The request's, as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, RawValue>>,
    /// The daemon and its version.
    pub server: Cow<'a, str>,
    /// Its process.
    #[cfg_attr(test, schemars(required))]
    pub pid: Option<u32>,
    /// How long it has run.
    pub uptime_s: u64,
    /// What it runs by.
    pub config: Configuration<'a>,
    /// The random name of this life of the log.
    pub epoch: Cow<'a, str>,
    /// This machine's name in its cluster; none where there is no cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Cow<'a, str>>,
    /// The cluster, and what this machine is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterStatus<'a>>,
    /// The link.
    pub link: LinkNow<'a>,
    /// What went over the link since the daemon's start.
    pub traffic: Traffic,
    /// Sends that wait.
    pub outbox: Outbox,
    /// Sends that failed.
    pub sends: Sends,
    /// What has gone wrong since the daemon's start, by cause.
    pub counters: Counters,
    /// What is held.
    pub log: Held,
    /// The values of public captures, for who receives or has the right `control`.
    #[serde(skip_serializing_if = "PublicValues::is_empty")]
    pub public: PublicValues,
    /// Last values; none where nothing is retained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained: Option<Retained>,
    /// The topics that clients subscribe to; none where `topics.subscribe` isn't configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<Subscriptions<'a>>,
    /// Sums over all clients.
    #[cfg_attr(test, schemars(required))]
    pub totals: Option<Totals>,
    /// A row for each client, or the own one alone.
    pub clients: Vec<ClientRow<'a>>,
    /// Names whose clients are gone, for whoever sees all clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<NameRow<'a>>,
}

/// A name whose client is gone, and what is kept for it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct NameRow<'a> {
    /// The name.
    pub name: Cow<'a, str>,
    /// Whose it is.
    pub uid: u32,
    /// The entry after which it goes on.
    pub seq: u64,
    /// How long its client has been gone, in seconds.
    pub gone_s: u64,
}

/// What the daemon says of its configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Configuration<'a> {
    /// The file, as an absolute path; none for a configuration that came from no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Cow<'a, str>>,
    /// The first of the servers, without query and credentials.
    pub upstream: Cow<'a, str>,
    /// The last reload, if there was any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload: Option<LastReload<'a>>,
    /// The keys that wait for a restart.
    pub restart: Cow<'a, [String]>,
}

/// The last reload.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LastReload<'a> {
    /// When, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// What came of it.
    pub result: Name<'a, ReloadResult>,
    /// What is wrong, in sentences, a line each. Only for who has the right `control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
}

/// The link's present state, and how it ended the last time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LinkNow<'a> {
    /// When the state began, in microseconds since the Unix epoch.
    pub since_us: u64,
    /// The state, and what goes with it.
    #[serde(flatten)]
    pub fields: LinkFields<'a>,
    /// The newest round trip of the heartbeat, once one was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_rtt_us: Option<u64>,
    /// How the last connection or attempt ended, also when the link is up again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_end: Option<LastEnd<'a>>,
}

/// How the last connection or attempt ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LastEnd<'a> {
    /// When, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// How.
    #[serde(flatten)]
    pub ended: Ended<'a>,
    /// Which machine's it was, in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Cow<'a, str>>,
}

/// What went over the link since the daemon's start.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Traffic {
    /// Messages from the upstream.
    pub received: u64,
    /// Their payload bytes.
    pub received_bytes: u64,
    /// When the newest of them came, in microseconds since the Unix epoch; none before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_received_us: Option<u64>,
    /// Those of them that are no entries: what the configuration keeps back, answers that went to who asked alone, and
    /// what a second connection said again.
    pub withheld: u64,
    /// Messages written to the upstream for clients.
    pub sent: u64,
    /// Their payload bytes.
    pub sent_bytes: u64,
}

/// Sends that wait.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Outbox {
    /// How many wait for the link.
    pub waiting: u64,
}

/// Sends that failed.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Sends {
    /// How many were not sent, when their client had gone, so that nobody could be told.
    pub dropped: u64,
}

/// What the log holds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Held {
    /// The newest entry.
    pub seq: u64,
    /// The oldest that can still be had.
    pub oldest: u64,
    /// The bytes held.
    pub bytes: u64,
    /// The most that may be.
    pub max_bytes: u64,
    /// How many topics the messages held are of; none where messages have no topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topics: Option<u64>,
}

/// The last values that are retained.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Retained {
    /// How many there are.
    pub values: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// The most that they may take (`topics.retain_bytes`).
    pub max_bytes: u64,
    /// How many were let go for want of room, since the daemon's start.
    pub dropped: u64,
}

/// The topics that clients subscribe to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Subscriptions<'a> {
    /// How many there are.
    pub topics: u64,
    /// The most that there may be (`topics.max`).
    pub max: u64,
    /// The first 1,000 by name: all of them, or only those that the client itself subscribes to.
    pub rows: Vec<TopicRow<'a>>,
}

/// A topic.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TopicRow<'a> {
    /// Its name.
    pub topic: Cow<'a, str>,
    /// How many clients subscribe to it.
    pub clients: u64,
    /// How it is.
    pub state: Name<'a, TopicState>,
}

/// Sums over all clients, also those that have no row.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Totals {
    /// How many there are.
    pub clients: u64,
    /// The sums of their ledgers.
    pub ledger: Ledger,
    /// Replies that they haven't read.
    pub unread_reply_bytes: u64,
}

/// A client.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ClientRow<'a> {
    /// Its number.
    pub client: u64,
    /// The socket that it came by.
    pub listener: Cow<'a, str>,
    /// `envelope` or `raw`.
    pub format: Cow<'a, str>,
    /// Its process, as the system knew it when it came.
    #[cfg_attr(test, schemars(required))]
    pub pid: Option<i32>,
    /// Its user.
    #[cfg_attr(test, schemars(required))]
    pub uid: Option<u32>,
    /// The name that it gave itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// The newest entry that it has acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u64>,
    /// Whether it is the one that asks.
    pub you: bool,
    /// Its balance.
    pub ledger: Ledger,
    /// Replies that it hasn't read.
    pub unread_reply_bytes: u64,
}

/// The balance of a client, or of several: `entries = delivered + lost + passed + ahead`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Ledger {
    /// Entries in the log since the client attached.
    pub entries: u64,
    /// Written to its socket, whole. In the raw format an entry without a raw line counts as soon
    /// as the client is past it.
    pub delivered: u64,
    /// Declared lost.
    pub lost: u64,
    /// Passed over, since they are of no topic that the client wants.
    pub passed: u64,
    /// Still ahead of its cursor, those that it will find lost included.
    pub ahead: u64,
}

impl Ledger {
    /// Whether nothing is unaccounted for.
    pub fn balances(self) -> bool {
        let parts = [self.delivered, self.lost, self.passed, self.ahead];
        parts.into_iter().try_fold(0, u64::checked_add) == Some(self.entries)
    }
}

impl std::ops::AddAssign for Ledger {
    fn add_assign(&mut self, other: Ledger) {
        self.entries += other.entries;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.passed += other.passed;
        self.ahead += other.ahead;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_balances_or_not() {
        let ledger = Ledger { entries: 12, delivered: 7, lost: 2, passed: 2, ahead: 1 };
        assert!(ledger.balances());
        assert!(!Ledger { ahead: 2, ..ledger }.balances());
        assert!(!Ledger { lost: u64::MAX, ..ledger }.balances());
    }
}
