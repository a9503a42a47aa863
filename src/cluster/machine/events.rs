//! What the machine is told, and what it wants done.

use std::rc::Rc;

use super::batch::{Message, Stored};

/// One try of an append. Its answer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppendId(pub(super) u64);

impl AppendId {
    /// As a number, for the address of its answer.
    pub(crate) const fn number(self) -> u64 {
        self.0
    }

    /// From that number.
    pub(crate) const fn of(number: u64) -> AppendId {
        AppendId(number)
    }
}

/// One question to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskId(pub(super) u64);

/// One stretch of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadId(pub(super) u64);

#[cfg(test)]
impl AskId {
    pub(crate) const fn of(number: u64) -> AskId {
        AskId(number)
    }
}

#[cfg(test)]
impl ReadId {
    pub(crate) const fn of(number: u64) -> ReadId {
        ReadId(number)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// NATS can be reached, and the stream is there. Also after a consumer was lost, behind a [`Event::NatsDown`].
    NatsUp,
    /// NATS can't be reached. No answer is to be hoped for any more.
    NatsDown,
    /// The stream isn't there. [`Event::NatsUp`] follows when it is again.
    StreamGone,
    /// What the stream holds, in its order, with nothing left out but what it holds no more.
    Read(ReadId, Stored),
    /// The stream has stored an append at this place.
    Acked(AppendId, u64),
    /// It hasn't: its last sequence is another one (10071).
    Refused(AppendId),
    /// Any other answer, or none. (The machine counts an append as unanswered by itself, too.)
    Unclear(AppendId),
    /// NATS denies this node the right to append. Which try it was isn't said.
    Denied,
    /// What the stream holds.
    Answer(Answer),
    /// The question wasn't answered.
    NoAnswer(AskId),
    /// The lines that a term begins with, as [`Order::Open`] asks for them.
    Opened { term: u64, lines: Vec<u8> },
    /// Entries are staged up to `end`, one past the last; all that are staged take so many bytes. To be told also
    /// when a commit has made it fewer.
    Staged { end: u64, bytes: usize },
    /// The lines that were [wanted](super::Machine::wanted): the entries from `first` up to `end`, one past the last.
    Lines { first: u64, end: u64, lines: Vec<u8> },
    /// In messages that aren't staged the server has counted so far, by this text in JSON, before the entry `seq`; `per`
    /// is what the count is of. To be told before those entries are, from [`Event::Staged`] on, that lie behind it.
    Counted { seq: u64, per: String, text: String },
    /// This node's link is up.
    LinkUp,
    /// It isn't, though it is wanted.
    LinkDown,
    /// It was closed on request.
    LinkClosed,
    /// All of its connections are closed, after [`Order::CloseLink`], and what they left is staged.
    LinkGone,
    /// So many other candidates are there.
    Others(usize),
    /// Another node has seen that the stream lost entries of this epoch.
    EpochVoid(String),
    /// A client waits for this entry of the present epoch, which isn't there yet.
    Awaited { seq: u64 },
    /// The daemon stops.
    Stop,
    /// [`Machine::next_timeout`](super::Machine::next_timeout) may have been reached.
    Timeout,
}

/// What the stream holds from the place on that was asked for. It must come from the leader of its Raft group: a
/// replica that lags would seem to have lost something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The question.
    pub(crate) id: AskId,
    /// The stream's last sequence; 0 where nothing was ever in it.
    pub(crate) last: u64,
    /// Up to here `messages` has all that there is; the shell bounds them as it likes.
    pub(crate) covered: u64,
    /// Messages, in the stream's order.
    pub(crate) messages: Vec<Stored>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Append this, if the stream's last sequence is `expect` (`Nats-Expected-Last-Sequence`, and nothing else), and
    /// tell what came of it. Appends are sent in the order in which they are given.
    Append { id: AppendId, expect: u64, message: Message },
    /// Say what the stream holds from this place on.
    Ask { id: AskId, from: u64 },
    /// Read what lies past this place, and go on with what comes, instead of what was read before.
    Read { id: ReadId, after: u64 },
    /// Read no more.
    StopReading,
    /// Say what this term begins with, by [`opening`](super::opening), from this `seq` on. `failover`: with a gap,
    /// since there was a term before.
    Open { term: u64, first: u64, failover: bool },
    /// The log is that of this epoch from here on, and its next entry has this `seq`: clients of the one before get
    /// `bye`.
    Epoch { epoch: Rc<str>, first: u64 },
    /// Put these lines into the log; the first is the next entry.
    Deliver { first: u64, lines: Vec<u8> },
    /// The entries before this `seq` can't be had any more: declare them.
    Skip { to: u64 },
    /// The leader has told how far the server has counted in what is no entry: a list in JSON.
    Counted { list: Rc<str> },
    /// Stage entries, and start the link.
    StartLink,
    /// Close the link in order, say [`Event::LinkGone`], and go on staging till then.
    CloseLink,
    /// Drop the link's connections before anything else is done.
    StopLink,
    /// Read from the link no further, or go on.
    Hold(bool),
    /// Commit what is staged up to this entry.
    Commit { through: u64 },
    /// Cut what is staged, and stage no more.
    Cut,
    /// Have this node's clients know.
    Tell(Tell),
    /// Have the leader know that the epoch is void: [`Event::EpochVoid`].
    AskNewEpoch { epoch: Rc<str> },
    /// Whoever waits for an entry up to this one waits for what isn't there: it is of another log.
    NotThere { seq: u64 },
    /// The machine has nothing more to do.
    Finish,
}

/// What a node's own clients and people hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tell {
    /// It goes on with the log.
    Attached,
    /// It doesn't, and why.
    Detached(Away),
    /// This leader's settings aren't this node's.
    Differs { node: Rc<str> },
    /// It leads, its link doesn't come up, and it steps down for others to try.
    GivesUp,
}

/// Why a node is detached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Away {
    /// It has just been started.
    Starting,
    /// NATS can't be reached.
    Nats,
    /// The stream isn't there.
    Gone,
    /// The stream doesn't answer: it has no leader, or too few of its servers are there.
    Unanswered,
    /// The stream has lost what it had acknowledged: a new epoch must begin.
    Breach,
    /// Entries are there that this node doesn't get.
    Lagging,
}
