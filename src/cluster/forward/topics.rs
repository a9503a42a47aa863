//! The topics that a node's clients share with those of all others.

use std::{rc::Rc, time::Instant};

use super::{
    Forward,
    session::Session,
    words::{Ask, Trouble},
};
use crate::hub::{LinkState, SubscriptionError, Subscriptions, Topic, Wish};

/// What the leader says of topics.
#[derive(Debug)]
pub(super) enum OfTopics {
    /// It has answered a wish.
    Wanted { session: u64, n: u64, denied: Vec<Topic>, trouble: Option<Trouble> },
    /// It has lost topics.
    Lost { session: u64, topics: Vec<Topic>, trouble: Trouble, is_kept: bool },
}

impl Forward {
    /// Tells the leader what of the table is wanted, and the table what it says of it. While this node doesn't lead, to be
    /// called after whatever has happened.
    pub(in super::super) fn tend_topics(&mut self, now: Instant, topics: &mut Subscriptions) {
        if self.leads {
            return;
        }
        let is_up = self.state() == LinkState::Up;
        let session = if is_up && !topics.is_empty() { self.session(now) } else { self.session.as_mut() };
        let session = session.map(|session| session.number);
        for said in std::mem::take(&mut self.of_topics) {
            match said {
                OfTopics::Wanted { session: of, n, denied, trouble } if Some(of) == session => {
                    let (kind, why) =
                        trouble.map_or((SubscriptionError::Refused, String::new()), Trouble::parts);
                    topics.answered_elsewhere(n, &denied, kind, &why);
                }
                OfTopics::Lost { session: of, topics: lost, trouble, is_kept } if Some(of) == session => {
                    let (kind, why) = trouble.parts();
                    topics.lost_elsewhere(now, &lost, is_kept, kind, &why);
                }
                _ => {} // another session knows better
            }
        }
        topics.set_elsewhere(session.filter(|_| is_up));
        while let Some(session) = &mut self.session
            && is_up
            && !session.is_full()
            && let Some(wish) = topics.next_wish()
        {
            session.wish(wish);
        }
    }
}

impl Session {
    fn wish(&mut self, wish: Wish) {
        let names = |topics: Vec<Topic>| topics.iter().map(ToString::to_string).collect();
        match wish {
            Wish::Want { number, topics, payload, again } => {
                let payload = payload.map(|payload| payload.to_string());
                self.say(&Ask::Want { n: number, topics: names(topics), payload, again }, &[]);
            }
            Wish::Unwant { topics } => {
                self.say(&Ask::Unwant { topics: names(topics) }, &[]);
            }
        }
    }
}

impl Trouble {
    pub(super) fn parts(self) -> (SubscriptionError, String) {
        (self.kind.into(), self.why)
    }
}

pub(super) fn names(topics: Vec<String>) -> Vec<Topic> {
    topics.into_iter().map(Rc::from).collect()
}
