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
