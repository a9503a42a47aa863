//! wsfan: one persistent WebSocket connection, fanned out to local programs.
//!
//! Data runs one way through three rooms, and back the same way:
//!
//! ```text
//! upstream server ⇄ upstream ⇄ hub ⇄ local ⇄ local programs
//! ```
//!
//! [`upstream`] holds the link, [`hub`] the log and what both sides know, `local` the sockets and
//! their clients; [`protocol`] is what these speak. `service` stands around them (signals, systemd, reload, stop),
//! [`config`] is data, and [`cli`] is what a person types. `docs/architecture.md` has the map and the invariants.
//!
//! For other programs there are [`client`] and [`protocol`]: a client of the daemon's socket, and the lines that it
//! reads and writes. The rest is for the program `wsfan`, its tests and its benchmarks, and changes as they need.

pub mod cli;
pub mod client;
#[cfg(feature = "cluster")]
mod cluster;
pub mod config;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod hub;
mod local;
pub mod protocol;
mod service;
pub mod upstream;

pub use service::keep_reloads;
