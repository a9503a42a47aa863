//! What goes out: messages in fragments, compressed on their way, and control frames between them, as bytes
//! that are masked as a client's must be (RFC 6455, 5.3 and 5.4). Pure.

use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data as DataCode, OpCode},
};

use super::deflate::Deflater;
use crate::hub::{Payload, Send, Ticket};

/// Memory that is kept for the next frames.
const KEPT_BYTES: usize = 256 << 10;
/// So much is handed over before it is written, and its fates are told.
const FILL_BYTES: usize = 64 << 10;
/// A longer message goes out in fragments of this size, so that a ping needn't wait for all of it. The
/// bytes to write are one fill, one fragment and the pongs, whatever a client sends.
pub(in crate::upstream::websocket) const FRAGMENT_BYTES: usize = 1 << 20;
/// So much of a message is compressed at a time: that is work for a few milliseconds,
const DEFLATE_BYTES: usize = 256 << 10;
/// since compressing is some eight times the work of copying.
const DEFLATE_WEIGHT: usize = 8;
/// With so many pongs waiting to go out, nothing more is read: a server that pings without reading
/// can't fill the memory.
pub(in crate::upstream::websocket) const MAX_PONGS: usize = 1024;

/// The writing half of a connection.
pub(in crate::upstream::websocket) struct Outbound {
    /// Frames, and how much of them is written.
    bytes: Vec<u8>,
    written: usize,
    /// Gives the next frame's mask.
    mask: Box<dyn FnMut() -> [u8; 4]>,
    deflater: Option<Deflater>,
    /// The ping that isn't handed over yet.
    ping: Option<[u8; 8]>,
    /// The message that is being handed over, fragment by fragment.
    partial: Option<Partial>,
    /// Sends handed over and not flushed yet.
    flying: Vec<Sent>,
    /// Something was handed over since the last flush.
    unflushed: bool,
    /// Pongs since the last flush.
    pongs: usize,
}

/// A message that is handed over.
struct Partial {
    payload: Vec<u8>,
    /// So much of it is handed over.
    done: usize,
    /// Of the next frame.
    opcode: DataCode,
    /// It is compressed on its way.
    compressed: bool,
    /// What follows it before anything else does, the last one first.
    rest: Vec<Payload>,
    /// The send that it is of.
    of: Sent,
}

/// A send that is handed over, or becomes so.
pub(in crate::upstream::websocket) struct Sent {
    pub(in crate::upstream::websocket) ticket: Ticket,
    /// How many messages it is.
    pub(in crate::upstream::websocket) messages: usize,
    /// The bytes of their payloads.
    pub(in crate::upstream::websocket) bytes: usize,
}

impl Outbound {
    /// Nothing to write yet. `mask` gives each frame's mask, which nobody may foresee (RFC 6455, 10.3).
    pub(in crate::upstream::websocket) fn new(
        deflater: Option<Deflater>,
        mask: impl FnMut() -> [u8; 4] + 'static,
    ) -> Outbound {
        Outbound {
            bytes: Vec::new(),
            written: 0,
            mask: Box::new(mask),
            deflater,
            ping: None,
            partial: None,
            flying: Vec::new(),
            unflushed: false,
            pongs: 0,
        }
    }

    /// Sends a ping before any message that waits. One that is still unsent is replaced.
    pub(in crate::upstream::websocket) fn ping(&mut self, payload: [u8; 8]) {
        self.ping = Some(payload);
    }

    /// Answers a ping.
    pub(in crate::upstream::websocket) fn pong(&mut self, payload: &[u8]) {
        self.control(Control::Pong, payload);
        self.pongs += 1;
    }

    /// Hands over a close frame. Nothing may follow it.
    pub(in crate::upstream::websocket) fn close(&mut self, payload: &[u8]) {
        self.control(Control::Close, payload);
    }

    /// Hands over one fill, a ping first. Says how much work that was, in bytes.
    pub(in crate::upstream::websocket) fn fill(
        &mut self,
        mut next_send: impl FnMut() -> Option<Send>,
    ) -> usize {
        // a control frame may go between the fragments of a message
        if let Some(payload) = self.ping.take() {
            self.control(Control::Ping, &payload);
        }
        let (mut bytes, mut work) = (0, 0);
        while bytes < FILL_BYTES {
            let Some(partial) = self.partial.take() else {
                let Some(send) = next_send() else { break };
                self.partial = Some(Partial::first(send, self.deflater.is_some()));
                continue;
            };
            let weight = if partial.compressed { DEFLATE_WEIGHT } else { 1 };
            let length = self.fragment(partial);
            (bytes, work) = (bytes + length, work + weight * length);
        }
        work
    }

    /// The bytes that are still to be written.
    pub(in crate::upstream::websocket) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// So many of [`Outbound::unwritten`] are.
    pub(in crate::upstream::websocket) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
            self.written = 0;
        }
    }

    /// Everything handed over has left for the kernel: these sends are written.
    pub(in crate::upstream::websocket) fn flushed(&mut self) -> impl Iterator<Item = Sent> {
        self.unflushed = false;
        self.pongs = 0;
        self.flying.drain(..)
    }

    /// Whether something was handed over since the last flush.
    pub(in crate::upstream::websocket) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Whether a message, or a unit, is handed over in part.
    pub(in crate::upstream::websocket) fn is_within_a_message(&self) -> bool {
        self.partial.is_some()
    }

    /// Whether messages that were given aren't all with the kernel yet.
    pub(in crate::upstream::websocket) fn has_unwritten(&self) -> bool {
        self.partial.is_some() || !self.flying.is_empty()
    }

    /// Whether so many pongs wait that nothing more should be read.
    pub(in crate::upstream::websocket) fn is_full_of_pongs(&self) -> bool {
        self.pongs >= MAX_PONGS
    }

    /// Hands over the next fragment of a message, mostly the only one. Says how much of it that is.
    fn fragment(&mut self, partial: Partial) -> usize {
        let Partial { payload, done, opcode, compressed, mut rest, of } = partial;
        let most = if compressed { DEFLATE_BYTES } else { FRAGMENT_BYTES };
        let end = payload.len().min(done + most);
        let (piece, last) = (&payload[done..end], end == payload.len());
        let deflated = match &mut self.deflater {
            Some(deflater) if compressed => Some(deflater.deflate(piece, last)),
            _ => None,
        };
        let bytes = deflated.as_deref().unwrap_or(piece);
        let is_due = last || !bytes.is_empty();
        if is_due {
            // only the first frame says that the message is compressed (RFC 7692, 6)
            let rsv1 = compressed && opcode != DataCode::Continue;
            self.frame(OpCode::Data(opcode), bytes, last, rsv1);
        }
        let length = end - done;
        if !last {
            let opcode = if is_due { DataCode::Continue } else { opcode };
            self.partial = Some(Partial { payload, done: end, opcode, compressed, rest, of });
        } else if let Some(next) = rest.pop() {
            self.partial = Some(Partial::new(next, rest, of, self.deflater.is_some()));
        } else {
            self.flying.push(of);
        }
        length
    }

    fn control(&mut self, control: Control, payload: &[u8]) {
        self.frame(OpCode::Control(control), payload, true, false);
    }

    fn frame(&mut self, opcode: OpCode, payload: &[u8], is_final: bool, rsv1: bool) {
        let mask = (self.mask)();
        let header = FrameHeader { is_final, rsv1, opcode, mask: Some(mask), ..FrameHeader::default() };
        header.format(payload.len() as u64, &mut self.bytes).expect("memory takes any byte");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        for (byte, mask) in self.bytes[start..].iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        self.unflushed = true;
    }
}

impl Partial {
    /// A send's first message, mostly its only one.
    fn first(send: Send, deflates: bool) -> Partial {
        let Send { payload, mut rest, ticket, .. } = send;
        let bytes = payload.len() + rest.iter().map(Payload::len).sum::<usize>();
        let of = Sent { ticket, messages: 1 + rest.len(), bytes };
        rest.reverse();
        Partial::new(payload, rest, of, deflates)
    }

    fn new(payload: Payload, rest: Vec<Payload>, of: Sent, deflates: bool) -> Partial {
        let (payload, opcode) = match payload {
            Payload::Text(text) => (text.into_bytes(), DataCode::Text),
            Payload::Binary(bytes) => (bytes, DataCode::Binary),
        };
        let compressed = deflates && Deflater::takes(&payload);
        Partial { payload, done: 0, opcode, compressed, rest, of }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, io::Cursor};

    use tokio_tungstenite::tungstenite::{
        Message,
        protocol::{Role, WebSocket, WebSocketConfig},
    };

    use super::*;

    /// What a server of the library makes of what is to be written.
    fn read(outbound: &Outbound) -> Vec<Message> {
        let bytes = outbound.unwritten().to_vec();
        // all at once, since its pongs are written where it reads
        let config = WebSocketConfig::default().read_buffer_size(bytes.len());
        let mut server = WebSocket::from_raw_socket(Cursor::new(bytes), Role::Server, Some(config));
        std::iter::from_fn(|| server.read().ok()).collect()
    }

    #[test]
    fn a_server_reads_what_is_written() {
        let long = "é".repeat(FRAGMENT_BYTES);
        let payloads = [
            Payload::Text("one".into()),
            Payload::Text(long.clone()),
            Payload::Binary(vec![7; 200]),
            Payload::Text(String::new()),
        ];
        let mut sends: VecDeque<_> = payloads.map(Send::unheard).into();
        let mut outbound = Outbound::new(None, || [1, 2, 3, 4]);
        let mut next = || sends.pop_front();
        outbound.fill(&mut next);
        assert!(outbound.is_within_a_message());
        outbound.ping(*b"before  ");
        outbound.ping(*b"between ");
        outbound.fill(&mut next);
        outbound.fill(&mut next);
        outbound.pong(b"");
        let expected = [
            Message::text("one"),
            Message::Ping("between ".into()),
            Message::text(long),
            Message::binary(vec![7; 200]),
            Message::text(""),
            Message::Pong(Vec::new().into()),
        ];
        assert_eq!(read(&outbound), expected);
        assert_eq!(
            outbound.flushed().map(|sent| sent.bytes).collect::<Vec<_>>(),
            [3, 2 * FRAGMENT_BYTES, 200, 0]
        );
    }

    #[test]
    fn the_messages_of_a_unit_follow_one_another_with_nothing_but_control_frames_between() {
        let text = |text: &str| Payload::Text(text.into());
        let long = "x".repeat(FILL_BYTES);
        let rest = vec![text(&long), Payload::Binary(vec![7; 3]), text(&long)];
        let unit = Send { rest, ..Send::unheard(text("header")) };
        assert_eq!((unit.count(), unit.largest()), (4, FILL_BYTES));
        let mut sends: VecDeque<_> = [unit, Send::unheard(text("after"))].into();
        let mut outbound = Outbound::new(None, || [1, 2, 3, 4]);
        let mut next = || sends.pop_front();
        outbound.fill(&mut next);
        assert!(outbound.is_within_a_message(), "between two messages of a unit is within it");
        outbound.pong(b"");
        outbound.ping(*b"between ");
        outbound.fill(&mut next);
        outbound.fill(&mut next);
        let expected = [
            Message::text("header"),
            Message::text(&long),
            Message::Pong(Vec::new().into()),
            Message::Ping("between ".into()),
            Message::binary(vec![7; 3]),
            Message::text(&long),
            Message::text("after"),
        ];
        assert_eq!(read(&outbound), expected);
        let sent: Vec<_> = outbound.flushed().map(|sent| (sent.messages, sent.bytes)).collect();
        assert_eq!(sent, [(4, 2 * FILL_BYTES + 9), (1, 5)]);
    }
}
