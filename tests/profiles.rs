//! The profiles in `config/profiles/`, each against a simulator of its server: the real daemon, with
//! the profile's name and what a user has to set.

mod common;
mod simulators;

#[path = "profiles/binance.rs"]
mod binance;
#[path = "profiles/centrifugo.rs"]
mod centrifugo;
#[path = "profiles/coinbase.rs"]
mod coinbase;
#[path = "profiles/kraken.rs"]
mod kraken;
#[path = "profiles/ocpp.rs"]
mod ocpp;
#[path = "profiles/okx.rs"]
mod okx;
#[path = "profiles/play.rs"]
mod play;
