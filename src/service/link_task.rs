//! The task that has the link: the link itself, or a node of a cluster, which has it when this machine leads.

use std::{cell::RefCell, future::pending, rc::Rc};

use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::{JoinError, JoinHandle},
    time::{Instant, timeout_at},
};

use crate::{
    config::Config,
    hub::{Command, Hub},
    upstream::{self, Exit, Legacy, Settings},
};

/// The task, and what it is told by.
pub(super) struct LinkTask {
    task: JoinHandle<Exit>,
    /// What stops a node; the link itself is stopped by a command.
    stop: Option<Rc<Notify>>,
    renewals: Option<mpsc::Receiver<Renewal>>,
    /// What a node's settings come to, for the other nodes.
    fingerprint: Rc<RefCell<String>>,
}

/// What the task has to say.
pub(super) enum News {
    /// It has ended; an error is a fault of wsfan.
    Ended(Result<Exit, JoinError>),
    /// It needs a hub with another log.
    Renewal(Renewal),
}

/// A log of this epoch, for which a hub is to be made.
pub(super) struct Renewal {
    pub(super) epoch: String,
    /// The `seq` of its first entry.
    pub(super) first: u64,
    /// Where the hub is awaited.
    pub(super) done: oneshot::Sender<Hub>,
}

impl LinkTask {
    /// Starts it. From then on it is what the hub's commands lead to.
    pub(super) fn start(config: &Config, hub: &Hub, settings: watch::Receiver<Settings>) -> LinkTask {
        #[cfg(feature = "cluster")]
        if let Some(cluster) = &config.cluster {
            return super::node::start(cluster, config, hub, settings);
        }
        let _ = config;
        let (publisher, commands) = hub.publisher().expect("there is no other link");
        let link = upstream::run(publisher, commands, settings, Legacy::default());
        LinkTask {
            task: tokio::task::spawn_local(link),
            stop: None,
            renewals: None,
            fingerprint: Rc::default(),
        }
    }

    /// That of a node.
    #[cfg(feature = "cluster")]
    pub(super) fn of_node(
        task: JoinHandle<Exit>,
        stop: Rc<Notify>,
        renewals: mpsc::Receiver<Renewal>,
        fingerprint: Rc<RefCell<String>>,
    ) -> LinkTask {
        LinkTask { task, stop: Some(stop), renewals: Some(renewals), fingerprint }
    }

    /// A reload has changed the configuration.
    pub(super) fn reconfigure(&self, config: &Config) {
        if self.stop.is_some() {
            self.fingerprint.replace(config.fingerprint());
        }
    }

    /// Waits for what it has to say. Cancel-safe. Not to be called after its end.
    pub(super) async fn next(&mut self) -> News {
        tokio::select! {
            ended = &mut self.task => News::Ended(ended),
            renewal = next_renewal(&mut self.renewals) => News::Renewal(renewal),
        }
    }

    /// Has it close the link, and waits for that until `deadline`; then it is dropped.
    ///
    /// # Errors
    /// It failed, which is a fault of wsfan.
    pub(super) async fn stop(&mut self, hub: &Hub, deadline: Instant) -> Result<(), JoinError> {
        if self.task.is_finished() {
            return Ok(());
        }
        // a link keeps to its half of the time by itself; a node may wait for NATS, and the other half is for the clients
        let deadline = match &self.stop {
            Some(_) => deadline - deadline.saturating_duration_since(Instant::now()) / 2,
            None => deadline,
        };
        let closed = async {
            self.say_stop(hub).await;
            loop {
                match self.next().await {
                    News::Ended(ended) => break ended,
                    // it may lead in the new log, and steps down in it; no client will come to that
                    News::Renewal(Renewal { epoch, first, done }) => {
                        let _ = done.send(hub.successor(epoch, first));
                    }
                }
            }
        };
        match timeout_at(deadline, closed).await {
            Ok(ended) => ended.map(drop),
            Err(_) => {
                tracing::warn!("the upstream did not close in time");
                self.task.abort();
                Ok(())
            }
        }
    }

    async fn say_stop(&self, hub: &Hub) {
        match &self.stop {
            Some(stop) => stop.notify_one(),
            None => _ = hub.command(Command::Stop).await,
        }
    }
}

async fn next_renewal(renewals: &mut Option<mpsc::Receiver<Renewal>>) -> Renewal {
    if let Some(renewals) = renewals
        && let Some(renewal) = renewals.recv().await
    {
        return renewal;
    }
    pending().await
}

#[cfg(all(test, feature = "cluster"))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::History;

    /// A node that does this once it is to stop, and how long that took.
    async fn stopped<F>(
        does: impl FnOnce(mpsc::Sender<Renewal>) -> F + 'static,
    ) -> (Result<(), JoinError>, Duration)
    where
        F: Future<Output = ()> + 'static,
    {
        let (sender, renewals) = mpsc::channel(1);
        let stop = Rc::new(Notify::new());
        let task = tokio::task::spawn_local({
            let stop = Rc::clone(&stop);
            async move {
                stop.notified().await;
                does(sender).await;
                Exit::Stopped
            }
        });
        let mut link = LinkTask::of_node(task, stop, renewals, Rc::default());
        let hub = Hub::new("e".to_owned(), &History::default(), false);
        let begun = Instant::now();
        (link.stop(&hub, begun + Duration::from_secs(10)).await, begun.elapsed())
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_node_that_is_to_stop_while_its_log_begins_gets_it_and_ends_in_order() {
        let (stopped, time) = stopped(async |renewals| {
            let (done, hub) = oneshot::channel();
            renewals.send(Renewal { epoch: "f".to_owned(), first: 7, done }).await.unwrap();
            let hub = hub.await.expect("it is waited for");
            assert_eq!((hub.epoch(), hub.log().next()), ("f", 7));
        })
        .await;
        assert!(stopped.is_ok() && time < Duration::from_secs(1), "{stopped:?} {time:?}");
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_node_that_waits_for_nats_leaves_half_of_the_time_for_the_clients() {
        let (stopped, time) = stopped(async |_| pending().await).await;
        assert!(stopped.is_ok());
        assert_eq!(time.as_secs(), 5);
    }
}
