//! Simulated servers: each follows its real server's published rules, named beside them, records what
//! it hears, and records whatever breaks a rule.

pub mod action_cable;
pub mod binance;
pub mod bybit;
pub mod centrifugo;
pub mod coinbase;
pub mod deribit;
pub mod discord;
pub mod ethereum;
pub mod graphql_ws;
pub mod home_assistant;
pub mod kraken;
pub mod obs_websocket;
pub mod ocpp;
pub mod okx;
pub mod openai_realtime;
pub mod phoenix;
pub mod signalk;
pub mod signed;
pub mod slack;
pub mod stage;
pub mod twitch;
pub mod visitor;
