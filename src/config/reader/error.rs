//! What is wrong with a configuration, in sentences for the person who must act.

use std::{
    error, fmt, io,
    path::{Path, PathBuf},
};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line that it is on, counted from 1; none for what is missing altogether.
    pub line: Option<usize>,
    /// One sentence that names the key, what is wrong, and what to do.
    pub sentence: String,
}

/// All that is wrong with a configuration's text, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub(in crate::config) Vec<Problem>);

impl Invalid {
    /// Each problem, in the order of the lines.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

/// One problem per line: `line 12: …`.
impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.iter().map(|Problem { line, sentence }| match line {
            Some(line) => format!("line {line}: {sentence}"),
            None => sentence.clone(),
        });
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

impl error::Error for Invalid {}

/// Why a configuration file can't be used.
#[derive(Debug)]
pub enum LoadError {
    /// It can't be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        reason: io::Error,
    },
    /// It can be read, and something in it is wrong.
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        invalid: Invalid,
    },
}

impl LoadError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. } | Self::Invalid { path, .. } => path,
        }
    }
}

/// One problem per line: `wsfan.toml:12: …`.
impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            Self::Unreadable { reason, .. } => {
                write!(f, "{path}: the file can't be read: {}", os_reason(reason))
            }
            Self::Invalid { invalid, .. } => {
                let lines = invalid.0.iter().map(|Problem { line, sentence }| match line {
                    Some(line) => format!("{path}:{line}: {sentence}"),
                    None => format!("{path}: {sentence}"),
                });
                f.write_str(&lines.collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

impl error::Error for LoadError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Unreadable { reason, .. } => Some(reason),
            Self::Invalid { .. } => None,
        }
    }
}

/// The operating system's reason without its number, which helps nobody.
pub(in crate::config) fn os_reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}
