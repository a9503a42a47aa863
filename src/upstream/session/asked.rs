//! What a session makes of requests: those of clients, its own and the server's. Pure.

use std::{rc::Rc, time::Instant};

use super::{
    Context, Effect, Progress, Purpose, Rules, Session, Stray,
    draft::Draft,
    matcher::Look,
    requests::{
        How, Key, Kind, Kinds, Room,
        calls::{Cancel, Heard},
    },
    text::Given,
};
use crate::{
    config::Remedy,
    hub::{Asks, Fate, NoAnswer, Payload, Send},
};

impl Session {
    /// Whether a message may be anybody's answer, or the server's request.
    pub(super) fn has_requests(&self, rules: &Rules) -> bool {
        rules.requests.as_ref().is_some_and(|requests| requests.serves() || !self.calls.is_empty())
    }

    /// Whether a message may be of concern once the script is done.
    pub(super) fn may_concern(&mut self, rules: &Rules, message: &[u8]) -> bool {
        let requests = rules.requests.as_ref().filter(|_| self.has_requests(rules));
        rules.sieve.may_concern(message, &mut self.scratch)
            || requests.is_some_and(|requests| requests.sieve.may_concern(message, &mut self.scratch))
    }

    /// Looks whether a message is an answer, or a request. Whether it is only for those who wait for it.
    pub(super) fn hear_requests(
        &mut self,
        context: &mut Context<'_>,
        rules: &Rules,
        look: &Look<'_>,
    ) -> bool {
        let Some(requests) = &rules.requests else { return false };
        // nobody answers on a connection that is of no use
        let is_failed = self.progress == Progress::Failed;
        let unanswered = if is_failed { 0 } else { self.serving.hear(context.now, requests, look) };
        for _ in 0..unanswered {
            self.effects.push_back(Effect::Stray(Stray::Unanswered));
        }
        let Heard { is_answer, is_late, cancel } = self.calls.hear(requests, look);
        if is_late {
            self.effects.push_back(Effect::Stray(Stray::Late));
        }
        if let Some(cancel) = cancel.filter(|_| !is_failed) {
            self.say_cancel(context, &cancel);
        }
        is_answer && !requests.publish
    }

    /// Tells those who have waited for too long.
    pub(super) fn expire_requests(&mut self, now: Instant) {
        self.calls.expire(now);
        for _ in 0..self.serving.expire(now) {
            self.effects.push_back(Effect::Stray(Stray::Unanswered));
        }
    }

    /// What a client's send has in it.
    ///
    /// # Errors
    /// It was asked as a request and can't be one, or nobody can say what it is.
    pub(in crate::upstream) fn kinds(&self, send: &Send) -> Result<Kinds, NoAnswer> {
        self.rules.kinds(send)
    }

    /// Whether the server's request of this id is open.
    pub(in crate::upstream) fn is_open(&self, key: &Key) -> bool {
        self.serving.is_open(key)
    }

    /// A client's send is to answer the server's request of this id. False where none is open.
    pub(in crate::upstream) fn take_answer(&mut self, key: &Key) -> bool {
        self.serving.take(key)
    }

    /// What was taken for answers to the server's requests of these ids doesn't go out.
    pub(in crate::upstream) fn reopen(&mut self, now: Instant, keys: &[Key]) {
        let Session { rules, serving, .. } = self;
        if let Some(requests) = &rules.requests {
            keys.iter().for_each(|key| serving.reopen(now, requests, key));
        }
    }

    /// How many requests may go out.
    pub(in crate::upstream) fn room(&self) -> Room {
        self.rules.requests.as_ref().map_or(Room::ALL, |requests| self.calls.room(requests))
    }

    /// Whether one more may.
    pub(in crate::upstream) fn has_room(&self) -> bool {
        self.room().free > 0
    }

    /// Whether a client waits for a first answer.
    pub(in crate::upstream) fn is_asked(&self) -> bool {
        self.calls.has_clients()
    }

    /// A client's send goes out now: its requests get their ids. None where it is told that it doesn't, since it has
    /// ids of its own by which others await their answers.
    pub(in crate::upstream) fn write(&mut self, now: Instant, send: Send) -> Option<Send> {
        let rules = Rc::clone(&self.rules);
        let Some(requests) = &rules.requests else { return Some(send) };
        let answers = match rules.kinds(&send) {
            Ok(kinds) => kinds.answers,
            Err(why) => {
                send.refuse(why); // it was taken by other rules
                return None;
            }
        };
        let is_id_taken = || send.messages().any(|payload| self.calls.is_taken(requests, payload));
        let why = if answers.iter().any(|key| !self.serving.is_taken(key)) {
            Some(Fate::Answered) // another connection asked, or its placeholders have made an answer of it
        } else {
            (send.asks.is_none() && is_id_taken()).then_some(Fate::IdTaken)
        };
        if let Some(why) = why {
            send.ticket.settle(why);
            self.reopen(now, &answers);
            return None;
        }
        answers.iter().for_each(|key| self.serving.write(key));
        let Send { payload, rest, ticket, extra, asks, may_answer, expand } = send;
        let how = how(asks.as_deref());
        let mut asks = asks;
        let mut write = |session: &mut Session, payload: Payload| {
            let is_one = requests.kind(&payload, how) == Ok(Kind::Request);
            let asks = match &mut asks {
                Some(asks) if is_one => Some(asks.again()),
                _ => None,
            };
            match asks {
                Some(asks) => {
                    let Session { calls, next_id, .. } = session;
                    let next = || {
                        *next_id += 1;
                        *next_id - 1
                    };
                    calls.write(now, requests, payload, Box::new(asks), next)
                }
                None => {
                    session.calls.write_plain(now, requests, &payload);
                    payload
                }
            }
        };
        let payload = write(self, payload);
        let rest = rest.into_iter().map(|payload| write(self, payload)).collect();
        Some(Send { payload, rest, ticket, extra, asks: None, may_answer, expand })
    }

    /// Whether something of wsfan's own is a request. One that answers the server is the answer from now on.
    pub(in crate::upstream) fn plan(&mut self, draft: &Draft) -> bool {
        let rules = Rc::clone(&self.rules);
        let Some(requests) = &rules.requests else { return false };
        match requests.kind(&draft.preview(self.next_id), How::Plain) {
            Ok(Kind::Request) => true,
            Ok(Kind::Answer(key)) => {
                self.serving.answer(&key);
                false
            }
            Ok(Kind::Plain) | Err(_) => false,
        }
    }

    /// The next id that nothing else on this connection has.
    pub(super) fn take_id(&mut self) -> u64 {
        let reserved = |id| self.rules.requests.as_ref().is_some_and(|requests| requests.reserves(id));
        while self.calls.has(self.next_id) || reserved(self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    /// Something of wsfan's own goes out now.
    pub(in crate::upstream) fn write_own(&mut self, now: Instant, draft: Draft) -> Payload {
        let payload = draft.finish(|| self.take_id());
        if let Some(requests) = &self.rules.requests {
            self.calls.write_own(now, requests, &payload);
            // one that is written as it is configured: where ids rise, the next are higher
            if let Some(id) = requests.number_in(&payload).filter(|id| *id >= self.next_id) {
                self.next_id = id + 1;
            }
        }
        payload
    }

    /// A client cancels the request that it names so. False where none of it waits here.
    pub(in crate::upstream) fn cancel(&mut self, context: &mut Context<'_>, client: u64, name: &str) -> bool {
        let rules = Rc::clone(&self.rules);
        let Some(requests) = &rules.requests else { return false };
        let Some(cancels) = self.calls.cancel(requests, client, name) else { return false };
        cancels.iter().for_each(|cancel| self.say_cancel(context, cancel));
        true
    }

    /// A client has left.
    pub(in crate::upstream) fn leave(&mut self, context: &mut Context<'_>, client: u64) {
        let rules = Rc::clone(&self.rules);
        let Some(requests) = &rules.requests else { return };
        for cancel in self.calls.leave(requests, client) {
            self.say_cancel(context, &cancel);
        }
    }

    fn say_cancel(&mut self, context: &mut Context<'_>, cancel: &Cancel) {
        let rules = Rc::clone(&self.rules);
        let stream = rules.requests.as_ref().and_then(|requests| requests.cancels().nth(cancel.stream));
        let Some(template) = stream.and_then(Option::as_ref) else { return };
        match self.render(context, template, None, Given::Key(&cancel.key)) {
            Ok(draft) => self.effects.push_back(Effect::Send(draft, Purpose::Reply)),
            Err(why) => self.fail(format!("requests.stream.cancel can't be sent: {why}"), Remedy::Retry),
        }
    }
}

impl Rules {
    /// What a client's send has in it, whatever is open.
    ///
    /// # Errors
    /// It was asked as a request and can't be one, or nobody can say what it is.
    pub(in crate::upstream) fn kinds(&self, send: &Send) -> Result<Kinds, NoAnswer> {
        let how = how(send.asks.as_deref());
        let Some(requests) = &self.requests else {
            return if how == How::Request { Err(NoAnswer::Unsupported) } else { Ok(Kinds::default()) };
        };
        let mut kinds = Kinds::default();
        for payload in send.messages() {
            match requests.kind(payload, how)? {
                Kind::Request => kinds.requests += 1,
                Kind::Answer(key) => kinds.answers.push(key),
                Kind::Plain => {}
            }
        }
        Ok(kinds)
    }
}

fn how(asks: Option<&Asks>) -> How {
    match asks.map(|asks| asks.is_request) {
        None => How::Plain,
        Some(true) => How::Request,
        Some(false) => How::Rewritten,
    }
}
