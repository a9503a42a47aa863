//! One placeholder of a template: `${credential:NAME}`, `${env:NAME}` or `${file:PATH}`.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path},
};

use super::{Surroundings, error::os_reason};

/// The largest file that a placeholder may name, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Linux's `O_NONBLOCK`, by asm-generic/fcntl.h, which all architectures have but MIPS and SPARC.
const O_NONBLOCK: i32 = 0o4000;

/// Where a part of a template comes from.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Placeholder {
    /// The file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// The environment variable of this name.
    Env(String),
    /// The file at this absolute path.
    File(String),
}

impl Placeholder {
    /// Reads what stands between `${` and `}`.
    pub(super) fn parse(inner: &str) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("`${{{inner}}}` {why}"));
        let Some((kind, name)) = inner.split_once(':') else {
            return refuse("has no kind: write `${env:NAME}`, `${credential:NAME}` or `${file:PATH}`");
        };
        let name = name.to_owned();
        match kind {
            "credential" | "env" | "file" if name.is_empty() => refuse("has no name after the colon"),
            _ if name.contains('\0') => refuse("has a NUL character in its name"),
            "credential" if !is_file_name(&name) => {
                refuse("names no credential: write a plain file name, without `/`")
            }
            "credential" => Ok(Self::Credential(name)),
            "env" if name.contains('=') => refuse("names no environment variable: take out the `=`"),
            "env" => Ok(Self::Env(name)),
            // A daemon's working directory is nobody's choice.
            "file" if !Path::new(&name).is_absolute() => {
                refuse("is a relative path: write one that starts with `/`")
            }
            "file" => Ok(Self::File(name)),
            _ => refuse("is of an unknown kind: the kinds are credential, env and file"),
        }
    }

    /// The present value, or what is wrong with it: the end of a sentence, never a value.
    pub(super) fn resolve(&self, surroundings: &Surroundings) -> Result<String, String> {
        let bytes = match self {
            Self::Env(name) => match surroundings.var(name) {
                Some(value) => value.into_encoded_bytes(),
                None => return Err("is not set in the environment".to_owned()),
            },
            Self::File(path) => read_file(Path::new(path))?,
            Self::Credential(name) => match surroundings.var("CREDENTIALS_DIRECTORY") {
                Some(directory) => read_file(&Path::new(&directory).join(name))?,
                None => {
                    return Err(format!(
                        "can't be read, since $CREDENTIALS_DIRECTORY is not set: \
                         add LoadCredential={name}:/path/to/file to the systemd unit"
                    ));
                }
            },
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
        }
    }
}

fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(only)) if only == name) && components.next().is_none()
}

/// Opens a file for reading; `None` if it isn't a regular one. Opening a pipe could wait for ever, so
/// this doesn't wait. It is the open file that is looked at: what the path names may change in between.
pub(super) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let cant = |error| format!("can't be read: {}", os_reason(&error));
    let file = open_regular(path).map_err(cant)?.ok_or("is not a regular file")?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(cant)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("is larger than 64KiB".to_owned());
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
        assert_eq!(result, Err("is not a regular file".to_owned()));
    }

    #[test]
    fn a_file_that_hides_its_size_is_read() {
        assert!(!read_file(Path::new("/proc/self/status")).unwrap().is_empty());
    }
}
