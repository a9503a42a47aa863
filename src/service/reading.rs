//! The configuration is read again beside the daemon's one thread: a file, or a name of a user, may lead to a
//! server that doesn't answer.

use std::{
    future::pending,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, timeout_at},
};

use super::listeners::{Owners, owners};
use crate::config::{Config, Environment, Listener};

/// What takes longer counts as failed.
const LIMIT: Duration = Duration::from_secs(5);

/// So many threads may hang that nobody waits for any more.
const MAX_HUNG: usize = 16;

/// A new configuration, with what is to be known to apply it.
#[derive(Debug)]
pub(super) struct New {
    pub(super) config: Config,
    pub(super) owners: Owners,
}

/// Reads the configuration, once at a time.
#[derive(Debug)]
pub(super) struct Reading {
    path: Option<PathBuf>,
    environment: Environment,
    present: Option<Result<Thread, String>>,
    hung: Vec<JoinHandle<Result<New, String>>>,
}

#[derive(Debug)]
struct Thread {
    path: PathBuf,
    result: JoinHandle<Result<New, String>>,
    /// Whether the file is read, and what it names is looked up.
    is_read: Arc<AtomicBool>,
    deadline: Instant,
}

impl Reading {
    /// Of this file, where there is one.
    pub(super) fn of(path: Option<PathBuf>, environment: Environment) -> Reading {
        Reading { path, environment, present: None, hung: Vec::new() }
    }

    /// Whether [`Reading::done`] is to be waited for.
    pub(super) fn is_busy(&self) -> bool {
        self.present.is_some()
    }

    /// Begins to read. `listeners` are those in force.
    pub(super) fn begin(&mut self, listeners: Vec<Listener>) {
        self.hung.retain(|thread| !thread.is_finished());
        self.present = Some(match self.path.clone() {
            None => Err("there is no configuration file to reload".to_owned()),
            Some(path) if self.hung.len() >= MAX_HUNG => Err(format!(
                "{}: it isn't read, since {MAX_HUNG} readings of before still hang: restart the daemon, or see \
                 what they wait for",
                path.display()
            )),
            Some(path) => Ok(Thread::start(path, self.environment.clone(), listeners)),
        });
    }

    /// Waits until what was begun is read; for ever if nothing was. Cancel-safe.
    ///
    /// # Errors
    /// What is wrong, in sentences, a line each.
    pub(super) async fn done(&mut self) -> Result<New, String> {
        let result = match &mut self.present {
            None => return pending().await,
            Some(Err(error)) => Err(std::mem::take(error)),
            Some(Ok(thread)) => thread.done().await,
        };
        let thread = self.present.take().and_then(Result::ok);
        self.hung.extend(thread.map(|thread| thread.result).filter(|result| !result.is_finished()));
        result
    }
}

impl Thread {
    fn start(path: PathBuf, environment: Environment, listeners: Vec<Listener>) -> Thread {
        let is_read = Arc::new(AtomicBool::new(false));
        let (read, file) = (Arc::clone(&is_read), path.clone());
        let result = spawn_blocking(move || {
            let config = Config::load_in(&file, &environment).map_err(|error| error.to_string())?;
            read.store(true, Ordering::Relaxed);
            let owners = owners(&listeners, &config.listeners);
            Ok(New { config, owners })
        });
        Thread { path, result, is_read, deadline: Instant::now() + LIMIT }
    }

    async fn done(&mut self) -> Result<New, String> {
        let path = self.path.display();
        match timeout_at(self.deadline, &mut self.result).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(format!("{path}: it can't be read, which is a fault of wsfan: {error}")),
            Err(_) if self.is_read.load(Ordering::Relaxed) => Err(format!(
                "{path}: the users and groups that it names aren't found within {LIMIT:?}: see that what knows \
                 them answers (LDAP, sssd), or write their numbers"
            )),
            Err(_) => Err(format!(
                "{path}: it isn't read within {LIMIT:?}: see that it is a file, and that the disk or the server \
                 that it is on answers"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File, OpenOptions},
        path::Path,
        process::Command,
        sync::mpsc,
    };

    use tempfile::TempDir;
    use tokio::time::advance;

    use super::*;

    const CONFIG: &str = "[upstream]\nurl = \"ws://h/\"\n[[listener]]\npath = \"/s\"\ngroup = \"0\"\n";

    fn file() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wsfan.toml");
        fs::write(&path, CONFIG).unwrap();
        (directory, path)
    }

    fn of(path: Option<&Path>) -> Reading {
        Reading::of(path.map(Path::to_owned), Environment::fixed([]))
    }

    /// A file that is never read to its end, as long as what is returned lives.
    fn endless(path: &Path) -> File {
        fs::remove_file(path).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        OpenOptions::new().read(true).write(true).open(path).unwrap()
    }

    /// What comes of a reading when nothing more happens until its deadline.
    async fn late(reading: &mut Reading) -> String {
        let (result, ()) = tokio::join!(reading.done(), advance(LIMIT));
        result.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_nobody_answers_for_are_waited_for_so_long_and_no_longer() {
        let (_directory, path) = file();
        let (_never, answer) = mpsc::channel::<()>();
        let result = spawn_blocking(move || Err(format!("{:?}", answer.recv())));
        let deadline = Instant::now() + LIMIT;
        let thread = Thread { path: path.clone(), result, is_read: Arc::new(true.into()), deadline };
        let mut reading = of(Some(&path));
        reading.present = Some(Ok(thread));
        let error = late(&mut reading).await;
        assert!(error.contains("users and groups") && error.contains("wsfan.toml"), "{error}");

        assert!(!reading.is_busy());
        reading.begin(Vec::new());
        let new = reading.done().await.unwrap();
        assert_eq!(new.owners.keys().collect::<Vec<_>>(), [Path::new("/s")]);
        reading.begin(new.config.listeners);
        assert!(reading.done().await.unwrap().owners.is_empty(), "what stays isn't looked up");
    }

    #[tokio::test(start_paused = true)]
    async fn readings_that_hang_are_so_many_at_most_and_hinder_no_later_one() {
        let (_directory, path) = file();
        let mut reading = of(Some(&path));
        let held = endless(&path);
        for count in 1..=MAX_HUNG {
            reading.begin(Vec::new());
            let error = late(&mut reading).await;
            assert!(error.contains("isn't read within 5s"), "{error}");
            assert_eq!(reading.hung.len(), count);
        }
        reading.begin(Vec::new());
        let error = reading.done().await.unwrap_err();
        assert!(error.contains("16 readings of before still hang"), "{error}");

        fs::remove_file(&path).unwrap();
        fs::write(&path, CONFIG).unwrap();
        drop(held);
        for thread in reading.hung.drain(1..) {
            let _ = thread.await.unwrap(); // some may have come to the new file
        }
        reading.begin(Vec::new());
        reading.done().await.unwrap();
    }

    #[tokio::test]
    async fn without_a_file_there_is_nothing_to_read() {
        let mut reading = of(None);
        reading.begin(Vec::new());
        assert!(reading.done().await.unwrap_err().contains("no configuration file"));
        assert!(!reading.is_busy());
    }
}
