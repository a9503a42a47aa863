//! A socket watched for one direction only.
//!
//! tokio's own sockets are registered for both directions, and woken for one whenever the other
//! moves: a client's every read would wake its reader. tokio offers the choice through `AsyncFd`
//! alone, whose constructor asks a promise about the descriptor of its caller. [`Watched`] can keep
//! that promise, since it owns the socket and lends it by shared reference only.

use std::{
    io,
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
};

use futures_util::FutureExt;
use tokio::io::{Interest, unix::AsyncFd};

/// A socket, registered with the runtime for one direction.
pub(in crate::local) struct Watched<S: Socket>(AsyncFd<S>);

/// The sockets that may be watched: std's own, which keep their one descriptor, open, from their
/// making to their drop.
pub(in crate::local) trait Socket: AsRawFd {}

impl Socket for UnixStream {}
impl Socket for UnixListener {}

impl<S: Socket> Watched<S> {
    /// Watches a non-blocking socket for reading: for bytes, or for clients.
    pub(in crate::local) fn reading(socket: S) -> io::Result<Watched<S>> {
        Watched::new(socket, Interest::READABLE)
    }

    /// Watches a non-blocking socket for writing.
    pub(in crate::local) fn writing(socket: S) -> io::Result<Watched<S>> {
        Watched::new(socket, Interest::WRITABLE)
    }

    fn new(socket: S, interest: Interest) -> io::Result<Watched<S>> {
        // SAFETY: the descriptor must stay the same and open for as long as it is registered. The
        // sockets above only change or close theirs through ownership or a mutable reference, and
        // this type, which owns the socket until it is unregistered, gives out neither.
        Ok(Watched(unsafe { AsyncFd::register_with_interest(socket, interest) }?))
    }

    /// The socket itself.
    pub(in crate::local) fn socket(&self) -> &S {
        self.0.get_ref()
    }

    /// Waits until the socket is readable, and does `io` on it, again when it would block after
    /// all. Cancel-safe: `io` has either not run, or its result is returned.
    pub(in crate::local) async fn read<T>(&self, mut io: impl FnMut(&S) -> io::Result<T>) -> io::Result<T> {
        loop {
            if let Ok(done) = self.0.readable().await?.try_io(|socket| io(socket.get_ref())) {
                return done;
            }
        }
    }

    /// Waits until the socket is writable.
    pub(in crate::local) async fn writable(&self) -> io::Result<()> {
        self.0.writable().await.map(drop)
    }

    /// Forgets that the socket was writable: the next wait is for the kernel to say so again. Right
    /// only when a write has just filled the socket.
    pub(in crate::local) fn forget_writable(&self) {
        if let Some(Ok(mut guard)) = self.0.writable().now_or_never() {
            guard.clear_ready();
        }
    }

    /// Waits until the socket becomes writable, anew with each call. A hang-up counts too.
    pub(in crate::local) async fn becomes_writable(&self) -> io::Result<()> {
        self.0.writable().await.map(|mut guard| guard.clear_ready())
    }
}
