//! What clients see of a cluster, where other machines have the same link and log; and the next log, where one ends.

use std::{
    cell::{Cell, Ref, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Hub, LinkStatus, Log, Publisher};
pub use crate::protocol::cluster::{ClusterCounts, ClusterState, ClusterWhy};
use crate::protocol::{Line, Public};

/// How this machine stands in its cluster: plain values, for `hello` and `status`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterNow {
    /// The cluster's name.
    pub name: Rc<str>,
    /// This machine's.
    pub node: Rc<str>,
    /// What it is in it.
    pub state: ClusterState,
    /// Why it is detached or fenced.
    pub why: Option<ClusterWhy>,
    /// What is wrong, in a sentence.
    pub error: Option<String>,
    /// The machine that leads, as far as is known.
    pub leader: Option<Rc<str>>,
    /// The newest term that is known; 0 before the first.
    pub term: u64,
    /// How many messages of the stream it doesn't have yet, as far as is known.
    pub lag: u64,
    /// Until when it may lead.
    pub lease_until: Option<Instant>,
    /// What it counts.
    pub counts: ClusterCounts,
}

/// The entries that clients wait for.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    waits: RefCell<Vec<Rc<Wait>>>,
    /// There is a new one.
    stirred: Notify,
}

/// A client waits for an entry.
#[derive(Debug)]
struct Wait {
    seq: u64,
    is_over: Cell<bool>,
    over: Notify,
}

impl Hub {
    /// How this machine stands in its cluster; `None` where there is no other machine.
    pub fn cluster(&self) -> Option<Ref<'_, ClusterNow>> {
        Ref::filter_map(self.0.common.cluster.borrow(), |now| now.as_deref()).ok()
    }

    /// Says how this machine stands in its cluster. The first time comes before any client does.
    pub fn set_cluster(&self, now: ClusterNow) {
        *self.0.common.cluster.borrow_mut() = Some(Box::new(now));
    }

    /// Changes what is said of it.
    pub fn change_cluster(&self, change: impl FnOnce(&mut ClusterNow)) {
        self.0.common.cluster.borrow_mut().as_deref_mut().map(change);
    }

    /// Says that the link of the cluster is this machine's, by its name and the term, or no longer: what is announced of
    /// the link says so.
    pub fn lead(&self, leads: Option<(Rc<str>, u64)>) {
        *self.0.common.leads.borrow_mut() = leads;
    }

    /// The status with what this machine is, while it leads.
    pub(super) fn as_leader(&self, status: LinkStatus) -> LinkStatus {
        match &*self.0.common.leads.borrow() {
            Some((node, term)) => LinkStatus { node: Some(Rc::clone(node)), term: Some(*term), ..status },
            None => status,
        }
    }

    /// Has all clients of envelope listeners told the link's status once more, by a line that is no entry. What is said so
    /// several times before they are told is said once.
    pub fn restate(&self) {
        self.0.restated.notify_one();
    }

    /// Waits until the link's status is to be said again. Cancel-safe.
    pub async fn restated(&self) {
        self.0.restated.notified().await;
    }

    /// The hub that goes on with another log, of this epoch and from this entry on. All else is the same: the link's
    /// status, what is counted and configured, the lane, what is asked of the link. Of names it is known whose they are,
    /// and that nothing is kept under them. Whoever waits here for an entry waits in vain.
    pub fn successor(&self, epoch: String, first: u64) -> Hub {
        let log = {
            let old = self.log();
            let mut log = Log::starting_at(first, old.retention(), old.keeps_raw());
            if let Some(retain) = old.retains() {
                log.set_retain(retain.clone());
            }
            log
        };
        // before there is an epoch, nothing has a place
        let names = self.names().renewed(now(), !self.epoch().is_empty());
        self.not_there(u64::MAX);
        self.0.common.forget_claim();
        Hub::of(epoch, log, names, Rc::clone(&self.0.common))
    }

    /// Lets go of all entries: nobody will read them any more, though there may be handles.
    pub fn let_go(&self) {
        let mut log = self.0.log.borrow_mut();
        *log = Log::starting_at(log.next(), log.retention(), false);
    }

    /// Waits until a client waits for an entry that isn't there yet, and returns the highest that any waits for. Each of
    /// them makes it return, also when it is among those returned. Cancel-safe.
    pub async fn awaited(&self) -> u64 {
        loop {
            self.0.awaited.stirred.notified().await;
            if let Some(seq) = self.0.awaited.waits.borrow().iter().map(|wait| wait.seq).max() {
                return seq;
            }
        }
    }

    /// Says that entries up to this one won't come, beyond those that are there: who waits for one is told.
    pub fn not_there(&self, seq: u64) {
        let waits = self.0.awaited.waits.borrow();
        waits.iter().filter(|wait| wait.seq <= seq).for_each(|wait| {
            wait.is_over.set(true);
            wait.over.notify_one();
        });
    }

    /// Waits until this entry is there; false if it won't be. Cancel-safe.
    pub async fn entry(&self, seq: u64) -> bool {
        let reader = self.reader();
        reader.offered(u64::MAX, u64::MAX); // nobody waits for this one
        let wait = Waiting::new(self, seq);
        loop {
            if self.log().head() >= seq {
                return true;
            }
            if wait.wait.is_over.get() {
                return false;
            }
            tokio::select! {
                () = reader.published() => {}
                () = wait.wait.over.notified() => {}
            }
        }
    }
}

impl Publisher {
    /// Sets the link's status to what an entry says that another machine has made, or to what this machine knows better
    /// while it hears of none. It is no entry, and isn't counted: this machine hasn't tried anything.
    pub fn follow_link(&self, status: LinkStatus) {
        self.hub().note_link(status);
    }

    /// Takes from an entry that another machine has made what is to be known here: how the link is, and the values of
    /// public captures. Of a message that is nothing. `line` is the entry's, with its end or without.
    pub fn follow(&self, line: &[u8]) {
        if crate::protocol::Message::is_one(line) {
            return;
        }
        match Line::parse(line.trim_ascii_end()) {
            Some(Line::Link(link)) => self.follow_link(LinkStatus::from(&link)),
            Some(Line::Public(Public { time_us, public, .. })) => self.follow_public(time_us, &public),
            _ => {}
        }
    }
}

/// A wait, until this is dropped.
struct Waiting<'h> {
    hub: &'h Hub,
    wait: Rc<Wait>,
}

impl Waiting<'_> {
    fn new(hub: &Hub, seq: u64) -> Waiting<'_> {
        let wait = Rc::new(Wait { seq, is_over: Cell::new(false), over: Notify::new() });
        hub.0.awaited.waits.borrow_mut().push(Rc::clone(&wait));
        hub.0.awaited.stirred.notify_one();
        Waiting { hub, wait }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.hub.0.awaited.waits.borrow_mut().retain(|wait| !Rc::ptr_eq(wait, &self.wait));
    }
}

impl ClusterNow {
    /// How long this machine may still lead.
    pub fn lease_left(&self) -> Option<Duration> {
        self.lease_until.map(|until| until.saturating_duration_since(now()))
    }
}

/// The clock of the runtime.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
