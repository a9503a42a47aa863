//! Topics that are subscribed to over another machine's link: what that machine is told, and what it answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Instant,
};

use super::{SubscriptionError, Subscriptions, Topic};

/// So many topics go into a wish at most.
const MAX_WISH: usize = 256;

/// What the machine with the link knows of the topics that clients want here.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// In which session with it; another one knows nothing.
    session: u64,
    /// Its link is up, and it is told.
    is_open: bool,
    /// What it was told, by topic.
    told: BTreeMap<Topic, Told>,
    /// What is still to be told: that these are wanted, and these no more.
    unsaid: BTreeSet<Topic>,
    unwanted: BTreeSet<Topic>,
    next_number: u64,
}

#[derive(Debug)]
struct Told {
    payload: Option<Rc<str>>,
    number: u64,
    is_live: bool,
}

/// What the machine with the link is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Clients want these. It answers by the number.
    Want {
        /// The wish's number.
        number: u64,
        /// The topics.
        topics: Vec<Topic>,
        /// The JSON that goes with them.
        payload: Option<Rc<str>>,
        /// Clients have had them before.
        again: bool,
    },
    /// They don't want these any more.
    Unwant {
        /// The topics.
        topics: Vec<Topic>,
    },
}

impl Elsewhere {
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn is_live(&self, topic: &Topic) -> bool {
        self.is_open && self.told.get(topic).is_some_and(|told| told.is_live)
    }

    pub(super) fn want(&mut self, topic: &Topic, payload: Option<&Rc<str>>) {
        match self.told.get(topic) {
            Some(told) if told.payload.as_ref() == payload => {
                self.unwanted.remove(topic);
            }
            _ => drop(self.unsaid.insert(Rc::clone(topic))),
        }
    }

    pub(super) fn give_up(&mut self, topic: &Topic) {
        self.unsaid.remove(topic);
        if self.told.contains_key(topic) {
            self.unwanted.insert(Rc::clone(topic));
        }
    }
}

impl Subscriptions {
    /// The link is another machine's, and up: it is told of all topics in this session. None: it isn't up, or isn't
    /// elsewhere.
    pub fn set_elsewhere(&mut self, session: Option<u64>) {
        let elsewhere = &mut self.elsewhere;
        match session {
            None => elsewhere.is_open = false,
            Some(session) if elsewhere.is_open && elsewhere.session == session => {}
            Some(session) => {
                if elsewhere.session != session {
                    *elsewhere =
                        Elsewhere { session, next_number: elsewhere.next_number, ..Elsewhere::default() };
                }
                elsewhere.is_open = true;
                // what it knows it may have lost, and what it has it takes once more
                elsewhere.told.values_mut().for_each(|told| told.is_live = false);
                // what nobody holds lingers there, if it is there
                while let Some((_, topic)) = self.lapsing.pop_first() {
                    self.lapse(&topic);
                }
                self.elsewhere.unsaid = self.topics.keys().cloned().collect();
            }
        }
    }

    /// The link is here: nothing is told elsewhere any more.
    pub fn forget_elsewhere(&mut self) {
        let next_number = self.elsewhere.next_number;
        self.elsewhere = Elsewhere { next_number, ..Elsewhere::default() };
    }

    /// What the machine with the link is to be told next.
    pub fn next_wish(&mut self) -> Option<Wish> {
        let elsewhere = &mut self.elsewhere;
        if !elsewhere.is_open {
            return None;
        }
        let mut topics = Vec::new();
        while topics.len() < MAX_WISH
            && let Some(topic) = elsewhere.unwanted.pop_first()
        {
            elsewhere.told.remove(&topic);
            topics.push(topic);
        }
        if !topics.is_empty() {
            return Some(Wish::Unwant { topics });
        }
        elsewhere.next_number += 1;
        let number = elsewhere.next_number;
        let (mut payload, mut again) = (None, false);
        while topics.len() < MAX_WISH
            && let Some(topic) = elsewhere.unsaid.first().cloned()
        {
            let Some(held) = self.topics.get(&topic) else {
                elsewhere.unsaid.pop_first();
                continue;
            };
            let asks = held.asks.iter().filter_map(|ask| self.asks.get(ask));
            let waiting: BTreeSet<u64> = asks.map(|ask| ask.client).collect();
            let had = held.holders.iter().any(|(_, client)| !waiting.contains(client));
            if !topics.is_empty() && (&held.payload, had) != (&payload, again) {
                break;
            }
            again = had;
            elsewhere.unsaid.pop_first();
            payload.clone_from(&held.payload);
            let told = Told { payload: held.payload.clone(), number, is_live: false };
            elsewhere.told.insert(Rc::clone(&topic), told);
            topics.push(topic);
        }
        (!topics.is_empty()).then_some(Wish::Want { number, topics, payload, again })
    }

    /// The machine with the link has answered a wish: it hasn't these, for the reason in the sentence; the server has
    /// the others.
    pub fn answered_elsewhere(
        &mut self,
        number: u64,
        denied: &[Topic],
        trouble: SubscriptionError,
        why: &str,
    ) {
        let of_wish = self.elsewhere.told.iter().filter(|(_, told)| told.number == number);
        let all: Vec<Topic> = of_wish.map(|(topic, _)| Rc::clone(topic)).collect();
        for topic in all {
            if denied.contains(&topic) {
                self.deny(&topic, trouble, why);
            } else {
                self.elsewhere.told.get_mut(&topic).into_iter().for_each(|told| told.is_live = true);
                self.settle(&topic);
            }
        }
    }

    /// The machine with the link has lost these; or, where they are kept, it got no answer about them in time, and they may
    /// be without messages.
    pub fn lost_elsewhere(
        &mut self,
        now: Instant,
        topics: &[Topic],
        is_kept: bool,
        trouble: SubscriptionError,
        why: &str,
    ) {
        for topic in topics {
            if !self.elsewhere.told.contains_key(topic) {
                continue; // it was given up meanwhile
            }
            match is_kept {
                true => self.unanswered(now, topic),
                false => self.deny(topic, trouble, why),
            }
        }
    }

    fn deny(&mut self, topic: &Topic, trouble: SubscriptionError, why: &str) {
        self.elsewhere.told.remove(topic);
        if self.elsewhere.unwanted.remove(topic) && self.topics.contains_key(topic) {
            // it is wanted again, in another way
            self.elsewhere.unsaid.insert(Rc::clone(topic));
            return;
        }
        self.lose(topic, trouble, why);
    }

    /// Gives up, of these topics, those that a client holds: for another machine's, whose clients want them no more.
    pub fn release_held(&mut self, now: Instant, client: u64, topics: &[String]) {
        let held = |topic: &&String| {
            self.clients.get(&client).is_some_and(|client| client.topics.contains(topic.as_str()))
        };
        let held: Vec<String> = topics.iter().filter(held).cloned().collect();
        if !held.is_empty() {
            let _ = self.unsubscribe(now, client, &held); // all of them are
        }
    }
}
