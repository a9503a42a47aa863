//! A client of the fan-out.

use std::{net::Shutdown, os::unix::net::UnixStream, path::PathBuf, rc::Rc, time::Duration};

use tokio::{sync::Notify, time::Instant};

use super::{crowd::Crowd, names::Named};
use crate::{
    config::{Format, SlowClient, TopicPattern},
    local::{
        dialogue::{outgoing::Outgoing, replies, rights::Identity},
        selections::Narrowing,
        socket::Peer,
        sys::watched::Watched,
    },
    protocol::Bye,
};

/// A client, as the fan-out knows it.
pub(super) struct Member {
    pub(super) about: About,
    /// With whom it is offered what is new.
    pub(super) crowd: Rc<Crowd>,
    pub(super) stream: Rc<Watched<UnixStream>>,
    pub(super) outgoing: Outgoing,
    pub(super) named: Option<Box<Named>>,
    /// What it wants.
    pub(super) narrowing: Narrowing,
    /// Where that is among the selections; none where it gets everything.
    pub(super) selection: Option<usize>,
    /// Its socket took less than all; a wait for it is under way.
    pub(super) lagging: bool,
    /// Its socket, watched for writing: kept while it lags again and again, so that the kernel
    /// needn't be told each time.
    pub(super) watch: Option<Rc<Watched<UnixStream>>>,
    /// Its reader waits for it to read its replies.
    pub(super) relieved: Option<Rc<Notify>>,
    /// The link waits for it.
    pub(super) holding: bool,
    /// A look at how long it has been holding is due.
    pub(super) stall_watched: bool,
    /// When a laggard last took anything, or began to lag.
    pub(super) progress: Instant,
}

/// Who a client is.
#[derive(Debug, Clone)]
pub(in crate::local) struct About {
    pub(in crate::local) listener: PathBuf,
    pub(in crate::local) format: Format,
    pub(in crate::local) peer: Peer,
    pub(in crate::local) who: Identity,
    /// Whether it gets messages and the link's changes.
    pub(in crate::local) receive: bool,
    pub(in crate::local) max_line: usize,
    /// What its listener lets through; all where it says nothing.
    pub(in crate::local) topics: Option<Vec<TopicPattern>>,
    /// What its listener says of those who are slow; as `history.slow_client` says, where it says nothing.
    pub(in crate::local) slow_client: Option<SlowClient>,
    /// How late it gets what is new at most.
    pub(in crate::local) linger: Duration,
    /// To be told when the client is dismissed.
    pub(in crate::local) dismissed: Rc<Notify>,
}

impl About {
    /// Whether it gets messages in the raw form.
    pub(super) fn wants_raw(&self) -> bool {
        self.receive && self.format == Format::Raw
    }
}

impl Member {
    pub(super) fn finish(&mut self, why: Bye) {
        self.outgoing.finish(self.bye(why));
    }

    pub(super) fn bye(&self, why: Bye) -> Vec<u8> {
        bye(self.about.format, why)
    }

    /// Lets its reader go on, if there is no reason to wait for more.
    pub(super) fn relieve(&mut self) {
        if !self.outgoing.has_enough()
            && let Some(relieved) = self.relieved.take()
        {
            relieved.notify_one();
        }
    }

    /// Ends its reader, and its wait for writability with it.
    pub(super) fn close(&self) {
        if let Some(relieved) = &self.relieved {
            relieved.notify_one();
        }
        let _ = self.stream.socket().shutdown(Shutdown::Both); // it may be gone already
    }
}

/// The last line to a client of this format; a raw one has none.
pub(super) fn bye(format: Format, why: Bye) -> Vec<u8> {
    match format {
        Format::Envelope => replies::bye(why),
        Format::Raw => Vec::new(),
    }
}
