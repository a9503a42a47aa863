//! The upstream room: the link to the server.
//!
//! What decides is pure and takes time and randomness as arguments: `machine` with `session`,
//! `heartbeat`, `backoff`, `rules`, `pacing` and `seen` in it, `failure`, `target`, `address`, `addresses`,
//! `backlog`. What does I/O is thin: `reading` and `commands` say what placeholders stand for, `dial`, `proxy`
//! and `tls` make a byte stream, `websocket` speaks RFC 6455 over it, `attempt` is the way from a URL to a
//! connection, and `link` is the loop around it all.

use std::time::Duration;

use tokio::sync::watch;

use crate::{
    config,
    hub::{Commands, Hub},
};

mod address;
mod addresses;
mod attempt;
mod backlog;
mod backoff;
mod certificate;
mod commands;
mod context;
mod dial;
mod failure;
mod found;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod heartbeat;
mod link;
mod machine;
mod matcher;
mod memory;
mod pacing;
mod probe;
mod proxy;
mod reading;
mod redactor;
mod rules;
mod secrets;
mod seen;
mod sequence;
mod session;
mod target;
mod tls;
mod told;
mod track;
mod trust;
pub mod walk;
mod websocket;
mod wire;

/// What the link takes from the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[upstream]`. Which changes need a new connection: [`config::Takes`].
    pub upstream: config::Upstream,
    /// How the server wants to be spoken to.
    pub terms: config::Terms,
    /// `[heartbeat]`: applied to the live link, where it needs no new connection.
    pub heartbeat: config::Heartbeat,
    /// `[reconnect]`: applied at once.
    pub reconnect: config::Reconnect,
    /// `[outbox]`: applied at once.
    pub outbox: config::Outbox,
    /// What a close may take: writing what was sent before it, and the closing handshake. For the
    /// next one.
    pub close_timeout: Duration,
}

/// Why the link has ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// `reconnect.max_attempts` are used up, or a rule says `stop`; and `on_exhausted` is `exit`.
    GivenUp,
}

/// Runs the link until [`Command::Stop`](crate::hub::Command::Stop) or until it is given up.
///
/// Every send that was left is told its fate
/// before this returns.
pub async fn run(hub: Hub, commands: Commands, settings: watch::Receiver<Settings>) -> Ended {
    let seed = getrandom::u64().unwrap_or_else(|_| fastrand::u64(..));
    link::run(hub, commands, settings, dial::dial, seed).await
}
