//! What a client gets next: replies, log entries, last words. Pure.
//!
//! Two sources share one stream of lines: the log, through the client's cursor, and the replies'
//! own lane. They change over only where a line ends. Replies go first, so that a flood of data
//! can't hold them up.

use std::{cell::Cell, rc::Rc};

mod hold;
mod unread;

use self::{hold::Hold, unread::Unread};
use super::{snapshot::Snapshot, trail::Trail};
use crate::hub::{Ahead, Cursor, LastValue, Ledger, Log, Lost, Picked, Stretch, ToldLost};

/// The outgoing side of one client, down to the byte.
#[derive(Debug)]
pub(in crate::local) struct Outgoing {
    /// `None` for a client that may not receive.
    cursor: Option<Cursor>,
    replies: Unread,
    /// A move of the cursor that waits for the end of a line.
    seek: Option<Seek>,
    /// The last values that come before the next entry.
    snapshot: Option<Box<Snapshot>>,
    /// Whether entries are held back.
    hold: Hold,
    /// Up to here the client has asked for the entries that are held.
    whole_to: u64,
    ending: LastWords,
    /// Nothing reaches the client any more, though it may still be heard.
    deaf: bool,
    /// Bytes written so far.
    total: u64,
    /// Of a client with a name: how far it surely has come.
    trail: Option<Box<Trail>>,
}

/// How far the end of the connection has come.
#[derive(Debug)]
enum LastWords {
    /// There is none in sight.
    No,
    /// The words come when all data is out.
    AfterData(Vec<u8>),
    /// The words come after the line under way and the replies; there is no more data.
    CutOff(Vec<u8>),
    /// The words are said, or on their way. Nothing follows them.
    Said,
}

/// Where to move the cursor.
#[derive(Debug, Clone)]
pub(in crate::local) struct Seek {
    /// The entry after which the client's ledger begins.
    pub(in crate::local) after: u64,
    /// The entry before the next one to deliver. What lies between is declared lost already.
    pub(in crate::local) start: u64,
    /// Whether the last values up to there come first.
    pub(in crate::local) snapshot: bool,
    /// The log's newest entry when it was asked for.
    pub(in crate::local) head: u64,
    /// Up to where those have what they want who follow, for one that doesn't want all: see [`Cursor::narrow`].
    pub(in crate::local) narrow: Option<Rc<Cell<u64>>>,
}

/// What to do next for a client.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::local) enum Next<'a> {
    /// Nothing until there is news.
    Wait,
    /// Write these bytes, and report with [`Outgoing::wrote`].
    Write(&'a [u8]),
    /// As [`Next::Write`]: bytes that other clients get too.
    Lines(Stretch<'a>),
    /// Pick what the client gets of the entries from this one on, write it, and report with
    /// [`Outgoing::wrote_picked`]: see [`Ahead::ToPick`].
    Pick { from: u64, latest_to: Option<u64> },
    /// Go on with the snapshot by [`Outgoing::go_on`].
    Snapshot,
    /// The client fell out of the log: declare it with [`Outgoing::declare`], or cut it off.
    Lost,
    /// Everything is said: close the connection.
    Close,
}

impl Outgoing {
    /// So many bytes of replies may lie unread before the client is read no further.
    pub(in crate::local) const MAX_REPLIES: usize = 64 << 10;

    /// A client's outgoing side; without a cursor it sees replies only. `unread` counts the memory of all
    /// clients' replies.
    pub(in crate::local) fn new(cursor: Option<Cursor>, unread: Rc<Cell<usize>>) -> Outgoing {
        Outgoing {
            cursor,
            replies: Unread::new(unread),
            seek: None,
            snapshot: None,
            hold: Hold::No,
            whole_to: 0,
            ending: LastWords::No,
            deaf: false,
            total: 0,
            trail: None,
        }
    }

    /// Adds reply lines. They are bounded by what is read from the client: nothing more, while it
    /// [has answers enough](Outgoing::has_enough).
    pub(in crate::local) fn reply(&mut self, lines: &[u8]) {
        // once the end is at hand, nobody is there to read them
        if !self.deaf && !self.is_cut_off() {
            self.replies.add(lines);
        }
    }

    /// Whether so many replies lie unread that the client should be read no further.
    pub(in crate::local) fn has_enough(&self) -> bool {
        self.unread_replies() > Outgoing::MAX_REPLIES
    }

    /// Nothing that is written reaches the client any more. It may have said something before.
    pub(in crate::local) fn deafen(&mut self) {
        self.deaf = true;
        self.replies.clear();
        (self.seek, self.snapshot) = (None, None);
        if let Some(cursor) = &mut self.cursor {
            cursor.abandon();
        }
    }

    /// Whether what is written reaches the client, as far as is known.
    pub(in crate::local) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// The bytes of replies that are not written yet.
    pub(in crate::local) fn unread_replies(&self) -> usize {
        self.replies.bytes().len()
    }

    /// Adds reply lines, as [`Outgoing::reply`], and moves the cursor as soon as the line under way
    /// is out: right after these lines come the entries from there on.
    pub(in crate::local) fn seek(&mut self, lines: &[u8], seek: Seek) {
        self.reply(lines);
        self.hold = Hold::No;
        if let Some(trail) = &mut self.trail {
            trail.begin(self.total, seek.after); // it hears of what lies between with these lines
        }
        self.change_snapshot(seek.snapshot.then_some(seek.start));
        self.whole_to = seek.head;
        self.seek = Some(seek);
        self.apply_seek();
    }

    /// Holds entries back until [`Outgoing::begin`] or [`Outgoing::seek`]; replies go out.
    pub(in crate::local) fn hold_back(&mut self) {
        self.hold = Hold::Newcomer;
    }

    /// The same, of a client that is further than this machine: [`Outgoing::begin`] doesn't end it until it
    /// [isn't](Outgoing::is_not_ahead) any more.
    pub(in crate::local) fn is_ahead(&mut self) {
        self.hold = Hold::Ahead;
    }

    /// This machine is as far as the client, or never will be.
    pub(in crate::local) fn is_not_ahead(&mut self) {
        if self.hold == Hold::Ahead {
            self.hold = Hold::Newcomer;
        }
    }

    /// Lets entries go out. False when they do already, or when the client has those that are here.
    pub(in crate::local) fn begin(&mut self) -> bool {
        let begins = self.hold == Hold::Newcomer;
        if begins {
            self.hold = Hold::No;
        }
        begins
    }

    /// Finishes: what lies ahead is still delivered, then `words`, then the connection closes.
    pub(in crate::local) fn finish(&mut self, words: Vec<u8>) {
        if self.hold == Hold::Ahead {
            return self.cut_off(words); // it has all that is here
        }
        self.hold = Hold::No;
        if matches!(self.ending, LastWords::No) {
            self.ending = LastWords::AfterData(words);
        }
    }

    /// Cuts the client off: no more data, only the rest of a line under way, the replies that there
    /// are, then `words`.
    pub(in crate::local) fn cut_off(&mut self, words: Vec<u8>) {
        if matches!(self.ending, LastWords::No | LastWords::AfterData(_)) {
            self.ending = LastWords::CutOff(words);
            self.change_snapshot(None);
        }
    }

    /// Whether nothing more is taken from or for the client.
    pub(in crate::local) fn is_cut_off(&self) -> bool {
        matches!(self.ending, LastWords::CutOff(_) | LastWords::Said)
    }

    /// Whether the connection closes once everything is said.
    pub(in crate::local) fn is_finishing(&self) -> bool {
        !matches!(self.ending, LastWords::No)
    }

    /// What to do next.
    pub(in crate::local) fn next<'a>(&'a mut self, log: &'a Log) -> Next<'a> {
        if self.deaf {
            return if self.is_finishing() { Next::Close } else { Next::Wait };
        }
        if let Some(line) = self.snapshot.as_ref().and_then(|snapshot| snapshot.line()) {
            return Next::Write(line);
        }
        if !self.at_line_start() {
            // something else may have to follow the line under way
            if self.unread_replies() > 0 || self.seek.is_some() || self.is_cut_off() || self.hold.is_any() {
                return Next::Write(self.cursor.as_ref().map_or(&[], |cursor| cursor.rest_of_line(log)));
            }
        } else if self.unread_replies() > 0 {
            return Next::Write(self.replies.bytes());
        }
        if !self.is_cut_off() && !self.hold.is_any() {
            if self.snapshot.is_some() {
                return Next::Snapshot;
            }
            match self.cursor.as_mut().map(|cursor| cursor.ahead(log)) {
                Some(Ahead::Bytes(stretch)) => return Next::Lines(stretch),
                Some(Ahead::ToPick { from, latest_to }) => return Next::Pick { from, latest_to },
                Some(Ahead::Lost) => return Next::Lost,
                Some(Ahead::Nothing) | None => {}
            }
        }
        match std::mem::replace(&mut self.ending, LastWords::Said) {
            LastWords::No => {
                self.ending = LastWords::No;
                Next::Wait
            }
            LastWords::AfterData(words) | LastWords::CutOff(words) if !words.is_empty() => {
                self.replies.replace(words);
                Next::Write(self.replies.bytes())
            }
            LastWords::AfterData(_) | LastWords::CutOff(_) | LastWords::Said => Next::Close,
        }
    }

    /// Records that the first `written` bytes of [`Next::Write`] are out.
    pub(in crate::local) fn wrote(&mut self, log: &mut Log, written: usize) {
        self.total += written as u64;
        if let Some(snapshot) = self.snapshot.as_mut().filter(|snapshot| snapshot.line().is_some()) {
            snapshot.wrote(written);
            self.end_snapshot();
        } else if self.at_line_start() && self.unread_replies() > 0 {
            self.replies.wrote(written);
        } else if let Some(cursor) = &mut self.cursor {
            cursor.wrote(log, written);
            self.apply_seek();
        }
        if self.trail.is_some() {
            self.note();
        }
    }

    /// Notes how far the client has come, unless what was declared to it is still to be written.
    fn note(&mut self) {
        let is_told = self.unread_replies() == 0 && self.seek.is_none();
        if let (Some(trail), Some(cursor), true) = (&mut self.trail, &self.cursor, is_told) {
            trail.note(self.total, cursor.next() - 1);
        }
    }

    /// From now on it is noted how far the client surely has come; so many bytes may lie unread in its socket.
    pub(in crate::local) fn track(&mut self, unread: usize) {
        let after = self.sent();
        self.trail = Some(Box::new(Trail::new(unread as u64, self.total, after)));
    }

    /// The last entry that was written whole, or declared.
    pub(in crate::local) fn sent(&self) -> u64 {
        let next = self.cursor.as_ref().map_or(1, Cursor::next);
        self.seek.as_ref().map_or(next - 1, |seek| seek.after)
    }

    /// The last entry that was written whole, or declared, once the line under way is out.
    pub(in crate::local) fn begun(&self) -> u64 {
        let rest = u64::from(self.seek.is_none() && !self.at_line_start());
        self.sent() + rest
    }

    /// The last entry that the client surely has, beside what it says itself.
    pub(in crate::local) fn sure(&self) -> u64 {
        self.trail.as_ref().map_or(0, |trail| trail.sure(self.total))
    }

    /// Records that the first `written` bytes of what was picked for [`Next::Pick`] are out, and returns what was
    /// declared lost in them.
    pub(in crate::local) fn wrote_picked<'a>(
        &mut self,
        log: &mut Log,
        picked: &'a Picked,
        written: usize,
    ) -> ToldLost<'a> {
        self.total += written as u64;
        let mut told = ToldLost::default();
        if let Some(cursor) = &mut self.cursor {
            told = cursor.wrote_picked(log, picked, written);
            self.apply_seek();
        }
        if !told.rest.is_empty() {
            self.replies.add(told.rest); // there are no others, which would have gone before
        }
        if self.trail.is_some() {
            self.note();
        }
        told
    }

    /// Has the client catch up, if its next entry came before this time, or is lost since it was too slow: see
    /// [`Cursor::catch_up`]. What it asked for by [`Outgoing::seek`] it gets whole, as long as that is held. True: it
    /// begins to.
    pub(in crate::local) fn catch_up(&mut self, log: &Log, before_us: u64) -> bool {
        let waits = self.seek.is_some() || self.snapshot.is_some() || self.hold.is_any();
        let is_over = waits || self.deaf || self.is_cut_off();
        let Some(cursor) = self.cursor.as_mut().filter(|_| !is_over) else { return false };
        let lags = cursor.next() > self.whole_to && log.came_before(cursor.next(), before_us);
        (lags || cursor.is_too_slow(log)) && cursor.catch_up(log)
    }

    /// Has it get all again that it wants.
    pub(in crate::local) fn stop_catching_up(&mut self) {
        self.cursor.iter_mut().for_each(Cursor::stop_catching_up);
    }

    /// From its place on the client gets only what is picked for it, or all again: see [`Cursor::narrow`].
    pub(in crate::local) fn narrow(&mut self, upto: Option<Rc<Cell<u64>>>) {
        match (&mut self.seek, &mut self.cursor) {
            (Some(seek), _) => seek.narrow = upto,
            (None, Some(cursor)) => cursor.narrow(upto),
            (None, None) => {}
        }
    }

    /// Lets one that doesn't want all follow, if it has what there is: see [`Cursor::follow`].
    pub(in crate::local) fn follow(&mut self, log: &Log) -> bool {
        let is_settled = self.seek.is_none() && self.snapshot.is_none();
        let may = !self.hold.is_any() && !self.deaf && !self.is_cut_off() && is_settled;
        match &mut self.cursor {
            Some(cursor) if may => cursor.follow(log),
            _ => false,
        }
    }

    /// Lets it follow no longer.
    pub(in crate::local) fn fall_behind(&mut self) {
        self.cursor.iter_mut().for_each(Cursor::fall_behind);
    }

    /// Goes on with the snapshot, for [`Next::Snapshot`]: a piece of it is what comes next. `wants` says which values the
    /// client may have, each at the cost of so many looks.
    pub(in crate::local) fn go_on(&mut self, log: &Log, cost: usize, wants: impl Fn(&LastValue<'_>) -> bool) {
        if let Some(snapshot) = &mut self.snapshot {
            self.replies.add_by(|replies| snapshot.go_on(log, cost, wants, replies));
            self.end_snapshot();
        }
    }

    /// A snapshot begins, or none: one that is under way ends after its line.
    fn change_snapshot(&mut self, to: Option<u64>) {
        let line = self.snapshot.take().and_then(|snapshot| snapshot.into_line());
        if to.is_some() || line.is_some() {
            self.snapshot = Some(Box::new(Snapshot::new(to, line)));
        }
    }

    fn end_snapshot(&mut self) {
        self.snapshot.take_if(|snapshot| snapshot.is_over());
    }

    /// How many bytes the client has taken.
    pub(in crate::local) fn total(&self) -> u64 {
        self.total
    }

    /// Declares what is lost next, all for one cause: `lines` makes the words of it.
    pub(in crate::local) fn declare(&mut self, log: &Log, lines: impl FnOnce(Lost) -> Vec<u8>) {
        if let Some(lost) = self.cursor.as_mut().and_then(|cursor| cursor.skip_lost(log)) {
            // not bounded as replies are: one is due only when all before it is out
            self.replies.add(&lines(lost));
        }
    }

    /// The next entry that the client is to get; `None` when there will be none.
    pub(in crate::local) fn needs(&self) -> Option<u64> {
        let cursor = self.cursor.as_ref().filter(|_| !self.is_cut_off() && !self.deaf)?;
        let sought = self.seek.as_ref().map_or(u64::MAX, |seek| seek.start + 1);
        Some(cursor.next().min(sought))
    }

    /// Whether entries are held back from it for now.
    pub(in crate::local) fn is_held_back(&self) -> bool {
        self.hold.is_any()
    }

    /// Whether an entry that the client is to get is no longer held.
    pub(in crate::local) fn is_lost(&self, log: &Log) -> bool {
        !self.deaf
            && self.hold != Hold::Ahead
            && self.cursor.as_ref().is_some_and(|cursor| cursor.is_lost(log))
    }

    /// Whether one of those is lost since it read too slowly.
    pub(in crate::local) fn is_too_slow(&self, log: &Log) -> bool {
        !self.deaf
            && self.hold != Hold::Ahead
            && self.cursor.as_ref().is_some_and(|cursor| cursor.is_too_slow(log))
    }

    /// The client's balance; all zero for one that may not receive. A move that waits is done, as the client hears: its
    /// answer stands before whatever has this balance in it.
    pub(in crate::local) fn ledger(&self, log: &Log) -> Ledger {
        match (&self.cursor, &self.seek) {
            (Some(_), Some(Seek { after, start, .. })) => Ledger {
                entries: log.head() - after,
                lost: start - after,
                ahead: log.head() - start,
                ..Ledger::default()
            },
            (Some(cursor), None) => cursor.ledger(log),
            (None, _) => Ledger::default(),
        }
    }

    /// From which entry on a change of what the client wants holds; `None` where its cursor is to be moved.
    #[cfg(test)]
    pub(in crate::local) fn place(&self) -> Option<u64> {
        let cursor = self.cursor.as_ref().filter(|_| self.seek.is_none())?;
        Some(cursor.next() + u64::from(!cursor.at_line_start()))
    }

    /// Whether the last line that was begun is out, so that another may follow from either source.
    fn at_line_start(&self) -> bool {
        self.cursor.as_ref().is_none_or(Cursor::at_line_start)
    }

    /// Whether something is held for this client that others don't need: a line under way that has left the
    /// log, or replies.
    pub(in crate::local) fn holds(&self) -> bool {
        let has_line = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.line().is_some());
        self.replies.hold() || has_line || self.cursor.as_ref().is_some_and(Cursor::is_kept)
    }

    fn apply_seek(&mut self) {
        if let Some(cursor) = self.cursor.as_mut().filter(|cursor| cursor.at_line_start())
            && let Some(seek) = self.seek.take()
        {
            cursor.seek(seek.after, seek.start);
            cursor.narrow(seek.narrow);
        }
    }
}

#[cfg(test)]
mod tests;
