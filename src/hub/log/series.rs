//! The chunks of one format. Pure.

use std::{collections::VecDeque, rc::Rc};

use super::{
    Chunk, Pin, Space,
    buffer::{Buffer, Pool},
};

/// All entries of the log in one format.
#[derive(Debug)]
pub(super) struct Series {
    /// Complete chunks, oldest first; their entries follow one another without holes.
    sealed: VecDeque<Chunk>,
    /// The chunk that grows. Its entries follow the last sealed one's.
    open: Chunk,
    /// The memory of all sealed chunks.
    sealed_memory: usize,
}

impl Series {
    /// For the entries from `first` on; `before` bytes of lines went before them.
    pub(super) fn from(first: u64, before: u64) -> Series {
        let open = Chunk::new(first, before, Buffer::none());
        Series { sealed: VecDeque::new(), open, sealed_memory: 0 }
    }

    /// Makes room for a line of at most so many bytes. One that is larger than a chunk gets a chunk of
    /// its own, of its size.
    #[inline]
    pub(super) fn make_room(&mut self, line: usize, pool: &mut Pool) {
        if !self.open.has_room(line) {
            self.seal(line, pool);
        }
    }

    /// Where the next line is to be written, once there is room.
    #[inline]
    pub(super) fn space(&mut self) -> Space<'_> {
        self.open.space()
    }

    /// Adds what was written as an entry.
    #[inline]
    pub(super) fn add(&mut self, time_us: u64, line: usize) {
        self.open.add(time_us, line);
    }

    pub(super) fn open(&self) -> &Chunk {
        &self.open
    }

    /// Complete chunks, oldest first.
    pub(super) fn sealed(&self) -> &VecDeque<Chunk> {
        &self.sealed
    }

    /// All chunks, the one that grows first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Chunk> {
        std::iter::once(&self.open).chain(self.sealed.iter().rev())
    }

    /// Its oldest entry's `seq`, or that of the next while there is none.
    pub(super) fn first(&self) -> u64 {
        self.sealed.front().unwrap_or(&self.open).first()
    }

    /// The chunk that holds entry `seq`, which must be held.
    pub(super) fn chunk(&self, seq: u64) -> &Chunk {
        if seq >= self.open.first() {
            return &self.open;
        }
        &self.sealed[self.index(seq)]
    }

    /// Notes that a client is in the middle of entry `seq`'s line.
    pub(super) fn pin(&mut self, seq: u64) -> Rc<Pin> {
        if seq >= self.open.first() {
            return self.open.pin(seq);
        }
        let index = self.index(seq);
        self.sealed[index].pin(seq)
    }

    /// Lets go of the oldest chunk, but for lines in it that clients are in the middle of, which it
    /// returns. One past its last entry's `seq` with them.
    pub(super) fn drop_front(&mut self, pool: &mut Pool) -> Option<(u64, Vec<Rc<Pin>>)> {
        let chunk = self.sealed.pop_front()?;
        self.sealed_memory -= chunk.memory();
        let end = chunk.end();
        let (memory, pins) = chunk.dissolve();
        memory.into_iter().for_each(|memory| pool.give(memory));
        Some((end, pins))
    }

    /// Takes back the entries from `seq` on, in the middle of which nobody is.
    pub(super) fn cut(&mut self, seq: u64, pool: &mut Pool) {
        while self.open.first() > seq {
            let before = match self.sealed.pop_back() {
                Some(last) => {
                    self.sealed_memory -= last.memory();
                    last
                }
                None => Chunk::new(seq, self.open.before(), Buffer::none()),
            };
            let (memory, _) = std::mem::replace(&mut self.open, before).dissolve();
            memory.into_iter().for_each(|memory| pool.give(memory));
        }
        self.open.cut(seq);
    }

    /// Lets go of all of it, but for lines that clients are in the middle of, which it returns.
    pub(super) fn dissolve(self, pool: &mut Pool) -> Vec<Rc<Pin>> {
        let mut kept = Vec::new();
        for chunk in self.sealed.into_iter().chain([self.open]) {
            let (memory, pins) = chunk.dissolve();
            memory.into_iter().for_each(|memory| pool.give(memory));
            kept.extend(pins);
        }
        kept
    }

    /// The bytes of lines and their index, as far as they are known to matter: a sealed chunk's whole
    /// memory.
    pub(super) fn bytes(&self) -> usize {
        self.sealed_memory + self.open.taken()
    }

    /// What it takes.
    pub(super) fn memory(&self) -> usize {
        self.sealed_memory + self.open.memory()
    }

    /// Completes the open chunk, and begins the next with room for a line.
    fn seal(&mut self, line: usize, pool: &mut Pool) {
        let (end, before) = (self.open.end(), self.open.before() + self.open.lines().len() as u64);
        let full = std::mem::replace(&mut self.open, Chunk::new(end, before, Buffer::none()));
        let unused = if full.is_empty() {
            full.dissolve().0
        } else {
            let (full, unused) = full.compact();
            self.sealed_memory += full.memory();
            self.sealed.push_back(full);
            unused
        };
        unused.into_iter().for_each(|unused| pool.give(unused));
        let memory = pool.take(pool.size().max(Chunk::bytes_for(line)));
        self.open = Chunk::new(end, before, memory);
    }

    fn index(&self, seq: u64) -> usize {
        self.sealed.partition_point(|chunk| chunk.end() <= seq)
    }
}
