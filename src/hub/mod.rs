//! The hub: the log, and what the link and the local clients know of one another.
//!
//! One thread runs the whole daemon, so the hub is plain shared state: the link publishes into the
//! log, the fan-out reads from it, clients leave commands for the link. Nothing in here waits for a
//! peer or knows a socket.

use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::{Duration, SystemTime},
};

use tokio::sync::{Notify, mpsc};

use crate::{config, protocol};

use request::Answerers;

mod asking;
mod cluster;
mod configured;
mod counted;
mod counters;
mod expand;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod held_back;
mod hole;
mod kept;
mod lane;
mod link;
mod log;
mod names;
mod origin;
mod outbox;
mod public;
mod publisher;
mod quotas;
mod reader;
mod reload;
mod request;
mod seldom;
mod send;
mod shared_topics;
mod staging;
mod subscriptions;
mod supervisor;
mod turns;
mod windows;

pub use crate::protocol::{Data, MessageTopic};
pub use cluster::{ClusterCounts, ClusterNow, ClusterState, ClusterWhy, FencedCounts};
pub use configured::Configured;
pub use counted::{Counted, CountedBeside};
pub use counters::Counters;
pub use expand::{Expandable, Unexpanded};
pub use hole::Hole;
pub use lane::{Lane, Permit};
pub use link::{Ending, LinkState, LinkStatus};
pub use log::cursor::{Ahead, Cursor, Ledger, Lost, Stretch, ToldLost};
pub use log::{LastValue, Log, NotTaken, Picked, Retain, RetainAs, Retained, Retention, TopicOf};
pub use names::{Claim, KeptPlace, Names};
pub use origin::Origin;
pub use outbox::{Keeper, Outbox, Stored};
pub use publisher::{Commands, Publisher};
pub use quotas::{Quota, Quotas};
pub use reader::Reader;
pub use reload::{Changes, Reload, ReloadResult};
pub use request::{Asks, Caller, Cancellation, MayAnswer, NoAnswer, Told};
pub use seldom::Seldom;
pub use send::{Fate, Payload, Send, Ticket, Unfit};
pub use staging::Staging;
pub use subscriptions::{
    AnswerKind, Asking, Callback, Saying, SayingKind, SubscriptionError, Subscriptions, Topic, TopicAnswer,
    TopicState, Wish, Word,
};
pub use supervisor::Supervisor;
pub use turns::Turns;
pub use windows::Windows;

/// What a local client, a signal or a reload asks of the link.
#[derive(Debug)]
pub enum Command {
    /// Send this upstream, and tell its fate.
    Send(Send),
    /// A client wants no more answers to a request.
    Cancel(Cancellation),
    /// Open the link: from `closed` or `failed`, start; while `waiting`, try at once.
    Open,
    /// Drop the present connection, or the delay, and connect anew.
    Reconnect,
    /// Close the link, and stay closed until `Open` or `Reconnect`.
    Close,
    /// Close the link for good: the daemon stops.
    Stop,
}

/// The shared middle of the daemon. Clones are handles to the same hub.
#[derive(Clone)]
pub struct Hub(Rc<Shared>);

struct Shared {
    epoch: String,
    log: RefCell<Log>,
    names: RefCell<Names>,
    /// Something was staged.
    staged: Notify,
    /// What the link is by entries that are staged, each with its `seq`.
    staged_links: RefCell<VecDeque<(u64, LinkStatus)>>,
    /// How far the server has counted in messages that aren't published, by what is counted, and before which entry;
    /// only while entries are staged.
    staged_counts: RefCell<BTreeMap<String, (u64, Counted)>>,
    /// The link closes for another machine's.
    hands_over: Cell<bool>,
    readers: RefCell<Vec<Rc<reader::Registration>>>,
    /// A reader has offered something, or has gone.
    offered: Notify,
    /// The newest entry that all readers have offered; 0 while one holds the link back.
    ready_to: Cell<u64>,
    /// Entries that clients wait for.
    awaited: cluster::Awaited,
    /// The link's status is to be said again.
    restated: Notify,
    common: Rc<Common>,
}

/// What a hub has in common with its [successor](Hub::successor).
#[derive(Default)]
struct Common {
    link: RefCell<LinkStatus>,
    last_end: RefCell<Option<Ending>>,
    counters: Counters,
    configured: RefCell<Configured>,
    /// How many sends wait in the outbox.
    waiting: Cell<usize>,
    /// The longest line of an entry, in bytes.
    max_entry: Cell<usize>,
    /// What leads to the link; `None` while there is none.
    commands: RefCell<Option<mpsc::Sender<Command>>>,
    lane: Lane,
    /// What a link leaves unsent is kept for the next.
    keeps: Cell<bool>,
    kept: RefCell<Vec<Send>>,
    /// What these clients ask waits, since older sends of theirs may still come back.
    held_back: RefCell<held_back::HeldBack>,
    /// How many requests wait for their answers.
    quotas: Quotas,
    /// Sends may be requests.
    rewrites: Cell<bool>,
    /// Who answers the server.
    answerers: Cell<Answerers>,
    /// The last reload, and the keys that wait for a restart.
    reload: RefCell<Option<Reload>>,
    /// Who asked for a reload, to be told what came of it.
    reloads: RefCell<Vec<ReloadAnswer>>,
    /// Somebody did.
    reload_asked: Notify,
    /// How often the link's status has had a new state.
    link_changes: Cell<u64>,
    link_changed: Notify,
    /// Clients that have left, of whom the link hasn't heard yet.
    left: RefCell<Vec<Rc<Origin>>>,
    topics: RefCell<Subscriptions>,
    /// Captures that are public.
    captures: RefCell<public::PublicCaptures>,
    /// Clients have asked for topics, given some up, or left.
    stirred: Notify,
    /// Other machines have the same link and log; none where there are none.
    cluster: RefCell<Option<Box<ClusterNow>>>,
    /// This machine has the link of a cluster, as this node and in this term.
    leads: RefCell<Option<(Rc<str>, u64)>>,
}

/// Tells who asked for a reload what came of it.
pub type ReloadAnswer = Box<dyn FnOnce(&Reload)>;

impl Hub {
    /// A new hub with an empty log. `raw` says whether any listener has the raw format.
    pub fn new(epoch: String, history: &config::History, raw: bool) -> Hub {
        Hub::starting_at(epoch, 1, history, raw)
    }

    /// The same, with a log that goes on with another one's epoch: its first entry will have this `seq`, 1 at least.
    pub fn starting_at(epoch: String, first: u64, history: &config::History, raw: bool) -> Hub {
        let common = Common { max_entry: Cell::new(protocol::longest(0)), ..Common::default() };
        let log = Log::starting_at(first, Retention::from(history), raw);
        Hub::of(epoch, log, Names::new(&config::Names::default()), Rc::new(common))
    }

    fn of(epoch: String, log: Log, names: Names, common: Rc<Common>) -> Hub {
        Hub(Rc::new(Shared {
            epoch,
            log: RefCell::new(log),
            names: RefCell::new(names),
            staged: Notify::new(),
            staged_links: RefCell::default(),
            staged_counts: RefCell::default(),
            hands_over: Cell::default(),
            readers: RefCell::default(),
            offered: Notify::new(),
            ready_to: Cell::new(u64::MAX),
            awaited: cluster::Awaited::default(),
            restated: Notify::new(),
            common,
        }))
    }

    /// The random name of this life of the log.
    pub fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// The log, to read from.
    pub fn log(&self) -> Ref<'_, Log> {
        self.0.log.borrow()
    }

    /// Who has which name.
    pub fn names(&self) -> RefMut<'_, Names> {
        self.0.names.borrow_mut()
    }

    /// The link's present status.
    pub fn link(&self) -> Ref<'_, LinkStatus> {
        self.0.common.link.borrow()
    }

    /// How the last connection or attempt ended.
    pub fn last_end(&self) -> Ref<'_, Option<Ending>> {
        self.0.common.last_end.borrow()
    }

    /// The link's present status as a `link` line without `seq`: a restatement, not an entry.
    pub fn link_line(&self) -> Vec<u8> {
        self.link().line(None)
    }

    /// What `status` says of the configuration.
    pub fn configured(&self) -> Ref<'_, Configured> {
        self.0.common.configured.borrow()
    }

    /// The longest line of an entry, in bytes, its end included.
    pub fn max_entry(&self) -> usize {
        self.0.common.max_entry.get().max(self.longest_public_line())
    }

    /// How many sends wait in the outbox.
    pub fn waiting(&self) -> usize {
        self.0.common.waiting.get()
    }

    /// What is counted since the daemon's start.
    pub fn counters(&self) -> &Counters {
        &self.0.common.counters
    }

    /// The last reload.
    pub fn last_reload(&self) -> Ref<'_, Option<Reload>> {
        self.0.common.reload.borrow()
    }
}

/// The wall clock, in microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl From<&config::History> for Retention {
    fn from(history: &config::History) -> Retention {
        Retention {
            max_bytes: history.max_bytes,
            max_age_us: history
                .max_age
                .map(|age: Duration| u64::try_from(age.as_micros()).unwrap_or(u64::MAX)),
        }
    }
}
