//! What `hello` and `status` say of the cluster, where several machines have one link and one log.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Name, name::names};

names! {
    /// What a machine is in its cluster.
    #[derive(Default)]
    pub enum ClusterState {
        /// It isn't with the log: it knows of no entry, or of no newer one.
        #[default]
        Detached = "detached",
        /// It goes along with the log, and another machine may have the link.
        Follower = "follower",
        /// It tries to lead.
        Candidate = "candidate",
        /// It leads: the link is this machine's.
        Leader = "leader",
        /// It led, and has closed the link; it looks for its place in the log.
        Fenced = "fenced",
    }
}

names! {
    /// Why a machine is `detached` or `fenced`.
    pub enum ClusterWhy {
        /// It has just been started.
        Starting = "starting",
        /// NATS can't be reached, or can't be used as it is.
        Nats = "nats",
        /// The stream isn't there.
        Gone = "gone",
        /// The stream doesn't answer: too few of its servers are there, or they elect.
        Unanswered = "unanswered",
        /// The stream has lost what it had acknowledged.
        Breach = "breach",
        /// Entries are there that this machine doesn't get.
        Lagging = "lagging",
        /// Nothing that it said was stored for too long.
        Lease = "lease",
        /// Another machine leads.
        Superseded = "superseded",
    }
}

/// A machine in its cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Cluster<'a> {
    /// The cluster's name.
    pub name: Cow<'a, str>,
    /// What this machine is in it.
    pub state: Name<'a, ClusterState>,
    /// Why it is `detached` or `fenced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Name<'a, ClusterWhy>>,
    /// What is wrong, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
    /// The machine that leads, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<Cow<'a, str>>,
    /// The newest term that is known; 0 before the first.
    pub term: u64,
}

/// The same, in `status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ClusterStatus<'a> {
    /// As in `hello`.
    #[serde(flatten)]
    pub cluster: Cluster<'a>,
    /// How many messages of the stream this machine doesn't have yet, as far as is known.
    pub lag: u64,
    /// How long the leader may still have the link; only on the leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_left_ms: Option<u64>,
    /// What is counted since the daemon's start.
    pub counters: ClusterCounts,
}

/// What a machine counts of its cluster since the daemon's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ClusterCounts {
    /// Attempts to lead.
    pub stood: u64,
    /// Those that came to a term.
    pub elected: u64,
    /// Terms that weren't ended in order, by cause.
    pub fenced: FencedCounts,
    /// Terms that were ended in order.
    pub stepped_down: u64,
    /// Appends that weren't acknowledged, and settled by asking the stream.
    pub settled: u64,
    /// Messages of the stream that aren't the log's: written by somebody else, or by a leader that was none any more.
    pub strays: u64,
    /// Times that the stream was found to have lost what it had acknowledged.
    pub breaches: u64,
    /// Entries that this machine will never have: the stream had let go of them before it came to them.
    pub discarded: u64,
    /// Clients' sends that were handed to the leader.
    pub forwarded: u64,
}

/// Terms that weren't ended in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct FencedCounts {
    /// Nothing was acknowledged for 0.7 of the lease.
    pub lease: u64,
    /// Another machine led.
    pub superseded: u64,
    /// The stream was gone, or had lost something.
    pub stream: u64,
}
