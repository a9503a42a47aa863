//! What a client gets next: replies, log entries, last words. Pure.
//!
//! Two sources share one stream of lines: the log, through the client's cursor, and the replies'
//! own lane. They change over only where a line ends. Replies go first, so that a flood of data
//! can't hold them up.

use std::{cell::Cell, rc::Rc};

use crate::hub::{Ahead, Cursor, Ledger, Log, Lost, Stretch};

/// The outgoing side of one client, down to the byte.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// `None` for a client that may not receive.
    cursor: Option<Cursor>,
    replies: Vec<u8>,
    /// How much of `replies` is written.
    written: usize,
    /// A move of the cursor that waits for the end of a line.
    seek: Option<Seek>,
    /// Entries are held back: the client may still say where it wants to begin.
    is_held_back: bool,
    ending: Ending,
    /// Nothing reaches the client any more, though it may still be heard.
    deaf: bool,
    /// Bytes written so far.
    total: u64,
    /// What `replies` takes, and what those of all clients take together.
    charged: usize,
    unread: Rc<Cell<usize>>,
}

/// How far the end of the connection has come.
#[derive(Debug)]
enum Ending {
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
#[derive(Debug, Clone, Copy)]
pub(super) struct Seek {
    /// The entry after which the client's ledger begins.
    pub(super) after: u64,
    /// The entry before the next one to deliver. What lies between is declared lost already.
    pub(super) start: u64,
}

/// What to do next for a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// Nothing until there is news.
    Wait,
    /// Write these bytes, and report with [`Outgoing::wrote`].
    Write(&'a [u8]),
    /// As [`Next::Write`]: bytes that other clients get too.
    Lines(Stretch<'a>),
    /// The client fell out of the log: declare it with [`Outgoing::declare`], or cut it off.
    Lost,
    /// Everything is said: close the connection.
    Close,
}

impl Outgoing {
    /// So many bytes of replies may lie unread before the client is read no further.
    pub(super) const MAX_REPLIES: usize = 64 << 10;

    /// So much of the replies may be written and still held.
    const MAX_WRITTEN: usize = 64 << 10;

    /// A client's outgoing side; without a cursor it sees replies only. `unread` counts the memory of all
    /// clients' replies.
    pub(super) fn new(cursor: Option<Cursor>, unread: Rc<Cell<usize>>) -> Outgoing {
        let (replies, written, seek) = (Vec::new(), 0, None);
        Outgoing {
            cursor,
            replies,
            written,
            seek,
            is_held_back: false,
            ending: Ending::No,
            deaf: false,
            total: 0,
            charged: 0,
            unread,
        }
    }

    /// Adds reply lines. They are bounded by what is read from the client: nothing more, while it
    /// [has answers enough](Outgoing::has_enough).
    pub(super) fn reply(&mut self, lines: &[u8]) {
        // once the end is at hand, nobody is there to read them
        if !self.deaf && !self.is_cut_off() {
            self.replies.extend_from_slice(lines);
            self.charge();
        }
    }

    /// Whether so many replies lie unread that the client should be read no further.
    pub(super) fn has_enough(&self) -> bool {
        self.unread_replies() > Outgoing::MAX_REPLIES
    }

    /// Nothing that is written reaches the client any more. It may have said something before.
    pub(super) fn deafen(&mut self) {
        self.deaf = true;
        (self.replies, self.written, self.seek) = (Vec::new(), 0, None);
        self.charge();
        if let Some(cursor) = &mut self.cursor {
            cursor.abandon();
        }
    }

    /// Whether what is written reaches the client, as far as is known.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// The bytes of replies that are not written yet.
    pub(super) fn unread_replies(&self) -> usize {
        self.replies.len() - self.written
    }

    /// Adds reply lines, as [`Outgoing::reply`], and moves the cursor as soon as the line under way
    /// is out: right after these lines come the entries from there on.
    pub(super) fn seek(&mut self, lines: &[u8], seek: Seek) {
        self.reply(lines);
        self.is_held_back = false;
        self.seek = Some(seek);
        self.apply_seek();
    }

    /// Holds entries back until [`Outgoing::begin`] or [`Outgoing::seek`]; replies go out.
    pub(super) fn hold_back(&mut self) {
        self.is_held_back = true;
    }

    /// Lets entries go out. False when they do already.
    pub(super) fn begin(&mut self) -> bool {
        std::mem::take(&mut self.is_held_back)
    }

    /// Finishes: what lies ahead is still delivered, then `words`, then the connection closes.
    pub(super) fn finish(&mut self, words: Vec<u8>) {
        self.is_held_back = false;
        if matches!(self.ending, Ending::No) {
            self.ending = Ending::AfterData(words);
        }
    }

    /// Cuts the client off: no more data, only the rest of a line under way, the replies that there
    /// are, then `words`.
    pub(super) fn cut_off(&mut self, words: Vec<u8>) {
        if matches!(self.ending, Ending::No | Ending::AfterData(_)) {
            self.ending = Ending::CutOff(words);
        }
    }

    /// Whether nothing more is taken from or for the client.
    pub(super) fn is_cut_off(&self) -> bool {
        matches!(self.ending, Ending::CutOff(_) | Ending::Said)
    }

    /// Whether the connection closes once everything is said.
    pub(super) fn is_finishing(&self) -> bool {
        !matches!(self.ending, Ending::No)
    }

    /// What to do next.
    pub(super) fn next<'a>(&'a mut self, log: &'a Log) -> Next<'a> {
        if self.deaf {
            return if self.is_finishing() { Next::Close } else { Next::Wait };
        }
        if !self.at_line_start() {
            // something else may have to follow the line under way
            if self.unread_replies() > 0 || self.seek.is_some() || self.is_cut_off() {
                return Next::Write(self.cursor.as_ref().map_or(&[], |cursor| cursor.rest_of_line(log)));
            }
        } else if self.unread_replies() > 0 {
            return Next::Write(&self.replies[self.written..]);
        }
        if !self.is_cut_off() && !self.is_held_back {
            match self.cursor.as_mut().map(|cursor| cursor.ahead(log)) {
                Some(Ahead::Bytes(stretch)) => return Next::Lines(stretch),
                Some(Ahead::Lost) => return Next::Lost,
                Some(Ahead::Nothing) | None => {}
            }
        }
        match std::mem::replace(&mut self.ending, Ending::Said) {
            Ending::No => {
                self.ending = Ending::No;
                Next::Wait
            }
            Ending::AfterData(words) | Ending::CutOff(words) if !words.is_empty() => {
                (self.replies, self.written) = (words, 0);
                Next::Write(&self.replies)
            }
            Ending::AfterData(_) | Ending::CutOff(_) | Ending::Said => Next::Close,
        }
    }

    /// Records that the first `written` bytes of [`Next::Write`] are out.
    pub(super) fn wrote(&mut self, log: &mut Log, written: usize) {
        self.total += written as u64;
        if self.at_line_start() && self.unread_replies() > 0 {
            self.written += written;
            if self.unread_replies() == 0 {
                (self.replies, self.written) = (Vec::new(), 0);
            } else if self.written > Outgoing::MAX_WRITTEN {
                self.replies.drain(..std::mem::take(&mut self.written));
            }
            self.charge();
        } else if let Some(cursor) = &mut self.cursor {
            cursor.wrote(log, written);
            self.apply_seek();
        }
    }

    /// How many bytes the client has taken.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Declares what is lost: `lines` makes the words of it.
    pub(super) fn declare(&mut self, log: &Log, lines: impl FnOnce(Lost) -> Vec<u8>) {
        if let Some(lost) = self.cursor.as_mut().and_then(|cursor| cursor.skip_lost(log)) {
            // not bounded as replies are: one is due only when all before it is out
            self.replies.extend_from_slice(&lines(lost));
            self.charge();
        }
    }

    /// The next entry that the client is to get; `None` when there will be none.
    pub(super) fn needs(&self) -> Option<u64> {
        let cursor = self.cursor.as_ref().filter(|_| !self.is_cut_off() && !self.deaf)?;
        let sought = self.seek.map_or(u64::MAX, |seek| seek.start + 1);
        Some(cursor.next().min(sought))
    }

    /// Whether an entry that the client is to get is no longer held.
    pub(super) fn is_lost(&self, log: &Log) -> bool {
        !self.deaf && self.cursor.as_ref().is_some_and(|cursor| cursor.is_lost(log))
    }

    /// The client's balance; all zero for one that may not receive.
    pub(super) fn ledger(&self, log: &Log) -> Ledger {
        match &self.cursor {
            Some(cursor) => cursor.ledger(log),
            None => Ledger { entries: 0, delivered: 0, lost: 0, ahead: 0 },
        }
    }

    /// Whether the last line that was begun is out, so that another may follow from either source.
    fn at_line_start(&self) -> bool {
        self.cursor.as_ref().is_none_or(Cursor::at_line_start)
    }

    /// Whether something is held for this client that others don't need: a line under way that has left the
    /// log, or replies.
    pub(super) fn holds(&self) -> bool {
        self.charged > 0 || self.cursor.as_ref().is_some_and(Cursor::is_kept)
    }

    fn charge(&mut self) {
        let memory = self.replies.capacity();
        self.unread.set(self.unread.get() + memory - self.charged);
        self.charged = memory;
    }

    fn apply_seek(&mut self) {
        if let Some(cursor) = self.cursor.as_mut().filter(|cursor| cursor.at_line_start())
            && let Some(seek) = self.seek.take()
        {
            cursor.seek(seek.after, seek.start);
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.unread.set(self.unread.get() - self.charged);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{config::Format, hub::Limits};

    fn log() -> Log {
        Log::new(Limits { max_bytes: 64 << 10, max_age_us: None }, false)
    }

    fn append(log: &mut Log, length: usize) {
        log.trim(u64::MAX);
        let line = format!("{} {}\n", log.head() + 1, "x".repeat(length));
        log.append_line(0, line.as_bytes(), b"");
    }

    fn receiver() -> Outgoing {
        Outgoing::new(Some(Cursor::new(Format::Envelope, 0)), Rc::default())
    }

    /// Writes up to `bytes`, as a socket would take them.
    fn write(outgoing: &mut Outgoing, log: &mut Log, bytes: usize) -> Vec<u8> {
        let taken = match outgoing.next(log) {
            Next::Write(ahead) => ahead[..bytes.min(ahead.len())].to_vec(),
            Next::Lines(ahead) => ahead[..bytes.min(ahead.len())].to_vec(),
            _ => return Vec::new(),
        };
        outgoing.wrote(log, taken.len());
        taken
    }

    fn all(outgoing: &mut Outgoing, log: &mut Log) -> String {
        let mut seen = Vec::new();
        while let Next::Write(_) | Next::Lines(_) = outgoing.next(log) {
            seen.extend(write(outgoing, log, usize::MAX));
        }
        String::from_utf8(seen).unwrap()
    }

    #[test]
    fn a_reply_goes_before_data_but_never_into_a_line() {
        let (mut log, mut outgoing) = (log(), receiver());
        append(&mut log, 3);
        append(&mut log, 3);
        let begun = write(&mut outgoing, &mut log, 2);
        outgoing.reply(b"reply\n");
        assert_eq!(
            String::from_utf8(begun).unwrap() + &all(&mut outgoing, &mut log),
            "1 xxx\nreply\n2 xxx\n"
        );
        assert_eq!(outgoing.unread_replies(), 0);
    }

    #[test]
    fn a_seek_waits_for_the_end_of_the_line_under_way() {
        let (mut log, mut outgoing) = (log(), receiver());
        (0..3).for_each(|_| append(&mut log, 1));
        write(&mut outgoing, &mut log, 4);
        write(&mut outgoing, &mut log, 1);
        outgoing.seek(b"attached\n", Seek { after: 0, start: 0 });
        assert_eq!(all(&mut outgoing, &mut log), " x\nattached\n1 x\n2 x\n3 x\n");
        assert_eq!(outgoing.ledger(&log), Ledger { entries: 3, delivered: 3, lost: 0, ahead: 0 });
    }

    #[test]
    fn what_a_seek_declares_lost_counts_and_what_is_lost_later_is_lost_after_it() {
        let (mut log, mut outgoing) = (log(), receiver());
        let fill = |log: &mut Log| (0..10).for_each(|_| append(log, 20_000));
        fill(&mut log);
        let start = log.oldest() - 1;
        outgoing.seek(b"attached, and a gap\n", Seek { after: 0, start });
        fill(&mut log); // before the answer is read
        assert_eq!(
            outgoing.ledger(&log),
            Ledger { entries: 20, delivered: 0, lost: start, ahead: 20 - start }
        );
        write(&mut outgoing, &mut log, usize::MAX);
        assert_eq!(outgoing.next(&log), Next::Lost);
        let mut declared = None;
        outgoing.declare(&log, |lost| {
            declared = Some(lost.from);
            Vec::new()
        });
        assert_eq!(declared, Some(start + 1));
    }

    #[test]
    fn entries_that_are_held_back_come_once_wherever_the_client_begins() {
        let (mut log, mut outgoing) = (log(), receiver());
        outgoing.hold_back();
        (0..3).for_each(|_| append(&mut log, 1));
        outgoing.reply(b"hello\n");
        assert_eq!(all(&mut outgoing, &mut log), "hello\n");
        assert_eq!(outgoing.next(&log), Next::Wait);
        outgoing.seek(b"attached\n", Seek { after: 1, start: 1 });
        assert_eq!(all(&mut outgoing, &mut log), "attached\n2 x\n3 x\n");
        assert!(!outgoing.begin(), "it has begun");
        let mut silent = receiver();
        silent.hold_back();
        assert_eq!(all(&mut silent, &mut log), "");
        assert!(silent.begin());
        assert_eq!(all(&mut silent, &mut log), "1 x\n2 x\n3 x\n");
        let mut late = receiver();
        late.hold_back();
        late.finish(b"bye\n".to_vec());
        assert_eq!(all(&mut late, &mut log), "1 x\n2 x\n3 x\nbye\n");
    }

    #[test]
    fn the_last_words_come_after_all_data_then_it_closes() {
        let (mut log, mut outgoing) = (log(), receiver());
        append(&mut log, 1);
        outgoing.finish(b"bye\n".to_vec());
        outgoing.reply(b"reply\n");
        assert_eq!(all(&mut outgoing, &mut log), "reply\n1 x\nbye\n");
        assert_eq!(outgoing.next(&log), Next::Close);
    }

    #[test]
    fn who_is_cut_off_gets_the_rest_of_a_line_and_the_last_words_alone() {
        let (mut log, mut outgoing) = (log(), receiver());
        append(&mut log, 3);
        append(&mut log, 3);
        write(&mut outgoing, &mut log, 3);
        outgoing.cut_off(b"bye\n".to_vec());
        assert_eq!(all(&mut outgoing, &mut log), "xx\nbye\n");
        assert_eq!(outgoing.next(&log), Next::Close);
    }

    #[test]
    fn a_reply_under_way_is_finished_when_its_client_is_cut_off() {
        let (mut log, mut outgoing) = (log(), receiver());
        outgoing.reply(b"reply\n");
        write(&mut outgoing, &mut log, 2);
        outgoing.cut_off(b"bye\n".to_vec());
        assert_eq!(all(&mut outgoing, &mut log), "ply\nbye\n");
    }

    #[test]
    fn who_leaves_many_replies_unread_has_enough_until_it_reads() {
        let (mut log, mut outgoing) = (log(), receiver());
        let line = vec![b'x'; 1000];
        let mut taken = 0;
        while !outgoing.has_enough() {
            outgoing.reply(&line);
            taken += 1;
        }
        assert_eq!(taken, Outgoing::MAX_REPLIES / 1000 + 1);
        write(&mut outgoing, &mut log, 1000);
        assert!(!outgoing.has_enough());
    }

    #[test]
    fn who_is_deaf_holds_nothing_and_stays_until_it_is_dismissed() {
        let (mut log, mut outgoing) = (log(), receiver());
        (0..2).for_each(|_| append(&mut log, 3));
        outgoing.reply(b"reply\n");
        write(&mut outgoing, &mut log, 6);
        write(&mut outgoing, &mut log, 2);
        outgoing.reply(b"reply\n");
        outgoing.deafen();
        outgoing.reply(b"reply\n");
        assert_eq!((outgoing.unread_replies(), outgoing.needs()), (0, None));
        (0..50).for_each(|_| append(&mut log, 20_000));
        assert!(!outgoing.is_lost(&log));
        assert_eq!(outgoing.next(&log), Next::Wait);
        assert_eq!(outgoing.ledger(&log), Ledger { entries: 52, delivered: 0, lost: 0, ahead: 52 });
        outgoing.cut_off(b"bye\n".to_vec());
        assert_eq!(outgoing.next(&log), Next::Close);
    }

    #[test]
    fn replies_that_are_read_take_no_memory() {
        let (mut log, mut outgoing) = (log(), receiver());
        let line = vec![b'x'; 1000];
        for _ in 0..10_000 {
            outgoing.reply(&line);
            // never all of it, so that the lane is never empty
            let unread = outgoing.unread_replies();
            write(&mut outgoing, &mut log, unread.saturating_sub(500));
        }
        assert!(outgoing.replies.capacity() < 4 * Outgoing::MAX_WRITTEN, "{}", outgoing.replies.capacity());
    }

    #[test]
    fn every_attach_is_answered_in_its_order() {
        let (mut log, mut outgoing) = (log(), receiver());
        (0..3).for_each(|_| append(&mut log, 1));
        write(&mut outgoing, &mut log, 2);
        outgoing.seek(b"first\n", Seek { after: 2, start: 2 });
        outgoing.reply(b"pong\n");
        outgoing.seek(b"second\n", Seek { after: 1, start: 1 });
        assert_eq!(all(&mut outgoing, &mut log), "x\nfirst\npong\nsecond\n2 x\n3 x\n");
    }

    #[test]
    fn nothing_follows_the_last_words() {
        let (mut log, mut outgoing) = (log(), receiver());
        outgoing.finish(b"bye\n".to_vec());
        let begun = String::from_utf8(write(&mut outgoing, &mut log, 1)).unwrap();
        outgoing.reply(b"reply\n");
        append(&mut log, 1);
        assert_eq!(begun + &all(&mut outgoing, &mut log), "bye\n");
        assert_eq!(outgoing.next(&log), Next::Close);
    }

    #[test]
    fn the_last_line_of_a_chunk_that_is_gone_is_no_loss() {
        let (mut log, mut outgoing) = (log(), receiver());
        append(&mut log, 100_000);
        write(&mut outgoing, &mut log, 10);
        append(&mut log, 100_000);
        log.trim(u64::MAX);
        assert_eq!(log.oldest(), 2, "the first entry is gone, but for who is in the middle of it");
        assert!(!outgoing.is_lost(&log));
        append(&mut log, 100_000);
        log.trim(u64::MAX);
        assert!(outgoing.is_lost(&log));
    }

    #[test]
    fn who_is_cut_off_keeps_its_ledger() {
        let (mut log, mut outgoing) = (log(), receiver());
        (0..3).for_each(|_| append(&mut log, 1));
        write(&mut outgoing, &mut log, 4);
        outgoing.cut_off(Vec::new());
        assert_eq!(outgoing.ledger(&log), Ledger { entries: 3, delivered: 1, lost: 0, ahead: 2 });
        assert_eq!(outgoing.needs(), None);
        assert_eq!(outgoing.next(&log), Next::Close);
    }

    proptest! {
        /// Replies and entries, cut anywhere: each comes whole, once, and in its order.
        #[test]
        fn lines_of_both_lanes_come_whole_and_in_order(
            steps in proptest::collection::vec((0u8..3, 1usize..40), 1..200),
        ) {
            let (mut log, mut outgoing) = (log(), receiver());
            let mut seen = Vec::new();
            let mut replies = 0;
            for (step, size) in steps {
                match step {
                    0 => append(&mut log, size),
                    1 => {
                        replies += 1;
                        outgoing.reply(format!("r{replies}\n").as_bytes());
                    }
                    _ => seen.extend(write(&mut outgoing, &mut log, size)),
                }
            }
            seen.extend(all(&mut outgoing, &mut log).into_bytes());
            let text = String::from_utf8(seen).unwrap();
            let (said, data): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('r'));
            prop_assert_eq!(said, (1..=replies).map(|n| format!("r{n}")).collect::<Vec<_>>());
            let numbers: Vec<u64> = data.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
            prop_assert_eq!(numbers, (1..=log.head()).collect::<Vec<_>>());
        }
    }
}
