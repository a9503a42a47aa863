//! The demo's own directory: the config, the token, the socket. Gone when the demo is.

use std::{
    env,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process,
};

use crate::cli::failure::{Failure, Outcome, reason};

/// A directory that only this user can enter.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Outcome<Scratch> {
        let parent = env::temp_dir();
        let failed = |error: &io::Error| {
            Failure::failed(format!(
                "no directory can be made in {}: {} (set TMPDIR to one that can be written)",
                parent.display(),
                reason(error)
            ))
        };
        // a name may be taken, by what was left over or by somebody who guessed it
        for attempt in 0..100 {
            let again = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            let path = parent.join(format!("wsfan-demo-{}{again}", process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Scratch(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(failed(&io::ErrorKind::AlreadyExists.into()))
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("wsfan.sock")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.0.join("wsfan.toml")
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.0.join("token")
    }

    /// Writes the config, and gives its text.
    pub(super) fn write_config(&self, port: u16) -> Outcome<String> {
        let text = config(port, &self.token_file(), &self.socket());
        let file = self.config_file();
        fs::write(&file, &text).map_err(|error| {
            Failure::failed(format!("{} can't be written: {}", file.display(), reason(&error)))
        })?;
        Ok(text)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what can't be removed is in the system's hands
    }
}

/// Everything that the daemon is told. It is shown, so it is written to be read.
fn config(port: u16, token: &Path, socket: &Path) -> String {
    let quoted = |text: String| toml::Value::String(text).to_string();
    let login = quoted(format!("Bearer ${{file:{}}}", token.display()));
    let socket = quoted(socket.display().to_string());
    format!(
        "\
[upstream]
url = \"ws://127.0.0.1:{port}/prices\"
headers = {{ Authorization = {login} }}
proxy = \"off\"   # the server is on this machine

[heartbeat]
kind = \"message\"
message = '{{\"op\":\"ping\"}}'
expect = {{ \"/op\" = \"pong\" }}   # the only proof of life
interval = \"2s\"
timeout = \"2s\"

[reconnect]
initial_delay = \"300ms\"
max_delay = \"2s\"
stable_after = \"1s\"

[history]
max_bytes = \"1MiB\"   # little, so that who sleeps misses something

[[listener]]
path = {socket}
rights = [\"receive\", \"send\", \"control\"]

[log]
level = \"error\"
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, HeartbeatKind};

    #[test]
    fn the_config_is_right_even_in_an_odd_directory() {
        let (token, socket) = (Path::new("/tmp/a \"b\"/token"), Path::new("/tmp/a \"b\"/wsfan.sock"));
        let config = Config::parse(&config(1234, token, socket), &Environment::fixed([])).unwrap();
        assert_eq!(config.listeners[0].path, socket);
        assert!(config.listeners[0].grant.rights.control);
        assert!(matches!(config.heartbeat.kind, HeartbeatKind::Message { expect: Some(_), .. }));
        assert_eq!(config.upstream.headers.len(), 1);
    }

    #[test]
    fn nothing_is_left_behind() {
        let scratch = Scratch::new().unwrap();
        scratch.write_config(1).unwrap();
        let path = scratch.0.clone();
        assert!(path.join("wsfan.toml").exists());
        drop(scratch);
        assert!(!path.exists());
    }
}
