//! What a client gets next: replies, log entries, last words. Pure.
//!
//! Two sources share one stream of lines: the log, through the client's cursor, and the replies'
//! own lane. They change over only where a line ends. Replies go first, so that a flood of data
//! can't hold them up.

use std::{cell::Cell, rc::Rc};

use super::protocol::Why;
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
    /// What a loss found at the cursor's present place is due to.
    why: Why,
    ending: Ending,
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
    /// The entry before the next one to deliver.
    pub(super) after: u64,
    /// What it is due to if entries from there on are no longer held.
    pub(super) why: Why,
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
    /// The most bytes of replies that may lie unread.
    pub(super) const MAX_REPLIES: usize = 1 << 20;

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
            why: Why::SlowClient,
            ending: Ending::No,
            total: 0,
            charged: 0,
            unread,
        }
    }

    /// Adds reply lines. False when the client has left too many unread: it must be cut off. With
    /// nothing unread there is room for any one answer; the status of many clients is long.
    #[must_use]
    pub(super) fn reply(&mut self, lines: &[u8]) -> bool {
        if matches!(self.ending, Ending::CutOff(_) | Ending::Said) {
            return true; // nobody is there to read them
        }
        if self.unread_replies() + lines.len() > Outgoing::MAX_REPLIES.max(lines.len()) {
            return false;
        }
        self.replies.extend_from_slice(lines);
        self.charge();
        true
    }

    /// The bytes of replies that are not written yet.
    pub(super) fn unread_replies(&self) -> usize {
        self.replies.len() - self.written
    }

    /// Adds reply lines, as [`Outgoing::reply`], and moves the cursor as soon as the line under way
    /// is out: right after these lines come the entries from there on.
    #[must_use]
    pub(super) fn seek(&mut self, lines: &[u8], seek: Seek) -> bool {
        let fits = self.reply(lines);
        self.seek = Some(seek);
        self.apply_seek();
        fits
    }

    /// Finishes: what lies ahead is still delivered, then `words`, then the connection closes.
    pub(super) fn finish(&mut self, words: Vec<u8>) {
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
        if !self.at_line_start() {
            // something else may have to follow the line under way
            if self.unread_replies() > 0 || self.seek.is_some() || self.is_cut_off() {
                return Next::Write(self.cursor.as_ref().map_or(&[], |cursor| cursor.rest_of_line(log)));
            }
        } else if self.unread_replies() > 0 {
            return Next::Write(&self.replies[self.written..]);
        }
        if !self.is_cut_off() {
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
            self.why = Why::SlowClient;
            self.apply_seek();
        }
    }

    /// How many bytes the client has taken.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// What the loss is due to that [`Next::Lost`] reported.
    pub(super) fn why(&self) -> Why {
        self.why
    }

    /// Declares what is lost: `lines` makes the words of it.
    pub(super) fn declare(&mut self, log: &Log, lines: impl FnOnce(Lost, Why) -> Vec<u8>) {
        if let Some(lost) = self.cursor.as_mut().and_then(|cursor| cursor.skip_lost(log)) {
            // not bounded as replies are: one is due only when all before it is out
            self.replies.extend_from_slice(&lines(lost, self.why));
            self.charge();
            self.why = Why::SlowClient;
        }
    }

    /// The next entry that the client is to get; `None` when there will be none.
    pub(super) fn needs(&self) -> Option<u64> {
        let cursor = self.cursor.as_ref().filter(|_| !self.is_cut_off())?;
        let sought = self.seek.map_or(u64::MAX, |seek| seek.after + 1);
        Some(cursor.next().min(sought))
    }

    /// Whether an entry that the client is to get is no longer held.
    pub(super) fn is_lost(&self, log: &Log) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.is_lost(log))
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
            cursor.seek(seek.after);
            self.why = seek.why;
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
        assert!(outgoing.reply(b"reply\n"));
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
        assert!(outgoing.seek(b"attached\n", Seek { after: 0, why: Why::Expired }));
        assert_eq!(all(&mut outgoing, &mut log), " x\nattached\n1 x\n2 x\n3 x\n");
        assert_eq!(outgoing.ledger(&log), Ledger { entries: 3, delivered: 3, lost: 0, ahead: 0 });
    }

    #[test]
    fn a_loss_after_a_seek_is_due_to_expiry_and_a_later_one_to_slowness() {
        let (mut log, mut outgoing) = (log(), receiver());
        let fill = |log: &mut Log| (0..10).for_each(|_| append(log, 20_000));
        let declare = |outgoing: &mut Outgoing, log: &Log| {
            let mut declared = None;
            outgoing.declare(log, |lost, why| {
                declared = Some((lost.from, why));
                Vec::new()
            });
            declared.unwrap()
        };
        fill(&mut log);
        assert!(outgoing.seek(b"", Seek { after: 0, why: Why::Expired }));
        assert_eq!(outgoing.next(&log), Next::Lost);
        assert_eq!(declare(&mut outgoing, &log), (1, Why::Expired));
        let next = log.oldest();
        fill(&mut log);
        assert_eq!(outgoing.next(&log), Next::Lost);
        assert_eq!(declare(&mut outgoing, &log), (next, Why::SlowClient));
    }

    #[test]
    fn the_last_words_come_after_all_data_then_it_closes() {
        let (mut log, mut outgoing) = (log(), receiver());
        append(&mut log, 1);
        outgoing.finish(b"bye\n".to_vec());
        assert!(outgoing.reply(b"reply\n"));
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
        assert!(outgoing.reply(b"reply\n"));
        write(&mut outgoing, &mut log, 2);
        outgoing.cut_off(b"bye\n".to_vec());
        assert_eq!(all(&mut outgoing, &mut log), "ply\nbye\n");
    }

    #[test]
    fn replies_that_nobody_reads_are_bounded() {
        let mut outgoing = receiver();
        let line = vec![b'x'; 1000];
        let taken = (0..10_000).take_while(|_| outgoing.reply(&line)).count();
        assert_eq!(taken, Outgoing::MAX_REPLIES / 1000);
    }

    #[test]
    fn replies_that_are_read_take_no_memory() {
        let (mut log, mut outgoing) = (log(), receiver());
        let line = vec![b'x'; 1000];
        for _ in 0..10_000 {
            assert!(outgoing.reply(&line));
            // never all of it, so that the lane is never empty
            let unread = outgoing.unread_replies();
            write(&mut outgoing, &mut log, unread.saturating_sub(500));
        }
        assert!(outgoing.replies.capacity() < 4 * Outgoing::MAX_WRITTEN, "{}", outgoing.replies.capacity());
    }

    #[test]
    fn answers_to_an_attach_are_bounded_like_others() {
        let mut outgoing = receiver();
        let seek = Seek { after: 0, why: Why::Expired };
        assert!(outgoing.seek(&[b'x'; Outgoing::MAX_REPLIES], seek));
        assert!(!outgoing.seek(b"x", seek));
    }

    #[test]
    fn one_long_answer_is_told_to_who_reads() {
        let (mut log, mut outgoing) = (log(), receiver());
        let long = vec![b'x'; 3 * Outgoing::MAX_REPLIES];
        assert!(outgoing.reply(&long));
        assert!(!outgoing.reply(b"x"), "not beside another");
        write(&mut outgoing, &mut log, usize::MAX);
        assert!(outgoing.reply(&long));
    }

    #[test]
    fn every_attach_is_answered_in_its_order() {
        let (mut log, mut outgoing) = (log(), receiver());
        (0..3).for_each(|_| append(&mut log, 1));
        write(&mut outgoing, &mut log, 2);
        assert!(outgoing.seek(b"first\n", Seek { after: 2, why: Why::Expired }));
        assert!(outgoing.reply(b"pong\n"));
        assert!(outgoing.seek(b"second\n", Seek { after: 1, why: Why::Expired }));
        assert_eq!(all(&mut outgoing, &mut log), "x\nfirst\npong\nsecond\n2 x\n3 x\n");
    }

    #[test]
    fn nothing_follows_the_last_words() {
        let (mut log, mut outgoing) = (log(), receiver());
        outgoing.finish(b"bye\n".to_vec());
        let begun = String::from_utf8(write(&mut outgoing, &mut log, 1)).unwrap();
        assert!(outgoing.reply(b"reply\n"));
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
                        assert!(outgoing.reply(format!("r{replies}\n").as_bytes()));
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
