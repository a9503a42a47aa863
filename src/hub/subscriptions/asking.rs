//! What clients ask, and what they hear of it.

use std::{collections::BTreeSet, rc::Rc, time::Instant};

use super::{Held, MAX_PAYLOADS, Origin, Subscriptions, Topic};
use crate::config;

/// So many asks of one client may wait for word of a topic.
const MAX_ASKS: usize = 256;

/// Who hears a word.
pub type Listener = Rc<dyn Fn(&Word)>;

/// A client asks for topics.
pub struct Asking {
    /// Their names.
    pub topics: Vec<String>,
    /// The JSON that goes with them.
    pub payload: Option<String>,
    /// Who hears what comes of it: once at its end, and before that that it is queued.
    pub answer: Listener,
    /// Who hears what comes of the topics later.
    pub losses: Listener,
}

/// What came of an ask, or of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The link is down: it is said when there is a connection, and another word follows.
    Queued,
    /// The server has all topics.
    Subscribed,
    /// It doesn't have these; those that the ask had beside them it has.
    Failed {
        /// Why, by name.
        trouble: Trouble,
        /// The topics; none where the ask as a whole was not good.
        topics: Vec<Topic>,
        /// Why, in a sentence.
        why: String,
    },
}

/// Why a topic isn't subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No `topics.subscribe` is configured.
    Unsupported,
    /// The ask makes no sense.
    BadRequest,
    /// There is no room for it.
    TooMany,
    /// The server refused, or it can't be said.
    Refused,
    /// The server has ended it.
    Ended,
    /// No answer came.
    Timeout,
    /// The client unsubscribed before the answer.
    Cancelled,
}

/// A client that holds topics.
pub(super) struct Client {
    from: Rc<Origin>,
    pub(super) losses: Listener,
    pub(super) topics: BTreeSet<Topic>,
    /// Asks that wait.
    asks: usize,
}

/// An ask that waits for word of some topics.
pub(super) struct Ask {
    pub(super) client: u64,
    answer: Listener,
    left: BTreeSet<Topic>,
    failed: Vec<Topic>,
    first: Option<(Trouble, String)>,
}

impl Subscriptions {
    /// A client asks for topics. It holds them from now on, unless the ask is no good as a whole.
    pub fn subscribe(&mut self, from: &Rc<Origin>, asking: Asking) {
        let Asking { topics, payload, answer, losses } = asking;
        let topics: BTreeSet<Topic> = topics.into_iter().map(Into::into).collect();
        if let Err((trouble, topic, why)) = self.check(from, &topics, payload.as_deref()) {
            let topics = topic.into_iter().collect();
            return self.words.push_back((answer, Word::Failed { trouble, topics, why }));
        }
        let Some(terms) = self.terms.clone() else { return };
        let payload: Option<Rc<str>> = payload.map(Into::into);
        let number = self.number();
        let mut left = BTreeSet::new();
        for topic in topics {
            self.hold(&terms, from, &losses, &topic, payload.as_ref());
            for seat in self.seats.iter_mut().flatten() {
                seat.want(&topic, from);
            }
            if !self.is_live(&topic) {
                self.topics.get_mut(&topic).into_iter().for_each(|held| held.asks.push(number));
                left.insert(topic);
            }
        }
        if left.is_empty() {
            return self.words.push_back((answer, Word::Subscribed));
        }
        if self.seats.iter().all(Option::is_none) {
            self.words.push_back((Rc::clone(&answer), Word::Queued));
        }
        self.clients.get_mut(&from.client).into_iter().for_each(|client| client.asks += 1);
        self.asks.insert(number, Ask { client: from.client, answer, left, failed: Vec::new(), first: None });
    }

    /// A client gives topics up, all of these or none.
    ///
    /// # Errors
    ///
    /// Names those that it doesn't hold.
    pub fn unsubscribe(&mut self, now: Instant, client: u64, topics: &[String]) -> Result<(), Vec<String>> {
        let held = |topic: &&String| {
            self.clients.get(&client).is_some_and(|client| client.topics.contains(topic.as_str()))
        };
        let strange: Vec<String> = topics.iter().filter(|topic| !held(topic)).cloned().collect();
        if !strange.is_empty() {
            return Err(strange);
        }
        let topics: BTreeSet<Topic> = topics.iter().map(|topic| topic.as_str().into()).collect();
        for topic in topics {
            let asks = self.topics.get(&topic).map(|held| held.asks.clone()).unwrap_or_default();
            for ask in asks {
                if self.asks.get(&ask).is_some_and(|ask| ask.client == client) {
                    let why = "it was unsubscribed from before the server had answered";
                    self.fail_ask(ask, &topic, Trouble::Cancelled, why);
                    self.topics
                        .get_mut(&topic)
                        .into_iter()
                        .for_each(|held| held.asks.retain(|one| *one != ask));
                }
            }
            self.release(now, client, &topic);
        }
        Ok(())
    }

    /// A client has gone.
    pub fn leave(&mut self, now: Instant, client: u64) {
        let Some(there) = self.clients.get_mut(&client) else { return };
        let topics = there.topics.clone();
        let waited = std::mem::take(&mut there.asks) > 0;
        if waited {
            self.asks.retain(|_, ask| ask.client != client);
        }
        for topic in topics {
            if let Some(held) = self.topics.get_mut(&topic).filter(|_| waited) {
                held.asks.retain(|ask| self.asks.contains_key(ask));
            }
            self.release(now, client, &topic);
        }
        if let Some(gone) = self.clients.remove(&client) {
            self.count_user(gone.from.uid);
        }
    }

    /// What is wrong with an ask, and with which topic.
    fn check(
        &self,
        from: &Origin,
        topics: &BTreeSet<Topic>,
        payload: Option<&str>,
    ) -> Result<(), (Trouble, Option<Topic>, String)> {
        let bad = |topic: Option<&Topic>, why: String| Err((Trouble::BadRequest, topic.cloned(), why));
        let Some(terms) = &self.terms else {
            let why = "topics.subscribe isn't configured: use `send`".to_owned();
            return Err((Trouble::Unsupported, None, why));
        };
        match payload {
            _ if topics.is_empty() => return bad(None, "`topics` is empty: name at least one".to_owned()),
            Some(_) if !terms.wants_payload() => {
                return bad(
                    None,
                    "`json` goes with no topic here: topics.subscribe has no `${payload}`".to_owned(),
                );
            }
            None if terms.wants_payload() && terms.payload.is_none() => {
                return bad(None, "`json` is missing: topics.subscribe has a `${payload}`".to_owned());
            }
            Some(payload) if payload.len() > config::MAX_PAYLOAD => {
                let (length, max) = (payload.len(), config::MAX_PAYLOAD);
                return bad(None, format!("`json` has {length} bytes, and {max} are the most"));
            }
            _ => {}
        }
        let client = self.clients.get(&from.client);
        let (mut new, mut own) = (0, client.map_or(0, |client| client.topics.len()));
        for topic in topics {
            if let Err(why) = terms.check(topic) {
                let shown: String = topic.chars().take(40).collect();
                return bad(None, format!("the topic {shown:?} {why}"));
            }
            match self.topics.get(topic) {
                Some(held) if held.payload.as_deref() != payload => {
                    let why = format!("the topic {topic:?} is subscribed to with another `json`");
                    return bad(Some(topic), why);
                }
                Some(_) => {}
                None => new += 1,
            }
            own += usize::from(client.is_none_or(|client| !client.topics.contains(topic)));
        }
        let full = |why: String| Err((Trouble::TooMany, None, why));
        let leaving = self.seats.iter().flatten().map(super::Seat::leaving).max().unwrap_or(0);
        let (max, share) = (terms.max, self.share(from, terms.max));
        if own > share {
            return full(format!(
                "these would be {own} topics of one client, of which it may have {share}: topics.max is {max}"
            ));
        }
        if self.topics.len() + leaving + new > max {
            return full(format!("there is no room for {new} more topics: topics.max is {max}"));
        }
        if self.payload_bytes + new * payload.map_or(0, str::len) > MAX_PAYLOADS {
            return full(format!("the `json` of all topics together may have {MAX_PAYLOADS} bytes"));
        }
        if client.is_some_and(|client| client.asks >= MAX_ASKS) {
            return full(format!("{MAX_ASKS} subscriptions of this client wait already"));
        }
        Ok(())
    }

    /// How many topics a client may have: a tenth of all, or all but a tenth where nobody else has any.
    fn share(&self, from: &Origin, max: usize) -> usize {
        let is_alone = self.users.keys().all(|uid| *uid == from.uid);
        if is_alone { max - max / 10 } else { (max / 10).max(1) }
    }

    fn hold(
        &mut self,
        terms: &config::Subscriptions,
        from: &Rc<Origin>,
        losses: &Listener,
        topic: &Topic,
        payload: Option<&Rc<str>>,
    ) {
        if !self.clients.contains_key(&from.client) {
            *self.users.entry(from.uid).or_default() += 1;
            let client =
                Client { from: Rc::clone(from), losses: Rc::clone(losses), topics: BTreeSet::new(), asks: 0 };
            self.clients.insert(from.client, client);
        }
        self.clients.get_mut(&from.client).into_iter().for_each(|client| {
            client.topics.insert(Rc::clone(topic));
        });
        let payload_bytes = &mut self.payload_bytes;
        let held = self.topics.entry(Rc::clone(topic)).or_insert_with(|| {
            *payload_bytes += payload.map_or(0, |payload| payload.len());
            let group = terms.group(topic, payload.map(AsRef::as_ref)).into();
            Held {
                payload: payload.cloned(),
                group,
                holders: BTreeSet::new(),
                asks: Vec::new(),
                lapses: None,
            }
        });
        held.holders.insert(from.client);
        if let Some(at) = held.lapses.take() {
            self.lapsing.remove(&(at, Rc::clone(topic)));
        }
    }

    /// A client doesn't hold a topic any more; the last one leaves it to linger.
    pub(super) fn release(&mut self, now: Instant, client: u64, topic: &Topic) {
        self.forget_held(client, topic);
        let linger = self.terms.as_ref().map(|terms| terms.linger).unwrap_or_default();
        let Some(held) = self.topics.get_mut(topic) else { return };
        if !held.holders.remove(&client) || !held.holders.is_empty() {
            return;
        }
        if linger.is_zero() {
            return self.lapse(topic);
        }
        held.lapses = Some(now + linger);
        self.lapsing.insert((now + linger, Rc::clone(topic)));
    }

    /// Takes a topic from a client's own; who has none left is forgotten.
    pub(super) fn forget_held(&mut self, client: u64, topic: &Topic) {
        let Some(there) = self.clients.get_mut(&client) else { return };
        there.topics.remove(topic);
        if there.topics.is_empty() && there.asks == 0 {
            let uid = there.from.uid;
            self.clients.remove(&client);
            self.count_user(uid);
        }
    }

    fn count_user(&mut self, uid: u32) {
        if let Some(count) = self.users.get_mut(&uid) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&uid);
            }
        }
    }

    /// Who holds it, to say it by turns.
    pub(super) fn holder(&self, held: &Held) -> Option<Rc<Origin>> {
        held.holders.first().and_then(|id| self.clients.get(id)).map(|client| Rc::clone(&client.from))
    }

    pub(super) fn settle_ask(&mut self, number: u64, topic: &Topic) {
        if let Some(ask) = self.asks.get_mut(&number) {
            ask.left.remove(topic);
            self.end_ask(number);
        }
    }

    pub(super) fn fail_ask(&mut self, number: u64, topic: &Topic, trouble: Trouble, why: &str) {
        if let Some(ask) = self.asks.get_mut(&number) {
            ask.left.remove(topic);
            // what the client gave up itself is told where there is nothing else to tell
            let is_own =
                |first: &(Trouble, String)| first.0 == Trouble::Cancelled && trouble != Trouble::Cancelled;
            if ask.first.as_ref().is_none_or(is_own) {
                ask.failed.clear();
                ask.first = Some((trouble, why.to_owned()));
            }
            if trouble != Trouble::Cancelled || ask.first.as_ref().is_some_and(|first| first.0 == trouble) {
                ask.failed.push(Rc::clone(topic));
            }
            self.end_ask(number);
        }
    }

    /// Tells what came of an ask, once nothing of it is left.
    fn end_ask(&mut self, number: u64) {
        if self.asks.get(&number).is_none_or(|ask| !ask.left.is_empty()) {
            return;
        }
        let Some(Ask { client, answer, failed, first, .. }) = self.asks.remove(&number) else { return };
        let word = match first {
            Some((trouble, why)) => Word::Failed { trouble, topics: failed, why },
            None => Word::Subscribed,
        };
        self.words.push_back((answer, word));
        if let Some(there) = self.clients.get_mut(&client) {
            there.asks -= 1;
            if there.topics.is_empty() && there.asks == 0 {
                let uid = there.from.uid;
                self.clients.remove(&client);
                self.count_user(uid);
            }
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Nothing is left of anybody, but for what the server has: for tests.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.clients.is_empty()
            && self.users.is_empty()
            && self.asks.is_empty()
            && self.topics.is_empty()
            && self.lapsing.is_empty()
            && self.payload_bytes == 0
    }
}
