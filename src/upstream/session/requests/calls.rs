//! The requests that wait for their answers on one connection. Pure.

mod call;
mod ending;
mod forgotten;
mod heard;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    Kind, Room,
    rules::{Outgoing, RequestRules},
    splice::{self, Key, key_of},
};
use crate::{
    hub::{Asks, Fate, NoAnswer, Payload},
    upstream::session::matcher::Look,
};
use call::{Call, Who};
use forgotten::Forgotten;
pub(in crate::upstream::session) use heard::{Cancel, Heard};

/// So many requests among the sends that keep their own ids are remembered: as many as there may be of the others.
const MAX_PLAIN: usize = 10_000;

/// What waits for an answer.
#[derive(Debug, Default)]
pub(in crate::upstream::session) struct Calls {
    calls: BTreeMap<Key, Call>,
    /// Under which keys the messages of streams come, by the streams' numbers, and for whom: for several, where a
    /// server has one name for what several have asked for.
    keys: BTreeSet<(usize, Key, Key)>,
    ends: BTreeSet<(Instant, Key)>,
    /// How many wait for their first answer.
    in_flight: usize,
    /// Those whose answers nobody waits for, those whose client alone does, and those that keep their own ids, by their
    /// numbers: oldest first.
    ghosts: BTreeMap<u64, Key>,
    overdue: BTreeMap<u64, Key>,
    plain: BTreeMap<u64, Key>,
    forgotten: Forgotten,
    next_number: u64,
}

impl Calls {
    /// Whether nothing is awaited, and nothing that comes could be anybody's.
    pub(in crate::upstream::session) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.forgotten.is_empty()
    }

    /// Whether a client waits for a first answer.
    pub(in crate::upstream::session) fn has_clients(&self) -> bool {
        self.calls.values().any(|call| matches!(call.who, Who::Client(_)) && call.is_in_flight)
    }

    /// How many may be asked.
    pub(in crate::upstream::session) fn room(&self, rules: &RequestRules) -> Room {
        match rules.max_in_flight {
            0 => Room::ALL,
            most => Room { free: most.saturating_sub(self.in_flight), most },
        }
    }

    /// When [`Calls::expire`] has something to do.
    pub(in crate::upstream::session) fn next_timeout(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    // --- what goes out -----------------------------------------------------------------------------

    /// Something of wsfan's own goes out.
    pub(in crate::upstream::session) fn write_own(
        &mut self,
        now: Instant,
        rules: &RequestRules,
        payload: &Payload,
    ) {
        self.note(now, rules, payload, || Who::Own, true);
    }

    /// What clients share goes out: its answers are for everybody.
    pub(in crate::upstream::session) fn write_shared(
        &mut self,
        now: Instant,
        rules: &RequestRules,
        payload: &Payload,
    ) {
        self.note(now, rules, payload, || Who::Plain, true);
    }

    /// A client's send goes out with the id that it has.
    pub(in crate::upstream::session) fn write_plain(
        &mut self,
        now: Instant,
        rules: &RequestRules,
        payload: &Payload,
    ) {
        self.note(now, rules, payload, || Who::Plain, false);
    }

    fn note(
        &mut self,
        now: Instant,
        rules: &RequestRules,
        payload: &Payload,
        who: fn() -> Who,
        is_shared: bool,
    ) {
        let Some(outgoing) = rules.out.look(payload) else { return };
        self.note_one(now, rules, &outgoing, who(), is_shared);
        for element in outgoing.elements(&rules.out) {
            self.note_one(now, rules, &element, who(), is_shared);
        }
    }

    fn note_one(
        &mut self,
        now: Instant,
        rules: &RequestRules,
        outgoing: &Outgoing<'_>,
        who: Who,
        is_shared: bool,
    ) {
        if outgoing.kind(&rules.out) != Kind::Request {
            return;
        }
        let Some(id) = outgoing.id(&rules.out) else { return };
        let Some(key) = key_of(id) else { return };
        let stream = outgoing.stream(&rules.out);
        // what the script subscribes to is for everybody
        let who = if stream.is_some() { Who::Plain } else { who };
        let mut call = Call::new(who, Some(now + rules.timeout));
        call.is_shared = is_shared;
        if let Who::Plain = call.who {
            // as long as the server says something by it, it isn't anybody else's
            call.begin_stream(rules, stream, &key, id);
            call.stops = outgoing.stops(&rules.out).and_then(|(stream, name)| {
                let ids = self.by_key(stream, &key_of(name)?);
                ids.iter().find(|id| self.is_plain(id)).or(ids.first()).cloned()
            });
        }
        self.insert(key, call);
    }

    /// Whether somebody else awaits what comes by the id that a client's send has of its own.
    pub(in crate::upstream::session) fn is_taken(&self, rules: &RequestRules, payload: &Payload) -> bool {
        if self.calls.is_empty() {
            return false;
        }
        let Some(outgoing) = rules.out.look(payload) else { return false };
        let is_taken = |outgoing: &Outgoing<'_>| {
            let id = outgoing.id(&rules.out).filter(|_| outgoing.kind(&rules.out) == Kind::Request);
            id.and_then(key_of).is_some_and(|key| self.calls.contains_key(&key) && !self.is_plain(&key))
        };
        is_taken(&outgoing) || outgoing.elements(&rules.out).iter().any(is_taken)
    }

    /// Whether an id is in use, so that no other message gets it.
    pub(in crate::upstream::session) fn has(&self, id: u64) -> bool {
        !self.calls.is_empty() && self.calls.contains_key(itoa::Buffer::new().format(id))
    }

    fn is_plain(&self, id: &Key) -> bool {
        self.calls.get(id).is_some_and(|call| matches!(call.who, Who::Plain))
    }

    /// For whom a stream's messages with this key are.
    fn by_key(&self, stream: usize, key: &Key) -> Vec<Key> {
        let first = (stream, key.clone(), Key::default());
        let own = self.keys.range(first..).take_while(|(at, named, _)| *at == stream && named == key);
        own.map(|(_, _, id)| id.clone()).collect()
    }

    /// A client's request goes out, with an id that `next` gives.
    pub(in crate::upstream::session) fn write(
        &mut self,
        now: Instant,
        rules: &RequestRules,
        payload: Payload,
        asks: Box<Asks>,
        mut next: impl FnMut() -> u64,
    ) -> Payload {
        let Some(outgoing) = rules.out.look(&payload) else { return payload };
        let (key, id) = loop {
            let id = splice::written(next(), rules.kind);
            let is_free = |key: &Key| !self.calls.contains_key(key) && !rules.reserved.contains(key);
            match key_of(&id).filter(is_free) {
                Some(key) => break (key, id),
                None => continue,
            }
        };
        let mut call = Call::new(Who::Client(asks), None);
        call.own_id = outgoing.id(&rules.out).map(Into::into);
        let mut renamed = None;
        if let Some((stream, name)) = outgoing.stops(&rules.out) {
            match self.named(call.client(), stream, name) {
                Some((stopped, known_as)) => {
                    call.stops = Some(stopped);
                    renamed = known_as.map(|known_as| (name, known_as));
                }
                // what wsfan calls another's: the server hears of an id that is no stream's, and says so
                None if rules.streams[stream].key_from.is_none() && self.is_anothers(stream, name) => {
                    renamed = Some((name, id.clone()));
                }
                None => {
                    call.stops = key_of(name).and_then(|key| self.by_key(stream, &key).into_iter().next());
                }
            }
        }
        let text = outgoing.with(
            &rules.out,
            &id,
            renamed.as_ref().map(|(name, known_as)| (*name, known_as.as_str())),
        );
        let until = now + rules.timeout;
        call.until = match &call.who {
            // who waits for longer than is configured doesn't hold up the others
            Who::Client(asks) if rules.max_in_flight > 0 => {
                Some(asks.until.map_or(until, |asked| asked.min(until)))
            }
            Who::Client(asks) => Some(asks.until.unwrap_or(until)),
            _ => None,
        };
        call.begin_stream(rules, outgoing.stream(&rules.out), &key, &id);
        call.written = id;
        self.insert(key, call);
        match payload {
            Payload::Text(_) => Payload::Text(text),
            Payload::Binary(_) => Payload::Binary(text.into_bytes()),
        }
    }

    /// A client's stream, by the name that the client has for it; with the id that the server knows it by, where that
    /// is another.
    fn named(&self, client: Option<u64>, stream: usize, name: &str) -> Option<(Key, Option<String>)> {
        let named = key_of(name)?;
        let own = |(id, call): (&Key, &Call)| {
            let is_theirs = call.stream == Some(stream) && call.client() == client && client.is_some();
            let by_id = || call.own_id.as_deref().and_then(key_of).as_ref() == Some(&named);
            match &call.key {
                _ if !is_theirs => None,
                // by the server's own name for it, which the client has from the first answer
                Some((_, key, _)) if key != id => (*key == named).then(|| (id.clone(), None)),
                _ => by_id().then(|| (id.clone(), Some(call.written.clone()))),
            }
        };
        let newest = self.calls.iter().filter_map(|(id, call)| Some((call.number, own((id, call))?)));
        newest.max_by_key(|(number, _)| *number).map(|(_, named)| named)
    }

    /// Whether a stream's messages with this key are those of a client's request, or what clients share.
    fn is_anothers(&self, stream: usize, name: &str) -> bool {
        let ids = key_of(name).map(|key| self.by_key(stream, &key)).unwrap_or_default();
        let is_one = |call: &Call| call.is_shared || matches!(call.who, Who::Client(_));
        ids.iter().any(|id| self.calls.get(id).is_some_and(is_one))
    }

    fn insert(&mut self, id: Key, mut call: Call) {
        // an id that wsfan itself says again, as configured: nobody knows whose the answer will be
        if let Some(before) = self.remove(&id) {
            before.fail(NoAnswer::Fate(Fate::Unknown));
            if let (Who::Plain, Who::Plain) = (&before.who, &call.who) {
                call.twins = before.twins.saturating_add(u32::from(!before.is_answered));
            }
        }
        self.forgotten.remove(&id);
        call.number = self.next_number;
        self.next_number += 1;
        if let Some(until) = call.until {
            self.ends.insert((until, id.clone()));
        }
        if let Some((stream, key, _)) = &call.key {
            self.keys.insert((*stream, key.clone(), id.clone()));
        }
        if let Who::Plain = call.who {
            self.plain.insert(call.number, id.clone());
        }
        self.in_flight += 1;
        call.is_in_flight = true;
        self.calls.insert(id, call);
        if self.plain.len() > MAX_PLAIN
            && let Some((_, oldest)) = self.plain.pop_first()
        {
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, id: &Key) -> Option<Call> {
        self.land(id);
        let call = self.calls.remove(id)?;
        if let Some((stream, key, _)) = &call.key {
            self.keys.remove(&(*stream, key.clone(), id.clone()));
        }
        self.ghosts.remove(&call.number);
        self.overdue.remove(&call.number);
        self.plain.remove(&call.number);
        Some(call)
    }

    /// Its first answer is there, or isn't awaited any more.
    fn land(&mut self, id: &Key) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if let Some(until) = call.until.take() {
            self.ends.remove(&(until, id.clone()));
        }
        self.in_flight -= usize::from(std::mem::take(&mut call.is_in_flight));
    }

    // --- what comes in -----------------------------------------------------------------------------

    /// A message came in.
    pub(in crate::upstream::session) fn hear(&mut self, rules: &RequestRules, look: &Look<'_>) -> Heard {
        if rules.server.as_ref().is_some_and(|server| server.when.matches(look)) {
            return Heard::default(); // the server counts its own requests as it likes
        }
        let by_id = look.get(rules.answer_id).and_then(key_of).filter(|id| {
            let is_one = rules.answer.as_ref().is_none_or(|answer| answer.matches(look));
            is_one && self.calls.get(id).is_some_and(|call| !call.is_answered)
        });
        if let Some(id) = by_id {
            return self.answer(rules, look, id);
        }
        if let Some(id) = self.forgotten_by(rules, look) {
            debug_assert!(!self.calls.contains_key(&id), "it was remembered again");
            return Heard { is_answer: true, is_late: true, cancel: None };
        }
        if self.keys.is_empty() {
            return Heard::default();
        }
        let by_key = rules.streams.iter().enumerate().find_map(|(at, stream)| {
            let ids = self.by_key(at, &look.get(stream.key).and_then(key_of)?);
            (!ids.is_empty()).then_some(ids)
        });
        let all = by_key.into_iter().flatten().map(|id| self.answer(rules, look, id));
        all.reduce(Heard::and).unwrap_or_default()
    }

    /// The id of a request by which nobody waits any more, and that isn't remembered whole, if a message is its answer.
    fn forgotten_by(&self, rules: &RequestRules, look: &Look<'_>) -> Option<Key> {
        let id = (!self.forgotten.is_empty()).then(|| look.get(rules.answer_id).and_then(key_of))??;
        let is_one =
            self.forgotten.has(&id) && rules.answer.as_ref().is_none_or(|answer| answer.matches(look));
        is_one.then_some(id)
    }

    fn answer(&mut self, rules: &RequestRules, look: &Look<'_>, id: Key) -> Heard {
        let Calls { calls, keys, .. } = self;
        let Some(call) = calls.get_mut(&id) else { return Heard::default() };
        let failed = rules.error.as_ref().is_some_and(|error| error.matches(look));
        let stream = call.stream.map(|at| (at, &rules.streams[at]));
        let mut more = stream.is_some() && !failed;
        let first = !std::mem::replace(&mut call.is_answered, true);
        if first
            && let Some((at, rule)) = stream.filter(|_| more)
            && let Some(from) = rule.key_from
        {
            match look.get(from).and_then(|json| Some((key_of(json)?, json))) {
                Some((key, json)) => {
                    call.key = Some((at, key.clone(), json.to_owned()));
                    keys.insert((at, key, id.clone()));
                }
                None => more = false,
            }
        }
        if stream.and_then(|(_, rule)| rule.end.as_ref()).is_some_and(|end| end.matches(look)) {
            more = false;
        }
        let mut heard = Heard { is_answer: true, is_late: matches!(call.who, Who::Nobody), cancel: None };
        let is_reached = match &call.who {
            Who::Client(asks) => {
                let restored = call.restored(rules, look, &id);
                asks.caller.answer(restored.as_deref().unwrap_or(look.text), more, failed)
            }
            Who::Plain => {
                heard.is_answer = false;
                true
            }
            Who::Own | Who::Nobody => true,
        };
        let (is_cancelled, stops) = (std::mem::take(&mut call.is_cancelled), call.stops.take());
        self.land(&id);
        if let Some(stopped) = stops.filter(|_| !failed) {
            self.stop(&stopped);
        }
        let is_twin = !more && self.calls.get(&id).is_some_and(|call| call.twins > 0);
        if is_twin && let Some(call) = self.calls.get_mut(&id) {
            (call.twins, call.is_answered) = (call.twins - 1, false);
        } else if !more {
            self.remove(&id);
        } else if !is_reached {
            heard.cancel = self.cancel_of(&id);
            self.let_go(&id);
        } else if is_cancelled {
            heard.cancel = self.cancel_of(&id);
        }
        heard
    }

    /// The server has ended a stream, and with it all that comes by its key.
    fn stop(&mut self, id: &Key) {
        let key = self.calls.get(id).and_then(|call| call.key.as_ref());
        let ids = key.map_or_else(|| vec![id.clone()], |(stream, key, _)| self.by_key(*stream, key));
        for id in ids {
            self.remove(&id).iter().for_each(|stopped| stopped.fail(NoAnswer::Cancelled));
        }
    }
}

impl Drop for Calls {
    /// The connection is gone, and so are the answers.
    fn drop(&mut self) {
        for call in self.calls.values() {
            call.fail(match call.is_answered {
                true => NoAnswer::Ended,
                false => NoAnswer::Fate(Fate::Unknown),
            });
        }
    }
}

#[cfg(test)]
mod tests;
