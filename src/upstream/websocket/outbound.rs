//! What goes out: frames become bytes, masked as a client's must be (RFC 6455, 5.3), and wait for the
//! kernel to take them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data as DataCode, OpCode},
};

use super::Io;

/// Memory that is kept for the next frames.
const KEPT_BYTES: usize = 256 << 10;

/// A frame to write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outgoing<'a> {
    /// A message, or its fragment.
    Data {
        opcode: DataCode,
        payload: &'a [u8],
        /// Nothing of the message follows.
        last: bool,
        /// The message is compressed, and this is its first fragment.
        compressed: bool,
    },
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Close(&'a [u8]),
}

/// The writing half of a connection.
#[derive(Default)]
pub(super) struct Outbound {
    bytes: Vec<u8>,
    written: usize,
    masks: Masks,
}

impl Outbound {
    /// Adds a frame to what is to be written.
    pub(super) fn push(&mut self, frame: Outgoing<'_>) {
        let control = |control, payload| (OpCode::Control(control), payload, true, false);
        let (opcode, payload, is_final, rsv1) = match frame {
            Outgoing::Data { opcode, payload, last, compressed } => {
                (OpCode::Data(opcode), payload, last, compressed)
            }
            Outgoing::Ping(payload) => control(Control::Ping, payload),
            Outgoing::Pong(payload) => control(Control::Pong, payload),
            Outgoing::Close(payload) => control(Control::Close, payload),
        };
        let mask = self.masks.next();
        let header = FrameHeader { is_final, rsv1, opcode, mask: Some(mask), ..FrameHeader::default() };
        header.format(payload.len() as u64, &mut self.bytes).expect("memory takes any byte");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        for (byte, mask) in self.bytes[start..].iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
    }

    /// Writes all there is, and flushes.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &mut dyn Io) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.bytes[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.written = 0;
        Pin::new(stream).poll_flush(cx)
    }
}

/// Masks that nobody can foresee (RFC 6455, 10.3), fetched from the system many at a time.
#[derive(Default)]
struct Masks {
    pool: Vec<[u8; 4]>,
}

impl Masks {
    fn next(&mut self) -> [u8; 4] {
        if self.pool.is_empty() {
            let mut bytes = [0; 256];
            if getrandom::fill(&mut bytes).is_err() {
                fastrand::fill(&mut bytes); // better a mask of little worth than no connection
            }
            self.pool.extend(bytes.as_chunks().0);
        }
        self.pool.pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio_tungstenite::tungstenite::{Message, protocol::Role, protocol::WebSocket};

    use super::*;

    /// What a server of the library makes of what was pushed.
    fn read(outbound: &Outbound) -> Vec<Message> {
        let mut server = WebSocket::from_raw_socket(Cursor::new(outbound.bytes.clone()), Role::Server, None);
        std::iter::from_fn(|| server.read().ok()).collect()
    }

    #[test]
    fn a_server_reads_what_is_written() {
        let mut outbound = Outbound::default();
        let long = "é".repeat(40_000);
        let data = |opcode, payload, last| Outgoing::Data { opcode, payload, last, compressed: false };
        outbound.push(data(DataCode::Text, b"one", true));
        outbound.push(data(DataCode::Text, &long.as_bytes()[..3], false));
        outbound.push(Outgoing::Ping(b"between"));
        outbound.push(data(DataCode::Continue, &long.as_bytes()[3..], true));
        outbound.push(data(DataCode::Binary, &[7; 200], true));
        outbound.push(Outgoing::Pong(b""));
        let expected = [
            Message::text("one"),
            Message::Ping("between".into()),
            Message::text(long),
            Message::binary(vec![7; 200]),
            Message::Pong(Vec::new().into()),
        ];
        assert_eq!(read(&outbound), expected);
    }

    #[test]
    fn no_two_frames_have_the_same_mask() {
        let mut masks = Masks::default();
        let mut drawn: Vec<_> = (0..1_000).map(|_| masks.next()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert!(drawn.len() > 990, "only {} of 1000 differ", drawn.len());
    }
}
