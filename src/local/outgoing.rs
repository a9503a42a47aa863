//! What a client gets next: replies, log entries, last words. Pure.
//!
//! Two sources share one stream of lines: the log, through the client's cursor, and the replies'
//! own lane. They change over only where a line ends. Replies go first, so that a flood of data
//! can't hold them up.

use super::protocol::Why;
use crate::hub::{Ahead, Cursor, Ledger, Log, Lost};

/// The outgoing side of one client, down to the byte.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// `None` for a client that may not receive, and for one that is being cut off.
    cursor: Option<Cursor>,
    replies: Vec<u8>,
    /// How much of `replies` is written.
    written: usize,
    /// Said when nothing else is left to say; then the connection closes.
    last_words: Option<Vec<u8>>,
    /// Nothing is taken in any more but what was there when it was cut off.
    cut_off: bool,
    /// An `attach` that waits for the end of a line.
    seek: Option<Box<Seek>>,
    /// What a loss found at the cursor's present place is due to.
    why: Why,
}

/// Where to move the cursor, and what to say first.
#[derive(Debug)]
pub(super) struct Seek {
    /// The entry before the next one to deliver.
    pub(super) after: u64,
    /// Lines that explain the move.
    pub(super) lines: Vec<u8>,
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
    /// The client fell out of the log: declare it with [`Outgoing::declare`], or cut it off.
    Lost,
    /// Everything is said: close the connection.
    Close,
}

impl Outgoing {
    /// The most bytes of replies that may lie unread.
    pub(super) const MAX_REPLIES: usize = 1 << 20;

    /// A client's outgoing side; without a cursor it sees replies only.
    pub(super) fn new(cursor: Option<Cursor>) -> Outgoing {
        Outgoing {
            cursor,
            replies: Vec::new(),
            written: 0,
            last_words: None,
            cut_off: false,
            seek: None,
            why: Why::SlowClient,
        }
    }

    /// Adds a reply line. False when the client has left too many unread: it must be cut off.
    pub(super) fn reply(&mut self, line: &[u8]) -> bool {
        if self.cut_off {
            return true;
        }
        if self.unread_replies() + line.len() > Outgoing::MAX_REPLIES.max(line.len()) {
            return false;
        }
        self.replies.extend_from_slice(line);
        true
    }

    /// The bytes of replies that are not written yet.
    pub(super) fn unread_replies(&self) -> usize {
        self.replies.len() - self.written
    }

    /// Moves the cursor as soon as the line under way is out.
    pub(super) fn seek(&mut self, seek: Seek) {
        match &mut self.cursor {
            Some(cursor) if cursor.at_line_start() => {
                cursor.seek(seek.after);
                self.replies.extend_from_slice(&seek.lines);
                self.why = seek.why;
            }
            Some(_) => self.seek = Some(Box::new(seek)),
            None => {}
        }
    }

    /// Finishes: what lies ahead is still delivered, then `words`, then the connection closes.
    pub(super) fn finish(&mut self, words: Vec<u8>) {
        self.last_words.get_or_insert(words);
    }

    /// Cuts the client off: no more data, only the rest of a line under way, then `words`.
    pub(super) fn cut_off(&mut self, words: Vec<u8>, log: &Log) {
        if let Some(cursor) = self.cursor.take()
            && !cursor.at_line_start()
        {
            let mut replies = cursor.rest_of_line(log).to_vec();
            replies.extend_from_slice(&self.replies[self.written..]);
            (self.replies, self.written) = (replies, 0);
        }
        self.seek = None;
        self.cut_off = true;
        self.last_words = Some(words);
    }

    /// Whether it was cut off already.
    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// Whether the connection closes once everything is said.
    pub(super) fn is_finishing(&self) -> bool {
        self.last_words.is_some()
    }

    /// What to do next.
    pub(super) fn next<'a>(&'a mut self, log: &'a Log) -> Next<'a> {
        let mid_line = self.cursor.as_ref().is_some_and(|cursor| !cursor.at_line_start());
        let replies = self.written < self.replies.len();
        if !mid_line {
            if !replies {
                self.replies = Vec::new();
                self.written = 0;
            } else {
                return Next::Write(&self.replies[self.written..]);
            }
        } else if replies || self.seek.is_some() {
            return Next::Write(self.cursor.as_ref().map_or(&[], |cursor| cursor.rest_of_line(log)));
        }
        match self.cursor.as_mut().map(|cursor| cursor.ahead(log)) {
            Some(Ahead::Bytes(bytes)) => Next::Write(bytes),
            Some(Ahead::Lost) => Next::Lost,
            Some(Ahead::Nothing) | None => match &mut self.last_words {
                Some(words) if words.is_empty() => Next::Close,
                Some(words) => {
                    self.replies = std::mem::take(words);
                    Next::Write(&self.replies)
                }
                None => Next::Wait,
            },
        }
    }

    /// Records that the first `written` bytes of [`Next::Write`] are out.
    pub(super) fn wrote(&mut self, log: &mut Log, written: usize) {
        match &mut self.cursor {
            // replies are written at the start of a line only, and then before any data
            Some(cursor) if !cursor.at_line_start() || self.replies.is_empty() => {
                cursor.wrote(log, written);
                self.why = Why::SlowClient;
                if cursor.at_line_start()
                    && let Some(seek) = self.seek.take()
                {
                    self.seek(*seek);
                }
            }
            _ => self.written += written,
        }
    }

    /// What the loss is due to that [`Next::Lost`] reported.
    pub(super) fn why(&self) -> Why {
        self.why
    }

    /// Declares what is lost: `lines` makes the words of it.
    pub(super) fn declare(&mut self, log: &Log, lines: impl FnOnce(Lost, Why) -> Vec<u8>) {
        if let Some(lost) = self.cursor.as_mut().and_then(|cursor| cursor.skip_lost(log)) {
            self.replies.extend_from_slice(&lines(lost, self.why));
            self.why = Why::SlowClient;
        }
    }

    /// The next entry that the client is to get; `None` when there will be none.
    pub(super) fn needs(&self) -> Option<u64> {
        self.cursor.as_ref().map(Cursor::next)
    }

    /// Whether the client's next entry is no longer held, and no rest of a line keeps it.
    pub(super) fn is_lost(&self, log: &Log) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| cursor.next() < log.oldest())
    }

    /// The client's balance; all zero for one that may not receive.
    pub(super) fn ledger(&self, log: &Log) -> Ledger {
        match &self.cursor {
            Some(cursor) => cursor.ledger(log),
            None => Ledger { entries: 0, delivered: 0, lost: 0, ahead: 0 },
        }
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
        log.append(0, |seq, envelope, _| envelope.extend(format!("{seq} {}\n", "x".repeat(length)).bytes()));
    }

    fn receiver() -> Outgoing {
        Outgoing::new(Some(Cursor::new(Format::Envelope, 0)))
    }

    /// Writes up to `bytes`, as a socket would take them.
    fn write(outgoing: &mut Outgoing, log: &mut Log, bytes: usize) -> Vec<u8> {
        let Next::Write(ahead) = outgoing.next(log) else { return Vec::new() };
        let taken = ahead[..bytes.min(ahead.len())].to_vec();
        outgoing.wrote(log, taken.len());
        taken
    }

    fn all(outgoing: &mut Outgoing, log: &mut Log) -> String {
        let mut seen = Vec::new();
        while let Next::Write(_) = outgoing.next(log) {
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
        outgoing.seek(Seek { after: 0, lines: b"attached\n".to_vec(), why: Why::Expired });
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
        outgoing.seek(Seek { after: 0, lines: Vec::new(), why: Why::Expired });
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
        outgoing.cut_off(b"bye\n".to_vec(), &log);
        assert_eq!(all(&mut outgoing, &mut log), "xx\nbye\n");
        assert_eq!(outgoing.next(&log), Next::Close);
    }

    #[test]
    fn a_reply_under_way_is_finished_when_its_client_is_cut_off() {
        let (mut log, mut outgoing) = (log(), receiver());
        outgoing.reply(b"reply\n");
        write(&mut outgoing, &mut log, 2);
        outgoing.cut_off(b"bye\n".to_vec(), &log);
        assert_eq!(all(&mut outgoing, &mut log), "ply\nbye\n");
    }

    #[test]
    fn replies_that_nobody_reads_are_bounded() {
        let mut outgoing = receiver();
        let line = vec![b'x'; 1000];
        let taken = (0..10_000).take_while(|_| outgoing.reply(&line)).count();
        assert_eq!(taken, Outgoing::MAX_REPLIES / 1000);
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
