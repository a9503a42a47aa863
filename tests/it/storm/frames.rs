//! *Pure.* A server's frames, in the raw: more than a library would let a server do.

use std::io::{self, Read};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// What the daemon says.
pub(crate) enum Frame {
    /// A whole message: the daemon's fragments are put together.
    Data {
        binary: bool,
        compressed: bool,
        body: Vec<u8>,
    },
    Ping(Vec<u8>),
    Pong,
    Close(Vec<u8>),
}

/// A frame from a server: unmasked, with this first byte.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match body.len() {
        length @ 0..=125 => frame.push(length as u8),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(body);
    frame
}

/// The next message or control frame. A control frame between fragments is passed over, but for a close.
pub(crate) fn read_frame(stream: &mut impl Read) -> io::Result<Frame> {
    let mut message: Option<(u8, Vec<u8>)> = None;
    loop {
        let (first, body) = read_one(stream)?;
        match first & 0x0f {
            0x8 => return Ok(Frame::Close(body)),
            0x9 if message.is_none() => return Ok(Frame::Ping(body)),
            0xa if message.is_none() => return Ok(Frame::Pong),
            0x9 | 0xa => {}
            opcode => {
                assert_eq!(opcode == 0, message.is_some(), "a message has one first frame");
                message.get_or_insert_with(|| (first, Vec::new())).1.extend(body);
                if first & 0x80 != 0 {
                    let (kind, body) = message.take().expect("it was put there");
                    return Ok(Frame::Data { binary: kind & 0x0f == 2, compressed: kind & 0x40 != 0, body });
                }
            }
        }
    }
}

fn read_one(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    assert!(head[1] & 0x80 != 0, "a client masks its frames (RFC 6455, 5.1)");
    let length = match head[1] & 0x7f {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        short => u64::from(short),
    };
    let mut mask = [0; 4];
    stream.read_exact(&mut mask)?;
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    for (at, byte) in body.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    Ok((head[0], body))
}

/// What ends each message's compressed bytes, and isn't sent (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Compresses messages, one after the other in one context.
pub(crate) struct Deflater(Compress);

impl Deflater {
    pub(crate) fn new() -> Deflater {
        Deflater(Compress::new(Compression::fast(), false))
    }

    pub(crate) fn deflate(&mut self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + 64);
        let from = self.0.total_in();
        loop {
            let read = (self.0.total_in() - from) as usize;
            self.0.compress_vec(&body[read..], &mut out, FlushCompress::Sync).expect("it compresses");
            let all = (self.0.total_in() - from) as usize == body.len();
            if all && out.len() < out.capacity() {
                break;
            }
            out.reserve(out.capacity());
        }
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }
}

/// The other way.
pub(crate) struct Inflater(Decompress);

impl Inflater {
    pub(crate) fn new() -> Inflater {
        Inflater(Decompress::new(false))
    }

    pub(crate) fn inflate(&mut self, body: &[u8]) -> Vec<u8> {
        let input = [body, &TAIL].concat();
        let mut out = Vec::with_capacity(4 * input.len() + 64);
        let from = self.0.total_in();
        loop {
            let read = (self.0.total_in() - from) as usize;
            self.0.decompress_vec(&input[read..], &mut out, FlushDecompress::Sync).expect("it inflates");
            let all = (self.0.total_in() - from) as usize == input.len();
            if all && out.len() < out.capacity() {
                return out;
            }
            out.reserve(out.capacity());
        }
    }
}
