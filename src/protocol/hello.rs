//! The first line.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Cluster, LinkState, Name, PublicValues};

/// The version in [`Hello`]. It changes when a client of the former version could misread a line.
pub const VERSION: u32 = 1;

/// The name and the version of this daemon, in [`Hello`] and in `status`.
pub const SERVER: &str = concat!("wsfan/", env!("CARGO_PKG_VERSION"));

/// The first line to every client of an `envelope` listener.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Hello<'a> {
    /// The version of the protocol.
    pub protocol: u32,
    /// The daemon and its version.
    pub server: Cow<'a, str>,
    /// The random name of this life of the log. Epoch and seq name an entry for ever. In a cluster it is that of all
    /// machines, and empty as long as this one hasn't seen the log since its start.
    pub epoch: Cow<'a, str>,
    /// The newest entry; what comes next has a higher seq.
    pub seq: u64,
    /// The oldest entry that `attach` can reach.
    pub oldest: u64,
    /// The link's present state.
    pub link: Name<'a, LinkState>,
    /// The client's number, for logs and `status`.
    pub client: u64,
    /// The longest line that the client may send, in bytes without its end.
    pub max_line: u64,
    /// The longest line that an entry of the log may have, in bytes with its end.
    pub max_entry: u64,
    /// This machine's name in its cluster; none where there is no cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Cow<'a, str>>,
    /// The cluster, and what this machine is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster<'a>>,
    /// The values of public captures, where the client receives and there are any.
    #[serde(skip_serializing_if = "PublicValues::is_empty")]
    pub public: PublicValues,
}
