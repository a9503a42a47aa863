//! The byte stream under a connection, with a meter on it.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes both ways.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Io for S {}

/// A stream to a server, TLS included, and the meter at its lower end, where the kernel is.
pub(super) struct Wire {
    pub(super) stream: Box<dyn Io>,
    pub(super) meter: Rc<Meter>,
}

/// How many bytes the kernel has handed out and taken.
#[derive(Debug, Default)]
pub(super) struct Meter {
    read: Cell<u64>,
    written: Cell<u64>,
}

/// A stream that counts its bytes.
pub(super) struct Metered<S> {
    inner: S,
    meter: Rc<Meter>,
}

impl Meter {
    /// Bytes that came in so far.
    pub(super) fn read(&self) -> u64 {
        self.read.get()
    }

    /// Bytes that went out so far.
    pub(super) fn written(&self) -> u64 {
        self.written.get()
    }
}

impl<S> Metered<S> {
    /// A stream with a new meter.
    pub(super) fn new(inner: S) -> (Metered<S>, Rc<Meter>) {
        let meter = Rc::new(Meter::default());
        (Metered { inner, meter: meter.clone() }, meter)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.meter.read.set(self.meter.read() + (buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.meter.written.set(self.meter.written() + written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
