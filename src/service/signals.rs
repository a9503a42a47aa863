//! Signals: what they ask for, and what comes before anybody listens.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{Stream, StreamExt, stream};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use super::Order;

static EARLY: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGHUP doesn't end the process: it is kept until `run` listens. The first thing that a
/// daemon does, since a reload may be asked for at any time.
pub fn keep_reloads() {
    let asked = Arc::new(AtomicBool::new(false));
    if signal_hook::flag::register(SIGHUP, Arc::clone(&asked)).is_ok() {
        let _ = EARLY.set(asked); // there is one already
    }
}

/// Asks a daemon that is another process to reload.
///
/// # Errors
/// There is no such process, or it isn't for us to ask.
pub(crate) fn ask_by_signal(pid: i32) -> io::Result<()> {
    let pid = Pid::from_raw(pid).filter(|pid| pid.as_raw_nonzero().get() > 0);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(pid, Signal::HUP)?)
}

/// What signals ask for, what was kept first.
pub(super) fn orders() -> io::Result<impl Stream<Item = Order>> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    // asked after the above, so that none falls between the two; a second reload harms nobody
    let early = EARLY.get().is_some_and(|asked| asked.swap(false, Ordering::Relaxed));
    let early = early.then_some(Order::Reload);
    let signals = signals.map(|signal| if signal == SIGHUP { Order::Reload } else { Order::Stop });
    Ok(stream::iter(early).chain(signals))
}
