//! How a command ends when it doesn't end well.

use std::{
    fmt,
    io::{self, Write as _},
};

use tracing::Level;

use super::format::clean;
pub(super) use crate::client::reason;
use crate::{client, config::LoadError, protocol::Refusal, service::logging};

/// Wrong usage.
pub(super) const USAGE: u8 = 2;
/// Failed while running.
pub(super) const FAILED: u8 = 1;
/// What was asked may have happened, or may still.
pub(super) const UNSURE: u8 = 3;
/// The link is down, or was given up (`EX_UNAVAILABLE`).
pub(super) const UNAVAILABLE: u8 = 69;
/// The server didn't answer in time (as timeout(1) says it).
pub(super) const LATE: u8 = 124;
/// The config is bad (`EX_CONFIG`).
pub(super) const CONFIG: u8 = 78;

/// What each command comes to.
pub(super) type Outcome<T = ()> = Result<T, Failure>;

/// A sentence for the person, and an exit code for the script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    code: u8,
    sentence: String,
}

impl Failure {
    /// Failed while running.
    pub(super) fn failed(sentence: impl Into<String>) -> Failure {
        Failure { code: FAILED, sentence: sentence.into() }
    }

    /// Wrong usage that only shows while running.
    pub(super) fn usage(sentence: impl Into<String>) -> Failure {
        Failure { code: USAGE, sentence: sentence.into() }
    }

    /// The config is bad.
    pub(super) fn config(sentence: impl Into<String>) -> Failure {
        Failure { code: CONFIG, sentence: sentence.into() }
    }

    /// Any other code.
    pub(super) fn with_code(code: u8, sentence: impl Into<String>) -> Failure {
        Failure { code, sentence: sentence.into() }
    }

    /// Everything is said already; only the code is left to give.
    pub(super) fn silent(code: u8) -> Failure {
        Failure { code, sentence: String::new() }
    }

    pub(super) fn code(&self) -> u8 {
        self.code
    }

    pub(super) fn is_silent(&self) -> bool {
        self.sentence.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Says something beside the output, on stderr. Whether anybody hears it changes nothing.
pub(super) fn note(sentence: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "wsfan: {sentence}");
}

/// Says what failed, on stderr; in the journal as an error, each line of it.
pub(super) fn report(failure: &Failure) {
    let prefix = if logging::is_journal() { logging::prefix(Level::ERROR) } else { "" };
    for line in failure.to_string().lines() {
        let _ = writeln!(io::stderr().lock(), "{prefix}wsfan: {line}");
    }
}

/// What a write to stdout came to: whoever reads may have had enough (`| head`), and that is a good end.
pub(super) fn wrote(result: io::Result<()>) -> Outcome<Wrote> {
    match result {
        Ok(()) => Ok(Wrote::More),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Wrote::Enough),
        Err(error) => Err(Failure::failed(format!("stdout can't be written: {}", reason(&error)))),
    }
}

/// Whether the reader of stdout is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    More,
    Enough,
}

impl From<client::Error> for Failure {
    /// What the daemon said may stand in it.
    fn from(error: client::Error) -> Failure {
        Failure::failed(clean(&error.to_string()))
    }
}

/// An `error` line as the end of a sentence, with the error's name, which is stable.
pub(super) fn refusal(refusal: &Refusal<'_>) -> String {
    clean(&client::Error::refused(refusal).to_string()).into_owned()
}

/// What is wrong with a config file, and what to do where there is none.
pub(super) fn explain(error: &LoadError) -> String {
    match error {
        LoadError::Unreadable { path, reason } if reason.kind() == std::io::ErrorKind::NotFound => format!(
            "there is no config at {}: write one (two lines are enough: [upstream], and url = \"wss://…\" below it), name \
             another with --config, or see it work first with `wsfan demo`",
            path.display()
        ),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_a_good_end() {
        assert_eq!(wrote(Ok(())), Ok(Wrote::More));
        assert_eq!(wrote(Err(io::ErrorKind::BrokenPipe.into())), Ok(Wrote::Enough));
        let failure = wrote(Err(io::Error::from_raw_os_error(28))).unwrap_err();
        assert_eq!(failure.code(), FAILED);
        assert_eq!(failure.to_string(), "stdout can't be written: No space left on device");
    }
}
