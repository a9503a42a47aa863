//! The way to a daemon: which sockets are tried, and whether it is the daemon that was meant.

use std::{
    io,
    path::{self, Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    failure::{Failure, Outcome, note},
    format::clean,
    reply,
};
use crate::client::{Client, unreachable};

/// How long a daemon may take to say which config it runs.
const ANSWER: Duration = Duration::from_secs(10);

/// The pause before the first try after an end; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Pauses between tries, each twice as long as the one before.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Pause {
        Pause(FIRST_PAUSE)
    }
}

impl Pause {
    /// Waits.
    pub(super) fn take(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "there is no runtime here, and nothing else to do")]
        std::thread::sleep(self.0);
        self.0 = LONGEST_PAUSE.min(self.0 * 2);
    }

    /// Waits, at most until then.
    pub(super) fn take_until(&mut self, deadline: Instant) {
        self.0 = self.0.min(deadline.saturating_duration_since(Instant::now()));
        self.take();
    }

    /// Whether it has lasted: a restart is soon over.
    pub(super) fn lasts(&self) -> bool {
        self.0 == LONGEST_PAUSE
    }
}

/// The way to a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    socket: PathBuf,
    /// Tried where `socket` isn't there.
    or: Option<PathBuf>,
    /// The config file that the daemon must run.
    file: Option<PathBuf>,
}

impl Way {
    /// To this socket.
    pub(super) fn to(socket: PathBuf) -> Way {
        Way { socket, or: None, file: None }
    }

    /// Only to a daemon that runs this file, as far as it says.
    pub(super) fn running(self, file: PathBuf) -> Way {
        Way { file: Some(file), ..self }
    }

    /// Where nobody's socket is there, to that one.
    pub(super) fn or(self, or: Option<PathBuf>) -> Way {
        let or = or.filter(|or| *or != self.socket);
        Way { or, ..self }
    }

    /// The same, but only if the daemon there says that it runs the file.
    pub(super) fn or_if_it_runs_that(self, or: Option<PathBuf>) -> Way {
        debug_assert!(self.file.is_some(), "what else would it run?");
        self.or(or)
    }

    /// Connects, and waits for the greeting.
    pub(super) fn connect(&self) -> Outcome<Client> {
        let other = self.or.as_deref().filter(|or| !self.socket.exists() && or.exists());
        let Some(file) = &self.file else { return Ok(Client::connect(other.unwrap_or(&self.socket))?) };
        let socket = other.unwrap_or(&self.socket);
        loop {
            // a connection of its own, since entries may come before the answer
            let mut asked = match other {
                // nobody named this one, so that nobody hears of it
                Some(_) => Client::connect(socket).map_err(|_| {
                    Failure::failed(unreachable(&self.socket, &io::ErrorKind::NotFound.into()))
                })?,
                None => Client::connect(socket)?,
            };
            self.check(file, &mut asked, other.is_some())?;
            let client = Client::connect(socket)?;
            if client.hello.epoch == asked.hello.epoch {
                return Ok(client);
            }
        }
    }

    /// Whether the daemon runs `file`. One that doesn't say passes if it was `named`, with a note.
    fn check(&self, file: &Path, client: &mut Client, unnamed: bool) -> Outcome {
        let config = reply::status(client, &mut Vec::new(), Instant::now() + ANSWER)?.config;
        let (socket, file_shown) = (client.lines.path().display(), file.display());
        match config.file.as_deref() {
            Some(theirs) if is_same(file, theirs) => Ok(()),
            _ if unnamed => Err(Failure::failed(format!(
                "no wsfan daemon answers at {} (there is no such socket), and the one at {socket} doesn't run \
                 {file_shown}, but {}: start one with `wsfan run --config {file_shown}`, or name a socket with \
                 --socket",
                self.socket.display(),
                config.file.as_deref().map_or("says no file".into(), clean),
            ))),
            // one that says its server would say its file too
            theirs if theirs.is_some() || !config.upstream.is_empty() => Err(Failure::failed(format!(
                "the daemon at {socket} runs {}, for {}, and not {file_shown}: nothing was asked of it; name \
                 its own config with --config, or the socket of the daemon that is meant with --socket",
                theirs.map_or("no config file".into(), clean),
                clean(&config.upstream),
            ))),
            _ => {
                note(format!("the daemon at {socket} doesn't say which config it runs: is it {file_shown}?"));
                Ok(())
            }
        }
    }
}

/// Whether a daemon that runs `theirs` runs `ours`: by the name, or by where the name leads.
fn is_same(ours: &Path, theirs: &str) -> bool {
    let by_name = path::absolute(ours).is_ok_and(|ours| ours.to_string_lossy() == theirs);
    let leads_to = |path: &Path| path.canonicalize().ok();
    by_name || leads_to(ours).is_some_and(|ours| leads_to(Path::new(theirs)) == Some(ours))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_file_is_the_same_by_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link, other) = (dir.path().join("a"), dir.path().join("link"), dir.path().join("b"));
        fs::write(&file, "").unwrap();
        fs::write(&other, "").unwrap();
        symlink(&file, &link).unwrap();
        let name = |path: &Path| path.to_str().unwrap().to_owned();
        assert!(is_same(&file, &name(&file)) && is_same(&link, &name(&file)) && is_same(&file, &name(&link)));
        assert!(!is_same(&other, &name(&file)) && !is_same(&file, "") && !is_same(&file, "a"));
        // neither can be looked at
        assert!(is_same(Path::new("/nonexistent/a"), "/nonexistent/a"));
        assert!(!is_same(Path::new("/nonexistent/a"), "/nonexistent/b"));
    }

    #[test]
    fn there_is_no_other_way_to_the_same_socket() {
        let way = Way::to("/x".into());
        assert_eq!(way.clone().or(Some("/x".into())), way);
        assert_ne!(way.clone().or(Some("/y".into())), way);
    }
}
