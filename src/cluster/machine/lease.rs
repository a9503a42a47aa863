//! How long the leader may have the link.

use std::time::Duration;

use super::Moment;

/// The leader's right to the link, counted from when its newest acknowledged append was *sent*. The shell looks at it
/// before each read and write of the link, and the machine before all that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    until: Moment,
}

impl Lease {
    /// That of an append that was sent then, where silence is waited for so long: 0.7 of it, so that no clock that runs
    /// 17 % faster or slower than another makes two leaders of it.
    pub(in crate::cluster) fn of(sent: Moment, lease: Duration) -> Lease {
        Lease { until: sent + lease * 7 / 10 }
    }

    /// Whether it still holds.
    pub(crate) fn holds(self, now: Moment) -> bool {
        now < self.until
    }

    /// When it ends.
    pub(crate) fn until(self) -> Moment {
        self.until
    }

    /// The one of both that ends later.
    pub(super) fn or(self, other: Lease) -> Lease {
        Lease { until: self.until.max(other.until) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_before_any_candidate_stands_while_clock_rates_differ_by_less_than_17_percent() {
        let (sent, lease) = (Moment::after_boot(Duration::from_secs(100)), Duration::from_secs(2));
        let held = Lease::of(sent, lease);
        let at = |ms| sent + Duration::from_millis(ms);
        assert!(held.holds(at(1_399)) && !held.holds(at(1_400)) && !held.holds(at(60_000)));
        assert_eq!(Lease::of(at(10), lease).or(held).until(), at(1_410));
        // in true time, with the leader's clock as slow and the candidate's as fast as is allowed
        let true_time = |shown: Duration, rate: f64| shown.div_f64(rate);
        assert!(true_time(held.until() - sent, 1.0 - 0.17) < true_time(lease, 1.0 + 0.17));
    }
}
