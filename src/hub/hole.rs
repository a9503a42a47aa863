//! A hole in the server's own count of its messages.

/// Messages that the server counted and that never came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The first number that is missing.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// What the count is of, as JSON, where there are several (`sequence.per`).
    pub per: Option<String>,
}
