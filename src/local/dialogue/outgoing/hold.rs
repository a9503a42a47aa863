//! Why entries are held back from a client for now.

/// Whether they are, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// They go out.
    No,
    /// The client has just come, and may still say where it wants to begin.
    Newcomer,
    /// It has said so, and this machine of a cluster isn't as far yet. What is here it has already.
    Ahead,
}

impl Hold {
    pub(super) fn is_any(self) -> bool {
        self != Hold::No
    }
}
