//! What a reload of the configuration came to.

use serde::Serialize;

/// A reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// When, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// What came of it.
    pub result: ReloadResult,
    /// What is wrong, in sentences, a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What else there is to tell, for who asked.
    #[serde(skip)]
    pub changes: Changes,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadResult {
    /// The new configuration is in force, but for what waits for a restart.
    Applied,
    /// The same, but for listeners that couldn't be bound or changed.
    Partly,
    /// The old one stays in force.
    Refused,
}

/// What a reload changed, by the keys' names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// In force at once.
    pub live: Vec<String>,
    /// In force with the new connection that is made.
    pub reconnect: Vec<String>,
    /// Waiting for a restart.
    pub restart: Vec<String>,
}
