//! The end of a snapshot.

use serde::{Deserialize, Serialize};

/// All last values that the client may have are said; entries follow. What is newer than `seq` comes among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SnapshotEnd {
    /// The entry after which the client goes on.
    pub seq: u64,
    /// How many lines the snapshot had.
    pub count: u64,
    /// How many last values were let go for want of room, since the daemon's start.
    pub dropped: u64,
}
