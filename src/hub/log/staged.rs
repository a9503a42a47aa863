//! Entries that nobody sees yet. Pure.

use std::ops::Range;

use super::Log;

impl Log {
    /// From the next entry on, entries are staged: they have their `seq` and their place, but nobody sees them
    /// before [`Log::commit`], and until then they can be cut. They stay whatever the limits say, so that whoever
    /// stages must bound them.
    pub(in crate::hub) fn stage(&mut self) {
        self.staged = self.staged.min(self.next());
    }

    /// Whether entries are staged as they come.
    pub(in crate::hub) fn is_staging(&self) -> bool {
        self.staged != u64::MAX
    }

    /// The entries that are staged.
    pub(in crate::hub) fn staged(&self) -> Range<u64> {
        self.head() + 1..self.next()
    }

    /// The bytes of their lines, those of finding them included.
    pub(in crate::hub) fn staged_bytes(&self) -> usize {
        let first = self.head() + 1;
        self.envelope
            .newest_first()
            .take_while(|chunk| chunk.end() > first)
            .map(|chunk| chunk.taken_from(first.max(chunk.first())))
            .sum()
    }

    /// The lines of staged entries from `from` on, end to end: as many whole ones as `max_bytes` hold and lie together,
    /// and one at least. With them, one past the last of the entries. `None` where `from` isn't staged.
    pub(in crate::hub) fn staged_lines(&self, from: u64, max_bytes: usize) -> Option<(&[u8], u64)> {
        if !self.staged().contains(&from) {
            return None;
        }
        let chunk = self.envelope.chunk(from);
        let start = chunk.start(from);
        let end = match chunk.lines().len() - start <= max_bytes {
            true => chunk.end(),
            // whose line holds the first byte that is too much
            false => chunk.entry_at(start + max_bytes).max(from + 1),
        };
        Some((&chunk.lines()[start..chunk.start(end)], end))
    }

    /// Commits the staged entries up to `through`, for good.
    pub(in crate::hub) fn commit(&mut self, through: u64) {
        if self.is_staging() {
            self.staged = self.staged.max(through.saturating_add(1).min(self.next()));
            self.retain_committed();
        }
    }

    /// Commits all that is staged, and from now on each entry as it comes.
    pub(in crate::hub) fn commit_all(&mut self) {
        self.staged = u64::MAX;
        self.retain_committed();
    }

    /// Takes the staged entries back, and says how many they were: the next entry has the first one's `seq`.
    pub(in crate::hub) fn cut_staged(&mut self) -> u64 {
        let count = self.next().saturating_sub(self.staged);
        if count > 0 {
            let Log { envelope, raw, pool, staged, .. } = self;
            envelope.cut(*staged, pool);
            raw.iter_mut().for_each(|raw| raw.cut(*staged, pool));
            self.topics.iter_mut().for_each(|topics| topics.cut(self.staged));
            self.cut_retained(self.staged);
        }
        count
    }
}
