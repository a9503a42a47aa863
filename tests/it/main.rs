//! What holds from outside: the daemon, its commands and its documents, in one crate that is linked once.
//!
//! One part of it: `cargo test --test it sends::`.

#![allow(unreachable_pub, reason = "nothing here is reached from outside")]

mod common;
mod simulators;

mod architecture;
mod beats;
mod captures;
mod cli;
mod clients;
mod config;
mod docs;
mod examples;
mod kept;
mod latest;
mod link;
mod lists;
mod live;
mod memory;
mod names;
mod profiles;
mod protocol;
mod reload;
mod requests;
mod rights;
mod secrets;
mod send_command;
mod sends;
mod servers;
mod service;
mod snapshots;
mod storm;
mod subscriptions;
mod target;
mod terms;
mod topics;
mod units;
