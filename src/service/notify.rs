//! What the daemon tells systemd (sd_notify(3)). The one file that names systemd. Outside of it
//! nothing is said.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use sd_notify::NotifyState;

/// The sockets are bound: clients may come. Says nothing of the upstream.
pub(super) fn ready() {
    tell(|untold| untold.enter(ServicePhase::Ready));
}

/// The configuration is being read again; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(|untold| untold.enter(ServicePhase::Reloading(now.to_string()))),
        Err(error) => tracing::debug!(%error, "no monotonic time for systemd"),
    }
}

/// The daemon stops.
pub(super) fn stopping() {
    tell(|untold| untold.enter(ServicePhase::Stopping));
}

/// A line of free text for `systemctl status`: the upstream's state belongs here.
pub(super) fn status(text: &str) {
    tell(|untold| untold.status = Some(text.to_owned()));
}

/// How often to call [`alive`]: half of `WatchdogSec`, if there is one.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// The daemon's loop still turns.
pub(super) fn alive() {
    tell(|untold| untold.is_alive = true);
}

/// A step of the service's life.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ServicePhase {
    Ready,
    /// Since then, as systemd wants to have it said.
    Reloading(String),
    Stopping,
}

/// What systemd is still to be told. While it doesn't listen, the newest of each kind is kept, and all that
/// an untold reload leaves is the next one.
#[derive(Debug, Default)]
struct Untold {
    is_alive: bool,
    /// In their order; four at most: ready for the first time, reloading, ready again, stopping.
    phases: VecDeque<ServicePhase>,
    status: Option<String>,
}

impl Untold {
    fn enter(&mut self, phase: ServicePhase) {
        if let ServicePhase::Reloading(_) = phase
            && let Some(at) = self.phases.iter().position(|phase| matches!(phase, ServicePhase::Reloading(_)))
        {
            self.phases.truncate(at);
        }
        if self.phases.back() != Some(&phase) {
            self.phases.push_back(phase);
        }
    }

    /// The next message, the most urgent first.
    fn take(&mut self) -> Option<String> {
        if std::mem::take(&mut self.is_alive) {
            return Some(NotifyState::Watchdog.to_string());
        }
        let phase = self.phases.pop_front().map(|phase| match phase {
            ServicePhase::Ready => NotifyState::Ready.to_string(),
            // both in one datagram, as systemd asks
            ServicePhase::Reloading(since) => format!("{}\n{since}", NotifyState::Reloading),
            ServicePhase::Stopping => NotifyState::Stopping.to_string(),
        });
        phase.or_else(|| self.status.take().map(|text| NotifyState::Status(&text).to_string()))
    }
}

/// Between the daemon and the thread that tells systemd. Its socket blocks while nobody reads at the other
/// end, and a supervisor that hangs must not hang the daemon.
#[derive(Default)]
struct Desk {
    untold: Mutex<Untold>,
    more: Condvar,
}

impl Desk {
    /// Nobody holds it for longer than it takes to note something or to take it away.
    fn lock(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to tell.
    fn next(&self) -> String {
        let mut untold = self.lock();
        loop {
            if let Some(message) = untold.take() {
                return message;
            }
            untold = self.more.wait(untold).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Notes something for the thread.
fn tell(note: impl FnOnce(&mut Untold)) {
    static DESK: OnceLock<Option<&'static Desk>> = OnceLock::new();
    if let Some(desk) = DESK.get_or_init(start) {
        note(&mut desk.lock());
        desk.more.notify_one();
    }
}

/// Starts the thread, if systemd wants to be told.
fn start() -> Option<&'static Desk> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let desk: &'static Desk = Box::leak(Box::default()); // both end with the process
    let tell = move || {
        loop {
            if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&desk.next())]) {
                tracing::debug!(%error, "systemd could not be told");
            }
        }
    };
    match thread::Builder::new().name("notify".to_owned()).spawn(tell) {
        Ok(_) => Some(desk),
        Err(error) => {
            tracing::warn!(%error, "systemd can't be told anything");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reloading(since: u32) -> ServicePhase {
        ServicePhase::Reloading(format!("MONOTONIC_USEC={since}"))
    }

    fn rest(untold: &mut Untold) -> Vec<String> {
        std::iter::from_fn(|| untold.take()).collect()
    }

    #[test]
    fn what_nobody_hears_ends_as_the_newest_of_each() {
        let mut untold = Untold::default();
        untold.enter(ServicePhase::Ready);
        for round in 0..100 {
            untold.status = Some(round.to_string());
            untold.enter(reloading(round));
            untold.enter(ServicePhase::Ready);
            untold.is_alive = true;
        }
        untold.enter(ServicePhase::Stopping);
        let expected =
            ["WATCHDOG=1", "READY=1", "RELOADING=1\nMONOTONIC_USEC=99", "READY=1", "STOPPING=1", "STATUS=99"];
        assert_eq!(rest(&mut untold), expected);
        assert_eq!(untold.take(), None);
    }

    proptest! {
        /// However often somebody listens in between: the last phase is told last, none is told twice in a
        /// row, no reload is ended before its begin is told, and little is kept.
        #[test]
        fn the_last_phase_is_the_last_told(steps in proptest::collection::vec((0..3u8, 0..4usize), 1..60)) {
            let (mut untold, mut told, mut last, mut status) = (Untold::default(), Vec::new(), None, None);
            for (step, taken) in steps {
                let phase = match step {
                    0 => ServicePhase::Ready,
                    1 => reloading(0),
                    _ => {
                        status = Some(told.len().to_string());
                        untold.status.clone_from(&status);
                        continue;
                    }
                };
                last = Some(phase.clone());
                untold.enter(phase);
                prop_assert!(untold.phases.len() <= 3);
                told.extend((0..taken).map_while(|_| untold.take()));
            }
            told.extend(rest(&mut untold));
            let (statuses, phases): (Vec<_>, Vec<_>) =
                told.iter().partition(|message| message.starts_with("STATUS="));
            let last = last.map(|phase| if phase == ServicePhase::Ready { "READY=1" } else { "RELOADING=1\nMONOTONIC_USEC=0" });
            prop_assert_eq!(phases.last().map(|phase| phase.as_str()), last);
            prop_assert_eq!(statuses.last().map(|text| text["STATUS=".len()..].to_owned()), status);
        }
    }
}
