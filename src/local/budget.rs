//! What clients may take of the daemon, over all of them.

pub(super) mod places;
pub(super) mod shares;
pub(super) mod unfinished;
