//! The answer to `status`: the daemon, its link, its log, and who is connected.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use serde_json::value::RawValue;

use super::fanout::Fanout;
use crate::{
    hub::{self, Hub},
    protocol::{
        Line, PublicValues, SERVER, Status,
        status::{
            Configuration, Held, LastEnd, LastReload, LinkNow, NameRow, Outbox, Retained, Sends,
            Subscriptions, TopicRow, TopicState,
        },
    },
};

/// What a client may see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// All there is to know, or not what concerns others.
    pub(super) all: bool,
    /// The values of public captures.
    pub(super) public: bool,
}

/// The line for client `you` of a daemon that started at `started`, with what it may see.
pub(super) fn answer(
    id: Option<&RawValue>,
    hub: &Hub,
    fanout: &Fanout,
    you: u64,
    Shown { all, public }: Shown,
    started: Instant,
) -> Vec<u8> {
    let link = hub.link();
    let last_end = hub.last_end();
    let configured = hub.configured();
    let reload = hub.last_reload();
    let log = hub.log();
    let topics = hub.topics();
    let cluster = hub.cluster();
    let status = Status {
        id: id.map(Cow::Borrowed),
        server: SERVER.into(),
        pid: Some(std::process::id()),
        uptime_s: started.elapsed().as_secs(),
        config: Configuration {
            file: configured.file.as_deref().map(Into::into),
            upstream: configured.upstream.as_str().into(),
            reload: reload.as_ref().map(|reload| LastReload {
                time_us: reload.time_us,
                result: reload.result.into(),
                // its sentences quote the configuration
                error: reload.error.as_deref().filter(|_| all).map(Into::into),
            }),
            restart: reload.as_ref().map_or(Cow::Borrowed(&[]), |reload| (&reload.changes.restart).into()),
        },
        epoch: hub.epoch().into(),
        node: cluster.as_ref().map(|now| (&*now.node).into()),
        cluster: cluster.as_ref().map(|now| now.status()),
        link: LinkNow {
            since_us: link.since_us,
            fields: link.fields(),
            heartbeat_rtt_us: link.heartbeat_rtt.map(|rtt| rtt.as_micros() as u64),
            last_end: last_end.as_ref().map(|end| LastEnd {
                time_us: end.time_us,
                ended: end.ended(),
                node: end.node.as_deref().map(Into::into),
            }),
        },
        traffic: hub.counters().traffic(),
        outbox: Outbox { waiting: hub.waiting() as u64 },
        sends: Sends { dropped: hub.counters().dropped() },
        counters: hub.counters().troubles(),
        log: Held {
            seq: log.head(),
            oldest: log.oldest(),
            bytes: log.bytes() as u64,
            max_bytes: log.retention().max_bytes as u64,
            topics: log.topics().map(|topics| topics as u64).or(configured.topics.then_some(0)),
        },
        public: if public { hub.public() } else { PublicValues::default() },
        retained: log.retained().zip(log.retains()).map(|(retained, retain)| Retained {
            values: retained.values as u64,
            bytes: retained.bytes as u64,
            max_bytes: retain.bounds.bytes as u64,
            dropped: retained.dropped,
        }),
        subscriptions: topics.terms().map(|terms| Subscriptions {
            topics: topics.len() as u64,
            max: terms.max as u64,
            rows: topics.rows((!all).then_some(you)).take(MAX_TOPICS).map(row).collect(),
        }),
        totals: Some(fanout.totals()),
        clients: fanout.rows(you, all),
        names: if all { names(hub) } else { Vec::new() },
    };
    Line::Status(Box::new(status)).write()
}

/// The names whose clients are gone.
fn names(hub: &Hub) -> Vec<NameRow<'static>> {
    let row = |(name, uid, seq, gone): (&str, u32, u64, Duration)| NameRow {
        name: name.to_owned().into(),
        uid,
        seq,
        gone_s: gone.as_secs(),
    };
    hub.names().kept(tokio::time::Instant::now().into_std()).map(row).collect()
}

/// So many topics have a row.
const MAX_TOPICS: usize = 1000;

fn row<'t>((topic, clients, state): (&'t hub::Topic, usize, hub::TopicState)) -> TopicRow<'t> {
    let state = match state {
        hub::TopicState::Subscribed => TopicState::Subscribed,
        hub::TopicState::Waiting => TopicState::Waiting,
        hub::TopicState::Lingering => TopicState::Lingering,
    };
    TopicRow { topic: Cow::Borrowed(topic), clients: clients as u64, state: state.into() }
}
