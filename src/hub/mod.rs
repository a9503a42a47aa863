//! The hub: the log, and what the link and the local clients know of one another.
//!
//! One thread runs the whole daemon, so the hub is plain shared state: the link publishes into the
//! log, the fan-out reads from it, clients leave commands for the link. Nothing in here waits for a
//! peer or knows a socket.

use std::{
    cell::{Cell, Ref, RefCell},
    rc::Rc,
    time::{Duration, SystemTime},
};

use tokio::sync::{Notify, mpsc};

use crate::{
    config,
    protocol::{self, Encoder},
};

mod configured;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hole;
mod lane;
mod link;
mod log;
mod origin;
mod reload;
mod send;
mod turns;

pub use crate::protocol::Data;
pub use configured::Configured;
pub use hole::Hole;
pub use lane::{Lane, Permit};
pub use link::{Ending, LinkState, LinkStatus};
pub use log::cursor::{Ahead, Cursor, Ledger, Lost, Stretch};
pub use log::{Limits, Log};
pub use origin::Origin;
pub use reload::{Changes, Reload, ReloadResult};
pub use send::{Fate, Payload, Send, Ticket};
pub use turns::Turns;

/// What a local client, a signal or a reload asks of the link.
#[derive(Debug)]
pub enum Command {
    /// Send this upstream, and tell its fate.
    Send(Send),
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
    link: RefCell<LinkStatus>,
    last_end: RefCell<Option<Ending>>,
    traffic: Cell<Traffic>,
    configured: RefCell<Configured>,
    /// How many sends wait in the outbox.
    waiting: Cell<usize>,
    /// The longest line of an entry, in bytes.
    max_entry: Cell<usize>,
    commands: mpsc::Sender<Command>,
    lane: Lane,
    /// Sends that failed when their client had gone.
    dropped: Cell<u64>,
    /// The last reload, and the keys that wait for a restart.
    reload: RefCell<Option<Reload>>,
    /// Who asked for a reload, to be told what came of it.
    reloads: RefCell<Vec<Answer>>,
    /// Somebody did.
    reload_asked: Notify,
    /// The link's status has a new state.
    link_changed: Notify,
    /// Something was published that the fan-out hasn't offered yet.
    published: Notify,
    /// The fan-out has offered everything to every client once.
    offered: Notify,
    /// The newest entry the fan-out has offered; 0 while it holds the link back, `None` while no
    /// fan-out runs.
    offered_seq: Cell<Option<u64>>,
}

/// Counts of what went over the link since the daemon's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages from the upstream.
    pub received: u64,
    /// Their payload bytes.
    pub received_bytes: u64,
    /// When the newest of them came, in microseconds since the Unix epoch; 0 before the first.
    pub last_received_us: u64,
    /// Messages written to the upstream for clients.
    pub sent: u64,
    /// Their payload bytes.
    pub sent_bytes: u64,
}

/// Tells who asked for a reload what came of it.
pub type Answer = Box<dyn FnOnce(&Reload)>;

/// So many may wait for a reload.
const MAX_RELOADS: usize = 64;

/// The link's end of the hub: commands in the order they were given.
pub type Commands = mpsc::Receiver<Command>;

impl Hub {
    /// A new hub with an empty log. `raw` says whether any listener has the raw format.
    pub fn new(epoch: String, history: &config::History, raw: bool) -> (Hub, Commands) {
        let (commands, receiver) = mpsc::channel(Lane::MAX_SENDS);
        let shared = Shared {
            epoch,
            log: RefCell::new(Log::new(Limits::from(history), raw)),
            link: RefCell::new(LinkStatus::default()),
            last_end: RefCell::default(),
            traffic: Cell::default(),
            configured: RefCell::default(),
            waiting: Cell::default(),
            max_entry: Cell::new(protocol::longest(0)),
            commands,
            lane: Lane::default(),
            dropped: Cell::default(),
            reload: RefCell::default(),
            reloads: RefCell::default(),
            reload_asked: Notify::new(),
            link_changed: Notify::new(),
            published: Notify::new(),
            offered: Notify::new(),
            offered_seq: Cell::new(None),
        };
        (Hub(Rc::new(shared)), receiver)
    }

    /// The random name of this life of the log.
    pub fn epoch(&self) -> &str {
        &self.0.epoch
    }

    // --- the link's side -------------------------------------------------------------------

    /// Appends a message to the log. Clients hear of it at the next [`Hub::flush`].
    pub fn publish(&self, time_us: u64, data: Data<'_>) {
        let bytes = match data {
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        };
        let mut traffic = self.0.traffic.get();
        traffic.received += 1;
        traffic.received_bytes += bytes as u64;
        traffic.last_received_us = time_us;
        self.0.traffic.set(traffic);
        let message = Encoder::new(data);
        self.0.log.borrow_mut().append(time_us, message.room(), |seq, envelope, raw| {
            message.write(seq, time_us, envelope, raw);
        });
    }

    /// Appends the declaration of a hole in the server's messages. Clients hear of it at the next
    /// [`Hub::flush`].
    pub fn declare_hole(&self, time_us: u64, hole: &Hole) {
        self.append(time_us, |seq| hole.line(seq, time_us));
    }

    /// Wakes the fan-out, once for everything published since the last call.
    pub fn flush(&self) {
        if self.0.offered_seq.get().is_none() {
            self.0.log.borrow_mut().trim(u64::MAX);
        }
        self.0.published.notify_one();
    }

    /// Sets the link's status, appends its line to the log and wakes the fan-out.
    pub fn announce(&self, status: LinkStatus) {
        self.append(status.since_us, |seq| status.line(Some(seq)));
        // a wait that became shorter tells of the same ending again
        let is_told = self.link().state == LinkState::Waiting && status.state == LinkState::Waiting;
        if let Some(ending) = status.ending().filter(|_| !is_told) {
            *self.0.last_end.borrow_mut() = Some(ending);
        }
        *self.0.link.borrow_mut() = status;
        self.0.link_changed.notify_one();
        self.flush();
    }

    /// Appends an entry of the hub's own, which has no raw form.
    fn append(&self, time_us: u64, encode: impl FnOnce(u64) -> Vec<u8>) {
        let mut log = self.0.log.borrow_mut();
        let line = encode(log.head() + 1);
        log.append_line(time_us, &line, b"");
    }

    /// Changes what `status` shows without a line of its own (the heartbeat's round trip).
    pub fn update_link(&self, change: impl FnOnce(&mut LinkStatus)) {
        change(&mut self.0.link.borrow_mut());
    }

    /// Counts a message written to the upstream.
    pub fn count_sent(&self, bytes: usize) {
        let mut traffic = self.0.traffic.get();
        traffic.sent += 1;
        traffic.sent_bytes += bytes as u64;
        self.0.traffic.set(traffic);
    }

    /// Tells how many sends wait in the outbox.
    pub fn set_waiting(&self, sends: usize) {
        self.0.waiting.set(sends);
    }

    /// Whether the fan-out has offered everything published so far, so that more may be read.
    pub fn is_ready(&self) -> bool {
        self.0.offered_seq.get().is_none_or(|seq| seq >= self.log().head())
    }

    /// Waits for [`Hub::is_ready`]. The link reads nothing before: a batch is offered to every
    /// client before the next one can push it out of the log. Cancel-safe.
    pub async fn ready(&self) {
        while !self.is_ready() {
            self.0.offered.notified().await;
        }
    }

    // --- the supervisor's side -------------------------------------------------------------

    /// Waits until the link's state may have changed since the last call. Cancel-safe.
    pub async fn link_changed(&self) {
        self.0.link_changed.notified().await;
    }

    /// Waits until somebody asks for a reload, and returns all who did. Cancel-safe.
    pub async fn reload_asked(&self) -> Vec<Answer> {
        loop {
            let asked = std::mem::take(&mut *self.0.reloads.borrow_mut());
            if !asked.is_empty() {
                return asked;
            }
            self.0.reload_asked.notified().await;
        }
    }

    /// Notes what the last reload came to, for `status`.
    pub fn set_reload(&self, reload: Reload) {
        *self.0.reload.borrow_mut() = Some(reload);
    }

    /// Says whether the log keeps the raw form of messages from now on.
    pub fn keep_raw(&self, raw: bool) {
        self.0.log.borrow_mut().keep_raw(raw);
    }

    /// Changes what `status` says of the configuration.
    pub fn configure(&self, change: impl FnOnce(&mut Configured)) {
        change(&mut self.0.configured.borrow_mut());
    }

    /// Says how large a message may be, in bytes (`upstream.max_message`).
    pub fn set_max_message(&self, bytes: usize) {
        self.0.max_entry.set(protocol::longest(bytes));
    }

    // --- the clients' side -----------------------------------------------------------------

    /// The log, to read from.
    pub fn log(&self) -> Ref<'_, Log> {
        self.0.log.borrow()
    }

    /// Runs `work` with the log open for writing: cursors pin chunks through it.
    pub fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        work(&mut self.0.log.borrow_mut())
    }

    /// Waits until something may have been published since the last call. One caller: the fan-out.
    pub async fn published(&self) {
        self.0.published.notified().await;
    }

    /// Tells the link that every client was offered the log up to `seq`, so that more may be read;
    /// 0 holds it back, and `None` says that the fan-out ends.
    pub fn offered(&self, seq: Option<u64>) {
        self.0.offered_seq.set(seq);
        self.0.offered.notify_one();
    }

    /// The link's present status.
    pub fn link(&self) -> Ref<'_, LinkStatus> {
        self.0.link.borrow()
    }

    /// How the last connection or attempt ended.
    pub fn last_end(&self) -> Ref<'_, Option<Ending>> {
        self.0.last_end.borrow()
    }

    /// The link's present status as a `link` line without `seq`: a restatement, not an entry.
    pub fn link_line(&self) -> Vec<u8> {
        self.link().line(None)
    }

    /// What `status` says of the configuration.
    pub fn configured(&self) -> Ref<'_, Configured> {
        self.0.configured.borrow()
    }

    /// The longest line of an entry, in bytes, its end included.
    pub fn max_entry(&self) -> usize {
        self.0.max_entry.get()
    }

    /// How many sends wait in the outbox.
    pub fn waiting(&self) -> usize {
        self.0.waiting.get()
    }

    /// What went over the link so far.
    pub fn traffic(&self) -> Traffic {
        self.0.traffic.get()
    }

    /// Waits for room in the lane that leads to the link, for a send of that
    /// [`cost`](Send::cost). Each has its share; only the caller waits. Cancel-safe.
    pub async fn admit(&self, from: &Rc<Origin>, cost: usize) -> Permit {
        self.0.lane.admit(from, cost).await
    }

    /// Counts a send that failed when its client had gone, so that nobody could be told.
    pub fn count_dropped(&self) {
        self.0.dropped.set(self.0.dropped.get() + 1);
    }

    /// How many sends failed when their client had gone.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.get()
    }

    /// Lets go of entries that are too old by now and that nobody needs: those from `needed` on stay.
    pub fn expire(&self, needed: u64) {
        self.0.log.borrow_mut().expire_unneeded(now_us(), needed);
    }

    /// Whether entries may be too old.
    pub fn expires(&self) -> bool {
        self.log().limits().max_age_us.is_some()
    }

    /// The last reload.
    pub fn last_reload(&self) -> Ref<'_, Option<Reload>> {
        self.0.reload.borrow()
    }

    /// Asks the supervisor to read the configuration again, and to tell what came of it. False when so many
    /// ask already that this one isn't heard.
    pub fn ask_reload(&self, answer: Answer) -> bool {
        let mut reloads = self.0.reloads.borrow_mut();
        if reloads.len() >= MAX_RELOADS {
            return false;
        }
        reloads.push(answer);
        self.0.reload_asked.notify_one();
        true
    }

    /// Leaves a command for the link. False when there is no link any more.
    pub async fn command(&self, command: Command) -> bool {
        let Err(refused) = self.0.commands.send(command).await else { return true };
        if let Command::Send(send) = refused.0 {
            let state = self.link().state;
            send.ticket.settle(Fate::LinkDown(state)); // it was never begun
        }
        false
    }

    /// Applies new bounds to the log, at once.
    pub fn set_limits(&self, history: &config::History) {
        self.0.log.borrow_mut().set_limits(Limits::from(history));
        self.flush(); // what is published and not offered yet goes out before anything leaves
    }
}

/// The wall clock, in microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl From<&config::History> for Limits {
    fn from(history: &config::History) -> Limits {
        Limits {
            max_bytes: history.max_bytes,
            max_age_us: history
                .max_age
                .map(|age: Duration| u64::try_from(age.as_micros()).unwrap_or(u64::MAX)),
        }
    }
}
