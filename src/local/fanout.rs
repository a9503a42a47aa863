//! The fan-out: the one writer for all clients.
//!
//! It tries each client directly, without a task or a wake-up each. One that can't take all becomes
//! a laggard: it is left alone until its socket is writable again, and costs the others nothing.
//! Sockets are registered for reading only; a laggard is watched for writing through a duplicate of
//! its descriptor, until an offer finds that it took all at once.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, VecDeque},
    os::unix::net::UnixStream,
    path::Path,
    rc::Rc,
};

use futures_util::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::{sync::Notify, time::Instant};

use super::{
    budget::{patterns::Patterns, shares::Shares, unfinished::Unfinished},
    burst::Burst,
    dialogue::{
        outgoing::{Outgoing, Seek},
        replies,
    },
    selections::Narrowing,
    sys::watched::Watched,
};
use crate::{
    config::{Format, History, MemoryBounds, TopicPattern},
    hub::{Cursor, Hub, Picked, Reader, Seldom},
    protocol::{Bye, Code, Hello, Line, PublicValues, SERVER, VERSION, status::Totals},
};

mod census;
mod clients;
mod crowd;
mod ending;
mod laggards;
mod latest;
mod lingering;
mod member;
mod names;
mod narrowed;
mod newcomers;
mod offer;
mod raw;
mod restating;

use clients::Clients;
use laggards::{Policy, Wake};
pub(super) use member::About;
use member::{Member, bye};
pub(super) use names::Claimed;
use raw::RawForm;

/// So many bytes of answers and other replies may lie unread for one client; a single longer one may, too.
const MAX_ANSWERS: usize = 1 << 20;

/// What became of an answer on its way to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// It is among what the client reads next.
    Taken,
    /// The client isn't there any more, or isn't spoken to.
    Gone,
    /// It reads too slowly.
    Overrun,
}

/// Writes to all clients. Clones are handles to the same fan-out.
#[derive(Clone)]
pub(crate) struct Fanout(Rc<Shared>);

struct Shared {
    hub: Hub,
    reader: Reader,
    policy: Cell<Policy>,
    gaps_said: Seldom,
    catch_ups_said: Seldom,
    cuts_said: Seldom,
    /// The same of those that a reload ends: they keep no trouble unsaid.
    ends_said: Seldom,
    sheds_said: Seldom,
    drops_said: Seldom,
    /// The memory of all answers that are not read yet.
    unread: Rc<Cell<usize>>,
    /// What clients have begun to write.
    unfinished: RefCell<Unfinished>,
    /// How often each user may ask for `status`.
    shares: RefCell<Shares>,
    totals: Cell<Option<(Instant, Totals)>>,
    raw: Cell<RawForm>,
    /// The daemon stops, or this log is over: who comes now is told so.
    finishing: Cell<Option<Bye>>,
    /// How many clients the link waits for.
    holding: Cell<usize>,
    clients: RefCell<Clients>,
    /// What the patterns of those take that narrow.
    patterns: RefCell<Patterns>,
    /// Clients that may be held back, and until when; the first first.
    newcomers: RefCell<VecDeque<(Instant, u64)>>,
    /// Clients that the link's status is to be said to again, and that have too much unread.
    untold: RefCell<BTreeSet<u64>>,
    /// What an offer gives to many clients at once.
    burst: RefCell<Burst>,
    /// Where lines are laid that one gets which catches up.
    latest: RefCell<Picked>,
    next_id: Cell<u64>,
    /// Waits to be taken up by [`Fanout::run`], which owns them all.
    new_waits: RefCell<Vec<LocalBoxFuture<'static, Wake>>>,
    /// There are new waits.
    waits_changed: Notify,
    /// There is a client less.
    left: Notify,
}

impl Fanout {
    /// A fan-out without clients.
    pub(crate) fn new(hub: Hub, history: &History, memory: &MemoryBounds) -> Fanout {
        Fanout(Rc::new(Shared {
            reader: hub.reader(),
            hub,
            policy: Cell::new(Policy::new(history, memory)),
            gaps_said: Seldom::default(),
            catch_ups_said: Seldom::default(),
            cuts_said: Seldom::default(),
            ends_said: Seldom::default(),
            sheds_said: Seldom::default(),
            drops_said: Seldom::default(),
            unread: Rc::default(),
            unfinished: RefCell::new(Unfinished::new(memory.unfinished_lines)),
            shares: RefCell::default(),
            totals: Cell::default(),
            raw: Cell::default(),
            finishing: Cell::default(),
            holding: Cell::new(0),
            clients: RefCell::default(),
            patterns: RefCell::default(),
            newcomers: RefCell::default(),
            untold: RefCell::default(),
            burst: RefCell::default(),
            latest: RefCell::default(),
            next_id: Cell::new(1),
            new_waits: RefCell::default(),
            waits_changed: Notify::new(),
            left: Notify::new(),
        }))
    }

    /// Offers what is published to every client, for ever. Dropping it lets the link go on without.
    pub(crate) async fn run(self) {
        let _last = Last(&self.0.reader);
        let mut waits = FuturesUnordered::new();
        if self.0.hub.cluster().is_some() {
            self.watch_restatements();
        }
        loop {
            waits.extend(self.0.new_waits.borrow_mut().drain(..));
            tokio::select! {
                () = self.0.reader.published() => self.offer(),
                Some(wake) = waits.next() => self.wake(wake),
                () = self.0.waits_changed.notified() => {}
            }
        }
    }

    /// Applies another policy for slow clients.
    pub(crate) fn set_policy(&self, history: &History, memory: &MemoryBounds) {
        self.0.policy.set(Policy::new(history, memory));
        self.0.unfinished.borrow_mut().set_most(memory.unfinished_lines);
        self.each(|fanout, id, client| {
            fanout.end_catching_up(client);
            if client.holding {
                client.stall_watched = false; // the old deadline may be far
                fanout.watch_stall(id, client);
            }
            true
        });
        self.shed();
        self.0.reader.look_again(); // the link may have waited under the old ones
    }

    /// How many clients there are.
    pub(crate) fn count(&self) -> usize {
        self.0.clients.borrow().len()
    }

    /// Takes in a client, at the head of the log, and greets it. Returns its number.
    pub(super) fn join(&self, about: About, stream: Rc<Watched<UnixStream>>) -> u64 {
        let id = self.0.next_id.replace(self.0.next_id.get() + 1);
        self.expire();
        if about.wants_raw() {
            self.raw_joined();
        }
        let (mut outgoing, hello) = {
            let (log, cluster) = (self.0.hub.log(), self.0.hub.cluster());
            let cursor = about.receive.then(|| Cursor::new(about.format, log.head()));
            let hello = Line::Hello(Hello {
                protocol: VERSION,
                server: SERVER.into(),
                epoch: self.0.hub.epoch().into(),
                seq: log.head(),
                oldest: log.oldest(),
                link: self.0.hub.link().state.into(),
                client: id,
                max_line: about.max_line as u64,
                max_entry: self.0.hub.max_entry() as u64,
                node: cluster.as_ref().map(|now| (&*now.node).into()),
                cluster: cluster.as_ref().map(|now| now.told()),
                public: if about.receive { self.0.hub.public() } else { PublicValues::default() },
            })
            .write();
            (Outgoing::new(cursor, Rc::clone(&self.0.unread)), hello)
        };
        let envelope = about.format == Format::Envelope;
        let narrowing = Narrowing::default().within(about.topics.as_deref());
        let is_held_back = envelope && about.receive && self.0.finishing.get().is_none();
        if is_held_back {
            outgoing.hold_back();
        }
        if let Some(why) = self.0.finishing.get() {
            outgoing.finish(bye(about.format, why));
        }
        let crowd = self.0.clients.borrow_mut().crowd(about.linger, self.0.hub.log().head());
        let client = Member {
            about,
            crowd,
            stream,
            outgoing,
            named: None,
            narrowing: Narrowing::default(),
            selection: None,
            lagging: false,
            watch: None,
            relieved: None,
            holding: false,
            stall_watched: false,
            progress: Instant::now(),
        };
        self.0.clients.borrow_mut().insert(id, client);
        self.narrow(id, |_| narrowing, true);
        if is_held_back {
            self.hold_back(id);
        }
        if envelope {
            self.reply(id, &hello);
        } else {
            self.one(id, |fanout, client| fanout.pump(id, client)); // it may come too late for more than an end
        }
        id
    }

    /// Forgets a client whose connection is over.
    pub(super) fn leave(&self, id: u64) {
        self.0.unfinished.borrow_mut().remove(id);
        let client = self.0.clients.borrow_mut().remove(id);
        if let Some(mut client) = client {
            self.part(id, &mut client);
        }
    }

    /// When a send was last said to be dropped.
    pub(super) fn drops_said(&self) -> &Seldom {
        &self.0.drops_said
    }

    /// Whether what is said to a client can reach it, as far as is known.
    pub(super) fn hears(&self, id: u64) -> bool {
        self.0.clients.borrow().get(id).is_some_and(|client| !client.outgoing.is_deaf())
    }

    /// Whether an answer to a client can reach it, as far as is known.
    pub(super) fn can_be_told(&self, id: u64) -> bool {
        self.hears(id) && self.listens(id)
    }

    /// Whether a client gets entries: what it had the right to when it came.
    pub(super) fn receives(&self, id: u64) -> bool {
        self.0.clients.borrow().get(id).is_some_and(|client| client.about.receive)
    }

    /// Whether what a client says is still listened to.
    pub(super) fn listens(&self, id: u64) -> bool {
        self.0.clients.borrow().get(id).is_some_and(|client| !client.outgoing.is_cut_off())
    }

    /// Sends a reply line to a client, ahead of data.
    pub(super) fn reply(&self, id: u64, line: &[u8]) {
        self.one(id, |fanout, client| {
            if !fanout.hurry(id, client) {
                return false;
            }
            client.outgoing.reply(line);
            fanout.pump_and_hold(id, client)
        });
        self.shed();
    }

    /// Sends an answer of the server's to a client, ahead of data, unless it has left too many unread.
    pub(super) fn answer(&self, id: u64, line: &[u8]) -> Answered {
        let unread = match self.0.clients.borrow().get(id) {
            Some(client) if !client.outgoing.is_deaf() && !client.outgoing.is_cut_off() => {
                client.outgoing.unread_replies()
            }
            _ => return Answered::Gone,
        };
        if unread > 0 && unread + line.len() > MAX_ANSWERS {
            return Answered::Overrun;
        }
        self.reply(id, line);
        Answered::Taken
    }

    /// Notes what the line that a client has begun takes now. Who takes too much of what there is for
    /// all is told, and disconnected: it may be this client or another.
    pub(super) fn unfinished(&self, id: u64, uid: u32, bytes: usize) {
        let refused = self.0.unfinished.borrow_mut().set(id, uid, bytes);
        for id in refused {
            let message = "the lines that clients have begun take more than memory.unfinished_lines, and \
                           this is the longest: the connection is closed";
            let is_envelope =
                self.0.clients.borrow().get(id).is_some_and(|client| client.about.format == Format::Envelope);
            if is_envelope {
                self.reply(id, &replies::error(None, Code::NoRoom, message));
            }
            self.dismiss(id, Bye::BadClient);
        }
    }

    /// Waits until the client has read enough of its replies to be asked for more. Cancel-safe.
    pub(super) async fn has_read(&self, id: u64) {
        loop {
            let relieved = match self.0.clients.borrow_mut().get_mut(id) {
                Some(client) if client.outgoing.has_enough() => {
                    Rc::clone(client.relieved.get_or_insert_default())
                }
                _ => return,
            };
            relieved.notified().await;
        }
    }

    /// Has a client get what it asks for of what its listener lets through, all of that where it doesn't say, from the
    /// move of its cursor on that follows. False, and nothing changes: there is no room for what it asks for.
    pub(super) fn ask_for(&self, id: u64, topics: Option<&[TopicPattern]>) -> bool {
        let held: Vec<_> = match topics {
            Some(_) => self.0.hub.topics().of(id).cloned().collect(),
            None => Vec::new(),
        };
        self.narrow(id, |narrowing| narrowing.clone().asking(topics, &held), false)
    }

    /// Moves a client's cursor, and says `lines` just before what comes next.
    pub(super) fn seek(&self, id: u64, seek: Seek, lines: &[u8]) {
        let narrow = self.upto_of(id);
        let seek = Seek { narrow, ..seek };
        self.one(id, |fanout, client| {
            client.outgoing.seek(lines, seek);
            fanout.pump_and_hold(id, client)
        });
        self.shed();
    }

    /// Holds entries back from a client no longer.
    pub(super) fn begin(&self, id: u64) {
        self.one(id, |fanout, client| !client.outgoing.begin() || fanout.pump_and_hold(id, client));
    }

    /// A client is further than this machine, or isn't any more: it gets no entries meanwhile.
    pub(super) fn set_ahead(&self, id: u64, is_ahead: bool) {
        self.one(id, |_, client| {
            if is_ahead {
                client.outgoing.is_ahead()
            } else {
                client.outgoing.is_not_ahead()
            }
            true
        });
    }

    /// Says `why`, and closes the client's connection.
    pub(super) fn dismiss(&self, id: u64, why: Bye) {
        self.one(id, |fanout, client| {
            if !fanout.hurry(id, client) {
                return false;
            }
            fanout.cut_off(id, client, why);
            fanout.pump_and_hold(id, client)
        });
    }

    /// Dismisses those clients of a listener that `which` names, since it has changed.
    pub(super) fn dismiss_of(&self, listener: &Path, which: impl Fn(&About) -> bool) {
        self.each(|fanout, id, client| {
            if client.about.listener != listener || !which(&client.about) {
                return true;
            }
            if !fanout.hurry(id, client) {
                return false;
            }
            fanout.cut_off(id, client, Bye::Reconfigured);
            fanout.pump_and_hold(id, client)
        });
    }

    /// Runs `work` for one client; it leaves when that returns false.
    fn one(&self, id: u64, work: impl FnOnce(&Fanout, &mut Member) -> bool) {
        let mut clients = self.0.clients.borrow_mut();
        let Some(client) = clients.get_mut(id) else { return };
        if !work(self, client) {
            self.part(id, client);
            clients.remove(id);
        }
    }

    /// Runs `work` for every client; those leave for which it returns false.
    fn each(&self, work: impl Fn(&Fanout, u64, &mut Member) -> bool) {
        let work = |id: &u64, client: &mut Member| {
            let stays = work(self, *id, client);
            if !stays {
                self.part(*id, client);
            }
            stays
        };
        self.0.clients.borrow_mut().retain(work);
    }
}

/// When the fan-out ends, the link must not wait for it.
struct Last<'a>(&'a Reader);

impl Drop for Last<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod ledger;
