//! A client's place in the log, and its ledger. Pure.

use std::rc::Rc;

use serde::Serialize;

use super::log::{Chunk, Log};
use crate::config::Format;

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
    /// Keeps the chunk of a half-delivered line, whatever happens to the log.
    pin: Option<Rc<Chunk>>,
    delivered: u64,
    lost: u64,
}

/// What lies ahead of a cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum Ahead<'a> {
    /// Nothing: it is at the log's head.
    Nothing,
    /// These bytes, whole lines but for the rest of one already begun.
    Bytes(&'a [u8]),
    /// Its next entry is no longer held: a gap must be declared with [`Cursor::skip_lost`].
    Lost,
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

/// The balance of a client: `entries = delivered + lost + ahead`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Entries in the log since the client attached.
    pub entries: u64,
    /// Written to its socket, whole. In the raw format an entry without a raw line counts as soon
    /// as the client is past it.
    pub delivered: u64,
    /// Declared lost.
    pub lost: u64,
    /// Still ahead of its cursor, those that it will find lost included.
    pub ahead: u64,
}

impl Cursor {
    /// A cursor right after entry `after`.
    pub fn new(format: Format, after: u64) -> Cursor {
        Cursor { format, base: after, next: after + 1, offset: 0, pin: None, delivered: 0, lost: 0 }
    }

    /// Moves the cursor to right after entry `after`, and begins a new ledger there. A line half
    /// delivered must be finished first: see [`Cursor::at_line_start`].
    pub fn seek(&mut self, after: u64) {
        debug_assert!(self.at_line_start());
        *self = Cursor::new(self.format, after);
    }

    /// Whether the bytes delivered so far end with a whole line, so that another may go between.
    pub fn at_line_start(&self) -> bool {
        self.offset == 0
    }

    /// The next entry to deliver.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// What to write next.
    pub fn ahead<'a>(&'a mut self, log: &'a Log) -> Ahead<'a> {
        loop {
            if self.pin.is_none() {
                if self.next > log.head() {
                    return Ahead::Nothing;
                }
                if self.next < log.oldest() {
                    return Ahead::Lost;
                }
            }
            let (start, end, length) = {
                let chunk = self.chunk(log);
                (chunk.start(self.next, self.format) + self.offset, chunk.end(), chunk.bytes(self.format).len())
            };
            if start < length {
                return Ahead::Bytes(&self.chunk(log).bytes(self.format)[start..]);
            }
            // the chunk's remaining entries have no line in this format
            self.delivered += end - self.next;
            self.next = end;
            self.pin = None;
        }
    }

    /// The bytes up to the end of the line that is half delivered; nothing at a line's start.
    pub fn rest_of_line<'a>(&'a self, log: &'a Log) -> &'a [u8] {
        if self.at_line_start() {
            return &[];
        }
        let chunk = self.chunk(log);
        let start = chunk.start(self.next, self.format);
        let end = chunk.start(self.next + 1, self.format);
        &chunk.bytes(self.format)[start + self.offset..end]
    }

    /// Records that the first `written` bytes of [`Ahead::Bytes`] are out.
    pub fn wrote(&mut self, log: &mut Log, written: usize) {
        if written == 0 {
            return;
        }
        let (next, offset) = {
            let chunk = self.chunk(log);
            let at = chunk.start(self.next, self.format) + self.offset + written;
            if at >= chunk.bytes(self.format).len() {
                (chunk.end(), 0)
            } else {
                let next = chunk.entry_at(at, self.format);
                (next, at - chunk.start(next, self.format))
            }
        };
        let moved = next - self.next;
        self.delivered += moved;
        self.next = next;
        self.offset = offset;
        if offset == 0 {
            self.pin = None;
        } else if self.pin.is_none() {
            self.pin = Some(log.pin(next));
        }
    }

    /// Declares what is lost, and moves past it. `None` when nothing is.
    pub fn skip_lost(&mut self, log: &Log) -> Option<Lost> {
        if self.pin.is_some() || self.next >= log.oldest() {
            return None;
        }
        let lost = Lost { from: self.next, to: log.oldest() - 1 };
        self.lost += lost.count();
        self.next = log.oldest();
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

    fn chunk<'a>(&'a self, log: &'a Log) -> &'a Chunk {
        match &self.pin {
            Some(chunk) => chunk,
            None => log.chunk(self.next),
        }
    }
}
