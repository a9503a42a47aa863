//! The log: encoded lines in shared chunks, bounded in bytes and age. Pure.
//!
//! A message becomes its line when it enters, and stays that one run of bytes for every client: a
//! [`Cursor`](super::Cursor) is only a place in it. Lines of a chunk lie end to end, so that all a
//! client is behind by can be written with one call. Chunks leave whole, oldest first; a client in
//! the middle of a line keeps its chunk alive until that line is out.

use std::{collections::VecDeque, rc::Rc};

use crate::config::Format;

/// Bounds of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of everything held: lines and what it takes to find them. The newest chunk is always held,
    /// so one message may exceed it.
    pub max_bytes: usize,
    /// In microseconds; older entries are not handed out any more.
    pub max_age_us: Option<u64>,
}

/// The log.
#[derive(Debug)]
pub struct Log {
    limits: Limits,
    /// Whether the raw form of each message is kept beside its envelope.
    raw: bool,
    /// Complete chunks, oldest first; their entries follow one another without holes.
    sealed: VecDeque<Rc<Chunk>>,
    /// The chunk that grows. Its entries follow the last sealed one's.
    open: Chunk,
    /// The bytes of all sealed chunks.
    sealed_bytes: usize,
    /// The oldest entry that is handed out; within the oldest chunk, or one past the newest entry.
    oldest: u64,
    /// Entries from here on are kept, whatever the limits say.
    needed: u64,
    /// Chunks that have left, to be filled again: memory that the kernel needn't hand out, zeroed,
    /// once more. A batch fills no more than two.
    spare: Vec<Chunk>,
}

/// So many chunks that have left are kept.
const MAX_SPARE: usize = 2;

/// Entries whose lines lie end to end, once for each format.
#[derive(Debug)]
pub(super) struct Chunk {
    first: u64,
    /// How many bytes of each format went before.
    before: Before,
    index: Vec<Entry>,
    envelope: Vec<u8>,
    raw: Vec<u8>,
}

/// Bytes of each format since the log began.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    envelope: u64,
    raw: u64,
}

/// Where an entry's lines end. They begin where those of the entry before it end.
#[derive(Debug, Clone, Copy)]
struct Entry {
    time_us: u64,
    envelope_end: u32,
    raw_end: u32,
}

impl Log {
    /// The size at which a chunk is complete. One write takes at most one chunk.
    pub const CHUNK_BYTES: usize = 256 << 10;

    /// An empty log. `raw` keeps the raw form too.
    pub fn new(limits: Limits, raw: bool) -> Log {
        Log {
            limits,
            raw,
            sealed: VecDeque::new(),
            open: Chunk::new(1, Before::default()),
            sealed_bytes: 0,
            oldest: 1,
            needed: u64::MAX,
            spare: Vec::new(),
        }
    }

    /// Appends one entry and returns its `seq`. `encode` writes the envelope line, newline
    /// included, and the raw line where one is kept; an entry without a raw form writes nothing.
    /// Nothing leaves the log before the next [`Log::trim`], so that everyone can be offered it first.
    pub fn append(
        &mut self,
        time_us: u64,
        encode: impl FnOnce(u64, &mut Vec<u8>, Option<&mut Vec<u8>>),
    ) -> u64 {
        if self.open.len() >= self.chunk_bytes() {
            self.seal();
        }
        let seq = self.open.end();
        let raw = self.raw.then_some(&mut self.open.raw);
        encode(seq, &mut self.open.envelope, raw);
        let (envelope_end, raw_end) = (offset(self.open.envelope.len()), offset(self.open.raw.len()));
        self.open.index.push(Entry { time_us, envelope_end, raw_end });
        seq
    }

    /// Lets go of what the limits don't allow, oldest first, as far as nobody needs it: entries from
    /// `needed` on stay. `u64::MAX` when nobody does.
    pub fn trim(&mut self, needed: u64) {
        self.needed = needed;
        self.evict();
        if let Some(newest) = self.open.index.last() {
            self.expire(newest.time_us);
        }
    }

    /// Whether the lines from entry `seq` to the newest are `bytes` or fewer, give or take a chunk.
    pub fn is_within(&self, seq: u64, bytes: usize) -> bool {
        let mut sum = self.open.len();
        let mut first = self.open.first;
        for chunk in self.sealed.iter().rev() {
            if first <= seq || sum > bytes {
                break;
            }
            sum += chunk.len();
            first = chunk.first;
        }
        sum <= bytes
    }

    /// The newest entry's `seq`; 0 while there is none.
    pub fn head(&self) -> u64 {
        self.open.end() - 1
    }

    /// The oldest entry that can still be had; `head() + 1` when there is none.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// The bytes held, those of finding entries included.
    pub fn bytes(&self) -> usize {
        self.sealed_bytes + self.open.len()
    }

    /// The present bounds.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// [`Log::expire`], with entries from `needed` on kept.
    pub fn expire_unneeded(&mut self, now_us: u64, needed: u64) {
        self.needed = needed;
        self.expire(now_us);
    }

    /// Lets go of what is older than `max_age` at `now_us`.
    pub fn expire(&mut self, now_us: u64) {
        let Some(max_age_us) = self.limits.max_age_us else { return };
        let limit = now_us.saturating_sub(max_age_us);
        while self.oldest <= self.head().min(self.needed - 1)
            && self.chunk(self.oldest).time_us(self.oldest) < limit
        {
            self.oldest += 1;
        }
        while self.sealed.front().is_some_and(|chunk| chunk.end() <= self.oldest) {
            self.drop_front();
        }
    }

    /// Applies new bounds, at once.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.evict();
    }

    /// The chunk that holds entry `seq`, which must be one of `oldest()..=head()`.
    pub(super) fn chunk(&self, seq: u64) -> &Chunk {
        if seq >= self.open.first {
            return &self.open;
        }
        &self.sealed[self.sealed.partition_point(|chunk| chunk.end() <= seq)]
    }

    /// The chunk that holds entry `seq`, kept alive for as long as the caller likes.
    pub(super) fn pin(&mut self, seq: u64) -> Rc<Chunk> {
        if seq >= self.open.first {
            self.seal();
        }
        Rc::clone(&self.sealed[self.sealed.partition_point(|chunk| chunk.end() <= seq)])
    }

    /// Completes the open chunk and starts the next.
    fn seal(&mut self) {
        let before = self.open.after();
        let next = match self.spare.pop() {
            Some(spare) => spare.emptied(self.open.end(), before),
            // as full as this one: a flood fills chunk after chunk without growing each anew
            None if self.open.len() >= self.chunk_bytes() => Chunk::sized_like(&self.open),
            None => Chunk::new(self.open.end(), before),
        };
        let mut full = std::mem::replace(&mut self.open, next);
        full.shrink();
        self.sealed_bytes += full.len();
        self.sealed.push_back(Rc::new(full));
    }

    fn evict(&mut self) {
        while self.bytes() > self.limits.max_bytes
            && self.sealed.front().is_some_and(|chunk| chunk.end() <= self.needed)
        {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(chunk) = self.sealed.pop_front() {
            self.sealed_bytes -= chunk.len();
            self.oldest = self.oldest.max(chunk.end());
            // one that a client still needs goes with that client
            let most = 2 * self.chunk_bytes();
            let chunk = Rc::into_inner(chunk).filter(|chunk| chunk.len() <= most);
            self.spare.extend(chunk);
            self.spare.truncate(MAX_SPARE);
        }
    }

    /// A small log has small chunks, since chunks leave whole.
    fn chunk_bytes(&self) -> usize {
        Log::CHUNK_BYTES.min(self.limits.max_bytes / 8)
    }
}

impl Chunk {
    fn new(first: u64, before: Before) -> Chunk {
        Chunk { first, before, index: Vec::new(), envelope: Vec::new(), raw: Vec::new() }
    }

    /// The chunk after `full`, with room for somewhat more, but for no giant. Room that isn't used
    /// costs nothing but addresses.
    fn sized_like(full: &Chunk) -> Chunk {
        let room = |bytes: usize| (bytes + bytes / 8).min(Log::CHUNK_BYTES + Log::CHUNK_BYTES / 4);
        Chunk {
            first: full.end(),
            before: full.after(),
            index: Vec::with_capacity(full.index.len() + full.index.len() / 8),
            envelope: Vec::with_capacity(room(full.envelope.len())),
            raw: Vec::with_capacity(room(full.raw.len())),
        }
    }

    /// The same memory, for the entries from `first` on.
    fn emptied(mut self, first: u64, before: Before) -> Chunk {
        (self.first, self.before) = (first, before);
        self.index.clear();
        self.envelope.clear();
        self.raw.clear();
        self
    }

    /// One past the last entry's `seq`.
    pub(super) fn end(&self) -> u64 {
        self.first + self.index.len() as u64
    }

    /// How many bytes of a format went before this chunk's: a number for each byte of the log, for
    /// ever.
    pub(super) fn before(&self, format: Format) -> u64 {
        match format {
            Format::Envelope => self.before.envelope,
            Format::Raw => self.before.raw,
        }
    }

    fn after(&self) -> Before {
        Before {
            envelope: self.before.envelope + self.envelope.len() as u64,
            raw: self.before.raw + self.raw.len() as u64,
        }
    }

    /// All lines in one format.
    pub(super) fn bytes(&self, format: Format) -> &[u8] {
        match format {
            Format::Envelope => &self.envelope,
            Format::Raw => &self.raw,
        }
    }

    /// Where the line of entry `seq` begins.
    pub(super) fn start(&self, seq: u64, format: Format) -> usize {
        match (seq - self.first).checked_sub(1) {
            None => 0,
            Some(before) => self.index[before as usize].end(format),
        }
    }

    /// The first entry whose line ends after `offset`: the one that a reader who has had so many
    /// bytes is at.
    pub(super) fn entry_at(&self, offset: usize, format: Format) -> u64 {
        self.first + self.index.partition_point(|entry| entry.end(format) <= offset) as u64
    }

    fn time_us(&self, seq: u64) -> u64 {
        self.index[(seq - self.first) as usize].time_us
    }

    fn len(&self) -> usize {
        self.envelope.len() + self.raw.len() + self.index.len() * size_of::<Entry>()
    }

    /// Gives back what is not used, if it is worth the copy that may be needed for it.
    fn shrink(&mut self) {
        for (used, held) in [
            (self.envelope.len(), self.envelope.capacity()),
            (self.raw.len(), self.raw.capacity()),
            (self.index.len() * size_of::<Entry>(), self.index.capacity() * size_of::<Entry>()),
        ] {
            if held - used > (held / 4).max(4096) {
                self.index.shrink_to_fit();
                self.envelope.shrink_to_fit();
                self.raw.shrink_to_fit();
                return;
            }
        }
    }
}

impl Entry {
    fn end(&self, format: Format) -> usize {
        match format {
            Format::Envelope => self.envelope_end as usize,
            Format::Raw => self.raw_end as usize,
        }
    }
}

/// An offset within a chunk. A chunk takes no more lines once it has reached its size, and the
/// largest message (512 MiB, six bytes for each at worst) stays under 4 GiB.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a chunk is smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(max_bytes: usize, max_age_us: Option<u64>) -> Log {
        Log::new(Limits { max_bytes, max_age_us }, false)
    }

    fn append(log: &mut Log, time_us: u64, length: usize) -> u64 {
        log.append(time_us, |_, envelope, _| envelope.resize(envelope.len() + length, b'x'))
    }

    #[test]
    fn entries_are_counted_from_1_without_holes() {
        let mut log = log(1 << 20, None);
        assert_eq!((log.head(), log.oldest()), (0, 1));
        assert_eq!((1..=5).map(|_| append(&mut log, 0, 10)).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!((log.head(), log.oldest()), (5, 1));
    }

    #[test]
    fn it_holds_no_more_than_max_bytes_and_the_newest_chunk() {
        let mut log = log(1 << 20, None);
        for _ in 0..10_000 {
            append(&mut log, 0, 1000);
            log.trim(u64::MAX);
            assert!(log.bytes() <= 1 << 20);
        }
        assert!(log.bytes() > (1 << 20) - Log::CHUNK_BYTES, "it is well used: {}", log.bytes());
        assert_eq!(log.head(), 10_000);
    }

    #[test]
    fn a_message_larger_than_max_bytes_is_held_until_the_next() {
        let mut log = log(64 << 10, None);
        append(&mut log, 0, 10);
        append(&mut log, 0, 1 << 20);
        log.trim(u64::MAX);
        assert_eq!((log.oldest(), log.head()), (1, 2), "both are in the newest chunk");
        append(&mut log, 0, 10);
        log.trim(u64::MAX);
        assert_eq!((log.oldest(), log.head()), (3, 3));
    }

    #[test]
    fn entries_older_than_max_age_are_not_handed_out() {
        let mut log = log(1 << 20, Some(100));
        for time in [0, 50, 100] {
            append(&mut log, time, 10);
            log.trim(u64::MAX);
        }
        assert_eq!(log.oldest(), 1);
        log.expire(101);
        assert_eq!(log.oldest(), 2);
        log.expire(1000);
        assert_eq!((log.oldest(), log.head()), (4, 3), "none is left");
        append(&mut log, 1000, 10);
        assert_eq!((log.oldest(), log.head()), (4, 4));
    }

    #[test]
    fn what_is_needed_stays_whatever_its_age_and_size() {
        let mut log = log(64 << 10, Some(100));
        (0..100).for_each(|time| {
            append(&mut log, time * 10, 10_000);
        });
        log.trim(20);
        assert!((1..=20).contains(&log.oldest()), "{}", log.oldest());
        log.expire(1_000_000);
        assert!(log.oldest() <= 20, "{}", log.oldest());
        log.trim(u64::MAX);
        assert!(log.oldest() > 20 && log.bytes() < 64 << 10, "{}", log.oldest());
    }

    #[test]
    fn chunks_that_are_kept_for_later_take_little_beside_the_bound() {
        for max_bytes in [64 << 10, 1 << 20, 64 << 20] {
            let mut log = log(max_bytes, None);
            for _ in 0..2_000 {
                append(&mut log, 0, 100_000);
                log.trim(u64::MAX);
            }
            let spare: usize = log.spare.iter().map(|chunk| chunk.envelope.capacity()).sum();
            assert!(spare <= max_bytes, "{spare} bytes beside {max_bytes}");
        }
    }

    #[test]
    fn it_knows_how_far_back_an_entry_lies() {
        let mut log = log(8 << 20, None);
        assert!(log.is_within(1, 0));
        (0..1000).for_each(|_| {
            append(&mut log, 0, 1000);
        });
        assert!(log.is_within(1, 2 << 20));
        assert!(!log.is_within(1, 512 << 10));
        assert!(log.is_within(1000, Log::CHUNK_BYTES));
        assert!(log.is_within(700, 700 << 10));
    }

    #[test]
    fn new_limits_apply_at_once() {
        let mut log = log(1 << 20, None);
        (0..1000).for_each(|_| {
            append(&mut log, 0, 1000);
        });
        log.set_limits(Limits { max_bytes: 256 << 10, max_age_us: None });
        assert!(log.bytes() <= 256 << 10);
    }

    #[test]
    fn an_empty_log_holds_next_to_nothing() {
        let log = log(1 << 30, None);
        assert_eq!(log.open.envelope.capacity() + log.sealed.capacity(), 0);
    }
}
