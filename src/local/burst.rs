//! A lot of bytes for a lot of clients: laid into memory that the kernel hands to each of them, rather
//! than copied into each socket.
//!
//! The bytes are written into an anonymous file once, and each client gets its pages by sendfile(2),
//! which a Unix socket takes as they are. That is worth it from some dozen clients on; a few bytes, or
//! a few clients, are cheaper to copy. The log itself can't be such a file: its memory is used again,
//! and pages that lie in a socket must not change.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use super::socket::{send_pages, shared_pages};
use crate::{config::Format, hub::Stretch};

/// Fewer clients are written to one by one.
const MIN_CLIENTS: usize = 20;
/// Fewer bytes are.
const MIN_BYTES: usize = 32 << 10;
/// More bytes are: one giant message isn't held a second time.
const MAX_BYTES: usize = 1 << 20;
/// So many extents of the log are held: what is new, and where those are who lag a little.
const MAX_EXTENTS: usize = 6;

/// Parts of the log that are held in such memory.
#[derive(Default)]
pub(super) struct Burst {
    /// How many clients there are to give them to.
    clients: usize,
    /// Everyone is offered what is new; else it is about one who lagged.
    offering: bool,
    /// The kernel, or what confines the daemon, didn't allow it. It is tried again with the next
    /// offer: memory or descriptors may have been short.
    refused: bool,
    /// Oldest first.
    extents: VecDeque<Extent>,
}

/// Bytes of the log, named as they are for ever, so that an extent is never out of date.
struct Extent {
    format: Format,
    from: u64,
    to: u64,
    pages: OwnedFd,
}

impl Burst {
    /// Begins to offer what is new to so many clients.
    pub(super) fn begin(&mut self, clients: usize) {
        (self.clients, self.offering, self.refused) = (clients, true, false);
    }

    /// Everyone was offered what is new.
    pub(super) fn end(&mut self) {
        self.offering = false;
    }

    /// Whether memory is held.
    pub(super) fn is_held(&self) -> bool {
        !self.extents.is_empty()
    }

    /// Lets go of what is held; what lies in sockets stays there.
    pub(super) fn clear(&mut self) {
        self.extents.clear();
    }

    /// Writes as write(2) does.
    pub(super) fn write(&mut self, mut stream: &UnixStream, lines: Stretch<'_>) -> io::Result<usize> {
        let few = self.clients < MIN_CLIENTS || lines.len() < MIN_BYTES || lines.chunk.len() > MAX_BYTES;
        let Some((extent, at)) = (if few { None } else { self.extent(&lines) }) else {
            return stream.write(&lines);
        };
        let length = lines.len().min((extent.to - at) as usize);
        match send_pages(stream, &extent.pages, at - extent.from, length) {
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                // either the client is gone, which this tells too, or it isn't the client's fault
                let written = stream.write(&lines)?;
                self.refused = true;
                self.clear();
                Ok(written)
            }
            sent => sent,
        }
    }

    /// An extent that has the first of the bytes, and enough of them; and where they begin.
    fn extent(&mut self, lines: &Stretch<'_>) -> Option<(&Extent, u64)> {
        if self.refused {
            return None;
        }
        let (format, before) = lines.place;
        let at = before + lines.start as u64;
        let has = |extent: &Extent| {
            extent.format == format && extent.from <= at && at + MIN_BYTES as u64 <= extent.to
        };
        let index = match self.extents.iter().position(has) {
            Some(index) => index,
            None => {
                // of what is new nobody wants what was before it; laggards are all over a chunk
                let start = if self.offering { lines.start } else { 0 };
                let Ok(pages) = shared_pages(&lines.chunk[start..]) else {
                    self.refused = true;
                    return None;
                };
                if self.extents.len() == MAX_EXTENTS {
                    self.extents.pop_front();
                }
                let (from, to) = (before + start as u64, before + lines.chunk.len() as u64);
                self.extents.push_back(Extent { format, from, to, pages });
                self.extents.len() - 1
            }
        };
        Some((&self.extents[index], at))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at / 7 % 251) as u8).collect()
    }

    /// A chunk from `start` on, which the log had `before` bytes before.
    fn stretch(chunk: &[u8], start: usize, before: u64) -> Stretch<'_> {
        Stretch { chunk, start, place: (Format::Envelope, before) }
    }

    /// Writes it all to a client, who gets just that.
    fn arrives(burst: &mut Burst, chunk: &[u8], start: usize, before: u64) {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut at = start;
        while at < chunk.len() {
            at += burst.write(&near, stretch(chunk, at, before)).unwrap();
        }
        drop(near);
        let mut arrived = Vec::new();
        far.read_to_end(&mut arrived).unwrap();
        assert!(arrived == chunk[start..], "from {start}");
    }

    #[test]
    fn what_is_new_is_laid_out_once_for_all() {
        let mut burst = Burst::default();
        let chunk = bytes(150_000);
        burst.begin(MIN_CLIENTS);
        for start in [10_000, 10_000, 20_000] {
            arrives(&mut burst, &chunk, start, 7);
        }
        assert_eq!(burst.extents.len(), 1);
        assert_eq!((burst.extents[0].from, burst.extents[0].to), (10_007, 150_007));
        burst.end();
        assert!(burst.is_held());
        burst.clear();
        assert!(!burst.is_held());
    }

    #[test]
    fn one_who_lagged_gets_its_whole_chunk_laid_out() {
        let mut burst = Burst::default();
        burst.begin(MIN_CLIENTS);
        burst.end();
        let chunk = bytes(150_000);
        arrives(&mut burst, &chunk, 60_000, 7);
        arrives(&mut burst, &chunk, 30_000, 7);
        assert_eq!(burst.extents.len(), 1);
        assert_eq!((burst.extents[0].from, burst.extents[0].to), (7, 150_007));
    }

    #[test]
    fn a_chunk_that_has_grown_gets_a_part_for_what_is_new() {
        let mut burst = Burst::default();
        burst.begin(MIN_CLIENTS);
        let chunk = bytes(150_000);
        arrives(&mut burst, &chunk[..70_000], 0, 0);
        arrives(&mut burst, &chunk, 70_000, 0);
        arrives(&mut burst, &chunk, 69_000, 0);
        assert_eq!(
            burst.extents.iter().map(|extent| (extent.from, extent.to)).collect::<Vec<_>>()[..2],
            [(0, 70_000), (70_000, 150_000)]
        );
    }

    #[test]
    fn formats_and_chunks_are_told_apart() {
        let mut burst = Burst::default();
        burst.begin(MIN_CLIENTS);
        let (one, two) = (bytes(50_000), bytes(50_001)[1..].to_vec());
        arrives(&mut burst, &one, 0, 0);
        arrives(&mut burst, &two, 0, 50_000);
        let (near, mut far) = UnixStream::pair().unwrap();
        let raw = Stretch { chunk: &two, start: 0, place: (Format::Raw, 0) };
        assert_eq!(burst.write(&near, raw).unwrap(), two.len());
        drop(near);
        let mut arrived = Vec::new();
        far.read_to_end(&mut arrived).unwrap();
        assert!(arrived == two);
    }

    #[test]
    fn few_clients_few_bytes_and_giants_are_written_plainly() {
        let mut burst = Burst::default();
        let chunk = bytes(MAX_BYTES + 1);
        for (clients, length) in
            [(MIN_CLIENTS - 1, 100_000), (MIN_CLIENTS, MIN_BYTES - 1), (MIN_CLIENTS, MAX_BYTES + 1)]
        {
            burst.begin(clients);
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            assert!(burst.write(&near, stretch(&chunk[..length], 0, 0)).unwrap() > 0);
            assert!(!burst.is_held(), "{clients} clients, {length} bytes");
            drop(far);
        }
    }

    #[test]
    fn where_the_kernel_refuses_the_bytes_are_written_plainly_until_the_next_offer() {
        let mut burst = Burst::default();
        burst.begin(MIN_CLIENTS);
        let chunk = bytes(100_000);
        // nothing can be sent from a socket
        let pages = UnixStream::pair().unwrap().0.into();
        burst.extents.push_back(Extent { format: Format::Envelope, from: 0, to: 100_000, pages });
        arrives(&mut burst, &chunk, 0, 0);
        arrives(&mut burst, &chunk, 0, 0);
        assert!(!burst.is_held(), "it isn't tried with each client");
        burst.begin(MIN_CLIENTS);
        arrives(&mut burst, &chunk, 0, 0);
        assert!(burst.is_held(), "what was short may be there again");
    }

    #[test]
    fn parts_are_bounded() {
        let mut burst = Burst::default();
        burst.begin(MIN_CLIENTS);
        let chunk = bytes(50_000);
        (0..MAX_EXTENTS as u64 + 2).for_each(|at| arrives(&mut burst, &chunk, 0, at * 50_000));
        assert_eq!(burst.extents.len(), MAX_EXTENTS);
    }

    #[test]
    fn what_lies_in_a_socket_outlives_the_part_and_the_bytes() {
        let mut burst = Burst::default();
        burst.begin(MIN_CLIENTS);
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut sent = bytes(100_000);
        assert_eq!(burst.write(&near, stretch(&sent, 0, 0)).unwrap(), sent.len());
        let expected = sent.clone();
        sent.fill(0);
        burst.clear();
        drop(near);
        let mut arrived = Vec::new();
        far.read_to_end(&mut arrived).unwrap();
        assert!(arrived == expected);
    }

    #[test]
    fn a_client_that_is_full_takes_a_part_then_blocks_and_one_that_is_gone_is_told() {
        let mut burst = Burst::default();
        burst.begin(MIN_CLIENTS);
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let chunk = bytes(MAX_BYTES);
        let mut written = burst.write(&near, stretch(&chunk, 0, 0)).unwrap();
        assert!(written > 0 && written < chunk.len(), "{written}");
        let full = loop {
            match burst.write(&near, stretch(&chunk, written, 0)) {
                Ok(more) => written += more,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(far);
        let gone = burst.write(&near, stretch(&chunk, written, 0)).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }
}
