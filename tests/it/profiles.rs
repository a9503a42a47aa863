//! The profiles in `config/profiles/`, each against a simulator of its server: the real daemon, with
//! the profile's name and what a user has to set.

mod binance;
mod centrifugo;
mod coinbase;
mod discord;
mod graphql_ws;
mod home_assistant;
mod kraken;
mod ocpp;
mod okx;
mod phoenix;
mod play;
mod requests;
mod signalk;
mod slack;
mod topics;
