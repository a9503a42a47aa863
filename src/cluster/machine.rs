//! What decides for one node: the states, and what leads from one to another. Pure.
//!
//! The log is a JetStream stream, and an append that names the stream's last sequence
//! (`Nats-Expected-Last-Sequence`) is the lease: whoever's append is accepted leads, and silence of the stream, timed on
//! each node's own clock, is the only reason to try. What decides is one [`Machine`], with the contract of one loop:
//! [`Machine::handle`] what happened, drain [`Machine::poll_order`] and do it, give it the lines that it
//! [wants](Machine::wanted), then wait for the next happening or for [`Machine::next_timeout`].
//!
//! Why one link is open at a time: the leader closes its link 0.7 of a lease after its newest acknowledged append was
//! *sent*. A candidate's append is accepted only if it has seen all that is stored, and it waited a whole lease after the
//! leader's newest: from when it read that, or, where that lay in the stream before, from when it was told of the stream's
//! end, which was later than it was sent. That holds while each clock's rate is less than 17 % off.
//!
//! Why entries are the same everywhere: nobody is given one before its append is acknowledged, and each message names
//! the one before by its nonce. What isn't linked so is passed over: what was written by somebody else, and what a
//! former leader still had on its way, which the stream takes where the numbers happen to fit.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use self::{
    batch::Nonce, candidate::Candidate, chain::Chain, follower::Awaited, leader::Leader, parts::Parts,
    resync::Asking,
};
use crate::protocol::cluster::ClusterCounts;

mod appends;
mod batch;
mod body;
mod candidate;
mod chain;
mod counted;
mod events;
mod fenced;
mod follower;
mod leader;
mod lease;
mod moment;
mod parts;
mod resigning;
mod resync;
mod settings;
mod standing;
mod term;

#[cfg(test)]
pub(super) mod tests;

#[cfg(test)]
pub(crate) use batch::Body;
pub(crate) use batch::{Header, MAX_BATCH, Message, Stored};
pub(crate) use body::entries;
pub(crate) use events::{Answer, AppendId, AskId, Away, Event, Order, ReadId, Tell};
pub(crate) use fenced::Fenced;
pub(crate) use lease::Lease;
pub(crate) use moment::Moment;
pub(crate) use settings::Settings;
pub(crate) use standing::{Role, Standing};
pub(crate) use term::{Opening, opening};

/// The machine.
#[derive(Debug)]
pub(crate) struct Machine {
    settings: Settings,
    random: fastrand::Rng,
    counts: ClusterCounts,
    state: State,
    orders: VecDeque<Order>,
    /// The number of the newest append, question or stretch of reading.
    newest_id: u64,
    /// NATS can be reached.
    nats: bool,
    stopping: bool,

    chain: Chain,
    /// Messages that may turn out not to be the log's.
    held: Vec<Stored>,
    parts: Parts,
    /// What this node's clients have.
    served: Option<Served>,
    /// Strays up to here are counted.
    counted_to: u64,

    reading: Option<ReadId>,
    asking: Option<Asking>,
    /// When to ask again.
    ask_at: Option<Moment>,
    /// The stream's end as it was said last.
    target: u64,
    /// What lies up to here was there before this node came back; 0 for the first time that it came.
    live_from: u64,
    returns: bool,
    /// This node's clients go on with the log.
    attached: bool,

    /// The lease of whoever wrote the newest message of the log.
    leader_lease: Duration,
    /// Since when nothing was heard of a leader.
    quiet_since: Moment,
    /// Since when none was heard of: what lay in the stream before that is no sign of one, however late it is read.
    unled_since: Moment,
    /// This candidate's place among those that stand at the same time.
    jitter: Duration,
    /// It doesn't stand before this.
    not_before: Moment,
    /// Attempts in a row that NATS denied, on this connection.
    denials: u32,
    /// When it says again that the epoch is void.
    void_at: Option<Moment>,
    /// How many other candidates are there.
    others: usize,
    awaited: Option<Awaited>,
    /// What is known of the server's counts beside the entries, by the newest message, and before this node's term.
    counted: CountedIs,
    counted_before: CountedIs,
}

/// What is known of how far the server has counted in what is no entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CountedIs {
    /// Before this entry somebody had the link who hasn't told of it, or what was told may not have come here.
    pub(crate) untold: u64,
    /// Whoever had the link last has told of all of it.
    pub(crate) whole: bool,
}

/// The one state that the machine is in.
#[derive(Debug)]
enum State {
    Detached(Away),
    Follower,
    Candidate(Box<Candidate>),
    Leader(Box<Leader>),
    /// It led, and has no place in the log yet.
    Fenced(Fenced),
    Finished,
}

/// How far this node's clients have the log.
#[derive(Debug, Clone)]
struct Served {
    epoch: Rc<str>,
    /// The next entry's `seq`.
    next: u64,
}

/// Staged lines that the next append may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The first entry.
    pub(crate) first: u64,
    /// As many whole lines as these hold, and one at least.
    pub(crate) max_bytes: usize,
}

impl Machine {
    /// A machine that has just been started, for which NATS isn't there yet.
    pub(crate) fn new(now: Moment, settings: Settings, seed: u64) -> Machine {
        Machine {
            settings,
            random: fastrand::Rng::with_seed(seed),
            counts: ClusterCounts::default(),
            state: State::Detached(Away::Starting),
            orders: VecDeque::new(),
            newest_id: 0,
            nats: false,
            stopping: false,
            chain: Chain::default(),
            held: Vec::new(),
            parts: Parts::default(),
            served: None,
            counted_to: 0,
            reading: None,
            asking: None,
            ask_at: None,
            target: 0,
            live_from: 0,
            returns: false,
            attached: false,
            leader_lease: Duration::ZERO,
            quiet_since: now,
            unled_since: now,
            jitter: Duration::ZERO,
            not_before: now,
            denials: 0,
            void_at: None,
            others: 0,
            awaited: None,
            counted: CountedIs::default(),
            counted_before: CountedIs::default(),
        }
    }

    /// Something has happened. What follows from it is in [`Machine::poll_order`], to be done before anything else.
    pub(crate) fn handle(&mut self, now: Moment, event: Event) {
        // whatever it is, it may come after a sleep
        if self.lease().is_some_and(|lease| !lease.holds(now)) {
            self.fence(now, Fenced::Lease);
        }
        match event {
            _ if matches!(self.state, State::Finished) => return,
            Event::NatsUp => self.nats_up(now),
            Event::NatsDown => self.nats_down(now, Away::Nats),
            Event::StreamGone => self.stream_gone(now),
            Event::Read(id, stored) if self.reading == Some(id) => {
                self.take(now, stored);
                self.attach_if_there();
            }
            Event::Acked(id, place) => self.acked(now, id, place),
            Event::Refused(id) | Event::Unclear(id) => self.doubt(now, id),
            Event::Denied => self.denied(now),
            Event::Answer(answer) => self.answered(now, answer),
            Event::NoAnswer(id) => self.not_answered(now, id),
            Event::Opened { term, lines } => self.opened(now, term, lines),
            Event::Staged { end, bytes } => self.staged(end, bytes),
            Event::Lines { first, end, lines } => self.lines(now, first, end, lines),
            Event::Counted { seq, per, text } => self.count(seq, per, text),
            Event::LinkUp => self.link_is_wanted(None),
            Event::LinkDown => self.link_is_wanted(Some(now)),
            Event::LinkClosed => self.link_is_wanted(None),
            Event::LinkGone => self.link_gone(),
            Event::Others(count) => self.others = count,
            Event::EpochVoid(epoch) => self.be_told_void(now, &epoch),
            Event::Awaited { seq } => self.await_entry(now, seq),
            Event::Stop => self.stop(now),
            Event::Read(..) | Event::Timeout => {}
        }
        self.go_on(now);
    }

    /// This node's settings have changed: from its next term on it says so.
    pub(crate) fn set_fingerprint(&mut self, fingerprint: &str) {
        if *self.settings.fingerprint != *fingerprint {
            self.settings.fingerprint = fingerprint.into();
        }
    }

    /// From now on lines of so many bytes are put together.
    pub(crate) fn set_max_entry(&mut self, bytes: usize) {
        self.settings.max_entry = bytes;
    }

    /// What is to be done next.
    pub(crate) fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// This node's right to the link, while it leads: no read or write of the link without a look at it.
    pub(crate) fn lease(&self) -> Option<Lease> {
        if let State::Leader(leader) = &self.state { Some(leader.lease) } else { None }
    }

    /// What is known, where this node leads, of how far the server had counted before its term, beside what
    /// [was told](Order::Counted) of it.
    pub(crate) fn counted_before(&self) -> CountedIs {
        self.counted_before
    }

    /// What is counted.
    pub(crate) fn counts(&self) -> &ClusterCounts {
        &self.counts
    }

    /// When [`Event::Timeout`] is due.
    pub(crate) fn next_timeout(&self) -> Option<Moment> {
        let common = [
            self.asking.as_ref().map(|asking| asking.until),
            self.ask_at.filter(|_| self.nats),
            self.awaited.as_ref().map(|awaited| awaited.until),
            self.void_at,
        ];
        let own = match &self.state {
            State::Follower => self.stands_at(),
            State::Candidate(candidate) => candidate.next_timeout(self),
            State::Leader(leader) => leader.next_timeout(self),
            State::Detached(_) | State::Fenced(_) => None,
            State::Finished => return None,
        };
        common.into_iter().flatten().chain(own).min()
    }

    /// What time alone brings about.
    fn go_on(&mut self, now: Moment) {
        self.ask_on(now);
        self.await_on(now);
        match &self.state {
            State::Follower => {
                self.call_void(now);
                if self.stands_at().is_some_and(|at| at <= now) {
                    self.stand(now);
                }
            }
            State::Candidate(_) => self.stand_on(now),
            State::Leader(_) => self.lead_on(now),
            State::Detached(_) | State::Fenced(_) | State::Finished => {}
        }
    }

    fn nats_up(&mut self, now: Moment) {
        self.nats = true;
        if std::mem::take(&mut self.denials) > 0 {
            self.not_before = now; // it may have been given other rights
        }
        match &self.state {
            State::Leader(_) => self.settle_anew(now),
            State::Candidate(_) => {}
            _ => self.resync(now),
        }
    }

    fn nats_down(&mut self, now: Moment, away: Away) {
        self.nats = false;
        self.returns = self.served.is_some() || self.returns;
        (self.asking, self.ask_at) = (None, None);
        match &mut self.state {
            State::Leader(leader) => leader.unsettled = true,
            _ => self.detach(now, away),
        }
    }

    fn stream_gone(&mut self, now: Moment) {
        if matches!(self.state, State::Leader(_)) {
            self.fence(now, Fenced::Gone);
        }
        self.nats_down(now, Away::Gone);
    }

    fn stop(&mut self, now: Moment) {
        self.stopping = true;
        match &self.state {
            State::Leader(_) => self.resign(now),
            _ => self.finish(),
        }
    }

    fn finish(&mut self) {
        self.state = State::Finished;
        self.order(Order::Finish);
    }

    /// This node's clients don't go on with the log for now.
    fn detach(&mut self, now: Moment, away: Away) {
        if self.reading.take().is_some() {
            self.order(Order::StopReading);
        }
        self.state = State::Detached(away);
        self.void_at = None;
        self.be_away(away);
        self.quiet(now);
    }

    fn be_away(&mut self, away: Away) {
        if std::mem::take(&mut self.attached) {
            self.order(Order::Tell(Tell::Detached(away)));
        }
    }

    /// The leader leads no more, and its link is closed before anything else happens.
    fn fence(&mut self, now: Moment, why: Fenced) {
        let State::Leader(leader) = &mut self.state else { return };
        if leader.has_link() {
            self.orders.push_back(Order::StopLink);
        }
        self.order(Order::Cut);
        why.count(&mut self.counts.fenced);
        self.state = State::Fenced(why);
        self.quiet(now);
        if self.stopping {
            self.finish();
        } else if self.nats {
            self.resync(now);
        } else {
            self.detach(now, Away::Nats);
        }
    }

    /// Something of a leader was heard, or might have been missed: silence begins.
    fn quiet(&mut self, now: Moment) {
        (self.quiet_since, self.unled_since) = (now, now);
        self.jitter = self.random_time(self.settings.spread());
    }

    /// Any time below this.
    fn random_time(&mut self, below: Duration) -> Duration {
        below.mul_f64(self.random.f64())
    }

    fn nonce(&mut self) -> Nonce {
        Nonce(self.random.u64(..))
    }

    /// A name for a new epoch.
    fn new_epoch(&mut self) -> Rc<str> {
        format!("{:016x}", self.random.u64(..)).into()
    }

    fn append_id(&mut self) -> AppendId {
        AppendId(self.next_id())
    }

    fn ask_id(&mut self) -> AskId {
        AskId(self.next_id())
    }

    fn read_id(&mut self) -> ReadId {
        ReadId(self.next_id())
    }

    fn next_id(&mut self) -> u64 {
        self.newest_id += 1;
        self.newest_id
    }

    fn order(&mut self, order: Order) {
        self.orders.push_back(order);
    }
}
