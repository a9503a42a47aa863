//! The settings, and the wait for newer ones.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
};

use tokio::sync::watch;

use super::Settings;

/// The settings. The wait for newer ones goes on from round to round: to begin it anew in each would cost a message that
/// comes alone more than all that the link looks at for it.
pub(super) struct Newest {
    settings: watch::Receiver<Settings>,
    newer: Pin<Box<dyn Future<Output = bool>>>,
}

impl Newest {
    /// Those that are there now, and the wait for those that come after them.
    pub(super) fn new(settings: watch::Receiver<Settings>) -> (Settings, Newest) {
        let newer = newer(settings.clone());
        let mut newest = Newest { settings, newer };
        (newest.take(), newest)
    }

    /// Waits until there are newer ones than were taken; false where there will be none. To be asked again after they
    /// were taken. Cancel-safe.
    pub(super) async fn newer(&mut self) -> bool {
        poll_fn(|cx| self.newer.as_mut().poll(cx)).await
    }

    /// Whether there are newer ones.
    pub(super) fn has_newer(&self) -> bool {
        self.settings.has_changed().unwrap_or(false)
    }

    /// The newest.
    pub(super) fn take(&mut self) -> Settings {
        let settings = self.settings.borrow_and_update().clone();
        self.newer = newer(self.settings.clone());
        settings
    }
}

fn newer(mut settings: watch::Receiver<Settings>) -> Pin<Box<dyn Future<Output = bool>>> {
    Box::pin(async move { settings.changed().await.is_ok() })
}
