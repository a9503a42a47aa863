//! What the supervisor does with the hub: it hears of the link and of reloads, and changes what is configured.

use super::{Answer, Configured, Hub, Limits, Reload};
use crate::{config, protocol};

impl Hub {
    /// Waits until the link's state may have changed since the last call. Cancel-safe.
    pub async fn link_changed(&self) {
        self.0.link_changed.notified().await;
    }

    /// Waits until somebody asks for a reload, and returns all who did. Cancel-safe.
    pub async fn reload_asked(&self) -> Vec<Answer> {
        loop {
            let asked = std::mem::take(&mut *self.0.reloads.borrow_mut());
            if !asked.is_empty() {
                return asked;
            }
            self.0.reload_asked.notified().await;
        }
    }

    /// Notes what the last reload came to, for `status`.
    pub fn set_reload(&self, reload: Reload) {
        *self.0.reload.borrow_mut() = Some(reload);
    }

    /// Changes what `status` says of the configuration.
    pub fn configure(&self, change: impl FnOnce(&mut Configured)) {
        change(&mut self.0.configured.borrow_mut());
    }

    /// Says how large a message may be, in bytes (`upstream.max_message`).
    pub fn set_max_message(&self, bytes: usize) {
        self.0.max_entry.set(protocol::longest(bytes));
    }

    /// Applies new bounds to the log, at once.
    pub fn set_limits(&self, history: &config::History) {
        self.0.log.borrow_mut().set_limits(Limits::from(history));
        self.flush(); // what is published and not offered yet goes out before anything leaves
    }
}
