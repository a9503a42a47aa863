//! A node's clock, against true time.

use std::time::Duration;

use crate::cluster::machine::Moment;

/// True time, in microseconds.
pub(super) type Us = u64;

pub(super) const MS: Us = 1_000;
pub(super) const S: Us = 1_000_000;

/// A clock that began somewhere and runs at a rate of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) offset: u64,
    /// Millionths by which it runs fast.
    pub(super) ppm: i64,
}

impl Clock {
    /// What it shows.
    pub(super) fn at(self, now: Us) -> Moment {
        let rate = u128::from((1_000_000 + self.ppm).unsigned_abs());
        let shown = u64::try_from(u128::from(now) * rate / 1_000_000).unwrap();
        Moment::after_boot(Duration::from_micros(self.offset + shown))
    }

    /// When it will show this, or a moment later.
    pub(super) fn when(self, moment: Moment) -> Us {
        let shown = moment.since_boot().as_nanos().div_ceil(1_000).saturating_sub(u128::from(self.offset));
        let rate = u128::from((1_000_000 + self.ppm).unsigned_abs());
        u64::try_from((shown * 1_000_000).div_ceil(rate)).unwrap()
    }
}

#[test]
fn a_clock_shows_a_moment_when_it_says_it_will() {
    for ppm in [-50_000, -1, 0, 3, 49_999] {
        let clock = Clock { offset: 77, ppm };
        for shown in [100, 12_345, 9_999_999_999] {
            let moment = Moment::after_boot(Duration::from_micros(shown));
            let when = clock.when(moment);
            assert!(clock.at(when) >= moment && clock.at(when - 2) < moment, "{ppm}, {shown}");
        }
    }
}
