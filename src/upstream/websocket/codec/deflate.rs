//! permessage-deflate (RFC 7692): what is offered and agreed on, and the two halves that do it. Pure.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use crate::{config::Compression, upstream::failure::clean};

/// What ends a message's compressed data, and isn't sent (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// Memory for output grows by so much at a time.
const STEP_BYTES: usize = 16 << 10;
/// So much is inflated at a time: it becomes at most 1032 times as much, about half a MiB.
const PIECE_BYTES: usize = 512;
/// A shorter message goes out as it is: compressed, it would be no shorter.
const MIN_BYTES: usize = 64;
/// The largest window, and what holds where nothing is said.
const MAX_WINDOW_BITS: u8 = 15;
/// The deflate library can't make a window smaller than this.
const MIN_DEFLATE_WINDOW_BITS: u8 = 9;

/// What both sides have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream::websocket) struct Agreed {
    server_context_takeover: bool,
    client_context_takeover: bool,
    client_window_bits: u8,
}

/// What is asked for: the value of `Sec-WebSocket-Extensions`.
pub(in crate::upstream::websocket) fn offer(wanted: &Compression) -> String {
    // named without a number, it says that the server may choose one (RFC 7692, 7.1.2.2)
    let mut offer = "permessage-deflate; client_max_window_bits".to_owned();
    if wanted.client_max_window_bits < MAX_WINDOW_BITS {
        offer += &format!("={}", wanted.client_max_window_bits);
    }
    if wanted.server_max_window_bits < MAX_WINDOW_BITS {
        offer += &format!("; server_max_window_bits={}", wanted.server_max_window_bits);
    }
    if !wanted.server_context_takeover {
        offer += "; server_no_context_takeover";
    }
    if !wanted.client_context_takeover {
        offer += "; client_no_context_takeover";
    }
    offer
}

/// Takes the server's answer, one extension with its parameters.
///
/// # Errors
/// What is wrong with it: then the connection must be failed (RFC 7692, 7.1).
pub(in crate::upstream::websocket) fn agree(wanted: &Compression, answer: &str) -> Result<Agreed, String> {
    let mut parts = answer.split(';').map(str::trim);
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case("permessage-deflate")) {
        return Err("the server chose a WebSocket extension that wasn't offered".to_owned());
    }
    let mut agreed = Agreed {
        server_context_takeover: true,
        client_context_takeover: wanted.client_context_takeover,
        client_window_bits: wanted.client_max_window_bits,
    };
    let mut seen: Vec<&str> = Vec::new();
    let mut server_window_bits = MAX_WINDOW_BITS;
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        };
        let bad = || Err(format!("the server's answer on permessage-deflate is wrong: {:?}", clean(part)));
        if seen.contains(&name) {
            return bad();
        }
        seen.push(name);
        match (name, value) {
            ("server_no_context_takeover", None) => agreed.server_context_takeover = false,
            ("client_no_context_takeover", None) => agreed.client_context_takeover = false,
            ("server_max_window_bits", Some(value)) => match window_bits(value) {
                Some(bits) => server_window_bits = bits,
                None => return bad(),
            },
            ("client_max_window_bits", Some(value)) => match window_bits(value) {
                Some(bits) => agreed.client_window_bits = agreed.client_window_bits.min(bits),
                None => return bad(),
            },
            _ => return bad(),
        }
    }
    if server_window_bits > wanted.server_max_window_bits {
        return Err("the server agreed to permessage-deflate, but not to server_max_window_bits".to_owned());
    }
    if agreed.server_context_takeover && !wanted.server_context_takeover {
        return Err(
            "the server agreed to permessage-deflate, but not to server_no_context_takeover".to_owned()
        );
    }
    Ok(agreed)
}

impl Agreed {
    /// The half that reads.
    pub(in crate::upstream::websocket) fn inflater(&self) -> Inflater {
        Inflater {
            state: Decompress::new(false),
            keep: self.server_context_takeover,
            between: true,
            tail: None,
        }
    }

    /// The half that writes; none where the server wants a window that the library can't make. Then
    /// messages go out as they are, as a client may always do (RFC 7692, 6).
    pub(in crate::upstream::websocket) fn deflater(&self) -> Option<Deflater> {
        let bits = self.client_window_bits;
        (bits >= MIN_DEFLATE_WINDOW_BITS).then(|| Deflater {
            state: Compress::new_with_window_bits(flate2::Compression::default(), false, bits),
            keep: self.client_context_takeover,
        })
    }
}

/// Why something can't be inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream::websocket) enum Inflate {
    /// It becomes longer than it may.
    TooBig,
    /// It is no deflated data.
    Broken,
}

/// Inflates messages.
pub(in crate::upstream::websocket) struct Inflater {
    state: Decompress,
    keep: bool,
    /// No block is begun: a message has ended, or a last block.
    between: bool,
    /// So much of what ends a message is taken, while that isn't all.
    tail: Option<usize>,
}

impl Inflater {
    /// Appends what a piece of a message becomes, while that is at most `max` bytes for all of it. Stops
    /// once there are `goal` bytes, with what isn't taken left in `piece`; true when that is all.
    pub(in crate::upstream::websocket) fn inflate(
        &mut self,
        piece: &mut &[u8],
        out: &mut Vec<u8>,
        max: usize,
        goal: usize,
    ) -> Result<bool, Inflate> {
        loop {
            if out.len() == out.capacity() {
                // twice as much each time, but no further than the one byte that is too many
                let grown = (out.len() * 2).clamp(STEP_BYTES.min(max + 1), (max + 1).max(out.len() + 1));
                out.reserve_exact(grown - out.len());
            }
            let before = (self.state.total_in(), out.len());
            let status =
                self.state.decompress_vec(&piece[..piece.len().min(PIECE_BYTES)], out, FlushDecompress::Sync);
            let status = status.map_err(|_| Inflate::Broken)?;
            let taken = (self.state.total_in() - before.0) as usize;
            *piece = &piece[taken..];
            self.between &= taken == 0;
            if out.len() > max {
                return Err(Inflate::TooBig);
            }
            if status == Status::StreamEnd {
                // a last block in the middle of a connection (RFC 7692, 7.2.3.4)
                self.state.reset(false);
                self.between = true;
            }
            let stuck = taken == 0 && out.len() == before.1;
            if out.len() < out.capacity() && (piece.is_empty() || stuck) {
                return if piece.is_empty() { Ok(true) } else { Err(Inflate::Broken) };
            }
            if out.len() >= goal {
                return Ok(false);
            }
        }
    }

    /// Appends what remains at the end of a message, as [`Inflater::inflate`] does; true when that is all.
    pub(in crate::upstream::websocket) fn finish(
        &mut self,
        out: &mut Vec<u8>,
        max: usize,
        goal: usize,
    ) -> Result<bool, Inflate> {
        if !self.between || self.tail.is_some() {
            let mut rest = &TAIL[self.tail.unwrap_or(0)..];
            if !self.inflate(&mut rest, out, max, goal)? {
                self.tail = Some(TAIL.len() - rest.len());
                return Ok(false);
            }
            self.tail = None;
            self.between = true;
        }
        if !self.keep {
            self.state.reset(false);
        }
        Ok(true)
    }
}

/// Deflates messages.
pub(in crate::upstream::websocket) struct Deflater {
    state: Compress,
    keep: bool,
}

impl Deflater {
    /// Whether a message is to be compressed.
    pub(in crate::upstream::websocket) fn takes(message: &[u8]) -> bool {
        message.len() >= MIN_BYTES
    }

    /// The compressed form of a message's next piece, which isn't empty, its `last` or not. What comes of a
    /// piece may come with a later one.
    pub(in crate::upstream::websocket) fn deflate(&mut self, piece: &[u8], last: bool) -> Vec<u8> {
        let flush = if last { FlushCompress::Sync } else { FlushCompress::None };
        let mut out = Vec::with_capacity(piece.len() / 2 + MIN_BYTES);
        let mut rest = piece;
        loop {
            let before = self.state.total_in();
            // with room to write to, deflating never fails
            let _ = self.state.compress_vec(rest, &mut out, flush);
            rest = &rest[(self.state.total_in() - before) as usize..];
            // output that leaves room is complete
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
            out.reserve(STEP_BYTES);
        }
        if last {
            debug_assert!(out.ends_with(&TAIL), "a flush ends with an empty block");
            out.truncate(out.len().saturating_sub(TAIL.len()));
            if !self.keep {
                self.state.reset();
            }
        }
        out
    }
}

/// A window's size, 8 to 15, without leading zeros (RFC 7692, 7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    (8..=MAX_WINDOW_BITS).find(|bits| bits.to_string() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WANTED: Compression = Compression {
        server_context_takeover: true,
        client_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };

    #[test]
    fn the_offer_says_what_is_wanted() {
        assert_eq!(offer(&WANTED), "permessage-deflate; client_max_window_bits");
        let less = Compression {
            server_context_takeover: false,
            client_context_takeover: false,
            server_max_window_bits: 10,
            client_max_window_bits: 9,
        };
        assert_eq!(
            offer(&less),
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10; \
             server_no_context_takeover; client_no_context_takeover"
        );
    }

    #[test]
    fn answers_are_taken_or_refused() {
        let less = Compression { server_context_takeover: false, server_max_window_bits: 10, ..WANTED };
        for (wanted, answer, expected) in [
            (WANTED, "permessage-deflate", Some((true, true, 15))),
            (WANTED, "Permessage-Deflate ;client_no_context_takeover", Some((true, false, 15))),
            (WANTED, "permessage-deflate; server_no_context_takeover", Some((false, true, 15))),
            (WANTED, "permessage-deflate; client_max_window_bits=\"10\"", Some((true, true, 10))),
            (WANTED, "permessage-deflate; server_max_window_bits=8", Some((true, true, 15))),
            (
                less,
                "permessage-deflate; server_max_window_bits=10; server_no_context_takeover",
                Some((false, true, 15)),
            ),
            (less, "permessage-deflate; server_max_window_bits=10", None),
            (less, "permessage-deflate; server_no_context_takeover", None),
            (less, "permessage-deflate; server_no_context_takeover; server_max_window_bits=11", None),
            (WANTED, "permessage-deflate; client_max_window_bits", None),
            (WANTED, "permessage-deflate; client_max_window_bits=16", None),
            (WANTED, "permessage-deflate; client_max_window_bits=010", None),
            (WANTED, "permessage-deflate; client_max_window_bits=+9", None),
            (WANTED, "permessage-deflate; client_no_context_takeover=1", None),
            (WANTED, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            (WANTED, "permessage-deflate; level=9", None),
            (WANTED, "x-webkit-deflate-frame", None),
            (WANTED, "", None),
        ] {
            let agreed = agree(&wanted, answer).ok().map(|agreed| {
                (agreed.server_context_takeover, agreed.client_context_takeover, agreed.client_window_bits)
            });
            assert_eq!(agreed, expected, "{answer}");
        }
    }

    /// The examples of RFC 7692, 7.2.3.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let agreed = agree(&WANTED, "permessage-deflate").unwrap();
        let one_block: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let shared_window = &[0xf2, 0x00, 0x11, 0x00, 0x00];
        let no_compression = &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        let last_block = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        let two_blocks = &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        for messages in
            [&[one_block, shared_window][..], &[no_compression], &[last_block, one_block], &[two_blocks]]
        {
            let mut inflater = agreed.inflater();
            for message in messages {
                let mut out = Vec::new();
                inflater.inflate(&mut &message[..], &mut out, 5, usize::MAX).unwrap();
                inflater.finish(&mut out, 5, usize::MAX).unwrap();
                assert_eq!(out, b"Hello", "{message:x?}");
            }
        }
    }

    /// Some servers end a last block without the byte that the RFC wants after it, or send an empty
    /// message as nothing at all.
    #[test]
    fn a_message_may_end_where_no_block_is_begun() {
        let agreed = agree(&WANTED, "permessage-deflate").unwrap();
        let bare_last_block: &[u8] = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let one_block: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let mut inflater = agreed.inflater();
        for (message, text) in [
            (&[][..], ""),
            (bare_last_block, "Hello"),
            (bare_last_block, "Hello"),
            (one_block, "Hello"),
            (&[], ""),
            (one_block, "Hello"),
        ] {
            let mut out = Vec::new();
            inflater.inflate(&mut &message[..], &mut out, 5, usize::MAX).unwrap();
            inflater.finish(&mut out, 5, usize::MAX).unwrap();
            assert_eq!(out, text.as_bytes(), "{message:x?}");
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_bound() {
        let agreed = agree(&WANTED, "permessage-deflate").unwrap();
        let bomb = agreed.deflater().unwrap().deflate(&vec![0; 64 << 20], true);
        assert!(bomb.len() < 100 << 10);
        let mut out = Vec::new();
        assert_eq!(
            agreed.inflater().inflate(&mut &bomb[..], &mut out, 1 << 20, usize::MAX),
            Err(Inflate::TooBig)
        );
        assert!(out.capacity() <= (1 << 20) + 1, "{} bytes were allocated", out.capacity());
    }

    #[test]
    fn much_out_of_little_is_inflated_in_slices() {
        let agreed = agree(&WANTED, "permessage-deflate").unwrap();
        let (message, slice) = (vec![1; 15 << 20], 256 << 10);
        let deflated = agreed.deflater().unwrap().deflate(&message, true);
        let (mut inflater, mut out, mut rest) = (agreed.inflater(), Vec::new(), &deflated[..]);
        let (mut slices, mut ended) = (0, false);
        while !ended {
            let (before, goal) = (out.len(), out.len() + slice);
            ended = inflater.inflate(&mut rest, &mut out, message.len(), goal).unwrap()
                && inflater.finish(&mut out, message.len(), goal).unwrap();
            let most = slice + 2 * PIECE_BYTES * 1032;
            assert!(out.len() - before <= most, "{} bytes at a time", out.len() - before);
            slices += 1;
        }
        assert!(out == message && slices >= 15, "{slices} slices");
    }

    #[test]
    fn what_is_no_deflated_data_is_refused() {
        let agreed = agree(&WANTED, "permessage-deflate").unwrap();
        let mut out = Vec::new();
        assert_eq!(
            agreed.inflater().inflate(&mut &[0xff; 20][..], &mut out, 1 << 20, usize::MAX),
            Err(Inflate::Broken)
        );
    }

    proptest! {
        #[test]
        fn what_is_deflated_is_inflated_again(
            messages in proptest::collection::vec("[a-e\\PC]{0,3000}", 1..8),
            keep in any::<(bool, bool)>(),
            bits in 9_u8..=15,
            piece in 1_usize..700,
            goal in prop_oneof![0_usize..1000, Just(usize::MAX)],
            deflated_piece in 1_usize..4000,
        ) {
            let agreed = Agreed {
                server_context_takeover: keep.0,
                client_context_takeover: keep.0,
                client_window_bits: bits,
            };
            let (mut deflater, mut inflater) = (agreed.deflater().unwrap(), agreed.inflater());
            for message in messages {
                if !Deflater::takes(message.as_bytes()) {
                    continue;
                }
                let (head, end) = message.as_bytes().split_at((message.len() - 1) / deflated_piece * deflated_piece);
                let mut deflated = Vec::new();
                for piece in head.chunks(deflated_piece) {
                    deflated.extend(deflater.deflate(piece, false));
                }
                deflated.extend(deflater.deflate(end, true));
                let mut out = Vec::new();
                for mut piece in deflated.chunks(piece) {
                    while !inflater.inflate(&mut piece, &mut out, message.len(), goal).unwrap() {}
                }
                while !inflater.finish(&mut out, message.len(), goal).unwrap() {}
                prop_assert_eq!(&out, message.as_bytes());
            }
        }

        #[test]
        fn no_answer_panics(answer in "(permessage-deflate)?[;= \"a-z_0-9\\PC]{0,60}") {
            let _ = agree(&WANTED, &answer);
        }

        #[test]
        fn no_bytes_panic_or_grow_over_the_bound(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let agreed = agree(&WANTED, "permessage-deflate").unwrap();
            let mut inflater = agreed.inflater();
            let mut out = Vec::new();
            let _ = inflater
                .inflate(&mut &bytes[..], &mut out, 1000, usize::MAX)
                .and_then(|_| inflater.finish(&mut out, 1000, usize::MAX));
            prop_assert!(out.len() <= 1001);
        }
    }
}
