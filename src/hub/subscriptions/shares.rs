//! How much of it all each user and client may have.

use std::collections::BTreeSet;

use super::{ConnectionTopics, MAX_PAYLOADS, Origin, SubscriptionError, Subscriptions, Topic};
use crate::config;

/// So many asks of one client may wait for word of a topic.
const MAX_ASKS: usize = 256;
/// So many pieces of room an ask takes beside its topics.
pub(super) const ASK_ROOM: usize = 16;
/// So many there are for all, or four for each of `topics.max` where that is more.
const MAX_ROOM: usize = 1 << 18;

/// What is wrong with an ask, with which topic, and a sentence.
type Wrong = (SubscriptionError, Option<Topic>, String);

/// What a user's clients have together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// So many topics.
    pub(super) topics: usize,
    /// So much memory, in pieces: one for each topic of each client and of each ask that waits, and [`ASK_ROOM`] for
    /// each ask.
    pub(super) room: usize,
}

impl Subscriptions {
    /// What is wrong with an ask, and with which topic.
    pub(super) fn check(
        &self,
        from: &Origin,
        topics: &BTreeSet<Topic>,
        payload: Option<&str>,
    ) -> Result<(), Wrong> {
        let Some(terms) = &self.terms else {
            let why = "topics.subscribe isn't configured: use `send`".to_owned();
            return Err((SubscriptionError::Unsupported, None, why));
        };
        if topics.is_empty() {
            return Err((
                SubscriptionError::BadRequest,
                None,
                "`topics` is empty: name at least one".to_owned(),
            ));
        }
        check_payload(terms, payload).map_err(|why| (SubscriptionError::BadRequest, None, why))?;
        let taken = self.reckon(terms, from, topics, payload)?;
        self.check_room(terms.max, from, &taken, payload)
            .map_err(|why| (SubscriptionError::TooMany, None, why))
    }

    /// Counts what a user has now.
    pub(super) fn charge(&mut self, uid: u32, change: impl FnOnce(&mut Share)) {
        let share = self.users.entry(uid).or_default();
        self.room -= share.room;
        change(share);
        self.room += share.room;
        if *share == Share::default() {
            self.users.remove(&uid);
        }
    }

    /// What there would be with an ask, each of whose topics must be one that may be asked for.
    fn reckon(
        &self,
        terms: &config::Subscriptions,
        from: &Origin,
        topics: &BTreeSet<Topic>,
        payload: Option<&str>,
    ) -> Result<Taken, Wrong> {
        let bad =
            |topic: Option<&Topic>, why: String| Err((SubscriptionError::BadRequest, topic.cloned(), why));
        let client = self.clients.get(&from.client);
        let mut taken = Taken {
            new: 0,
            own: client.map_or(0, |client| client.topics.len()),
            of_user: self.users.get(&from.uid).map_or(0, |user| user.topics),
            room: ASK_ROOM + topics.len(),
        };
        for topic in topics {
            if let Err(why) = terms.check(topic) {
                let shown = config::cut(topic, 40);
                return bad(None, format!("the topic {shown:?} {why}"));
            }
            let held = self.topics.get(topic);
            taken.of_user += usize::from(held.is_none_or(|held| !held.is_held_by(from.uid)));
            match held {
                Some(held) if held.payload.as_deref() != payload && !held.holders.is_empty() => {
                    let why = format!("the topic {topic:?} is subscribed to with another `json`");
                    return bad(Some(topic), why);
                }
                Some(_) => {}
                None => taken.new += 1,
            }
            let is_new = client.is_none_or(|client| !client.topics.contains(topic));
            taken.own += usize::from(is_new);
            taken.room += usize::from(is_new);
        }
        Ok(taken)
    }

    /// Whether all that is within everybody's share; `max` are all topics.
    fn check_room(
        &self,
        max: usize,
        from: &Origin,
        taken: &Taken,
        payload: Option<&str>,
    ) -> Result<(), String> {
        let Taken { new, own, of_user, room } = *taken;
        let leaving = self.seats.iter().flatten().map(ConnectionTopics::leaving).max().unwrap_or(0);
        let is_alone = self.users.keys().all(|uid| *uid == from.uid);
        // a tenth of all, or all but a tenth where nobody else has any
        // (another machine has shares of its own among its clients)
        let share = if is_alone || from.is_remote() { max - max / 10 } else { (max / 10).max(1) };
        if own > share {
            return Err(format!(
                "these would be {own} topics of one client, of which it may have {share}: topics.max is {max}"
            ));
        }
        if self.topics.len() + leaving + new > max {
            return Err(format!("there is no room for {new} more topics: topics.max is {max}"));
        }
        // of who isn't alone, no more than is left for others
        let left = if is_alone { share } else { max - (self.topics.len() + leaving + new) };
        if new > 0 && of_user > left.max(share) {
            return Err(format!(
                "these would be {of_user} topics of one user's clients, more than are left for others: topics.max is {max}"
            ));
        }
        let most = MAX_ROOM.max(4 * max);
        let (all, user) = (self.room + room, self.users.get(&from.uid).map_or(0, |user| user.room));
        if all > most || user + room > if is_alone { most - most / 10 } else { most - all } {
            return Err(
                "clients hold, and wait for, so many topics that there is no room for these, or this \
                        user's clients do: give some up"
                    .to_owned(),
            );
        }
        if self.payload_bytes + new * payload.map_or(0, str::len) > MAX_PAYLOADS {
            return Err(format!("the `json` of all topics together may have {MAX_PAYLOADS} bytes"));
        }
        if self.clients.get(&from.client).is_some_and(|client| client.asks >= MAX_ASKS) {
            return Err(format!("{MAX_ASKS} subscriptions of this client wait already"));
        }
        Ok(())
    }
}

/// What there would be with an ask.
struct Taken {
    /// So many topics that nobody holds.
    new: usize,
    /// So many of the client.
    own: usize,
    /// So many of its user's clients.
    of_user: usize,
    /// What the ask takes, as [`Share::room`].
    room: usize,
}

fn check_payload(terms: &config::Subscriptions, payload: Option<&str>) -> Result<(), String> {
    match payload {
        Some(_) if !terms.wants_payload() => {
            Err("`json` goes with no topic here: topics.subscribe has no `${payload}`".to_owned())
        }
        None if terms.wants_payload() && terms.payload.is_none() => {
            Err("`json` is missing: topics.subscribe has a `${payload}`".to_owned())
        }
        Some(payload) if payload.len() > config::MAX_PAYLOAD => {
            let (length, max) = (payload.len(), config::MAX_PAYLOAD);
            Err(format!("`json` has {length} bytes, and {max} are the most"))
        }
        _ => Ok(()),
    }
}
