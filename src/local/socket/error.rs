//! Why a socket could not be bound.

use std::{fmt, io, path::Path};

/// Why a socket could not be bound, or not be given its owner or mode: a sentence that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BindError {
    sentence: String,
    may_pass: bool,
}

impl BindError {
    /// Somebody has to change something: the configuration, or this machine.
    pub(super) fn lasting(path: &Path, why: impl fmt::Display) -> BindError {
        BindError { sentence: format!("{}: {why}", path.display()), may_pass: false }
    }

    /// It may be over at the next try.
    pub(super) fn passing(path: &Path, why: impl fmt::Display) -> BindError {
        BindError { sentence: format!("{}: {why}", path.display()), may_pass: true }
    }

    /// What the operating system says, which tells whether that may be over at the next try.
    pub(super) fn system(path: &Path, what: &str, error: impl Into<io::Error>, advice: &str) -> BindError {
        let error = error.into();
        let lasts = matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::Unsupported
        );
        let sentence = format!("{}: {what}: {error}{advice}", path.display());
        BindError { sentence, may_pass: !lasts }
    }

    /// Whether the next try may succeed with nobody doing anything about it.
    pub(crate) fn may_pass(&self) -> bool {
        self.may_pass
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for BindError {}
