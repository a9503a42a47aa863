//! `[[listener]]`: the local sockets.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    grant::{Grant, ListenerRule, is_name},
    history::SlowClient,
    terms::Terms,
};
use crate::config::{
    language::environment::Environment,
    reader::{
        Report, Section,
        values::{kind, quoted},
    },
};

/// The longest path that the kernel takes for a socket, in bytes: `sun_path` has 108, one of them its
/// final NUL (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// The longest `listener.linger`.
const MAX_LINGER: Duration = Duration::from_secs(1);

/// One `[[listener]]`: a local socket.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// `path`: absolute, at most [`MAX_SOCKET_PATH`] bytes. Default [`default_socket`].
    pub path: PathBuf,
    /// `mode`: the socket's permission bits. Default `0660`.
    pub mode: u32,
    /// `owner`: the user who owns the socket; a name or a number. Default: who runs the daemon.
    pub owner: Option<String>,
    /// `group`: the group that owns the socket; a name or a number. Default: the daemon's own.
    pub group: Option<String>,
    /// `format`. Default [`Format::Envelope`].
    pub format: Format,
    /// `rights`, `ops`, `topics`, `send_when`, `max_message` and `rate`: what its clients may do.
    pub grant: Grant,
    /// `[[listener.rule]]`: what some of them may do instead; the first that fits decides. At most 64.
    pub rules: Vec<ListenerRule>,
    /// `privileged`: whether root and the daemon's own user have every right here, whatever else is said of rights.
    /// Default true.
    pub privileged: bool,
    /// `max_clients`: at once; 1 to 1,000,000. Default 1024.
    pub max_clients: usize,
    /// `max_clients_per_user`: of one user, but root and who runs the daemon; 1 to 1,000,000. Default three
    /// quarters of `max_clients`: see [`Listener::max_of_a_user`].
    pub max_clients_per_user: Option<usize>,
    /// `max_line`: the longest line from a client, in bytes without its end; 64 bytes to 64 MiB.
    /// Default 1 MiB.
    pub max_line: usize,
    /// `answers`: whether its clients, and those of no listener without it, may answer the server's requests. Default
    /// false: where no listener has it, all may who may send.
    pub answers: bool,
    /// `slow_client`: what happens to its clients that are slow; not [`SlowClient::Block`]. Default: what
    /// `history.slow_client` says.
    pub slow_client: Option<SlowClient>,
    /// `linger`: its clients get what is new at most so late, in one write; up to 1 s. Default 0: at once.
    pub linger: Duration,
}

/// `listener.format`: how a client of this socket sees messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON lines of the local protocol.
    Envelope,
    /// The payload alone, a line each.
    Raw,
}

/// The socket of a listener without a path: `wsfan.sock` in the first directory of
/// `$RUNTIME_DIRECTORY`, else in `$XDG_RUNTIME_DIR`, else in `/run/wsfan`.
pub fn default_socket(environment: &Environment) -> PathBuf {
    ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"]
        .iter()
        .find_map(|name| environment.directory(name))
        .unwrap_or_else(|| "/run/wsfan".into())
        .join("wsfan.sock")
}

impl Listener {
    /// A listener at `path`, with the default for everything else.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            mode: 0o660,
            owner: None,
            group: None,
            format: Format::Envelope,
            grant: Grant::default(),
            rules: Vec::new(),
            privileged: true,
            max_clients: 1024,
            max_clients_per_user: None,
            max_line: 1 << 20,
            answers: false,
            slow_client: None,
            linger: Duration::ZERO,
        }
    }

    /// How many clients of one user there may be at once.
    pub fn max_of_a_user(&self) -> usize {
        self.max_clients_per_user.unwrap_or_else(|| (self.max_clients * 3).div_ceil(4))
    }

    /// All listeners of the file; one with every default if it has none.
    pub(in crate::config) fn read_all(
        root: &Section<'_>,
        report: &Report,
        environment: &Environment,
        terms: &Terms,
    ) -> Vec<Self> {
        let default = default_socket(environment);
        let Some(sections) = root.sections("listener") else {
            if let Err(why) = check_path(&default) {
                report.add(None, format!("listener[0].path, left out, {why}"));
            }
            return vec![Self::new(default)];
        };
        if sections.is_empty() {
            root.problem("listener", "is an empty list: leave it out for the default socket");
        }
        let mut listeners: Vec<Self> = Vec::new();
        let mut lines: Vec<usize> = Vec::new();
        for (at, section) in sections.into_iter().enumerate() {
            let line = section.item("path").map(|item| item.line).or(section.line).unwrap_or(1);
            let listener = Self::read(section, &default, terms);
            let same = listeners.iter().position(|earlier| earlier.path == listener.path);
            if let Some(same) = same {
                let path = listener.path.display();
                let other = lines[same];
                report.add(
                    Some(line),
                    format!(
                        "listener[{at}].path is {path}, the same as listener[{same}].path on line \
                         {other}: give each listener its own path"
                    ),
                );
            }
            listeners.push(listener);
            lines.push(line);
        }
        listeners
    }

    fn read(section: Section<'_>, default_path: &Path, terms: &Terms) -> Self {
        let default = Self::new(section.text("path").map_or(default_path, Path::new));
        if let Err(why) = check_path(&default.path) {
            section.problem("path", why);
        } else if let Some(item) =
            section.item("path").filter(|_| default.path.as_os_str().as_encoded_bytes().contains(&b'$'))
        {
            item.warning("has a `$` in it, but paths hold no variables: the socket has that very name");
        }
        let grant = Grant::read(&section, &default.grant);
        let formats = [("envelope", Format::Envelope), ("raw", Format::Raw)];
        let listener = Self {
            mode: read_mode(&section).unwrap_or(default.mode),
            owner: read_name(&section, "owner"),
            group: read_name(&section, "group"),
            format: section.one_of("format", &formats).unwrap_or(default.format),
            rules: ListenerRule::read_all(&section, &grant),
            grant,
            privileged: section.truth("privileged").unwrap_or(default.privileged),
            max_clients: section.integer("max_clients", 1..=1_000_000).unwrap_or(default.max_clients),
            max_clients_per_user: section.integer("max_clients_per_user", 1..=1_000_000),
            max_line: section.size("max_line", 64..=64 << 20).unwrap_or(default.max_line),
            answers: section.truth("answers").unwrap_or(default.answers),
            slow_client: SlowClient::read_of_listener(&section, terms),
            linger: section.duration("linger", Duration::ZERO..=MAX_LINGER).unwrap_or(default.linger),
            ..default
        };
        if listener.format == Format::Raw && listener.slow_client == Some(SlowClient::Latest) {
            section.problem(
                "slow_client",
                "is \"latest\", but the raw format has no line that says what is left out: take format = \"envelope\"",
            );
        }
        section.finish();
        listener
    }
}

/// What is wrong with a socket's path: the end of a sentence.
fn check_path(path: &Path) -> Result<(), String> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let shown = path.display();
    if bytes.is_empty() {
        return Err("is empty: write an absolute path, or leave it out".to_owned());
    }
    if bytes.contains(&0) {
        return Err("has a NUL character: take it out".to_owned());
    }
    if !path.is_absolute() {
        let shown = quoted(&shown.to_string());
        if bytes.starts_with(b"~") || bytes.contains(&b'$') {
            return Err(format!(
                "is {shown}, but paths hold no variables and no `~`: write it out, from `/` on"
            ));
        }
        return Err(format!("is the relative path {shown}: write one that starts with `/`"));
    }
    if bytes.ends_with(b"/") || path.file_name().is_none() {
        return Err(format!("is {shown}, a directory: add the socket's name"));
    }
    if bytes.len() > MAX_SOCKET_PATH {
        let len = bytes.len();
        return Err(format!(
            "is {len} bytes long, but a socket's path has at most {MAX_SOCKET_PATH}: write a shorter one"
        ));
    }
    Ok(())
}

fn read_mode(section: &Section<'_>) -> Option<u32> {
    let item = section.item("mode")?;
    let toml::de::DeValue::String(text) = item.value else {
        // As an integer, 660 would be decimal: something else altogether.
        let is = kind(item.value);
        item.problem(format_args!("is {is}: write octal digits in quotes, such as \"0660\""));
        return None;
    };
    let octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
    if mode.is_none() {
        let advice = "write the permission bits as octal digits, \"0000\" to \"0777\"";
        item.problem(format_args!("is {}: {advice}", quoted(text)));
    }
    mode
}

fn read_name(section: &Section<'_>, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    if !is_name(text) {
        let who = if key == "owner" { "user" } else { "group" };
        section.problem(
            key,
            format_args!("is {}: write a {who}'s name or number, or leave it out", quoted(text)),
        );
        return None;
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_socket_follows_the_surroundings() {
        let of = |variables: &[(&'static str, &'static str)]| {
            default_socket(&Environment::fixed(variables.iter().copied()))
        };
        let (runtime, xdg) = (("RUNTIME_DIRECTORY", "/run/a:/run/b"), ("XDG_RUNTIME_DIR", "/run/user/7"));
        assert_eq!(of(&[runtime, xdg]), Path::new("/run/a/wsfan.sock"));
        assert_eq!(of(&[xdg]), Path::new("/run/user/7/wsfan.sock"));
        assert_eq!(of(&[("RUNTIME_DIRECTORY", ""), xdg]), Path::new("/run/user/7/wsfan.sock"));
        assert_eq!(of(&[]), Path::new("/run/wsfan/wsfan.sock"));
    }

    #[test]
    fn the_longest_path() {
        let path = |len: usize| PathBuf::from(format!("/{}", "x".repeat(len - 1)));
        assert_eq!(check_path(&path(107)), Ok(()));
        assert!(check_path(&path(108)).is_err());
    }
}
