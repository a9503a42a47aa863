//! What stands in the way of a socket on this machine, without binding it.

use std::{fs, io, os::unix::fs::FileTypeExt, path::Path};

use rustix::fs::{Access, AtFlags, CWD, accessat, stat};

use super::{directory, names};
use crate::config;

/// What would keep the daemon from binding this listener's socket here, if this user ran it: a sentence each.
/// Nothing is changed. What depends on who runs the daemon isn't looked at for root, who runs it as somebody
/// else.
pub(crate) fn outlook(listener: &config::Listener) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(Err(why)) = listener.owner.as_deref().map(names::uid) {
        found.push(why.to_string());
    }
    if let Some(Err(why)) = listener.group.as_deref().map(names::gid) {
        found.push(why.to_string());
    }
    let rules = listener.rules.iter();
    found.extend(
        rules
            .clone()
            .flat_map(|rule| &rule.users)
            .filter_map(|name| names::uid(name).err())
            .map(|why| why.to_string()),
    );
    found.extend(
        rules
            .flat_map(|rule| &rule.groups)
            .filter_map(|name| names::gid(name).err())
            .map(|why| why.to_string()),
    );
    if let Some(directory) = listener.path.parent() {
        found.extend(of_directory(directory));
    }
    if fs::symlink_metadata(&listener.path).is_ok_and(|file| !file.file_type().is_socket()) {
        found.push("something that is not a socket is there: remove it, or choose another path".to_owned());
    }
    found.into_iter().map(|why| format!("{}: {why}", listener.path.display())).collect()
}

fn of_directory(path: &Path) -> Option<String> {
    let own_uid = super::own_uid();
    let shown = path.display();
    match stat(path) {
        Ok(status) if status.st_mode & 0o170_000 != 0o040_000 => Some(format!("{shown} is no directory")),
        Ok(status) => {
            // root asks for another user, who may well own it
            let user = if own_uid == 0 { status.st_uid } else { own_uid };
            let foreign = directory::foreign(&status, user).map(|why| format!("its directory {shown} {why}"));
            foreign.or_else(|| denied(path))
        }
        Err(error) => match path.parent() {
            Some(parent) if error == rustix::io::Errno::NOENT && parent.is_dir() => denied(parent),
            _ => Some(format!("its directory {shown} can't be had: {}", io::Error::from(error))),
        },
    }
}

fn denied(directory: &Path) -> Option<String> {
    let access = accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
    let user = names::user(super::own_uid());
    access.err().map(|_| {
        format!(
            "{user} may not write to {}: run the daemon as a user who may, or choose another path",
            directory.display()
        )
    })
}
