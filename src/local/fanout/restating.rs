//! The link's status said again to all who are there, where a machine of a cluster can't follow the log, or can again.

use std::time::Duration;

use super::{Fanout, Member, laggards::Wake};
use crate::config::Format;

/// Who leaves so much unread that it isn't told is told after this time, or after the next.
const PAUSE: Duration = Duration::from_millis(250);

impl Fanout {
    /// Has it said again when the hub wants it to be. Where there is no cluster, nobody will.
    pub(super) fn watch_restatements(&self) {
        let hub = self.0.hub.clone();
        self.wait(Box::pin(async move {
            hub.restated().await;
            Wake::Restate
        }));
    }

    /// Says it to all clients of envelope listeners that receive. What they leave unread stays bounded.
    pub(super) fn restate(&self) {
        let line = self.0.hub.link_line();
        self.each(|fanout, id, client| fanout.restate_one(id, client, &line));
        self.watch_untold();
        self.shed();
    }

    /// Says it to those who had too much unread.
    pub(super) fn restate_untold(&self) {
        let line = self.0.hub.link_line();
        for id in self.0.untold.take() {
            self.one(id, |fanout, client| fanout.restate_one(id, client, &line));
        }
        self.watch_untold();
        self.shed();
    }

    fn restate_one(&self, id: u64, client: &mut Member, line: &[u8]) -> bool {
        if client.about.format != Format::Envelope || !client.about.receive {
            return true;
        }
        if client.outgoing.has_enough() {
            self.0.untold.borrow_mut().insert(id);
            return true;
        }
        if !self.hurry(id, client) {
            return false;
        }
        client.outgoing.reply(line);
        self.pump_and_hold(id, client)
    }

    fn watch_untold(&self) {
        if !self.0.untold.borrow().is_empty() {
            self.wait(Box::pin(async {
                tokio::time::sleep(PAUSE).await;
                Wake::Untold
            }));
        }
    }
}
