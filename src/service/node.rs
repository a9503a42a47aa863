//! The task of a cluster's node, and what it has done by the daemon.

use std::{cell::RefCell, future::pending, rc::Rc};

use futures_util::{FutureExt, future::LocalBoxFuture};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::link_task::{LinkTask, Renewal};
use crate::{
    cluster::{self, Host, LinkEnd},
    config::{self, Config},
    hub::{Commands, CountedBeside, Hub, Publisher},
    upstream::{self, Legacy},
};

/// Starts a node.
pub(super) fn start(
    cluster: &config::Cluster,
    config: &Config,
    hub: &Hub,
    settings: watch::Receiver<upstream::Settings>,
) -> LinkTask {
    let (sender, renewals) = mpsc::channel(1);
    let stop = Rc::new(Notify::new());
    let fingerprint = Rc::new(RefCell::new(config.fingerprint()));
    let legacy = Legacy::default();
    let around = Around { settings, legacy, fingerprint: Rc::clone(&fingerprint), renewals: sender };
    let node = cluster::Node::new(cluster, &config.history, hub.clone(), around);
    let running = node.run(Rc::clone(&stop)).map(|end| match end {
        LinkEnd::Stopped => upstream::Exit::Stopped,
        LinkEnd::GivenUp => upstream::Exit::GivenUp,
    });
    LinkTask::of_node(tokio::task::spawn_local(running), stop, renewals, fingerprint)
}

/// What a node has done by the daemon.
struct Around {
    settings: watch::Receiver<upstream::Settings>,
    legacy: Legacy,
    /// What the configuration that is in force comes to.
    fingerprint: Rc<RefCell<String>>,
    renewals: mpsc::Sender<Renewal>,
}

impl Host for Around {
    fn prepare(&self, publisher: &Publisher) {
        upstream::prepare(publisher, &self.settings.borrow());
    }

    async fn changed(&mut self) {
        if self.settings.changed().await.is_err() {
            pending().await // the daemon ends
        }
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.borrow().clone()
    }

    fn outbox(&self) -> config::Outbox {
        self.settings.borrow().outbox
    }

    fn link(
        &self,
        publisher: Publisher,
        commands: Commands,
        hub: &Hub,
        counted: &CountedBeside,
    ) -> LocalBoxFuture<'static, LinkEnd> {
        // what others have said since this machine's last link ended stands in the log
        self.legacy.of_log(&hub.log(), counted, &self.settings.borrow());
        let link = upstream::run(publisher, commands, self.settings.clone(), self.legacy.clone());
        link.map(|exit| match exit {
            upstream::Exit::Stopped => LinkEnd::Stopped,
            upstream::Exit::GivenUp => LinkEnd::GivenUp,
        })
        .boxed_local()
    }

    fn renew(&self, epoch: &str, first: u64) -> LocalBoxFuture<'_, Hub> {
        let epoch = epoch.to_owned();
        async move {
            let (done, hub) = oneshot::channel();
            let asked = self.renewals.send(Renewal { epoch, first, done }).await;
            match hub.await {
                Ok(hub) if asked.is_ok() => hub,
                _ => pending().await, // the daemon ends, and drops this
            }
        }
        .boxed_local()
    }
}
