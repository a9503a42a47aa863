//! What goes wrong between a client and the daemon.

use std::{fmt, io, path::PathBuf};

use super::unreachable;
use crate::protocol::{Refusal, VERSION};

/// Why there is no connection to the daemon, or no answer. Shown, it is a sentence for the person who must act.
///
/// What the daemon said stands in it as it came: who shows it on a terminal escapes what could steer that.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The socket can't be connected to.
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The operating system starts no thread.
    NoThread(io::Error),
    /// The daemon accepts no connection.
    NotAccepted {
        /// The socket.
        path: PathBuf,
    },
    /// The connection was closed before a word.
    ClosedAtOnce {
        /// The socket.
        path: PathBuf,
    },
    /// Nothing greets: probably a listener with `format = "raw"`.
    NoGreeting {
        /// The socket.
        path: PathBuf,
    },
    /// The first line is not wsfan's.
    OtherGreeting {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon speaks another version of the protocol.
    OtherVersion {
        /// The socket.
        path: PathBuf,
        /// That version.
        version: u32,
    },
    /// The request is longer than the daemon takes.
    TooLong {
        /// The socket.
        path: PathBuf,
        /// The line's length in bytes.
        length: u64,
        /// The most that it takes.
        max: u64,
    },
    /// The deadline passed.
    Late {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon is gone, or its connection to us.
    Ended {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke.
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The daemon said bye before it answered.
    Bye {
        /// The socket.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The daemon refused the connection as a whole.
    Dismissed {
        /// The error's name, which is stable.
        code: String,
        /// Its sentence.
        message: String,
    },
    /// The daemon refused the request.
    Refused {
        /// The error's name, which is stable.
        code: String,
        /// Its sentence.
        message: String,
    },
}

impl Error {
    /// A request was refused.
    pub fn refused(refusal: &Refusal<'_>) -> Error {
        let (code, message) = told(refusal);
        Error::Refused { code, message }
    }

    pub(super) fn dismissed(refusal: &Refusal<'_>) -> Error {
        let (code, message) = told(refusal);
        Error::Dismissed { code, message }
    }
}

fn told(refusal: &Refusal<'_>) -> (String, String) {
    (refusal.code.name().to_owned(), refusal.message.clone().into_owned())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable { path, error } => f.write_str(&unreachable(path, error)),
            Error::NoThread(error) => write!(f, "no thread can be started: {}", reason(error)),
            Error::NotAccepted { path } => write!(
                f,
                "the daemon at {} accepts no connection: it hangs, or is stopped (look at its process)",
                path.display()
            ),
            Error::ClosedAtOnce { path } => {
                write!(f, "the daemon at {} closed the connection at once: its log says why", path.display())
            }
            Error::NoGreeting { path } => write!(
                f,
                "nothing greets at {}: this is probably a listener with format = \"raw\" (name an \
                 \"envelope\" one with --socket), or the daemon hangs",
                path.display()
            ),
            Error::OtherGreeting { path } => write!(
                f,
                "what listens at {} doesn't greet as wsfan does: name a listener with format = \
                 \"envelope\" with --socket (a raw one can be read with `nc -U`)",
                path.display()
            ),
            Error::OtherVersion { path, version } => write!(
                f,
                "the daemon at {} speaks version {version} of the protocol and this command version {VERSION}: use the \
                 `wsfan` that came with the daemon",
                path.display()
            ),
            Error::TooLong { path, length, max } => write!(
                f,
                "the message makes a line of {length} bytes and {} takes at most {max}: raise max_line of this \
                 listener in the config",
                path.display()
            ),
            Error::Late { path } => write!(
                f,
                "the daemon at {} gave no answer in time: try again, or raise --timeout",
                path.display()
            ),
            Error::Ended { path } => write!(
                f,
                "the daemon at {} ended the connection without a word: does it still run?",
                path.display()
            ),
            Error::Broken { path, error } => {
                write!(f, "the connection to {} broke: {}", path.display(), reason(error))
            }
            Error::Bye { path, why } => write!(
                f,
                "the daemon at {} said bye ({why}) before it answered: try again once it runs anew",
                path.display()
            ),
            Error::Dismissed { code, message } | Error::Refused { code, message } => {
                let name = if code.is_empty() { "error" } else { code };
                match message.is_empty() {
                    true => write!(f, "the daemon refused ({name})"),
                    false => write!(f, "{message} ({name})"),
                }
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unreachable { error, .. } | Error::NoThread(error) | Error::Broken { error, .. } => {
                Some(error)
            }
            _ => None,
        }
    }
}

/// The operating system's reason without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}
