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
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    failure::Failure,
    wire::{Io, Meter, Wire, tls},
};
use crate::hub::{Data, Fate, Send};

mod codec;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod masks;
mod upgrade;

use codec::{
    closing::{Closing, ClosingPhase},
    deflate::Deflater,
    inbound::{Decoded, Inbound, Incoming, Violation},
    outbound::Outbound,
    stall::{STALL_TIMEOUT, Stall},
};
use masks::Masks;
pub(super) use upgrade::{Offer, upgrade};

#[cfg(test)]
mod tests;

/// A batch ends after so many bytes of lines, so that a client's socket takes them all at once (the
/// kernel's default is about 208 KiB),
pub(super) const BATCH_BYTES: usize = 160 << 10;
/// of which a message's envelope is about so many,
pub(super) const ENVELOPE_BYTES: usize = 70;
/// or after so many frames,
pub(super) const BATCH_FRAMES: usize = 1024;
/// or when so much was read, whatever it is.
const BATCH_READ: usize = 2 << 20;
/// A batch that has come to so many bytes was a lot of work: others get their turn before the next.
const HEAVY_BYTES: usize = 1 << 20;
/// So much is written before others get their turn.
const TURN_BYTES: usize = 2 << 20;

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
    /// The bytes of lines that came of the frame beside its own; where it isn't all taken yet, enough to end the batch.
    fn beside(&mut self) -> usize {
        0
    }
    /// What came in before isn't all taken yet: nothing more may be read until it is.
    fn is_full(&self) -> bool {
        false
    }
    /// The next send to write, if there is one.
    fn next_send(&mut self) -> Option<Send>;
    /// A client's send of so many messages and bytes was written.
    fn written(&mut self, messages: usize, bytes: usize);
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
    pub(super) end: Option<Box<ConnectionEnd>>,
}

/// How far the end of a connection has come.
#[derive(Debug)]
pub(super) enum ConnectionEnd {
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
    closing: Closing,
    stall: Stall,
    max_message: usize,
    /// Writing failed. What the server had to say before is still read.
    broken: Option<Failure>,
}

impl Connection {
    fn new(wire: Wire, inbound: Inbound, deflater: Option<Deflater>, max_message: usize) -> Connection {
        let mut masks = Masks::default();
        Connection {
            stream: wire.stream,
            meter: wire.meter,
            inbound,
            outbound: Outbound::new(deflater, move || masks.next()),
            closing: Closing::new(),
            stall: Stall::default(),
            max_message,
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
        let listens = listen != Listen::No && !exchange.is_full();
        let mut batch = match listens && listen == Listen::Yes {
            true => self.poll_batch(cx, exchange),
            false => Poll::Pending,
        };
        self.poll_write(cx, exchange);
        let has_more = self.outbound.is_unflushed() && self.broken.is_none();
        self.stall.note(now, listen != Listen::No, has_more, self.meter.written());
        if listens && batch.is_pending() && self.broken.is_some() {
            // what came in before the writing failed counts
            batch = self.poll_batch(cx, exchange);
            if batch.is_pending()
                && let Some(failure) = self.broken.take()
            {
                let end = Some(Box::new(ConnectionEnd::Gone(failure)));
                return Poll::Ready(Batch { end, ..Batch::default() });
            }
        }
        batch
    }

    /// Sends a ping before any message that waits. One that is still unsent is replaced.
    pub(super) fn ping(&mut self, payload: [u8; 8]) {
        self.outbound.ping(payload);
    }

    /// Whether messages that it was given aren't all with the kernel yet.
    pub(super) fn has_unwritten(&self) -> bool {
        self.outbound.has_unwritten()
    }

    /// Whether writing has failed, so that nothing more goes out. What has come in still counts.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Begins the closing handshake as soon as the exchange has no more to send.
    pub(super) fn close(&mut self, code: u16, reason: &'static str) {
        self.closing.want(code, reason);
    }

    /// Whether a close waits for what is still to be sent.
    pub(super) fn is_draining(&self) -> bool {
        self.closing.is_draining()
    }

    /// When the connection counts as dead because nothing could be written for so long.
    pub(super) fn stall_deadline(&self) -> Option<Instant> {
        self.stall.deadline()
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
            && !self.outbound.is_full_of_pongs()
        {
            if !self.closing.listens() {
                end = self.poll_discard(cx);
                break;
            }
            let incoming = match self.inbound.next() {
                Ok(Decoded::Incoming(incoming)) => incoming,
                Ok(Decoded::Again) => {
                    again = true;
                    break;
                }
                Ok(Decoded::Read) => match self.poll_read(cx) {
                    Poll::Ready(Ok(length)) => {
                        read += length;
                        continue;
                    }
                    Poll::Ready(Err(failure)) => {
                        end = Some(ConnectionEnd::Gone(failure));
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
            match incoming {
                Incoming::Text(text) => {
                    (bytes, messages) = (bytes + text.len() + ENVELOPE_BYTES, true);
                    exchange.received(Frame::Data(Data::Text(text)));
                }
                Incoming::Binary(binary) => {
                    (bytes, messages) = (bytes + binary.len() + ENVELOPE_BYTES, true);
                    exchange.received(Frame::Data(Data::Binary(binary)));
                }
                Incoming::Ping(_) if self.closing.phase() == ClosingPhase::Closing => {} // nothing follows a close frame
                Incoming::Ping(payload) => {
                    self.outbound.pong(payload);
                    exchange.received(Frame::Ping);
                }
                Incoming::Pong(payload) => exchange.received(Frame::Pong(payload)),
                Incoming::Close { code, reason } => {
                    let failure = Failure::closed_there(code, reason);
                    if let Some(answer) = self.closing.heard(code) {
                        self.outbound.close(&answer);
                    }
                    end = Some(ConnectionEnd::Closing(failure));
                }
            }
            bytes += exchange.beside();
        }
        // what is still being inflated came in too
        let inbound = frames > 0 || again || self.meter.read() != before;
        let full = frames >= BATCH_FRAMES || bytes >= BATCH_BYTES || read >= BATCH_READ || again;
        // messages give others their turn while they are offered; what else comes doesn't
        let heavy = again || bytes >= HEAVY_BYTES || full && !messages;
        let batch = Batch { inbound, messages, full, heavy, end: end.map(Box::new) };
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

    /// The server's fault is answered with its close code (RFC 6455, 7.1.7).
    fn fail(&mut self, fault: Violation) -> ConnectionEnd {
        let broke = "the server broke the WebSocket protocol";
        let (code, sentence, reason) = match &fault {
            Violation::TooBig => {
                let max = self.max_message;
                let sentence =
                    format!("the server sent a message over the {max} bytes of upstream.max_message");
                (1009, sentence, "message too big")
            }
            Violation::NotUtf8 => (1007, "the server sent text that isn't UTF-8".to_owned(), "invalid UTF-8"),
            Violation::NotDeflate => {
                (1007, format!("{broke}: a message can't be inflated"), "invalid deflate data")
            }
            Violation::Protocol(how) => (1002, format!("{broke}: {how}"), "protocol error"),
            Violation::CloseCode { .. } => (1002, String::new(), "protocol error"),
        };
        let failure = match fault {
            // what the server meant is worth more than how it is answered
            Violation::CloseCode { code, reason } => Failure::closed_there(Some(code), &reason),
            _ => Failure::refused(code, sentence),
        };
        match self.closing.fault(code, reason) {
            Some(close) => {
                self.outbound.close(&close);
                ConnectionEnd::Closing(failure)
            }
            None => ConnectionEnd::Gone(failure),
        }
    }

    /// Throws away what comes in until TCP ends: unread bytes would turn its end into a reset,
    /// which may overtake our close frame.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Option<ConnectionEnd> {
        let mut scratch = [0; 16 << 10];
        for _ in 0..BATCH_BYTES / scratch.len() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => {
                    return Some(ConnectionEnd::Gone(Failure::lost("the connection is closed")));
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
            if self.outbound.is_unflushed() {
                match self.poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.flushed(cx, exchange),
                    Poll::Ready(Err(error)) => self.broke(&error),
                    Poll::Pending => return,
                }
                continue;
            }
            match self.closing.phase() {
                ClosingPhase::Open => {
                    if work >= TURN_BYTES {
                        cx.waker().wake_by_ref(); // there is more to write
                        return;
                    }
                    work += self.outbound.fill(|| exchange.next_send());
                    if self.outbound.is_within_a_message() && !self.outbound.is_unflushed() {
                        continue; // it was compressed to nothing yet
                    }
                    if !self.outbound.is_unflushed()
                        && let Some(close) = self.closing.drained()
                    {
                        self.outbound.close(&close);
                    }
                }
                // nothing follows the close frame, so that the server may read to the end
                ClosingPhase::Failing => {
                    let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
                }
                ClosingPhase::Closing | ClosingPhase::Closed => {}
            }
            if !self.outbound.is_unflushed() {
                return;
            }
        }
    }

    /// Writes all that was handed over, and flushes.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbound.unwritten().is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, self.outbound.unwritten()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbound.wrote(written);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Everything handed over has left for the kernel.
    fn flushed(&mut self, cx: &mut Context<'_>, exchange: &mut impl Exchange) {
        if self.outbound.is_full_of_pongs() {
            cx.waker().wake_by_ref(); // reading had stopped
        }
        for sent in self.outbound.flushed() {
            if sent.ticket.is_heard() {
                exchange.written(sent.messages, sent.bytes);
            }
            sent.ticket.settle(Fate::Written);
        }
    }

    fn broke(&mut self, error: &io::Error) {
        let why = tls::explain(error);
        self.broken
            .get_or_insert_with(|| Failure::lost(format!("the connection broke while writing: {why}")));
    }
}
