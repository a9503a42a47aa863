//! A node's session, as the leader has it.

use std::{
    cell::Cell,
    collections::BTreeMap,
    rc::{Rc, Weak},
    time::Instant,
};

use serde::Serialize;

use super::{
    super::{Out, Settings, channel::Channel, session::max_body, words},
    told::{Entry, Load, Told},
};
use crate::{
    cluster::forward::words::{Head, Word},
    hub::{LinkState, Origin},
};

/// So many of a node's clients are known at once.
const MAX_CLIENTS: usize = 16_384;

/// A node's session.
pub(super) struct NodeSession {
    pub(super) node: String,
    /// Where it hears.
    reply: String,
    pub(super) channel: Channel,
    /// How often sends were given back to it, and whether they were since the link was up.
    pub(super) round: u64,
    gave_back: bool,
    pub(super) clients: BTreeMap<u64, Rc<Origin>>,
    /// Who holds the topics that its clients want.
    pub(super) holder: Option<Rc<Origin>>,
    pub(super) entries: BTreeMap<u64, Open>,
    /// What is untold: in bytes, and in sends.
    pub(super) bytes: usize,
    pub(super) sends: usize,
    load: Rc<Load>,
    told: Rc<Told>,
}

/// A send that is on its way.
pub(super) struct Open {
    round: u64,
    /// What it takes, as long as it is untold.
    cost: Option<usize>,
    entry: Weak<Entry>,
}

impl Open {
    /// Nobody hears its answers any more.
    pub(super) fn quit(&self) {
        if let Some(entry) = self.entry.upgrade() {
            entry.quit();
        }
    }
}

impl NodeSession {
    pub(super) fn new(node: &str, reply: &str, max_payload: usize, told: Rc<Told>) -> NodeSession {
        NodeSession {
            node: node.to_owned(),
            reply: reply.to_owned(),
            channel: Channel::new(max_body(max_payload)),
            round: 0,
            gave_back: false,
            clients: BTreeMap::new(),
            holder: None,
            entries: BTreeMap::new(),
            bytes: 0,
            sends: 0,
            load: Rc::default(),
            told,
        }
    }

    /// The client of this number; none where there are too many.
    pub(super) fn client(&mut self, next: &mut u64, client: u64, uid: u32) -> Option<Rc<Origin>> {
        if self.clients.len() >= MAX_CLIENTS {
            self.forget_idle();
        }
        if self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&client) {
            return None;
        }
        let from = self.clients.entry(client).or_insert_with(|| {
            *next += 1;
            Rc::new(Origin::remote(uid, *next))
        });
        Some(Rc::clone(from))
    }

    /// Forgets clients of whom nothing is here, when there are many.
    pub(super) fn forget_clients(&mut self) {
        if self.clients.len() > 1024 && self.entries.is_empty() {
            self.forget_idle();
        }
    }

    fn forget_idle(&mut self) {
        self.clients.retain(|_, from| Rc::strong_count(from) > 1);
    }

    /// A send is on its way.
    pub(super) fn open(&mut self, session: &str, n: u64, round: u64, cost: usize) -> Rc<Entry> {
        let entry = Rc::new(Entry {
            session: session.to_owned(),
            n,
            told: Rc::clone(&self.told),
            load: Rc::clone(&self.load),
            has_quit: Cell::new(false),
        });
        self.bytes += cost;
        self.sends += 1;
        self.entries.insert(n, Open { round, cost: Some(cost), entry: Rc::downgrade(&entry) });
        entry
    }

    /// It is told; in which round it came.
    pub(super) fn land(&mut self, n: u64) -> Option<u64> {
        let open = self.entries.get_mut(&n)?;
        if let Some(cost) = open.cost.take() {
            self.bytes -= cost;
            self.sends -= 1;
        }
        Some(open.round)
    }

    /// Gives a send of this round back. What the node has sent in it before it hears of that is given back, too.
    pub(super) fn back(&mut self, n: u64, round: u64, state: LinkState) {
        self.round = self.round.max(round + 1);
        self.gave_back = true;
        self.say(&Word::Back { n, round: self.round, state: state.into() }, &[]);
    }

    /// The link is up.
    pub(super) fn up(&mut self) {
        if std::mem::take(&mut self.gave_back) {
            self.say(&Word::Up, &[]);
        }
    }

    pub(super) fn say(&mut self, word: &impl Serialize, bodies: &[&[u8]]) {
        let line = words::line(word);
        let parts: Vec<&[u8]> = std::iter::once(&*line).chain(bodies.iter().copied()).collect();
        self.channel.push(&parts);
    }

    /// The next message.
    pub(super) fn poll(&mut self, now: Instant, settings: &Settings, id: &str) -> Option<Out> {
        self.load.bytes.set(self.channel.held());
        let frame = self.channel.poll(now, true)?;
        let payload = Head::write(&settings.node, id, &frame);
        Some(Out { subject: self.reply.clone(), reply: None, payload })
    }

    /// Nobody is there any more: nothing is told.
    pub(super) fn quit(&self) {
        self.load.is_gone.set(true);
    }
}
