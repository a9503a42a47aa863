//! Entries that another log has had: their `seq` and their line are given. Pure.

use std::{fmt, ops::Range};

use super::{Log, series::Series};
use crate::protocol::Why;

/// Why an entry, or a hole before one, isn't taken. Nothing is changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// The next entry has this `seq`: a lower one is there already, a higher one takes a hole that is declared.
    Next(u64),
    /// It isn't one line with its end.
    NoLine,
    /// Entries are staged, which the given ones would stand behind.
    Staged,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotTaken::Next(next) => write!(f, "the next entry of the log is {next}"),
            NotTaken::NoLine => f.write_str("an entry is one line with its end"),
            NotTaken::Staged => f.write_str("entries are staged, and neither committed nor cut"),
        }
    }
}

impl std::error::Error for NotTaken {}

impl Log {
    /// Appends an entry with the `seq` and the lines that it has already; nothing is the raw line of one without.
    ///
    /// # Errors
    /// It can't stand there, or is no line.
    pub(in crate::hub) fn put(
        &mut self,
        seq: u64,
        time_us: u64,
        envelope: &[u8],
        raw: &[u8],
    ) -> Result<(), NotTaken> {
        self.has_nothing_staged()?;
        if seq != self.next() {
            return Err(NotTaken::Next(self.next()));
        }
        // a line break within would make two lines of it for clients
        if memchr::memchr(b'\n', envelope).is_none_or(|end| end + 1 != envelope.len()) {
            return Err(NotTaken::NoLine);
        }
        self.append_line(time_us, envelope, raw);
        self.retain_given(envelope);
        Ok(())
    }

    /// Declares a hole: the next entry will have this `seq`, and those between will never be had; how many they are.
    /// Lets go of all that is held, since the log is one stretch, and since what is older than entries that were
    /// let go elsewhere would have been let go here. Who is behind finds all of it lost, as [discarded](Why::Discarded).
    ///
    /// # Errors
    /// That entry is there already, or some are staged.
    pub(in crate::hub) fn skip_to(&mut self, seq: u64) -> Result<u64, NotTaken> {
        self.has_nothing_staged()?;
        let missing = seq.checked_sub(self.next()).ok_or(NotTaken::Next(self.next()))?;
        if missing == 0 {
            return Ok(0);
        }
        let Log { envelope, raw, pool, kept, .. } = self;
        for series in std::iter::once(envelope).chain(raw) {
            let before = series.open().before() + series.open().lines().len() as u64;
            kept.extend(std::mem::replace(series, Series::from(seq, before)).dissolve(pool));
        }
        // of holes between which entries were let go, who is behind the older one was too slow as well
        let is_one = self.discarded.end == self.oldest && !self.discarded.is_empty();
        self.discarded = if is_one { self.discarded.start } else { self.oldest }..seq;
        self.oldest = seq;
        self.topics.iter_mut().for_each(|topics| topics.forget_before(seq));
        self.drop_retained();
        if self.is_staging() {
            self.staged = seq;
        }
        Ok(missing)
    }

    /// Why an entry isn't held any more, and one past the last that is gone for the same reason, as far as `end`.
    pub(super) fn why_gone(&self, seq: u64, end: u64) -> (Why, u64) {
        let Range { start, end: kept } = self.discarded;
        match seq {
            _ if seq < start => (Why::SlowClient, end.min(start)),
            _ if seq < kept => (Why::Discarded, end.min(kept)),
            _ => (Why::SlowClient, end),
        }
    }

    fn has_nothing_staged(&self) -> Result<(), NotTaken> {
        if self.staged().is_empty() { Ok(()) } else { Err(NotTaken::Staged) }
    }
}
