//! A chunk: lines end to end in one piece of memory, and where each ends. Pure.
//!
//! The lines grow from the front, the index from the back, until they meet: nothing is left over,
//! whatever the lines' size, and what a chunk takes is its memory's size.

use std::{io, rc::Rc};

use super::{Pin, buffer::Buffer};
use crate::protocol::Sink;

/// What an entry takes in the index: when it came (8 bytes), and where its line ends (4).
const INDEX_BYTES: usize = 12;

/// Entries whose lines, in one format, lie end to end.
#[derive(Debug)]
pub(in crate::hub) struct Chunk {
    first: u64,
    count: usize,
    /// How many bytes of the format went before.
    before: u64,
    /// How many bytes of the memory are lines.
    used: usize,
    memory: Buffer,
    /// Its lines that clients may be in the middle of.
    pins: Vec<Rc<Pin>>,
}

/// Where a line is written to; it has the room that was asked for.
#[derive(Debug)]
pub(in crate::hub) struct Space<'a> {
    memory: &'a mut [u8],
    used: usize,
}

impl Chunk {
    /// A chunk without entries.
    pub(super) fn new(first: u64, before: u64, memory: Buffer) -> Chunk {
        Chunk { first, count: 0, before, used: 0, memory, pins: Vec::new() }
    }

    /// The memory that an entry of so many bytes takes.
    pub(super) fn bytes_for(line: usize) -> usize {
        line + INDEX_BYTES
    }

    /// Whether there is room for a line.
    pub(super) fn has_room(&self, line: usize) -> bool {
        self.taken() + Chunk::bytes_for(line) <= self.memory.len()
    }

    /// Where the next line is to be written.
    pub(super) fn space(&mut self) -> Space<'_> {
        let end = self.memory.len() - (self.count + 1) * INDEX_BYTES;
        Space { memory: &mut self.memory[self.used..end], used: 0 }
    }

    /// Adds what was written as an entry.
    pub(super) fn add(&mut self, time_us: u64, line: usize) {
        self.used += line;
        self.count += 1;
        let at = self.memory.len() - self.count * INDEX_BYTES;
        // a chunk larger than 256 KiB holds one line: the largest message (512 MiB, six bytes for each
        // at worst) stays under 4 GiB
        let end = u32::try_from(self.used).expect("a chunk is smaller than 4 GiB");
        let entry: &mut [u8; INDEX_BYTES] =
            (&mut self.memory[at..at + INDEX_BYTES]).try_into().expect("the slice has that length");
        entry[..8].copy_from_slice(&time_us.to_le_bytes());
        entry[8..].copy_from_slice(&end.to_le_bytes());
    }

    /// Takes back the entries from `seq` on.
    pub(super) fn cut(&mut self, seq: u64) {
        self.used = self.start(seq);
        self.count = (seq - self.first) as usize;
    }

    /// The same chunk in no more memory than it needs, if much of it is unused; and the memory that
    /// it had.
    pub(super) fn compact(mut self) -> (Chunk, Option<Buffer>) {
        let unused = self.memory.len() - self.taken();
        if unused <= self.memory.len() / 4 {
            return (self, None);
        }
        let mut memory = Buffer::of(self.taken());
        memory[..self.used].copy_from_slice(&self.memory[..self.used]);
        let index = self.count * INDEX_BYTES;
        let (from, to) = (self.memory.len() - index, memory.len() - index);
        memory[to..].copy_from_slice(&self.memory[from..]);
        let had = std::mem::replace(&mut self.memory, memory);
        (self, Some(had))
    }

    /// Its memory, and its lines that clients are in the middle of, which are kept on the way.
    pub(super) fn dissolve(mut self) -> (Option<Buffer>, Vec<Rc<Pin>>) {
        self.pins.retain(Pin::is_needed);
        let pins = std::mem::take(&mut self.pins);
        match &pins[..] {
            [] => (Some(self.memory), pins),
            // one line alone, mostly a large one: its memory goes with it
            [pin] if self.count == 1 => {
                pin.keep(self.memory, self.used, self.before);
                (None, pins)
            }
            _ => {
                for pin in &pins {
                    let (start, end) = (self.start(pin.seq), self.start(pin.seq + 1));
                    let mut memory = Buffer::of(end - start);
                    memory[..end - start].copy_from_slice(&self.memory[start..end]);
                    pin.keep(memory, end - start, self.before + start as u64);
                }
                (Some(self.memory), pins)
            }
        }
    }

    /// Notes that a client is in the middle of entry `seq`'s line.
    pub(super) fn pin(&mut self, seq: u64) -> Rc<Pin> {
        if let Some(pin) = self.pins.iter().find(|pin| pin.seq == seq) {
            return Rc::clone(pin);
        }
        if self.pins.len() == self.pins.capacity() {
            self.pins.retain(Pin::is_needed);
        }
        let pin = Rc::new(Pin::new(seq));
        self.pins.push(Rc::clone(&pin));
        pin
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// One past the last entry's `seq`.
    pub(in crate::hub) fn end(&self) -> u64 {
        self.first + self.count as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes of the format went before this chunk's: a number for each byte of the log, for
    /// ever.
    pub(in crate::hub) fn before(&self) -> u64 {
        self.before
    }

    /// All lines.
    pub(in crate::hub) fn lines(&self) -> &[u8] {
        &self.memory[..self.used]
    }

    /// Where the line of entry `seq` begins, or that of the next one will.
    pub(in crate::hub) fn start(&self, seq: u64) -> usize {
        match (seq - self.first).checked_sub(1) {
            None => 0,
            Some(before) => self.line_end(before as usize),
        }
    }

    /// The first entry whose line ends after `offset`: the one that a reader who has had so many
    /// bytes is at.
    pub(in crate::hub) fn entry_at(&self, offset: usize) -> u64 {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.line_end(middle) <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.first + low as u64
    }

    pub(super) fn time_us(&self, seq: u64) -> u64 {
        let at = self.index_at((seq - self.first) as usize);
        u64::from_le_bytes(self.memory[at..at + 8].try_into().expect("the slice has that length"))
    }

    /// The bytes of its lines and their index.
    pub(super) fn taken(&self) -> usize {
        self.used + self.count * INDEX_BYTES
    }

    /// The bytes of its lines from entry `seq` on, and of their index.
    pub(super) fn taken_from(&self, seq: u64) -> usize {
        self.used - self.start(seq) + (self.end() - seq) as usize * INDEX_BYTES
    }

    /// What it takes, unused room included.
    pub(super) fn memory(&self) -> usize {
        self.memory.memory()
    }

    fn line_end(&self, index: usize) -> usize {
        let at = self.index_at(index) + 8;
        u32::from_le_bytes(self.memory[at..at + 4].try_into().expect("the slice has that length")) as usize
    }

    fn index_at(&self, index: usize) -> usize {
        self.memory.len() - (index + 1) * INDEX_BYTES
    }
}

impl Space<'_> {
    /// How many bytes the line has.
    pub(in crate::hub) fn len(&self) -> usize {
        self.used
    }
}

impl Sink for Space<'_> {
    #[inline]
    fn next(&mut self, length: usize) -> &mut [u8] {
        let start = self.used;
        self.used += length;
        &mut self.memory[start..self.used]
    }
}

impl io::Write for Space<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
