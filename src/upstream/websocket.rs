//! One WebSocket connection. The one module that names tokio-tungstenite, whose frame headers and
//! keys it uses; messages are put together here, out of one buffer and without a copy of each.
//!
//! Everything here is polled, so that reading, writing and the timers above go on side by side: no
//! write is ever awaited while something else should happen.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data as DataCode;

use super::{
    failure::Failure,
    wire::{Io, Meter, Wire, tls},
};
use crate::hub::{Data, Fate, Payload, Send, Ticket};

mod deflate;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod inbound;
mod outbound;
mod upgrade;

use deflate::Deflater;
use inbound::{Event, Fault, Inbound, Next};
use outbound::{Outbound, Outgoing};
pub(super) use upgrade::{Offer, upgrade};

/// A batch ends after so many bytes of lines, so that a client's socket takes them all at once (the
/// kernel's default is about 208 KiB),
const BATCH_BYTES: usize = 160 << 10;
/// of which a message's envelope is about so many,
const ENVELOPE_BYTES: usize = 70;
/// or after so many frames,
const BATCH_FRAMES: usize = 1024;
/// or when so much was read, whatever it is.
const BATCH_READ: usize = 2 << 20;
/// A batch that has come to so many bytes was a lot of work: others get their turn before the next.
const HEAVY_BYTES: usize = 1 << 20;
/// So much is handed over before it is flushed, and its fates are told.
const FILL_BYTES: usize = 64 << 10;
/// A longer message goes out in fragments of this size, so that a ping needn't wait for all of it
/// (RFC 6455, 5.4). The write buffer holds one fill, one fragment and the pongs, whatever a client sends.
const FRAGMENT_BYTES: usize = 1 << 20;
/// So much of a message is compressed at a time,
const DEFLATE_BYTES: usize = 256 << 10;
/// which is work for a few milliseconds, as handing over so much is that isn't compressed. Then others get
/// their turn.
const TURN_BYTES: usize = 2 << 20;
/// With so many pongs waiting to go out, nothing more is read: a server that pings without reading
/// can't fill the memory.
const MAX_PONGS: usize = 1024;
/// The kernel took no byte for so long: nobody reads at the other end.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What came in.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// A message.
    Data(Data<'a>),
    /// A ping, whose pong is on its way.
    Ping,
    /// A pong with its payload.
    Pong(&'a [u8]),
}

/// What the connection needs from the one who drives it.
pub(super) trait Exchange {
    /// A frame came in.
    fn received(&mut self, frame: Frame<'_>);
    /// The next send to write, if there is one.
    fn next_send(&mut self) -> Option<Send>;
    /// A client's send of so many bytes was written.
    fn written(&mut self, bytes: usize);
}

/// Whether to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listen {
    Yes,
    /// Not until the server has taken more of what there is for it: that is for the server to do.
    AfterWriting,
    /// Not for now, so that a server which waits for that and takes nothing has its reason.
    No,
}

/// What a round of reading found.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Bytes came in.
    pub(super) inbound: bool,
    /// Messages were among them.
    pub(super) messages: bool,
    /// It ended at its bounds: more may be ready.
    pub(super) full: bool,
    /// It was a lot of work: other tasks are to have their turn before the next.
    pub(super) heavy: bool,
    /// How the connection ends, if it does.
    pub(super) end: Option<End>,
}

/// How far the end of a connection has come.
#[derive(Debug)]
pub(super) enum End {
    /// The close frames are exchanged, or on their way; the end of TCP is to follow.
    Closing(Failure),
    /// There is no connection any more.
    Gone(Failure),
}

/// A WebSocket connection. Dropping it ends it on the spot; sends that were on their way are then
/// [`Fate::Unknown`].
pub(super) struct Connection {
    stream: Box<dyn Io>,
    meter: Rc<Meter>,
    inbound: Inbound,
    outbound: Outbound,
    deflater: Option<Deflater>,
    phase: Phase,
    max_message: usize,
    /// Close with this once everything that was sent before is out.
    closing: Option<(u16, &'static str)>,
    /// The ping that isn't handed over yet.
    ping: Option<[u8; 8]>,
    /// The message that is being handed over, fragment by fragment.
    partial: Option<Partial>,
    /// Messages handed over and not flushed yet.
    flying: Vec<(Ticket, usize)>,
    /// Something was handed over.
    unflushed: bool,
    /// Pongs since the last flush.
    pongs: usize,
    /// The kernel doesn't take what we have, since then; and what it had taken by then.
    blocked: Option<(Instant, u64)>,
    /// Since when wsfan itself doesn't read.
    paused: Option<Instant>,
    /// Writing failed. What the server had to say before is still read.
    broken: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Our close frame is out; the server's answer is awaited, and messages until then.
    Closing,
    /// The server's close frame is here; the end of TCP is awaited, nothing it says is listened to.
    Closed,
    /// Our close frame for the server's fault is on its way; nothing it says is listened to.
    Failing,
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
    ticket: Ticket,
    size: usize,
}

impl Connection {
    fn new(wire: Wire, inbound: Inbound, deflater: Option<Deflater>, max_message: usize) -> Connection {
        Connection {
            stream: wire.stream,
            meter: wire.meter,
            inbound,
            outbound: Outbound::default(),
            deflater,
            phase: Phase::Open,
            max_message,
            closing: None,
            ping: None,
            partial: None,
            flying: Vec::new(),
            unflushed: false,
            pongs: 0,
            blocked: None,
            paused: None,
            broken: None,
        }
    }

    /// Reads what is ready, if it is to, and writes what there is to write. Ready when bytes came in
    /// or the connection ends. Cancel-safe.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        listen: Listen,
        exchange: &mut impl Exchange,
    ) -> Poll<Batch> {
        let mut batch = if listen == Listen::Yes { self.poll_batch(cx, exchange) } else { Poll::Pending };
        self.poll_write(cx, exchange);
        self.note_progress(now, listen);
        if listen != Listen::No && batch.is_pending() && self.broken.is_some() {
            // what came in before the writing failed counts
            batch = self.poll_batch(cx, exchange);
            if batch.is_pending()
                && let Some(failure) = self.broken.take()
            {
                return Poll::Ready(Batch { end: Some(End::Gone(failure)), ..Batch::default() });
            }
        }
        batch
    }

    /// Sends a ping before any message that waits. One that is still unsent is replaced.
    pub(super) fn ping(&mut self, payload: [u8; 8]) {
        self.ping = Some(payload);
    }

    /// Whether messages that it was given aren't all with the kernel yet.
    pub(super) fn has_unwritten(&self) -> bool {
        self.partial.is_some() || !self.flying.is_empty()
    }

    /// Begins the closing handshake as soon as the exchange has no more to send.
    pub(super) fn close(&mut self, code: u16, reason: &'static str) {
        if self.phase == Phase::Open {
            self.closing = Some((code, reason));
        }
    }

    /// Whether a close waits for what is still to be sent.
    pub(super) fn is_draining(&self) -> bool {
        self.phase == Phase::Open && self.closing.is_some()
    }

    /// When the connection counts as dead because nothing could be written for so long.
    pub(super) fn stall_deadline(&self) -> Option<Instant> {
        // while wsfan doesn't read, a server that doesn't either is wsfan's own doing
        self.blocked.filter(|_| self.paused.is_none()).map(|(since, _)| since + STALL_TIMEOUT)
    }

    /// The failure of a connection that reached its [`Connection::stall_deadline`].
    pub(super) fn stalled() -> Failure {
        Failure::lost(format!("nothing could be written for {STALL_TIMEOUT:?}: the server doesn't read"))
    }

    /// Reads every frame that is ready already, within the batch's bounds; no timer, so nothing is
    /// delayed.
    fn poll_batch(&mut self, cx: &mut Context<'_>, exchange: &mut impl Exchange) -> Poll<Batch> {
        let before = self.meter.read();
        let (mut frames, mut bytes, mut read, mut messages) = (0, 0, 0, false);
        let (mut again, mut end) = (false, None);
        self.inbound.begin_turn();
        while end.is_none()
            && frames < BATCH_FRAMES
            && bytes < BATCH_BYTES
            && read < BATCH_READ
            && self.pongs < MAX_PONGS
        {
            if matches!(self.phase, Phase::Closed | Phase::Failing) {
                end = self.poll_discard(cx);
                break;
            }
            let event = match self.inbound.next() {
                Ok(Next::Event(event)) => event,
                Ok(Next::Again) => {
                    again = true;
                    break;
                }
                Ok(Next::Read) => match self.poll_read(cx) {
                    Poll::Ready(Ok(length)) => {
                        read += length;
                        continue;
                    }
                    Poll::Ready(Err(failure)) => {
                        end = Some(End::Gone(failure));
                        break;
                    }
                    Poll::Pending => break,
                },
                Err(fault) => {
                    end = Some(self.fail(fault));
                    break;
                }
            };
            frames += 1;
            match event {
                Event::Text(text) => {
                    (bytes, messages) = (bytes + text.len() + ENVELOPE_BYTES, true);
                    exchange.received(Frame::Data(Data::Text(text)));
                }
                Event::Binary(binary) => {
                    (bytes, messages) = (bytes + binary.len() + ENVELOPE_BYTES, true);
                    exchange.received(Frame::Data(Data::Binary(binary)));
                }
                Event::Ping(_) if self.phase == Phase::Closing => {} // nothing follows a close frame
                Event::Ping(payload) => {
                    self.outbound.push(Outgoing::Pong(payload));
                    self.unflushed = true;
                    self.pongs += 1;
                    exchange.received(Frame::Ping);
                }
                Event::Pong(payload) => exchange.received(Frame::Pong(payload)),
                Event::Close { code, reason } => {
                    let failure = Failure::closed_there(code, reason);
                    end = Some(self.closed_there(code, failure));
                }
            }
        }
        // what is still being inflated came in too
        let inbound = frames > 0 || again || self.meter.read() != before;
        let full = frames >= BATCH_FRAMES || bytes >= BATCH_BYTES || read >= BATCH_READ || again;
        // messages give others their turn while they are offered; what else comes doesn't
        let heavy = again || bytes >= HEAVY_BYTES || full && !messages;
        let batch = Batch { inbound, messages, full, heavy, end };
        if batch.inbound || batch.end.is_some() { Poll::Ready(batch) } else { Poll::Pending }
    }

    /// Reads once; ready when so many bytes came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Failure>> {
        let mut buffer = ReadBuf::new(self.inbound.room());
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
            let why = tls::explain(&error);
            return Poll::Ready(Err(Failure::lost(format!("the connection broke: {why}"))));
        }
        let length = buffer.filled().len();
        if length == 0 {
            return Poll::Ready(Err(Failure::lost("the server ended the connection without a close frame")));
        }
        self.inbound.filled(length);
        Poll::Ready(Ok(length))
    }

    /// The server's close frame is answered with its own code (RFC 6455, 5.5.1).
    fn closed_there(&mut self, code: Option<u16>, failure: Failure) -> End {
        if self.phase == Phase::Open {
            self.outbound.push(Outgoing::Close(code.map(u16::to_be_bytes).as_ref().map_or(&[], |code| code)));
            self.unflushed = true;
        }
        self.phase = Phase::Closed;
        End::Closing(failure)
    }

    /// The server's fault is answered with its close code (RFC 6455, 7.1.7).
    fn fail(&mut self, fault: Fault) -> End {
        let broke = "the server broke the WebSocket protocol";
        let (code, sentence, reason) = match &fault {
            Fault::TooBig => {
                let max = self.max_message;
                let sentence =
                    format!("the server sent a message over the {max} bytes of upstream.max_message");
                (1009, sentence, "message too big")
            }
            Fault::NotUtf8 => (1007, "the server sent text that isn't UTF-8".to_owned(), "invalid UTF-8"),
            Fault::NotDeflate => {
                (1007, format!("{broke}: a message can't be inflated"), "invalid deflate data")
            }
            Fault::Protocol(how) => (1002, format!("{broke}: {how}"), "protocol error"),
            Fault::CloseCode { .. } => (1002, String::new(), "protocol error"),
        };
        let failure = match fault {
            // what the server meant is worth more than how it is answered
            Fault::CloseCode { code, reason } => Failure::closed_there(Some(code), &reason),
            _ => Failure::refused(code, sentence),
        };
        if self.phase != Phase::Open {
            return End::Gone(failure);
        }
        self.start_close(code, reason);
        self.phase = Phase::Failing;
        End::Closing(failure)
    }

    fn start_close(&mut self, code: u16, reason: &'static str) {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        self.outbound.push(Outgoing::Close(&payload));
        self.unflushed = true;
    }

    /// Throws away what comes in until TCP ends: unread bytes would turn its end into a reset,
    /// which may overtake our close frame.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let mut scratch = [0; 16 << 10];
        for _ in 0..BATCH_BYTES / scratch.len() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => {
                    return Some(End::Gone(Failure::lost("the connection is closed")));
                }
                Poll::Pending => return None,
            }
        }
        cx.waker().wake_by_ref();
        None
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, exchange: &mut impl Exchange) {
        let mut work = 0;
        while self.broken.is_none() {
            if self.unflushed {
                match self.outbound.poll_flush(cx, &mut self.stream) {
                    Poll::Ready(Ok(())) => self.flushed(cx, exchange),
                    Poll::Ready(Err(error)) => self.broke(&error),
                    Poll::Pending => return,
                }
                continue;
            }
            match self.phase {
                Phase::Open => {
                    if work >= TURN_BYTES {
                        cx.waker().wake_by_ref(); // there is more to write
                        return;
                    }
                    work += self.fill(exchange);
                    if self.partial.is_some() && !self.unflushed {
                        continue; // it was compressed to nothing yet
                    }
                    if !self.unflushed
                        && let Some((code, reason)) = self.closing.take()
                    {
                        self.start_close(code, reason);
                        self.phase = Phase::Closing;
                    }
                }
                // nothing follows the close frame, so that the server may read to the end
                Phase::Failing => {
                    let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
                }
                Phase::Closing | Phase::Closed => {}
            }
            if !self.unflushed {
                return;
            }
        }
    }

    /// Everything handed over has left for the kernel.
    fn flushed(&mut self, cx: &mut Context<'_>, exchange: &mut impl Exchange) {
        for (ticket, size) in self.flying.drain(..) {
            if ticket.is_heard() {
                exchange.written(size);
            }
            ticket.settle(Fate::Written);
        }
        self.unflushed = false;
        if self.pongs >= MAX_PONGS {
            cx.waker().wake_by_ref(); // reading had stopped
        }
        self.pongs = 0;
    }

    /// Hands over one fill, a ping first. Says how much work that was, in bytes.
    fn fill(&mut self, exchange: &mut impl Exchange) -> usize {
        // a control frame may go between the fragments of a message
        if let Some(payload) = self.ping.take() {
            self.outbound.push(Outgoing::Ping(&payload));
            self.unflushed = true;
        }
        let (mut bytes, mut work) = (0, 0);
        while bytes < FILL_BYTES {
            let Some(partial) = self.partial.take() else {
                let Some(send) = exchange.next_send() else { break };
                self.partial = Some(Partial::new(send, self.deflater.is_some()));
                continue;
            };
            // compressing is some eight times the work of copying
            let weight = if partial.compressed { 8 } else { 1 };
            let length = self.fragment(partial);
            (bytes, work) = (bytes + length, work + weight * length);
        }
        work
    }

    /// Hands over the next fragment of a message, mostly the only one. Says how much of it that is.
    fn fragment(&mut self, partial: Partial) -> usize {
        let Partial { payload, done, opcode, compressed, ticket, size } = partial;
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
            let compressed = compressed && opcode != DataCode::Continue; // the first frame says so
            self.outbound.push(Outgoing::Data { opcode, payload: bytes, last, compressed });
            self.unflushed = true;
        }
        if last {
            self.flying.push((ticket, size));
        } else {
            let opcode = if is_due { DataCode::Continue } else { opcode };
            self.partial = Some(Partial { payload, done: end, opcode, compressed, ticket, size });
        }
        end - done
    }

    /// Notes since when the kernel takes nothing of what there is. While wsfan itself doesn't read,
    /// that may be its own doing, and doesn't count.
    fn note_progress(&mut self, now: Instant, listen: Listen) {
        if listen == Listen::No {
            self.paused.get_or_insert(now);
        } else if let Some(paused) = self.paused.take()
            && let Some((since, _)) = &mut self.blocked
        {
            *since += now - paused.max(*since);
        }
        let written = self.meter.written();
        if !self.unflushed || self.broken.is_some() {
            self.blocked = None;
        } else if self.blocked.is_none_or(|(_, before)| before != written) {
            self.blocked = Some((now, written));
        }
    }

    fn broke(&mut self, error: &io::Error) {
        let why = tls::explain(error);
        self.blocked = None;
        self.broken
            .get_or_insert_with(|| Failure::lost(format!("the connection broke while writing: {why}")));
    }
}

impl Partial {
    fn new(send: Send, deflates: bool) -> Partial {
        let size = send.payload.len();
        let (payload, opcode) = match send.payload {
            Payload::Text(text) => (text.into_bytes(), DataCode::Text),
            Payload::Binary(bytes) => (bytes, DataCode::Binary),
        };
        let compressed = deflates && Deflater::takes(&payload);
        Partial { payload, done: 0, opcode, compressed, ticket: send.ticket, size }
    }
}

#[cfg(test)]
mod tests;
