//! What the library's own reader makes of the same bytes, to hold [`Inbound`] against.

use std::io;

use tokio_tungstenite::tungstenite::{
    Error, Message,
    error::ProtocolError,
    protocol::{CloseFrame, Role, WebSocket, WebSocketConfig},
};

use super::*;

/// One with bytes of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl Heard {
    /// How many bytes it carries.
    #[cfg(feature = "fuzzing")]
    pub(in crate::upstream) fn len(&self) -> usize {
        match self {
            Heard::Text(text) | Heard::Close(_, text) => text.len(),
            Heard::Binary(bytes) | Heard::Ping(bytes) | Heard::Pong(bytes) => bytes.len(),
        }
    }
}

impl From<Incoming<'_>> for Heard {
    fn from(incoming: Incoming<'_>) -> Heard {
        match incoming {
            Incoming::Text(text) => Heard::Text(text.to_owned()),
            Incoming::Binary(bytes) => Heard::Binary(bytes.to_owned()),
            Incoming::Ping(bytes) => Heard::Ping(bytes.to_owned()),
            Incoming::Pong(bytes) => Heard::Pong(bytes.to_owned()),
            Incoming::Close { code, reason } => Heard::Close(code, reason.to_owned()),
        }
    }
}

/// Reads `bytes` in pieces of at most `piece`, up to the end, a close frame or a fault.
pub(in crate::upstream) fn read(
    bytes: &[u8],
    piece: usize,
    inbound: &mut Inbound,
) -> (Vec<Heard>, Option<Violation>) {
    let (mut heard, mut rest) = (Vec::new(), bytes);
    loop {
        match inbound.next() {
            Ok(Decoded::Incoming(incoming)) => heard.push(Heard::from(incoming)),
            Ok(Decoded::Again) => inbound.begin_turn(),
            Ok(Decoded::Read) if rest.is_empty() => return (heard, None),
            Ok(Decoded::Read) => {
                let room = inbound.room();
                assert!(!room.is_empty(), "there is always room for more");
                let length = rest.len().min(piece).min(room.len());
                room[..length].copy_from_slice(&rest[..length]);
                inbound.filled(length);
                rest = &rest[length..];
            }
            Err(fault) => return (heard, Some(fault)),
        }
        if matches!(heard.last(), Some(Heard::Close(..))) {
            return (heard, None);
        }
    }
}

/// Bytes to read; what is written to it is thrown away.
struct Tape<'a>(&'a [u8]);

impl io::Read for Tape<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut self.0, into)
    }
}

impl io::Write for Tape<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What was heard, and whether something was refused, as the library has it: it doesn't know that 1014 is
/// registered, and refuses it.
pub(in crate::upstream) fn without_1014(mut heard: Vec<Heard>, refused: bool) -> (Vec<Heard>, bool) {
    let closed = heard.pop_if(|last| matches!(last, Heard::Close(Some(1014), _))).is_some();
    (heard, refused || closed)
}

/// What the library's own reader makes of it, and whether it refuses something.
pub(in crate::upstream) fn library(bytes: &[u8], max: usize) -> (Vec<Heard>, bool) {
    let config = WebSocketConfig::default().max_message_size(Some(max)).max_frame_size(Some(max));
    let mut socket = WebSocket::from_raw_socket(Tape(bytes), Role::Client, Some(config));
    let mut heard = Vec::new();
    loop {
        heard.push(match socket.read() {
            Ok(Message::Text(text)) => Heard::Text(text.to_string()),
            Ok(Message::Binary(bytes)) => Heard::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Heard::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Heard::Pong(bytes.to_vec()),
            // its way to say that the code is one that no one may send
            Ok(Message::Close(Some(CloseFrame { code: CloseCode::Protocol, reason })))
                if reason.as_str() == "Protocol violation" =>
            {
                return (heard, true);
            }
            Ok(Message::Close(close)) => {
                let (code, reason) = close.map_or((None, String::new()), |close| {
                    (Some(close.code.into()), close.reason.to_string())
                });
                heard.push(Heard::Close(code, reason));
                return (heard, false);
            }
            Ok(Message::Frame(_)) => unreachable!("frames are put together"),
            // the end of the bytes
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return (heard, false),
            Err(_) => return (heard, true),
        });
    }
}
