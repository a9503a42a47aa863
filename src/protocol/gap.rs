//! What a client doesn't get, or the server never sent, declared.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Name, name::names};

names! {
    /// Why something is missing.
    pub enum Why {
        /// The client read too slowly, and the log moved on.
        SlowClient = "slow_client",
        /// Another log, which this one goes on with, let go of them before they came here: nobody was too slow.
        Discarded = "discarded",
        /// It asked for entries that the log no longer holds.
        Expired = "expired",
        /// It asked for entries of another life of the log; how many of those it missed can't be known.
        Epoch = "epoch",
        /// The client lagged, and newer messages of the same topics follow.
        Conflated = "conflated",
        /// Messages that the server counted never came; only as an entry of the log.
        Upstream = "upstream",
        /// Another machine of the cluster has the link now; what the server said meanwhile never came, and how much that
        /// is can't be known. Only as an entry of the log.
        Failover = "failover",
    }
}

/// Declares entries that this client will not get.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Gap<'a> {
    /// The first entry that is lost. None where only entries of another epoch are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// The last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// How many are lost; `null` where nobody knows. Fewer than lie between, where it is known that the client doesn't
    /// want some.
    pub count: Option<u64>,
    /// Why.
    pub why: Name<'a, Why>,
}

/// An entry of the log that declares messages which never came, by the server's own numbers. It is a `gap` line
/// with a `seq`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct UpstreamGap<'a> {
    /// Its place in the log.
    pub seq: u64,
    /// When the message came that showed it, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// Why: `upstream`.
    pub why: Name<'a, Why>,
    /// The server's first number that is missing.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// How many are missing; `null` where nobody knows: some of them came to a machine of a cluster that is gone.
    pub count: Option<u64>,
    /// What the server's count is of, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<Cow<'a, RawValue>>,
}

/// An entry of the log that declares what the server said while no machine of a cluster had the link: between the time
/// of the entry before and the next `link` line that says `up`. It is a `gap` line with a `seq`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct FailoverGap<'a> {
    /// Its place in the log.
    pub seq: u64,
    /// When the next machine took over, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// Why: `failover`.
    pub why: Name<'a, Why>,
    /// The time of the last entry before, in microseconds since the Unix epoch: what came later was lost.
    pub after_us: u64,
}
