//! Which socket a client command talks to, and what to say when nobody is there.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::config::{Config, Format, Listener, Surroundings};

use super::{
    failure::{Failure, Outcome, note},
    run::explain,
};

/// The daemon's config, unless another is named.
pub(super) const CONFIG: &str = "/etc/wsfan/wsfan.toml";
/// Where a daemon that systemd started has its socket, unless configured.
const SYSTEM_SOCKET: &str = "/run/wsfan/wsfan.sock";

/// How every client command is told where the daemon is.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Target {
    /// Find the socket in this config file [default: /etc/wsfan/wsfan.toml, if there]
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
    /// The daemon's socket [default: $WSFAN_SOCKET, else what the config names]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// The right that a command needs; it prefers a listener that gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    Receive,
    Send,
    Control,
}

impl Target {
    /// The sockets to try, the best first. Never empty.
    pub(super) fn sockets(&self, need: Need) -> Outcome<Vec<PathBuf>> {
        let (sockets, warning) = self.sockets_in(need, &Surroundings::process(), Path::new(CONFIG))?;
        if let Some(warning) = warning {
            note(warning);
        }
        Ok(sockets)
    }

    /// Whether the config that was named can't be used.
    pub(super) fn names_a_bad_config(&self) -> bool {
        self.config.as_ref().is_some_and(|file| Config::load(file).is_err())
    }

    /// The same, with the process's surroundings and the path of the daemon's config given; and what
    /// to warn of.
    fn sockets_in(
        &self,
        need: Need,
        surroundings: &Surroundings,
        config: &Path,
    ) -> Outcome<(Vec<PathBuf>, Option<String>)> {
        if let Some(socket) = &self.socket {
            return Ok((vec![socket.clone()], None));
        }
        if let Some(file) = &self.config {
            return Ok((from_config(&load(file)?, file, need, surroundings)?, None));
        }
        if let Some(socket) = surroundings.var("WSFAN_SOCKET").filter(|socket| !socket.is_empty()) {
            return Ok((vec![socket.into()], None));
        }
        let mut warning = None;
        if fs::File::open(config).is_ok() {
            match Config::load(config) {
                Ok(loaded) => return Ok((from_config(&loaded, config, need, surroundings)?, None)),
                // nobody named it, and a daemon that refused it may well be running: to see that is what
                // `status` is for
                Err(_) => {
                    warning = Some(format!(
                        "{0} is bad, and the default socket is tried: see `wsfan check --config {0}`, or name \
                         the daemon's socket with --socket",
                        config.display()
                    ));
                }
            }
        }
        Ok((with_system(Config::default_socket(surroundings)), warning))
    }
}

fn load(file: &Path) -> Outcome<Config> {
    Config::load(file).map_err(|error| {
        let error = explain(&error);
        Failure::config(format!("{error}\nwsfan: mend the config, or name the daemon's socket with --socket"))
    })
}

fn from_config(
    config: &Config,
    file: &Path,
    need: Need,
    surroundings: &Surroundings,
) -> Outcome<Vec<PathBuf>> {
    let listener = best(&config.listeners, need).ok_or_else(|| {
        Failure::config(format!(
            "{} has no listener with format = \"envelope\", which this command needs: add one",
            file.display()
        ))
    })?;
    // a path that was left out depends on who runs the daemon, which may not be us
    match listener.path == Config::default_socket(surroundings) {
        true => Ok(with_system(listener.path.clone())),
        false => Ok(vec![listener.path.clone()]),
    }
}

fn with_system(default: PathBuf) -> Vec<PathBuf> {
    let system = PathBuf::from(SYSTEM_SOCKET);
    if default == system { vec![system] } else { vec![default, system] }
}

/// The first envelope listener with the right, else the first envelope listener: root and the daemon's
/// own user have every right on each.
fn best(listeners: &[Listener], need: Need) -> Option<&Listener> {
    let mut envelopes = listeners.iter().filter(|listener| listener.format == Format::Envelope).peekable();
    let first = envelopes.peek().copied();
    envelopes
        .find(|listener| match need {
            Need::Nothing => true,
            Need::Receive => listener.rights.receive,
            Need::Send => listener.rights.send,
            Need::Control => listener.rights.control,
        })
        .or(first)
}

/// The first socket that exists, else the first.
pub(super) fn present(sockets: &[PathBuf]) -> &Path {
    let there = sockets.iter().find(|path| path.exists());
    there.unwrap_or_else(|| sockets.first().expect("there is always one to try"))
}

/// The sentence for a socket that can't be connected to.
pub(super) fn unreachable(path: &Path, error: &io::Error) -> String {
    let start = "start it with `wsfan run`, or name another socket with --socket";
    let nobody = |why: &str| format!("no wsfan daemon answers at {} ({why}): {start}", path.display());
    let kind = fs::metadata(path).map(|metadata| metadata.file_type());
    match error.kind() {
        io::ErrorKind::PermissionDenied => denied(path),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => nobody("there is no such socket"),
        _ if kind.is_ok_and(|kind| !kind.is_socket()) => nobody("this is not a socket"),
        io::ErrorKind::ConnectionRefused => nobody("the socket is left over and nobody listens"),
        _ => nobody(&super::failure::reason(error)),
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
    use crate::{cli::failure::CONFIG as CONFIG_IS_BAD, config::Rights};

    fn listener(path: &str, format: Format, rights: &str) -> Listener {
        Listener {
            path: path.into(),
            mode: 0o660,
            owner: None,
            group: None,
            format,
            rights: Rights {
                receive: rights.contains('r'),
                send: rights.contains('s'),
                control: rights.contains('c'),
            },
            max_clients: 1,
            max_line: 1,
        }
    }

    #[test]
    fn the_listener_with_the_right_is_preferred() {
        let listeners = [
            listener("/raw", Format::Raw, "rsc"),
            listener("/read", Format::Envelope, "r"),
            listener("/send", Format::Envelope, "s"),
        ];
        let path = |need| best(&listeners, need).unwrap().path.to_str().unwrap();
        assert_eq!(path(Need::Nothing), "/read");
        assert_eq!(path(Need::Receive), "/read");
        assert_eq!(path(Need::Send), "/send");
        assert_eq!(path(Need::Control), "/read");
        assert_eq!(best(&listeners[..1], Need::Nothing), None);
    }

    #[test]
    fn a_bad_config_stops_only_who_named_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("wsfan.toml");
        let runtime = Surroundings::fixed([("XDG_RUNTIME_DIR", "/run/user/7")]);
        let default = with_system("/run/user/7/wsfan.sock".into());
        let found = |target: &Target| target.sockets_in(Need::Nothing, &runtime, &file);
        let unnamed = Target::default();
        let named = Target { config: Some(file.clone()), ..Target::default() };

        assert_eq!(found(&unnamed), Ok((default.clone(), None)), "there is none");
        assert_eq!(found(&named).unwrap_err().code(), CONFIG_IS_BAD);

        for bad in ["[upstream]\nurl = 7\n[outbox]\nttl = 7\n", "no TOML", "\u{0}"] {
            fs::write(&file, bad).unwrap();
            let (sockets, warning) = found(&unnamed).unwrap();
            assert_eq!(sockets, default);
            let warning = warning.unwrap();
            assert!(!warning.contains('\n') && warning.contains("wsfan check --config /"), "{warning}");
            assert_eq!(found(&named).unwrap_err().code(), CONFIG_IS_BAD);
        }

        let upstream = "[upstream]\nurl = \"ws://a/\"\n";
        fs::write(&file, format!("{upstream}[[listener]]\npath = \"/a\"\n")).unwrap();
        for target in [&unnamed, &named] {
            assert_eq!(found(target), Ok((vec!["/a".into()], None)));
        }
        // right, but of no use: the default socket isn't the daemon's either
        fs::write(&file, format!("{upstream}[[listener]]\nformat = \"raw\"\n")).unwrap();
        assert_eq!(found(&unnamed).unwrap_err().code(), CONFIG_IS_BAD);
    }

    #[test]
    fn the_environment_goes_before_the_daemons_config() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("wsfan.toml");
        fs::write(&file, "bad").unwrap();
        let surroundings = Surroundings::fixed([("WSFAN_SOCKET", "/env")]);
        let found = |target: Target| target.sockets_in(Need::Nothing, &surroundings, &file);
        assert_eq!(found(Target::default()), Ok((vec!["/env".into()], None)));
        let socket = Target { socket: Some("/s".into()), ..Target::default() };
        assert_eq!(found(socket), Ok((vec!["/s".into()], None)));
    }

    #[test]
    fn the_socket_that_exists_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let sockets = [first.clone(), second.clone()];
        assert_eq!(present(&sockets), first);
        fs::write(&second, "").unwrap();
        assert_eq!(present(&sockets), second);
    }

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

    #[test]
    fn the_systems_socket_is_tried_too() {
        assert_eq!(with_system(SYSTEM_SOCKET.into()), [PathBuf::from(SYSTEM_SOCKET)]);
        assert_eq!(with_system("/x".into()), [PathBuf::from("/x"), SYSTEM_SOCKET.into()]);
    }
}
