//! Nodes, leaders, the carrier between them, and a server that notes what was written.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    cluster::forward::{Forward, Intake, Leader, Out, Settings},
    config,
    hub::{
        Command, Commands, Fate, Hub, LinkState, LinkStatus, Origin, Payload, Permit, Publisher, Send, Ticket,
    },
};

pub(super) const LEASE: Duration = Duration::from_secs(2);
/// No frame is longer than this in most tests, so that sends go in pieces.
pub(super) const MAX_PAYLOAD: usize = 2_048;

/// What clients were told of their sends, by the sends' numbers.
pub(super) type Fates = Rc<RefCell<BTreeMap<u64, Vec<Fate>>>>;

/// A leader of one term.
pub(super) struct Lead {
    pub(super) term: u64,
    pub(super) intake: Intake,
    pub(super) link: Option<Link>,
}

/// A link: what it was given, and not yet written.
pub(super) struct Link {
    pub(super) publisher: Publisher,
    commands: Commands,
    pub(super) backlog: VecDeque<Send>,
    pub(super) is_up: bool,
}

/// A message on its way.
struct Flying {
    at: Instant,
    out: Out,
    /// To this node, or to whoever hears the subject.
    from: usize,
    /// It comes a second time.
    is_double: bool,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) random: fastrand::Rng,
    pub(super) nodes: Vec<Forward>,
    /// The leaders that are heard.
    pub(super) leads: Vec<Lead>,
    flying: Vec<Flying>,
    /// When the last message of each arrives.
    last: Vec<Instant>,
    /// Of a thousand messages so many are lost, doubled; and the longest delay.
    pub(super) lost: u32,
    pub(super) doubled: u32,
    pub(super) delay: Duration,
    pub(super) fates: Fates,
    /// The most that a link writes in a millisecond.
    pub(super) writes: usize,
    /// What the server has got, in its order.
    pub(super) written: Rc<RefCell<Vec<u64>>>,
    pub(super) orders: Vec<Command>,
    pub(super) sent: u64,
    clients: BTreeMap<(usize, u64), Rc<Origin>>,
}

pub(super) fn settings(node: usize) -> Settings {
    Settings {
        prefix: "wsfan.c".into(),
        inbox: format!("_INBOX_c_n{node}.x"),
        node: format!("n{node}").into(),
        lease: LEASE,
        max_payload: MAX_PAYLOAD,
    }
}

impl World {
    pub(super) fn new(nodes: usize, outbox: usize, seed: u64) -> World {
        let limits =
            config::Outbox { max_messages: outbox, max_bytes: 1 << 20, ttl: Duration::from_secs(20) };
        let now = Instant::now();
        World {
            now,
            last: vec![now; 100],
            random: fastrand::Rng::with_seed(seed),
            nodes: (0..nodes).map(|node| Forward::new(settings(node), limits, node as u64)).collect(),
            leads: Vec::new(),
            flying: Vec::new(),
            lost: 0,
            doubled: 0,
            delay: Duration::from_millis(2),
            fates: Fates::default(),
            writes: 7,
            written: Rc::default(),
            orders: Vec::new(),
            sent: 0,
            clients: BTreeMap::new(),
        }
    }

    /// A leader of a term, whose link is up, or not. All nodes hear of it at once.
    pub(super) fn lead(&mut self, term: u64, is_up: bool) {
        let hub = Hub::new("e".into(), &config::History::default(), false);
        let (publisher, commands) = hub.publisher().unwrap();
        let link = Link { publisher, commands, backlog: VecDeque::new(), is_up: false };
        let intake = Intake::new(settings(99), hub, || {});
        self.leads.push(Lead { term, intake, link: Some(link) });
        self.link(term, is_up);
    }

    /// A term's link comes up, or goes down.
    pub(super) fn link(&mut self, term: u64, is_up: bool) {
        let lead = self.leads.iter_mut().find(|lead| lead.term == term).unwrap();
        let link = lead.link.as_mut().unwrap();
        let state = if is_up { LinkState::Up } else { LinkState::Waiting };
        link.publisher.announce(LinkStatus { state, ..LinkStatus::default() });
        link.is_up = is_up;
        if !is_up {
            link.backlog.drain(..).for_each(|send| send.ticket.settle(Fate::LinkDown(state)));
        }
    }

    /// What a node knows of who leads.
    pub(super) fn tell(&mut self, node: usize, leader: Option<Leader>) {
        self.nodes[node].leader(self.now, leader);
    }

    pub(super) fn tell_all(&mut self, leader: Option<Leader>) {
        (0..self.nodes.len()).for_each(|node| self.tell(node, leader));
    }

    /// A leader dies: what its link has begun is written, or not; nothing is told.
    pub(super) fn kill(&mut self, term: u64) {
        let Some(at) = self.leads.iter().position(|lead| lead.term == term) else { return };
        let mut lead = self.leads.remove(at);
        let mut link = lead.link.take().unwrap();
        if link.is_up && self.random.bool() {
            self.write(&mut link, usize::MAX);
        }
        drop(lead.intake); // what tickets tell now is told to nobody
    }

    /// A leader stops in order: its link tells what it hasn't begun, and then others may lead.
    pub(super) fn resign(&mut self, term: u64) {
        let now = self.now;
        let lead = self.leads.iter_mut().find(|lead| lead.term == term).unwrap();
        let mut link = lead.link.take().unwrap();
        while let Some(command) = link.commands.try_recv() {
            if let Command::Send(send) = command {
                link.backlog.push_back(send);
            }
        }
        link.backlog.drain(..).for_each(|send| send.ticket.settle(Fate::LinkDown(LinkState::Closed)));
        drop(link);
        let last = self.last[99];
        while let Some(out) = lead.intake.poll(now) {
            let at = now.max(last);
            self.flying.push(Flying { at, out, from: 99, is_double: false });
        }
        self.leads.retain(|lead| lead.term != term);
    }

    pub(super) fn client(&mut self, node: usize, client: u64) -> Rc<Origin> {
        let client = client + 100 * node as u64;
        let of = self.clients.entry((node, client));
        Rc::clone(of.or_insert_with(|| Rc::new(Origin::new(1000, client))))
    }

    /// A client of a node sends. Its number, which says whose it is: sends of one client have growing numbers.
    pub(super) fn send(&mut self, node: usize, client: u64, length: usize) -> u64 {
        self.sent += 1;
        let number = self.sent;
        let from = self.client(node, client);
        let fates = Rc::clone(&self.fates);
        self.fates.borrow_mut().insert(number, Vec::new());
        let ticket = Ticket::new(Permit::of(&from), move |fate| {
            fates.borrow_mut().get_mut(&number).unwrap().push(fate);
        });
        let text = format!("{number} {} {}", from.client, "x".repeat(length));
        self.nodes[node].command(self.now, Command::Send(Send::new(Payload::Text(text), ticket, 0)));
        number
    }

    /// A link writes so much of what it has.
    fn write(&self, link: &mut Link, most: usize) {
        let sends: Vec<_> = link.backlog.drain(..most.min(link.backlog.len())).collect();
        for send in sends {
            let text = std::str::from_utf8(send.payload.as_bytes()).unwrap();
            let number = text.split(' ').next().unwrap().parse().unwrap();
            self.written.borrow_mut().push(number);
            send.ticket.settle(Fate::Written);
        }
    }

    /// Takes in what is asked of each link, and writes some of it.
    fn links(&mut self) {
        for at in 0..self.leads.len() {
            let Some(mut link) = self.leads[at].link.take() else { continue };
            while let Some(command) = link.commands.try_recv() {
                match command {
                    Command::Send(send) if link.is_up => link.backlog.push_back(send),
                    Command::Send(send) => send.ticket.settle(Fate::LinkDown(LinkState::Waiting)),
                    command => self.orders.push(command),
                }
            }
            if link.is_up {
                let most = self.random.usize(0..=self.writes);
                self.write(&mut link, most);
            }
            self.leads[at].link = Some(link);
        }
    }

    fn fly(&mut self) {
        let mut outs = Vec::new();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            outs.extend(std::iter::from_fn(|| node.poll(self.now)).map(|out| (at, out)));
        }
        for lead in &mut self.leads {
            outs.extend(std::iter::from_fn(|| lead.intake.poll(self.now)).map(|out| (99, out)));
        }
        for (from, out) in outs {
            assert!(out.payload.len() <= MAX_PAYLOAD, "{} bytes", out.payload.len());
            let copies = if self.random.u32(0..1000) < self.doubled { 2 } else { 1 };
            for copy in 0..copies {
                if self.random.u32(0..1000) >= self.lost {
                    // what one says comes in its order, but for what comes twice
                    let at = self.now + self.delay.mul_f64(self.random.f64() + f64::from(copy));
                    let at = if copy == 0 { at.max(self.last[from]) } else { at };
                    self.last[from] = self.last[from].max(if copy == 0 { at } else { self.now });
                    self.flying.push(Flying { at, out: out.clone(), from, is_double: copy > 0 });
                }
            }
        }
    }

    /// What nodes have to say now gets lost.
    pub(super) fn fly_none(&mut self) {
        let lost = std::mem::replace(&mut self.lost, 1000);
        self.fly();
        self.lost = lost;
    }

    fn arrive(&mut self) {
        let now = self.now;
        let (due, rest) = std::mem::take(&mut self.flying).into_iter().partition(|flying| flying.at <= now);
        self.flying = rest;
        let mut due: Vec<Flying> = due;
        due.sort_by_key(|flying| flying.at);
        for Flying { out: Out { subject, reply, payload }, from, is_double, .. } in due {
            if from == 99 {
                let heard = self.nodes.iter_mut().map(|node| node.heard(now, &subject, None, &payload));
                assert!(heard.filter(|is_it| *is_it).count() <= 1);
                continue;
            }
            let term = subject.strip_prefix("wsfan.c.t").and_then(|rest| rest.strip_suffix(".send"));
            let term: u64 = term.unwrap().parse().unwrap();
            match self.leads.iter_mut().find(|lead| lead.term == term) {
                Some(lead) => lead.intake.heard(now, reply.as_deref(), &payload),
                // somebody may have heard it the first time
                None if is_double => {}
                None => {
                    // nobody is there who would hear it
                    self.nodes[from].heard(now, &reply.unwrap(), Some(503), b"");
                }
            }
        }
    }

    /// Goes on for a while.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    pub(super) fn step(&mut self) {
        self.arrive();
        self.links();
        let now = self.now;
        for node in &mut self.nodes {
            if node.next_timeout().is_some_and(|at| at <= now) {
                node.timeout(now);
                let next = node.next_timeout();
                assert!(next.is_none_or(|next| next > now), "it would be called for ever");
            }
        }
        for lead in &mut self.leads {
            if lead.intake.next_timeout(now).is_some_and(|at| at <= now) {
                lead.intake.timeout(now);
            }
        }
        self.fly();
        self.now += Duration::from_millis(1);
    }

    pub(super) fn told(&self, number: u64) -> Vec<Fate> {
        self.fates.borrow()[&number].clone()
    }

    /// What holds at any time.
    pub(super) fn check(&self) {
        let written = self.written.borrow();
        let all: BTreeSet<_> = written.iter().copied().collect();
        assert_eq!(all.len(), written.len(), "something was written twice: {written:?}");
        for (number, fates) in &*self.fates.borrow() {
            let finals: Vec<_> = fates.iter().filter(|fate| **fate != Fate::Queued).collect();
            assert!(finals.len() <= 1 && fates.len() - finals.len() <= 1, "{number}: {fates:?}");
            match finals.first() {
                Some(Fate::Written) => assert!(all.contains(number), "{number} wasn't written"),
                Some(Fate::Unknown) | None => {}
                Some(fate) => assert!(!all.contains(number), "{number} was written, and told {fate:?}"),
            }
        }
    }

    /// What holds at the end: each has its fate.
    pub(super) fn check_end(&self) {
        self.check();
        for (number, fates) in &*self.fates.borrow() {
            assert!(fates.last().is_some_and(|fate| *fate != Fate::Queued), "{number}: {fates:?}");
        }
    }

    /// Each client's sends were written in their order.
    pub(super) fn check_order(&self, of: &BTreeMap<u64, u64>) {
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for number in &*self.written.borrow() {
            let before = last.insert(of[number], *number).unwrap_or_default();
            assert!(before < *number, "{number} was written after {before}");
        }
    }
}

pub(super) fn up(term: u64) -> Option<Leader> {
    Some(Leader { term, link: LinkState::Up, conn: 0 })
}

pub(super) fn down(term: u64) -> Option<Leader> {
    Some(Leader { term, link: LinkState::Waiting, conn: 0 })
}
