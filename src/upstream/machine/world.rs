//! What all connections of the link have in common, and what the machine is given from outside.

use std::time::Instant;

use super::{Slot, pacing::Pacing, seldom::Seldom};
use crate::upstream::{
    session::{Context, memory::Memory},
    settings::Settings,
};

/// Chance, memory, limits, and the wall clock.
#[derive(Debug)]
pub(super) struct World {
    pub(super) random: fastrand::Rng,
    /// What was captured; it outlives the connections.
    pub(super) memory: Memory,
    /// That of the connection in the other seat: the next one's before the change, the old one's after it.
    second: Option<(Slot, Memory)>,
    pub(super) pacing: Pacing,
    /// Of messages that programs were to make and didn't.
    pub(super) unsent: Seldom,
    /// Milliseconds since the Unix epoch, as of the last look at the clock.
    pub(super) now_ms: u64,
}

impl World {
    pub(super) fn new(settings: &Settings, seed: u64) -> World {
        World {
            random: fastrand::Rng::with_seed(seed),
            memory: Memory::default(),
            second: None,
            pacing: Pacing::new(&settings.terms.limits),
            unsent: Seldom::default(),
            now_ms: 0,
        }
    }

    /// What the session in a seat needs.
    pub(super) fn context(&mut self, now: Instant, slot: Slot) -> Context<'_> {
        let memory = match &mut self.second {
            Some((seat, memory)) if *seat == slot => memory,
            _ => &mut self.memory,
        };
        Context { now, now_ms: self.now_ms, random: &mut self.random, memory }
    }

    /// What the connection in a seat goes by.
    pub(super) fn memory_of(&self, slot: Slot) -> &Memory {
        match &self.second {
            Some((seat, memory)) if *seat == slot => memory,
            _ => &self.memory,
        }
    }

    /// A connection in this seat is to take over, with a memory of its own.
    pub(super) fn begin_second(&mut self, slot: Slot, memory: Memory) {
        self.second = Some((slot, memory));
    }

    /// It has taken over from the one in the seat `old`: its memory is the link's.
    pub(super) fn switch(&mut self, old: Slot) {
        if let Some((_, memory)) = self.second.take() {
            self.second = Some((old, std::mem::replace(&mut self.memory, memory)));
        }
    }

    /// Nothing is left of the second connection.
    pub(super) fn end_second(&mut self) {
        self.second = None;
        self.memory.stand_alone();
    }

    /// A connection has heard something: the newer one goes by it too. `newer` is the one that is to take
    /// over, or has.
    pub(super) fn tell_newer(&mut self, heard: Slot, newer: Slot) {
        if heard == newer {
            return;
        }
        match &mut self.second {
            Some((seat, memory)) if *seat == newer => memory.follow(&self.memory),
            Some((seat, memory)) if *seat == heard => self.memory.follow(memory),
            _ => {}
        }
    }
}
