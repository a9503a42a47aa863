//! A request: a send whose answer comes back to its client alone.

use std::{
    cell::Cell,
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::value::RawValue;

use super::{Fate, Hub, Origin, Publisher, Quota, Send};

/// What a client is told of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'a> {
    /// An answer, with the client's own id in it.
    Answer {
        /// The answer, which is JSON.
        payload: &'a str,
        /// Others follow.
        more: bool,
        /// The server refuses.
        failed: bool,
    },
    /// There won't be one, or no other.
    Nothing(NoAnswer),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// It wasn't sent, or may not have been.
    Fate(Fate),
    /// None came in time; whether the request was written.
    Timeout {
        /// It was.
        written: bool,
    },
    /// Its client said that it wants no more.
    Cancelled,
    /// The connection that its answers came over has ended.
    Ended,
    /// Its client reads more slowly than answers come.
    Overrun,
    /// No `[requests]` is configured.
    Unsupported,
    /// It is no JSON with a place for an id.
    NoPlace,
    /// Its client has one with this id that waits already.
    Twice,
    /// Too many wait for their answers.
    TooMany,
}

/// Who waits for the answer to a request. Clones are handles to the same; whoever lets go of the last one that knows
/// how it ended says so, by [`Caller::fail`].
#[derive(Clone)]
pub struct Caller(Rc<Waiting>);

struct Waiting {
    from: Rc<Origin>,
    id: Option<Box<RawValue>>,
    tell: Rc<dyn Fn(Told<'_>) -> bool>,
    is_over: Cell<bool>,
}

impl Caller {
    /// Who is told through `tell`, which says whether what it was told can reach its client; `id` is what the client
    /// names the request by.
    pub fn new(
        from: Rc<Origin>,
        id: Option<Box<RawValue>>,
        tell: impl Fn(Told<'_>) -> bool + 'static,
    ) -> Caller {
        Caller(Rc::new(Waiting { from, id, tell: Rc::new(tell), is_over: Cell::new(false) }))
    }

    /// Who waits for the answer to another message of the same send.
    fn again(&self) -> Caller {
        let Waiting { from, id, tell, .. } = &*self.0;
        let (from, id, tell) = (Rc::clone(from), id.clone(), Rc::clone(tell));
        Caller(Rc::new(Waiting { from, id, tell, is_over: Cell::new(false) }))
    }

    /// Where the request comes from.
    pub fn from(&self) -> &Rc<Origin> {
        &self.0.from
    }

    /// What the client names it by, as it came.
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_ref().map(|id| id.get())
    }

    /// Whether all is said.
    pub fn is_over(&self) -> bool {
        self.0.is_over.get()
    }

    /// Tells an answer. False when it can't reach the client, and no other will.
    pub fn answer(&self, payload: &str, more: bool, failed: bool) -> bool {
        if self.is_over() {
            return false;
        }
        let reached = (self.0.tell)(Told::Answer { payload, more, failed });
        if !more || !reached {
            self.0.is_over.set(true);
        }
        reached
    }

    /// Tells what another has heard who counts what is said: nothing is kept from the client here, as after the last
    /// answer. False when it can't reach the client.
    pub fn pass_on(&self, told: Told<'_>) -> bool {
        (self.0.tell)(told)
    }

    /// Says that there won't be an answer, or no other; the first to say so is heard.
    pub fn fail(&self, why: NoAnswer) {
        if !self.0.is_over.replace(true) {
            (self.0.tell)(Told::Nothing(why));
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.id()).finish()
    }
}

/// What goes with a send that may be a request.
#[derive(Debug)]
pub struct Asks {
    /// Who waits.
    pub caller: Caller,
    /// It was asked as a request, and is refused where it can't be one; else it is a send like others where it is none.
    pub is_request: bool,
    /// How long the client waits; none for as long as is configured.
    pub timeout: Option<Duration>,
    /// When the wait ends; the link says it.
    pub until: Option<Instant>,
    /// Its place among those that wait; none where there is no more.
    pub quota: Option<Quota>,
}

impl Asks {
    /// The same for another message of the same send, with one of its places.
    pub fn again(&mut self) -> Asks {
        let Asks { caller, is_request, timeout, until, quota } = self;
        Asks {
            caller: if *is_request { caller.clone() } else { caller.again() },
            is_request: *is_request,
            timeout: *timeout,
            until: *until,
            quota: quota.as_mut().and_then(Quota::split).or_else(|| quota.take()),
        }
    }
}

impl Send {
    /// It isn't sent at all, and its client hears why.
    pub fn refuse(self, why: NoAnswer) {
        if let NoAnswer::Fate(fate) = why {
            return self.ticket.settle(fate);
        }
        if let Some(asks) = &self.asks {
            asks.caller.fail(why);
        }
        self.ticket.drop_told();
    }
}

/// Whether a client may answer the server's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MayAnswer {
    /// It may.
    #[default]
    Yes,
    /// The clients of other listeners do.
    OfOthers,
    /// This client has claimed it.
    Claimed(u64),
}

/// A client wants no more answers to one of its requests.
pub struct Cancellation {
    /// Where it comes from.
    pub from: Rc<Origin>,
    /// What the client named the request by, as it came.
    pub request: Box<RawValue>,
    /// Told whether there was such a request.
    pub tell: Box<dyn FnOnce(bool)>,
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancellation").field(&self.request.get()).finish()
    }
}

/// Who answers the server's requests.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answerers {
    /// Some listener is for that, and the others aren't.
    of_listeners: bool,
    /// This client alone.
    claimed: Option<u64>,
}

impl super::Common {
    /// Whoever has claimed the answers to the server goes.
    pub(super) fn forget_claim(&self) {
        self.answerers.set(Answerers { claimed: None, ..self.answerers.get() });
    }
}

impl Hub {
    /// A place for one more request of a client, if it and all together have room.
    pub fn take_quota(&self, client: u64) -> Option<Quota> {
        self.0.common.quotas.take(client)
    }

    /// How many requests wait for their answers.
    pub fn asked(&self) -> usize {
        self.0.common.quotas.taken()
    }

    /// Whether sends may be requests.
    pub fn rewrites(&self) -> bool {
        self.0.common.rewrites.get()
    }

    /// Says whether some listeners, and they alone, are for answers to the server.
    pub fn set_answering(&self, of_listeners: bool) {
        self.0.common.answerers.set(Answerers { of_listeners, ..self.0.common.answerers.get() });
    }

    /// Whether a client, whose listener `answers` or not, may answer the server.
    pub fn may_answer(&self, client: u64, answers: bool) -> MayAnswer {
        match self.0.common.answerers.get() {
            Answerers { of_listeners: true, .. } if !answers => MayAnswer::OfOthers,
            Answerers { claimed: Some(claimed), .. } if claimed != client => MayAnswer::Claimed(claimed),
            _ => MayAnswer::Yes,
        }
    }

    /// A client claims it alone, until [`Hub::unclaim_answers`].
    ///
    /// # Errors
    /// The client that has claimed it.
    pub fn claim_answers(&self, client: u64) -> Result<(), u64> {
        let answerers = self.0.common.answerers.get();
        match answerers.claimed {
            Some(claimed) if claimed != client => Err(claimed),
            _ => {
                self.0.common.answerers.set(Answerers { claimed: Some(client), ..answerers });
                Ok(())
            }
        }
    }

    /// A client claims it no longer.
    pub fn unclaim_answers(&self, client: u64) {
        let answerers = self.0.common.answerers.get();
        if answerers.claimed == Some(client) {
            self.0.common.answerers.set(Answerers { claimed: None, ..answerers });
        }
    }
}

impl Publisher {
    /// Says whether sends may be requests.
    pub fn set_rewrites(&self, rewrites: bool) {
        self.hub().0.common.rewrites.set(rewrites);
    }
}
