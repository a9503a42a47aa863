//! One request that waits, and who waits for its answer. Pure.

use std::time::Instant;

use crate::{
    hub::{Asks, NoAnswer},
    upstream::session::{
        matcher::Look,
        requests::{
            rules::RequestRules,
            splice::{self, Key, key_of},
        },
    },
};

/// A request that waits.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) who: Who,
    /// In the order in which they were written.
    pub(super) number: u64,
    /// The client's own id in the message, as it came.
    pub(super) own_id: Option<Box<str>>,
    /// Which stream it began.
    pub(super) stream: Option<usize>,
    /// wsfan's id in it, as it is written.
    pub(super) written: String,
    /// The stream's number, and the key of its messages, also as it is written.
    pub(super) key: Option<(usize, Key, String)>,
    /// The stream that it ends, once it is done.
    pub(super) stops: Option<Key>,
    /// The first answer is there.
    pub(super) is_answered: bool,
    /// It is awaited.
    pub(super) is_in_flight: bool,
    pub(super) until: Option<Instant>,
    /// wsfan itself said it.
    pub(super) is_shared: bool,
    /// Of a send that keeps its own id: so many others have the same, and no answer yet.
    pub(super) twins: u32,
    /// Once its stream's key is known, it is cancelled.
    pub(super) is_cancelled: bool,
}

/// Who waits.
#[derive(Debug)]
pub(super) enum Who {
    Client(Box<Asks>),
    /// wsfan itself: what is made of its answer is the session's business.
    Own,
    /// A client's send that keeps its own id: its answer is for everybody, and nobody else gets the id meanwhile.
    Plain,
    /// Nobody any more.
    Nobody,
}

impl Call {
    pub(super) fn new(who: Who, until: Option<Instant>) -> Call {
        Call {
            who,
            number: 0,
            own_id: None,
            written: String::new(),
            stream: None,
            key: None,
            stops: None,
            is_answered: false,
            is_in_flight: false,
            until,
            is_shared: false,
            twins: 0,
            is_cancelled: false,
        }
    }

    /// Notes which stream it begins; its key, where that is its id, as it is written.
    pub(super) fn begin_stream(
        &mut self,
        rules: &RequestRules,
        stream: Option<usize>,
        id: &Key,
        written: &str,
    ) {
        self.stream = stream;
        if let Some(stream) = stream.filter(|stream| rules.streams[*stream].key_from.is_none()) {
            self.key = Some((stream, id.clone(), written.to_owned()));
        }
    }

    pub(super) fn client(&self) -> Option<u64> {
        match &self.who {
            Who::Client(asks) => Some(asks.caller.from().client),
            _ => None,
        }
    }

    pub(super) fn fail(&self, why: NoAnswer) {
        if let Who::Client(asks) = &self.who {
            asks.caller.fail(why);
        }
    }

    /// The message with the client's own id where wsfan's is.
    pub(super) fn restored(&self, rules: &RequestRules, look: &Look<'_>, id: &Key) -> Option<String> {
        let own = self.own_id.as_deref()?;
        let stream = self.stream.map(|at| &rules.streams[at]).filter(|stream| stream.key_from.is_none());
        let slots = [Some(rules.answer_id), stream.map(|stream| stream.key)];
        let there = slots.into_iter().flatten().filter_map(|slot| look.get(slot));
        let places = there.filter(|value| key_of(value).as_ref() == Some(id));
        let places: Vec<_> = places.map(|value| (splice::place(look.text, value), own)).collect();
        (!places.is_empty()).then(|| splice::spliced(look.text, places))
    }
}
