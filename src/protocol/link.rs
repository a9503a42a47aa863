//! The link's state.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Name, name::names};

names! {
    /// The state of the link.
    #[derive(Default)]
    pub enum LinkState {
        /// An attempt is under way.
        Connecting = "connecting",
        /// A connection is open and ready.
        Up = "up",
        /// Between two attempts.
        Waiting = "waiting",
        /// Given up: `max_attempts` are used up. `open` or `reconnect` starts it again.
        Failed = "failed",
        /// Closed on request, or not opened yet.
        #[default]
        Closed = "closed",
    }
}

/// The line that tells of a new state of the link, or tells it again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Link<'a> {
    /// Its place in the log; none where the state is said again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When the state began, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// The state, and what goes with it.
    #[serde(flatten)]
    pub fields: LinkFields<'a>,
}

/// What `link` lines and `status` say of the link. What is not known, or doesn't apply, is left out.
///
/// How it [ended] tells of the last connection or attempt. That stays through `connecting`, and is gone once the link
/// is `up`.
///
/// [ended]: LinkFields::ended
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LinkFields<'a> {
    /// The state.
    pub state: Name<'a, LinkState>,
    /// The number of the newest connection that came up; 0 before the first.
    pub conn: u64,
    /// The server of the present or next attempt, without query and credentials.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub url: Cow<'a, str>,
    /// The subprotocol that the server chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subprotocol: Option<Cow<'a, str>>,
    /// How the last connection or attempt ended.
    #[serde(flatten)]
    pub ended: Ended<'a>,
    /// Failed attempts in a row; back to 0 after a stable time up.
    pub attempt: u32,
    /// From the time of this state to the next attempt, in `waiting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
    /// The machine of a cluster that has the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Cow<'a, str>>,
    /// The term in which it has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
}

/// How a connection or an attempt ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Ended<'a> {
    /// The close code: the upstream's, or wsfan's own where wsfan closed; 1006 without a close frame, 1005 for one
    /// without a code (RFC 6455, 7.4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The close frame's reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// The status of an HTTP answer that refused the upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// What went wrong, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
}

impl Link<'_> {
    /// How its lines begin, and no others.
    pub const BEGINNING: &'static [u8] = br#"{"type":"link","#;
}
