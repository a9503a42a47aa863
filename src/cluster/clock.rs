//! The boot-time clock.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::machine::Moment;

/// Now, by `CLOCK_BOOTTIME`: it never steps, and counts the time that this machine sleeps.
pub(super) fn now() -> Moment {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Moment::after_boot(Duration::new(seconds, nanos))
}
