//! The real daemon with a profile, on the stage of its simulated server.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    common::{Client, Daemon},
    simulators::stage::Stage,
};

/// So long nothing must happen where a test shows that nothing does.
pub(super) const QUIET: Duration = Duration::from_millis(300);

/// Starts the daemon with a profile, what a user sets beside it but for `[reconnect]`, and short delays.
pub(super) fn run(profile: &str, user: &str) -> Daemon {
    Daemon::start(&format!(
        "profile = \"{profile}\"\n{user}\n\
         [reconnect]\ninitial_delay = \"20ms\"\nmax_delay = \"50ms\"\nstable_after = \"0s\"\n"
    ))
}

/// Starts the daemon with a profile, its server at `path` of the stage, short delays, and `more`: further
/// sections of the configuration, but `[reconnect]` and `[upstream]`.
pub(super) fn start(profile: &str, stage: &Stage, path: &str, more: &str) -> Daemon {
    Daemon::start(&config(profile, stage, path, more))
}

/// The configuration of [`start`].
pub(super) fn config(profile: &str, stage: &Stage, path: &str, more: &str) -> String {
    format!(
        "profile = \"{profile}\"\n[reconnect]\ninitial_delay = \"20ms\"\nmax_delay = \"100ms\"\n\
         [upstream]\nurl = \"{}\"\n{more}\n",
        stage.url(path)
    )
}

/// A client, once the link is up.
pub(super) fn up(daemon: &Daemon) -> Client {
    reach(daemon, "up").0
}

/// A client that hears everything from the daemon's start on, once it has heard that the link is up.
pub(super) fn attend(daemon: &Daemon) -> Client {
    let mut client = from_start(daemon);
    client.link("up");
    client
}

/// Reads until the payload of a message has `value` at `pointer`, and returns that payload.
pub(super) fn payload(client: &mut Client, pointer: &str, value: impl Into<Value>) -> Value {
    let value = value.into();
    client.until(|line| line["json"].pointer(pointer) == Some(&value))["json"].clone()
}

/// Waits until the link is given up, at the first attempt, and returns the error, which must have all of
/// `words` in it.
pub(super) fn given_up(daemon: &Daemon, words: &[&str]) -> String {
    let line = from_start(daemon).until(|line| line["type"] == "link" && line["state"] != "connecting");
    assert_eq!(line["state"], "failed", "{line}");
    let error = line["error"].as_str().unwrap_or_else(|| panic!("no error: {line}")).to_owned();
    for word in words {
        assert!(error.contains(word), "{word:?} isn't in {error:?}");
    }
    error
}

/// The line, or the part of the status, that says how the link failed.
pub(super) fn failed(daemon: &Daemon) -> Value {
    let (mut client, line) = reach(daemon, "failed");
    match line {
        Value::Null => client.status()["link"].clone(),
        line => line,
    }
}

fn reach(daemon: &Daemon, state: &str) -> (Client, Value) {
    let mut client = daemon.client();
    let line = if client.hello["link"] == state { Value::Null } else { client.link(state) };
    (client, line)
}

/// A client that hears everything from the daemon's start on.
pub(super) fn from_start(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    let epoch = client.hello["epoch"].clone();
    client.request(json!({"op": "attach", "since": {"epoch": epoch, "seq": 0}}));
    client
}
