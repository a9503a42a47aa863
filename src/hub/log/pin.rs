//! A line that clients are in the middle of. Pure.

use std::{cell::OnceCell, ops::Deref, rc::Rc};

use super::buffer::Buffer;

/// A line that clients are in the middle of: once it leaves the log, it is kept for them, alone.
#[derive(Debug)]
pub(in crate::hub) struct Pin {
    pub(super) seq: u64,
    kept: OnceCell<Kept>,
}

/// A line that has left the log. Derefs to its bytes.
#[derive(Debug)]
pub(in crate::hub) struct Kept {
    memory: Buffer,
    length: usize,
    before: u64,
}

impl Pin {
    pub(super) fn new(seq: u64) -> Pin {
        Pin { seq, kept: OnceCell::new() }
    }

    /// The line, if it has left the log.
    pub(in crate::hub) fn kept(&self) -> Option<&Kept> {
        self.kept.get()
    }

    /// Whether anyone but the log has it.
    pub(super) fn is_needed(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) > 1
    }

    /// Keeps the line, which is the first `length` bytes of `memory`, and had `before` bytes of its
    /// format before it.
    pub(super) fn keep(&self, memory: Buffer, length: usize, before: u64) {
        let kept = self.kept.set(Kept { memory, length, before });
        debug_assert!(kept.is_ok(), "a line leaves the log once");
    }

    /// What it takes outside the log.
    pub(super) fn memory(&self) -> usize {
        self.kept().map_or(0, |kept| kept.memory.memory())
    }
}

impl Kept {
    /// How many bytes of the format went before it.
    pub(in crate::hub) fn before(&self) -> u64 {
        self.before
    }
}

impl Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}
