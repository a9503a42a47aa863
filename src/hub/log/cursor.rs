//! A client's place in the log, and its ledger. Pure.

use std::rc::Rc;

use super::{Kept, Log, Pin};
use crate::config::Format;

pub use crate::protocol::Ledger;

#[cfg(test)]
mod tests;

/// A place in the log, down to the byte, with the counts that must balance.
#[derive(Debug)]
pub struct Cursor {
    format: Format,
    /// The entry after which the ledger began.
    base: u64,
    /// The next entry to deliver.
    next: u64,
    /// How much of its line is delivered already.
    offset: usize,
    /// Keeps the half-delivered line, whatever happens to the log.
    pin: Option<Rc<Pin>>,
    delivered: u64,
    lost: u64,
}

/// What lies ahead of a cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum Ahead<'a> {
    /// Nothing: it is at the log's head.
    Nothing,
    /// These bytes, whole lines but for the rest of one already begun.
    Bytes(Stretch<'a>),
    /// Its next entry is no longer held: a gap must be declared with [`Cursor::skip_lost`].
    Lost,
}

/// Bytes of the log that lie ahead of a cursor, and where they are. Derefs to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch<'a> {
    /// The bytes that lie with them, before and after; they stay what they are while the log grows.
    pub chunk: &'a [u8],
    /// Where in the chunk they begin.
    pub start: usize,
    /// The format, and how many of its bytes the log had before the chunk's: together they name the
    /// chunk's bytes for ever.
    pub place: (Format, u64),
}

impl std::ops::Deref for Stretch<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk[self.start..]
    }
}

/// Entries that a client will not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
}

impl Lost {
    /// How many they are.
    pub fn count(&self) -> u64 {
        self.to + 1 - self.from
    }
}

impl Cursor {
    /// A cursor right after entry `after`.
    pub fn new(format: Format, after: u64) -> Cursor {
        Cursor { format, base: after, next: after + 1, offset: 0, pin: None, delivered: 0, lost: 0 }
    }

    /// Begins a new ledger right after entry `after`, and moves the cursor to right after `start`: what lies
    /// between is declared lost. A line half delivered must be finished first: see
    /// [`Cursor::at_line_start`].
    pub fn seek(&mut self, after: u64, start: u64) {
        debug_assert!(self.at_line_start());
        *self = Cursor { base: after, lost: start - after, ..Cursor::new(self.format, start) };
    }

    /// Whether the bytes delivered so far end with a whole line, so that another may go between.
    pub fn at_line_start(&self) -> bool {
        self.offset == 0
    }

    /// The next entry to deliver.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether an entry that lies ahead is no longer held. The one under way is: the cursor keeps it.
    pub fn is_lost(&self, log: &Log) -> bool {
        self.next + u64::from(!self.at_line_start()) < log.oldest_of(self.format)
    }

    /// What to write next.
    pub fn ahead<'a>(&'a mut self, log: &'a Log) -> Ahead<'a> {
        while self.kept().is_none() {
            if self.pin.is_none() {
                if self.next > log.head() {
                    return Ahead::Nothing;
                }
                if self.next < log.oldest_of(self.format) {
                    return Ahead::Lost;
                }
            }
            let Some(chunk) = log.chunk(self.next, self.format) else { return Ahead::Nothing };
            let start = chunk.start(self.next) + self.offset;
            let (lines, end) = log.committed(chunk);
            if start < lines.len() {
                let place = (self.format, chunk.before());
                return Ahead::Bytes(Stretch { chunk: lines, start, place });
            }
            // the chunk's remaining entries have no line in this format
            self.delivered += end - self.next;
            self.next = end;
            self.pin = None;
        }
        match self.kept() {
            Some(line) => {
                let place = (self.format, line.before());
                Ahead::Bytes(Stretch { chunk: line, start: self.offset, place })
            }
            None => Ahead::Nothing,
        }
    }

    /// The bytes up to the end of the line that is half delivered; nothing at a line's start.
    pub fn rest_of_line<'a>(&'a self, log: &'a Log) -> &'a [u8] {
        if self.at_line_start() {
            return &[];
        }
        if let Some(line) = self.kept() {
            return &line[self.offset..];
        }
        let Some(chunk) = log.chunk(self.next, self.format) else { return &[] };
        &chunk.lines()[chunk.start(self.next) + self.offset..chunk.start(self.next + 1)]
    }

    /// Records that the first `written` bytes of [`Ahead::Bytes`] are out.
    pub fn wrote(&mut self, log: &mut Log, written: usize) {
        if written == 0 {
            return;
        }
        let (next, offset) = match self.kept() {
            Some(line) if self.offset + written < line.len() => (self.next, self.offset + written),
            Some(_) => (self.next + 1, 0),
            None => {
                let Some(chunk) = log.chunk(self.next, self.format) else { return };
                let at = chunk.start(self.next) + self.offset + written;
                let (lines, end) = log.committed(chunk);
                if at >= lines.len() {
                    (end, 0)
                } else {
                    let next = chunk.entry_at(at);
                    (next, at - chunk.start(next))
                }
            }
        };
        let moved = next - self.next;
        self.delivered += moved;
        self.next = next;
        self.offset = offset;
        if offset == 0 {
            self.pin = None;
        } else if moved > 0 || self.pin.is_none() {
            self.pin = log.pin(next, self.format);
        }
    }

    /// Declares what is lost, and moves past it. `None` when nothing is.
    pub fn skip_lost(&mut self, log: &Log) -> Option<Lost> {
        let oldest = log.oldest_of(self.format);
        if self.pin.is_some() || self.next >= oldest {
            return None;
        }
        let lost = Lost { from: self.next, to: oldest - 1 };
        self.lost += lost.count();
        self.next = oldest;
        Some(lost)
    }

    /// The balance now.
    pub fn ledger(&self, log: &Log) -> Ledger {
        Ledger {
            entries: log.head() - self.base,
            delivered: self.delivered,
            lost: self.lost,
            ahead: log.head() + 1 - self.next,
        }
    }

    /// Lets go of the line under way, which won't be finished: it lies ahead again, for good.
    pub fn abandon(&mut self) {
        self.offset = 0;
        self.pin = None;
    }

    /// Whether the line under way is held for this client, and others in the middle of it, alone.
    pub fn is_kept(&self) -> bool {
        self.kept().is_some()
    }

    /// The line under way, if it has left the log.
    fn kept(&self) -> Option<&Kept> {
        self.pin.as_ref()?.kept()
    }
}
