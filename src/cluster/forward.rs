//! What a node's clients have for the link that another node holds: sends, requests, orders. Pure.
//!
//! A node that doesn't lead has a [`Forward`], the leader an [`Intake`] for each term. They talk through messages that
//! may be lost, in sessions: within one, each thing that is asked arrives once, in its order, or not at all
//! ([`channel`]). What the leader's link can't take is given back, and waits in the asking node's own outbox, so that it
//! outlives the leader. What was handed over and isn't told when the leader is lost may have been written, or not, and
//! that is what its client hears, soon.
//!
//! The contract of both is that of a loop: tell what happened, drain `poll`, sleep until `next_timeout`.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    config,
    hub::{Command, Fate, LinkState, Origin, Send},
};

mod channel;
mod handed;
mod hearing;
mod intake;
mod line;
mod orders;
mod session;
mod topics;
mod words;

#[cfg(test)]
mod tests;

pub(super) use self::intake::Intake;
use self::{
    handed::Handed,
    line::Line,
    orders::Waits,
    session::Session,
    topics::OfTopics,
    words::{Ask, Asked, MayNotAnswer, Order, Sent},
};

/// So much is handed over at once whose fate isn't told, in bytes, and in sends.
const MAX_HANDED: usize = 2 << 20;
const MAX_HANDED_SENDS: usize = 1024;
/// After a new term was seen, the leader of the one before may still be heard for so long.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// So long after the lease of a leader that is lost its sends are unknown: it is promised to be told within a second.
const UNKNOWN_AFTER: Duration = Duration::from_millis(850);
/// Before what nobody heard is tried again.
const UNHEARD_WAIT: Duration = Duration::from_millis(100);
/// A request's end is the leader's to say. When it hasn't been for so long, it is said here.
const OVERTIME: Duration = Duration::from_secs(1);

/// What a node is called, and where it is heard.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// What all subjects of the cluster begin with: `wsfan.NAME`.
    pub(super) prefix: String,
    /// What begins this process's own subjects, without a dot at its end.
    pub(super) inbox: String,
    /// This node's name.
    pub(super) node: Rc<str>,
    /// So long a silence ends a term.
    pub(super) lease: Duration,
    /// The most bytes that NATS takes in one message.
    pub(super) max_payload: usize,
}

/// Who leads, and how its link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leader {
    pub(super) term: u64,
    /// As the log's last `link` entry has it.
    pub(super) link: LinkState,
    /// The link's connection, by the same entry.
    pub(super) conn: u64,
}

/// A message that goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) subject: String,
    pub(super) reply: Option<String>,
    pub(super) payload: Vec<u8>,
}

/// Which request of which client isn't wanted any more, and who is told.
type Cancels = (u64, Box<dyn FnOnce(bool)>);

/// A node's end.
pub(super) struct Forward {
    settings: Settings,
    /// What begins the names of its sessions.
    seed: u64,
    line: Line,
    handed: BTreeMap<u64, Handed>,
    /// What is handed over and untold: in bytes, in sends, and of each client in its order.
    bytes: usize,
    sends: usize,
    flying: BTreeMap<u64, VecDeque<u64>>,
    /// One more with each session, and whenever the leader has given something back. A client's next send waits until
    /// all of an older one are told.
    generation: u64,
    leader: Option<Leader>,
    /// This node leads: what waits is its own link's.
    leads: bool,
    /// When the leader gave its last sign of life, as far as anybody said so.
    alive: Option<Instant>,
    session: Option<Session>,
    /// Sessions with leaders of former terms, which may still have something to tell.
    old: Vec<Session>,
    /// Orders that no leader has acknowledged.
    orders: VecDeque<Waits>,
    /// The term and the link's connection that were known last.
    present: (u64, u64),
    cancels: BTreeMap<u64, Cancels>,
    /// What leaders have said of topics, for the table.
    of_topics: Vec<OfTopics>,
    /// Nobody heard what was said last: nothing is said until then.
    unheard_until: Option<Instant>,
    next: u64,
    sessions: u64,
    forwarded: u64,
}

impl Forward {
    /// A node's end, which knows of no leader. `seed` is another one for each process.
    pub(super) fn new(settings: Settings, outbox: config::Outbox, seed: u64) -> Forward {
        Forward {
            settings,
            seed,
            line: Line::new(outbox),
            handed: BTreeMap::new(),
            bytes: 0,
            sends: 0,
            flying: BTreeMap::new(),
            generation: 0,
            leader: None,
            leads: false,
            alive: None,
            session: None,
            old: Vec::new(),
            orders: VecDeque::new(),
            present: (0, 0),
            cancels: BTreeMap::new(),
            of_topics: Vec::new(),
            unheard_until: None,
            next: 0,
            sessions: 0,
            forwarded: 0,
        }
    }

    /// Applies new limits to the outbox.
    pub(super) fn set_outbox(&mut self, limits: config::Outbox) {
        self.line.set_limits(limits);
    }

    /// How many sends wait in the outbox, for [`Publisher::set_waiting`](crate::hub::Publisher::set_waiting).
    pub(super) fn waiting(&self) -> usize {
        self.line.queued()
    }

    /// Whether a client was told, since this was asked last, to send again when the link is up: one that believes it
    /// to be up must hear that it isn't, and when it is.
    pub(super) fn take_refused(&mut self) -> bool {
        self.line.take_refused()
    }

    /// How many sends were handed to leaders.
    pub(super) fn forwarded(&self) -> u64 {
        self.forwarded
    }

    /// A client asks something of the link. While this node [leads](Forward::lead) only clients [in
    /// doubt](Forward::in_doubt) do so here: what others ask is for its own link.
    pub(super) fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Send(mut send) => {
                if let Some(asks) = send.asks.as_deref_mut() {
                    asks.until = asks.timeout.map(|timeout| now + timeout);
                }
                self.take(now, send);
            }
            Command::Cancel(cancellation) => self.cancel(cancellation),
            Command::Open => self.order(now, Order::Open),
            Command::Reconnect => self.order(now, Order::Reconnect),
            Command::Close => self.order(now, Order::Close),
            Command::Stop => {} // the node's own affair
        }
        self.go_on(now);
    }

    /// Takes over what this node's link has left unsent. What came from other nodes is theirs again, whoever leads: they may
    /// have told that nobody knows what became of it, and then it must not go out later.
    pub(super) fn take_over(&mut self, now: Instant, sends: Vec<Send>) {
        for send in sends {
            if send.ticket.from().is_remote() {
                let state = Some(self.state()).filter(|state| *state != LinkState::Up);
                send.ticket.settle(Fate::LinkDown(state.unwrap_or(LinkState::Waiting)));
            } else {
                self.take(now, send);
            }
        }
        self.go_on(now);
    }

    fn take(&mut self, now: Instant, send: Send) {
        match self.state() {
            LinkState::Up => self.line.push(send),
            state => self.line.hold(now, send, state),
        }
    }

    /// This node leads from now on, or no longer. What waits, and what former leaders still give back, is its link's:
    /// [`Forward::hand_over`].
    pub(super) fn lead(&mut self, now: Instant, leads: bool) {
        if leads {
            self.leader(now, None);
            self.leads = true;
            self.retire(now, now + LAST_WORDS);
            self.end_settled(now);
        }
        self.leads = leads;
        self.go_on(now);
    }

    /// What waits, each client's in its order, for the link of this node, which leads; to be asked for whenever
    /// something was heard, or time has passed. What a client [in doubt](Forward::in_doubt) has asked waits on.
    pub(super) fn hand_over(&mut self) -> Vec<Send> {
        let Forward { leads, line, flying, .. } = self;
        if *leads { line.take_all(|client| !flying.contains_key(&client)) } else { Vec::new() }
    }

    /// Clients of whom something is handed over and untold. Where this node leads it may still be given back, and goes
    /// before what they have asked since, which is to be told to this end as long.
    pub(super) fn in_doubt(&self) -> impl Iterator<Item = u64> {
        self.flying.keys().copied()
    }

    /// The orders that no leader took, for the link of this node, which leads.
    pub(super) fn hand_over_orders(&mut self) -> Vec<Command> {
        let orders = if self.leads { std::mem::take(&mut self.orders) } else { VecDeque::new() };
        // its connection is a new one
        let orders = orders.into_iter().filter(|waits| waits.order != Order::Reconnect);
        orders.map(|waits| waits.order.into()).collect()
    }

    /// A client has gone.
    pub(super) fn left(&mut self, from: &Origin) {
        let client = from.client;
        if let Some(session) = &mut self.session
            && self.handed.values().any(|handed| handed.from.client == client)
        {
            session.say(&Ask::Left { client }, &[]);
        }
    }

    /// The leader has given a sign of life: something of its term was read from the log. What is untold when it is
    /// lost is told by the last of them.
    pub(super) fn alive(&mut self, now: Instant) {
        self.alive = Some(now);
    }

    /// Who leads, as far as is known; none where nobody does, or this node is detached.
    pub(super) fn leader(&mut self, now: Instant, leader: Option<Leader>) {
        if let Some(session) = &mut self.session {
            match leader {
                Some(leader) if leader.term == session.term => session.ends = None,
                Some(_) => self.retire(now, now + LAST_WORDS),
                None => {
                    let ends = self.lost_at(now);
                    let session = self.session.as_mut();
                    session.into_iter().for_each(|session| session.ends = session.ends.or(Some(ends)));
                }
            }
        }
        if leader.is_some_and(|leader| self.leader.is_none_or(|before| before.term != leader.term)) {
            // the leaders of former terms have said all that they had to say
            self.old.iter_mut().for_each(|session| {
                let is_former = leader.is_some_and(|leader| leader.term != session.term);
                session.ends = session.ends.filter(|ends| !is_former || *ends < now + LAST_WORDS);
                session.ends = session.ends.or(Some(now + LAST_WORDS));
            });
        }
        if leader.map(|leader| leader.term) != self.leader.map(|leader| leader.term) {
            self.unheard_until = None;
        }
        self.leader = leader;
        if let Some(leader) = leader {
            self.present = (leader.term, leader.conn);
            self.end_reconnects();
        }
        self.end_settled(now);
        self.go_on(now);
    }

    /// When what is untold is told, if the leader is lost.
    fn lost_at(&self, now: Instant) -> Instant {
        let heard = self.session.as_ref().map(|session| session.heard.unwrap_or(session.since));
        let lost = self.alive.or(heard).unwrap_or(now).max(heard.unwrap_or(now)).min(now);
        (lost + self.settings.lease + UNKNOWN_AFTER).max(now + LAST_WORDS)
    }

    /// How the link is, for what would be sent now.
    fn state(&self) -> LinkState {
        let Some(leader) = self.leader else {
            return if self.leads { LinkState::Up } else { LinkState::Waiting };
        };
        let gave_back = self.session.as_ref().and_then(|session| session.gave_back);
        match (leader.link, gave_back) {
            _ if self.unheard_until.is_some() => LinkState::Waiting,
            (LinkState::Up, Some(LinkState::Up)) => LinkState::Waiting,
            (LinkState::Up, Some(state)) => state,
            (state, _) => state,
        }
    }

    /// Hands over what may be, or has it wait.
    fn go_on(&mut self, now: Instant) {
        if self.leads {
            return;
        }
        self.say_orders(now);
        let state = self.state();
        if state != LinkState::Up {
            return self.line.requeue(now, state);
        }
        while !self.line.is_empty() {
            let has_room = self.bytes < MAX_HANDED && self.sends < MAX_HANDED_SENDS;
            let session = self.session(now);
            if !has_room || session.is_none_or(|session| session.is_full()) {
                return;
            }
            let (flying, handed, generation) = (&self.flying, &self.handed, self.generation);
            let may = |send: &Send| {
                let first = flying.get(&send.ticket.from().client).and_then(|of| of.front());
                first.and_then(|n| handed.get(n)).is_none_or(|handed| handed.generation == generation)
            };
            let Some((number, send)) = self.line.next(may) else { return };
            self.hand(now, number, send);
        }
    }

    /// The session with the present leader, which begins with the first thing to say.
    fn session(&mut self, now: Instant) -> Option<&mut Session> {
        let leader = self.leader?;
        if self.session.is_none() {
            self.sessions += 1;
            self.generation += 1;
            let id = format!("{:016x}-{}", self.seed, self.sessions);
            self.session = Some(Session::new(now, id, self.sessions, leader.term, self.settings.max_payload));
        }
        self.session.as_mut()
    }

    fn hand(&mut self, now: Instant, number: u64, send: Send) {
        self.next += 1;
        let (n, generation) = (self.next, self.generation);
        let Some(session) = self.session(now) else { return };
        let from = Rc::clone(send.ticket.from());
        let asks = send.asks.as_deref();
        let until = asks.filter(|asks| asks.is_request).and_then(|asks| asks.until);
        let asked = asks.map(|asks| Asked {
            id: asks.caller.id().map(str::to_owned),
            is_request: asks.is_request,
            timeout_us: until.map(|until| {
                u64::try_from(until.saturating_duration_since(now).as_micros()).unwrap_or(u64::MAX)
            }),
        });
        let sent = Sent {
            n,
            round: session.round,
            client: from.client,
            uid: from.uid,
            messages: send.messages().map(handed::shape).collect(),
            expand: send.expand,
            may_not_answer: MayNotAnswer::of(send.may_answer),
            asks: asked,
        };
        let bodies: Vec<&[u8]> = send.messages().map(|message| message.as_bytes()).collect();
        let end = session.say(&Ask::Send(Box::new(sent)), &bodies);
        let cost = send.cost();
        let handed = Handed {
            session: session.number,
            end,
            number,
            generation,
            from,
            cost,
            until,
            send: Some(send),
            asks: None,
            is_answered: false,
        };
        self.forwarded += 1;
        self.bytes += cost;
        self.sends += 1;
        self.flying.entry(handed.from.client).or_default().push_back(n);
        self.handed.insert(n, handed);
    }

    /// The daemon ends: what waits isn't sent, and what was handed over may have been written, or not.
    pub(super) fn stop(&mut self) {
        let waiting = self.line.take_all(|_| true);
        waiting.into_iter().for_each(|send| send.ticket.settle(Fate::LinkDown(LinkState::Closed)));
        std::mem::take(&mut self.handed).into_values().for_each(Handed::lose);
        std::mem::take(&mut self.cancels).into_values().for_each(|(_, tell)| tell(false));
        (self.bytes, self.sends, self.session) = (0, 0, None);
        self.flying.clear();
        self.old.clear();
    }

    /// The next message to send.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Out> {
        let says = self.leader.is_some() && self.unheard_until.is_none();
        let settings = &self.settings;
        let present = self.session.as_mut().and_then(|session| session.poll(now, settings, says));
        present.or_else(|| self.old.iter_mut().find_map(|session| session.poll(now, settings, false)))
    }

    /// When to call [`Forward::timeout`], if nothing else happens before.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let says = self.leader.is_some() && self.unheard_until.is_none();
        let present = self.session.as_ref().filter(|_| says).and_then(Session::next_timeout);
        let ends = self.session.iter().chain(&self.old).filter_map(|session| session.ends);
        let requests = self.handed.values().filter_map(Handed::ends);
        let orders = self.orders.front().map(|waits| waits.until);
        let others = [present, self.line.next_expiry(), self.unheard_until, orders];
        others.into_iter().flatten().chain(ends).chain(requests).min()
    }

    /// Time has passed.
    pub(super) fn timeout(&mut self, now: Instant) {
        if let Some(session) = &mut self.session {
            session.timeout(now);
        }
        self.unheard_until = self.unheard_until.filter(|until| *until > now);
        self.end_settled(now);
        self.end_requests(now);
        let expired = self.line.expire(now);
        if expired > 0 {
            tracing::warn!(expired, "messages waited for too long, and are not sent");
        }
        self.end_orders(now);
        self.go_on(now);
    }
}
