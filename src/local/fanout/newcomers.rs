//! Clients that have just come: entries are held back until they may have said where they want to begin.

use std::time::Duration;

use tokio::time::Instant;

use super::{Fanout, Member, laggards::Wake};

/// A new client gets entries after its first line, or after so long.
const FIRST_LINE: Duration = Duration::from_millis(20);

impl Fanout {
    /// Holds entries back from a new client until its first line, which may say where it wants to begin,
    /// or for [`FIRST_LINE`].
    pub(super) fn hold_back(&self, id: u64) {
        let mut newcomers = self.0.newcomers.borrow_mut();
        newcomers.push_back((Instant::now() + FIRST_LINE, id));
        if newcomers.len() == 1 {
            self.watch_newcomers(newcomers[0].0);
        }
    }

    /// Lets those begin who have been held back until `now`.
    pub(super) fn begin_all(&self, now: Instant) {
        loop {
            let mut newcomers = self.0.newcomers.borrow_mut();
            match newcomers.front() {
                Some((end, _)) if *end > now => return self.watch_newcomers(*end),
                Some((_, id)) => {
                    let id = *id;
                    newcomers.pop_front();
                    drop(newcomers);
                    self.begin(id);
                }
                None => return,
            }
        }
    }

    /// Lets those begin for whom the log may not wait. What is held back must not be lost by that.
    pub(super) fn hurry_newcomers(&self) {
        let window = self.0.policy.get().max_bytes / 2;
        let is_late = |id| {
            let clients = self.0.clients.borrow();
            let next = clients.get(id).and_then(|client: &Member| client.outgoing.needs());
            next.is_some_and(|seq| !self.0.hub.log().is_within(seq, window))
        };
        let ids: Vec<u64> = self.0.newcomers.borrow().iter().map(|(_, id)| *id).collect();
        ids.into_iter().filter(|id| is_late(*id)).for_each(|id| self.begin(id));
    }

    /// One look for all of them: they come in the order of their ends.
    fn watch_newcomers(&self, end: Instant) {
        self.wait(Box::pin(async move {
            tokio::time::sleep_until(end).await;
            Wake::Newcomers
        }));
    }
}
