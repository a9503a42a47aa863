//! What the daemon tells systemd (sd_notify(3)). The one file that names systemd. Outside of it
//! nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;

/// The sockets are bound: clients may come. Says nothing of the upstream.
pub(super) fn ready() {
    send(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // both in one datagram, as systemd asks
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic time for systemd"),
    }
}

/// The daemon stops.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// A line of free text for `systemctl status`: the upstream's state belongs here.
pub(super) fn status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

/// How often to call [`alive`]: half of `WatchdogSec`, if there is one.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// The daemon's loop still turns.
pub(super) fn alive() {
    send(&[NotifyState::Watchdog]);
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
