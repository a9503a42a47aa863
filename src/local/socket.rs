//! Local sockets: what a listener binds, and what is asked of a client's connection. With its folder the one
//! place that names socket calls of the operating system.

use std::{
    fs,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{MemfdFlags, memfd_create, sendfile},
    io::Errno,
    net::sockopt::{socket_peercred, socket_send_buffer_size},
    process::{Resource, getrlimit},
};

mod bound;
mod directory;
mod error;
mod names;
mod outlook;

use super::{dialogue::rights::Identity, sys::peer_groups};

pub(super) use self::bound::Bound;
pub(crate) use self::{error::BindError, names::Ids, outlook::outlook};

/// So many descriptors are not for clients.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// The process, as far as its number means anything here (0 from another pid namespace).
    pub(super) pid: i32,
    /// The user it ran as when it connected.
    pub(super) uid: u32,
}

/// Asks the kernel who connected (`SO_PEERCRED`).
pub(super) fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let credentials = socket_peercred(stream)?;
    Ok(Peer { pid: rustix::process::Pid::as_raw(Some(credentials.pid)), uid: credentials.uid.as_raw() })
}

/// Who is at the other end, as rules look at it: the user, and all groups of its process when it connected.
pub(super) fn identity(stream: &UnixStream) -> io::Result<Identity> {
    let credentials = socket_peercred(stream)?;
    let mut groups = peer_groups::of_peer(stream)?;
    groups.push(credentials.gid.as_raw());
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity { uid: credentials.uid.as_raw(), groups: groups.into() })
}

/// The user that the daemon runs as.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether a user's clients look after the daemon.
fn looks_after(uid: u32) -> bool {
    uid == 0 || uid == own_uid()
}

/// Another descriptor for a client's connection, unless it is [one of the last](is_among_the_last).
pub(super) fn duplicate(stream: &UnixStream, peer: Peer) -> io::Result<UnixStream> {
    let duplicate = stream.try_clone()?;
    if is_among_the_last(&duplicate, peer) {
        return Err(Errno::MFILE.into());
    }
    Ok(duplicate)
}

/// Whether a new descriptor is one of the last that there may be. These are for the link: a crowd of clients
/// must not take the upstream away.
///
/// Half of them are for clients that look after the daemon.
pub(super) fn is_among_the_last(stream: &UnixStream, peer: Peer) -> bool {
    let reserved = if looks_after(peer.uid) { RESERVED_DESCRIPTORS / 2 } else { RESERVED_DESCRIPTORS };
    // the kernel gives out the lowest number that is free
    let number = u64::try_from(stream.as_raw_fd()).unwrap_or(u64::MAX);
    getrlimit(Resource::Nofile).current.is_some_and(|limit| number + reserved >= limit)
}

/// So many bytes that were written to a client may lie in the kernel unread. It counts what it keeps them in as well,
/// and takes one write beyond its bound.
pub(super) fn most_unread(stream: &UnixStream) -> usize {
    // the default of a kernel that says nothing is far smaller
    socket_send_buffer_size(stream).map_or(usize::MAX, |bytes| 2 * bytes)
}

/// Whether the peer has closed both directions, so that nothing can reach it any more.
pub(super) fn is_hung_up(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&timeout)).is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// The bytes in pages that sockets can share, until the last has read them.
pub(super) fn shared_pages(bytes: &[u8]) -> io::Result<OwnedFd> {
    // one byte more than a file may have, and a signal would end the daemon (systemd's LimitFSIZE)
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < bytes.len() as u64) {
        return Err(Errno::FBIG.into());
    }
    // some systems take such memory only where nobody can run it (vm.memfd_noexec), which Linux knows
    // from 6.3 on
    let flags = MemfdFlags::CLOEXEC;
    let pages = match memfd_create("wsfan", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("wsfan", flags),
        made => made,
    }?;
    let mut file = fs::File::from(pages);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// Gives a socket pages from [`shared_pages`], as write(2) would give it the bytes.
pub(super) fn send_pages(
    stream: &UnixStream,
    pages: &OwnedFd,
    offset: u64,
    length: usize,
) -> io::Result<usize> {
    let mut offset = offset;
    Ok(sendfile(stream, pages, Some(&mut offset), length)?)
}
