//! What the daemon tells systemd (sd_notify(3)). The one file that names systemd. Outside of it
//! nothing is said.

use std::{
    sync::{
        OnceLock,
        mpsc::{self, SyncSender},
    },
    thread,
    time::Duration,
};

use sd_notify::NotifyState;

/// So many messages may wait for systemd to read them.
const WAITING: usize = 64;

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

/// Leaves a message for the thread that tells systemd. Its socket blocks while nobody reads at the
/// other end, and a supervisor that hangs must not hang the daemon.
fn send(state: &[NotifyState<'_>]) {
    static THREAD: OnceLock<Option<SyncSender<String>>> = OnceLock::new();
    if let Some(thread) = THREAD.get_or_init(start) {
        let text: Vec<String> = state.iter().map(ToString::to_string).collect();
        let _ = thread.try_send(text.join("\n")); // it isn't listened to
    }
}

/// Starts the thread, if systemd wants to be told.
fn start() -> Option<SyncSender<String>> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let (sender, messages) = mpsc::sync_channel::<String>(WAITING);
    let tell = move || {
        for message in messages {
            if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&message)]) {
                tracing::debug!(%error, "systemd could not be told");
            }
        }
    };
    match thread::Builder::new().name("notify".to_owned()).spawn(tell) {
        Ok(_) => Some(sender), // it ends with the process
        Err(error) => {
            tracing::warn!(%error, "systemd can't be told anything");
            None
        }
    }
}
