//! What clients ask, and what they hear of it.

use std::{collections::BTreeSet, rc::Rc, time::Instant};

use super::{Origin, SharedTopic, Subscriptions, Topic, shares::ASK_ROOM};
use crate::config;

/// Who hears a word.
pub type Callback = Rc<dyn Fn(&Word)>;

/// A client asks for topics.
pub struct Asking {
    /// Their names.
    pub topics: Vec<String>,
    /// The JSON that goes with them.
    pub payload: Option<String>,
    /// Who hears what comes of it: once at its end, and before that that it is queued.
    pub answer: Callback,
    /// Who hears what comes of the topics later.
    pub losses: Callback,
    /// Who asks has had them, over another link: without an answer in time it keeps them, and hears that they may be
    /// without messages.
    pub keeps: bool,
}

/// What came of an ask, or of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The link is down: it is said when there is a connection, and another word follows.
    Queued,
    /// The server has all topics.
    Subscribed,
    /// The client holds these topics from now on, or no longer, whatever the server says of them. To who hears what
    /// comes of the topics later.
    Holds {
        /// The topics.
        topics: Vec<Topic>,
        /// Whether it does now.
        holds: bool,
    },
    /// It doesn't have these; those that the ask had beside them it has.
    Failed {
        /// Why, by name.
        trouble: SubscriptionError,
        /// The topics; none where the ask as a whole was not good.
        topics: Vec<Topic>,
        /// Why, in a sentence.
        why: String,
    },
}

/// Why a topic isn't subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionError {
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
    /// The client may not have it any more.
    Forbidden,
}

/// A client that holds topics.
pub(super) struct Subscriber {
    from: Rc<Origin>,
    pub(super) losses: Callback,
    pub(super) topics: BTreeSet<Topic>,
    /// Asks that wait.
    pub(super) asks: usize,
}

/// An ask that waits for word of some topics.
pub(super) struct Ask {
    pub(super) client: u64,
    answer: Callback,
    /// What it takes: see [`Share::room`].
    room: usize,
    left: BTreeSet<Topic>,
    failed: Vec<Topic>,
    first: Option<(SubscriptionError, String)>,
    pub(super) keeps: bool,
}

impl Subscriber {
    pub(super) fn uid(&self) -> u32 {
        self.from.uid
    }
}

impl SharedTopic {
    /// Whether a client of this user holds it.
    pub(super) fn is_held_by(&self, uid: u32) -> bool {
        self.holders.range((uid, 0)..=(uid, u64::MAX)).next().is_some()
    }
}

impl Subscriptions {
    /// A client asks for topics. It holds them from now on, unless the ask is no good as a whole.
    pub fn subscribe(&mut self, from: &Rc<Origin>, asking: Asking) {
        let Asking { topics, payload, answer, losses, keeps } = asking;
        if let Some(max) = self.terms.as_ref().map(|terms| terms.max).filter(|max| topics.len() > *max) {
            let why = format!("these are {} topics, and there is room for {max} at most", topics.len());
            let word = Word::Failed { trouble: SubscriptionError::TooMany, topics: Vec::new(), why };
            return self.words.push_back((answer, word));
        }
        let topics: BTreeSet<Topic> = topics.into_iter().map(Into::into).collect();
        if let Err((trouble, topic, why)) = self.check(from, &topics, payload.as_deref()) {
            let topics = topic.into_iter().collect();
            return self.words.push_back((answer, Word::Failed { trouble, topics, why }));
        }
        let Some(terms) = self.terms.clone() else { return };
        let payload: Option<Rc<str>> = payload.map(Into::into);
        let number = self.number();
        let mut left = BTreeSet::new();
        let held = topics.iter().cloned().collect();
        self.words.push_back((Rc::clone(&losses), Word::Holds { topics: held, holds: true }));
        for topic in topics {
            let lingers = |held: &SharedTopic| held.holders.is_empty() && held.payload != payload;
            if self.topics.get(&topic).is_some_and(lingers) {
                self.lapse(&topic); // nobody holds what it was said with
            }
            self.hold(&terms, from, &losses, &topic, payload.as_ref());
            for seat in self.seats.iter_mut().flatten() {
                seat.want(&topic, from, payload.as_ref());
            }
            self.elsewhere.want(&topic, payload.as_ref());
            if !self.is_live(&topic) {
                self.topics.get_mut(&topic).into_iter().for_each(|held| held.asks.push(number));
                left.insert(topic);
            }
        }
        if left.is_empty() {
            return self.words.push_back((answer, Word::Subscribed));
        }
        if self.seats.iter().all(Option::is_none) && !self.elsewhere.is_open() {
            self.words.push_back((Rc::clone(&answer), Word::Queued));
        }
        self.clients.get_mut(&from.client).into_iter().for_each(|client| client.asks += 1);
        let room = ASK_ROOM + left.len();
        self.charge(from.uid, |share| share.room += room);
        let ask = Ask { client: from.client, answer, room, left, failed: Vec::new(), first: None, keeps };
        self.asks.insert(number, ask);
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
        let why = "it was unsubscribed from before the server had answered";
        self.give_up(now, client, topics, SubscriptionError::Cancelled, why);
        Ok(())
    }

    /// A client may not have those topics any more that `may` doesn't name: it gives them up, and hears so.
    pub fn revoke(&mut self, now: Instant, client: u64, may: impl Fn(&str) -> bool) {
        let Some(there) = self.clients.get(&client) else { return };
        let topics: BTreeSet<Topic> = there.topics.iter().filter(|topic| !may(topic)).cloned().collect();
        if topics.is_empty() {
            return;
        }
        let (trouble, losses) = (SubscriptionError::Forbidden, Rc::clone(&there.losses));
        let why = "this client may not have it any more: what its listener gives has changed";
        let untold = self.give_up(now, client, topics, trouble, why);
        if !untold.is_empty() {
            self.words.push_back((losses, Word::Failed { trouble, topics: untold, why: why.to_owned() }));
        }
    }

    /// A client gives up topics that it holds. Its asks that wait for one hear why; those are returned of which none
    /// does.
    fn give_up(
        &mut self,
        now: Instant,
        client: u64,
        topics: BTreeSet<Topic>,
        trouble: SubscriptionError,
        why: &str,
    ) -> Vec<Topic> {
        if let Some(losses) = self.clients.get(&client).map(|client| Rc::clone(&client.losses)) {
            let given_up = topics.iter().cloned().collect();
            self.words.push_back((losses, Word::Holds { topics: given_up, holds: false }));
        }
        let mut untold = Vec::new();
        for topic in topics {
            let asks = self.topics.get(&topic).map(|held| held.asks.clone()).unwrap_or_default();
            let is_own = |ask: &u64| self.asks.get(ask).is_some_and(|ask| ask.client == client);
            let own: Vec<_> = asks.into_iter().filter(is_own).collect();
            for ask in &own {
                self.fail_ask(*ask, &topic, trouble, why);
            }
            if let Some(held) = self.topics.get_mut(&topic) {
                held.asks.retain(|one| !own.contains(one));
            }
            self.release(now, client, &topic);
            if own.is_empty() {
                untold.push(topic);
            }
        }
        untold
    }

    /// A client has gone.
    pub fn leave(&mut self, now: Instant, client: u64) {
        let Some(there) = self.clients.get_mut(&client) else { return };
        let topics = there.topics.clone();
        let waited = std::mem::take(&mut there.asks) > 0;
        let uid = there.uid();
        if waited {
            let mut room = 0;
            self.asks.retain(|_, ask| {
                let is_own = ask.client == client;
                room += if is_own { ask.room } else { 0 };
                !is_own
            });
            self.charge(uid, |share| share.room -= room);
        }
        for topic in topics {
            if let Some(held) = self.topics.get_mut(&topic).filter(|_| waited) {
                held.asks.retain(|ask| self.asks.contains_key(ask));
            }
            self.release(now, client, &topic);
        }
        self.clients.remove(&client);
    }

    fn hold(
        &mut self,
        terms: &config::Subscriptions,
        from: &Rc<Origin>,
        losses: &Callback,
        topic: &Topic,
        payload: Option<&Rc<str>>,
    ) {
        let client = self.clients.entry(from.client).or_insert_with(|| Subscriber {
            from: Rc::clone(from),
            losses: Rc::clone(losses),
            topics: BTreeSet::new(),
            asks: 0,
        });
        if client.topics.insert(Rc::clone(topic)) {
            self.charge(from.uid, |share| share.room += 1);
        }
        if self.topics.get(topic).is_none_or(|held| !held.is_held_by(from.uid)) {
            self.charge(from.uid, |share| share.topics += 1);
        }
        let payload_bytes = &mut self.payload_bytes;
        let held = self.topics.entry(Rc::clone(topic)).or_insert_with(|| {
            *payload_bytes += payload.map_or(0, |payload| payload.len());
            let group = terms.group(topic, payload.map(AsRef::as_ref)).into();
            SharedTopic {
                payload: payload.cloned(),
                group,
                holders: BTreeSet::new(),
                asks: Vec::new(),
                settled: Vec::new(),
                lapses: None,
            }
        });
        held.holders.insert((from.uid, from.client));
        if let Some(at) = held.lapses.take() {
            self.lapsing.remove(&(at, Rc::clone(topic)));
        }
    }

    /// A client doesn't hold a topic any more; the last one leaves it to linger.
    pub(super) fn release(&mut self, now: Instant, client: u64, topic: &Topic) {
        let Some(uid) = self.clients.get(&client).map(Subscriber::uid) else { return };
        self.forget_held(client, topic);
        // over another machine's link it lingers there
        let terms = self.terms.as_ref().filter(|_| !self.elsewhere.is_open());
        let linger = terms.map(|terms| terms.linger).unwrap_or_default();
        let Some(held) = self.topics.get_mut(topic) else { return };
        if !held.holders.remove(&(uid, client)) {
            return;
        }
        let (is_last_of_user, is_last) = (!held.is_held_by(uid), held.holders.is_empty());
        if is_last_of_user {
            self.charge(uid, |share| share.topics -= 1);
        }
        let Some(held) = self.topics.get_mut(topic).filter(|_| is_last) else { return };
        if linger.is_zero() {
            return self.lapse(topic);
        }
        held.lapses = Some(now + linger);
        self.lapsing.insert((now + linger, Rc::clone(topic)));
    }

    /// Takes a topic from a client's own; who has none left is forgotten.
    pub(super) fn forget_held(&mut self, client: u64, topic: &Topic) {
        let Some(there) = self.clients.get_mut(&client) else { return };
        let (uid, had) = (there.uid(), there.topics.remove(topic));
        if there.topics.is_empty() && there.asks == 0 {
            self.clients.remove(&client);
        }
        if had {
            self.charge(uid, |share| share.room -= 1);
        }
    }

    /// Who holds it, to say it by turns.
    pub(super) fn holder(&self, held: &SharedTopic) -> Option<Rc<Origin>> {
        held.holders.first().and_then(|(_, id)| self.clients.get(id)).map(|client| Rc::clone(&client.from))
    }

    pub(super) fn settle_ask(&mut self, number: u64, topic: &Topic) {
        if let Some(ask) = self.asks.get_mut(&number) {
            ask.left.remove(topic);
            self.end_ask(number);
        }
    }

    pub(super) fn fail_ask(&mut self, number: u64, topic: &Topic, trouble: SubscriptionError, why: &str) {
        if let Some(ask) = self.asks.get_mut(&number) {
            ask.left.remove(topic);
            // what the client gave up itself is told where there is nothing else to tell
            let is_own = |first: &(SubscriptionError, String)| {
                first.0 == SubscriptionError::Cancelled && trouble != SubscriptionError::Cancelled
            };
            if ask.first.as_ref().is_none_or(is_own) {
                ask.failed.clear();
                ask.first = Some((trouble, why.to_owned()));
            }
            if trouble != SubscriptionError::Cancelled
                || ask.first.as_ref().is_some_and(|first| first.0 == trouble)
            {
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
        let Some(Ask { client, answer, room, failed, first, .. }) = self.asks.remove(&number) else { return };
        let word = match first {
            Some((trouble, why)) => Word::Failed { trouble, topics: failed, why },
            None => Word::Subscribed,
        };
        self.words.push_back((answer, word));
        if let Some(there) = self.clients.get_mut(&client) {
            there.asks -= 1;
            let uid = there.uid();
            if there.topics.is_empty() && there.asks == 0 {
                self.clients.remove(&client);
            }
            self.charge(uid, |share| share.room -= room);
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
            && self.room == 0
            && self.asks.is_empty()
            && self.topics.is_empty()
            && self.lapsing.is_empty()
            && self.payload_bytes == 0
    }
}
