//! Programs that make messages, which run as long as somebody waits for what they print.

use std::time::Instant;

use super::{Machine, Slot, find};

impl Machine {
    /// Whether the outcome of this run is still awaited. Else the program is to end: its connection does, or what it
    /// was to make isn't wanted any more.
    pub(in crate::upstream) fn awaits_run(&self, slot: Slot, id: u64) -> bool {
        !self.closes(slot) && self.channel(slot).is_some_and(|channel| channel.session.awaits_run(id))
    }

    /// Whether [`Machine::poll_action`] has something.
    pub(in crate::upstream) fn has_to_do(&self) -> bool {
        !self.actions.is_empty()
    }

    /// A program has ended that was run for a connection.
    pub(super) fn ran(&mut self, now: Instant, slot: Slot, id: u64, outcome: Result<Vec<u8>, String>) {
        if self.awaits_run(slot, id) {
            let Machine { state, rotation, world, .. } = self;
            let Some(channel) = find(state, rotation, slot) else { return };
            channel.ran(now, world, id, outcome);
            self.settle(now, slot);
        }
    }
}
