//! The real daemon with a profile, on the stage of its simulated server.

use serde_json::Value;

use crate::{
    common::{Client, Daemon},
    simulators::stage::Stage,
};

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
