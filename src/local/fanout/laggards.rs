//! What happens to clients that can't take all: they are waited for, told of what they lost, made
//! the link wait for, or cut off.

use std::{net::Shutdown, rc::Rc, time::Duration};

use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use super::{Fanout, Member};
use crate::{
    config::{Format, History, MemoryBounds, SlowClient},
    hub::Log,
    local::{dialogue::replies, selections::Narrowing, socket, sys::watched::Watched},
    protocol::{Bye, Why},
};

/// A client that has been told `bye` may take so long to read it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often to look at a client that can't be watched.
const NO_DESCRIPTOR_PAUSE: Duration = Duration::from_millis(20);

/// Under `block`, a client may be so far behind before the link waits for it. Enough that the link
/// seldom waits, and little enough to be still in the processor's cache when it is written.
const BLOCK_WINDOW: usize = 1 << 20;

/// What happens to slow clients.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) slow_client: SlowClient,
    stall_timeout: Duration,
    /// How old the next entry of a client is that lags, under [`SlowClient::Latest`].
    pub(super) latest_after: Duration,
    pub(super) max_bytes: usize,
    stalled_lines: usize,
}

impl Policy {
    pub(super) fn new(history: &History, memory: &MemoryBounds) -> Policy {
        Policy {
            stalled_lines: memory.stalled_lines,
            slow_client: history.slow_client,
            stall_timeout: history.stall_timeout,
            latest_after: history.latest_after,
            max_bytes: history.max_bytes,
        }
    }
}

/// Why the fan-out looks at one client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wake {
    /// It may take more.
    Writable(u64),
    /// Its time is over.
    Deadline(u64),
    /// It may have held up the others for too long.
    Stall(u64),
    /// Some may have been held back for long enough.
    Newcomers,
    /// What has gathered for those who linger for so long may be due.
    Linger(Duration),
    /// The link's status is to be said again.
    Restate,
    /// The same, to those who had too much unread.
    Untold,
}

/// What the log says of a client that [`Fanout::shed`] disconnects.
const SHED: &str = "disconnected a client that had stopped reading: more was held for such clients than memory.stalled_lines";

impl Fanout {
    pub(super) fn wake(&self, wake: Wake) {
        self.expire();
        match wake {
            Wake::Writable(id) => self.one(id, |fanout, client| {
                let (taken, progress) = (client.outgoing.total(), client.progress);
                client.lagging = false;
                fanout.let_catch_up(id, client);
                let stays = fanout.pump(id, client);
                if client.outgoing.total() == taken {
                    client.progress = progress; // looked at for nothing
                }
                fanout.hold(id, client);
                stays
            }),
            Wake::Stall(id) => self.one(id, |fanout, client| {
                client.stall_watched = false;
                if !client.holding || client.outgoing.is_cut_off() {
                    return true;
                }
                if client.progress.elapsed() < fanout.0.policy.get().stall_timeout {
                    fanout.watch_stall(id, client);
                    return true;
                }
                fanout.cut_off(id, client, Bye::SlowClient);
                fanout.pump_and_hold(id, client)
            }),
            Wake::Newcomers => self.begin_all(Instant::now()),
            Wake::Linger(length) => self.look_at_lingering(length),
            Wake::Restate => {
                self.restate();
                self.watch_restatements();
            }
            Wake::Untold => self.restate_untold(),
            Wake::Deadline(id) => self.one(id, |_, client| !client.outgoing.is_cut_off()),
        }
        self.let_go();
        self.shed();
    }

    /// Lets go of entries that are too old by now. Under `block`, those that a client needs stay.
    pub(in crate::local) fn expire(&self) {
        if !self.0.reader.expires() {
            return;
        }
        let needed = match self.0.policy.get().slow_client {
            SlowClient::Block => {
                let clients = self.0.clients.borrow();
                let waited_for = clients.values().filter(|client| self.is_waited_for(client));
                waited_for.filter_map(|client| client.outgoing.needs()).min().unwrap_or(u64::MAX)
            }
            SlowClient::Gap | SlowClient::Disconnect | SlowClient::Latest => u64::MAX,
        };
        self.0.reader.expire(needed.min(self.first_lingering()));
    }

    /// Gives a client what it can take, and then looks whether the link has to wait for it.
    pub(super) fn pump_and_hold(&self, id: u64, client: &mut Member) -> bool {
        let stays = self.pump(id, client);
        self.hold(id, client);
        stays
    }

    /// Cuts a laggard off under `disconnect` as soon as its next entry is gone.
    pub(super) fn watch_bound(&self, id: u64, client: &mut Member) -> bool {
        if let Some(why) = self.cuts_for_loss(client).filter(|_| !client.outgoing.is_finishing()) {
            self.cut_off(id, client, why);
            return self.pump(id, client);
        }
        true
    }

    /// Lets the link go on, unless a client holds it.
    pub(super) fn release(&self) {
        self.0.reader.hold(self.0.holding.get() > 0);
    }

    /// Under `block`, the link waits for a client that is too far behind, as long as that one reads.
    pub(super) fn hold(&self, id: u64, client: &mut Member) {
        let policy = self.0.policy.get();
        let window = BLOCK_WINDOW.min(policy.max_bytes / 2);
        let holds = client.lagging
            && self.is_waited_for(client)
            && client.outgoing.needs().is_some_and(|seq| !self.0.hub.log().is_within(seq, window));
        if holds == client.holding {
            return;
        }
        client.holding = holds;
        if holds {
            self.0.holding.set(self.0.holding.get() + 1);
            self.watch_stall(id, client);
        } else {
            self.0.holding.set(self.0.holding.get() - 1);
            if self.0.holding.get() == 0 {
                self.release();
            }
        }
    }

    /// Looks at a client again when it has taken nothing for `stall_timeout`: at once, if that is
    /// past already, so that one that has long been stuck doesn't make the others wait.
    pub(super) fn watch_stall(&self, id: u64, client: &mut Member) {
        if std::mem::replace(&mut client.stall_watched, true) {
            return;
        }
        let deadline = client.progress + self.0.policy.get().stall_timeout;
        self.wait(Box::pin(async move {
            tokio::time::sleep_until(deadline).await;
            Wake::Stall(id)
        }));
    }

    /// The client's next entry is gone: tells it, or cuts it off.
    pub(super) fn lost(&self, id: u64, client: &mut Member) {
        if let Some(why) = self.cuts_for_loss(client) {
            return self.cut_off(id, client, why);
        }
        let log = self.0.hub.log();
        client.outgoing.declare(&log, |lost| {
            self.0.hub.counters().gap(lost.why, lost.count);
            if lost.why == Why::SlowClient
                && let Some(unsaid) = self.0.gaps_said.due()
            {
                tracing::warn!(
                    client = id,
                    name = client.named.as_deref().map(|named| &**named.name()),
                    lost = lost.count,
                    unsaid,
                    "a slow client lost entries, and is told so"
                );
            }
            self.gap(&replies::gap(lost))
        });
    }

    /// The lines that declare a gap: the gap itself, and the link's present state and the values of public captures,
    /// since changes of them may be among what is lost.
    pub(in crate::local) fn gap(&self, gap: &[u8]) -> Vec<u8> {
        [gap, &self.0.hub.link_line(), &self.0.hub.public_line()].concat()
    }

    /// What happens to a client that is slow.
    pub(super) fn slow_client(&self, client: &Member) -> SlowClient {
        client.about.slow_client.unwrap_or(self.0.policy.get().slow_client)
    }

    /// Why a client is cut off for entries that are no longer held, if it is. The raw format has no line to declare
    /// a gap with, and a silent one must not be; another client is cut off for its own slowness alone.
    fn cuts_for_loss(&self, client: &Member) -> Option<Bye> {
        let is_raw = client.about.format == Format::Raw;
        if !is_raw && self.slow_client(client) != SlowClient::Disconnect {
            return None;
        }
        let log = self.0.hub.log();
        match client.outgoing.is_too_slow(&log) {
            true => Some(Bye::SlowClient),
            false => (is_raw && client.outgoing.is_lost(&log)).then_some(Bye::Discarded),
        }
    }

    /// Whether the link waits for a client that is too far behind.
    pub(super) fn is_waited_for(&self, client: &Member) -> bool {
        self.slow_client(client) == SlowClient::Block
    }

    pub(super) fn cut_off(&self, id: u64, client: &mut Member, why: Bye) {
        if client.outgoing.is_cut_off() {
            return;
        }
        // it needn't send any more; a failure means that it is gone, which the next write shows
        let _ = client.stream.socket().shutdown(Shutdown::Read);
        self.0.hub.counters().cut_off(why);
        self.say_cut_off(id, client, why);
        client.outgoing.cut_off(client.bye(why));
        if let Some(relieved) = client.relieved.take() {
            relieved.notify_one();
        }
        client.about.dismissed.notify_one();
        self.wait(Box::pin(async move {
            tokio::time::sleep(LAST_WORDS).await;
            Wake::Deadline(id)
        }));
    }

    /// Says that a client is cut off: as trouble, unless a reload asked for it.
    fn say_cut_off(&self, id: u64, client: &Member, why: Bye) {
        let (pid, is_asked, why) = (client.about.peer.pid, why == Bye::Reconfigured, why.name());
        let name = client.named.as_deref().map(|named| &**named.name());
        let said = if is_asked { &self.0.ends_said } else { &self.0.cuts_said };
        match said.due() {
            Some(unsaid) if is_asked => {
                tracing::info!(client = id, name, pid, why, unsaid, "cut off a client")
            }
            Some(unsaid) => tracing::warn!(client = id, name, pid, why, unsaid, "cut off a client"),
            None => tracing::debug!(client = id, name, pid, why, "cut off a client"),
        }
    }

    /// Disconnects those who have taken nothing for the longest, while more is held for such clients than
    /// may be. They are in the middle of a line, or leave their answers unread: there is no way to tell
    /// them.
    pub(super) fn shed(&self) {
        let most = self.0.policy.get().stalled_lines;
        let held = || self.0.reader.with_log(Log::kept_bytes) + self.0.unread.get();
        if held() <= most {
            return;
        }
        let mut stalled: Vec<(Instant, u64)> = {
            let clients = self.0.clients.borrow();
            let holding = clients.iter().filter(|(_, client)| client.outgoing.holds());
            holding.map(|(id, client)| (client.progress, id)).collect()
        };
        stalled.sort_unstable();
        for (progress, id) in stalled {
            if held() <= most {
                break;
            }
            self.one(id, |fanout, client| {
                fanout.0.hub.counters().shed();
                let (pid, stalled_ms) = (client.about.peer.pid, progress.elapsed().as_millis() as u64);
                match fanout.0.sheds_said.due() {
                    Some(unsaid) => tracing::warn!(client = id, pid, stalled_ms, unsaid, "{SHED}"),
                    None => tracing::debug!(client = id, pid, stalled_ms, "{SHED}"),
                }
                client.about.dismissed.notify_one();
                false
            });
        }
    }

    /// Looks at a client again when it can take more.
    pub(super) fn wait_writable(&self, id: u64, client: &mut Member) {
        let watch = match client.watch.take() {
            Some(watch) => {
                watch.forget_writable();
                Ok(watch)
            }
            None => {
                let duplicate = socket::duplicate(client.stream.socket(), client.about.peer);
                duplicate.and_then(Watched::writing).map(Rc::new)
            }
        };
        client.watch = watch.as_ref().ok().cloned();
        self.wait(Box::pin(async move {
            match watch {
                Ok(watch) => drop(watch.writable().await), // an error shows at the next write
                // no descriptor to be had: look again in a while
                Err(_) => tokio::time::sleep(NO_DESCRIPTOR_PAUSE).await,
            }
            Wake::Writable(id)
        }));
    }

    /// Looks at a client again when the others have had their turn.
    pub(super) fn wait_turn(&self, id: u64) {
        self.wait(Box::pin(async move {
            tokio::task::yield_now().await;
            Wake::Writable(id)
        }));
    }

    pub(super) fn wait(&self, wait: LocalBoxFuture<'static, Wake>) {
        self.0.new_waits.borrow_mut().push(wait);
        self.0.waits_changed.notify_one();
    }

    /// What remains to be done for a client that is taken off the list.
    pub(super) fn part(&self, id: u64, client: &mut Member) {
        self.keep_place(client);
        client.close();
        self.0.patterns.borrow_mut().change(client.about.peer.uid, client.narrowing.memory(), 0);
        client.narrowing = Narrowing::default();
        if let Some(selection) = client.selection.take() {
            client.crowd.selections.borrow_mut().leave(selection, id);
            client.crowd.behind.borrow_mut().remove(&id);
        }
        if std::mem::take(&mut client.holding) {
            self.0.holding.set(self.0.holding.get() - 1);
            if self.0.holding.get() == 0 {
                self.release();
            }
        }
        if client.about.wants_raw() {
            self.raw_left();
        }
        self.0.left.notify_one();
    }
}
