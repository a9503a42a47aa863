//! What the end-to-end tests share: the real daemon, a server to stand upstream, a local client.
//! Every wait is for an event, with [`DEADLINE`].
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::time::Duration;

mod client;
mod daemon;
pub mod schema;
mod server;

pub use client::Client;
#[allow(unused_imports, reason = "each test file uses its own part")]
pub use daemon::Daemon;
#[allow(unused_imports, reason = "each test file uses its own part")]
pub use server::{Connection, Server};

/// How long anything may take before a test fails: far longer than it should, so that a busy
/// machine doesn't fail it.
pub const DEADLINE: Duration = Duration::from_secs(30);
