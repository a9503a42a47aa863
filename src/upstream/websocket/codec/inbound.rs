//! What comes in: bytes become frames, and frames become messages (RFC 6455, sections 5 to 8). Pure.
//!
//! A message that came in one frame, as nearly all do, is handed out where it lies in the buffer. Only
//! one in fragments, one that is compressed, or one that is larger than the buffer is put together
//! elsewhere first.

use std::{io::Cursor, ops::Range, str};

use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data as DataCode, OpCode},
};

use super::deflate::{Inflate, Inflater};

/// What one read takes at most.
const BUFFER_BYTES: usize = 256 << 10;
/// About so much is inflated in one turn.
const TURN_BYTES: usize = 256 << 10;
/// So many frames are taken in one turn: those that come to nothing, such as empty fragments, count too.
const TURN_FRAMES: usize = 1024;
/// A message that was put together may leave so much memory behind for the next.
const KEPT_BYTES: usize = 64 << 10;
/// A control frame carries no more (RFC 6455, 5.5).
const MAX_CONTROL: u64 = 125;

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream::websocket) enum Incoming<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// A close frame; nothing after it counts.
    Close {
        code: Option<u16>,
        reason: &'a str,
    },
}

/// What there is next.
pub(in crate::upstream::websocket) enum Decoded<'a> {
    Incoming(Incoming<'a>),
    /// More has to be read first.
    Read,
    /// This turn has done enough. There is more to do in the next, without reading.
    Again,
}

/// How the server broke the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream::websocket) enum Violation {
    /// Its message is over the bound, as it came or inflated.
    TooBig,
    /// Its text isn't UTF-8.
    NotUtf8,
    /// What it compressed can't be inflated.
    NotDeflate,
    /// It broke the framing; the words say how.
    Protocol(&'static str),
    /// It closed with a code that no one may send (RFC 6455, 7.4.2).
    CloseCode { code: u16, reason: Box<str> },
}

/// The reading half of a connection.
pub(in crate::upstream::websocket) struct Inbound {
    buffer: Box<[u8]>,
    /// The part of the buffer that was read and not yet taken.
    unread: Range<usize>,
    max_message: usize,
    /// A message in parts.
    message: Option<Assembly>,
    /// How much is still to come of a data frame that is larger than the buffer, and whether it is
    /// the message's last.
    rest: Option<(u64, bool)>,
    inflater: Option<Inflater>,
    /// What is being inflated.
    deflated: Option<Deflated>,
    /// So much may still be inflated in this turn.
    budget: usize,
    /// So many frames may still be taken in this turn.
    frames: usize,
    /// Where messages in parts are put together.
    whole: Vec<u8>,
    /// The last message's bytes lie in `whole`.
    handed_out: bool,
}

struct Deflated {
    /// The part of the buffer that isn't inflated yet.
    piece: Range<usize>,
    /// The message ends with it.
    last: bool,
}

struct Assembly {
    text: bool,
    compressed: bool,
    /// So much of `whole` is known to be UTF-8.
    checked: usize,
}

impl Inbound {
    /// `first` is what came with the answer to the upgrade. A message of over `max_message` bytes is
    /// a fault.
    pub(in crate::upstream::websocket) fn new(
        first: &[u8],
        max_message: usize,
        inflater: Option<Inflater>,
    ) -> Inbound {
        let mut buffer = vec![0; BUFFER_BYTES.max(first.len())].into_boxed_slice();
        buffer[..first.len()].copy_from_slice(first);
        Inbound {
            buffer,
            unread: 0..first.len(),
            max_message,
            message: None,
            rest: None,
            inflater,
            deflated: None,
            budget: TURN_BYTES,
            frames: TURN_FRAMES,
            whole: Vec::new(),
            handed_out: false,
        }
    }

    /// Where to read to; and only once [`Inbound::next`] has returned [`Decoded::Read`]: then
    /// it is never empty.
    pub(in crate::upstream::websocket) fn room(&mut self) -> &mut [u8] {
        if self.unread.start > 0 {
            // at most the part of one frame
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        &mut self.buffer[self.unread.end..]
    }

    /// So many bytes were read to [`Inbound::room`].
    pub(in crate::upstream::websocket) fn filled(&mut self, length: usize) {
        self.unread.end += length;
    }

    /// Little compressed data may become very much, and very many frames nothing at all: so that others get
    /// their turn meanwhile, one turn does no more than its share.
    pub(in crate::upstream::websocket) fn begin_turn(&mut self) {
        self.budget = TURN_BYTES;
        self.frames = TURN_FRAMES;
    }

    /// The next that is there whole, or what is wrong with it. After a fault or a close frame
    /// nothing may be asked any more.
    pub(in crate::upstream::websocket) fn next(&mut self) -> Result<Decoded<'_>, Violation> {
        if std::mem::take(&mut self.handed_out) {
            self.whole.clear();
            self.whole.shrink_to(KEPT_BYTES);
        }
        loop {
            if let Some(deflated) = self.deflated.take() {
                let last = deflated.last;
                if !self.inflate(deflated)? {
                    return Ok(Decoded::Again);
                }
                if last {
                    return self.complete().map(Decoded::Incoming);
                }
            }
            if let Some((rest, last)) = self.rest {
                let here = self.unread.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
                if here == 0 {
                    return Ok(Decoded::Read);
                }
                let piece = self.take(here);
                let rest = rest - here as u64;
                self.rest = (rest > 0).then_some((rest, last));
                if self.append(piece, last && rest == 0)? {
                    return self.complete().map(Decoded::Incoming);
                }
                continue;
            }
            if self.frames == 0 {
                return Ok(Decoded::Again);
            }
            let Some((header, length, header_length)) = self.header()? else { return Ok(Decoded::Read) };
            let opcode = self.check(&header, length)?;
            let here = self.unread.len() - header_length;
            if length > here as u64 {
                if header_length as u64 + length <= self.buffer.len() as u64 {
                    return Ok(Decoded::Read); // it has room here, and is taken when it is whole
                }
                self.frames -= 1;
                self.take(header_length);
                self.begin(opcode, &header);
                self.rest = Some((length, header.is_final));
                continue;
            }
            self.frames -= 1;
            self.take(header_length);
            let payload = self.take(length as usize);
            let data = match opcode {
                OpCode::Control(control) => return self.control(control, payload).map(Decoded::Incoming),
                OpCode::Data(data) => data,
            };
            let is_whole = header.is_final && data != DataCode::Continue && !header.rsv1;
            if is_whole {
                return incoming(data == DataCode::Text, &self.buffer[payload]).map(Decoded::Incoming);
            }
            self.begin(opcode, &header);
            if self.append(payload, header.is_final)? {
                return self.complete().map(Decoded::Incoming);
            }
        }
    }

    /// Takes so many bytes off the buffer's unread part.
    fn take(&mut self, length: usize) -> Range<usize> {
        let start = self.unread.start;
        self.unread.start += length;
        start..start + length
    }

    /// The header that comes next, its payload's length and its own, if it is there whole.
    fn header(&self) -> Result<Option<(FrameHeader, u64, usize)>, Violation> {
        let mut cursor = Cursor::new(&self.buffer[self.unread.clone()]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Violation::Protocol("a reserved opcode"))?;
        Ok(parsed.map(|(header, length)| (header, length, cursor.position() as usize)))
    }

    /// Checks a frame's header against the rules and the bound.
    fn check(&self, header: &FrameHeader, length: u64) -> Result<OpCode, Violation> {
        let fault = |how| Err(Violation::Protocol(how));
        if header.mask.is_some() {
            return fault("a masked frame"); // RFC 6455, 5.1
        }
        let starts = matches!(header.opcode, OpCode::Data(DataCode::Text | DataCode::Binary));
        if header.rsv2 || header.rsv3 || header.rsv1 && !(starts && self.inflater.is_some()) {
            return fault("a reserved bit is set"); // RFC 6455, 5.2; RFC 7692, 6
        }
        if length > i64::MAX as u64 {
            return fault("a length with its highest bit set"); // RFC 6455, 5.2
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => return fault("a control frame in fragments"),
            OpCode::Control(_) if length > MAX_CONTROL => return fault("a control frame that is too long"),
            OpCode::Control(_) => {}
            OpCode::Data(DataCode::Continue) if self.message.is_none() => {
                return fault("a fragment without a beginning");
            }
            OpCode::Data(_) if starts && self.message.is_some() => {
                return fault("a new message within another");
            }
            OpCode::Data(_) => {}
        }
        // what is compressed is bounded while it is inflated
        let compressed = header.rsv1 || self.message.as_ref().is_some_and(|message| message.compressed);
        let room = self.max_message.saturating_sub(self.whole.len());
        if matches!(header.opcode, OpCode::Data(_)) && !compressed && length > room as u64 {
            return Err(Violation::TooBig);
        }
        Ok(header.opcode)
    }

    /// Notes which message a data frame belongs to.
    fn begin(&mut self, opcode: OpCode, header: &FrameHeader) {
        if let OpCode::Data(data @ (DataCode::Text | DataCode::Binary)) = opcode {
            let text = data == DataCode::Text;
            self.message = Some(Assembly { text, compressed: header.rsv1, checked: 0 });
        }
    }

    /// Adds a part of the buffer to the message, its `last` or not. True when the message is whole; a
    /// compressed part is noted, to be inflated first.
    fn append(&mut self, piece: Range<usize>, last: bool) -> Result<bool, Violation> {
        let Some(message) = &mut self.message else { return Ok(last) };
        if message.compressed {
            self.deflated = Some(Deflated { piece, last });
            return Ok(false);
        }
        let piece = &self.buffer[piece];
        let length = self.whole.len() + piece.len();
        if length > self.whole.capacity() {
            // twice as much each time, but no more than there can be
            let grown = (self.whole.capacity() * 2).min(self.max_message).max(length);
            self.whole.reserve_exact(grown - self.whole.len());
        }
        self.whole.extend_from_slice(piece);
        message.check_text(&self.whole)?;
        Ok(last)
    }

    /// Inflates what this turn has room for; true when that is all.
    fn inflate(&mut self, deflated: Deflated) -> Result<bool, Violation> {
        let (Some(message), Some(inflater)) = (&mut self.message, &mut self.inflater) else {
            return Ok(true);
        };
        let Deflated { piece: Range { start, end }, last } = deflated;
        let mut rest = &self.buffer[start..end];
        let mut done = false;
        if self.budget > 0 {
            let before = self.whole.len();
            let (whole, max, goal) = (&mut self.whole, self.max_message, before + self.budget);
            let inflated = inflater.inflate(&mut rest, whole, max, goal);
            let inflated = match inflated {
                Ok(true) if last => inflater.finish(whole, max, goal),
                inflated => inflated,
            };
            done = inflated.map_err(|error| match error {
                Inflate::TooBig => Violation::TooBig,
                Inflate::Broken => Violation::NotDeflate,
            })?;
            self.budget = self.budget.saturating_sub(self.whole.len() - before);
            message.check_text(&self.whole)?;
        }
        if !done {
            self.deflated = Some(Deflated { piece: end - rest.len()..end, last });
        }
        Ok(done)
    }

    /// The message has come to its end.
    fn complete(&mut self) -> Result<Incoming<'_>, Violation> {
        self.handed_out = true;
        let Some(message) = self.message.take() else {
            return Err(Violation::Protocol("a fragment without a beginning"));
        };
        incoming(message.text, &self.whole)
    }

    fn control(&mut self, control: Control, payload: Range<usize>) -> Result<Incoming<'_>, Violation> {
        let payload = &self.buffer[payload];
        match control {
            Control::Ping => Ok(Incoming::Ping(payload)),
            Control::Pong => Ok(Incoming::Pong(payload)),
            Control::Close => close(payload),
            Control::Reserved(_) => Err(Violation::Protocol("a reserved opcode")),
        }
    }
}

impl Assembly {
    /// Checks what was added to a text: a fault is noticed with the fragment that it is in.
    fn check_text(&mut self, whole: &[u8]) -> Result<(), Violation> {
        if !self.text {
            return Ok(());
        }
        match str::from_utf8(&whole[self.checked..]) {
            Ok(text) => self.checked += text.len(),
            // a character may be cut in two by the end of a fragment
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::NotUtf8),
        }
        Ok(())
    }
}

fn incoming(text: bool, bytes: &[u8]) -> Result<Incoming<'_>, Violation> {
    match text {
        true => str::from_utf8(bytes).map(Incoming::Text).map_err(|_| Violation::NotUtf8),
        false => Ok(Incoming::Binary(bytes)),
    }
}

/// A close frame's code and reason (RFC 6455, 5.5.1 and 7.4).
fn close(payload: &[u8]) -> Result<Incoming<'_>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(Incoming::Close { code: None, reason: "" }),
        [_] => return Err(Violation::Protocol("a close frame with half a code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    let reason = str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    // 1014 is registered, which the library doesn't know; of those that no one may send nats-server sends 1006
    if code != 1014 && !CloseCode::from(code).is_allowed() {
        return Err(Violation::CloseCode { code, reason: reason.into() });
    }
    Ok(Incoming::Close { code: Some(code), reason })
}

#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::upstream::websocket) mod reference;
#[cfg(test)]
mod tests;
