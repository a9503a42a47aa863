//! What `wsfan status` says of the cluster.

use std::{fmt::Write as _, time::Duration};

use crate::{
    cli::{
        format::{self, clean, count, counted},
        pretty::{BAD, BUSY, GOOD, styled},
    },
    protocol::cluster::{Cluster, ClusterCounts, ClusterState, ClusterStatus, FencedCounts},
};

/// What this machine is in its cluster, who leads, and how far it lags.
pub(super) fn now(node: &str, status: &ClusterStatus<'_>) -> String {
    let Cluster { name, state, why, error, leader, term } = &status.cluster;
    let known = state.known();
    let style = match known {
        Some(ClusterState::Leader | ClusterState::Follower) => GOOD,
        Some(ClusterState::Candidate) => BUSY,
        Some(ClusterState::Detached | ClusterState::Fenced) | None => BAD,
    };
    let mut text = format!("{}, as {}: {}", clean(name), clean(node), styled(style, clean(state.name())));
    if let Some(why) = why {
        let _ = write!(text, " ({})", clean(why.name()));
    }
    match leader.as_deref().filter(|_| known != Some(ClusterState::Leader)) {
        Some(leader) if known == Some(ClusterState::Follower) => {
            let _ = write!(text, " of {}", clean(leader));
        }
        Some(leader) => {
            let _ = write!(text, "; the last leader known is {}", clean(leader));
        }
        None if known == Some(ClusterState::Follower) => text += "; nobody leads",
        None => {}
    }
    if *term > 0 {
        let _ = write!(text, ", term {term}");
    }
    if let Some(left) = status.lease_left_ms {
        let _ = write!(text, ", {} of the lease left", format::duration(Duration::from_millis(left)));
    }
    if status.lag > 0 {
        let _ = write!(text, ", {} of the stream behind", counted(status.lag, "message", "messages"));
    }
    if let Some(error) = error {
        let _ = write!(text, ": {}", clean(error));
    }
    text
}

/// What has happened so far; nothing where nothing has.
pub(super) fn terms(counts: ClusterCounts) -> String {
    let ClusterCounts {
        stood,
        elected,
        fenced,
        stepped_down,
        settled,
        strays,
        breaches,
        discarded,
        forwarded,
    } = counts;
    let FencedCounts { lease, superseded, stream } = fenced;
    let causes = [(lease, "by the lease"), (superseded, "by another machine"), (stream, "by the stream")];
    let causes = causes.iter().filter(|(number, _)| *number > 0);
    let causes: Vec<_> = causes.map(|(number, cause)| format!("{} {cause}", count(*number))).collect();
    let all = [
        (
            stood,
            format!("{} of {}", counted(elected, "election", "elections"), counted(stood, "try", "tries")),
        ),
        (lease.saturating_add(superseded).saturating_add(stream), format!("fenced {}", causes.join(", "))),
        (stepped_down, format!("{} in order", counted(stepped_down, "hand-over", "hand-overs"))),
        (settled, format!("{} settled by asking", counted(settled, "append", "appends"))),
        (strays, counted(strays, "message that isn't the log's", "messages that aren't the log's")),
        (breaches, counted(breaches, "breach of the stream", "breaches of the stream")),
        (
            discarded,
            counted(discarded, "entry gone before it came here", "entries gone before they came here"),
        ),
        (forwarded, format!("{} handed to the leader", counted(forwarded, "send", "sends"))),
    ];
    all.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::cluster::ClusterWhy;

    fn shown(status: &ClusterStatus<'_>) -> String {
        anstream::adapter::strip_str(&now("host-b", status)).to_string()
    }

    #[test]
    fn each_state_is_told_with_what_is_known() {
        let of = |state, leader: Option<&'static str>, term| Cluster {
            name: "prices".into(),
            state: ClusterState::into(state),
            leader: leader.map(Into::into),
            term,
            ..Cluster::default()
        };
        let with = |cluster| ClusterStatus { cluster, ..ClusterStatus::default() };
        for (status, text) in [
            (
                with(of(ClusterState::Follower, Some("host-a"), 8)),
                "prices, as host-b: follower of host-a, term 8",
            ),
            (with(of(ClusterState::Follower, None, 8)), "prices, as host-b: follower; nobody leads, term 8"),
            (
                ClusterStatus { lag: 3, ..with(of(ClusterState::Follower, Some("host-a"), 8)) },
                "prices, as host-b: follower of host-a, term 8, 3 messages of the stream behind",
            ),
            (
                ClusterStatus {
                    lease_left_ms: Some(1400),
                    ..with(of(ClusterState::Leader, Some("host-b"), 9))
                },
                "prices, as host-b: leader, term 9, 1.4 s of the lease left",
            ),
            (with(of(ClusterState::Candidate, None, 0)), "prices, as host-b: candidate"),
            (
                with(Cluster {
                    why: Some(ClusterWhy::Nats.into()),
                    error: Some("NATS can't be reached".into()),
                    ..of(ClusterState::Detached, Some("host-a"), 8)
                }),
                "prices, as host-b: detached (nats); the last leader known is host-a, term 8: NATS can't be reached",
            ),
            (
                with(Cluster { why: Some(ClusterWhy::Lease.into()), ..of(ClusterState::Fenced, None, 8) }),
                "prices, as host-b: fenced (lease), term 8",
            ),
        ] {
            assert_eq!(shown(&status), text);
        }
        let odd = Cluster { name: "\u{1b}[2J".into(), ..of(ClusterState::Leader, None, 1) };
        assert!(!shown(&with(odd)).contains('\u{1b}'));
    }

    #[test]
    fn what_is_counted_is_told_by_cause() {
        assert_eq!(terms(ClusterCounts::default()), "");
        let counts = ClusterCounts {
            stood: 3,
            elected: 2,
            fenced: FencedCounts { lease: 1, superseded: 0, stream: 2 },
            stepped_down: 1,
            ..ClusterCounts::default()
        };
        assert_eq!(
            terms(counts),
            "2 elections of 3 tries; fenced 1 by the lease, 2 by the stream; 1 hand-over in order"
        );
        let rest = ClusterCounts {
            settled: 1,
            strays: 2,
            breaches: 1,
            discarded: 1_000,
            forwarded: 5,
            ..ClusterCounts::default()
        };
        assert_eq!(
            terms(rest),
            "1 append settled by asking; 2 messages that aren't the log's; 1 breach of the stream; 1,000 entries gone \
             before they came here; 5 sends handed to the leader"
        );
    }
}
