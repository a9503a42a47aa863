//! Terms that aren't ended in order.

use crate::protocol::cluster::FencedCounts;

/// Why a term ended that wasn't ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fenced {
    /// Nothing was acknowledged for 0.7 of the lease.
    Lease,
    /// Another node leads.
    Superseded,
    /// The stream is gone.
    Gone,
    /// The stream has lost what it had acknowledged.
    Breach,
}

impl Fenced {
    /// Counts one such end.
    pub(super) fn count(self, counts: &mut FencedCounts) {
        let count = match self {
            Fenced::Lease => &mut counts.lease,
            Fenced::Superseded => &mut counts.superseded,
            Fenced::Gone | Fenced::Breach => &mut counts.stream,
        };
        *count += 1;
    }
}
