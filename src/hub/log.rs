//! The log: encoded lines in shared chunks, bounded in bytes and age. Pure.
//!
//! A message becomes its line when it enters, and stays that one run of bytes for every client: a
//! [`Cursor`](super::Cursor) is only a place in it. Lines of a chunk lie end to end, so that all a
//! client is behind by can be written with one call. Chunks leave whole, oldest first; a line that a
//! client is in the middle of is kept, alone, until it is out.
//!
//! Chunks are of one size, but for a line that is larger, and are used again: what the log takes is
//! what it counts, however long it runs.
//!
//! Entries may be staged: they have their `seq` and their bytes, but nobody sees them before they are committed, and
//! till then they can be cut. They may also come with the `seq` that another log gave them.

use std::{ops::Range, rc::Rc};

use crate::{
    config::Format,
    protocol::{Message, MessageTopic, Room, Sink as _},
};

mod buffer;
mod chunk;
pub(super) mod cursor;
mod given;
mod payload;
mod picked;
mod pin;
mod retained;
mod series;
mod staged;
mod topics;

use buffer::Pool;
pub(super) use chunk::{Chunk, Space};
pub use given::NotTaken;
pub use picked::Picked;
pub(super) use pin::{Kept, Pin};
use retained::Values;
pub use retained::{LastValue, Retain, RetainAs, Retained};
use series::Series;
pub use topics::TopicOf;
use topics::Topics;

/// Bounds of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Of everything held: lines, what it takes to find them, and room for the next. The newest chunk
    /// is always held, so one message may exceed it.
    pub max_bytes: usize,
    /// In microseconds; older entries are not handed out any more.
    pub max_age_us: Option<u64>,
}

/// The log.
#[derive(Debug)]
pub struct Log {
    retention: Retention,
    envelope: Series,
    /// The raw form of each message, if it is kept.
    raw: Option<Series>,
    /// How many bytes of raw lines went before, while they aren't kept.
    raw_before: u64,
    pool: Pool,
    /// Lines that have left, but that clients are in the middle of.
    kept: Vec<Rc<Pin>>,
    /// Which topic each entry is of, from the first on that was of any.
    topics: Option<Box<Topics>>,
    /// Last values, from the first time on that some were to be retained.
    retained: Option<Box<Values>>,
    /// The newest entry that may not wait for others: one that isn't a message.
    notice: u64,
    /// The oldest entry that is handed out; within the oldest chunk, or one past the newest entry.
    oldest: u64,
    /// What the newest hole took: itself, and what was held before it.
    discarded: Range<u64>,
    /// Entries from here on are kept, whatever the limits say.
    needed: u64,
    /// Entries from here on are staged; `u64::MAX` where each is committed as it comes.
    staged: u64,
}

impl Log {
    /// The size of a chunk's memory, but for a line that is larger. One write takes at most one chunk.
    pub const CHUNK_BYTES: usize = 256 << 10;

    /// An empty log. `raw` keeps the raw form too.
    pub fn new(retention: Retention, raw: bool) -> Log {
        Log::starting_at(1, retention, raw)
    }

    /// An empty log whose first entry will have this `seq`, 1 at least: entries before it were another log's.
    pub fn starting_at(first: u64, retention: Retention, raw: bool) -> Log {
        debug_assert!(first >= 1, "0 is the place before all entries");
        Log {
            retention,
            envelope: Series::from(first, 0),
            raw: raw.then(|| Series::from(first, 0)),
            raw_before: 0,
            pool: Pool::new(chunk_bytes(retention)),
            kept: Vec::new(),
            topics: None,
            retained: None,
            notice: 0,
            oldest: first,
            discarded: first..first,
            needed: u64::MAX,
            staged: u64::MAX,
        }
    }

    /// Says whether the raw form is kept from the next entry on. Entries before have none: who reads raw lines
    /// finishes the one under way, and finds the others lost.
    pub fn keep_raw(&mut self, raw: bool) {
        let committed = self.head() + 1;
        match (raw, &mut self.raw) {
            (true, None) => self.raw = Some(Series::from(self.next(), self.raw_before)),
            (false, Some(series)) => {
                series.cut(committed, &mut self.pool); // nobody has seen those
                self.raw_before = series.open().before() + series.open().lines().len() as u64;
                self.kept
                    .extend(self.raw.take().into_iter().flat_map(|series| series.dissolve(&mut self.pool)));
            }
            _ => {}
        }
    }

    /// Whether the raw form is kept.
    pub fn keeps_raw(&self) -> bool {
        self.raw.is_some()
    }

    /// Appends one entry, which is a message of this topic or none, and returns its `seq`. `encode` writes the
    /// envelope line, newline included, and the raw line where one is kept, in no more than `room`; an entry without
    /// a raw form writes nothing. Nothing leaves the log before the next [`Log::trim`], so that everyone can be
    /// offered it first.
    #[inline]
    pub(super) fn append(
        &mut self,
        time_us: u64,
        room: Room,
        topic: Option<&MessageTopic>,
        encode: impl FnOnce(u64, &mut Space<'_>, Option<&mut Space<'_>>),
    ) -> u64 {
        let seq = self.envelope.open().end();
        self.note_topic(seq, topic);
        self.envelope.make_room(room.envelope, &mut self.pool);
        let mut envelope = self.envelope.space();
        match &mut self.raw {
            None => {
                encode(seq, &mut envelope, None);
                let length = envelope.len();
                self.envelope.add(time_us, length);
            }
            Some(series) => {
                series.make_room(room.raw, &mut self.pool);
                let mut raw = series.space();
                encode(seq, &mut envelope, Some(&mut raw));
                let (length, raw_length) = (envelope.len(), raw.len());
                self.envelope.add(time_us, length);
                series.add(time_us, raw_length);
            }
        }
        seq
    }

    /// Appends an entry whose lines are there already; nothing is the raw line of one without.
    pub(crate) fn append_line(&mut self, time_us: u64, envelope: &[u8], raw: &[u8]) -> u64 {
        let room = Room { envelope: envelope.len(), raw: raw.len() };
        let topic = Message::is_one(envelope).then(|| Message::topic_of(envelope));
        self.append(time_us, room, topic.as_ref(), |_, to, raw_to| {
            to.put(envelope);
            raw_to.into_iter().for_each(|to| to.put(raw));
        })
    }

    /// Lets go of what the limits don't allow, oldest first, as far as nobody needs it: entries from
    /// `needed` on stay, and staged ones. `u64::MAX` when nobody does.
    pub fn trim(&mut self, needed: u64) {
        self.needed = needed;
        self.evict();
        let newest = self.envelope.open();
        if !newest.is_empty() {
            self.expire(newest.time_us(newest.end() - 1));
        }
    }

    /// Whether the lines from entry `seq` to the newest are `bytes` or fewer, give or take a chunk.
    pub fn is_within(&self, seq: u64, bytes: usize) -> bool {
        let head = self.head();
        if seq > head {
            return true;
        }
        let mut sum = 0;
        // what is staged lies ahead of nobody
        for chunk in self.envelope.newest_first().skip_while(|chunk| chunk.first() > head) {
            sum += chunk.taken();
            if chunk.first() <= seq || sum > bytes {
                break;
            }
        }
        sum <= bytes
    }

    /// How many bytes the envelope lines take from entry `seq` on, which is held or comes next.
    pub fn bytes_from(&self, seq: u64) -> u64 {
        if seq > self.head() {
            return 0;
        }
        let (chunk, open) = (self.envelope.chunk(seq), self.envelope.open());
        let place = chunk.before() + chunk.start(seq) as u64;
        open.before() + open.lines().len() as u64 - place
    }

    /// The newest entry that may not wait for others, be it staged: one that isn't a message, or one that is about to
    /// leave. 0 where there was none.
    pub fn notice(&self) -> u64 {
        self.notice
    }

    /// Nothing that there is may wait any more.
    pub(super) fn hurry(&mut self) {
        self.notice = self.next() - 1;
    }

    /// The newest committed entry's `seq`; that before the first one's while there is none.
    pub fn head(&self) -> u64 {
        self.next().min(self.staged) - 1
    }

    /// The `seq` that the next entry will have.
    pub fn next(&self) -> u64 {
        self.envelope.open().end()
    }

    /// The oldest entry that can still be had; `head() + 1` when there is none.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// The oldest entry that can still be had in this format; `head() + 1` when there is none.
    pub(super) fn oldest_of(&self, format: Format) -> u64 {
        match (format, &self.raw) {
            (Format::Envelope, _) => self.oldest,
            (Format::Raw, Some(raw)) => self.oldest.max(raw.first().min(self.head() + 1)),
            (Format::Raw, None) => self.head() + 1,
        }
    }

    /// An entry's line in this format, its end included; nothing where the entry has none. `None` for one that has left
    /// the log or isn't there yet, and where the format isn't kept.
    pub fn line(&self, seq: u64, format: Format) -> Option<&[u8]> {
        if !(self.oldest_of(format)..=self.head()).contains(&seq) {
            return None;
        }
        let chunk = self.chunk(seq, format)?;
        let end = if seq + 1 == chunk.end() { chunk.lines().len() } else { chunk.start(seq + 1) };
        Some(&chunk.lines()[chunk.start(seq)..end])
    }

    /// What an entry that is held is of.
    #[inline]
    pub fn topic_of(&self, seq: u64) -> TopicOf<'_> {
        let known = self.topics.as_ref().and_then(|topics| topics.of(seq));
        // before the first topic there was no reason to keep what entries are of
        known.unwrap_or_else(|| match self.line(seq, Format::Envelope).is_some_and(Message::is_one) {
            true => TopicOf::None,
            false => TopicOf::Everybody,
        })
    }

    /// Finds out which entry is the next of the same topic, for [`Log::next_of_topic`]: of no more than `most` entries
    /// that nobody asked about before. True: it is known of all entries.
    pub fn link_topics(&mut self, most: u64) -> bool {
        let head = self.head();
        self.topics.as_mut().is_none_or(|topics| topics.link(head, most))
    }

    /// The next entry of the same topic as this one; none for one without a topic. As far as it was
    /// [found out](Log::link_topics).
    pub fn next_of_topic(&self, seq: u64) -> Option<u64> {
        self.topics.as_ref()?.next_of_same(seq)
    }

    /// When an entry that is held entered, in microseconds since the Unix epoch.
    pub fn time_us(&self, seq: u64) -> Option<u64> {
        (self.oldest..=self.head()).contains(&seq).then(|| self.envelope.chunk(seq).time_us(seq))
    }

    /// Whether an entry that is held came before this time.
    pub fn came_before(&self, seq: u64, time_us: u64) -> bool {
        self.time_us(seq).is_some_and(|entered| entered < time_us)
    }

    /// The topics of the entries that are held have numbers below this.
    pub fn topic_numbers(&self) -> usize {
        self.topics.as_ref().map_or(0, |topics| topics.numbers())
    }

    /// How many topics the entries are of that are held; none where none ever was of any.
    pub fn topics(&self) -> Option<usize> {
        self.topics.as_ref().map(|topics| topics.count())
    }

    /// Whether all entries from `seq` on are held, in each format that is kept.
    pub fn holds_from(&self, seq: u64) -> bool {
        seq >= self.oldest && (self.raw.is_none() || seq >= self.oldest_of(Format::Raw))
    }

    /// The bytes held, those of finding entries included.
    pub fn bytes(&self) -> usize {
        self.series().map(Series::bytes).sum::<usize>() + self.topic_bytes()
    }

    /// The bytes of lines that have left, or are retained no longer, and that clients are in the middle of. What
    /// clients have finished since the last call counts no more.
    pub fn kept_bytes(&mut self) -> usize {
        self.kept.retain(Pin::is_needed);
        let last_values = self.retained.as_mut().map_or(0, |values| values.left_bytes());
        last_values + self.kept.iter().map(|pin| pin.memory()).sum::<usize>()
    }

    /// The present bounds.
    pub fn retention(&self) -> Retention {
        self.retention
    }

    /// [`Log::expire`], with entries from `needed` on kept.
    pub fn expire_unneeded(&mut self, now_us: u64, needed: u64) {
        self.needed = needed;
        self.expire(now_us);
    }

    /// Lets go of what is older than `max_age` at `now_us`.
    pub fn expire(&mut self, now_us: u64) {
        let Some(max_age_us) = self.retention.max_age_us else { return };
        let limit = now_us.saturating_sub(max_age_us);
        while self.oldest <= self.head().min(self.needed - 1)
            && self.envelope.chunk(self.oldest).time_us(self.oldest) < limit
        {
            self.oldest += 1;
        }
        while self.front_end().is_some_and(|end| end <= self.oldest) {
            self.drop_front();
        }
        self.forget_topics();
    }

    /// Applies new bounds, with the next [`Log::trim`]: what nobody was offered yet stays until then.
    pub fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
        if self.pool.size() != chunk_bytes(retention) {
            self.pool = Pool::new(chunk_bytes(retention));
        }
    }

    /// The chunk that holds entry `seq`, which must be one of `oldest_of(format)..=head()`, or pinned and not
    /// [kept](Pin::kept). `None` where the format isn't kept.
    pub(super) fn chunk(&self, seq: u64, format: Format) -> Option<&Chunk> {
        match format {
            Format::Envelope => Some(self.envelope.chunk(seq)),
            Format::Raw => self.raw.as_ref().map(|raw| raw.chunk(seq)),
        }
    }

    /// The lines of a chunk as far as they are committed, and one past the last of them. Its first one is.
    #[inline]
    pub(super) fn committed<'a>(&self, chunk: &'a Chunk) -> (&'a [u8], u64) {
        match chunk.end() <= self.staged {
            true => (chunk.lines(), chunk.end()),
            false => (&chunk.lines()[..chunk.start(self.staged)], self.staged),
        }
    }

    /// Notes that a client is in the middle of entry `seq`'s line: it is kept for as long as the
    /// caller likes. `None` where the format isn't kept.
    pub(super) fn pin(&mut self, seq: u64, format: Format) -> Option<Rc<Pin>> {
        match format {
            Format::Envelope => Some(self.envelope.pin(seq)),
            Format::Raw => self.raw.as_mut().map(|raw| raw.pin(seq)),
        }
    }

    fn evict(&mut self) {
        let bound = self.needed.min(self.staged);
        while self.memory() > self.retention.max_bytes && self.front_end().is_some_and(|end| end <= bound) {
            self.drop_front();
        }
    }

    /// One past the last entry of the chunk that leaves next.
    fn front_end(&self) -> Option<u64> {
        self.series().filter_map(|series| series.sealed().front()).map(Chunk::end).min()
    }

    fn drop_front(&mut self) {
        let end = |series: &Series| series.sealed().front().map_or(u64::MAX, Chunk::end);
        let oldest = match &mut self.raw {
            Some(raw) if end(raw) < end(&self.envelope) => raw,
            _ => &mut self.envelope,
        };
        if let Some((end, kept)) = oldest.drop_front(&mut self.pool) {
            self.oldest = self.oldest.max(end);
            self.kept.extend(kept);
            self.forget_topics();
        }
    }

    /// Notes what the next entry is of: from the first topic on, and from then on always.
    #[inline]
    fn note_topic(&mut self, seq: u64, topic: Option<&MessageTopic>) {
        if topic.is_none() {
            self.notice = seq;
        }
        if self.topics.is_some() || topic.is_some_and(|topic| !matches!(topic, MessageTopic::None)) {
            self.keep_topic(seq, topic);
        }
    }

    /// Not inlined: where messages have no topics, they have nothing to do with it.
    #[inline(never)]
    fn keep_topic(&mut self, seq: u64, topic: Option<&MessageTopic>) {
        let topics = self.topics.get_or_insert_with(|| Box::new(Topics::from(seq)));
        match topic {
            Some(topic) => topics.message(topic),
            None => topics.other(),
        }
    }

    fn forget_topics(&mut self) {
        let oldest = self.oldest;
        self.topics.iter_mut().for_each(|topics| topics.forget_before(oldest));
    }

    fn topic_bytes(&self) -> usize {
        self.topics.as_ref().map_or(0, |topics| topics.memory())
    }

    /// What the log takes at most, the chunks that wait to be used again included.
    fn memory(&self) -> usize {
        self.series().map(Series::memory).sum::<usize>() + self.pool.most() + self.topic_bytes()
    }

    fn series(&self) -> impl Iterator<Item = &Series> {
        std::iter::once(&self.envelope).chain(&self.raw)
    }
}

/// A small log has small chunks, since chunks leave whole.
fn chunk_bytes(retention: Retention) -> usize {
    Log::CHUNK_BYTES.min(retention.max_bytes / 16)
}

#[cfg(test)]
mod tests;
