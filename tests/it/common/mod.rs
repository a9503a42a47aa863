//! What the end-to-end tests share: the real daemon, a server to stand upstream, a local client.
//! Every wait is for an event, with [`DEADLINE`].

use std::time::Duration;

mod client;
pub mod config;
mod daemon;
pub mod schema;
mod server;

pub use client::{Client, assert_balanced};
pub use daemon::Daemon;
pub use server::{Connection, Server};

/// How long anything may take before a test fails: far longer than it should, so that a busy
/// machine doesn't fail it.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A server, and a daemon with this configuration that has connected to it, be it that its link isn't up yet.
pub fn connected(config: &str) -> (Server, Daemon, Connection) {
    let server = Server::bind();
    let daemon = Daemon::start(&(server.config() + config));
    let connection = server.accept();
    (server, daemon, connection)
}

/// The same, once the link is up.
pub fn up(config: &str) -> (Server, Daemon, Connection) {
    let all = connected(config);
    all.1.client().until_up();
    all
}
