//! The reply lines that a client hasn't read yet, and the memory that they take.

use std::{cell::Cell, rc::Rc};

/// A lane of bytes: what is added goes out in its order.
#[derive(Debug)]
pub(super) struct Unread {
    lines: Vec<u8>,
    /// So much of them is written.
    written: usize,
    /// What they take, and what those of all clients take together.
    charged: usize,
    of_all: Rc<Cell<usize>>,
}

impl Unread {
    /// So much may be written and still held.
    const MAX_WRITTEN: usize = 64 << 10;

    /// None yet; `of_all` counts the memory of all clients' replies.
    pub(super) fn new(of_all: Rc<Cell<usize>>) -> Unread {
        Unread { lines: Vec::new(), written: 0, charged: 0, of_all }
    }

    pub(super) fn add(&mut self, lines: &[u8]) {
        self.add_by(|held| held.extend_from_slice(lines));
    }

    /// Adds what `write` appends.
    pub(super) fn add_by(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.lines);
        self.charge();
    }

    pub(super) fn clear(&mut self) {
        self.replace(Vec::new());
    }

    /// These alone are to be written, from their begin on.
    pub(super) fn replace(&mut self, words: Vec<u8>) {
        (self.lines, self.written) = (words, 0);
        self.charge();
    }

    /// What isn't written yet.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.lines[self.written..]
    }

    /// So much of [`Unread::bytes`] is out.
    pub(super) fn wrote(&mut self, written: usize) {
        self.written += written;
        if self.bytes().is_empty() {
            (self.lines, self.written) = (Vec::new(), 0);
        } else if self.written > Unread::MAX_WRITTEN {
            self.lines.drain(..std::mem::take(&mut self.written));
        }
        self.charge();
    }

    /// Whether they take memory.
    pub(super) fn hold(&self) -> bool {
        self.charged > 0
    }

    fn charge(&mut self) {
        let memory = self.lines.capacity();
        self.of_all.set(self.of_all.get() + memory - self.charged);
        self.charged = memory;
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.of_all.set(self.of_all.get() - self.charged);
    }
}
