//! What the server asks, and that it is answered once. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    rules::RequestRules,
    splice::{Key, key_of},
};
use crate::upstream::session::matcher::Look;

/// So many requests of the server's are open at most; then the one that would be forgotten first is.
const MAX_OPEN: usize = 10_000;

/// The server's requests that nobody has answered.
#[derive(Debug, Default)]
pub(in crate::upstream::session) struct Serving {
    open: BTreeMap<Key, Instant>,
    ends: BTreeSet<(Instant, Key)>,
    /// Those that have an answer on its way.
    taken: BTreeSet<Key>,
}

impl Serving {
    /// Looks whether a message is a request. Returns how many had to be forgotten for it.
    pub(in crate::upstream::session) fn hear(
        &mut self,
        now: Instant,
        rules: &RequestRules,
        look: &Look<'_>,
    ) -> usize {
        let Some(server) = rules.server.as_ref().filter(|server| server.when.matches(look)) else { return 0 };
        let Some(key) = look.get(server.id).and_then(key_of) else { return 0 };
        self.open(now + server.timeout, key)
    }

    /// A client's send is to answer it. False where no request of this id is open.
    pub(in crate::upstream::session) fn take(&mut self, key: &Key) -> bool {
        let is_open = self.answer(key);
        if is_open {
            self.taken.insert(key.clone());
            if self.taken.len() > MAX_OPEN {
                self.taken.pop_first();
            }
        }
        is_open
    }

    /// Whether an answer to it was taken, and hasn't gone out.
    pub(in crate::upstream::session) fn is_taken(&self, key: &Key) -> bool {
        self.taken.contains(key)
    }

    /// Its answer goes out.
    pub(in crate::upstream::session) fn write(&mut self, key: &Key) {
        self.taken.remove(key);
    }

    /// What was taken for an answer to it doesn't go out.
    pub(in crate::upstream::session) fn reopen(&mut self, now: Instant, rules: &RequestRules, key: &Key) {
        if let Some(server) = &rules.server
            && self.taken.remove(key)
        {
            self.open(now + server.timeout, key.clone());
        }
    }

    fn open(&mut self, until: Instant, key: Key) -> usize {
        if let Some(before) = self.open.insert(key.clone(), until) {
            self.ends.remove(&(before, key.clone()));
        }
        self.ends.insert((until, key));
        let is_full = self.open.len() > MAX_OPEN;
        if is_full && let Some((_, oldest)) = self.ends.pop_first() {
            self.open.remove(&oldest);
        }
        usize::from(is_full)
    }

    /// Whether a request of this id is open.
    pub(in crate::upstream::session) fn is_open(&self, key: &Key) -> bool {
        self.open.contains_key(key)
    }

    /// Somebody answers. False where no request of this id is open: it was answered already.
    pub(in crate::upstream::session) fn answer(&mut self, key: &Key) -> bool {
        let Some(until) = self.open.remove(key) else { return false };
        self.ends.remove(&(until, key.clone()));
        true
    }

    /// When [`Serving::expire`] has something to do.
    pub(in crate::upstream::session) fn next_timeout(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Forgets those that nobody has answered in time, and says how many they were.
    pub(in crate::upstream::session) fn expire(&mut self, now: Instant) -> usize {
        let before = self.open.len();
        while let Some((at, key)) = self.ends.pop_first() {
            if at > now {
                self.ends.insert((at, key));
                break;
            }
            self.open.remove(&key);
        }
        before - self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::{Config, Environment},
        upstream::session::{matcher::Slots, probe::Probe},
    };

    #[test]
    fn of_ten_thousand_that_are_open_the_oldest_is_forgotten_for_one_more() {
        let text = "upstream.url = \"ws://a\"\n[requests]\nid = \"/1\"\n[requests.server]\nwhen = { \"/0\" = 2 }\n\
                    id = \"/1\"\nanswer = { \"/0\" = 3 }\ntimeout = \"5s\"";
        let config = Config::parse(text, &Environment::fixed([])).unwrap();
        let mut slots = Slots::default();
        let rules = RequestRules::new(&config.terms.requests.unwrap(), &mut slots);
        let (probe, mut serving, mut now) =
            (Probe::new(slots.pointers()), Serving::default(), Instant::now());
        let hear = |serving: &mut Serving, now, text: &str| {
            serving.hear(now, &rules, &Look::at(text, probe.look(text).as_ref()))
        };
        let key = |n: usize| Key::from(n.to_string());
        for n in 0..MAX_OPEN {
            assert_eq!(hear(&mut serving, now, &format!("[2,\"{n}\",{{}}]")), 0);
            now += Duration::from_micros(1);
        }
        assert_eq!(hear(&mut serving, now, "[2,\"0\",{}]"), 0, "asked again, it is the newest");
        assert_eq!(hear(&mut serving, now, "[2,\"more\",{}]"), 1);
        assert_eq!((serving.open.len(), serving.ends.len()), (MAX_OPEN, MAX_OPEN));
        assert!(!serving.answer(&key(1)) && serving.is_open(&key(0)) && serving.is_open(&"more".into()));
        assert!(serving.answer(&key(2)) && !serving.answer(&key(2)), "once");
        for other in ["[3,\"x\",{}]", "[2]", "[2,null]", "{}", "[2,{}]"] {
            assert_eq!((hear(&mut serving, now, other), serving.open.len()), (0, MAX_OPEN - 1), "{other}");
        }
        assert_eq!(serving.expire(now + Duration::from_secs(4)), 0);
        assert_eq!(serving.next_timeout().map(|at| at < now + Duration::from_secs(5)), Some(true));
        assert_eq!(serving.expire(now + Duration::from_secs(5)), MAX_OPEN - 1);
        assert_eq!((serving.next_timeout(), serving.open.len()), (None, 0));
    }
}
