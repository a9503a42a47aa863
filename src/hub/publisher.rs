//! The link's end of the hub: it publishes, and takes what is asked of it.

use std::{cell::Ref, rc::Rc};

use tokio::sync::mpsc;

use super::{Command, Data, Hole, Hub, Lane, LinkState, LinkStatus, Origin, now_us};
use crate::protocol::Encoder;

/// Publishes into the log, and says how the link is. Whoever has it is the link: there is one at a time, and another
/// when that one is dropped. The log and its count go on; in between the link is closed, and refuses what is asked.
pub struct Publisher(Hub);

/// What is asked of the link, in the order in which it was. Dropped, it tells the sends that were never taken that the
/// link is down.
pub struct Commands {
    hub: Hub,
    receiver: mpsc::Receiver<Command>,
}

impl Hub {
    /// The link's end. `None` while another one has it.
    pub fn publisher(&self) -> Option<(Publisher, Commands)> {
        let mut commands = self.0.commands.borrow_mut();
        if commands.is_some() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(Lane::MAX_SENDS);
        *commands = Some(sender);
        Some((Publisher(self.clone()), Commands { hub: self.clone(), receiver }))
    }

    /// Sets the link's status, appends its line to the log and wakes all readers.
    fn announce(&self, status: LinkStatus) {
        self.append(status.since_us, |seq| status.line(Some(seq)));
        // a wait that became shorter tells of the same ending again
        let is_told = self.link().state == LinkState::Waiting && status.state == LinkState::Waiting;
        if let Some(ending) = status.ending().filter(|_| !is_told) {
            *self.0.last_end.borrow_mut() = Some(ending);
        }
        self.counters().link(self.link().state, &status);
        *self.0.link.borrow_mut() = status;
        self.0.link_changes.set(self.0.link_changes.get() + 1);
        self.0.link_changed.notify_waiters();
        self.flush();
    }

    /// Appends an entry of the hub's own, which has no raw form.
    fn append(&self, time_us: u64, encode: impl FnOnce(u64) -> Vec<u8>) {
        let mut log = self.0.log.borrow_mut();
        let line = encode(log.next());
        log.append_line(time_us, &line, b"");
    }
}

impl Publisher {
    pub(super) fn hub(&self) -> &Hub {
        &self.0
    }

    /// Appends a message to the log. Clients hear of it at the next [`Publisher::flush`].
    pub fn publish(&self, time_us: u64, data: Data<'_>) {
        let bytes = match data {
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        };
        self.0.counters().received(bytes, time_us);
        let message = Encoder::new(data);
        self.0.0.log.borrow_mut().append(time_us, message.room(), |seq, envelope, raw| {
            message.write(seq, time_us, envelope, raw);
        });
    }

    /// Appends the declaration of a hole in the server's messages. Clients hear of it at the next
    /// [`Publisher::flush`].
    pub fn declare_hole(&self, time_us: u64, hole: &Hole) {
        self.0.counters().hole(hole);
        self.0.append(time_us, |seq| hole.line(seq, time_us));
    }

    /// From now on what is appended is staged: it has its `seq`, but no client sees it before [`Publisher::commit`],
    /// and until then it can be taken back. What is staged is bounded by whoever stages it.
    pub fn stage(&self) {
        self.0.0.log.borrow_mut().stage();
    }

    /// Commits what is staged up to the entry `through`, for good. Clients hear of it at the next
    /// [`Publisher::flush`].
    pub fn commit(&self, through: u64) {
        self.0.0.log.borrow_mut().commit(through);
    }

    /// Commits all that is staged, and from now on each entry as it comes.
    pub fn commit_all(&self) {
        self.0.0.log.borrow_mut().commit_all();
    }

    /// Takes back what is staged, and says how many entries that were: the next one has the first one's `seq`.
    pub fn cut_staged(&self) -> u64 {
        self.0.0.log.borrow_mut().cut_staged()
    }

    /// Appends an entry that another log has had, with its `seq` there and its lines, ends included; no raw line for
    /// one that has none. Where it isn't the next one, those between are lost to every client, with all that it hasn't
    /// had by then, and are declared to it in one piece. False for one that is there already, which is left out.
    /// Clients hear of it at the next [`Publisher::flush`].
    pub fn append_as(&self, seq: u64, time_us: u64, line: &[u8], raw: &[u8]) -> bool {
        let mut log = self.0.0.log.borrow_mut();
        if seq < log.next() {
            return false;
        }
        if seq > log.next() {
            log.commit_all();
            log.skip_to(seq);
        }
        log.append_line(time_us, line, raw);
        true
    }

    /// Wakes all readers, once for everything published since the last call.
    pub fn flush(&self) {
        self.0.flush();
    }

    /// Sets the link's status, appends its line to the log and wakes all readers.
    pub fn announce(&self, status: LinkStatus) {
        self.0.announce(status);
    }

    /// What was announced last.
    pub fn status(&self) -> Ref<'_, LinkStatus> {
        self.0.link()
    }

    /// Changes what `status` shows without a line of its own (the heartbeat's round trip).
    pub fn update_link(&self, change: impl FnOnce(&mut LinkStatus)) {
        change(&mut self.0.0.link.borrow_mut());
    }

    /// Counts messages written to the upstream.
    pub fn count_sent(&self, messages: usize, bytes: usize) {
        self.0.counters().sent(messages, bytes);
    }

    /// Counts a connection that was to take over and didn't.
    pub fn count_failed_takeover(&self) {
        self.0.counters().failed_takeover();
    }

    /// Tells how many sends wait in the outbox.
    pub fn set_waiting(&self, sends: usize) {
        self.0.0.waiting.set(sends);
    }

    /// Waits until clients have left, and returns them as [`Publisher::take_left`] does. Cancel-safe.
    pub async fn left(&self) -> Vec<Rc<Origin>> {
        loop {
            let left = self.take_left();
            if !left.is_empty() {
                return left;
            }
            self.0.0.client_left.notified().await;
        }
    }

    /// The clients that have left since the last call: those of whom something is still on its way.
    pub fn take_left(&self) -> Vec<Rc<Origin>> {
        self.0.0.left.take()
    }

    /// Whether all readers have offered everything published so far, so that more may be read.
    pub fn is_ready(&self) -> bool {
        self.0.0.ready_to.get() >= self.0.log().head()
    }

    /// Waits for [`Publisher::is_ready`]. The link reads nothing before: a batch is offered to every
    /// client before the next one can push it out of the log. Cancel-safe.
    pub async fn ready(&self) {
        while !self.is_ready() {
            self.0.0.offered.notified().await;
        }
    }
}

impl Drop for Publisher {
    /// However the link ends, it isn't up any more, and nothing waits for it.
    fn drop(&mut self) {
        self.0.0.commands.take();
        self.take_left();
        (0..2).for_each(|seat| self.with_topics(|topics| topics.close(seat)));
        self.set_waiting(0);
        let LinkStatus { state, conn, url, attempt, .. } = self.status().clone();
        if !matches!(state, LinkState::Closed | LinkState::Failed) {
            let (state, since_us) = (LinkState::Closed, now_us());
            self.announce(LinkStatus { state, since_us, conn, url, attempt, ..LinkStatus::default() });
        }
    }
}

impl Commands {
    /// Waits for the next. `None`: the link has ended, and this was all. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Command> {
        self.receiver.recv().await
    }

    /// The next, if there is one already.
    pub fn try_recv(&mut self) -> Option<Command> {
        self.receiver.try_recv().ok()
    }

    /// Takes no more from now on: [`Commands::recv`] ends with the last that is on its way.
    pub fn close(&mut self) {
        self.receiver.close();
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.close();
        while let Some(command) = self.try_recv() {
            self.hub.refuse(command);
        }
    }
}
