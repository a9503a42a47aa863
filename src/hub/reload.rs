//! What a reload of the configuration came to.

pub use crate::protocol::ReloadResult;

/// A reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// When, in microseconds since the Unix epoch.
    pub time_us: u64,
    /// What came of it.
    pub result: ReloadResult,
    /// What is wrong, in sentences, a line each.
    pub error: Option<String>,
    /// What else there is to tell, for who asked.
    pub changes: Changes,
}

/// What a reload changed, by the keys' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In force at once.
    pub live: Vec<String>,
    /// In force with the new connection that is made.
    pub reconnect: Vec<String>,
    /// Waiting for a restart.
    pub restart: Vec<String>,
}
