//! Pacing: how many messages may go out, and how many attempts may be made, in any window of time.
//! Pure.
//!
//! The counts are those of the link, over all of
//! its connections, so that they also hold where the server counts by account or address.

use std::time::Instant;

use crate::{config::Limits, hub::Windows};

/// Who has something to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Sender {
    /// wsfan itself: heartbeats, replies, the script. It may use the reserve.
    Link,
    /// A local client.
    Client,
}

/// What the limits let out of clients' messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) struct Leeway {
    /// So many may go out now, one right after another; `usize::MAX` without a limit.
    pub(in crate::upstream) free: usize,
    /// So many may ever go out so.
    pub(in crate::upstream) most: usize,
}

/// What was sent and attempted, as far as the limits need to know.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Pacing {
    messages: Windows,
    /// So many of the tightest window are kept for [`Sender::Link`].
    reserve: usize,
    connects: Windows,
}

impl Pacing {
    pub(in crate::upstream) fn new(limits: &Limits) -> Pacing {
        let mut pacing = Pacing::default();
        pacing.set(limits);
        pacing
    }

    /// Applies new limits. What happened before counts for them too.
    pub(in crate::upstream) fn set(&mut self, limits: &Limits) {
        self.messages.set(limits.messages.clone(), limits.tightest());
        self.reserve = limits.reserve as usize;
        self.connects.set(limits.connects.clone(), None);
    }

    /// When a message may go out: `now`, or later.
    pub(in crate::upstream) fn message_at(&self, now: Instant, sender: Sender) -> Instant {
        self.messages.next(now, 1, self.kept_from(sender))
    }

    /// When so many may go out, one right after another; where that is more than ever may, when the most may.
    pub(in crate::upstream) fn messages_at(&self, now: Instant, count: usize, sender: Sender) -> Instant {
        self.messages.next(now, count, self.kept_from(sender))
    }

    /// How many messages may ever go out at once; `usize::MAX` without a limit.
    pub(in crate::upstream) fn most(&self, sender: Sender) -> usize {
        self.messages.most(self.kept_from(sender))
    }

    /// How many messages may go out at `now`, one after another; `usize::MAX` without a limit.
    pub(in crate::upstream) fn free(&self, now: Instant, sender: Sender) -> usize {
        self.messages.free(now, self.kept_from(sender))
    }

    /// A message goes out.
    pub(in crate::upstream) fn sent(&mut self, now: Instant) {
        self.messages.happened(now);
    }

    /// When an attempt may be made: `now`, or later.
    pub(in crate::upstream) fn connect_at(&self, now: Instant) -> Instant {
        self.connects.next(now, 1, 0)
    }

    /// An attempt is made.
    pub(in crate::upstream) fn connecting(&mut self, now: Instant) {
        self.connects.happened(now);
    }

    fn kept_from(&self, sender: Sender) -> usize {
        match sender {
            Sender::Link => 0,
            Sender::Client => self.reserve,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Window;

    const MS: Duration = Duration::from_millis(1);

    fn window(count: u32, millis: u64) -> Window {
        Window { count, per: Duration::from_millis(millis) }
    }

    fn limits(messages: Vec<Window>, reserve: u32, connects: Vec<Window>) -> Limits {
        Limits { messages, reserve, connects, ..Limits::default() }
    }

    fn pacing(messages: Vec<Window>, reserve: u32, connects: Vec<Window>) -> Pacing {
        Pacing::new(&limits(messages, reserve, connects))
    }

    fn windows() -> impl Strategy<Value = Vec<Window>> {
        let window = (1_u32..8, 1_u64..40).prop_map(|(count, millis)| window(count, millis));
        prop::collection::vec(window, 0..4)
    }

    /// The definition, looked up in the whole past.
    fn holds(past: &[Instant], windows: &[Window]) -> bool {
        windows.iter().all(|window| {
            past.iter().all(|begin| {
                past.iter().filter(|at| *at >= begin && **at < *begin + window.per).count()
                    <= window.count as usize
            })
        })
    }

    #[test]
    fn without_windows_nothing_waits_and_nothing_is_remembered() {
        let (mut pacing, now) = (Pacing::default(), Instant::now());
        for _ in 0..1_000 {
            assert_eq!(pacing.message_at(now, Sender::Client), now);
            pacing.sent(now);
        }
        assert_eq!(pacing.free(now, Sender::Client), usize::MAX);
        assert!(pacing.messages.is_empty());
    }

    #[test]
    fn all_windows_hold() {
        let now = Instant::now();
        let mut pacing = pacing(vec![window(5, 100), window(2, 10)], 0, vec![]);
        let mut at = now;
        let sent: Vec<_> = (0..8)
            .map(|_| {
                at = pacing.message_at(at, Sender::Client);
                pacing.sent(at);
                (at - now).as_millis()
            })
            .collect();
        assert_eq!(sent, [0, 0, 10, 10, 20, 100, 100, 110]);
    }

    #[test]
    fn the_reserve_of_the_tightest_window_is_for_the_link_itself() {
        let now = Instant::now();
        // 2 a second in the long run, though the other has the smaller count
        let mut pacing = pacing(vec![window(4, 1_000), window(10, 10_000)], 3, vec![]);
        let mut at = now;
        for _ in 0..7 {
            at = pacing.message_at(at, Sender::Client);
            pacing.sent(at);
        }
        assert_eq!(at, now + 1_000 * MS);
        assert_eq!(pacing.message_at(at, Sender::Client), now + 10_000 * MS);
        assert_eq!((pacing.free(at, Sender::Client), pacing.free(at, Sender::Link)), (0, 1));
        assert_eq!(pacing.message_at(at, Sender::Link), at);
    }

    #[test]
    fn attempts_have_windows_of_their_own() {
        let now = Instant::now();
        let mut pacing = pacing(vec![window(1, 1_000)], 0, vec![window(2, 500)]);
        pacing.connecting(now);
        assert_eq!(pacing.message_at(now, Sender::Client), now);
        assert_eq!(pacing.connect_at(now), now);
        pacing.connecting(now + MS);
        assert_eq!(pacing.connect_at(now + MS), now + 500 * MS);
    }

    #[test]
    fn new_windows_count_what_was_before() {
        let now = Instant::now();
        let mut pacing = pacing(vec![window(2, 10)], 0, vec![]);
        for millis in [0, 0, 10, 10, 20, 20] {
            pacing.sent(now + millis * MS);
        }
        pacing.set(&limits(vec![window(5, 100)], 0, vec![]));
        // the first four are forgotten, and count as of the newest of them
        assert_eq!(pacing.message_at(now + 20 * MS, Sender::Client), now + 110 * MS);
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_and_nothing_waits_in_vain(
            windows in windows(),
            reserve in 0_u32..4,
            wishes in prop::collection::vec((0_u64..20, any::<bool>()), 0..80),
        ) {
            let mut pacing = pacing(windows.clone(), reserve, vec![]);
            let (mut now, mut past) = (Instant::now(), Vec::new());
            for (pause, own) in wishes {
                now += Duration::from_millis(pause);
                let sender = if own { Sender::Link } else { Sender::Client };
                let at = pacing.message_at(now, sender);
                prop_assert_eq!(at == now, pacing.free(now, sender) > 0);
                let (unit, most) = (1 + pause as usize % 4, pacing.most(sender));
                let at_once = pacing.messages_at(now, unit, sender);
                prop_assert_eq!(at_once == now, pacing.free(now, sender) >= unit.min(most));
                prop_assert!(pacing.free(at_once, sender) >= unit.min(most), "then all of it may go");
                if own && at > now {
                    // a moment sooner would have been too soon
                    let mut early = past.clone();
                    early.push(at - MS);
                    prop_assert!(!holds(&early, &windows));
                }
                now = at;
                pacing.sent(now);
                past.push(now);
                prop_assert!(holds(&past, &windows));
            }
        }

        #[test]
        fn new_windows_hold_from_their_first_moment(
            old in windows(),
            new in windows(),
            pauses in prop::collection::vec(0_u64..10, 1..40),
            change in 0_usize..40,
        ) {
            prop_assume!(!old.is_empty());
            let mut pacing = pacing(old, 0, vec![]);
            let (mut now, mut past, mut changed) = (Instant::now(), Vec::new(), false);
            for (index, pause) in pauses.into_iter().enumerate() {
                if index == change {
                    pacing.set(&limits(new.clone(), 0, vec![]));
                    changed = true;
                }
                now += Duration::from_millis(pause);
                let at = pacing.message_at(now, Sender::Link);
                now = at;
                pacing.sent(now);
                past.push(now);
                if changed {
                    // the stretch that ends here, as the new windows see it
                    for window in &new {
                        let within = past.iter().filter(|at| **at + window.per > now).count();
                        prop_assert!(within <= window.count as usize);
                    }
                }
            }
        }
    }
}
