//! Which daemon a command reaches: with a config that was named, that config's own and no other.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

use crate::common::{Daemon, Server};

/// A finished command, in these environment only.
fn wsfan(runtime: &std::path::Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsfan"));
    command.args(args).env_clear().env("XDG_RUNTIME_DIR", runtime).stdin(Stdio::null());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_command_with_a_config_refuses_the_daemon_of_another() {
    let server = Server::bind();
    let daemon = Daemon::start(&server.config());
    let mut upstream = server.accept();
    let theirs = daemon.path().join("wsfan.toml");
    // another config that names the same socket, as a copy does, or one whose own default it is
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.toml");
    fs::copy(&theirs, &copy).unwrap();
    let bare = dir.path().join("bare.toml");
    fs::write(&bare, server.config()).unwrap();
    for file in [&copy, &bare] {
        let file = file.to_str().unwrap();
        for args in [
            &["send", "--config", file, "{\"order\":\"sell all\"}"][..],
            &["status", "-c", file],
            &["tail", "-c", file, "-n", "1"],
            &["close", "-c", file],
            &["reload", "-c", file],
        ] {
            let done = wsfan(daemon.path(), args);
            let said = said(&done);
            assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0), "{args:?}: {said}");
            assert!(said.contains(theirs.to_str().unwrap()) && said.contains(file), "{args:?}: {said}");
        }
    }
    // its own, by each name that it has
    let link = dir.path().join("link.toml");
    symlink(&theirs, &link).unwrap();
    for file in [&theirs, &link] {
        let done = wsfan(dir.path(), &["send", "-c", file.to_str().unwrap(), "7"]);
        assert_eq!(done.status.code(), Some(0), "{}", said(&done));
        assert_eq!(upstream.message().into_text().unwrap().as_str(), "7", "and nothing before it");
    }
    // who names a socket means it
    let socket = daemon.socket();
    let done = wsfan(dir.path(), &["status", "-s", socket.to_str().unwrap(), "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(status["config"]["file"], theirs.to_str().unwrap());
    assert_eq!(status["config"]["upstream"], format!("ws://127.0.0.1:{}/stream", server.port()));
}

#[test]
fn a_config_without_a_daemon_reaches_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.toml");
    fs::write(&file, "[upstream]\nurl = \"ws://127.0.0.1:1/\"\n").unwrap();
    let done = wsfan(dir.path(), &["send", "--config", file.to_str().unwrap(), "7"]);
    assert_eq!(done.status.code(), Some(1));
    let own = dir.path().join("wsfan.sock");
    assert!(said(&done).contains(own.to_str().unwrap()), "{}", said(&done));
    let done = wsfan(dir.path(), &["send", "-i", "no-such-instance", "7"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("/run/wsfan-no-such-instance/wsfan.sock"), "{}", said(&done));
    for args in
        [&["status", "-i", "../x"][..], &["status", "-i", "a", "-c", "/b"], &["tail", "-i", "a", "-s", "/b"]]
    {
        assert_eq!(wsfan(dir.path(), args).status.code(), Some(2), "{args:?}");
    }
}
