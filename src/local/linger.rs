//! When clients that let news gather are given them. Pure.
//!
//! What comes waits until its first is as old as may be. It doesn't wait where an entry says more than another message
//! would, or where so much has gathered that waiting brings nothing more, or might cost the log's bounds.

use std::time::{Duration, Instant};

/// What has gathered, and until when it may.
#[derive(Debug)]
pub(super) struct Linger {
    /// Zero: nothing gathers.
    length: Duration,
    /// The newest entry that was given.
    given: u64,
    /// By when the next ones are due; none while there are none.
    due: Option<Instant>,
    /// Somebody looks at that time, or before.
    is_watched: bool,
}

/// What there is to give.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gathered {
    /// The newest entry.
    pub(super) head: u64,
    /// The newest entry that doesn't wait.
    pub(super) notice: u64,
    /// More has gathered than should.
    pub(super) is_much: bool,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Give it, and say so by [`Linger::gave`].
    Give,
    /// Nothing yet. Somebody looks when it is due.
    Wait,
    /// Nothing yet. Look at this time, with [`Linger::look`].
    WatchFor(Instant),
}

impl Linger {
    /// For clients that have all up to `head`, and get the rest so late at most.
    pub(super) fn new(length: Duration, head: u64) -> Linger {
        Linger { length, given: head, due: None, is_watched: false }
    }

    /// The first entry that waits to be given; `None` while there is none.
    pub(super) fn first(&self) -> Option<u64> {
        self.due.map(|_| self.given + 1)
    }

    /// The newest entry that was given to all.
    pub(super) fn given(&self) -> u64 {
        self.given
    }

    /// There may be news.
    pub(super) fn news(&mut self, now: Instant, news: Gathered) -> Delivery {
        if news.head <= self.given {
            return Delivery::Wait;
        }
        let due = *self.due.get_or_insert(now + self.length);
        if now >= due || news.notice > self.given || news.is_much {
            return Delivery::Give;
        }
        self.watch(due)
    }

    /// It is the time that somebody was to look at.
    pub(super) fn look(&mut self, now: Instant) -> Delivery {
        self.is_watched = false;
        match self.due {
            None => Delivery::Wait,
            Some(due) if now >= due => Delivery::Give,
            Some(due) => self.watch(due),
        }
    }

    /// All entries up to `head` have been given.
    pub(super) fn gave(&mut self, head: u64) {
        (self.given, self.due) = (head, None);
    }

    fn watch(&mut self, due: Instant) -> Delivery {
        if std::mem::replace(&mut self.is_watched, true) { Delivery::Wait } else { Delivery::WatchFor(due) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn news(head: u64) -> Gathered {
        Gathered { head, notice: 0, is_much: false }
    }

    #[test]
    fn what_comes_waits_until_its_first_is_due_and_one_look_is_asked_for() {
        let (start, mut linger) = (Instant::now(), Linger::new(5 * MS, 10));
        assert_eq!(linger.news(start, news(10)), Delivery::Wait, "there is nothing");
        assert_eq!(linger.first(), None);
        assert_eq!(linger.news(start, news(11)), Delivery::WatchFor(start + 5 * MS));
        assert_eq!(linger.news(start + 3 * MS, news(12)), Delivery::Wait, "one looks already");
        assert_eq!(linger.first(), Some(11));
        assert_eq!(linger.look(start + 5 * MS), Delivery::Give);
        linger.gave(12);
        assert_eq!((linger.first(), linger.given()), (None, 12));
        assert_eq!(linger.look(start + 6 * MS), Delivery::Wait);
        assert_eq!(linger.news(start + 20 * MS, news(13)), Delivery::WatchFor(start + 25 * MS));
        assert_eq!(linger.news(start + 25 * MS, news(14)), Delivery::Give, "whoever comes first");
    }

    #[test]
    fn a_notice_and_too_much_dont_wait_and_a_look_for_what_is_gone_is_put_off() {
        let (start, mut linger) = (Instant::now(), Linger::new(5 * MS, 10));
        let watched = Delivery::WatchFor(start + 5 * MS);
        assert_eq!(linger.news(start, Gathered { notice: 10, ..news(12) }), watched, "an old one");
        assert_eq!(linger.news(start, Gathered { notice: 11, ..news(12) }), Delivery::Give);
        linger.gave(12);
        assert_eq!(linger.news(start + 2 * MS, news(13)), Delivery::Wait, "somebody looks before");
        assert_eq!(linger.look(start + 5 * MS), Delivery::WatchFor(start + 7 * MS));
        assert_eq!(linger.news(start + 6 * MS, Gathered { is_much: true, ..news(14) }), Delivery::Give);
        linger.gave(14);
        assert_eq!(linger.look(start + 7 * MS), Delivery::Wait);
    }

    #[test]
    fn without_a_length_nothing_waits() {
        let (now, mut linger) = (Instant::now(), Linger::new(Duration::ZERO, 0));
        assert_eq!(linger.news(now, news(1)), Delivery::Give);
    }

    /// Entries that come, and looks when they are asked for.
    struct Clock {
        now: Instant,
        linger: Linger,
        head: u64,
        notice: u64,
        look: Option<Instant>,
        /// When those came that wait.
        came: BTreeMap<u64, Instant>,
    }

    impl Clock {
        fn pass(&mut self, time: Duration) -> Result<(), TestCaseError> {
            let then = self.now + time;
            while let Some(at) = self.look.filter(|at| *at <= then) {
                (self.now, self.look) = (at, None);
                let verdict = self.linger.look(at);
                self.heed(verdict)?;
            }
            self.now = then;
            Ok(())
        }

        fn come(&mut self, count: u64, is_notice: bool, is_much: bool) -> Result<(), TestCaseError> {
            let (now, first) = (self.now, self.head + 1);
            self.head += count;
            self.came.extend((first..=self.head).map(|seq| (seq, now)));
            if is_notice && count > 0 {
                self.notice = self.head;
            }
            let verdict = self.linger.news(now, Gathered { head: self.head, notice: self.notice, is_much });
            self.heed(verdict)?;
            prop_assert!(self.notice <= self.linger.given(), "a notice waits");
            prop_assert!(!is_much || self.came.is_empty(), "too much waits");
            Ok(())
        }

        fn heed(&mut self, verdict: Delivery) -> Result<(), TestCaseError> {
            match verdict {
                Delivery::Give => {
                    for (seq, at) in std::mem::take(&mut self.came) {
                        let (now, length) = (self.now, self.linger.length);
                        prop_assert!(now <= at + length, "{seq} has waited for {:?}", now - at);
                    }
                    self.linger.gave(self.head);
                }
                Delivery::WatchFor(at) => prop_assert!(self.look.replace(at).is_none(), "one look is enough"),
                Delivery::Wait => prop_assert!(self.came.is_empty() || self.look.is_some(), "nobody looks"),
            }
            prop_assert_eq!(self.linger.first(), self.came.keys().next().copied());
            Ok(())
        }
    }

    proptest! {
        /// Whatever comes when: as long as it is looked when that was asked for, nothing is older than may be when it
        /// is given, what doesn't wait is given at once, and no more than one look is ever asked for.
        #[test]
        fn nothing_is_given_too_late(
            length in 0u32..20,
            steps in prop::collection::vec((0u32..8, 0u64..3, 0u8..12), 1..200),
        ) {
            let (now, linger) = (Instant::now(), Linger::new(MS * length, 0));
            let mut clock = Clock { now, linger, head: 0, notice: 0, look: None, came: BTreeMap::new() };
            for (after, count, kind) in steps {
                clock.pass(MS * after)?;
                clock.come(count, kind == 0, kind == 1)?;
            }
            clock.pass(20 * MS)?;
            prop_assert!(clock.came.is_empty());
        }
    }
}
