//! The programs of the demo, and what each has had.

use super::tally::Tally;
use crate::protocol::{Ledger, Status};

/// A program that the story is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Actor {
    /// Reads, and sends an order.
    Trader,
    /// Reads, and keeps up.
    Logger,
    /// Stops reading for a while.
    Sleeper,
}

impl Actor {
    pub(super) const ALL: [Actor; 3] = [Actor::Trader, Actor::Logger, Actor::Sleeper];

    pub(super) fn name(self) -> &'static str {
        match self {
            Actor::Trader => "trader",
            Actor::Logger => "logger",
            Actor::Sleeper => "sleeper",
        }
    }
}

/// One of them, so far.
#[derive(Debug, Default)]
pub(super) struct Role {
    /// Its number with the daemon.
    client: Option<u64>,
    /// Entries count from when it is where it wants to be in the log.
    attached: bool,
    pub(super) tally: Tally,
    /// The daemon's count for it.
    pub(super) ledger: Option<Ledger>,
}

impl Role {
    /// The daemon has greeted it.
    pub(super) fn greeted(&mut self, client: u64) {
        self.client = Some(client);
    }

    /// It is where it wants to be in the log.
    pub(super) fn attach(&mut self) {
        self.attached = true;
    }

    /// An entry came. False before it is attached.
    pub(super) fn entry(&mut self, seq: u64) -> bool {
        if self.attached {
            self.tally.entry(seq);
        }
        self.attached
    }

    /// A gap was declared to it. False before it is attached.
    pub(super) fn gap(&mut self, from: u64, to: u64) -> bool {
        if self.attached {
            self.tally.gap(from, to);
        }
        self.attached
    }

    /// The last entry that is accounted for.
    pub(super) fn last(&self) -> u64 {
        self.tally.last()
    }

    /// Takes its row of the daemon's status.
    pub(super) fn count(&mut self, status: &Status<'_>) {
        let row = status.clients.iter().find(|row| Some(row.client) == self.client);
        self.ledger = Some(row.map(|row| row.ledger).unwrap_or_default());
    }

    /// Whether its own count and the daemon's leave nothing open.
    pub(super) fn is_whole(&self) -> bool {
        self.tally.is_whole() && self.ledger.is_none_or(Ledger::balances)
    }
}
