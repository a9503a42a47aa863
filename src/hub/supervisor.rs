//! The supervisor's end of the hub: it hears of the link and of reloads, and changes what is configured.

use std::cell::Cell;

use super::{Configured, Hub, Reload, ReloadAnswer, Retention};
use crate::{config, protocol};

/// Looks after the daemon. Each of several hears of the link for itself.
pub struct Supervisor {
    hub: Hub,
    /// The change of the link that it heard of last.
    heard: Cell<u64>,
}

impl Hub {
    /// A supervisor's end.
    pub fn supervisor(&self) -> Supervisor {
        Supervisor { hub: self.clone(), heard: Cell::new(self.0.common.link_changes.get()) }
    }
}

impl Supervisor {
    /// Looks after a successor of the hub from now on.
    pub fn follow(&mut self, successor: &Hub) {
        self.hub = successor.clone();
    }

    /// Waits until the link's state has changed since the last call. Cancel-safe.
    pub async fn link_changed(&self) {
        loop {
            let changed = self.hub.0.common.link_changed.notified();
            let now = self.hub.0.common.link_changes.get();
            if self.heard.replace(now) != now {
                return;
            }
            changed.await;
        }
    }

    /// Waits until somebody asks for a reload, and returns all who did: they are one supervisor's to answer. Cancel-safe.
    pub async fn reload_asked(&self) -> Vec<ReloadAnswer> {
        loop {
            let asked = std::mem::take(&mut *self.hub.0.common.reloads.borrow_mut());
            if !asked.is_empty() {
                return asked;
            }
            self.hub.0.common.reload_asked.notified().await;
        }
    }

    /// Notes what the last reload came to, for `status`.
    pub fn set_reload(&self, reload: Reload) {
        *self.hub.0.common.reload.borrow_mut() = Some(reload);
    }

    /// Changes what `status` says of the configuration.
    pub fn configure(&self, change: impl FnOnce(&mut Configured)) {
        change(&mut self.hub.0.common.configured.borrow_mut());
    }

    /// Says how long names are kept.
    pub fn set_names(&self, names: &config::Names) {
        self.hub.0.names.borrow_mut().set(names);
    }

    /// Says how large a message may be, in bytes (`upstream.max_message`).
    pub fn set_max_message(&self, bytes: usize) {
        self.hub.0.common.max_entry.set(protocol::longest(bytes));
    }

    /// Applies new bounds to the log, at once.
    pub fn set_retention(&self, history: &config::History) {
        self.hub.0.log.borrow_mut().set_retention(Retention::from(history));
        self.hub.flush(); // what is published and not offered yet goes out before anything leaves
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::hub::{LinkState, LinkStatus};

    #[test]
    fn each_hears_of_the_link_for_itself() {
        let hub = Hub::new("e".to_owned(), &config::History::default(), false);
        let (publisher, _commands) = hub.publisher().expect("it is the first");
        let (one, other) = (hub.supervisor(), hub.supervisor());
        let hears = |supervisor: &Supervisor| supervisor.link_changed().now_or_never().is_some();
        assert!(!hears(&one) && !hears(&other));
        let mut waiting = Box::pin(one.link_changed());
        assert!((&mut waiting).now_or_never().is_none());
        publisher.announce(LinkStatus { state: LinkState::Connecting, ..LinkStatus::default() });
        assert!((&mut waiting).now_or_never().is_some());
        drop(waiting);
        assert!(!hears(&one) && hears(&other) && !hears(&other));
        drop(publisher);
        assert!(hears(&one) && hears(&other), "closed");
    }
}
