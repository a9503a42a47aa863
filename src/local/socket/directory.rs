//! The directory of a socket, held open, so that what is looked at and what is changed are the same.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, fstat, open, openat, statat, unlinkat};

use super::error::BindError;

thread_local! {
    /// Directories that this process made, and removes again. One thread binds all sockets.
    static MADE: RefCell<BTreeSet<PathBuf>> = const { RefCell::new(BTreeSet::new()) };
}

/// A directory in which nobody else can put anything in a socket's place.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    /// The socket's name in it.
    name: OsString,
}

impl Directory {
    /// The directory of `socket`. One that is missing is made, if it is only that one: /run is empty after a
    /// boot. It goes again with what is in it.
    ///
    /// # Errors
    /// It can't be had, or somebody else may change what is in it.
    pub(super) fn of(socket: &Path) -> Result<Directory, BindError> {
        let (Some(path), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(BindError::lasting(socket, "this path names no file: add the socket's name"));
        };
        make(path).map_err(|error| {
            let what = "its directory isn't there and can't be made";
            BindError::system(socket, what, error, ": make it, or set another `path` under [[listener]]")
        })?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty()).map(|fd| Directory { fd, name: name.to_owned() });
        let directory = directory.map_err(|error| {
            remove_made();
            BindError::system(socket, "its directory can't be opened", error, "")
        })?;
        let status = fstat(&directory.fd)
            .map_err(|error| BindError::system(socket, "its directory can't be looked at", error, ""))?;
        match foreign(&status, super::own_uid()) {
            Some(why) => {
                Err(BindError::lasting(socket, format_args!("its directory {} {why}", path.display())))
            }
            None => Ok(directory),
        }
    }

    /// The socket's name.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Opens a file in it, never through a link.
    pub(super) fn open(&self, name: &OsStr, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        openat(&self.fd, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)
    }

    /// Looks at a file in it, never through a link.
    pub(super) fn look(&self, name: &OsStr) -> rustix::io::Result<Stat> {
        statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Removes a file in it.
    pub(super) fn remove(&self, name: &OsStr) -> rustix::io::Result<()> {
        unlinkat(&self.fd, name, AtFlags::empty())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        remove_made();
    }
}

/// Why others could put something in the place of what is in the directory, the end of a sentence. `own_uid`
/// is the daemon's user.
pub(super) fn foreign(directory: &Stat, own_uid: u32) -> Option<String> {
    let mode = directory.st_mode & 0o7777;
    let advice = "or set another `path` under [[listener]]";
    if directory.st_uid != 0 && directory.st_uid != own_uid {
        // by number: to look up the names may take its time
        let owner = directory.st_uid;
        return Some(format!(
            "belongs to user {owner}, who could put another socket in its place: give it to user {own_uid} or to \
             root, {advice}"
        ));
    }
    // with the sticky bit, only its owner moves or removes a file (inode(7))
    (others_may_write(mode) && mode & 0o1000 == 0).then(|| {
        format!(
            "may be written to by others (mode {mode:04o}), who could put another socket in its place: take \
             that away with `chmod go-w`, {advice}"
        )
    })
}

fn others_may_write(mode: u32) -> bool {
    mode & 0o022 != 0
}

fn make(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => {
            MADE.with_borrow_mut(|made| made.insert(path.to_owned()));
            Ok(())
        }
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the directories that this process made and in which there is nothing any more, inner ones first.
fn remove_made() {
    MADE.with_borrow_mut(|made| {
        for path in made.clone().iter().rev() {
            if unlinkat(CWD, path, AtFlags::REMOVEDIR).is_ok() {
                made.remove(path);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_the_daemons_or_roots_and_nobody_elses() {
        let own = 1000;
        let look = |uid, mode| {
            let mut status = rustix::fs::stat("/").unwrap();
            (status.st_uid, status.st_mode) = (uid, 0o040_000_u32 | mode);
            foreign(&status, own)
        };
        for (uid, mode, word) in [
            (own, 0o700, None),
            (own, 0o755, None),
            (0, 0o755, None),
            (0, 0o1777, None), // as /tmp
            (own, 0o1775, None),
            (1001, 0o755, Some("belongs to")),
            (1001, 0o1777, Some("belongs to")),
            (own, 0o775, Some("mode 0775")),
            (own, 0o757, Some("mode 0757")),
            (0, 0o777, Some("mode 0777")),
        ] {
            let said = look(uid, mode);
            assert_eq!(said.is_some(), word.is_some(), "{uid} {mode:o}: {said:?}");
            assert!(said.unwrap_or_default().contains(word.unwrap_or_default()), "{uid} {mode:o}");
        }
    }
}
