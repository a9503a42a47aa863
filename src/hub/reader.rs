//! What the fan-out does with the hub: it reads the log.

use super::{Hub, Log, now_us};

impl Hub {
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

    /// Lets go of entries that are too old by now and that nobody needs: those from `needed` on stay.
    pub fn expire(&self, needed: u64) {
        self.0.log.borrow_mut().expire_unneeded(now_us(), needed);
    }

    /// Whether entries may be too old.
    pub fn expires(&self) -> bool {
        self.log().limits().max_age_us.is_some()
    }
}
