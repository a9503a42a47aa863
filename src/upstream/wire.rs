//! The byte stream under a connection, with a meter on it.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) mod addresses;
pub(super) mod certificate;
pub(super) mod dial;
pub(super) mod found;
pub(super) mod proxy;
pub(super) mod target;
pub(super) mod tls;
pub(super) mod track;

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
    /// What was read from `inner` before, and is read from here first.
    early: Vec<u8>,
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
    /// A stream with a new meter. `early` is what was read from `inner` already: it comes first, and is counted.
    pub(super) fn new(inner: S, early: Vec<u8>) -> (Metered<S>, Rc<Meter>) {
        let meter = Rc::new(Meter::default());
        (Metered { inner, meter: meter.clone(), early }, meter)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.early.is_empty() {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        } else {
            let length = self.early.len().min(buf.remaining());
            buf.put_slice(&self.early[..length]);
            self.early.drain(..length);
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(flavor = "local")]
    async fn what_was_read_early_comes_first_and_is_counted() {
        let (mut stream, meter) = Metered::new(&b"later"[..], b"early".to_vec());
        let mut first = [0; 3];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!((&first, meter.read()), (b"ear", 3));
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&*rest, meter.read()), ("lylater", 10));
    }
}
