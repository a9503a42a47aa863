//! What all connections of the link have in common, and what the machine is given from outside.

use std::time::Instant;

use super::pacing::Pacing;
use crate::upstream::{
    session::{Context, memory::Memory},
    settings::Settings,
};

/// Chance, memory, limits, and the wall clock.
#[derive(Debug)]
pub(in crate::upstream) struct World {
    pub(in crate::upstream) random: fastrand::Rng,
    /// What was captured; it outlives the connections.
    pub(in crate::upstream) memory: Memory,
    pub(in crate::upstream) pacing: Pacing,
    /// Milliseconds since the Unix epoch, as of the last look at the clock.
    pub(in crate::upstream) now_ms: u64,
}

impl World {
    pub(in crate::upstream) fn new(settings: &Settings, seed: u64) -> World {
        World {
            random: fastrand::Rng::with_seed(seed),
            memory: Memory::default(),
            pacing: Pacing::new(&settings.terms.limits),
            now_ms: 0,
        }
    }

    /// What a session needs.
    pub(in crate::upstream) fn context(&mut self, now: Instant) -> Context<'_> {
        Context { now, now_ms: self.now_ms, random: &mut self.random, memory: &mut self.memory }
    }
}
