//! Where a connection is to be made.

use super::memory::Captures;

/// Where an attempt goes.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::upstream) enum Destination {
    /// To the configured URL at this index; or where the command says, if there is one.
    Configured(usize),
    /// To `upstream.resume_url`, with what is captured.
    Resume(Captures),
}
