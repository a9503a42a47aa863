//! Who subscribes to which topic, counted over all clients, and what of it is to be said to the server. Pure.
//!
//! Clients come and go by [`Subscriptions::subscribe`], [`Subscriptions::unsubscribe`] and [`Subscriptions::leave`].
//! The link opens a [seat](connection::ConnectionTopics) for each connection on which topics are said, asks what to
//! say ([`Subscriptions::next`]), tells that it went out ([`Subscriptions::said`]) and what was answered
//! ([`Subscriptions::heard`]). After each of these, and when time has passed, [`Subscriptions::poll_word`] has what
//! clients are to hear.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Instant,
};

use super::Origin;
use crate::config;

mod asking;
mod connection;
mod elsewhere;
mod hearing;
mod saying;
mod shares;
#[cfg(test)]
mod tests;

use self::{
    asking::{Ask, Subscriber},
    connection::{ConnectionTopics, SubscriptionPhase, TopicsById},
    elsewhere::Elsewhere,
    shares::Share,
};
pub use self::{
    asking::{Asking, Callback, SubscriptionError, Word},
    elsewhere::Wish,
    hearing::{AnswerKind, TopicAnswer},
    saying::{Saying, SayingKind},
};

/// A topic, by its name.
pub type Topic = Rc<str>;

/// So many seats for connections there are.
const SEATS: usize = 2;
/// All payloads that are kept with topics, in bytes.
const MAX_PAYLOADS: usize = 16 << 20;

/// The table of all subscriptions.
#[derive(Default)]
pub struct Subscriptions {
    terms: Option<Rc<config::Subscriptions>>,
    topics: BTreeMap<Topic, SharedTopic>,
    clients: BTreeMap<u64, Subscriber>,
    /// What each user's clients have of it all; none of who has nothing.
    users: BTreeMap<u32, Share>,
    /// What all of them take: see [`Share::room`].
    room: usize,
    asks: BTreeMap<u64, Ask>,
    next_number: u64,
    seats: [Option<ConnectionTopics>; SEATS],
    /// What another machine is told, where that has the link.
    elsewhere: Elsewhere,
    /// Of those that aren't told any more: topics by the id that messages carry.
    retired: [Option<TopicsById>; SEATS],
    /// Topics that nobody holds any more, by when they are given up.
    lapsing: BTreeSet<(Instant, Topic)>,
    payload_bytes: usize,
    words: VecDeque<(Callback, Word)>,
}

/// A topic that somebody holds, or held a moment ago.
struct SharedTopic {
    payload: Option<Rc<str>>,
    /// What it must have in common with others to be said with them.
    group: Rc<str>,
    /// Clients, by their users.
    holders: BTreeSet<(u32, u64)>,
    /// Those of `asks` that wait for word of it.
    asks: Vec<u64>,
    /// Those that have word of it, and wait for word of others: until then they may still lose it.
    settled: Vec<u64>,
    lapses: Option<Instant>,
}

/// How a topic is, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicState {
    /// The server has it.
    Subscribed,
    /// It waits to be said, or for the server's answer.
    Waiting,
    /// Its last subscriber has gone, and it is given up soon.
    Lingering,
}

impl Subscriptions {
    /// How topics are said from now on; `None`: not at all, and what there is is lost.
    pub fn set_terms(&mut self, terms: Option<config::Subscriptions>) {
        if terms.is_none() {
            let topics: Vec<_> = self.topics.keys().cloned().collect();
            let why = "the configuration has no topics.subscribe any more";
            topics.iter().for_each(|topic| self.lose(topic, SubscriptionError::Ended, why));
            (0..SEATS).for_each(|seat| self.close(seat));
        }
        self.terms = terms.map(Rc::new);
        let Some(terms) = self.terms.clone() else { return };
        let mut unfit = Vec::new();
        for (topic, held) in &mut self.topics {
            held.group = terms.group(topic, held.payload.as_deref()).into();
            unfit.extend(terms.check(topic).err().map(|why| (Rc::clone(topic), why)));
        }
        for (topic, why) in unfit {
            self.lose(&topic, SubscriptionError::Refused, &format!("by the new configuration it {why}"));
        }
    }

    /// How topics are said.
    pub fn terms(&self) -> Option<&Rc<config::Subscriptions>> {
        self.terms.as_ref()
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The topics, those of one client or all, with how many clients hold each.
    pub fn rows(&self, client: Option<u64>) -> impl Iterator<Item = (&Topic, usize, TopicState)> {
        let uid = client.and_then(|client| Some(self.clients.get(&client)?.uid()));
        let is_meant = move |held: &SharedTopic| match (client, uid) {
            (None, _) => true,
            (Some(client), Some(uid)) => held.holders.contains(&(uid, client)),
            (Some(_), None) => false,
        };
        self.topics.iter().filter(move |(_, held)| is_meant(held)).map(|(topic, held)| {
            let state = match self.is_live(topic) {
                _ if held.holders.is_empty() => TopicState::Lingering,
                true => TopicState::Subscribed,
                false => TopicState::Waiting,
            };
            (topic, held.holders.len(), state)
        })
    }

    /// The topics that a client holds.
    pub fn of(&self, client: u64) -> impl Iterator<Item = &Topic> {
        self.clients.get(&client).into_iter().flat_map(|client| &client.topics)
    }

    /// The next thing that a client is to hear.
    pub fn poll_word(&mut self) -> Option<(Callback, Word)> {
        self.words.pop_front()
    }

    /// When to call [`Subscriptions::timeout`], if nothing else happens before.
    pub fn next_timeout(&self) -> Option<Instant> {
        let lapse = self.lapsing.first().map(|(at, _)| *at);
        let answers = self.seats.iter().flatten().filter_map(ConnectionTopics::next_due);
        answers.chain(lapse).min()
    }

    /// Gives up what nobody has held for long enough, and what wasn't answered in time.
    pub fn timeout(&mut self, now: Instant) {
        for seat in 0..SEATS {
            while let Some(unanswered) = self.seats[seat].as_mut().and_then(|seat| seat.take_overdue(now)) {
                unanswered.iter().for_each(|topic| self.unanswered(now, topic));
            }
        }
        while let Some((at, topic)) = self.lapsing.first().cloned()
            && at <= now
        {
            self.lapsing.pop_first();
            self.lapse(&topic);
        }
    }

    /// Whether some connection has it.
    fn is_live(&self, topic: &Topic) -> bool {
        self.seats.iter().flatten().any(|seat| seat.is_live(topic)) || self.elsewhere.is_live(topic)
    }

    /// The topic isn't wanted any more: it is unsubscribed from wherever it was said.
    fn lapse(&mut self, topic: &Topic) {
        let says = self.terms.as_ref().is_some_and(|terms| terms.unsubscribe.is_some());
        let most = self.terms.as_ref().map_or(0, |terms| terms.max);
        self.seats.iter_mut().flatten().for_each(|seat| seat.give_up(topic, says, most));
        self.elsewhere.give_up(topic);
        if let Some(held) = self.topics.remove(topic) {
            self.payload_bytes -= held.payload.map_or(0, |payload| payload.len());
            if let Some(at) = held.lapses {
                self.lapsing.remove(&(at, Rc::clone(topic)));
            }
        }
    }

    /// The server won't have it: who asked for it hears so, and who held it.
    fn lose(&mut self, topic: &Topic, trouble: SubscriptionError, why: &str) {
        let Some(held) = self.topics.get_mut(topic) else { return };
        let mut asks = std::mem::take(&mut held.asks);
        asks.append(&mut held.settled);
        let holders = std::mem::take(&mut held.holders);
        let mut told = BTreeSet::new();
        for ask in asks {
            told.extend(self.asks.get(&ask).map(|ask| ask.client));
            self.fail_ask(ask, topic, trouble, why);
        }
        for uid in holders.iter().map(|(uid, _)| *uid).collect::<BTreeSet<_>>() {
            self.charge(uid, |share| share.topics -= 1);
        }
        for (_, id) in holders {
            if let Some(client) = self.clients.get(&id) {
                let topics = || vec![Rc::clone(topic)];
                if !told.contains(&id) {
                    let word = Word::Failed { trouble, topics: topics(), why: why.to_owned() };
                    self.words.push_back((Rc::clone(&client.losses), word));
                }
                let word = Word::Holds { topics: topics(), holds: false };
                self.words.push_back((Rc::clone(&client.losses), word));
            }
            self.forget_held(id, topic);
        }
        self.lapse(topic);
    }

    /// No answer came in time. Who asked gives it up; for the others the server may have it, and it stays.
    fn unanswered(&mut self, now: Instant, topic: &Topic) {
        let Some(held) = self.topics.get_mut(topic) else { return };
        let why = "the server hasn't answered within topics.answer.timeout";
        let (kept, asks): (Vec<_>, Vec<_>) = std::mem::take(&mut held.asks)
            .into_iter()
            .partition(|ask| self.asks.get(ask).is_some_and(|ask| ask.keeps));
        for ask in asks {
            let Some(client) = self.asks.get(&ask).map(|ask| ask.client) else { continue };
            let losses = self.clients.get(&client).map(|client| Rc::clone(&client.losses));
            self.fail_ask(ask, topic, SubscriptionError::Timeout, why);
            let word = Word::Holds { topics: vec![Rc::clone(topic)], holds: false };
            self.words.extend(losses.map(|losses| (losses, word)));
            self.release(now, client, topic);
        }
        let Some(held) = self.topics.get(topic) else { return };
        let why = format!("{why} when it was said again; it is kept, and may be without messages");
        for client in held.holders.iter().filter_map(|(_, id)| self.clients.get(id)) {
            let (topics, why) = (vec![Rc::clone(topic)], why.clone());
            self.words.push_back((
                Rc::clone(&client.losses),
                Word::Failed { trouble: SubscriptionError::Timeout, topics, why },
            ));
        }
        kept.into_iter().for_each(|ask| self.settle_ask(ask, topic));
    }

    /// The server has it.
    fn settle(&mut self, topic: &Topic) {
        let Some(held) = self.topics.get_mut(topic) else { return };
        let (asks, mut settled) = (std::mem::take(&mut held.asks), std::mem::take(&mut held.settled));
        settled.extend(&asks);
        asks.into_iter().for_each(|ask| self.settle_ask(ask, topic));
        settled.retain(|ask| self.asks.contains_key(ask));
        if let Some(held) = self.topics.get_mut(topic) {
            held.settled = settled;
        }
    }
}
