//! What the link does with the hub: it publishes.

use super::{Data, Hole, Hub, LinkState, LinkStatus};
use crate::protocol::Encoder;

impl Hub {
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
}
