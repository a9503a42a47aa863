//! What the node has done by who runs it.

use std::future::Future;

use futures_util::future::LocalBoxFuture;

use crate::{
    config,
    hub::{Commands, CountedBeside, Hub, Publisher},
};

/// The daemon around the node: it knows the link and the local clients, of which the node knows nothing.
pub(crate) trait Host {
    /// Has the hub ready for what another machine's link publishes: which messages it retains, which topics there are.
    fn prepare(&self, publisher: &Publisher);

    /// Waits until a reload has changed the link's settings since the last call, for what was [prepared](Host::prepare) is
    /// out of date then. Cancel-safe.
    fn changed(&mut self) -> impl Future<Output = ()>;

    /// What the settings of the link come to, as they are now: nodes in which it differs are warned of.
    fn fingerprint(&self) -> String;

    /// The limits of the outbox, as they are now.
    fn outbox(&self) -> config::Outbox;

    /// The link, which goes on where the hub's log ends, and with what is known of the server's counts beside it. It begins
    /// when it is polled first, and dropped, it has dropped its connections.
    fn link(
        &self,
        publisher: Publisher,
        commands: Commands,
        hub: &Hub,
        counted: &CountedBeside,
    ) -> LocalBoxFuture<'static, LinkEnd>;

    /// A hub with a log of this epoch, whose first entry will have this `seq`; the clients of the one before are told, and
    /// new ones are this one's.
    fn renew(&self, epoch: &str, first: u64) -> LocalBoxFuture<'_, Hub>;
}

/// How a link ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkEnd {
    /// It was told to.
    Stopped,
    /// The upstream was given up, and the daemon is to end.
    GivenUp,
}
