use super::*;
use crate::config::{Config, Environment};

impl Settings {
    /// The link's part of a configuration's text.
    pub(in crate::upstream) fn parse(text: &str) -> Settings {
        let config =
            Config::parse(text, &Environment::fixed([])).unwrap_or_else(|invalid| panic!("{invalid}"));
        Settings {
            terms: config.terms,
            heartbeat: config.heartbeat,
            reconnect: config.reconnect,
            outbox: config.outbox,
            ..Settings::of(config.upstream)
        }
    }
}
