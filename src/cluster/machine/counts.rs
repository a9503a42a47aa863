//! What is counted since the daemon's start, for `status` and metrics.

/// The counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Attempts to lead.
    pub(crate) stood: u64,
    /// Those that came to a term.
    pub(crate) elected: u64,
    /// Terms that ended since the lease had run out: nothing was acknowledged for so long.
    pub(crate) fenced_lease: u64,
    /// Terms that ended since another node leads.
    pub(crate) fenced_superseded: u64,
    /// Terms that ended since the stream is gone, or was rolled back.
    pub(crate) fenced_stream: u64,
    /// Terms that were ended in order.
    pub(crate) stepped_down: u64,
    /// Messages that were passed over: written by somebody else, or by a leader that wasn't one any more.
    pub(crate) strays: u64,
    /// Times that the stream was found to have lost what it had acknowledged.
    pub(crate) breaches: u64,
    /// Appends that were answered by no, or not at all, and settled by asking.
    pub(crate) settled: u64,
    /// Entries that this node will never have: the stream had let go of them before it came to them.
    pub(crate) discarded: u64,
}

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

impl Counts {
    pub(super) fn fenced(&mut self, why: Fenced) {
        let count = match why {
            Fenced::Lease => &mut self.fenced_lease,
            Fenced::Superseded => &mut self.fenced_superseded,
            Fenced::Gone | Fenced::Breach => &mut self.fenced_stream,
        };
        *count += 1;
    }
}
