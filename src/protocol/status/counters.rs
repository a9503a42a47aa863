//! What `status` says of what has gone wrong, by cause.

use serde::{Deserialize, Serialize};

/// What has gone wrong since the daemon's start, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Counters {
    /// The link's attempts and ends.
    pub link: LinkCounts,
    /// Gaps that clients were told of.
    pub gaps: GapCounts,
    /// Clients that were cut off.
    pub cut_off: CutCounts,
    /// Clients that weren't taken in, since there were too many.
    pub refused_clients: u64,
    /// Sends that failed, by the code that their clients were told; those of clients that had gone too.
    pub failed_sends: SendCounts,
    /// Requests, by what came of them.
    pub requests: RequestCounts,
    /// Holes in the server's own count of its messages.
    pub upstream_gaps: HoleCounts,
    /// Messages whose topic was too long, or had control characters in it.
    pub unfit_topics: u64,
    /// Replies and heartbeats that weren't sent, since the program of their `send_command` made no message.
    pub failed_programs: u64,
}

/// The link's attempts and ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LinkCounts {
    /// Attempts, but for those of a connection that is to take over from another.
    pub attempts: u64,
    /// Connections that came up, those that took over among them.
    pub up: u64,
    /// Attempts that the server, or what stands before it, refused with an HTTP status.
    pub refused: u64,
    /// Attempts that failed otherwise.
    pub failed: u64,
    /// Connections that ended with a close code.
    pub closed: u64,
    /// Connections that ended without one (1006), or that wsfan gave up for what was said on them, or wasn't.
    pub lost: u64,
    /// Connections that were to take over from another, and failed.
    pub failed_takeovers: u64,
}

/// Gaps that clients were told of, by their `why`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct GapCounts {
    /// Clients that fell out of the log.
    pub slow_client: u64,
    /// Clients for whom entries never came here.
    pub discarded: u64,
    /// Clients that came back too late.
    pub expired: u64,
    /// Clients that came back after a restart.
    pub epoch: u64,
    /// Those told to clients that caught up, of messages after which newer ones of their topics came.
    pub conflated: u64,
    /// Entries lost in them, as far as is known: not those of another life of the log.
    pub entries: u64,
}

/// Clients that were cut off, by the `why` of their `bye`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct CutCounts {
    /// They fell out of the log.
    pub slow_client: u64,
    /// They are `raw` ones, and can't be told of entries that never came here.
    pub discarded: u64,
    /// They sent what ends a connection.
    pub bad_client: u64,
    /// A reload took away their listener, or their right to receive.
    pub reconfigured: u64,
    /// Another connection took over their name.
    pub taken_over: u64,
    /// They had stopped reading, and more than `memory.stalled_lines` was kept for such clients; they got no `bye`.
    pub stalled: u64,
}

/// Sends that failed, by code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SendCounts {
    /// The link wasn't up, and there was no outbox.
    pub link_down: u64,
    /// They waited for too long.
    pub expired: u64,
    /// The outbox had no room.
    pub outbox_full: u64,
    /// They were over `limits.max_message`.
    pub too_large: u64,
    /// They were over `limits.messages`.
    pub rate_limited: u64,
    /// They answered a request of the server's that somebody had answered.
    pub answered: u64,
    /// They answered a request of the server's, which clients of other listeners do.
    pub forbidden: u64,
    /// They answered a request of the server's, which another client had claimed.
    pub answerer_taken: u64,
    /// They had an id by which somebody else awaited an answer.
    pub id_taken: u64,
    /// They were requests that can't be given an id.
    pub bad_request: u64,
    /// They named a public capture that had no value.
    pub no_value: u64,
    /// The connection ended while they were being written.
    pub unknown: u64,
}

/// Requests, by what came of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RequestCounts {
    /// They have their answer, or the first of several.
    pub answered: u64,
    /// None came in time.
    pub timeout: u64,
    /// The connection ended after they were written, or while they were.
    pub unknown: u64,
    /// The link wasn't up; or their further answers ended with the connection.
    pub link_down: u64,
    /// Their clients wanted no more.
    pub cancelled: u64,
    /// Their answers came faster than their clients read.
    pub overrun: u64,
    /// Answers that came when nobody waited for them any more.
    pub late: u64,
    /// Requests from the server that nobody answered in time.
    pub unanswered: u64,
}

/// Holes in the server's own count of its messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct HoleCounts {
    /// How many were declared.
    pub declared: u64,
    /// The messages missing in them.
    pub messages: u64,
}
