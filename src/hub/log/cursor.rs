//! A client's place in the log, and its ledger. Pure.

use std::{cell::Cell, ops::Range, rc::Rc};

use super::{Kept, Log, Picked, Pin, picked::PickedLine};
use crate::{config::Format, protocol::Why};

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
    passed: u64,
    /// Where it doesn't get all.
    narrow: Option<Box<Narrow>>,
}

/// What a cursor has beside, that gets only what is picked for it.
#[derive(Debug, Default)]
struct Narrow {
    /// Whoever follows has what it wants up to here; none for one that wants all.
    upto: Option<Rc<Cell<u64>>>,
    /// It catches up: of the entries up to here it gets only the newest of each topic; 0 where it doesn't.
    latest_to: u64,
    /// It is told when there is something for it, and has passed all up to `upto` that isn't.
    follows: bool,
    /// The next entry is wanted.
    is_picked: bool,
}

/// What lies ahead of a cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum Ahead<'a> {
    /// Nothing: it is at the log's head.
    Nothing,
    /// These bytes, whole lines but for the rest of one already begun.
    Bytes(Stretch<'a>),
    /// Entries of which those that it gets must be picked, from this one on: see [`Cursor::wrote_picked`]. Up to
    /// `latest_to`, where it is there, only the newest of each topic are, and the others declared lost.
    ToPick {
        /// The first.
        from: u64,
        /// Where it catches up: see [`Cursor::catch_up`].
        latest_to: Option<u64>,
    },
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
    /// How many they are: those between that the client doesn't want don't count, if that is known.
    pub count: u64,
    /// Why, one cause for all of them.
    pub why: Why,
}

impl Lost {
    /// All entries from one to another.
    pub fn all(from: u64, to: u64, why: Why) -> Lost {
        Lost { from, to, count: to + 1 - from, why }
    }
}

/// What a client was told of what it doesn't get, in what was picked for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ToldLost<'a> {
    /// How many gaps.
    pub gaps: u64,
    /// How many entries in them.
    pub entries: u64,
    /// The rest of the last one's line, which is to be written next.
    pub rest: &'a [u8],
}

impl Cursor {
    /// A cursor right after entry `after`.
    pub fn new(format: Format, after: u64) -> Cursor {
        Cursor {
            format,
            base: after,
            next: after + 1,
            offset: 0,
            pin: None,
            delivered: 0,
            lost: 0,
            passed: 0,
            narrow: None,
        }
    }

    /// Begins a new ledger right after entry `after`, and moves the cursor to right after `start`: what lies
    /// between is declared lost. A line half delivered must be finished first: see
    /// [`Cursor::at_line_start`].
    pub fn seek(&mut self, after: u64, start: u64) {
        debug_assert!(self.at_line_start());
        let upto = self.narrow.take().and_then(|narrow| narrow.upto);
        *self = Cursor { base: after, lost: start - after, ..Cursor::new(self.format, start) };
        self.narrow(upto);
    }

    /// From its place on, it gets only what is picked for it; `upto` is up to where those have it that follow. `None`:
    /// it gets all. The line under way is finished.
    pub fn narrow(&mut self, upto: Option<Rc<Cell<u64>>>) {
        self.settle();
        self.narrow = upto.map(|upto| Box::new(Narrow { upto: Some(upto), ..Narrow::default() }));
    }

    /// Has it catch up: of all that lies ahead now it gets the newest message of each topic, and what has no topic. The
    /// others count as lost, and are declared as they are picked. Where it does already, that goes on. True: it begins.
    pub fn catch_up(&mut self, log: &Log) -> bool {
        self.fall_behind();
        let is_lost = self.is_lost(log);
        let is_on = self.narrow.as_ref().is_some_and(|narrow| narrow.latest_to >= self.next);
        if self.next > log.head() || (is_on && !is_lost) {
            return false;
        }
        let narrow = self.narrow.get_or_insert_default();
        (narrow.latest_to, narrow.is_picked) = (log.head(), false);
        !is_on
    }

    /// Has it get all again that it wants.
    pub fn stop_catching_up(&mut self) {
        if let Some(narrow) = &mut self.narrow {
            narrow.latest_to = 0;
            self.narrow.take_if(|narrow| narrow.upto.is_none());
        }
    }

    /// Where it has all that there is for it, lets it follow: from now on it is to be given what it wants in time, and
    /// passes the rest by itself. True: it follows.
    pub fn follow(&mut self, log: &Log) -> bool {
        self.settle();
        let is_done = self.at_line_start() && self.next > log.head();
        self.narrow.as_mut().is_some_and(|narrow| {
            narrow.follows = is_done;
            is_done
        })
    }

    /// Lets it follow no longer.
    pub fn fall_behind(&mut self) {
        self.settle();
        self.narrow.iter_mut().for_each(|narrow| narrow.follows = false);
    }

    /// Passes what it has passed by following.
    fn settle(&mut self) {
        let place = self.place();
        self.passed += place - self.next;
        self.next = place;
    }

    /// Its next entry.
    fn place(&self) -> u64 {
        match &self.narrow {
            Some(narrow) if narrow.follows => {
                self.next.max(narrow.upto.as_ref().map_or(0, |upto| upto.get() + 1))
            }
            _ => self.next,
        }
    }

    /// Whether the bytes delivered so far end with a whole line, so that another may go between.
    pub fn at_line_start(&self) -> bool {
        self.offset == 0
    }

    /// The next entry to deliver.
    pub fn next(&self) -> u64 {
        self.place()
    }

    /// Whether an entry that lies ahead is no longer held. The one under way is: the cursor keeps it.
    pub fn is_lost(&self, log: &Log) -> bool {
        !self.lost(log).is_empty()
    }

    /// Whether one of those is lost since the client read too slowly.
    pub fn is_too_slow(&self, log: &Log) -> bool {
        let Range { start, end } = self.lost(log);
        start < end && log.why_gone(start, end) != (Why::Discarded, end)
    }

    /// The entries that lie ahead and are no longer held.
    fn lost(&self, log: &Log) -> Range<u64> {
        self.place() + u64::from(!self.at_line_start())..log.oldest_of(self.format)
    }

    /// What to write next.
    pub fn ahead<'a>(&'a mut self, log: &'a Log) -> Ahead<'a> {
        if self.narrow.is_some() {
            return self.ahead_narrow(log);
        }
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

    /// [`Cursor::ahead`], where it doesn't get all: the rest of a line, or what must be picked.
    fn ahead_narrow<'a>(&'a mut self, log: &'a Log) -> Ahead<'a> {
        self.settle();
        if self.narrow.as_ref().is_some_and(|narrow| (1..self.next).contains(&narrow.latest_to)) {
            self.stop_catching_up();
            return self.ahead(log);
        }
        if let Some(line) = self.kept() {
            let place = (self.format, line.before());
            return Ahead::Bytes(Stretch { chunk: line, start: self.offset, place });
        }
        if self.pin.is_none() {
            if self.next > log.head() {
                return Ahead::Nothing;
            }
            if self.next < log.oldest_of(self.format) {
                return Ahead::Lost;
            }
            if let Some(narrow) = self.narrow.as_ref().filter(|narrow| !narrow.is_picked) {
                let latest_to = Some(narrow.latest_to).filter(|to| *to > 0);
                return Ahead::ToPick { from: self.next, latest_to };
            }
        }
        let Some(chunk) = log.chunk(self.next, self.format) else { return Ahead::Nothing };
        let start = chunk.start(self.next) + self.offset;
        let end = if self.next + 1 == chunk.end() { chunk.lines().len() } else { chunk.start(self.next + 1) };
        Ahead::Bytes(Stretch { chunk: &chunk.lines()[..end], start, place: (self.format, chunk.before()) })
    }

    /// Records that the first `written` bytes of what was picked from [`Ahead::ToPick`] on are out.
    pub fn wrote_picked<'a>(&mut self, log: &mut Log, picked: &'a Picked, written: usize) -> ToldLost<'a> {
        debug_assert!(self.at_line_start() && self.next == picked.from);
        let Picked { bytes, lines, .. } = picked;
        let is_all = written == bytes.len();
        let mut whole = match is_all {
            true => lines.len(),
            false => lines.partition_point(|line| line.end <= written),
        };
        let mut offset = match is_all {
            true => 0,
            false => written - whole.checked_sub(1).map_or(0, |last| lines[last].end),
        };
        let mut told = ToldLost::default();
        if let Some(PickedLine { end, lost: 1.., .. }) = lines.get(whole)
            && offset > 0
        {
            // once begun, it is told
            told.rest = &bytes[written..*end];
            (whole, offset) = (whole + 1, 0);
        }
        if picked.has_gaps {
            let gaps = lines[..whole].iter().filter(|line| line.lost > 0);
            (told.gaps, told.entries) = gaps.fold((0, 0), |(gaps, all), gap| (gaps + 1, all + gap.lost));
        }
        let next = lines.get(whole).map_or(picked.to, |line| line.seq);
        let delivered = whole as u64 - told.gaps;
        self.delivered += delivered;
        self.lost += told.entries;
        self.passed += next - self.next - delivered - told.entries;
        (self.next, self.offset) = (next, offset);
        if offset > 0 {
            self.pin = log.pin(next, self.format);
        }
        let is_line_next = match lines.get(whole) {
            Some(line) => line.lost == 0,
            None => picked.is_giant_next,
        };
        self.narrow.iter_mut().for_each(|narrow| narrow.is_picked = is_line_next);
        told
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
        if moved > 0
            && let Some(narrow) = &mut self.narrow
        {
            narrow.is_picked = false;
        }
        self.delivered += moved;
        self.next = next;
        self.offset = offset;
        if offset == 0 {
            self.pin = None;
        } else if moved > 0 || self.pin.is_none() {
            self.pin = log.pin(next, self.format);
        }
    }

    /// Declares what is lost next, all for one cause, and moves past it. `None` when nothing is.
    pub fn skip_lost(&mut self, log: &Log) -> Option<Lost> {
        self.settle();
        let oldest = log.oldest_of(self.format);
        if self.pin.is_some() || self.next >= oldest {
            return None;
        }
        let (why, end) = log.why_gone(self.next, oldest);
        let lost = Lost::all(self.next, end - 1, why);
        self.narrow.iter_mut().for_each(|narrow| narrow.is_picked = false);
        self.lost += lost.count;
        self.next = end;
        Some(lost)
    }

    /// The balance now.
    pub fn ledger(&self, log: &Log) -> Ledger {
        let place = self.place();
        Ledger {
            entries: log.head() - self.base,
            delivered: self.delivered,
            lost: self.lost,
            passed: self.passed + (place - self.next),
            ahead: log.head() + 1 - place,
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
