//! How often `status` is answered. Each user has a share of the thread, which an answer uses up by what it
//! costs. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// What a second of a user's share is worth: a row of one client costs about a microsecond, so that this is some
/// hundredths of the thread.
const ROWS_PER_SECOND: u32 = 20_000;
/// What an answer costs beside its rows.
const ANSWER: u32 = 16;
/// So much is answered at once, if nothing was asked before.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Nobody waits for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// With so many users it is time to forget those whose share is whole.
const MANY_USERS: usize = 256;

/// The shares of all users.
#[derive(Debug, Default)]
pub(in crate::local) struct Shares {
    /// When each user's share is whole again.
    whole_at: HashMap<u32, Instant>,
}

impl Shares {
    /// How long user `uid` waits for an answer with so many rows, which is booked. None when that is too long: then
    /// nothing is booked.
    pub(in crate::local) fn book(&mut self, uid: u32, rows: usize, now: Instant) -> Option<Duration> {
        if self.whole_at.len() >= MANY_USERS {
            self.whole_at.retain(|_, at| *at > now);
        }
        let whole_at = self.whole_at.get(&uid).map_or(now, |at| now.max(*at));
        let wait = whole_at.saturating_duration_since(now + AT_ONCE);
        if wait > LONGEST_WAIT {
            return None;
        }
        let rows = u32::try_from(rows).unwrap_or(u32::MAX).saturating_add(ANSWER);
        self.whole_at.insert(uid, whole_at + Duration::from_secs(1) * rows / ROWS_PER_SECOND);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_A_SECOND: usize = (ROWS_PER_SECOND / 2 - ANSWER) as usize;

    #[test]
    fn a_share_is_used_up_and_grows_again() {
        let (mut shares, start) = (Shares::default(), Instant::now());
        let mut book = |uid, at: u64| {
            let wait = shares.book(uid, HALF_A_SECOND, start + Duration::from_millis(at));
            wait.map(|wait| wait.as_millis())
        };
        // a second at once, then each waits its turn, and past the longest wait none is booked
        let waits: Vec<_> = (0..10).map(|_| book(7, 0)).collect();
        let turns = [0, 0, 0, 500, 1000, 1500, 2000].map(Some);
        assert_eq!(waits[..7], turns);
        assert_eq!(waits[7..], [None; 3]);
        // another user has a share of their own
        assert_eq!(book(8, 0), Some(0));
        assert_eq!(book(7, 500), Some(2000));
        assert_eq!(book(7, 60_000), Some(0));
    }

    #[test]
    fn small_answers_are_many() {
        let (mut shares, now) = (Shares::default(), Instant::now());
        let at_once = (0..10_000).take_while(|_| shares.book(7, 1, now) == Some(Duration::ZERO)).count();
        assert!((1100..1300).contains(&at_once), "{at_once}");
    }

    #[test]
    fn users_whose_share_is_whole_are_forgotten() {
        let (mut shares, start) = (Shares::default(), Instant::now());
        for uid in 0..10_000 {
            let _ = shares.book(uid, 1, start + Duration::from_millis(u64::from(uid)));
        }
        assert!(shares.whole_at.len() <= MANY_USERS, "{}", shares.whole_at.len());
    }
}
