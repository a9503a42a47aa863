//! The upstream room: the link to the server.
//!
//! Its rooms, in the order in which they know one another: `failure`, `secrets` and `settings` are values;
//! `session` is what is said and heard on one connection, `machine` what to do and when, and both are pure;
//! `wire` makes a byte stream, `websocket` speaks RFC 6455 over it, `attempt` is the way from a URL to a
//! connection; `link` is the loop around it all, and `live_check` goes the same way once, aloud.

use tokio::sync::watch;

use crate::hub::{Commands, Publisher};

mod attempt;
mod failure;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod link;
pub mod live_check;
mod machine;
mod secrets;
mod session;
mod settings;
mod websocket;
mod wire;

pub use self::{
    link::legacy::Legacy,
    settings::{Exit, Settings},
};

/// Has the hub ready for what another machine's link of these settings publishes, as the link itself does.
#[cfg(feature = "cluster")]
pub fn prepare(hub: &Publisher, settings: &Settings) {
    link::prepare(hub, settings);
}

/// Runs the link until [`Command::Stop`](crate::hub::Command::Stop) or until it is given up.
///
/// Every send that was left is told its fate before this returns. `legacy` is from the link before, if there was one,
/// and for the next, also where this is dropped. From the call on, before anything is awaited, clients may subscribe to
/// topics.
pub fn run(
    hub: Publisher,
    commands: Commands,
    settings: watch::Receiver<Settings>,
    legacy: Legacy,
) -> impl Future<Output = Exit> {
    let seed = getrandom::u64().unwrap_or_else(|_| fastrand::u64(..));
    link::run(hub, commands, settings, legacy, wire::dial::dial, seed)
}
