//! The link's end of the hub: it publishes, and takes what is asked of it.

use std::{
    cell::{Cell, Ref},
    rc::Rc,
};

use tokio::sync::mpsc;

use super::{
    Command, Counted, Data, Hole, Hub, Lane, LinkState, LinkStatus, MessageTopic, NotTaken, Origin, Retain,
    RetainAs, now_us,
};
use crate::protocol::{Encoder, Message};

/// Publishes into the log, and says how the link is. Whoever has it is the link: there is one at a time, and another
/// when that one is dropped. The log and its count go on; in between the link is closed, and refuses what is asked.
pub struct Publisher {
    hub: Hub,
    /// The entries are another log's: none is made here.
    follows: Cell<bool>,
}

/// What is asked of the link, in the order in which it was. Dropped, it tells the sends that were never taken that the
/// link is down.
pub struct Commands {
    hub: Hub,
    receiver: mpsc::Receiver<Command>,
}

impl Hub {
    /// The link's end. `None` while another one has it.
    pub fn publisher(&self) -> Option<(Publisher, Commands)> {
        let mut commands = self.0.common.commands.borrow_mut();
        if commands.is_some() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(Lane::MAX_SENDS);
        *commands = Some(sender);
        let publisher = Publisher { hub: self.clone(), follows: Cell::new(false) };
        Some((publisher, Commands { hub: self.clone(), receiver }))
    }

    /// Sets the link's status, appends its line to the log and wakes all readers.
    fn announce(&self, status: LinkStatus) {
        let mut status = self.as_leader(status);
        if status.state == LinkState::Closed && self.0.hands_over.get() {
            // nobody has closed it: whoever has the link next makes a connection at once
            status.state = LinkState::Waiting;
            // an entry that all machines have: it names this one
            let node = status.node.as_deref().unwrap_or("this machine");
            status.error = Some(format!("{node} hands the link over to another machine"));
        }
        self.append(status.since_us, |seq| status.line(Some(seq)));
        if self.log().is_staging() {
            self.0.staged_links.borrow_mut().push_back((self.log().next() - 1, status.clone()));
        }
        self.set_link(status);
        self.published();
    }

    /// Sets the link's status, which is no entry of its own.
    fn set_link(&self, status: LinkStatus) {
        self.counters().link(self.link().state, &status);
        self.note_link(status);
    }

    /// The same, of a link whose attempts and ends aren't counted here.
    pub(super) fn note_link(&self, status: LinkStatus) {
        // a wait that became shorter tells of the same ending again
        let is_told = self.link().state == LinkState::Waiting && status.state == LinkState::Waiting;
        if let Some(ending) = status.ending().filter(|_| !is_told) {
            *self.0.common.last_end.borrow_mut() = Some(ending);
        }
        self.replace_link(status);
    }

    pub(super) fn replace_link(&self, status: LinkStatus) {
        *self.0.common.link.borrow_mut() = status;
        self.0.common.link_changes.set(self.0.common.link_changes.get() + 1);
        self.0.common.link_changed.notify_waiters();
    }

    /// Has those look who have to: all readers, or whoever commits what is staged.
    pub(super) fn published(&self) {
        if self.log().is_staging() {
            self.0.staged.notify_one();
        } else {
            self.flush();
        }
    }

    /// Appends an entry of the hub's own, which has no raw form.
    pub(super) fn append(&self, time_us: u64, encode: impl FnOnce(u64) -> Vec<u8>) {
        let mut log = self.0.log.borrow_mut();
        let line = encode(log.next());
        log.append_line(time_us, &line, b"");
    }
}

impl Publisher {
    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The entries are another log's.
    pub(super) fn follows(&self) -> bool {
        self.follows.get()
    }

    /// Appends a message of this topic to the log. Clients hear of it at the next [`Publisher::flush`].
    pub fn publish(&self, time_us: u64, data: Data<'_>, topic: &MessageTopic) {
        self.hub.counters().received(data.len(), time_us);
        if matches!(topic, MessageTopic::Unfit) {
            self.hub.counters().unfit_topic();
        }
        let mut message = Encoder::new(data).with_topic(topic);
        let mut log = self.hub.0.log.borrow_mut();
        if log.is_staging() {
            message = message.without_blanks(); // others make the raw form of the line
        }
        log.append(time_us, message.room(), Some(topic), |seq, envelope, raw| {
            message.write(seq, time_us, envelope, raw);
        });
    }

    /// Counts a message that came and isn't published.
    pub fn withhold(&self, time_us: u64, data: Data<'_>) {
        self.hub.counters().withheld(data.len(), time_us);
    }

    /// Whether entries are staged, and it is to be [noted](Publisher::note_count) how far the server has counted in
    /// messages that aren't published.
    pub fn is_staged(&self) -> bool {
        self.hub.log().is_staging()
    }

    /// The server has counted so far, in a message that isn't published. For whoever stages entries, who hears of it
    /// with the next [`Publisher::flush`].
    pub fn note_count(&self, counted: Counted) {
        let seq = self.hub.log().next();
        self.hub.0.staged_counts.borrow_mut().insert(counted.per.clone(), (seq, counted));
    }

    /// As [`Publisher::publish`]; and the message is retained so, if such messages are.
    pub fn publish_retained(
        &self,
        time_us: u64,
        data: Data<'_>,
        topic: &MessageTopic,
        retain_as: Option<&RetainAs>,
    ) {
        self.publish(time_us, data, topic);
        if let Some(retain_as) = retain_as {
            self.hub.0.log.borrow_mut().retain_newest(topic, retain_as);
        }
    }

    /// Says which messages are retained from now on. What was retained otherwise is let go, and what is too much.
    pub fn set_retain(&self, retain: Retain) {
        self.hub.0.log.borrow_mut().set_retain(retain);
    }

    /// Lets go of all that is retained: it is another server's.
    pub fn forget_retained(&self) {
        self.hub.0.log.borrow_mut().forget_retained();
    }

    /// Appends the declaration of a hole in the server's messages. Clients hear of it at the next
    /// [`Publisher::flush`].
    pub fn declare_hole(&self, time_us: u64, hole: &Hole) {
        self.hub.counters().hole(hole);
        self.hub.append(time_us, |seq| hole.line(seq, time_us));
    }

    /// Appends an entry that another log has had, with its `seq` there and its finished line. Its raw form, where one
    /// is kept, is made from the line, and lacks the blanks around JSON, as that of a staged entry does. Clients hear
    /// of it at the next [`Publisher::flush`]. From the first such entry on the log is another's: nothing is added to
    /// it when this is dropped.
    ///
    /// # Errors
    /// The entry isn't the next one (which one is, is said), or no line. Nothing is changed.
    pub fn put(&self, seq: u64, time_us: u64, line: &[u8]) -> Result<(), NotTaken> {
        let mut log = self.hub.0.log.borrow_mut();
        let raw = if log.keeps_raw() { raw_form(line) } else { Vec::new() };
        log.put(seq, time_us, line, &raw)?;
        self.follows.set(true);
        Ok(())
    }

    /// The log is another's from now on: when this is dropped, nothing is added to it.
    pub fn only_follow(&self) {
        self.follows.set(true);
    }

    /// Declares that the entries up to `seq`, which [`Publisher::put`] brings next, will never be had; how many they
    /// are. Waits until all readers have offered what is there, since it leaves the log. Then every client that isn't
    /// past the hole is told of it with the next [`Publisher::flush`], as [discarded](crate::protocol::Why): nobody was too
    /// slow. Cancel-safe.
    ///
    /// # Errors
    /// That entry is there already, or others are staged. Nothing is changed.
    pub async fn skip_to(&self, seq: u64) -> Result<u64, NotTaken> {
        self.ready().await;
        if self.hub.hurry() {
            self.ready().await;
        }
        let missing = self.hub.0.log.borrow_mut().skip_to(seq)?;
        self.follows.set(true);
        Ok(missing)
    }

    /// Wakes all readers, once for everything published since the last call; where it is staged, who commits it.
    pub fn flush(&self) {
        self.hub.published();
    }

    /// Sets the link's status, appends its line to the log and wakes all readers.
    pub fn announce(&self, status: LinkStatus) {
        self.hub.announce(status);
    }

    /// What was announced last.
    pub fn status(&self) -> Ref<'_, LinkStatus> {
        self.hub.link()
    }

    /// Changes what `status` shows without a line of its own (the heartbeat's round trip).
    pub fn update_link(&self, change: impl FnOnce(&mut LinkStatus)) {
        change(&mut self.hub.0.common.link.borrow_mut());
    }

    /// Counts messages written to the upstream.
    pub fn count_sent(&self, messages: usize, bytes: usize) {
        self.hub.counters().sent(messages, bytes);
    }

    /// Counts a connection that was to take over and didn't.
    pub fn count_failed_takeover(&self) {
        self.hub.counters().failed_takeover();
    }

    /// Counts a reply or a heartbeat that isn't sent, since its program made none.
    pub fn count_failed_program(&self) {
        self.hub.counters().failed_program();
    }

    /// Counts an answer that came when nobody waited for it any more.
    pub fn count_late_answer(&self) {
        self.hub.counters().late_answer();
    }

    /// Counts a request of the server's that nobody has answered in time.
    pub fn count_unanswered(&self) {
        self.hub.counters().unanswered();
    }

    /// Tells how many sends wait in the outbox.
    pub fn set_waiting(&self, sends: usize) {
        self.hub.0.common.waiting.set(sends);
    }

    /// Waits until clients have asked for topics, given some up, or left (of whom [`Publisher::take_left`] tells) since
    /// the last call. One wait for all: the link begins it anew for each batch. Cancel-safe.
    pub async fn stirred(&self) {
        self.hub.0.common.stirred.notified().await;
    }

    /// The clients that have left since the last call: those of whom something is still on its way.
    pub fn take_left(&self) -> Vec<Rc<Origin>> {
        self.hub.0.common.left.take()
    }

    /// Whether all readers have offered everything published so far, so that more may be read.
    pub fn is_ready(&self) -> bool {
        self.hub.0.ready_to.get() >= self.hub.log().head()
    }

    /// Waits for [`Publisher::is_ready`]. The link reads nothing before: a batch is offered to every
    /// client before the next one can push it out of the log. Cancel-safe.
    pub async fn ready(&self) {
        while !self.is_ready() {
            self.hub.0.offered.notified().await;
        }
    }
}

impl Drop for Publisher {
    /// However the link ends, it isn't up any more, and nothing waits for it.
    fn drop(&mut self) {
        self.hub.0.common.commands.take();
        self.take_left();
        (0..2).for_each(|seat| self.with_topics(|topics| topics.close(seat)));
        self.set_waiting(0);
        let LinkStatus { state, conn, url, attempt, .. } = self.status().clone();
        if !matches!(state, LinkState::Closed | LinkState::Failed) {
            let (state, since_us) = (LinkState::Closed, now_us());
            let closed = LinkStatus { state, since_us, conn, url, attempt, ..LinkStatus::default() };
            if self.follows.get() { self.hub.set_link(closed) } else { self.announce(closed) }
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

/// The raw form of a finished line; nothing for one that is no message.
fn raw_form(line: &[u8]) -> Vec<u8> {
    if !Message::is_one(line) {
        return Vec::new();
    }
    let message = serde_json::from_slice::<Message<'_>>(line);
    message.map(|message| [message.raw().as_bytes(), b"\n"].concat()).unwrap_or_default()
}
