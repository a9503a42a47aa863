//! What a node says of itself: to the others in short and often, and in full to `wsfan cluster status`.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::{
    hub::{ClusterCounts, Hub},
    protocol::cluster::FencedCounts,
};

/// The longest that is read, in bytes: anybody who may write there may have written it.
const MAX: usize = 16 << 10;

/// That a node is there; said on [`Names::here`](super::nats::Names::here).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beat {
    /// Its name.
    pub(super) node: String,
    /// A number of this process's own, by which two of one name are told apart.
    pub(super) run: u64,
    /// It may lead.
    #[serde(default)]
    pub(super) candidate: bool,
    /// It goes, and won't be heard any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) bye: bool,
    /// It has seen that the stream lost entries of this epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) void: Option<String>,
    /// It leads, and the link is so, by the newest entry that tells of it: its line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
}

/// How a node is; the answer to a question on [`Names::who`](super::nats::Names::who).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    /// Its name.
    pub(crate) node: String,
    /// A name of this process's own.
    pub(crate) run: String,
    /// The version of its wsfan.
    pub(crate) version: String,
    /// It may lead.
    pub(crate) candidate: bool,
    /// What it is: `leader`, `follower`, `candidate`, `detached`, `fenced`.
    pub(crate) state: String,
    /// Why it is detached or fenced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// What is wrong, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Who leads, as far as it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leader: Option<String>,
    /// The newest term that it knows.
    pub(crate) term: u64,
    /// The log's epoch; empty where it knows of none.
    pub(crate) epoch: String,
    /// The newest entry that its clients have.
    pub(crate) head: u64,
    /// How many messages of the stream it doesn't have yet.
    pub(crate) lag: u64,
    /// How long the leader may still have the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lease_left_ms: Option<u64>,
    /// The link's state, as it says it to its clients.
    pub(crate) link: String,
    /// What it counts.
    pub(crate) counters: ClusterCounts,
}

impl Beat {
    /// As it is said.
    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From what was heard; none where it makes no sense.
    pub(super) fn read(payload: &[u8]) -> Option<Beat> {
        let beat: Beat = serde_json::from_slice(payload.get(..payload.len().min(MAX))?).ok()?;
        (!beat.node.is_empty()).then_some(beat)
    }
}

impl Report {
    /// How the node of this hub is; none where it is in no cluster.
    pub(super) fn of(hub: &Hub, now: Instant, run: u64, candidate: bool) -> Option<Report> {
        let cluster = hub.cluster()?;
        Some(Report {
            node: cluster.node.to_string(),
            run: format!("{run:016x}"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            candidate,
            state: cluster.state.name().to_owned(),
            why: cluster.why.map(|why| why.name().to_owned()),
            error: cluster.error.clone(),
            leader: cluster.leader.as_ref().map(ToString::to_string),
            term: cluster.term,
            epoch: hub.epoch().to_owned(),
            head: hub.log().head(),
            lag: cluster.lag,
            lease_left_ms: cluster.lease_until.map(|until| {
                u64::try_from(until.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX)
            }),
            link: hub.link().state.name().to_owned(),
            counters: cluster.counts,
        })
    }

    /// As it is said.
    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From an answer; none where it makes no sense.
    pub(crate) fn read(payload: &[u8]) -> Option<Report> {
        let report: Report = serde_json::from_slice(payload.get(..payload.len().min(MAX))?).ok()?;
        (!report.node.is_empty()).then_some(report)
    }

    /// Terms that it didn't end in order.
    pub(crate) fn fenced(&self) -> u64 {
        let FencedCounts { lease, superseded, stream } = self.counters.fenced;
        lease + superseded + stream
    }
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, time::Duration};

    use super::*;
    use crate::{
        config,
        hub::{ClusterNow, ClusterState, ClusterWhy},
    };

    #[test]
    fn a_beat_is_read_as_it_was_said_and_a_newer_one_too() {
        let beat = Beat { node: "a".into(), run: 7, candidate: true, bye: false, void: None, link: None };
        assert_eq!(String::from_utf8(beat.write()).unwrap(), r#"{"node":"a","run":7,"candidate":true}"#);
        let void = Beat { void: Some("9f".into()), bye: true, link: Some("{}".into()), ..beat.clone() };
        assert_eq!(Beat::read(&void.write()), Some(void));
        assert_eq!(Beat::read(br#"{"node":"a","run":7,"candidate":true,"more":[1]}"#), Some(beat));
        for nonsense in ["", "{}", r#"{"node":"","run":1}"#, r#"{"node":"a","run":-1}"#, "[1]"] {
            assert_eq!(Beat::read(nonsense.as_bytes()), None, "{nonsense}");
        }
        let long = format!(r#"{{"node":"{}","run":1}}"#, "a".repeat(MAX));
        assert_eq!(Beat::read(long.as_bytes()), None);
    }

    #[test]
    fn a_report_says_what_status_says() {
        let hub = Hub::new("9f".into(), &config::History::default(), false);
        let now = Instant::now();
        assert_eq!(Report::of(&hub, now, 7, true), None);
        let mut cluster = ClusterNow {
            name: Rc::from("x"),
            node: Rc::from("a"),
            state: ClusterState::Leader,
            leader: Some(Rc::from("a")),
            term: 3,
            lease_until: Some(now + Duration::from_millis(900)),
            ..ClusterNow::default()
        };
        cluster.counts.fenced.lease = 2;
        cluster.counts.fenced.stream = 1;
        hub.set_cluster(cluster);
        let report = Report::of(&hub, now, 7, true).unwrap();
        assert_eq!((report.state.as_str(), report.lease_left_ms, report.fenced()), ("leader", Some(900), 3));
        assert_eq!(Report::read(&report.write()), Some(report));

        hub.change_cluster(|now| {
            (now.state, now.why) = (ClusterState::Detached, Some(ClusterWhy::Nats));
            now.lease_until = None;
        });
        let report = Report::of(&hub, now, 7, true).unwrap();
        assert_eq!((report.state.as_str(), report.why.as_deref()), ("detached", Some("nats")));
        assert_eq!(Report::read(&report.write()), Some(report));
        assert_eq!(Report::read(br#"{"node":""}"#), None);
    }
}
