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
#[path = "profiles/discord.rs"]
mod discord;
#[path = "profiles/graphql_ws.rs"]
mod graphql_ws;
#[path = "profiles/home_assistant.rs"]
mod home_assistant;
#[path = "profiles/kraken.rs"]
mod kraken;
#[path = "profiles/ocpp.rs"]
mod ocpp;
#[path = "profiles/okx.rs"]
mod okx;
#[path = "profiles/phoenix.rs"]
mod phoenix;
#[path = "profiles/play.rs"]
mod play;
#[path = "profiles/signalk.rs"]
mod signalk;
#[path = "profiles/slack.rs"]
mod slack;
