//! One machine with wsfan on it: the shell around [`Machine`], in so far as the simulation needs one.

use std::collections::VecDeque;

use super::clock::{Clock, Us};
use crate::cluster::machine::{Machine, ReadId, Role};

/// A machine, with a wsfan on it or not.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) clock: Clock,
    pub(super) candidate: bool,
    /// How often wsfan was started. What is meant for an older one is nobody's.
    pub(super) life: u64,
    pub(super) daemon: Option<Daemon>,
    pub(super) frozen_until: Us,
    /// It can't reach NATS.
    pub(super) cut: bool,
    /// The number of its connection to NATS.
    pub(super) conn: u64,
    /// Its connection is open, as far as it knows.
    pub(super) knows_up: bool,
    pub(super) timer: Option<Us>,
    /// Requests come to the server in order, in fair weather.
    pub(super) newest_request: Us,
}

/// A wsfan that runs.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) machine: Machine,
    pub(super) hub: Hub,
    pub(super) link: Option<LinkSim>,
    pub(super) read: Option<Reading>,
    pub(super) attached: bool,
}

/// The log in memory.
#[derive(Debug, Default)]
pub(super) struct Hub {
    pub(super) epoch: String,
    /// The next entry that clients get.
    pub(super) next: u64,
    pub(super) staging: bool,
    pub(super) staged: VecDeque<(u64, Vec<u8>)>,
    /// Epochs that there were.
    pub(super) epochs: Vec<String>,
    pub(super) skipped: u64,
}

/// Its connection to the upstream.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkSim {
    pub(super) number: u64,
    pub(super) up: bool,
    pub(super) held: bool,
    pub(super) closing: bool,
}

/// What it reads from the stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) id: ReadId,
    pub(super) conn: u64,
    /// The next place to be read.
    pub(super) cursor: u64,
    /// Nothing comes before this.
    pub(super) newest: Us,
    pub(super) stalled: bool,
}

impl Hub {
    /// Where the next staged entry stands.
    pub(super) fn end(&self) -> u64 {
        self.next + self.staged.len() as u64
    }

    pub(super) fn staged_bytes(&self) -> usize {
        self.staged.iter().map(|(_, line)| line.len()).sum()
    }

    pub(super) fn stage(&mut self, rest: &str, time: Us) {
        let seq = self.end();
        let line = format!("{{\"type\":\"message\",\"seq\":{seq},\"time_us\":{time},{rest}}}\n");
        self.staged.push_back((seq, line.into_bytes()));
    }

    /// As `Staging::lines`.
    pub(super) fn lines(&self, first: u64, max_bytes: usize) -> (Vec<u8>, u64) {
        let mut lines = Vec::new();
        let mut end = first;
        for (seq, line) in self.staged.iter().skip_while(|(seq, _)| *seq < first) {
            if end > first && lines.len() + line.len() > max_bytes {
                break;
            }
            lines.extend_from_slice(line);
            end = seq + 1;
        }
        (lines, end)
    }
}

impl Node {
    pub(super) fn is_up(&self, now: Us) -> bool {
        self.daemon.is_some() && self.frozen_until <= now
    }

    pub(super) fn role(&self, now: Us) -> Option<Role> {
        let daemon = self.daemon.as_ref()?;
        Some(daemon.machine.standing(self.clock.at(now)).role)
    }
}
