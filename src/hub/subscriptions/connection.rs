//! What of the topics one connection has, and what is still to be said on it.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Instant,
};

use super::{Origin, Saying, SayingKind, SharedTopic, Topic};
use crate::{config, hub::Turns};

/// So many that aren't meant any more may wait among those that are, beside as many as are.
const STALE: usize = 1024;
/// So many times as many topics as go into a message are looked at for those that may.
const LOOKS: usize = 16;

/// Topics by an id.
pub(super) type TopicsById = BTreeMap<Rc<str>, Vec<Topic>>;

/// A connection.
#[derive(Default)]
pub(super) struct ConnectionTopics {
    pub(super) topics: BTreeMap<Topic, Entry>,
    /// Topics that are to be said, each with its entry's serial. Some may be said, or given up, by now.
    pub(super) unsaid: Turns<(Topic, u64)>,
    /// Halves of what was refused, each to be said by itself.
    pub(super) halves: VecDeque<Vec<Topic>>,
    /// Topics that are to be unsubscribed from, each with its entry's serial. Some may be wanted again by now.
    pub(super) unwanted: VecDeque<(Topic, u64)>,
    /// Topics that nobody wants any more, which the server sends all the same, each with its entry's serial. Some may be
    /// wanted again by now.
    abandoned: VecDeque<(Topic, u64)>,
    /// Halves of what was too large to be unsubscribed from at once, with their payload.
    pub(super) unwanted_halves: VecDeque<(Vec<Topic>, Option<Rc<str>>)>,
    /// What was said, by number, as long as an answer to it is awaited.
    pub(super) messages: BTreeMap<u64, SaidMessage>,
    /// Topics by the id under which they were said.
    pub(super) ids: TopicsById,
    /// Topics by the id that the server gave them: these are its own, and may look like those above.
    keys: TopicsById,
    /// Whether the server's answer has the id that an unsubscription names.
    is_keyed: bool,
    /// How many that were there when it was opened are neither accepted nor refused yet.
    pub(super) unsettled: usize,
    leaving: usize,
    next_serial: u64,
}

/// A topic on a connection.
pub(super) struct Entry {
    /// No other on this connection ever has it.
    serial: u64,
    phase: SubscriptionPhase,
    pub(super) id: Option<Rc<str>>,
    /// The id that the server gave it.
    key: Option<Rc<str>>,
    /// The JSON that it is said with.
    payload: Option<Rc<str>>,
    /// It is to be unsubscribed from.
    leaving: bool,
    /// Nobody wants it any more, and that can't be said.
    is_abandoned: bool,
    /// It is among `unwanted`, or `abandoned`.
    is_queued: bool,
    /// It was there when the seat was opened, and isn't settled yet.
    pub(super) first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubscriptionPhase {
    /// It is to be said.
    Waits,
    /// It was said by the message of this number.
    Asked(u64),
    /// The server has it, as far as is known.
    Live,
}

/// A message that was said.
pub(super) struct SaidMessage {
    pub(super) kind: SayingKind,
    /// Those that aren't answered yet.
    pub(super) topics: Vec<Topic>,
    pub(super) id: Option<Rc<str>>,
    pub(super) due: Option<Instant>,
}

impl ConnectionTopics {
    pub(super) fn new(is_keyed: bool) -> Self {
        Self { is_keyed, ..Self::default() }
    }

    pub(super) fn is_live(&self, topic: &Topic) -> bool {
        self.topics.get(topic).is_some_and(|entry| entry.phase == SubscriptionPhase::Live && !entry.leaving)
    }

    pub(super) fn has(&self, topic: &Topic) -> bool {
        self.topics.get(topic).is_some_and(|entry| !entry.leaving)
    }

    pub(super) fn phase(&self, topic: &Topic) -> Option<SubscriptionPhase> {
        self.topics.get(topic).map(|entry| entry.phase)
    }

    /// Whether it was said, and is to be taken back: nobody wants it any more, or with another payload.
    pub(super) fn is_leaving(&self, topic: &Topic) -> bool {
        self.topics.get(topic).is_some_and(|entry| entry.leaving)
    }

    /// Topics by the id that messages carry, and ends.
    pub(super) fn carried(&self) -> &TopicsById {
        if self.is_keyed { &self.keys } else { &self.ids }
    }

    /// The same, of a connection that isn't told any more.
    pub(super) fn into_carried(self) -> TopicsById {
        if self.is_keyed { self.keys } else { self.ids }
    }

    /// All topics, with how each is.
    pub(super) fn phases(&self) -> impl Iterator<Item = (&Topic, SubscriptionPhase)> {
        self.topics.iter().map(|(topic, entry)| (topic, entry.phase))
    }

    /// How many wait to be unsubscribed from.
    pub(super) fn leaving(&self) -> usize {
        self.leaving
    }

    /// How much waits to be said: for tests.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.unsaid.len() + self.unwanted.len()
    }

    /// A topic is wanted: it is said, unless it was. One that was said with another payload is first taken back.
    pub(super) fn want(&mut self, topic: &Topic, from: &Origin, payload: Option<&Rc<str>>) {
        match self.topics.get_mut(topic) {
            Some(entry) if entry.is_abandoned && entry.payload.as_ref() != payload => {
                self.forget(topic);
                self.want(topic, from, payload);
            }
            Some(entry) if entry.leaving && entry.payload.as_ref() != payload => {}
            Some(entry) => {
                entry.is_abandoned = false; // the server sends it still
                self.leaving -= usize::from(std::mem::take(&mut entry.leaving));
            }
            None => {
                let serial = self.next_serial;
                self.next_serial += 1;
                let entry = Entry {
                    serial,
                    phase: SubscriptionPhase::Waits,
                    id: None,
                    key: None,
                    payload: payload.cloned(),
                    leaving: false,
                    is_abandoned: false,
                    is_queued: false,
                    first: false,
                };
                self.topics.insert(Rc::clone(topic), entry);
                self.unsaid.push(from, (Rc::clone(topic), serial));
                if self.unsaid.len() > 2 * self.topics.len() + STALE {
                    // those that were given up before it was their turn
                    let topics = &self.topics;
                    self.unsaid.take_all(|(topic, serial)| {
                        topics.get(topic).is_none_or(|entry| entry.serial != *serial)
                    });
                }
            }
        }
    }

    /// What was said at once, and isn't good as a whole, is said again in two, each for itself: one of the topics may be
    /// to blame for all.
    pub(super) fn halve(&mut self, topics: &[Topic], phase: SubscriptionPhase) {
        let mut again = Vec::with_capacity(topics.len());
        for topic in topics {
            let Some(entry) = self.topics.get_mut(topic).filter(|entry| entry.phase == phase) else {
                continue;
            };
            if entry.leaving {
                self.forget(topic); // the server doesn't have it
                continue;
            }
            entry.phase = SubscriptionPhase::Waits;
            if let Some(id) = entry.id.take() {
                unlink(&mut self.ids, &id, topic);
            }
            again.push(Rc::clone(topic));
        }
        let other = again.split_off(again.len() / 2);
        self.halves.extend([again, other].into_iter().filter(|half| !half.is_empty()));
    }

    /// A topic isn't wanted. What was said of it is taken back, if that can be said; else it is remembered that the server
    /// has it, of `most` topics.
    pub(super) fn give_up(&mut self, topic: &Topic, says: bool, most: usize) {
        match self.topics.get_mut(topic) {
            Some(entry) if !says && entry.phase != SubscriptionPhase::Waits => {
                entry.is_abandoned = true;
                if !std::mem::replace(&mut entry.is_queued, true) {
                    self.abandoned.push_back((Rc::clone(topic), entry.serial));
                }
                self.settled(topic);
                while self.abandoned.len() > most
                    && let Some((oldest, serial)) = self.abandoned.pop_front()
                {
                    let entry = self.topics.get_mut(&oldest).filter(|entry| entry.serial == serial);
                    let Some(entry) = entry else { continue };
                    entry.is_queued = false;
                    if entry.is_abandoned {
                        self.forget(&oldest);
                    }
                }
            }
            Some(entry) if says && entry.phase != SubscriptionPhase::Waits => {
                if !std::mem::replace(&mut entry.leaving, true) {
                    self.leaving += 1;
                    // its id is still to come: see `accept`
                    let waits = self.is_keyed && matches!(entry.phase, SubscriptionPhase::Asked(_));
                    if !waits && !std::mem::replace(&mut entry.is_queued, true) {
                        self.unwanted.push_back((Rc::clone(topic), entry.serial));
                    }
                }
                if self.unwanted.len() > 2 * self.topics.len() + STALE {
                    // those of which the server said meanwhile that it hasn't got them
                    let topics = &self.topics;
                    let is_there = |(topic, serial): &(Topic, u64)| {
                        topics.get(topic).is_some_and(|entry| entry.serial == *serial)
                    };
                    self.unwanted.retain(is_there);
                }
                self.settled(topic);
            }
            _ => self.forget(topic),
        }
    }

    /// The server has accepted what the message said of a topic.
    pub(super) fn accept(&mut self, topic: &Topic, number: u64) {
        if let Some(entry) = self.topics.get_mut(topic)
            && entry.phase == SubscriptionPhase::Asked(number)
        {
            entry.phase = SubscriptionPhase::Live;
            if entry.leaving && !std::mem::replace(&mut entry.is_queued, true) {
                self.unwanted.push_back((Rc::clone(topic), entry.serial));
            }
            self.settled(topic);
        }
    }

    /// The server has given a topic this id, in place of that by which it was said.
    pub(super) fn key(&mut self, topic: &Topic, key: &str) {
        let Some(entry) = self.topics.get_mut(topic) else { return };
        let key: Rc<str> = key.into();
        if let Some(id) = entry.id.take() {
            unlink(&mut self.ids, &id, topic);
        }
        if let Some(old) = entry.key.replace(Rc::clone(&key)) {
            unlink(&mut self.keys, &old, topic);
        }
        self.keys.entry(key).or_default().push(Rc::clone(topic));
    }

    /// The server doesn't have it: nothing more is said of it here.
    pub(super) fn forget(&mut self, topic: &Topic) {
        self.settled(topic);
        let Some(entry) = self.topics.remove(topic) else { return };
        self.leaving -= usize::from(entry.leaving);
        if let Some(id) = entry.id {
            unlink(&mut self.ids, &id, topic);
        }
        if let Some(key) = entry.key {
            unlink(&mut self.keys, &key, topic);
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.messages.values().find_map(|message| message.due)
    }

    /// The topics of a message that should have been answered by now; they count as accepted. Of an unsubscription
    /// there are none.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<Vec<Topic>> {
        let overdue = |(number, message): (&u64, &SaidMessage)| {
            message.due.is_some_and(|due| due <= now).then_some(*number)
        };
        let number = self.messages.iter().find_map(overdue)?;
        let message = self.messages.remove(&number)?;
        if message.kind == SayingKind::Unsubscribe {
            return Some(Vec::new());
        }
        let asked = |topic: &Topic| self.phase(topic) == Some(SubscriptionPhase::Asked(number));
        let topics: Vec<_> = message.topics.into_iter().filter(asked).collect();
        topics.iter().for_each(|topic| self.accept(topic, number));
        Some(topics)
    }

    fn settled(&mut self, topic: &Topic) {
        if let Some(entry) = self.topics.get_mut(topic) {
            self.unsettled -= usize::from(std::mem::take(&mut entry.first));
        }
    }

    pub(super) fn next_unsubscribe(&mut self, terms: &config::Subscriptions, number: u64) -> Option<Saying> {
        let template = terms.unsubscribe.as_ref()?;
        if let Some((topics, payload)) = self.unwanted_halves.pop_front() {
            return Some(self.unsubscribe(number, topics, payload, None));
        }
        loop {
            let (topic, serial) = self.unwanted.pop_front()?;
            let entry = self.topics.get_mut(&topic).filter(|entry| entry.serial == serial);
            let Some(entry) = entry else { continue };
            entry.is_queued = false;
            if !entry.leaving {
                continue;
            }
            // by an id that the server didn't give, another's would be ended
            let subscribed_id = if self.is_keyed { &entry.key } else { &entry.id }.clone();
            let payload = entry.payload.clone();
            let mut topics = vec![topic];
            // with an id, or a payload, each has its own
            let is_list = template.placeholders().any(|(one, _)| *one == config::Placeholder::Topics)
                && !template.placeholders().any(|(one, _)| *one == config::Placeholder::SubscribedId);
            if is_list && terms.batch > 1 {
                let group = terms.group(&topics[0], payload.as_deref());
                let mut others = VecDeque::new();
                for _ in 0..LOOKS * terms.batch {
                    let Some((topic, serial)) = self.unwanted.pop_front() else { break };
                    let entry = self.topics.get(&topic).filter(|entry| entry.serial == serial);
                    let is_one = |entry: &Entry| {
                        entry.leaving && terms.group(&topic, entry.payload.as_deref()) == group
                    };
                    match entry {
                        Some(entry) if is_one(entry) => topics.push(topic),
                        _ => others.push_front((topic, serial)),
                    }
                    if topics.len() == terms.batch {
                        break;
                    }
                }
                others.into_iter().for_each(|other| self.unwanted.push_front(other));
            }
            topics.iter().for_each(|topic| self.forget(topic));
            return Some(self.unsubscribe(number, topics, payload, subscribed_id));
        }
    }

    fn unsubscribe(
        &mut self,
        number: u64,
        topics: Vec<Topic>,
        payload: Option<Rc<str>>,
        subscribed_id: Option<Rc<str>>,
    ) -> Saying {
        let message =
            SaidMessage { kind: SayingKind::Unsubscribe, topics: topics.clone(), id: None, due: None };
        self.messages.insert(number, message);
        Saying { number, kind: SayingKind::Unsubscribe, topics, payload, subscribed_id }
    }

    pub(super) fn next_subscribe(
        &mut self,
        terms: &config::Subscriptions,
        held: &BTreeMap<Topic, SharedTopic>,
        number: u64,
    ) -> Option<Saying> {
        loop {
            let taken = match self.halves.pop_front() {
                Some(half) => half,
                None => self.take_unsaid(terms, held)?,
            };
            let mut topics = Vec::with_capacity(taken.len());
            for topic in taken {
                match self.topics.get_mut(&topic) {
                    Some(entry) if entry.phase == SubscriptionPhase::Waits => {
                        // nobody holds what only lingers
                        if held.get(&topic).is_some_and(|held| !held.holders.is_empty()) {
                            entry.phase = SubscriptionPhase::Asked(number);
                            topics.push(topic);
                        } else {
                            self.forget(&topic);
                        }
                    }
                    _ => {}
                }
            }
            let Some(first) = topics.first() else { continue };
            let payload = held.get(first).and_then(|held| held.payload.clone());
            let message =
                SaidMessage { kind: SayingKind::Subscribe, topics: topics.clone(), id: None, due: None };
            self.messages.insert(number, message);
            return Some(Saying {
                number,
                kind: SayingKind::Subscribe,
                topics,
                payload,
                subscribed_id: None,
            });
        }
    }

    /// Topics that go into one message, whose turn it is.
    fn take_unsaid(
        &mut self,
        terms: &config::Subscriptions,
        held: &BTreeMap<Topic, SharedTopic>,
    ) -> Option<Vec<Topic>> {
        let first = self.unsaid.pop(|_| true)?;
        let group = held.get(&first.0).map(|held| Rc::clone(&held.group));
        let mut taken = vec![first];
        let fits = |(topic, _): &(Topic, u64)| held.get(topic).map(|held| &held.group) == group.as_ref();
        taken.extend(self.unsaid.take_some(terms.batch - 1, LOOKS * terms.batch, fits));
        taken.retain(|(topic, serial)| self.topics.get(topic).is_some_and(|entry| entry.serial == *serial));
        Some(taken.into_iter().map(|(topic, _)| topic).collect())
    }
}

/// The id doesn't lead to the topic any more.
fn unlink(ids: &mut TopicsById, id: &Rc<str>, topic: &Topic) {
    if let Some(topics) = ids.get_mut(id) {
        topics.retain(|one| one != topic);
        if topics.is_empty() {
            ids.remove(id);
        }
    }
}
