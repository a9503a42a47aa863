//! How much each user may send on one listener.

use std::{collections::BTreeMap, time::Instant};

use crate::{config::Window, hub::Windows};

/// What each user has sent of late.
#[derive(Debug, Default)]
pub(in crate::local) struct Rates(BTreeMap<u32, Windows>);

impl Rates {
    /// So many users are looked through for those who have sent nothing of late.
    const TIDY: usize = 16;

    /// Counts so many messages of a user, all or none, where `rate` lets them out; without any rate nothing is
    /// counted. False: they are too many.
    pub(in crate::local) fn take(
        &mut self,
        now: Instant,
        uid: u32,
        messages: usize,
        rate: &[Window],
    ) -> bool {
        if rate.is_empty() {
            return true;
        }
        if !self.0.contains_key(&uid) && self.0.len() >= Rates::TIDY {
            self.0.retain(|_, windows| !windows.is_over(now));
        }
        let windows = self.0.entry(uid).or_default();
        if windows.windows() != rate {
            windows.set(rate.to_vec(), None); // a reload has changed it
        }
        let may = windows.free(now, 0) >= messages;
        if may {
            (0..messages).for_each(|_| windows.happened(now));
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rate(count: u32, seconds: u64) -> Vec<Window> {
        vec![Window { count, per: Duration::from_secs(seconds) }]
    }

    #[test]
    fn each_user_has_a_rate_of_its_own_and_a_unit_counts_whole() {
        let (mut rates, now, second) = (Rates::default(), Instant::now(), Duration::from_secs(1));
        let five = rate(5, 10);
        let mut take = |at: u64, uid, messages| rates.take(now + at as u32 * second, uid, messages, &five);
        assert!(take(0, 1, 3));
        assert!(!take(1, 1, 3), "all of it or none");
        assert!(take(1, 1, 2) && !take(9, 1, 1));
        assert!(take(1, 2, 5), "another user");
        assert!(take(10, 1, 3) && !take(10, 1, 1) && take(11, 1, 2));
        assert!(!take(1000, 1, 6), "never so many at once");
    }

    #[test]
    fn another_rate_counts_what_was_before() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        assert!(rates.take(now, 1, 5, &rate(5, 10)));
        assert!(!rates.take(now, 1, 1, &rate(4, 10)));
        assert!(rates.take(now, 1, 100, &[]), "there is none");
        assert!(!rates.take(now, 1, 1, &rate(5, 10)));
    }

    #[test]
    fn who_has_sent_nothing_of_late_is_forgotten() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        for uid in 0..1000 {
            assert!(rates.take(now + Duration::from_secs(uid), uid as u32, 1, &rate(5, 10)));
        }
        assert!(rates.0.len() <= Rates::TIDY + 1, "{}", rates.0.len());
    }
}
