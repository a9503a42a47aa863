use std::{
    fs,
    io::{self, BufRead, BufReader},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{Client, DEADLINE};

/// The real daemon, in a directory of its own.
pub struct Daemon {
    child: Child,
    directory: TempDir,
    /// Where systemd would listen.
    notify: UnixDatagram,
    log: Arc<Log>,
}

/// What the daemon writes on standard error, as it comes.
#[derive(Default)]
struct Log {
    /// The text so far, and whether that is all.
    text: Mutex<(String, bool)>,
    more: Condvar,
}

impl Daemon {
    /// Starts the daemon with the given sections; `SOCKET` in them stands for its socket's path.
    /// Without a `[[listener]]` it has one there. Waits until it says that it is ready.
    pub fn start(config: &str) -> Daemon {
        let mut daemon = Daemon::spawn(config);
        daemon.notified("READY=1");
        daemon
    }

    /// The same, without waiting.
    pub fn spawn(config: &str) -> Daemon {
        let directory = tempfile::tempdir().unwrap();
        Daemon::spawn_in(directory, config)
    }

    /// The same, in a directory that there is already.
    pub fn spawn_in(directory: TempDir, config: &str) -> Daemon {
        let file = directory.path().join("wsfan.toml");
        fs::write(&file, complete(config, directory.path())).unwrap();
        let notify_path = directory.path().join("notify");
        let _ = fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path).unwrap();
        notify.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut child = Daemon::command(&file).env("NOTIFY_SOCKET", &notify_path).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (written, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                written.text.lock().unwrap().0 += &(line + "\n");
                written.more.notify_all();
            }
            written.text.lock().unwrap().1 = true;
            written.more.notify_all();
        });
        Daemon { child, directory, notify, log }
    }

    /// What starts one with this file, its log in a pipe.
    pub fn command(file: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wsfan"));
        command
            .args(["run", "--config"])
            .arg(file)
            .env_remove("JOURNAL_STREAM")
            // servers are on this machine, whatever proxy there is for others
            .env("no_proxy", "*")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Waits until the daemon tells systemd a state that contains `part`, and returns it.
    pub fn notified(&mut self, part: &str) -> String {
        let mut buffer = [0; 4096];
        let mut seen = Vec::new();
        loop {
            let length = match self.notify.recv(&mut buffer) {
                Ok(length) => length,
                // the tests were stopped for a while, and go on
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => panic!("the daemon never said {part:?}, but {seen:?}; its log:\n{}", self.log()),
            };
            let state = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if state.contains(part) {
                return state;
            }
            seen.push(state);
        }
    }

    /// A new client, past its `hello`.
    pub fn client(&self) -> Client {
        Client::attach(&self.socket())
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("wsfan.sock")
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the daemon has written on standard error so far; all of it once it has ended.
    pub fn log(&self) -> String {
        self.log.text.lock().unwrap().0.clone()
    }

    /// Waits until the daemon has written `part` on standard error, and returns all so far.
    pub fn logged(&self, part: &str) -> String {
        self.log_until(|text, _| text.contains(part))
            .unwrap_or_else(|text| panic!("the daemon never wrote {part:?}, but:\n{text}"))
    }

    /// Whether the process ends within `time`.
    pub fn ends_within(&self, time: Duration) -> bool {
        self.log_within(time, |_, all| all).is_ok()
    }

    fn log_until(&self, done: impl Fn(&str, bool) -> bool) -> Result<String, String> {
        self.log_within(DEADLINE, done)
    }

    fn log_within(&self, time: Duration, done: impl Fn(&str, bool) -> bool) -> Result<String, String> {
        let text = self.log.text.lock().unwrap();
        let (text, timeout) =
            self.log.more.wait_timeout_while(text, time, |(text, all)| !done(text, *all)).unwrap();
        if timeout.timed_out() { Err(text.0.clone()) } else { Ok(text.0.clone()) }
    }

    /// Replaces the configuration file.
    pub fn rewrite(&self, config: &str) {
        fs::write(self.directory.path().join("wsfan.toml"), complete(config, self.directory.path())).unwrap();
    }

    /// Sends a signal by its name: `TERM`, `HUP`…
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        // its standard error ends with it, and the wait for that has the deadline that waitpid lacks
        if let Err(log) = self.log_until(|_, all| all) {
            panic!("the daemon did not end; its log:\n{log}");
        }
        self.child.wait().unwrap()
    }

    /// Ends the process, and gives its directory back as it was left.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

fn complete(config: &str, directory: &Path) -> String {
    let socket = directory.join("wsfan.sock");
    let mut config = config.replace("SOCKET", &socket.display().to_string());
    if !config.contains("[[listener]]") {
        config += &format!("\n[[listener]]\npath = \"{}\"\n", socket.display());
    }
    config
}
