//! What to say when nobody is there.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use super::reason;

/// The sentence for a socket that can't be connected to.
pub(crate) fn unreachable(path: &Path, error: &io::Error) -> String {
    let start = "start it with `wsfan run`, or name another socket with --socket";
    let nobody = |why: &str| format!("no wsfan daemon answers at {} ({why}): {start}", path.display());
    let kind = fs::metadata(path).map(|metadata| metadata.file_type());
    match error.kind() {
        io::ErrorKind::PermissionDenied => denied(path),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => nobody("there is no such socket"),
        _ if kind.is_ok_and(|kind| !kind.is_socket()) => nobody("this is not a socket"),
        io::ErrorKind::ConnectionRefused => nobody("the socket is left over and nobody listens"),
        _ => nobody(&reason(error)),
    }
}

/// Who may, where we may not: the socket itself, or the directory that can't be entered.
fn denied(path: &Path) -> String {
    let closed = path.ancestors().find_map(|at| Some((at, fs::metadata(at).ok()?)));
    let Some((at, metadata)) = closed else {
        return format!("{} may not be opened by this user", path.display());
    };
    // to connect needs the right to write to a socket, to get there the one to enter a directory
    let (what, verb, needed) =
        if at == path { ("the socket", "opened", 0o020) } else { ("the directory", "entered", 0o010) };
    let user = name("/etc/passwd", metadata.uid());
    let group = name("/etc/group", metadata.gid());
    let advice = match metadata.mode() & needed {
        0 => format!("run this as {user}, or ask for a listener that others may use"),
        _ => format!("join the group {group}, or ask for a listener with another group or mode"),
    };
    format!(
        "{what} {} may not be {verb} by this user: it is for user {user}, group {group} (mode {:04o}); {advice}",
        at.display(),
        metadata.mode() & 0o7777,
    )
}

/// The name for a number in the system's files; the number itself if they don't know it.
fn name(file: &str, id: u32) -> String {
    let id = id.to_string();
    let text = fs::read_to_string(file).unwrap_or_default();
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    found.unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_missing_daemon_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("wsfan.sock");
        let text = unreachable(&missing, &io::ErrorKind::NotFound.into());
        assert!(text.starts_with(&format!("no wsfan daemon answers at {}", missing.display())), "{text}");
        assert!(text.contains("wsfan run") && text.contains("--socket"), "{text}");
        fs::write(&missing, "").unwrap();
        let text = unreachable(&missing, &io::ErrorKind::ConnectionRefused.into());
        assert!(text.contains("not a socket"), "{text}");
        for (mode, part) in [(0o660, "mode 0660"), (0o660, "join the group"), (0o640, "run this as")] {
            fs::set_permissions(&missing, fs::Permissions::from_mode(mode)).unwrap();
            let text = unreachable(&missing, &io::ErrorKind::PermissionDenied.into());
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn names_come_from_the_systems_files() {
        assert_eq!(name("/etc/passwd", 0), "root");
        assert_eq!(name("/etc/passwd", 4_000_000_000), "4000000000");
        assert_eq!(name("/nowhere", 7), "7");
    }
}
