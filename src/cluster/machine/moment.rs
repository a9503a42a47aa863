//! Time as the machine has it.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A moment on this node's boot-time clock (`CLOCK_BOOTTIME`): it never steps, and goes on while the node sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    /// So long after the boot.
    pub(crate) const fn after_boot(time: Duration) -> Moment {
        Moment(time)
    }

    /// How long after the boot.
    #[cfg(test)]
    pub(crate) const fn since_boot(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(time))
    }
}

/// The time between; zero where the other one is later.
impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
