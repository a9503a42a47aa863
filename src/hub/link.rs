//! The link's status: what `link` lines and `status` say of it.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

/// The state of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// An attempt is under way.
    Connecting,
    /// A connection is open and ready.
    Up,
    /// Between two attempts.
    Waiting,
    /// Given up: `max_attempts` are used up. `open` or `reconnect` starts it again.
    Failed,
    /// Closed on request, or not opened yet.
    #[default]
    Closed,
}

impl LinkState {
    /// The state's name in lines and logs.
    pub fn name(self) -> &'static str {
        match self {
            LinkState::Connecting => "connecting",
            LinkState::Up => "up",
            LinkState::Waiting => "waiting",
            LinkState::Failed => "failed",
            LinkState::Closed => "closed",
        }
    }
}

/// Everything there is to know of the link at one moment.
///
/// `code`, `reason`, `http_status` and `error` tell how the last connection or attempt ended. They
/// stay through `connecting` and are gone once the link is `up`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LinkStatus {
    /// The state.
    pub state: LinkState,
    /// When it began, in microseconds since the Unix epoch.
    #[serde(skip)]
    pub since_us: u64,
    /// The number of the newest connection that came up; 0 before the first.
    pub conn: u64,
    /// The server of the present or next attempt, without query and credentials.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The subprotocol that the server chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subprotocol: Option<String>,
    /// The close code: the upstream's, or wsfan's own where wsfan closed; 1006 without a close
    /// frame, 1005 for one without a code (RFC 6455, 7.4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The close frame's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The status of an HTTP answer that refused the upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// What went wrong, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Failed attempts in a row; back to 0 after a stable time up.
    pub attempt: u32,
    /// From `since_us` to the next attempt, in `waiting`.
    #[serde(rename = "retry_in_ms", serialize_with = "millis", skip_serializing_if = "Option::is_none")]
    pub retry_in: Option<Duration>,
    /// When the next attempt is, in `waiting`: what `retry_in` is made from when the line is.
    #[serde(skip)]
    pub retry_at: Option<Instant>,
    /// The newest round trip of the heartbeat. Not in `link` lines: none was measured yet when
    /// a state begins.
    #[serde(skip)]
    pub heartbeat_rtt: Option<Duration>,
}

/// How a connection or an attempt ended: what `status` shows of it also when the link is up again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ending {
    /// When, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// As in [`LinkStatus::code`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// As in [`LinkStatus::reason`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// As in [`LinkStatus::http_status`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// As in [`LinkStatus::error`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl LinkStatus {
    /// The ending that this status tells of, if it is the first to do so.
    pub fn ending(&self) -> Option<Ending> {
        let ended = matches!(self.state, LinkState::Waiting | LinkState::Failed | LinkState::Closed);
        let told = self.code.is_some() || self.http_status.is_some() || self.error.is_some();
        (ended && told).then(|| Ending {
            time_us: self.since_us,
            code: self.code,
            reason: self.reason.clone(),
            http_status: self.http_status,
            error: self.error.clone(),
        })
    }
}

fn millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        None => serializer.serialize_none(),
    }
}
