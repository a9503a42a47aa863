//! What is said and heard with one client, without its socket.

pub(super) mod lines;
pub(super) mod outgoing;
pub(super) mod replies;
pub(super) mod rights;
mod snapshot;
mod trail;
