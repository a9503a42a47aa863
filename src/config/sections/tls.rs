//! `upstream.tls`: trust and client certificate.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use crate::config::{
    language::placeholder::open_regular,
    reader::{Section, error::os_reason},
};

/// `upstream.tls`: files in PEM form, read afresh for each attempt. All unset by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// `ca_file`: roots to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// `cert_file`: the client certificate chain; goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// `key_file`: the client certificate's private key; goes with `cert_file`.
    pub key_file: Option<PathBuf>,
}

impl Tls {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        let before = section.problems();
        let tls = Self {
            ca_file: read_file(&section, "ca_file"),
            cert_file: read_file(&section, "cert_file"),
            key_file: read_file(&section, "key_file"),
        };
        if section.problems() == before {
            match (&tls.cert_file, &tls.key_file) {
                (Some(_), None) => section
                    .problem("cert_file", "is set without key_file: write the file of its private key too"),
                (None, Some(_)) => section
                    .problem("key_file", "is set without cert_file: write the file of its certificate too"),
                _ => {}
            }
        }
        section.finish();
        tls
    }
}

/// A file that is there and can be read; empty text means unset.
fn read_file(section: &Section<'_>, key: &'static str) -> Option<PathBuf> {
    let path = section.text(key).filter(|path| !path.is_empty())?;
    let refuse = |what: String| {
        section.problem(key, what);
        None
    };
    if !Path::new(path).is_absolute() {
        return refuse(format!("is the relative path {path:?}: write one that starts with `/`"));
    }
    match probe(Path::new(path)) {
        Ok(()) => Some(path.into()),
        Err(why) => refuse(format!("is {path:?}, which {why}: check the path and who may read it")),
    }
}

/// Whether a file is there and can be read.
///
/// # Errors
///
/// Why it can't: the end of a sentence.
pub(super) fn probe(path: &Path) -> Result<(), String> {
    let cant = |error| format!("can't be read ({})", os_reason(&error));
    let mut file = open_regular(path).map_err(cant)?.ok_or("is no regular file")?;
    file.read(&mut [0]).map_err(cant)?;
    Ok(())
}
