//! The answer to `status`: the daemon, its link, its log, and who is connected.

use std::{borrow::Cow, time::Instant};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    fanout::{ClientStatus, Fanout, Totals},
    protocol,
};
use crate::hub::{Configured, Ending, Hub, LinkStatus, Reload, Traffic};

/// The fields of the answer; `docs/protocol.md` explains each.
#[derive(Serialize)]
struct Status<'a> {
    server: &'a str,
    pid: u32,
    uptime_s: u64,
    config: Config<'a>,
    epoch: &'a str,
    link: Link<'a>,
    traffic: Traffic,
    outbox: Outbox,
    sends: Sends,
    log: Log,
    totals: Totals,
    clients: Vec<ClientStatus>,
}

#[derive(Serialize)]
struct Config<'a> {
    #[serde(flatten)]
    configured: &'a Configured,
    /// The last one, if there was any.
    #[serde(skip_serializing_if = "Option::is_none")]
    reload: Option<Cow<'a, Reload>>,
    /// The keys that wait for a restart.
    restart: &'a [String],
}

#[derive(Serialize)]
struct Link<'a> {
    since_us: u64,
    #[serde(flatten)]
    status: &'a LinkStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_rtt_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_end: Option<&'a Ending>,
}

#[derive(Serialize)]
struct Outbox {
    waiting: usize,
}

#[derive(Serialize)]
struct Sends {
    dropped: u64,
}

#[derive(Serialize)]
struct Log {
    seq: u64,
    oldest: u64,
    bytes: usize,
    max_bytes: usize,
}

/// The line for client `you` of a daemon that started at `started`: with `all` there is to know, or without what
/// concerns others.
pub(super) fn answer(
    id: Option<&RawValue>,
    hub: &Hub,
    fanout: &Fanout,
    you: u64,
    all: bool,
    started: Instant,
) -> Vec<u8> {
    let link = hub.link();
    let last_end = hub.last_end();
    let log = hub.log();
    let reload = hub.last_reload();
    let status = Status {
        server: protocol::SERVER,
        pid: std::process::id(),
        uptime_s: started.elapsed().as_secs(),
        config: Config {
            configured: &hub.configured(),
            reload: reload.as_ref().map(|reload| shown(reload, all)),
            restart: reload.as_ref().map_or(&[], |reload| &reload.changes.restart),
        },
        epoch: hub.epoch(),
        link: Link {
            since_us: link.since_us,
            status: &link,
            heartbeat_rtt_us: link.heartbeat_rtt.map(|rtt| rtt.as_micros() as u64),
            last_end: last_end.as_ref(),
        },
        traffic: hub.traffic(),
        outbox: Outbox { waiting: hub.waiting() },
        sends: Sends { dropped: hub.dropped() },
        log: Log {
            seq: log.head(),
            oldest: log.oldest(),
            bytes: log.bytes(),
            max_bytes: log.limits().max_bytes,
        },
        totals: fanout.totals(),
        clients: fanout.rows(you, all),
    };
    protocol::status(id, &status)
}

/// A reload as who asks may see it: its sentences quote the configuration.
fn shown(reload: &Reload, all: bool) -> Cow<'_, Reload> {
    match all || reload.error.is_none() {
        true => Cow::Borrowed(reload),
        false => Cow::Owned(Reload { error: None, ..reload.clone() }),
    }
}
