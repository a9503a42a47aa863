//! What people and clients are told of a node's state. Pure.

use std::time::Instant;

use crate::{
    cluster::machine::{Away, Fenced, Role, Standing},
    hub::{ClusterCounts, ClusterNow, ClusterState, ClusterWhy},
};

/// Says in what clients are shown how a node stands. `trouble` is what is wrong with NATS, in a sentence.
pub(super) fn show(
    shown: &mut ClusterNow,
    standing: &Standing,
    counts: &ClusterCounts,
    trouble: Option<&str>,
    now: Instant,
) {
    let (state, why) = match standing.role {
        Role::Detached(away) => (ClusterState::Detached, Some(why_away(away))),
        Role::Follower => (ClusterState::Follower, None),
        Role::Candidate => (ClusterState::Candidate, None),
        Role::Leader => (ClusterState::Leader, None),
        Role::Fenced(fenced) => (ClusterState::Fenced, Some(why_fenced(fenced))),
    };
    (shown.state, shown.why) = (state, why);
    shown.error = trouble.map(str::to_owned);
    shown.leader = standing.leader.clone();
    shown.term = standing.term;
    shown.lag = standing.lag;
    shown.lease_until = standing.lease_left.map(|left| now + left);
    // what was handed to leaders is counted elsewhere
    shown.counts = ClusterCounts { forwarded: shown.counts.forwarded, ..*counts };
}

fn why_away(away: Away) -> ClusterWhy {
    match away {
        Away::Starting => ClusterWhy::Starting,
        Away::Nats => ClusterWhy::Nats,
        Away::Gone => ClusterWhy::Gone,
        Away::Unanswered => ClusterWhy::Unanswered,
        Away::Breach => ClusterWhy::Breach,
        Away::Lagging => ClusterWhy::Lagging,
    }
}

fn why_fenced(fenced: Fenced) -> ClusterWhy {
    match fenced {
        Fenced::Lease => ClusterWhy::Lease,
        Fenced::Superseded => ClusterWhy::Superseded,
        Fenced::Gone => ClusterWhy::Gone,
        Fenced::Breach => ClusterWhy::Breach,
    }
}

/// Why this node isn't with the log, as its clients are told.
pub(super) fn away(away: Away, trouble: Option<&str>) -> String {
    let why = match away {
        Away::Starting => "this node looks for its place in the cluster's log",
        Away::Nats => "the cluster's stream can't be read from here",
        Away::Gone => "the cluster's stream isn't there",
        Away::Unanswered => {
            "the cluster's stream doesn't answer: too few of its servers are there, or it has no leader"
        }
        Away::Breach => "the cluster's stream has lost what it had stored: a new epoch is to begin",
        Away::Lagging => "this node hasn't got entries that are in the cluster's stream",
    };
    match trouble {
        Some(trouble) => format!("{why}: {trouble}"),
        None => why.to_owned(),
    }
}

/// Why this node leads no more.
pub(super) fn fenced(why: Fenced) -> &'static str {
    match why {
        Fenced::Lease => "nothing was acknowledged for 0.7 of the lease",
        Fenced::Superseded => "another node leads",
        Fenced::Gone => "the stream is gone",
        Fenced::Breach => "the stream has lost what it had stored",
    }
}
