//! The names of messages that were heard while two connections are read, so that each is published
//! once. Pure.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::Slot;
use crate::{config::Pointer, upstream::session::probe::Probe};

/// So many bytes of names are kept; when there are more, the oldest are forgotten, and one of them
/// that is heard then is published again rather than lost.
const MAX_BYTES: usize = 4 << 20;
/// What a name costs beside its own bytes: both of its places, roughly.
const OVERHEAD: usize = 96;
/// A longer name is kept as its hash.
const MAX_NAME: usize = 64;

/// What was heard, and on which of the two connections.
#[derive(Debug)]
pub(in crate::upstream) struct Seen {
    /// Where a name is; none where it is the whole message, byte for byte.
    probe: Option<Probe>,
    names: HashMap<MessageName, Count>,
    /// Oldest first.
    order: VecDeque<MessageName>,
    bytes: usize,
    /// Both connections have said the same message: each has said, or will say, all that the other does.
    have_met: bool,
}

/// What names a message: the JSON at the pointer as text, or a hash of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum MessageName {
    Short(Box<str>),
    Long { hash: [u64; 2], length: usize },
}

/// How often a name was heard on each connection, and how often it was published: as often as on the
/// connection that had it more often.
#[derive(Debug, Default)]
struct Count {
    heard: [u32; 2],
    published: u32,
}

impl Seen {
    pub(in crate::upstream) fn new(pointer: Pointer) -> Seen {
        let probe = (!pointer.tokens().is_empty()).then(|| Probe::new(&[pointer]));
        Seen { probe, names: HashMap::new(), order: VecDeque::new(), bytes: 0, have_met: false }
    }

    /// Another connection takes this seat: it has said nothing yet.
    pub(in crate::upstream) fn begin(&mut self, slot: Slot) {
        self.have_met = false;
        self.names.values_mut().for_each(|count| count.heard[slot.index()] = 0);
    }

    /// Whether a message that came in on this seat is to be published. One without a name always is.
    pub(in crate::upstream) fn is_new(&mut self, slot: Slot, text: &str) -> bool {
        let Some(name) = self.name(text) else { return true };
        if !self.names.contains_key(&name) {
            self.bytes += name.cost();
            self.order.push_back(name.clone());
            while self.bytes > MAX_BYTES
                && let Some(oldest) = self.order.pop_front()
            {
                self.bytes -= oldest.cost();
                self.names.remove(&oldest);
            }
        }
        let count = self.names.entry(name).or_default();
        self.have_met |= count.heard[slot.other().index()] > 0;
        let heard = &mut count.heard[slot.index()];
        *heard += 1;
        let is_new = *heard > count.published;
        count.published = count.published.max(*heard);
        is_new
    }

    /// Whether the two connections have said the same message. As each says all in order, what the one
    /// hasn't said yet the other has, or will.
    pub(in crate::upstream) fn have_met(&self) -> bool {
        self.have_met
    }

    fn name(&self, text: &str) -> Option<MessageName> {
        let Some(probe) = &self.probe else { return Some(MessageName::of(text)) };
        // as it is written: numbers too long for any type are not the same for it
        let found = probe.look(text)?;
        found.get(0).filter(|name| *name != "null").map(MessageName::of)
    }
}

impl MessageName {
    fn of(text: &str) -> MessageName {
        if text.len() <= MAX_NAME {
            return MessageName::Short(text.into());
        }
        let hash = [0_u8, 1].map(|salt| {
            let mut hasher = DefaultHasher::new();
            (salt, text).hash(&mut hasher);
            hasher.finish()
        });
        MessageName::Long { hash, length: text.len() }
    }

    fn cost(&self) -> usize {
        match self {
            MessageName::Short(text) => 2 * text.len() + OVERHEAD,
            MessageName::Long { .. } => OVERHEAD,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(pointer: &str) -> Seen {
        Seen::new(Pointer::parse(pointer).unwrap())
    }

    #[test]
    fn what_both_connections_say_is_new_once() {
        let mut seen = seen("/id");
        assert!(seen.is_new(Slot::A, r#"{"id":1}"#));
        assert!(!seen.have_met());
        assert!(!seen.is_new(Slot::B, r#"{"id":1,"more":true}"#));
        assert!(seen.have_met());
        assert!(seen.is_new(Slot::B, r#"{"id":2}"#));
        assert!(!seen.is_new(Slot::A, r#"{"id":2}"#));
        assert!(seen.is_new(Slot::A, r#"{"id":"2"}"#), "a text is no number");
        assert!(seen.is_new(Slot::A, r#"{"id":123456789012345678901}"#));
        assert!(seen.is_new(Slot::B, r#"{"id":123456789012345678902}"#), "all digits count");
    }

    #[test]
    fn what_a_connection_said_that_failed_is_not_new_from_the_next_one() {
        let mut seen = seen("/id");
        assert!(seen.is_new(Slot::B, r#"{"id":1}"#));
        seen.begin(Slot::B);
        assert!(!seen.is_new(Slot::B, r#"{"id":1}"#));
        assert!(!seen.is_new(Slot::A, r#"{"id":1}"#));
        assert!(seen.have_met());
    }

    #[test]
    fn a_message_without_a_name_is_always_new() {
        let mut seen = seen("/id");
        for text in ["{}", "not JSON", r#"{"id":null}"#, "[1]"] {
            assert!(seen.is_new(Slot::A, text) && seen.is_new(Slot::B, text), "{text}");
        }
    }

    #[test]
    fn the_empty_pointer_names_the_whole_message_byte_for_byte() {
        let mut seen = seen("");
        let long = "x".repeat(1_000);
        for text in ["not JSON", r#"{"a":1}"#, &long] {
            assert!(seen.is_new(Slot::A, text) && !seen.is_new(Slot::B, text));
        }
        assert!(seen.is_new(Slot::B, r#"{"a": 1}"#));
        assert!(seen.is_new(Slot::B, &"x".repeat(999)));
    }

    #[test]
    fn names_are_bounded_and_what_is_forgotten_is_published_again() {
        let mut seen = seen("");
        for n in 0..100_000 {
            assert!(seen.is_new(Slot::A, &n.to_string()));
            assert!(seen.bytes <= MAX_BYTES && seen.names.len() == seen.order.len());
        }
        assert!(!seen.is_new(Slot::B, "99999"));
        assert!(seen.is_new(Slot::B, "0"));
    }

    proptest! {
        #[test]
        fn each_name_is_published_as_often_as_the_connection_that_had_it_more_often(
            heard in prop::collection::vec((any::<bool>(), 0_u8..4), 0..60),
        ) {
            let (mut seen, mut published) = (seen(""), [0; 4]);
            for (first, name) in &heard {
                let slot = if *first { Slot::A } else { Slot::B };
                published[usize::from(*name)] += usize::from(seen.is_new(slot, &name.to_string()));
            }
            for name in 0..4_u8 {
                let on = |seat| heard.iter().filter(|(first, n)| *first == seat && *n == name).count();
                prop_assert_eq!(published[usize::from(name)], on(true).max(on(false)));
            }
        }
    }
}
