//! What clients may take of the daemon, over all of them.

pub(super) mod headcount;
pub(super) mod patterns;
pub(super) mod rates;
pub(super) mod shares;
pub(super) mod unfinished;
