//! Lines picked from the log, laid end to end for one write. Pure.

use super::{Log, cursor::Lost};
use crate::config::Format;

/// What a cursor that doesn't get all is given: of the entries from one to another those that are wanted, and what
/// declares others that it will not get.
#[derive(Debug, Default)]
pub struct Picked {
    /// The first of the entries.
    pub from: u64,
    /// One past the last of them.
    pub to: u64,
    /// The lines of those that are wanted, and of gaps.
    pub(super) bytes: Vec<u8>,
    /// What they are, in their order.
    pub(super) lines: Vec<PickedLine>,
    /// Some of them are gaps.
    pub(super) has_gaps: bool,
    /// The entry at `to` is wanted, and too long to be laid beside others: it is to be written from where it is.
    pub(super) is_giant_next: bool,
}

/// One line.
#[derive(Debug, Clone, Copy)]
pub(super) struct PickedLine {
    /// Its entry, or the first one that it declares lost.
    pub(super) seq: u64,
    /// Where it ends.
    pub(super) end: usize,
    /// How many entries it declares lost; 0 for an entry's.
    pub(super) lost: u64,
}

impl Picked {
    /// Empty, for the entries from `from` on.
    pub fn begin(&mut self, from: u64) {
        (self.from, self.to, self.is_giant_next, self.has_gaps) = (from, from, false, false);
        self.bytes.clear();
        self.lines.clear();
    }

    /// Adds the line of an entry that the log holds. False: there is no room for it within `most` bytes, and
    /// [`Picked::to`] must be this entry.
    pub fn add(&mut self, log: &Log, seq: u64, format: Format, most: usize) -> bool {
        let line = log.line(seq, format).unwrap_or_default();
        if self.bytes.len() + line.len() > most {
            self.is_giant_next = self.bytes.is_empty();
            return false;
        }
        self.bytes.extend_from_slice(line);
        self.lines.push(PickedLine { seq, end: self.bytes.len(), lost: 0 });
        true
    }

    /// Adds the line that declares entries lost, from the first of them on, which will not be had though the log holds
    /// them. False: there is no room for it within `most` bytes, and [`Picked::to`] must be the first of them.
    pub fn add_gap(&mut self, lost: Lost, line: &[u8], most: usize) -> bool {
        if self.bytes.len() + line.len() > most && !self.bytes.is_empty() {
            return false;
        }
        self.bytes.extend_from_slice(line);
        self.has_gaps = true;
        self.lines.push(PickedLine { seq: lost.from, end: self.bytes.len(), lost: lost.count });
        true
    }

    /// The lines, end to end.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
