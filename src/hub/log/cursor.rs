//! A client's place in the log, and its ledger. Pure.

use std::rc::Rc;

use super::{Kept, Log, Pin};
use crate::config::Format;

pub use crate::protocol::Ledger;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::Retention;

    fn log(max_bytes: usize, raw: bool) -> Log {
        Log::new(Retention { max_bytes, max_age_us: None }, raw)
    }

    fn append(log: &mut Log, length: usize) {
        log.trim(u64::MAX);
        let [envelope, raw] = [Format::Envelope, Format::Raw].map(|format| line(log.next(), length, format));
        log.append_line(0, envelope.as_bytes(), raw.as_bytes());
    }

    /// An entry's line; every third has no raw one, like a change of the link.
    fn line(seq: u64, length: usize, format: Format) -> String {
        match format {
            Format::Envelope => format!("{seq} {}\n", "x".repeat(length)),
            Format::Raw if seq.is_multiple_of(3) => String::new(),
            Format::Raw => format!("{seq}\n"),
        }
    }

    fn bytes<'a>(ahead: Ahead<'a>) -> &'a [u8] {
        match ahead {
            Ahead::Bytes(stretch) => &stretch.chunk[stretch.start..],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_that_lies_ahead_in_a_chunk_is_one_run_of_bytes() {
        let mut log = log(1 << 20, false);
        let mut cursor = Cursor::new(Format::Envelope, 0);
        (0..3).for_each(|_| append(&mut log, 1));
        assert_eq!(bytes(cursor.ahead(&log)), b"1 x\n2 x\n3 x\n");
        cursor.wrote(&mut log, 4);
        assert_eq!(bytes(cursor.ahead(&log)), b"2 x\n3 x\n");
        cursor.wrote(&mut log, 8);
        assert_eq!(cursor.ahead(&log), Ahead::Nothing);
    }

    #[test]
    fn a_line_under_way_is_kept_when_the_log_moves_on() {
        let mut log = log(64 << 10, false);
        let mut cursor = Cursor::new(Format::Envelope, 0);
        append(&mut log, 10);
        cursor.wrote(&mut log, 5);
        (0..100).for_each(|_| append(&mut log, 10_000));
        assert!(log.oldest() > 1);
        assert_eq!(cursor.rest_of_line(&log), b"xxxxxxx\n");
        assert_eq!(cursor.skip_lost(&log), None, "nothing is declared in the middle of a line");
        cursor.wrote(&mut log, 8);
        assert_eq!(cursor.ahead(&log), Ahead::Lost);
        let lost = cursor.skip_lost(&log).unwrap();
        assert_eq!((lost.from, lost.to), (2, log.oldest() - 1));
    }

    #[test]
    fn entries_without_a_raw_line_are_passed_over() {
        let mut log = log(1 << 20, true);
        let mut cursor = Cursor::new(Format::Raw, 2);
        (0..3).for_each(|_| append(&mut log, 1));
        assert_eq!(cursor.ahead(&log), Ahead::Nothing);
        assert_eq!(cursor.ledger(&log), Ledger { entries: 1, delivered: 1, lost: 0, ahead: 0 });
        append(&mut log, 1);
        assert_eq!(bytes(cursor.ahead(&log)), b"4\n");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append(usize),
        KeepRaw(bool),
        Expire(u64),
        Bound(usize),
        Write { client: usize, bytes: usize },
        Seek { client: usize, back: u64 },
        Stage,
        Commit { back: u64 },
        CommitAll,
        Cut,
        SkipBy(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (1usize..6000).prop_map(Step::Append),
            1 => any::<bool>().prop_map(Step::KeepRaw),
            1 => (0_u64..50).prop_map(Step::Expire),
            1 => (20_usize..64).prop_map(|kib| Step::Bound(kib << 10)),
            8 => (0usize..4, 1usize..40_000).prop_map(|(client, bytes)| Step::Write { client, bytes }),
            2 => (0usize..4, 0u64..50).prop_map(|(client, back)| Step::Seek { client, back }),
            1 => Just(Step::Stage),
            2 => (0u64..10).prop_map(|back| Step::Commit { back }),
            1 => Just(Step::CommitAll),
            1 => Just(Step::Cut),
            1 => (0u64..10).prop_map(Step::SkipBy),
        ]
    }

    /// What was staged and is so no more leaves with the next trim.
    fn is_untrimmed(step: &Step) -> bool {
        !matches!(step, Step::Append(_))
    }

    proptest! {
        /// Whatever comes, is read and is cut short: every client gets whole lines in order, what it
        /// doesn't get is declared, and its ledger balances after each step, also where the raw form isn't kept
        /// all the time. The place of what lies ahead names those bytes, and no others, for ever. Of what is
        /// staged nobody gets anything before it is committed, nor ever of what is cut.
        #[test]
        fn the_ledger_balances_and_lines_come_whole_and_in_order(steps in proptest::collection::vec(step(), 1..300)) {
            let mut log = log(64 << 10, true);
            let formats = [Format::Envelope, Format::Raw, Format::Envelope, Format::Raw];
            let mut clients = formats.map(|format| (Cursor::new(format, 0), Vec::<u8>::new()));
            // where in them each entry's lines begin
            let mut lengths: Vec<(u64, [usize; 2])> = Vec::new();
            let mut ever = [Format::Envelope, Format::Raw].map(|format| (format, Vec::<u8>::new()));
            for step in steps {
                match step.clone() {
                    Step::Append(length) => {
                        append(&mut log, length);
                        let seq = log.next() - 1;
                        lengths.push((seq, ever.each_ref().map(|(_, bytes)| bytes.len())));
                        for (format, bytes) in &mut ever {
                            if *format == Format::Envelope || log.keeps_raw() {
                                bytes.extend(line(seq, length, *format).bytes());
                            }
                        }
                    }
                    Step::Stage => log.stage(),
                    Step::Commit { back } => {
                        let (head, through) = (log.head(), (log.next() - 1).saturating_sub(back));
                        log.commit(through);
                        prop_assert_eq!(log.head(), head.max(through), "what is committed stays so");
                    }
                    Step::CommitAll => log.commit_all(),
                    Step::Cut => {
                        let (head, staged) = (log.head(), log.next() - 1 - log.head());
                        prop_assert_eq!(log.cut_staged(), staged);
                        prop_assert_eq!((log.head(), log.next()), (head, head + 1));
                        while let Some((seq, before)) = lengths.pop_if(|(seq, _)| *seq > head) {
                            prop_assert!(seq > head);
                            ever.iter_mut().zip(before).for_each(|((_, bytes), before)| bytes.truncate(before));
                        }
                    }
                    Step::SkipBy(entries) => {
                        if log.head() + 1 == log.next() {
                            log.skip_to(log.next() + entries);
                            prop_assert_eq!(log.oldest(), log.next());
                        }
                    }
                    Step::KeepRaw(raw) => {
                        log.keep_raw(raw);
                        // nobody has seen the raw lines of what is staged, nor will
                        let staged = lengths.iter_mut().filter(|(seq, _)| !raw && *seq > log.head());
                        for (_, [_, before]) in staged {
                            ever[1].1.truncate(*before);
                            *before = ever[1].1.len();
                        }
                    }
                    // all are too old, but the newest are needed
                    Step::Expire(back) => {
                        log.set_retention(Retention { max_age_us: Some(1), ..log.retention() });
                        log.expire_unneeded(10, (log.head() + 1).saturating_sub(back).max(1));
                        log.set_retention(Retention { max_age_us: None, ..log.retention() });
                    }
                    Step::Bound(max_bytes) => log.set_retention(Retention { max_bytes, ..log.retention() }),
                    Step::Write { client, bytes } => {
                        let (cursor, seen) = &mut clients[client];
                        match cursor.ahead(&log) {
                            Ahead::Nothing => {}
                            Ahead::Lost => {
                                let lost = cursor.skip_lost(&log).unwrap();
                                seen.extend(format!("lost {} {}\n", lost.from, lost.to).bytes());
                            }
                            Ahead::Bytes(ahead) => {
                                let (format, before) = ahead.place;
                                let ever = &ever.iter().find(|(of, _)| *of == format).unwrap().1;
                                let before = before as usize;
                                prop_assert!(ahead.chunk == &ever[before..before + ahead.chunk.len()]);
                                let part = bytes.min(ahead.len());
                                seen.extend(&ahead[..part]);
                                cursor.wrote(&mut log, part);
                            }
                        }
                    }
                    Step::Seek { client, back } => {
                        let (cursor, seen) = &mut clients[client];
                        if cursor.at_line_start() {
                            let after = log.head().saturating_sub(back);
                            cursor.seek(after, after);
                            seen.clear();
                            seen.extend(format!("lost 0 {after}\n").bytes());
                        }
                    }
                }
                for (cursor, _) in &clients {
                    let Ledger { entries, delivered, lost, ahead } = cursor.ledger(&log);
                    prop_assert_eq!(entries, delivered + lost + ahead);
                    prop_assert!(cursor.next() <= log.head() + 1);
                }
                let staged = log.next() - 1 - log.head(); // stays whatever the limits say
                prop_assert!(staged > 0 || is_untrimmed(&step) || log.bytes() <= (64 << 10) + 14_000, "{} bytes", log.bytes());
            }
            for ((cursor, seen), format) in clients.iter().zip(formats) {
                let text = String::from_utf8(seen.clone()).unwrap();
                let mut next = None;
                for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                    let mut words = line.split_whitespace();
                    let word = words.next().unwrap();
                    let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
                    let (from, to) = if word == "lost" { (numbers[0], numbers[1]) } else {
                        let seq = word.parse::<u64>().unwrap();
                        (seq, seq)
                    };
                    if let Some(expected) = next && word != "lost" {
                        let skipped = (expected..from).all(|seq| format == Format::Raw && seq % 3 == 0);
                        prop_assert!(from == expected || skipped, "{} instead of {}", from, expected);
                    }
                    next = Some(to + 1);
                }
                prop_assert!(cursor.next() <= log.head() + 1);
            }
        }
    }
}
