//! Clients that catch up: under `slow_client = "latest"`, one that lags gets the newest message of each topic.

use std::path::Path;

use super::{Fanout, Member};
use crate::{
    config::{Format, SlowClient},
    hub::now_us,
};

impl Fanout {
    /// Has a client catch up that lags, if its listener would have it so.
    pub(super) fn let_catch_up(&self, id: u64, client: &mut Member) {
        if !self.catches_up(client) {
            return;
        }
        let after_us = u64::try_from(self.0.policy.get().latest_after.as_micros()).unwrap_or(u64::MAX);
        let begins = client.outgoing.catch_up(&self.0.hub.log(), now_us().saturating_sub(after_us));
        if begins && let Some(unsaid) = self.0.catch_ups_said.due() {
            let name = client.named.as_deref().map(|named| &**named.name());
            tracing::info!(
                client = id,
                name,
                unsaid,
                "a client lags, and catches up by the newest of each topic"
            );
        }
    }

    /// Has a client get all again that it wants, unless its listener would have it otherwise.
    pub(super) fn end_catching_up(&self, client: &mut Member) {
        if !self.catches_up(client) {
            client.outgoing.stop_catching_up();
        }
    }

    /// Has a listener's clients be treated otherwise when they are slow, also those who are connected.
    pub(in crate::local) fn set_slow_clients_of(&self, listener: &Path, slow_client: Option<SlowClient>) {
        self.each(|fanout, id, client| {
            if client.about.listener == listener {
                client.about.slow_client = slow_client;
                fanout.end_catching_up(client);
                fanout.hold(id, client);
            }
            true
        });
        self.0.reader.look_again();
    }

    /// Whether a client catches up when it lags. The raw format has no line to declare what is left out.
    fn catches_up(&self, client: &Member) -> bool {
        client.about.format == Format::Envelope && self.slow_client(client) == SlowClient::Latest
    }
}
