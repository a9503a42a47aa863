//! wsfan: one persistent WebSocket connection, fanned out to local programs.
//!
//! Data runs one way through three rooms, and back the same way:
//!
//! ```text
//! upstream server ⇄ upstream ⇄ hub ⇄ local ⇄ local programs
//! ```
//!
//! [`upstream`] holds the link, [`hub`] the log and what both sides know, [`local`] the sockets and
//! their clients; [`protocol`] is what these speak; [`service`] stands around them (signals, systemd, reload, stop), [`config`] is data,
//! and [`cli`] is what a person types. `docs/architecture.md` has the map and the invariants.

pub mod cli;
pub mod config;
pub mod hub;
pub mod local;
pub mod protocol;
pub mod service;
pub mod upstream;
