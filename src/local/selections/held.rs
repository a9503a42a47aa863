//! The topics that a client is subscribed to, as part of what it wants. Pure.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::hub::Topic;

/// Topics by their names. Two that hold the same are told to be the same without going through them, in nearly all
/// cases where they aren't.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldTopics {
    topics: BTreeSet<Topic>,
    /// The sum over all of them, whatever the order.
    hash: u64,
}

impl HeldTopics {
    pub(super) fn has(&self, topic: &str) -> bool {
        self.topics.contains(topic)
    }

    /// It holds these from now on, or no longer.
    pub(super) fn set(&mut self, topics: &[Topic], holds: bool) {
        for topic in topics {
            let mut hasher = DefaultHasher::new();
            topic.hash(&mut hasher);
            match holds {
                true if self.topics.insert(topic.clone()) => {
                    self.hash = self.hash.wrapping_add(hasher.finish())
                }
                false if self.topics.remove(topic) => self.hash = self.hash.wrapping_sub(hasher.finish()),
                _ => {}
            }
        }
    }
}

impl PartialEq for HeldTopics {
    fn eq(&self, other: &HeldTopics) -> bool {
        self.hash == other.hash && self.topics == other.topics
    }
}

impl Eq for HeldTopics {}

impl Hash for HeldTopics {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However it came about, what holds the same is the same, and what doesn't isn't.
        #[test]
        fn what_is_held_is_all_that_counts(steps in prop::collection::vec((0u8..6, any::<bool>()), 0..40)) {
            let (mut held, mut plain) = (HeldTopics::default(), BTreeSet::new());
            for (topic, holds) in steps {
                let topic: Topic = topic.to_string().into();
                held.set(&[topic.clone(), topic.clone()], holds);
                if holds { plain.insert(topic) } else { plain.remove(&topic) };
            }
            let mut fresh = HeldTopics::default();
            fresh.set(&plain.iter().cloned().collect::<Vec<_>>(), true);
            prop_assert!(fresh == held && fresh.hash == held.hash);
            prop_assert_eq!(held.has("3"), plain.contains("3"));
            fresh.set(&["another".into()], true);
            prop_assert!(fresh != held && fresh.hash != held.hash);
        }
    }
}
