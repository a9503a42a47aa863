//! `[[capture]]`: what is kept of messages.

use super::{Pattern, Pointer};

/// One `[[capture]]`: of each message that matches, values are kept by name, in the script and after it.
///
/// What is captured outlives the connection, until a rule, a hole or a step says `fresh`.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    /// `match`: which messages.
    pub pattern: Pattern,
    /// `values`: names, and where their values are. Never empty. Where the message has no value, what was
    /// captured before stays.
    pub values: Vec<(String, Pointer)>,
}
