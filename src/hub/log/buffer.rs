//! Memory that takes what it says. Pure.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// From so many bytes on, memory comes from the kernel by the page, and goes back there when it is
/// dropped. The allocator would keep it, in holes of sizes that are never asked for again.
const MAPPED_BYTES: usize = 32 << 10;

/// What the kernel gives is a multiple of this (or of more, on some machines).
const PAGE_BYTES: usize = 4 << 10;

/// Zeroed memory of a fixed size. What was never written costs nothing but addresses.
#[derive(Debug)]
pub(super) enum Buffer {
    Heap(Box<[u8]>),
    Mapped(MmapMut),
}

impl Buffer {
    /// No memory.
    pub(super) fn none() -> Buffer {
        Buffer::Heap(Box::default())
    }

    /// Memory of `bytes`.
    pub(super) fn of(bytes: usize) -> Buffer {
        if bytes >= MAPPED_BYTES
            && let Ok(mapped) = MmapMut::map_anon(bytes)
        {
            return Buffer::Mapped(mapped);
        }
        Buffer::Heap(vec![0; bytes].into_boxed_slice())
    }

    /// What it takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        match self {
            Buffer::Heap(bytes) => bytes.len(),
            Buffer::Mapped(bytes) => bytes.len().next_multiple_of(PAGE_BYTES),
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Buffer::Heap(bytes) => bytes,
            Buffer::Mapped(bytes) => bytes,
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Buffer::Heap(bytes) => bytes,
            Buffer::Mapped(bytes) => bytes,
        }
    }
}

/// Buffers of one size that are used again: memory that the kernel needn't hand out, zeroed, once
/// more.
#[derive(Debug)]
pub(super) struct Pool {
    size: usize,
    spare: Vec<Buffer>,
}

impl Pool {
    /// So many are kept. A batch fills no more.
    pub(super) const MAX_SPARE: usize = 2;

    /// A pool of buffers of `size` bytes, empty.
    pub(super) fn new(size: usize) -> Pool {
        Pool { size, spare: Vec::new() }
    }

    /// The size of the buffers that are kept.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Memory of `bytes`.
    pub(super) fn take(&mut self, bytes: usize) -> Buffer {
        let kept = if bytes == self.size { self.spare.pop() } else { None };
        kept.unwrap_or_else(|| Buffer::of(bytes))
    }

    /// Takes back a buffer that nobody uses any more.
    pub(super) fn give(&mut self, buffer: Buffer) {
        if buffer.len() == self.size && self.spare.len() < Pool::MAX_SPARE {
            self.spare.push(buffer);
        }
    }

    /// Where those lie that are kept.
    #[cfg(test)]
    pub(super) fn spares(&self) -> impl Iterator<Item = usize> {
        self.spare.iter().map(|buffer| buffer.as_ptr() as usize)
    }

    /// The most that may lie here, in bytes.
    pub(super) fn most(&self) -> usize {
        self.size * Pool::MAX_SPARE
    }
}
