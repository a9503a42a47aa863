//! A local socket: bound so that nobody can connect before its mode and owner are set, taken over
//! only from the dead, removed only by who bound it. The one file that names socket calls of the
//! operating system.

use std::{
    fmt, fs,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, FileTypeExt, MetadataExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{
        FlockOperation, Gid, MemfdFlags, Mode, OFlags, Uid, chmod, chown, flock, memfd_create, open, sendfile,
    },
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
        sockopt::socket_peercred,
    },
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::config::{self, MAX_SOCKET_PATH};

/// So many descriptors are not for clients.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Connections that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A bound, listening socket. Dropping it removes the file, if the file is still this one.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket file.
    file: (u64, u64),
    /// Held for the socket's life: two daemons can't take over the same dead socket at once.
    _lock: Lock,
}

impl Bound {
    /// Binds a listener's socket.
    ///
    /// # Errors
    /// What stands in the way, in a sentence.
    pub fn bind(listener: &config::Listener) -> Result<Bound, BindError> {
        let path = &listener.path;
        let fail = |what: &str, error: io::Error| BindError(format!("{}: {what}: {error}", path.display()));
        let length = path.as_os_str().as_bytes().len();
        if length > MAX_SOCKET_PATH {
            return Err(BindError(format!(
                "{}: the path has {length} bytes, a socket's may have {MAX_SOCKET_PATH}: choose a shorter one",
                path.display()
            )));
        }
        let owner = listener.owner.as_deref().map(uid).transpose()?;
        let group = listener.group.as_deref().map(gid).transpose()?;
        make_directory(path)?;
        let lock = Lock::take(path)?;
        clear(path)?;

        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|error| fail("no socket can be made", error.into()))?;
        let address =
            SocketAddrUnix::new(path).map_err(|error| fail("not a path for a socket", error.into()))?;
        bind(&socket, &address).map_err(|error| fail("the socket can't be bound", error.into()))?;
        let metadata = fs::symlink_metadata(path).map_err(|error| fail("the socket can't be seen", error))?;
        let bound = Bound {
            listener: socket.into(),
            path: path.clone(),
            file: (metadata.dev(), metadata.ino()),
            _lock: lock,
        };
        // nobody can connect before listen(), so there is no moment with the wrong mode or owner
        if owner.is_some() || group.is_some() {
            chown(path, owner.map(Uid::from_raw), group.map(Gid::from_raw))
                .map_err(|error| fail("the socket's owner can't be set", error.into()))?;
        }
        chmod(path, Mode::from_raw_mode(listener.mode))
            .map_err(|error| fail("the socket's mode can't be set", error.into()))?;
        listen(&bound.listener, BACKLOG).map_err(|error| fail("the socket can't listen", error.into()))?;
        Ok(bound)
    }

    /// The listening socket, non-blocking.
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket could not be removed");
        }
    }
}

/// Why a socket could not be bound: a sentence that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindError(String);

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BindError {}

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

/// The user that the daemon runs as.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Raises the soft limit of open files to the hard one. Each client is a descriptor, and the usual
/// soft limit of 1024 is there for programs that use select(2).
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
}

/// Whether a new descriptor is one of the last that there may be. These are for the link, and for
/// watching clients that lag: a crowd of clients must not take the upstream away.
pub(super) fn is_among_the_last(stream: &UnixStream) -> bool {
    // the kernel gives out the lowest number that is free
    let number = u64::try_from(stream.as_raw_fd()).unwrap_or(u64::MAX);
    getrlimit(Resource::Nofile).current.is_some_and(|limit| number + RESERVED_DESCRIPTORS >= limit)
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

/// Makes the socket's directory if it is only that one which is missing: /run is empty after a boot.
fn make_directory(path: &Path) -> Result<(), BindError> {
    let Some(directory) = path.parent() else { return Ok(()) };
    match fs::DirBuilder::new().mode(0o755).create(directory) {
        Ok(()) => Ok(()),
        Err(_) if directory.is_dir() => Ok(()),
        Err(error) => Err(BindError(format!(
            "{}: its directory isn't there and can't be made: {error}: make it, or set another `path` under [[listener]]",
            path.display()
        ))),
    }
}

/// Removes a dead socket at `path`; refuses everything else that may be there.
fn clear(path: &Path) -> Result<(), BindError> {
    let fail = |what: String| Err(BindError(format!("{}: {what}", path.display())));
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return fail(format!("the path can't be looked at: {error}")),
    };
    if !file.file_type().is_socket() {
        return fail("something that is not a socket is there: remove it, or choose another path".into());
    }
    match dial(path) {
        Err(Errno::CONNREFUSED) => match fs::remove_file(path) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "took over a socket that nobody listened on");
                Ok(())
            }
            Err(error) => fail(format!("the dead socket there can't be removed: {error}")),
        },
        Err(error) if error != Errno::AGAIN => fail(format!("the socket there can't be tried: {error}")),
        // connected, or a full queue of others who want to be
        Ok(_) | Err(_) => {
            fail("another program listens on this socket: stop it, or choose another path".into())
        }
    }
}

/// Connects without waiting.
fn dial(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// A lock file beside the socket.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: OwnedFd,
}

impl Lock {
    fn take(socket: &Path) -> Result<Lock, BindError> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| {
                let error = io::Error::from(error);
                BindError(format!(
                    "{}: its lock {} can't be made: {error}: set a `path` under [[listener]] where this user may write",
                    socket.display(),
                    path.display()
                ))
            })?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                return Err(BindError(format!(
                    "{}: another wsfan listens on this socket: stop it, or choose another path",
                    socket.display()
                )));
            }
            let lock = Lock { path: path.clone(), file };
            // whoever held it before may have removed the file in between; then this is a lock on nothing
            if lock.is_current() {
                return Ok(lock);
            }
        }
    }

    fn is_current(&self) -> bool {
        match (rustix::fs::fstat(&self.file), fs::symlink_metadata(&self.path)) {
            (Ok(held), Ok(there)) => (held.st_dev, held.st_ino) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_current() {
            let _ = fs::remove_file(&self.path); // an old lock file is harmless
        }
    }
}

/// The number of a user: given as such, or looked up by name as the system does.
fn uid(name: &str) -> Result<u32, BindError> {
    match name.parse() {
        Ok(number) => Ok(number),
        Err(_) => found(
            "user",
            name,
            nix::unistd::User::from_name(name).map(|user| user.map(|user| user.uid.as_raw())),
        ),
    }
}

/// The number of a group, likewise.
fn gid(name: &str) -> Result<u32, BindError> {
    match name.parse() {
        Ok(number) => Ok(number),
        Err(_) => found(
            "group",
            name,
            nix::unistd::Group::from_name(name).map(|group| group.map(|group| group.gid.as_raw())),
        ),
    }
}

fn found(kind: &str, name: &str, answer: nix::Result<Option<u32>>) -> Result<u32, BindError> {
    match answer {
        Ok(Some(number)) => Ok(number),
        Ok(None) => {
            Err(BindError(format!("there is no {kind} {name:?} on this machine: create it, or name another")))
        }
        Err(error) => Err(BindError(format!("the {kind} {name:?} can't be looked up: {error}"))),
    }
}
