//! What one machine leaves to the next, when a link follows another.

use super::{Machine, orders::is_another_session, pacing::Pacing};
use crate::upstream::{
    session::{memory::Memory, sequence::Counts},
    settings::Settings,
};

/// What must go on when one link follows another in a process: how far the server's limits are used up, for the server
/// counts by account or address and knows nothing of links, and more would have it ban us; and what is remembered of
/// the session, as between two connections of one link. All else begins anew: delays and failures are a link's own.
#[derive(Debug)]
pub(in crate::upstream) struct Past {
    pacing: Pacing,
    memory: Memory,
    /// What is remembered means nothing to the next connection.
    is_stale: bool,
    /// The settings that it was remembered with.
    settings: Settings,
}

impl Past {
    /// What goes on where another process held the link since, or all the time: its session is unknown here, but for
    /// the server's counts. What the limits had let out here, and commands have printed, stays.
    pub(in crate::upstream) fn of_others(before: Option<Past>, counts: Counts, settings: Settings) -> Past {
        let (pacing, mut memory) =
            before.map(|Past { pacing, memory, .. }| (pacing, memory)).unwrap_or_default();
        memory.forget_heard();
        *memory.counts() = counts;
        Past { pacing, memory, is_stale: false, settings }
    }
}

impl Machine {
    /// Goes on from what the machine before has left. To be told before [`Input::Start`](super::Input::Start).
    pub(in crate::upstream) fn go_on_from(&mut self, past: Past) {
        let Past { mut pacing, memory, is_stale, settings } = past;
        pacing.set(&self.settings.terms.limits);
        (self.world.pacing, self.world.memory) = (pacing, memory);
        self.is_stale = is_stale || is_another_session(&settings, &self.settings);
    }

    /// Leaves what the machine after this one goes on from. This one is at its end.
    pub(in crate::upstream) fn leave(&mut self) -> Past {
        self.world.end_second();
        Past {
            pacing: std::mem::take(&mut self.world.pacing),
            memory: std::mem::take(&mut self.world.memory),
            is_stale: self.is_stale,
            settings: self.settings.clone(),
        }
    }

    /// Counts connections on from those of a link before.
    pub(in crate::upstream) fn count_on(&mut self, conn: u64) {
        self.conn = conn;
    }
}
