//! A send: a payload on its way upstream, and the duty to tell what became of it.

use std::{fmt, rc::Rc, time::Instant};

use super::{Asks, Lane, LinkState, MayAnswer, Origin, Permit, Unexpanded};

/// What a client sends upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

impl Payload {
    /// The payload's size in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// What it is made of.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }

    /// Whether there is nothing in it; an empty message may be sent all the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The operating system has taken all of it for the connection that is up.
    Written,
    /// It waits in the outbox; another fate follows.
    Queued,
    /// The link isn't up, and no outbox is configured.
    LinkDown(LinkState),
    /// It waited in the outbox for longer than `outbox.ttl`.
    Expired,
    /// The outbox has no room for it.
    OutboxFull,
    /// It is over the largest that `limits.max_message` lets out, which is this, in bytes.
    TooLarge(usize),
    /// It is a unit of more messages than `limits.messages` ever let out at once, which are so many.
    TooMany(usize),
    /// It is more than `limits.messages` let out, and `limits.excess` is `refuse`.
    RateLimited,
    /// It answers a request of the server's that isn't open: somebody has answered it.
    Answered,
    /// It answers a request of the server's, which others do: the clients of other listeners, or the one that has
    /// claimed it.
    NotAnswerer(MayAnswer),
    /// It has an id by which somebody else awaits an answer.
    IdTaken,
    /// It asks something, and too many of its client's requests, or of all, wait for their answers.
    TooManyWait,
    /// It is a unit of more requests than `requests.max_in_flight`, which is this.
    TooManyRequests(usize),
    /// It is no request as it should be.
    Unfit(Unfit),
    /// The values of its placeholders aren't there, or don't fit.
    Unexpanded(Unexpanded),
    /// The connection ended while it was being written: it may have arrived, or not.
    Unknown,
}

/// Why a message can't be given an id, or its answer couldn't be told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// A key that matters stands in it twice, so that two readers may read two messages.
    Doubled,
    /// Its own id is too long to be kept.
    LongId,
    /// It is a list of requests.
    List,
    /// It answers a request of the server's, and has no answer itself.
    Answers,
}

impl Fate {
    /// Whether it isn't sent, as far as is known.
    pub fn is_failure(self) -> bool {
        !matches!(self, Fate::Written | Fate::Queued)
    }
}

/// A send on its way, with the duty to tell its fate.
#[derive(Debug)]
pub struct Send {
    /// What to send.
    pub payload: Payload,
    /// What goes out right after it, with nothing between: the other messages of a unit. Mostly none, which takes no
    /// memory.
    pub rest: Vec<Payload>,
    /// Who hears what became of it: of all of it, at once.
    pub ticket: Ticket,
    /// Bytes beside the payload that are kept for it: those of its id.
    pub extra: usize,
    /// What goes with one that may be a request; none where no answer is awaited.
    pub asks: Option<Box<Asks>>,
    /// Whether it may be an answer to the server's request.
    pub may_answer: MayAnswer,
    /// Its placeholders are public captures, whose values they get when it goes out: see [`Expandable`].
    ///
    /// [`Expandable`]: super::Expandable
    pub expand: bool,
}

impl Send {
    /// One message.
    pub fn new(payload: Payload, ticket: Ticket, extra: usize) -> Send {
        Send {
            payload,
            rest: Vec::new(),
            ticket,
            extra,
            asks: None,
            may_answer: MayAnswer::Yes,
            expand: false,
        }
    }

    /// One message that nobody waits to hear of: wsfan's own.
    pub fn unheard(payload: Payload) -> Send {
        Send::new(payload, Ticket::unheard(), 0)
    }

    /// Whether it may wait for another connection: it awaits no answer over the present one, and comes from here.
    pub fn can_wait(&self) -> bool {
        !self.asks.as_ref().is_some_and(|asks| asks.is_request) && !self.ticket.from().is_remote()
    }

    /// Its messages, in their order.
    pub fn messages(&self) -> impl Iterator<Item = &Payload> {
        std::iter::once(&self.payload).chain(&self.rest)
    }

    /// How many messages it is: 1, or those of a unit.
    pub fn count(&self) -> usize {
        1 + self.rest.len()
    }

    /// The size of its largest message, in bytes.
    pub fn largest(&self) -> usize {
        self.rest.iter().map(Payload::len).fold(self.payload.len(), usize::max)
    }

    /// What it costs in the lane and the outbox: its payloads, its id, and a fixed sum for the rest of each message.
    pub fn cost(&self) -> usize {
        Send::cost_of(&self.payload, &self.rest, self.extra)
    }

    /// The cost of a send to be.
    pub fn cost_of(payload: &Payload, rest: &[Payload], extra: usize) -> usize {
        let of = |payload: &Payload| payload.len() + Lane::OVERHEAD;
        of(payload) + rest.iter().map(of).sum::<usize>() + extra
    }
}

/// Tells a send's fate, exactly once at the end. One that is dropped untold tells
/// [`Fate::Unknown`], so that no path can forget it.
pub struct Ticket {
    from: Rc<Origin>,
    tell: Option<Rc<dyn Fn(Fate)>>,
    /// Room in the lane, held until the fate is told or the send waits in the outbox.
    permit: Permit,
    /// Since when it is known to wait.
    queued: Option<Instant>,
}

impl Ticket {
    /// A ticket that tells through `tell`.
    pub fn new(permit: Permit, tell: impl Fn(Fate) + 'static) -> Ticket {
        Ticket { from: Rc::clone(permit.from()), tell: Some(Rc::new(tell)), permit, queued: None }
    }

    /// A ticket for what nobody waits to hear of.
    fn unheard() -> Ticket {
        Ticket { from: Rc::default(), tell: None, permit: Permit::free(), queued: None }
    }

    /// Where the send comes from.
    pub fn from(&self) -> &Rc<Origin> {
        &self.from
    }

    /// Whether anybody hears of it: a client sent it.
    pub fn is_heard(&self) -> bool {
        self.tell.is_some()
    }

    /// Says that the send waits, and frees its room in the lane; its fate follows later. That is said once, and since
    /// then it waits, in whichever outbox it is: since when, is returned.
    pub fn queued(&mut self, now: Instant) -> Instant {
        if let Some(since) = self.queued {
            return since;
        }
        self.queued = Some(now);
        self.permit = Permit::of(&self.from);
        if let Some(tell) = &self.tell {
            tell(Fate::Queued);
        }
        now
    }

    /// Lets go of what has been told of it in another way.
    pub fn drop_told(mut self) {
        self.tell = None;
    }

    /// Tells the fate, for good.
    pub fn settle(mut self, fate: Fate) {
        if let Some(tell) = self.tell.take() {
            tell(fate);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(Fate::Unknown);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}
