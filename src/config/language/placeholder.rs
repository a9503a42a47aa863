//! One placeholder of a template, such as `${env:NAME}` or `${capture:NAME}`.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path},
};

use super::{environment::Environment, pointer::Pointer};
use crate::config::reader::error::os_reason;

/// The largest file that a placeholder may name, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Linux's `O_NONBLOCK`, by asm-generic/fcntl.h, which all architectures have but MIPS and SPARC.
const O_NONBLOCK: i32 = 0o4000;

/// The kinds that have a name, for errors.
const KINDS: &str = "credential, env, file, command, var, derived, capture, last, field, topic and hole";
/// The kinds that have none.
const BARE_KINDS: &str =
    "now_ms, now_s, uuid, connection_id, next_id, topic, topics, payload, key and subscribed_id";

/// Where a part of a template comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placeholder {
    /// The file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// The environment variable of this name.
    Env(String),
    /// The file at this absolute path.
    File(String),
    /// What the command of this name prints, trimmed; with a pointer, the JSON value there.
    Command(String, Option<Pointer>),
    /// The value of this name in `[vars]`.
    Var(String),
    /// What `[derived.NAME]` makes of others.
    Derived(String),
    /// What was captured by this name.
    Capture(String),
    /// The last value that was heard at this pointer.
    Last(Pointer),
    /// The value at this pointer of the message that is answered.
    Field(Pointer),
    /// Milliseconds since the Unix epoch, and so many more.
    NowMs(i64),
    /// Seconds since the Unix epoch, and so many more.
    NowS(i64),
    /// A random UUID (RFC 9562, version 4), the same within one message, or within one attempt.
    Uuid,
    /// A random UUID that is the same for the whole of one connection.
    ConnectionId,
    /// A number that is 1 for the first use on a connection, and grows by 1 with each.
    NextId,
    /// The topic that is subscribed to; with a number, from 1 to 9, its part between dots.
    Topic(Option<u8>),
    /// All topics that a message is about, as a list without brackets.
    Topics,
    /// The JSON that a client gave with a topic.
    Payload,
    /// What the messages of a stream carry: see `requests.stream.cancel`.
    Key,
    /// The id of the message by which a topic was subscribed to.
    SubscribedId,
    /// The first number that is missing, where the server's count has a hole.
    HoleFrom,
    /// The last one.
    HoleTo,
}

impl Placeholder {
    /// Reads what stands between `${` and `}`.
    pub(in crate::config) fn parse(inner: &str) -> Result<Self, String> {
        let read = match inner.split_once(':') {
            Some((kind, name)) => Self::named(kind, name),
            None => Self::bare(inner).map_err(str::to_owned),
        };
        read.map_err(|why| format!("`${{{inner}}}` {why}"))
    }

    /// One that is its kind alone.
    fn bare(kind: &str) -> Result<Self, &'static str> {
        match kind {
            "uuid" => Ok(Self::Uuid),
            "connection_id" => Ok(Self::ConnectionId),
            "next_id" => Ok(Self::NextId),
            "topic" => Ok(Self::Topic(None)),
            "topics" => Ok(Self::Topics),
            "payload" => Ok(Self::Payload),
            "key" => Ok(Self::Key),
            "subscribed_id" => Ok(Self::SubscribedId),
            _ if kind.starts_with("now_") => now(kind)
                .ok_or("is no time: write such as `${now_ms}` or `${now_s+60}`, at most ten years off"),
            _ => Err("has no kind: write such as `${env:NAME}`, `${credential:NAME}` or `${file:PATH}`"),
        }
    }

    /// One with a colon, and what stands behind it.
    fn named(kind: &str, name: &str) -> Result<Self, String> {
        let refuse = |why: &str| Err(why.to_owned());
        let owned = || name.to_owned();
        match kind {
            "hole" => match name {
                "from" => Ok(Self::HoleFrom),
                "to" => Ok(Self::HoleTo),
                _ => refuse("is no end of a hole: write `${hole:from}` or `${hole:to}`"),
            },
            "last" => Pointer::parse(name).map(Self::Last),
            "field" => Pointer::parse(name).map(Self::Field),
            "topic" => match name.as_bytes() {
                [digit @ b'1'..=b'9'] => Ok(Self::Topic(Some(digit - b'0'))),
                _ => refuse("names no part of a topic: they are counted from 1 to 9"),
            },
            "credential" | "env" | "file" | "command" | "var" | "derived" | "capture" if name.is_empty() => {
                refuse("has no name after the colon")
            }
            _ if name.contains('\0') => refuse("has a NUL character in its name"),
            "credential" if !is_file_name(name) => {
                refuse("names no credential: write a plain file name, without `/`")
            }
            "credential" => Ok(Self::Credential(owned())),
            "env" if name.contains('=') => refuse("names no environment variable: take out the `=`"),
            "env" => Ok(Self::Env(owned())),
            // A daemon's working directory is nobody's choice.
            "file" if name.starts_with(['~', '$']) => refuse(
                "begins with what only a shell knows, and paths hold no variables: write one that starts with `/`",
            ),
            "file" if !Path::new(name).is_absolute() => {
                refuse("is a relative path: write one that starts with `/`")
            }
            "file" => Ok(Self::File(owned())),
            "command" => match name.find('/') {
                Some(at) => Ok(Self::Command(name[..at].to_owned(), Some(Pointer::parse(&name[at..])?))),
                None => Ok(Self::Command(owned(), None)),
            },
            "var" => Ok(Self::Var(owned())),
            "derived" => Ok(Self::Derived(owned())),
            "capture" => Ok(Self::Capture(owned())),
            "now_ms" | "now_s" | "uuid" | "connection_id" | "next_id" | "topics" | "payload" | "key"
            | "subscribed_id" => refuse("has a name, but needs none: take out the colon"),
            _ => {
                Err(format!("is of an unknown kind: the kinds are {KINDS}, and without a name {BARE_KINDS}"))
            }
        }
    }

    /// Whether it is resolved once for each attempt, with its secrets and commands; the others have
    /// another value at each use.
    pub fn is_of_attempt(&self) -> bool {
        matches!(self, Self::Credential(_) | Self::Env(_) | Self::File(_) | Self::Command(..) | Self::Var(_))
    }

    /// The present value of a credential, an environment variable or a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or that it is of another kind: the end of a sentence, never a value.
    pub fn read(&self, environment: &Environment) -> Result<String, String> {
        let bytes = match self {
            Self::Env(name) => {
                match environment.var(name) {
                    Some(value) => value.into_encoded_bytes(),
                    None => {
                        return Err("is not set in the environment: set it where wsfan runs, in a unit by `Environment=`"
                        .to_owned());
                    }
                }
            }
            Self::File(path) => read_file(Path::new(path))
                .map_err(|why| absent(why, "write it there, or correct the path"))?,
            Self::Credential(name) => match environment.var("CREDENTIALS_DIRECTORY") {
                Some(directory) => {
                    let advice = format!("add LoadCredential={name}:/path/to/file to the systemd unit");
                    read_file(&Path::new(&directory).join(name)).map_err(|why| absent(why, &advice))?
                }
                None => {
                    return Err(format!(
                        "can't be read, since $CREDENTIALS_DIRECTORY is not set: \
                         add LoadCredential={name}:/path/to/file to the systemd unit"
                    ));
                }
            },
            _ => return Err("has no value here".to_owned()),
        };
        let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
        match text.trim_end_matches(['\r', '\n']) {
            // An empty token would only be refused by the server, with a less clear reason.
            "" => Err("is empty".to_owned()),
            trimmed => Ok(trimmed.to_owned()),
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "${{credential:{name}}}"),
            Self::Env(name) => write!(f, "${{env:{name}}}"),
            Self::File(path) => write!(f, "${{file:{path}}}"),
            Self::Command(name, None) => write!(f, "${{command:{name}}}"),
            Self::Command(name, Some(pointer)) => write!(f, "${{command:{name}{pointer}}}"),
            Self::Var(name) => write!(f, "${{var:{name}}}"),
            Self::Derived(name) => write!(f, "${{derived:{name}}}"),
            Self::Capture(name) => write!(f, "${{capture:{name}}}"),
            Self::Last(pointer) => write!(f, "${{last:{pointer}}}"),
            Self::Field(pointer) => write!(f, "${{field:{pointer}}}"),
            Self::NowMs(0) => f.write_str("${now_ms}"),
            Self::NowMs(off) => write!(f, "${{now_ms{off:+}}}"),
            Self::NowS(0) => f.write_str("${now_s}"),
            Self::NowS(off) => write!(f, "${{now_s{off:+}}}"),
            Self::Uuid => f.write_str("${uuid}"),
            Self::ConnectionId => f.write_str("${connection_id}"),
            Self::NextId => f.write_str("${next_id}"),
            Self::Topic(None) => f.write_str("${topic}"),
            Self::Topic(Some(part)) => write!(f, "${{topic:{part}}}"),
            Self::Topics => f.write_str("${topics}"),
            Self::Payload => f.write_str("${payload}"),
            Self::Key => f.write_str("${key}"),
            Self::SubscribedId => f.write_str("${subscribed_id}"),
            Self::HoleFrom => f.write_str("${hole:from}"),
            Self::HoleTo => f.write_str("${hole:to}"),
        }
    }
}

/// A time, with what is added to it.
fn now(inner: &str) -> Option<Placeholder> {
    const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 60 * 60 * 1000;
    let offset = |rest: &str, most: i64| match rest {
        "" => Some(0),
        _ if !rest.starts_with(['+', '-']) => None,
        rest => rest.parse::<i64>().ok().filter(|offset| offset.abs() <= most),
    };
    match (inner.strip_prefix("now_ms"), inner.strip_prefix("now_s")) {
        (Some(rest), _) => offset(rest, TEN_YEARS_MS).map(Placeholder::NowMs),
        (_, Some(rest)) => offset(rest, TEN_YEARS_MS / 1000).map(Placeholder::NowS),
        _ => None,
    }
}

/// Why a file can't be read; where there is none, with what to do.
fn absent(why: Unread, advice: &str) -> String {
    match why {
        Unread::Absent => format!("can't be read: there is no such file: {advice}"),
        Unread::Other(why) => why,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Unread {
    Absent,
    Other(String),
}

fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(only)) if only == name) && components.next().is_none()
}

/// Opens a file for reading; `None` if it isn't a regular one. Opening a pipe could wait for ever, so
/// this doesn't wait. It is the open file that is looked at: what the path names may change in between.
pub(in crate::config) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Unread> {
    let cant = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Absent,
        _ => Unread::Other(format!("can't be read: {}", os_reason(&error))),
    };
    let irregular = || Unread::Other("is not a regular file".to_owned());
    let file = open_regular(path).map_err(cant)?.ok_or_else(irregular)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cant)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Unread::Other("is larger than 64KiB".to_owned()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

    use super::*;

    #[test]
    fn the_flag_is_the_systems() {
        assert_eq!(O_NONBLOCK as u32, OFlags::NONBLOCK.bits());
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let (sender, result) = mpsc::channel();
        // a thread, which a failure leaves behind: the test must not wait for ever with it
        thread::spawn(move || sender.send(read_file(&path)));
        let result = result.recv_timeout(Duration::from_secs(10)).expect("it doesn't wait for the writer");
        assert_eq!(result, Err(Unread::Other("is not a regular file".to_owned())));
    }

    #[test]
    fn what_is_not_there_says_what_to_do() {
        let read = |inner: &str, environment: &[(&'static str, &'static str)]| {
            let environment = Environment::fixed(environment.iter().copied());
            Placeholder::parse(inner).unwrap().read(&environment).unwrap_err()
        };
        let file = read("file:/nowhere/at/all", &[]);
        assert_eq!(file, "can't be read: there is no such file: write it there, or correct the path");
        let credential = read("credential:t", &[("CREDENTIALS_DIRECTORY", "/nowhere/at/all")]);
        assert!(credential.contains("LoadCredential=t:"), "{credential}");
        let variable = read("env:T", &[]);
        assert!(variable.contains("`Environment=`"), "{variable}");
        for path in ["~/token", "$HOME/token"] {
            let why = Placeholder::parse(&format!("file:{path}")).unwrap_err();
            assert!(why.contains("paths hold no variables"), "{why}");
        }
    }

    #[test]
    fn a_file_that_hides_its_size_is_read() {
        assert!(!read_file(Path::new("/proc/self/status")).unwrap().is_empty());
    }
}
