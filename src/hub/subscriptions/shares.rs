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
    ) -> Result<(), (SubscriptionError, Option<Topic>, String)> {
        let bad =
            |topic: Option<&Topic>, why: String| Err((SubscriptionError::BadRequest, topic.cloned(), why));
        let Some(terms) = &self.terms else {
            let why = "topics.subscribe isn't configured: use `send`".to_owned();
            return Err((SubscriptionError::Unsupported, None, why));
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
        let none = Share::default();
        let user = self.users.get(&from.uid).unwrap_or(&none);
        let (mut of_user, mut room) = (user.topics, ASK_ROOM + topics.len());
        for topic in topics {
            if let Err(why) = terms.check(topic) {
                let shown: String = topic.chars().take(40).collect();
                return bad(None, format!("the topic {shown:?} {why}"));
            }
            let held = self.topics.get(topic);
            of_user += usize::from(held.is_none_or(|held| !held.is_held_by(from.uid)));
            match held {
                Some(held) if held.payload.as_deref() != payload && !held.holders.is_empty() => {
                    let why = format!("the topic {topic:?} is subscribed to with another `json`");
                    return bad(Some(topic), why);
                }
                Some(_) => {}
                None => new += 1,
            }
            let is_new = client.is_none_or(|client| !client.topics.contains(topic));
            own += usize::from(is_new);
            room += usize::from(is_new);
        }
        let full = |why: String| Err((SubscriptionError::TooMany, None, why));
        let leaving = self.seats.iter().flatten().map(ConnectionTopics::leaving).max().unwrap_or(0);
        let (max, is_alone) = (terms.max, self.users.keys().all(|uid| *uid == from.uid));
        // a tenth of all, or all but a tenth where nobody else has any
        let share = if is_alone { max - max / 10 } else { (max / 10).max(1) };
        if own > share {
            return full(format!(
                "these would be {own} topics of one client, of which it may have {share}: topics.max is {max}"
            ));
        }
        if self.topics.len() + leaving + new > max {
            return full(format!("there is no room for {new} more topics: topics.max is {max}"));
        }
        // of who isn't alone, no more than is left for others
        let left = if is_alone { share } else { max - (self.topics.len() + leaving + new) };
        if new > 0 && of_user > left.max(share) {
            return full(format!(
                "these would be {of_user} topics of one user's clients, more than are left for others: topics.max is {max}"
            ));
        }
        let most = MAX_ROOM.max(4 * max);
        let all = self.room + room;
        if all > most || user.room + room > if is_alone { most - most / 10 } else { most - all } {
            return full(
                "clients hold, and wait for, so many topics that there is no room for these, or this user's \
                 clients do: give some up"
                    .to_owned(),
            );
        }
        if self.payload_bytes + new * payload.map_or(0, str::len) > MAX_PAYLOADS {
            return full(format!("the `json` of all topics together may have {MAX_PAYLOADS} bytes"));
        }
        if client.is_some_and(|client| client.asks >= MAX_ASKS) {
            return full(format!("{MAX_ASKS} subscriptions of this client wait already"));
        }
        Ok(())
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
}
