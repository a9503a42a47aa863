//! A JetStream stream, as far as the cluster sees it.

use std::collections::VecDeque;

use super::reference::Reference;
use crate::cluster::machine::{Message, Stored};

/// The stream, and what it means.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Stream {
    messages: VecDeque<Stored>,
    /// The newest place that was ever given out.
    last: u64,
    pub(super) reference: Reference,
}

impl Stream {
    pub(in crate::cluster) fn last(&self) -> u64 {
        self.last
    }

    /// Stores a message if the last place is the one that is expected.
    pub(in crate::cluster) fn append(&mut self, expect: u64, message: &Message) -> Option<u64> {
        if expect != self.last {
            return None;
        }
        self.last += 1;
        let body = message.body.bytes().to_vec();
        let stored = Stored { place: self.last, header: Some(message.header.clone()), body };
        self.reference.stored(&stored);
        self.messages.push_back(stored);
        Some(self.last)
    }

    /// Stores what anybody wrote.
    pub(super) fn write(&mut self, stored: Stored) {
        self.last += 1;
        let stored = Stored { place: self.last, ..stored };
        self.reference.stored(&stored);
        self.messages.push_back(stored);
    }

    /// Some message from this place on.
    pub(in crate::cluster) fn from(&self, place: u64) -> impl Iterator<Item = &Stored> {
        let at = self.messages.partition_point(|stored| stored.place < place);
        self.messages.range(at..)
    }

    /// Lets go of all but the newest, by which the log can still be told from what others write; or of all.
    pub(super) fn keep(&mut self, count: usize) {
        if count == 0 {
            self.messages.clear();
            self.reference.emptied = true;
            return;
        }
        let needed = self.reference.newest(8);
        let count = count.max(self.from(needed).count());
        let gone = self.messages.len().saturating_sub(count);
        self.messages.drain(..gone);
    }

    /// Loses the newest, as after a power loss.
    pub(super) fn roll_back(&mut self, count: usize) {
        for _ in 0..count {
            let Some(stored) = self.messages.pop_back() else { break };
            self.last = stored.place - 1;
        }
        self.reference.roll_back(self.last);
        self.reference.emptied |= self.messages.is_empty();
    }

    /// Is deleted, and made again.
    pub(in crate::cluster) fn begin_anew(&mut self) {
        self.messages.clear();
        self.last = 0;
        self.reference.roll_back(0);
    }
}
