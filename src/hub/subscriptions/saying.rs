//! What is said on a connection, and when that is.

use std::{rc::Rc, time::Instant};

use super::{
    SubscriptionError, Subscriptions, Topic,
    connection::{ConnectionTopics, SubscriptionPhase},
};

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SayingKind {
    /// `topics.subscribe`.
    Subscribe,
    /// `topics.unsubscribe`.
    Unsubscribe,
}

/// A message to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// Its number, by which its fate is told.
    pub number: u64,
    /// What it says.
    pub kind: SayingKind,
    /// The topics, at least one.
    pub topics: Vec<Topic>,
    /// The JSON that goes with them.
    pub payload: Option<Rc<str>>,
    /// Of an `Unsubscribe`: the id by which the first was subscribed to, or that the server gave it.
    pub subscribed_id: Option<Rc<str>>,
}

impl Subscriptions {
    /// A connection is ready to be told of all topics.
    pub fn open(&mut self, seat: usize) {
        let Some(terms) = &self.terms else { return };
        let is_keyed = terms.answer.as_ref().is_some_and(|answer| answer.key_from.is_some());
        let mut opened = ConnectionTopics::new(is_keyed);
        for (topic, held) in &self.topics {
            if let Some(from) = self.holder(held) {
                opened.want(topic, &from, held.payload.as_ref());
                opened.topics.get_mut(topic).into_iter().for_each(|entry| entry.first = true);
                opened.unsettled += 1;
            }
        }
        self.close(seat);
        self.seats[seat] = Some(opened);
    }

    /// A connection isn't told any more, since another has taken over. It is still read: what it sends is of the topics
    /// that it was told of.
    pub fn retire(&mut self, seat: usize) {
        self.retired[seat] = self.seats[seat].take().map(ConnectionTopics::into_carried);
    }

    /// A connection has ended.
    pub fn close(&mut self, seat: usize) {
        (self.seats[seat], self.retired[seat]) = (None, None);
    }

    /// Whether a connection is read that was told of topics, and isn't any more.
    pub fn is_retired(&self, seat: usize) -> bool {
        self.retired[seat].is_some()
    }

    /// Whether a connection is told of topics.
    pub fn is_open(&self, seat: usize) -> bool {
        self.seats[seat].is_some()
    }

    /// Whether the server has, or has refused, all that there was when the connection was opened.
    pub fn is_settled(&self, seat: usize) -> bool {
        self.seats[seat].as_ref().is_none_or(|seat| seat.unsettled == 0)
    }

    /// Whether [`Subscriptions::next`] may have something.
    pub fn has_to_say(&self, seat: usize) -> bool {
        self.seats[seat].as_ref().is_some_and(|seat| {
            let is_said = seat.unsaid.is_empty() && seat.halves.is_empty();
            !(is_said && seat.unwanted.is_empty() && seat.unwanted_halves.is_empty())
        })
    }

    /// The next message. Its fate must follow: [`Subscriptions::said`], [`Subscriptions::unsayable`] or
    /// [`Subscriptions::too_large`].
    pub fn next(&mut self, seat: usize) -> Option<Saying> {
        let terms = self.terms.clone()?;
        let number = self.number();
        let open = self.seats[seat].as_mut()?;
        let Some(saying) = open.next_unsubscribe(&terms, number) else {
            return open.next_subscribe(&terms, &self.topics, number);
        };
        // some may be wanted meanwhile with another payload
        self.want_held(seat, &saying.topics);
        Some(saying)
    }

    /// Those of some topics that are held are said, with what they are held with, unless they were.
    pub(super) fn want_held(&mut self, seat: usize, topics: &[Topic]) {
        for topic in topics {
            let Some(held) = self.topics.get(topic) else { continue };
            if let Some(from) = self.holder(held)
                && let Some(seat) = self.seats[seat].as_mut()
            {
                seat.want(topic, &from, held.payload.as_ref());
            }
        }
    }

    /// A message went out, under this id.
    pub fn said(&mut self, now: Instant, seat: usize, saying: &Saying, id: Option<&str>) {
        let within = self.terms.as_ref().and_then(|terms| terms.answer_within());
        let Some(seat) = self.seats[seat].as_mut() else { return };
        let id: Option<Rc<str>> = id.map(Into::into);
        let Saying { number, kind, topics, .. } = saying;
        if let Some(message) = seat.messages.get_mut(number) {
            (message.id, message.due) = (id.clone(), within.map(|within| now + within));
        }
        if *kind == SayingKind::Subscribe {
            for topic in topics {
                seat.topics.get_mut(topic).into_iter().for_each(|entry| entry.id.clone_from(&id));
            }
            if let Some(id) = id {
                seat.ids.insert(id, topics.clone());
            }
        }
        if within.is_none() {
            seat.messages.remove(number);
            for topic in topics.iter().filter(|_| *kind == SayingKind::Subscribe) {
                self.seats.iter_mut().flatten().for_each(|seat| seat.accept(topic, *number));
                self.settle(topic);
            }
        }
    }

    /// A message can't be made, for the reason in the sentence.
    pub fn unsayable(&mut self, seat: usize, saying: &Saying, why: &str) {
        let Some(seat) = self.seats[seat].as_mut() else { return };
        seat.messages.remove(&saying.number);
        if saying.kind == SayingKind::Subscribe {
            saying.topics.iter().for_each(|topic| seat.forget(topic)); // it wasn't said
            saying.topics.iter().for_each(|topic| self.lose(topic, SubscriptionError::Refused, why));
        }
    }

    /// A message is larger than what may be sent: its topics are said in two, or not at all.
    pub fn too_large(&mut self, seat: usize, saying: &Saying, why: &str) {
        match saying.topics.len() {
            1 => self.unsayable(seat, saying, why),
            _ => {
                let Some(seat) = self.seats[seat].as_mut() else { return };
                seat.messages.remove(&saying.number);
                let (one, other) = saying.topics.split_at(saying.topics.len() / 2);
                match saying.kind {
                    SayingKind::Subscribe => {
                        seat.halve(&saying.topics, SubscriptionPhase::Asked(saying.number))
                    }
                    SayingKind::Unsubscribe => {
                        let halves = [one, other].map(|half| (half.to_vec(), saying.payload.clone()));
                        seat.unwanted_halves.extend(halves);
                    }
                }
            }
        }
    }

    /// The topic that was subscribed to under this id, or that the server gave it where it gives ids, if there is just
    /// one.
    pub fn topic_of(&self, seat: usize, id: &str) -> Option<&Topic> {
        let ids = self.seats[seat].as_ref().map(ConnectionTopics::carried).or(self.retired[seat].as_ref())?;
        match &ids.get(id)?[..] {
            [topic] => Some(topic),
            _ => None,
        }
    }
}
