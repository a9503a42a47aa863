//! A snapshot on its way to one client: last values, and then that they are all. Pure.
//!
//! It holds no more than a piece of what it has to say. Values are gone through by their `seq`, up to the entry after
//! which the client goes on: one that is updated meanwhile has a higher one from then on, and comes among the entries.

use std::rc::Rc;

use crate::{
    hub::{LastValue, Log},
    protocol::{Line, SnapshotEnd},
};

#[cfg(test)]
mod tests;

/// So many bytes of lines are put together, but for a line that is longer.
const PIECE_BYTES: usize = 32 << 10;
/// A line that is longer isn't copied.
const LONG: usize = 16 << 10;
/// So many values and patterns are looked at for one piece; then others have their turn.
const MAX_LOOKS: usize = 1 << 11;

/// How far it is.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The next value has this entry, or a higher one.
    next: u64,
    /// The entry after which the client goes on. `None`: the line under way is all.
    to: Option<u64>,
    /// How many lines it has had.
    count: u64,
    /// A long line that is under way, and how much of it is written.
    line: Option<(Rc<[u8]>, usize)>,
}

impl Snapshot {
    /// One of all values up to that entry, or of none, after the rest of a line.
    pub(super) fn new(to: Option<u64>, line: Option<(Rc<[u8]>, usize)>) -> Snapshot {
        Snapshot { next: 0, to, count: 0, line }
    }

    /// What is still to be written of the long line that is under way.
    pub(super) fn line(&self) -> Option<&[u8]> {
        self.line.as_ref().map(|(line, at)| &line[*at..])
    }

    /// The first bytes of [`Snapshot::line`] are written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        if let Some((line, at)) = &mut self.line {
            *at += bytes;
            if *at >= line.len() {
                self.line = None;
            }
        }
    }

    /// The line under way, if something of it is written already.
    pub(super) fn into_line(self) -> Option<(Rc<[u8]>, usize)> {
        self.line.filter(|(_, at)| *at > 0)
    }

    /// Whether all is said.
    pub(super) fn is_over(&self) -> bool {
        self.to.is_none() && self.line.is_none()
    }

    /// Adds the next piece to `out`, or takes a long line under way; at the end the line that says so.
    pub(super) fn go_on(
        &mut self,
        log: &Log,
        cost: usize,
        wants: impl Fn(&LastValue<'_>) -> bool,
        out: &mut Vec<u8>,
    ) {
        let Some(to) = self.to else { return };
        let (mut looks, mut added) = (MAX_LOOKS, 0);
        for value in log.last_values(self.next, to) {
            let is_wanted = wants(&value);
            if is_wanted && value.line.len() > LONG {
                if added == 0 {
                    self.line = Some((Rc::clone(value.line), 0));
                    (self.next, self.count) = (value.seq + 1, self.count + 1);
                }
                return;
            }
            if is_wanted {
                if added > 0 && added + value.line.len() > PIECE_BYTES {
                    return;
                }
                out.extend_from_slice(value.line);
                (added, self.count) = (added + value.line.len(), self.count + 1);
            }
            self.next = value.seq + 1;
            looks = looks.saturating_sub(1 + cost);
            if looks == 0 {
                return;
            }
        }
        let dropped = log.retained().map_or(0, |retained| retained.dropped);
        out.extend(Line::Snapshot(SnapshotEnd { seq: to, count: self.count, dropped }).write());
        self.to = None;
    }
}
