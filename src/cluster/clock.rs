//! The boot-time clock.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::machine::Moment;

/// Now, by `CLOCK_BOOTTIME`: it never steps, and counts the time that this machine sleeps.
pub(super) fn now() -> Moment {
    #[cfg(test)]
    if let Some(now) = simulated::now() {
        return now;
    }
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Moment::after_boot(Duration::new(seconds, nanos))
}

/// In tests: the runtime's clock, which may be paused, in its stead.
#[cfg(test)]
pub(super) mod simulated {
    use std::{cell::Cell, time::Duration};

    use tokio::time::Instant;

    use super::Moment;

    thread_local! {
        static BOOT: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    /// For as long as this is there, on this thread.
    pub(in crate::cluster) struct Simulated(());

    pub(in crate::cluster) fn begin() -> Simulated {
        BOOT.set(Some(Instant::now()));
        Simulated(())
    }

    impl Drop for Simulated {
        fn drop(&mut self) {
            BOOT.set(None);
        }
    }

    pub(super) fn now() -> Option<Moment> {
        let boot = BOOT.get()?;
        Some(Moment::after_boot(Duration::from_secs(1_000) + (Instant::now() - boot)))
    }
}
