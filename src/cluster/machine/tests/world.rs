//! Nodes, a stream, an upstream that knows how many connections it has, and true time.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    clock::{Clock, MS, S, Us},
    node::{Daemon, Hub, Node},
    stream::Stream,
};
use crate::cluster::machine::{AppendId, AskId, Event, Machine, Message, Role, Settings};

pub(super) const LEASE: Duration = Duration::from_secs(2);

/// What will happen.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Timer,
    /// The server gets an append, or a question.
    Append {
        id: AppendId,
        expect: u64,
        message: Message,
    },
    Ask {
        id: AskId,
        from: u64,
    },
    Read,
    /// The node hears something.
    Tell(Event),
    /// The link comes up, says something, or ends.
    LinkUp(u64),
    Said(u64),
    LinkGone(u64),
    /// The node sees that its connection is gone, or has a new one.
    NatsDown,
    NatsUp,
    Start,
    Weather(super::weather::Change),
}

/// Whom it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct To {
    pub(super) node: usize,
    pub(super) life: u64,
    pub(super) conn: u64,
}

/// How the network is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Network {
    /// Of a hundred messages, so many are lost, and so many late.
    pub(super) lost: u32,
    pub(super) late: u32,
}

pub(super) struct World {
    pub(super) lease: Duration,
    pub(super) now: Us,
    pub(super) random: fastrand::Rng,
    future: BTreeMap<(Us, u64), (To, Happening)>,
    count: u64,
    pub(super) stream: Stream,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    /// The server is there; a majority of its replicas is.
    pub(super) server: bool,
    pub(super) quorum: bool,
    pub(super) exists: bool,
    /// What waits for the majority.
    pub(super) waiting: Vec<(To, Happening)>,
    /// The upstream takes connections, and says something so often.
    pub(super) upstream: bool,
    pub(super) pause: Us,
    pub(super) said: u64,
    pub(super) links: u64,
    /// The newest link that was opened by a node that wasn't frozen, and by whom.
    pub(super) open: HashMap<usize, u64>,
    pub(super) opened: u64,
    /// How many links others had opened when a node froze.
    pub(super) frozen_at: HashMap<usize, u64>,
    /// Since when nothing is in the way of a leader.
    pub(super) calm_since: Us,
    pub(super) leaderless_since: Option<Us>,
    pub(super) longest_leaderless: Us,
    pub(super) served: HashMap<String, BTreeMap<u64, Vec<u8>>>,
    pub(super) doubles: u64,
    pub(super) entries: u64,
    pub(super) not_there: u64,
    /// How often the stream may lose what it had; without, no epoch ends.
    pub(super) loses: bool,
}

impl World {
    /// So many nodes with a clock each, of rates up to 10 % apart; some of them are no candidates.
    pub(super) fn new(seed: u64, nodes: usize, watchers: usize) -> World {
        let mut random = fastrand::Rng::with_seed(seed);
        let nodes = (0..nodes + watchers)
            .map(|n| Node {
                name: format!("n{n}"),
                clock: Clock { offset: random.u64(0..1 << 40), ppm: random.i64(-50_000..50_000) },
                candidate: n < nodes,
                life: 0,
                daemon: None,
                frozen_until: 0,
                cut: false,
                conn: 0,
                knows_up: false,
                timer: None,
                newest_request: 0,
            })
            .collect();
        World {
            lease: LEASE,
            now: 0,
            random,
            future: BTreeMap::new(),
            count: 0,
            stream: Stream::default(),
            nodes,
            network: Network::default(),
            server: true,
            quorum: true,
            exists: true,
            waiting: Vec::new(),
            upstream: true,
            pause: 50 * MS,
            said: 0,
            links: 0,
            open: HashMap::new(),
            opened: 0,
            frozen_at: HashMap::new(),
            calm_since: 0,
            leaderless_since: None,
            longest_leaderless: 0,
            served: HashMap::new(),
            doubles: 0,
            entries: 0,
            not_there: 0,
            loses: true,
        }
    }

    /// The lease, in true time as it is meant.
    pub(super) fn lease_us(&self) -> Us {
        u64::try_from(self.lease.as_micros()).unwrap()
    }

    pub(super) fn to(&self, node: usize) -> To {
        To { node, life: self.nodes[node].life, conn: self.nodes[node].conn }
    }

    pub(super) fn at(&mut self, time: Us, to: To, happening: Happening) {
        self.count += 1;
        self.future.insert((time.max(self.now), self.count), (to, happening));
    }

    pub(super) fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
    }

    pub(super) fn start(&mut self, node: usize) {
        let seed = self.random.u64(..);
        let n = &mut self.nodes[node];
        if n.daemon.is_some() {
            return;
        }
        n.life += 1;
        n.conn += 1;
        (n.frozen_until, n.knows_up, n.timer) = (0, false, None);
        let settings = Settings {
            candidate: n.candidate,
            max_batch: 512,
            max_unacked: 64 << 10,
            max_entry: 8 << 10,
            ..Settings::new(&n.name, self.lease)
        };
        let machine = Machine::new(n.clock.at(self.now), settings, seed);
        n.daemon = Some(Daemon { machine, hub: Hub::default(), link: None, read: None, attached: false });
        self.connect(node);
        self.tell_others();
    }

    /// The node gets a new connection to NATS, if it can.
    pub(super) fn connect(&mut self, node: usize) {
        if self.nodes[node].cut || !self.server || !self.exists {
            return;
        }
        self.nodes[node].conn += 1;
        let at = self.now + self.random.u64(MS..100 * MS);
        let to = self.to(node);
        self.at(at, to, Happening::NatsUp);
        self.calm_since = self.calm_since.max(at);
    }

    /// Its connection is gone; it notices after this.
    pub(super) fn disconnect(&mut self, node: usize, after: Us) {
        self.nodes[node].conn += 1;
        let to = self.to(node);
        self.at(self.now + after, to, Happening::NatsDown);
    }

    /// How many other candidates each can hope for.
    pub(super) fn tell_others(&mut self) {
        let there = |node: &Node| node.candidate && node.daemon.is_some() && !node.cut;
        for node in 0..self.nodes.len() {
            let others = (0..self.nodes.len()).filter(|n| *n != node && there(&self.nodes[*n])).count();
            let to = self.to(node);
            self.at(self.now, to, Happening::Tell(Event::Others(others)));
        }
    }

    /// wsfan dies: its connections are closed, and what it knew is gone.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].daemon = None;
        self.open.remove(&node);
        self.frozen_at.remove(&node);
        self.tell_others();
    }

    /// Its process stands still, with its connections open.
    pub(super) fn freeze(&mut self, node: usize, time: Us) {
        let until = self.now + time;
        self.nodes[node].frozen_until = self.nodes[node].frozen_until.max(until);
        if self.open.contains_key(&node) {
            self.frozen_at.entry(node).or_insert(self.opened);
        }
        let to = self.to(node);
        self.at(until, to, Happening::Timer);
    }

    /// Goes on until this time.
    pub(super) fn run_until(&mut self, end: Us) {
        while let Some(entry) = self.future.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((time, _), (to, happening)) = entry.remove_entry();
            self.now = time;
            self.happen(to, happening);
            self.watch();
        }
        self.now = end;
    }

    /// Goes on until that is so, or it is too late.
    pub(super) fn run_until_some(&mut self, end: Us, is_so: impl Fn(&World) -> bool) -> bool {
        while !is_so(self) {
            if self.now >= end {
                return false;
            }
            self.run_until(self.now + 10 * MS);
        }
        true
    }

    pub(super) fn leader(&self) -> Option<usize> {
        (0..self.nodes.len()).find(|node| {
            self.nodes[*node].is_up(self.now) && self.nodes[*node].role(self.now) == Some(Role::Leader)
        })
    }

    fn watch(&mut self) {
        if self.leader_is_possible() && !self.is_led() {
            let since = *self.leaderless_since.get_or_insert(self.now);
            let since = since.max(self.calm_since);
            self.longest_leaderless = self.longest_leaderless.max(self.now.saturating_sub(since));
        } else {
            self.leaderless_since = None;
        }
    }

    fn is_led(&self) -> bool {
        self.nodes.iter().any(|node| {
            node.is_up(self.now)
                && node.daemon.as_ref().is_some_and(|daemon| daemon.machine.lease().is_some())
        })
    }

    fn leader_is_possible(&self) -> bool {
        self.server
            && self.quorum
            && self.exists
            && self.nodes.iter().any(|node| node.candidate && !node.cut && node.is_up(self.now))
    }

    /// How long a message takes; none for one that is lost.
    pub(super) fn delay(&mut self) -> Option<Us> {
        let Network { lost, late } = self.network;
        let usual = self.random.u64(100..2 * MS);
        if lost + late > 0 {
            let dice = self.random.u32(0..100);
            if dice < lost {
                self.disturb(self.now + usual);
                return None;
            }
            if dice < lost + late {
                let longer = if self.random.bool() { 300 * MS } else { 5 * S };
                let delay = self.random.u64(0..longer);
                self.disturb(self.now + delay);
                return Some(delay);
            }
        }
        Some(usual)
    }

    /// Something is in a leader's way until then.
    pub(super) fn disturb(&mut self, until: Us) {
        self.calm_since = self.calm_since.max(until);
    }

    fn happen(&mut self, to: To, happening: Happening) {
        match happening {
            Happening::Weather(change) => return self.change(change),
            Happening::Append { .. } | Happening::Ask { .. } | Happening::Read => {
                return self.serve(to, happening);
            }
            Happening::Start => return self.start(to.node),
            _ => {}
        }
        let node = &mut self.nodes[to.node];
        if node.life != to.life || node.daemon.is_none() {
            return;
        }
        if node.frozen_until > self.now {
            let until = node.frozen_until;
            self.at(until, to, happening);
            return;
        }
        let hears = node.conn == to.conn && node.knows_up;
        match happening {
            Happening::Timer => {
                node.timer = None;
                self.handle(to.node, Event::Timeout);
            }
            Happening::Tell(event @ (Event::Others(_) | Event::Stop)) => self.handle(to.node, event),
            Happening::Tell(event) if hears => self.handle(to.node, event),
            Happening::Tell(_) => {}
            Happening::NatsDown if hears => {
                node.knows_up = false;
                let event = if self.exists { Event::NatsDown } else { Event::StreamGone };
                self.handle(to.node, event);
            }
            Happening::NatsUp if node.conn == to.conn => {
                if std::mem::replace(&mut node.knows_up, true) {
                    self.handle(to.node, Event::NatsDown);
                }
                self.handle(to.node, Event::NatsUp);
            }
            Happening::LinkUp(number) => self.link_up(to, number),
            Happening::Said(number) => self.hear(to, number),
            Happening::LinkGone(number) => self.link_gone(to.node, number),
            _ => {}
        }
    }
}
