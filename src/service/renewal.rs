//! A new log where the old one ends: in a cluster, when the stream is another one, and when this machine sees it for the
//! first time.

use std::time::Duration;

use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinError, JoinHandle, JoinSet},
    time::Instant,
};

use super::Daemon;
use crate::{hub::Hub, local::Fanout};

/// Clients of a log that is over have `shutdown.timeout` to read what lies ahead, but within these bounds: meanwhile there
/// are two logs in memory.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Fan-outs of logs that are over, until their clients are gone. There is one at most that still waits for them.
#[derive(Default)]
pub(super) struct Former {
    tasks: JoinSet<Result<(), JoinError>>,
    /// Dropped to wait no longer.
    waits: Option<oneshot::Sender<()>>,
}

impl Daemon {
    /// Begins a new log, of this epoch and with this entry as its first. Those who come from now on are its clients; the
    /// clients of the old one get what lies ahead of them, and `bye`, and hold up nobody. The hub of the new log has no
    /// publisher before the old one's is dropped.
    pub(super) fn renew(&mut self, epoch: &str, first: u64) -> Hub {
        let hub = self.hub.successor(epoch.to_owned(), first);
        let fanout = self.fanout.successor(hub.clone(), &self.config.history, &self.config.memory);
        self.listeners.renew(&hub, &fanout);
        self.supervisor.follow(&hub);
        let writer = tokio::task::spawn_local(fanout.clone().run());
        let old_hub = std::mem::replace(&mut self.hub, hub.clone());
        let old_fanout = std::mem::replace(&mut self.fanout, fanout);
        let old_writer = std::mem::replace(&mut self.writer, writer);
        let deadline = Instant::now() + self.config.shutdown.timeout.clamp(BOUNDS.0, BOUNDS.1);
        let clients = old_fanout.count();
        if old_hub.epoch().is_empty() {
            tracing::info!(epoch, first, clients, "the cluster's log is found");
        } else {
            tracing::info!(epoch, first, clients, "the log ends, and another one begins");
        }
        self.former.take(old_hub, old_fanout, old_writer, deadline);
        hub
    }
}

impl Former {
    /// Looks after the clients of a log that is over, and lets go of it when they are gone.
    pub(super) fn take(&mut self, hub: Hub, fanout: Fanout, writer: JoinHandle<()>, deadline: Instant) {
        let (waits, over) = oneshot::channel::<()>();
        self.waits = Some(waits); // of the log before that one, nobody is waited for any more
        self.tasks.spawn_local(async move {
            let _ends = Ends(writer.abort_handle());
            let is_over = tokio::select! {
                () = fanout.retire(deadline) => true,
                _ = over => false,
            };
            if !is_over {
                fanout.retire(Instant::now()).await;
            }
            writer.abort();
            let ended = writer.await;
            hub.let_go(); // a send that waits may have a handle for long
            match ended {
                Err(error) if error.is_panic() => Err(error),
                _ => Ok(()),
            }
        });
    }

    /// Has nobody waited for any more: what its clients may have is another thing now.
    pub(super) fn hurry(&mut self) {
        self.waits = None;
    }

    /// Waits for one that is over; `None` when there is none.
    pub(super) async fn join_next(&mut self) -> Option<Result<(), JoinError>> {
        self.tasks.join_next().await.map(Result::flatten)
    }

    /// Waits for all, until `deadline`.
    pub(super) async fn finish(&mut self, deadline: Instant) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout_at(deadline, all).await; // what is left is dropped with the set
    }
}

/// However the task ends, the fan-out ends with it.
struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
