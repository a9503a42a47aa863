//! Where a send comes from.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// The client that a send comes from, for its share.
#[derive(Debug, Default)]
pub struct Origin {
    /// The user that it runs as.
    pub uid: u32,
    /// Its number.
    pub client: u64,
    /// It is another machine's.
    is_remote: bool,
    gone: Cell<Option<Instant>>,
}

impl Origin {
    /// So long the sends of a client that has gone may wait for their turn: in the lane, and for what the server's
    /// limits let out. Those in the outbox wait for its `ttl`.
    pub const AFTERLIFE: Duration = Duration::from_secs(30);

    /// A client.
    pub fn new(uid: u32, client: u64) -> Origin {
        Origin { uid, client, ..Origin::default() }
    }

    /// A client of another machine. What it sends waits in an outbox there, and in none here.
    pub fn remote(uid: u32, client: u64) -> Origin {
        Origin { uid, client, is_remote: true, ..Origin::default() }
    }

    /// Whether it is another machine's.
    pub fn is_remote(&self) -> bool {
        self.is_remote
    }

    /// Notes that it has gone; the first time counts. Says whether this was it.
    pub fn leave(&self, now: Instant) -> bool {
        let is_first = self.gone.get().is_none();
        if is_first {
            self.gone.set(Some(now));
        }
        is_first
    }

    /// When its sends that still wait for their turn are dropped; `None` as long as it is there.
    pub fn end(&self) -> Option<Instant> {
        self.gone.get().map(|gone| gone + Origin::AFTERLIFE)
    }
}
