//! Lines picked from the log, laid end to end for one write. Pure.

use super::Log;
use crate::config::Format;

/// What a cursor that narrows is given: of the entries from one to another those that are wanted.
#[derive(Debug, Default)]
pub struct Picked {
    /// The first of the entries.
    pub from: u64,
    /// One past the last of them.
    pub to: u64,
    /// The lines of those that are wanted.
    pub(super) bytes: Vec<u8>,
    /// Their entries, and where each one's line ends.
    pub(super) lines: Vec<(u64, usize)>,
    /// The entry at `to` is wanted, and too long to be laid beside others: it is to be written from where it is.
    pub(super) is_giant_next: bool,
}

impl Picked {
    /// Empty, for the entries from `from` on.
    pub fn begin(&mut self, from: u64) {
        (self.from, self.to, self.is_giant_next) = (from, from, false);
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
        self.lines.push((seq, self.bytes.len()));
        true
    }

    /// The lines, end to end.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
