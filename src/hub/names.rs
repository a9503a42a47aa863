//! Names of clients, and the places in the log that are kept for them. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::config;

/// Who has which name, and how far those have come that are gone.
#[derive(Debug)]
pub struct Names {
    /// A place is kept for so long.
    keep: Duration,
    names: BTreeMap<String, OwnedName>,
}

#[derive(Debug)]
struct OwnedName {
    /// Whose it is.
    uid: u32,
    holder: Holder,
}

#[derive(Debug)]
enum Holder {
    /// This client has it.
    Client(u64),
    /// Nobody has it since then. No place: what there was is one in another log.
    Gone { place: Option<KeptPlace>, since: Instant },
}

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptPlace {
    /// It has all entries up to this one: it has said so, or nothing that it was sent can have been left unread.
    pub after: u64,
    /// It may have those up to this one.
    pub sent: u64,
    /// It says what it has.
    pub acknowledges: bool,
}

/// What becomes of a client that wants a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It has it, and nothing is kept under it.
    New,
    /// It has it, and this place.
    Back(KeptPlace),
    /// It has it; what was kept is a place in a log that is over.
    Renewed,
    /// This client of the same user has it.
    Held(u64),
    /// It is another user's.
    Anothers,
    /// There are as many names as there may be: of all, or of this user.
    Full {
        /// So many may be.
        most: usize,
    },
}

impl Names {
    /// So many names there are at most, those that are kept included.
    pub const MAX: usize = 1000;
    /// So many of one user.
    pub const MAX_OF_A_USER: usize = 100;

    /// No names yet.
    pub fn new(config: &config::Names) -> Names {
        Names { keep: config.keep, names: BTreeMap::new() }
    }

    /// The names as they are for the next log: nobody has one, and no place is one of that log. `is_log` says whether the
    /// log before could have any place at all: else its names begin anew.
    pub(super) fn renewed(&self, now: Instant, is_log: bool) -> Names {
        let renew = |(name, OwnedName { uid, holder }): (&String, &OwnedName)| {
            let since = if let Holder::Gone { since, .. } = holder { *since } else { now };
            (name.clone(), OwnedName { uid: *uid, holder: Holder::Gone { place: None, since } })
        };
        let names = if is_log { self.names.iter().map(renew).collect() } else { BTreeMap::new() };
        Names { keep: self.keep, names }
    }

    /// Applies other settings, also for those who are gone already.
    pub fn set(&mut self, config: &config::Names) {
        self.keep = config.keep;
    }

    /// A client wants a name.
    pub fn claim(&mut self, now: Instant, name: &str, uid: u32, client: u64) -> Claim {
        self.expire(now);
        if let Some(known) = self.names.get_mut(name) {
            return match known.holder {
                _ if known.uid != uid => Claim::Anothers,
                Holder::Client(holder) => Claim::Held(holder),
                Holder::Gone { place, .. } => {
                    known.holder = Holder::Client(client);
                    place.map_or(Claim::Renewed, Claim::Back)
                }
            };
        }
        if self.names.len() >= Names::MAX {
            return Claim::Full { most: Names::MAX };
        }
        if self.names.values().filter(|name| name.uid == uid).count() >= Names::MAX_OF_A_USER {
            return Claim::Full { most: Names::MAX_OF_A_USER };
        }
        self.names.insert(name.to_owned(), OwnedName { uid, holder: Holder::Client(client) });
        Claim::New
    }

    /// A client that has a name is gone, or has it no longer.
    pub fn leave(&mut self, now: Instant, name: &str, client: u64, place: KeptPlace) {
        let held =
            self.names.get_mut(name).filter(|name| matches!(name.holder, Holder::Client(id) if id == client));
        if let Some(name) = held {
            name.holder = Holder::Gone { place: Some(place), since: now };
        }
        self.expire(now);
    }

    /// The names of those who are gone, whose they are, and after which entry they go on; 0 where that was in a log that
    /// is over.
    pub fn kept(&self, now: Instant) -> impl Iterator<Item = (&str, u32, u64, Duration)> {
        self.names.iter().filter_map(move |(text, name)| match name.holder {
            Holder::Gone { place, since } if !self.is_over(now, since) => Some((
                &**text,
                name.uid,
                place.map_or(0, |place| place.after),
                now.saturating_duration_since(since),
            )),
            _ => None,
        })
    }

    fn expire(&mut self, now: Instant) {
        let keep = self.keep;
        self.names.retain(|_, name| match name.holder {
            Holder::Client(_) => true,
            Holder::Gone { since, .. } => now.saturating_duration_since(since) < keep,
        });
    }

    fn is_over(&self, now: Instant, since: Instant) -> bool {
        now.saturating_duration_since(since) >= self.keep
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn names() -> Names {
        Names::new(&config::Names { keep: HOUR })
    }

    fn place(after: u64) -> KeptPlace {
        KeptPlace { after, sent: after + 5, acknowledges: false }
    }

    #[test]
    fn a_place_is_kept_for_its_user_and_its_time() {
        let (mut names, now) = (names(), Instant::now());
        assert_eq!(names.claim(now, "bot", 7, 1), Claim::New);
        assert_eq!(names.claim(now, "bot", 7, 2), Claim::Held(1));
        assert_eq!(names.claim(now, "bot", 8, 3), Claim::Anothers);
        names.leave(now, "bot", 2, place(1));
        assert_eq!(names.claim(now, "bot", 7, 2), Claim::Held(1), "it isn't the other's to leave");
        names.leave(now, "bot", 1, place(9));
        let late = now + HOUR - Duration::from_millis(1);
        assert_eq!(names.claim(late, "bot", 8, 3), Claim::Anothers, "gone or not");
        assert_eq!(names.kept(late).map(|(name, uid, ..)| (name, uid)).collect::<Vec<_>>(), [("bot", 7)]);
        assert_eq!(names.claim(late, "bot", 7, 4), Claim::Back(place(9)));
        assert_eq!(names.claim(late + 9 * HOUR, "bot", 7, 5), Claim::Held(4), "who is there keeps it");
        names.leave(late, "bot", 4, place(12));
        assert_eq!(names.kept(late + HOUR).count(), 0);
        assert_eq!(names.claim(late + HOUR, "bot", 8, 6), Claim::New, "it has lapsed");
        names.set(&config::Names { keep: Duration::ZERO });
        names.leave(now, "bot", 6, place(1));
        assert_eq!(names.claim(now, "bot", 7, 7), Claim::New, "nothing is kept");
    }

    #[test]
    fn in_the_next_log_names_are_their_users_and_nothing_is_kept_under_them() {
        let (mut names, now) = (names(), Instant::now());
        for (client, name) in [(1, "gone"), (2, "here")] {
            assert_eq!(names.claim(now, name, 7, client), Claim::New);
        }
        names.leave(now, "gone", 1, place(9));
        let later = now + HOUR / 2;
        let mut next = names.renewed(later, true);
        names.leave(later, "here", 2, place(11));
        assert_eq!(
            next.kept(later).map(|(name, _, seq, _)| (name, seq)).collect::<Vec<_>>(),
            [("gone", 0), ("here", 0)]
        );
        assert_eq!(next.claim(later, "here", 8, 3), Claim::Anothers);
        assert_eq!(next.claim(later, "here", 7, 4), Claim::Renewed, "its holder is of the log before");
        assert_eq!(next.claim(later, "here", 7, 5), Claim::Held(4));
        next.leave(later, "here", 2, place(12));
        next.leave(later, "here", 4, place(3));
        assert_eq!(next.claim(later, "here", 7, 6), Claim::Back(place(3)));
        assert_eq!(next.claim(now + HOUR, "gone", 8, 7), Claim::New, "it has been gone since then");
        assert_eq!(names.renewed(later, false).claim(later, "here", 8, 8), Claim::New, "it was no log");
    }

    #[test]
    fn names_are_bounded_for_all_and_for_each_user() {
        let (mut names, now) = (names(), Instant::now());
        let most = Names::MAX_OF_A_USER;
        for uid in 0..10 {
            for n in 0..most {
                assert_eq!(names.claim(now, &format!("{uid} {n}"), uid, u64::from(uid)), Claim::New);
            }
            if uid < 9 {
                assert_eq!(names.claim(now, &format!("{uid} more"), uid, 1), Claim::Full { most });
            }
        }
        assert_eq!(names.claim(now, "another's", 11, 1), Claim::Full { most: Names::MAX });
        names.leave(now, "0 0", 0, place(1));
        assert_eq!(names.claim(now, "another's", 11, 1), Claim::Full { most: Names::MAX }, "it is kept");
        assert_eq!(names.claim(now + HOUR, "another's", 11, 1), Claim::New);
    }

    /// Of a name: its user, its holder, and what was left and when.
    type Known = (u32, Option<usize>, Option<(KeptPlace, Instant)>);

    #[derive(Debug, Clone)]
    enum Step {
        Claim { name: usize, uid: u32 },
        Leave { client: usize, after: u64 },
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_usize..3, 0_u32..2).prop_map(|(name, uid)| Step::Claim { name, uid }),
            2 => (0_usize..20, 0_u64..100).prop_map(|(client, after)| Step::Leave { client, after }),
            1 => (0_u64..50).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// A name has one holder at a time; who comes back has the place that was left last, or, where that has lapsed,
        /// hears that there is none.
        #[test]
        fn a_name_is_one_clients_and_nothing_is_mixed_up(steps in prop::collection::vec(step(), 1..60)) {
            let minute = Duration::from_secs(60);
            let (mut names, mut now) = (names(), Instant::now());
            let mut model = BTreeMap::<usize, Known>::new();
            let mut clients = 0;
            for step in steps {
                match step {
                    Step::Wait(minutes) => now += minutes as u32 * minute,
                    Step::Claim { name, uid } => {
                        clients += 1;
                        let lapsed = |(_, holder, kept): &Known| {
                            holder.is_none() && kept.is_none_or(|(_, since)| now - since >= HOUR)
                        };
                        let known = model.get(&name).filter(|known| !lapsed(known)).copied();
                        let expected = match known {
                            None => Claim::New,
                            Some((owner, ..)) if owner != uid => Claim::Anothers,
                            Some((_, Some(holder), _)) => Claim::Held(holder as u64),
                            Some((_, None, kept)) => Claim::Back(kept.unwrap().0),
                        };
                        let found = names.claim(now, &name.to_string(), uid, clients as u64);
                        prop_assert_eq!(found, expected);
                        if matches!(found, Claim::New | Claim::Back(_)) {
                            model.insert(name, (uid, Some(clients), None));
                        }
                    }
                    Step::Leave { client, after } => {
                        for (name, known) in &mut model {
                            names.leave(now, &name.to_string(), client as u64, place(after));
                            if known.1 == Some(client) {
                                *known = (known.0, None, Some((place(after), now)));
                            }
                        }
                    }
                }
            }
        }
    }
}
