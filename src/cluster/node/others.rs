//! The other nodes of the cluster, by what they say of themselves. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::cluster::report::Beat;

/// So many nodes are kept in mind; a cluster of more isn't one.
const MAX_NODES: usize = 256;

/// What a beat has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing new.
    Nothing,
    /// Another node has this one's name.
    SameName,
}

/// Who is there.
#[derive(Debug)]
pub(super) struct Others {
    node: String,
    run: u64,
    kept_for: Duration,
    seen: BTreeMap<String, (Instant, bool)>,
    /// When another one of this name was heard last.
    namesake: Option<Instant>,
}

impl Others {
    /// Nobody yet. Who isn't heard of for so long isn't there.
    pub(super) fn new(node: &str, run: u64, kept_for: Duration) -> Others {
        Others { node: node.to_owned(), run, kept_for, seen: BTreeMap::new(), namesake: None }
    }

    /// What this node says of itself.
    pub(super) fn beat(&self, candidate: bool) -> Beat {
        Beat { node: self.node.clone(), run: self.run, candidate, bye: false, void: None, link: None }
    }

    /// What another says of itself, or this one.
    pub(super) fn hear(&mut self, now: Instant, beat: &Beat) -> Heard {
        if beat.node == self.node {
            if beat.run == self.run {
                return Heard::Nothing;
            }
            self.namesake = Some(now).filter(|_| !beat.bye);
            return if beat.bye { Heard::Nothing } else { Heard::SameName };
        }
        if beat.bye {
            self.seen.remove(&beat.node);
        } else if self.seen.len() < MAX_NODES || self.seen.contains_key(&beat.node) {
            self.seen.insert(beat.node.clone(), (now, beat.candidate));
        }
        Heard::Nothing
    }

    /// Lets go of who isn't heard of any more.
    pub(super) fn forget(&mut self, now: Instant) {
        let is_there = |at: &Instant| now.saturating_duration_since(*at) < self.kept_for;
        self.seen.retain(|_, (at, _)| is_there(at));
        self.namesake = self.namesake.filter(is_there);
    }

    /// Another one has this node's name.
    pub(super) fn has_namesake(&self) -> bool {
        self.namesake.is_some()
    }

    /// How many of them may hold the link.
    pub(super) fn candidates(&self) -> usize {
        self.seen.values().filter(|(_, stands)| *stands).count()
    }

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.seen.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_heard_of_is_there_until_it_leaves_or_falls_silent() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut here = Others::new("a", 1, 4 * second);
        let beat = |node, run, candidate| Others::new(node, run, second).beat(candidate);
        assert_eq!(here.hear(now, &beat("b", 2, true)), Heard::Nothing);
        here.hear(now + 2 * second, &beat("c", 3, false));
        here.hear(now, &beat("d", 4, true));
        here.hear(now, &Beat { bye: true, ..beat("d", 4, true) });
        assert_eq!(here.hear(now, &beat("a", 1, true)), Heard::Nothing, "its own");
        assert_eq!(here.hear(now, &beat("a", 9, true)), Heard::SameName);
        assert_eq!((here.candidates(), here.names().collect::<Vec<_>>()), (1, vec!["b", "c"]));
        here.forget(now + 4 * second);
        assert_eq!((here.candidates(), here.names().collect::<Vec<_>>()), (0, vec!["c"]));
    }

    #[test]
    fn a_namesake_is_there_until_it_leaves_or_falls_silent() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut here = Others::new("a", 1, 4 * second);
        let namesake = Others::new("a", 2, second).beat(true);
        here.hear(now, &here.beat(true));
        assert!(!here.has_namesake(), "that is this one");
        assert_eq!(here.hear(now, &namesake), Heard::SameName);
        here.forget(now + 3 * second);
        assert!(here.has_namesake() && here.candidates() == 0);
        here.forget(now + 4 * second);
        assert!(!here.has_namesake());
        here.hear(now + 5 * second, &namesake);
        assert_eq!(here.hear(now + 5 * second, &Beat { bye: true, ..namesake }), Heard::Nothing);
        assert!(!here.has_namesake());
    }

    #[test]
    fn no_more_are_kept_in_mind_than_there_can_be() {
        let now = Instant::now();
        let mut here = Others::new("a", 1, Duration::from_secs(4));
        for n in 0..1_000 {
            here.hear(now, &Others::new(&format!("n{n}"), 1, Duration::ZERO).beat(true));
        }
        assert_eq!(here.candidates(), MAX_NODES);
    }
}
