//! What `[requests]` says, compiled. Pure.

use std::{collections::BTreeSet, time::Duration};

use serde_json::value::RawValue;

use super::{
    How, Kind,
    splice::{self, Key, MAX_KEY, key_of},
};
use crate::{
    config::{IdKind, Pointer, Requests, Template, Value, array_index},
    hub::{Fate, NoAnswer, Payload, Unfit},
    upstream::session::{
        matcher::{Look, Matcher, Sieve, Slots},
        probe::{Probe, Probed},
    },
};

/// The rules about requests.
#[derive(Debug)]
pub(in crate::upstream::session) struct RequestRules {
    pub(super) timeout: Duration,
    pub(super) max_in_flight: usize,
    pub(in crate::upstream::session) publish: bool,
    pub(super) kind: IdKind,
    /// Ids that wsfan's own messages have as they are configured, and that nothing else gets.
    pub(super) reserved: BTreeSet<Key>,
    /// Of what comes in, by the numbers of its pointers among all that a session looks for.
    pub(super) answer_id: usize,
    pub(super) answer: Option<Matcher>,
    pub(super) error: Option<Matcher>,
    pub(super) streams: Vec<StreamRule>,
    pub(super) server: Option<ServerRule>,
    /// What of it is of concern.
    pub(in crate::upstream::session) sieve: Sieve,
    /// Of what goes out.
    pub(super) out: Out,
}

#[derive(Debug)]
pub(super) struct StreamRule {
    pub(super) key_from: Option<usize>,
    pub(super) key: usize,
    pub(super) end: Option<Matcher>,
    pub(super) cancel: Option<Template>,
}

#[derive(Debug)]
pub(super) struct ServerRule {
    pub(super) when: Matcher,
    pub(super) id: usize,
    pub(super) timeout: Duration,
}

/// What is looked for in what goes out.
#[derive(Debug)]
pub(super) struct Out {
    probe: Probe,
    pointer: Pointer,
    id: usize,
    parent: usize,
    when: Option<Matcher>,
    streams: Vec<Matcher>,
    stops: Vec<Option<(Matcher, usize)>>,
    answer: Option<(Matcher, usize)>,
    /// A list's elements have ids as well: what comes in is taken apart, and each answer found.
    takes_apart: bool,
}

/// Something that goes out, looked at.
pub(super) struct Outgoing<'m> {
    text: &'m str,
    found: Probed<'m>,
}

impl RequestRules {
    /// Compiles them; `slots` are the pointers that the session looks for in what comes in.
    pub(in crate::upstream::session) fn new(requests: &Requests, slots: &mut Slots) -> RequestRules {
        let mut sieve = Sieve::default();
        sieve.value(&requests.answer_id);
        let streams = requests.streams.iter().map(|stream| {
            sieve.value(&stream.key);
            StreamRule {
                key_from: stream.key_from.as_ref().map(|pointer| slots.of(pointer)),
                key: slots.of(&stream.key),
                end: stream.end.as_ref().map(|end| Matcher::new(end, slots)),
                cancel: stream.cancel.clone(),
            }
        });
        let streams = streams.collect();
        let server = requests.server.as_ref().map(|server| {
            sieve.pattern(&server.when);
            ServerRule {
                when: Matcher::new(&server.when, slots),
                id: slots.of(&server.id),
                timeout: server.timeout,
            }
        });
        RequestRules {
            timeout: requests.timeout,
            max_in_flight: requests.max_in_flight,
            publish: requests.publish,
            kind: requests.id_kind,
            reserved: BTreeSet::new(),
            answer_id: slots.of(&requests.answer_id),
            answer: requests.answer.as_ref().map(|answer| Matcher::new(answer, slots)),
            error: requests.error.as_ref().map(|error| Matcher::new(error, slots)),
            streams,
            server,
            sieve,
            out: Out::new(requests),
        }
    }

    /// Whether the server's requests are looked for.
    pub(in crate::upstream::session) fn serves(&self) -> bool {
        self.server.is_some()
    }

    /// What something that goes out is.
    ///
    /// # Errors
    /// It was asked as a request and can't be one, or nobody can say what it is.
    pub(in crate::upstream::session) fn kind(&self, payload: &Payload, how: How) -> Result<Kind, NoAnswer> {
        let unfit = |why| Err(NoAnswer::Fate(Fate::Unfit(why)));
        let Some(outgoing) = self.out.look(payload) else {
            return if how == How::Request { Err(NoAnswer::NoPlace) } else { Ok(Kind::Plain) };
        };
        let is_doubled = |outgoing: &Outgoing<'_>| outgoing.found.is_doubled();
        if is_doubled(&outgoing) || outgoing.elements(&self.out).iter().any(is_doubled) {
            return unfit(Unfit::Doubled);
        }
        let id = outgoing.id(&self.out);
        let kind = match (outgoing.kind(&self.out), how) {
            (Kind::Answer(_), How::Request) => return unfit(Unfit::Answers),
            (Kind::Request | Kind::Plain, How::Request) if id.is_some() => Kind::Request,
            (Kind::Request | Kind::Plain, How::Request) if outgoing.room(&self.out).is_some() => {
                Kind::Request
            }
            (Kind::Plain, How::Request | How::Rewritten) if outgoing.is_list(&self.out) => {
                return unfit(Unfit::List);
            }
            (Kind::Request | Kind::Plain, How::Request) => return Err(NoAnswer::NoPlace),
            (kind, How::Plain | How::Rewritten) => kind,
        };
        if kind == Kind::Request && how != How::Plain && id.is_some_and(|id| id.len() > MAX_KEY) {
            return unfit(Unfit::LongId);
        }
        Ok(kind)
    }

    /// The number that a message's id is, if it is one that others may follow.
    pub(in crate::upstream::session) fn number_in(&self, payload: &Payload) -> Option<u64> {
        const MAX: u64 = 1 << 53;
        let key = self.out.look(payload)?.id(&self.out).and_then(key_of)?;
        key.parse().ok().filter(|number| *number < MAX)
    }

    /// Whether a message of wsfan's own has this id, as it is configured.
    pub(in crate::upstream::session) fn reserves(&self, id: u64) -> bool {
        !self.reserved.is_empty() && self.reserved.contains(itoa::Buffer::new().format(id))
    }

    /// Keeps for a message of wsfan's own the id that it has as it is configured.
    pub(in crate::upstream::session) fn reserve(&mut self, template: &Template) {
        // in the place of an id, a placeholder stands for one that is nobody else's; 0 is never given
        let Ok(text) = template.render(|_| Ok(Value::Json("0".to_owned()))) else { return };
        let payload = Payload::Text(text.expose().to_owned());
        let Some(outgoing) = self.out.look(&payload) else { return };
        let key = |outgoing: &Outgoing<'_>| outgoing.id(&self.out).and_then(key_of);
        let elements = outgoing.elements(&self.out);
        self.reserved.extend(key(&outgoing).into_iter().chain(elements.iter().filter_map(key)));
    }

    /// What comes in is taken apart: a list that goes out with ids of its own is answered by its elements.
    pub(in crate::upstream::session) fn take_apart(&mut self) {
        self.out.takes_apart = true;
    }

    /// What is said when streams are cancelled.
    pub(in crate::upstream::session) fn cancels(&self) -> impl Iterator<Item = &Option<Template>> {
        self.streams.iter().map(|stream| &stream.cancel)
    }
}

impl Out {
    fn new(requests: &Requests) -> Out {
        let mut slots = Slots::default();
        let slots = &mut slots;
        let (id, parent) = (slots.of(&requests.id), slots.of(&splice::parent(&requests.id)));
        let when = requests.rewrite_when.as_ref().map(|when| Matcher::new(when, slots));
        let streams = requests.streams.iter().map(|stream| Matcher::new(&stream.when, slots)).collect();
        let stops = requests.streams.iter().map(|stream| {
            let (stop, id) = stream.stop.as_ref().zip(stream.stop_id.as_ref())?;
            Some((Matcher::new(stop, slots), slots.of(id)))
        });
        let stops = stops.collect();
        let answer = requests
            .server
            .as_ref()
            .map(|server| (Matcher::new(&server.answer, slots), slots.of(&server.answer_id)));
        let pointer = requests.id.clone();
        let probe = Probe::new(slots.pointers());
        Out { probe, pointer, id, parent, when, streams, stops, answer, takes_apart: false }
    }

    /// Looks at a message; none where it isn't JSON.
    pub(super) fn look<'m>(&self, payload: &'m Payload) -> Option<Outgoing<'m>> {
        let text = match payload {
            Payload::Text(text) => text,
            Payload::Binary(bytes) => str::from_utf8(bytes).ok()?,
        };
        Some(Outgoing { text, found: self.probe.look(text)? })
    }
}

impl<'m> Outgoing<'m> {
    fn as_look(&self) -> Look<'_> {
        Look::at(self.text, Some(&self.found))
    }

    /// What it has where an id is.
    pub(super) fn id(&self, out: &Out) -> Option<&'m str> {
        self.found.get(out.id)
    }

    /// Whether it is a list of messages with ids, where a message is an object.
    fn is_list(&self, out: &Out) -> bool {
        let is_index = out.pointer.tokens().first().is_none_or(|token| array_index(token).is_some());
        if is_index || !self.text.trim_start().starts_with('[') {
            return false;
        }
        self.items(out).any(|item| item.found.get(out.id).is_some())
    }

    fn items(&self, out: &Out) -> impl Iterator<Item = Outgoing<'m>> {
        let items: Vec<&'m RawValue> = serde_json::from_str(self.text).unwrap_or_default();
        let item =
            |item: &'m RawValue| Some(Outgoing { text: item.get(), found: out.probe.look(item.get())? });
        items.into_iter().filter_map(item)
    }

    /// The messages of a list, where the answers to it are taken apart.
    pub(super) fn elements(&self, out: &Out) -> Vec<Outgoing<'m>> {
        match out.takes_apart && self.is_list(out) {
            true => self.items(out).collect(),
            false => Vec::new(),
        }
    }

    fn room(&self, out: &Out) -> Option<(usize, String, &'static str)> {
        splice::room(self.text, self.found.get(out.parent), &out.pointer)
    }

    pub(super) fn kind(&self, out: &Out) -> Kind {
        let look = self.as_look();
        if let Some((answer, id)) = &out.answer
            && answer.matches(&look)
        {
            return look.get(*id).and_then(key_of).map_or(Kind::Plain, Kind::Answer);
        }
        let has_id = self.id(out).is_some_and(|id| id != "null");
        match has_id && out.when.as_ref().is_none_or(|when| when.matches(&look)) {
            true => Kind::Request,
            false => Kind::Plain,
        }
    }

    /// Which of the streams it begins.
    pub(super) fn stream(&self, out: &Out) -> Option<usize> {
        out.streams.iter().position(|when| when.matches(&self.as_look()))
    }

    /// Which of the streams it ends, and how it names it.
    pub(super) fn stops(&self, out: &Out) -> Option<(usize, &'m str)> {
        let look = self.as_look();
        out.stops.iter().enumerate().find_map(|(at, stop)| {
            let (_, id) = stop.as_ref().filter(|(stop, _)| stop.matches(&look))?;
            Some((at, self.found.get(*id)?))
        })
    }

    /// The message with another id, and with another name for what it stops.
    pub(super) fn with(&self, out: &Out, id: &str, stops: Option<(&str, &str)>) -> String {
        let mut places = Vec::new();
        let inserted;
        match self.id(out) {
            Some(there) => places.push((splice::place(self.text, there), id)),
            None => {
                if let Some((at, before, behind)) = self.room(out) {
                    inserted = format!("{before}{id}{behind}");
                    places.push((at..at, inserted.as_str()));
                }
            }
        }
        if let Some((there, name)) = stops {
            places.push((splice::place(self.text, there), name));
        }
        splice::spliced(self.text, places)
    }
}

#[cfg(test)]
mod tests;
