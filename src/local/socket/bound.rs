//! A socket that is bound: so that nobody can connect before its mode and owner are set, taken over only
//! from the dead, removed only by who bound it.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::PermissionsExt, net::UnixListener},
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid, chownat, flock, fstat},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with},
};

use super::{directory::Directory, error::BindError, names::Ids};
use crate::config::{self, MAX_SOCKET_PATH};

/// Connections that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A bound, listening socket. Dropping it removes the file, if the file is still this one.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// The socket's file itself, wherever a path may lead to by now.
    file: OwnedFd,
    /// Held for the socket's life: two daemons can't take over the same dead socket at once. Goes before the
    /// directory.
    _lock: Lock,
    directory: Rc<Directory>,
}

impl Bound {
    /// Binds a listener's socket, which is to be theirs.
    ///
    /// # Errors
    /// What stands in the way, in a sentence.
    pub(crate) fn bind(listener: &config::Listener, ids: Ids) -> Result<Bound, BindError> {
        let path = &listener.path;
        let fail = |what, error: Errno| BindError::system(path, what, error, "");
        let length = path.as_os_str().as_bytes().len();
        if length > MAX_SOCKET_PATH {
            return Err(BindError::lasting(
                path,
                format_args!(
                    "the path has {length} bytes, a socket's may have {MAX_SOCKET_PATH}: choose a shorter one"
                ),
            ));
        }
        let directory = Rc::new(Directory::of(path)?);
        let lock = Lock::take(path, &directory)?;
        clear(path, &directory)?;

        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|error| fail("no socket can be made", error))?;
        let address = SocketAddrUnix::new(path).map_err(|error| fail("not a path for a socket", error))?;
        bind(&socket, &address).map_err(|error| fail("the socket can't be bound", error))?;
        let file = directory
            .open(directory.name(), OFlags::PATH, Mode::empty())
            .and_then(|file| Ok((fstat(&file)?, file)));
        let file = match file {
            Ok((status, file)) if is_socket(&status) => file,
            Ok(_) => {
                return Err(BindError::lasting(path, "the socket was taken away as soon as it was bound"));
            }
            Err(error) => return Err(fail("the socket can't be seen", error)),
        };
        let bound = Bound { listener: socket.into(), path: path.clone(), file, _lock: lock, directory };
        // nobody can connect before listen(), so there is no moment with the wrong owner or mode. A umask would give the
        // mode from the begin, but to what other threads make meanwhile as well
        bound.chown(ids.owner, ids.group)?;
        bound.chmod(listener.mode)?;
        listen(&bound.listener, BACKLOG).map_err(|error| fail("the socket can't listen", error))?;
        Ok(bound)
    }

    /// The listening socket, non-blocking.
    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Gives the socket another mode, and, with `ids`, an owner and a group. On the way nobody may connect whom
    /// neither the old settings nor the new ones let.
    ///
    /// # Errors
    /// What stands in the way, in a sentence; then all is as before.
    pub(crate) fn change(&self, old_mode: u32, new_mode: u32, ids: Option<Ids>) -> Result<(), BindError> {
        if let Some(Ids { owner, group, members: _ }) = ids {
            let (own_user, own_group) = (rustix::process::geteuid(), rustix::process::getegid());
            let owner = owner.unwrap_or(own_user.as_raw());
            let group = group.unwrap_or(own_group.as_raw());
            self.chmod(old_mode & new_mode)?;
            if let Err(error) = self.chown(Some(owner), Some(group)) {
                self.chmod(old_mode)?;
                return Err(error);
            }
        } else if old_mode == new_mode {
            return Ok(());
        }
        self.chmod(new_mode)
    }

    fn chown(&self, owner: Option<u32>, group: Option<u32>) -> Result<(), BindError> {
        if owner.is_none() && group.is_none() {
            return Ok(());
        }
        let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
        chownat(&self.file, "", owner, group, AtFlags::EMPTY_PATH).map_err(|error| {
            let advice = ": to give it to a group, the daemon's user must be in that group";
            let advice = if error == Errno::PERM { advice } else { "" };
            BindError::system(&self.path, "the socket's owner can't be set", error, advice)
        })
    }

    fn chmod(&self, mode: u32) -> Result<(), BindError> {
        // such a descriptor takes no fchmod(2), and this name leads to the very file that it is of (proc(5))
        let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        fs::set_permissions(file, fs::Permissions::from_mode(mode))
            .map_err(|error| BindError::system(&self.path, "the socket's mode can't be set", error, ""))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let name = self.directory.name();
        let there = self.directory.look(name);
        let ours = matches!((fstat(&self.file), there), (Ok(held), Ok(there)) if is_same(&held, &there));
        if ours && let Err(error) = self.directory.remove(name) {
            tracing::warn!(path = %self.path.display(), %error, "the socket could not be removed");
        }
    }
}

fn is_socket(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Socket
}

fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// Removes a dead socket at `path`; refuses everything else that may be there.
fn clear(path: &Path, directory: &Directory) -> Result<(), BindError> {
    let status = match directory.look(directory.name()) {
        Ok(status) => status,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(BindError::system(path, "the path can't be looked at", error, "")),
    };
    if !is_socket(&status) {
        let why = "something that is not a socket is there: remove it, or choose another path";
        return Err(BindError::lasting(path, why));
    }
    match dial(path) {
        Err(Errno::CONNREFUSED) => match directory.remove(directory.name()) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "took over a socket that nobody listened on");
                Ok(())
            }
            Err(error) => Err(BindError::system(path, "the dead socket there can't be removed", error, "")),
        },
        Err(error) if error != Errno::AGAIN => {
            Err(BindError::system(path, "the socket there can't be tried", error, ""))
        }
        // connected, or a full queue of others who want to be
        Ok(_) | Err(_) => {
            let why = "another program listens on this socket: stop it, or choose another path";
            Err(BindError::passing(path, why))
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
    name: OsString,
    file: OwnedFd,
    directory: Rc<Directory>,
}

impl Lock {
    fn take(socket: &Path, directory: &Rc<Directory>) -> Result<Lock, BindError> {
        let mut name = directory.name().to_owned();
        name.push(".lock");
        loop {
            let file = directory
                .open(&name, OFlags::CREATE | OFlags::RDWR, Mode::RUSR | Mode::WUSR)
                .map_err(|error| {
                    let advice = ": set a `path` under [[listener]] where this user may write";
                    let what = format!("its lock {} can't be made", beside(socket, &name).display());
                    BindError::system(socket, &what, error, advice)
                })?;
            // where others may make files too, as in /tmp
            let owner = fstat(&file).map_or(u32::MAX, |status| status.st_uid);
            if owner != 0 && owner != super::own_uid() {
                // by number: to look up the name may take its time
                let lock = beside(socket, &name);
                let why = format!("its lock {} belongs to user {owner}: choose another path", lock.display());
                return Err(BindError::lasting(socket, why));
            }
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                let why = "another wsfan listens on this socket: stop it, or choose another path";
                return Err(BindError::passing(socket, why));
            }
            let lock = Lock { name: name.clone(), file, directory: directory.clone() };
            // whoever held it before may have removed the file in between; then this is a lock on nothing
            if lock.is_current() {
                return Ok(lock);
            }
        }
    }

    fn is_current(&self) -> bool {
        matches!(
            (fstat(&self.file), self.directory.look(&self.name)),
            (Ok(held), Ok(there)) if is_same(&held, &there)
        )
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_current() {
            let _ = self.directory.remove(&self.name); // an old lock file is harmless
        }
    }
}

fn beside(socket: &Path, name: &OsStr) -> PathBuf {
    socket.with_file_name(name)
}
