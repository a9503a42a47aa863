//! A listener: accepts clients on one socket and looks after their readers.

use std::{
    cell::RefCell,
    future::Future,
    io::{self, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
};

use super::{
    access::Access,
    budget::headcount::{Full, Headcount, Most},
    client::ClientReader,
    dialogue::{replies, rights::Identity},
    fanout::{About, Fanout},
    socket::{self, BindError, Bound, Ids, Peer},
    sys::watched::Watched,
};
use crate::{
    config::{self, Format},
    hub::{Hub, Origin, Seldom},
    protocol::Code,
};

/// How long to wait when nothing can be accepted, for want of descriptors most of all.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The longest line from a client that may not send: any request but a send, with the longest id.
const MAX_REQUEST: usize = 4 << 10;

/// One local socket and the clients on it.
pub(crate) struct Listener {
    bound: SharedSocket,
    access: Rc<Access>,
    takes: Rc<RefCell<Takes>>,
    started: std::time::Instant,
    refusals_said: Seldom,
    failures_said: Seldom,
}

impl Listener {
    /// Binds the socket, which is to be theirs. `config` may change later: its rights and limits hold for new
    /// clients.
    ///
    /// # Errors
    /// What stands in the way, in a sentence.
    pub(crate) fn bind(
        config: config::Listener,
        ids: Ids,
        hub: Hub,
        fanout: Fanout,
        started: std::time::Instant,
    ) -> Result<Listener, BindError> {
        let access = Rc::new(Access::new(config, &ids));
        let bound = Rc::new(RefCell::new(Some(Bound::bind(&access.config(), ids)?)));
        Ok(Listener {
            bound,
            access,
            takes: Rc::new(RefCell::new(Takes { hub, fanout, headcount: Headcount::default() })),
            started,
            refusals_said: Seldom::default(),
            failures_said: Seldom::default(),
        })
    }

    /// Its format.
    pub(crate) fn format(&self) -> Format {
        self.access.config().format
    }

    /// What changes it while it runs.
    pub(crate) fn handle(&self) -> Handle {
        let (bound, access) = (Rc::clone(&self.bound), Rc::clone(&self.access));
        Handle { bound, access, takes: Rc::clone(&self.takes) }
    }

    /// Accepts clients until `stop`, then looks after those there are until they are gone.
    /// Dropping it ends them at once.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        let mut readers = JoinSet::new();
        {
            let accept = self.accept(&mut readers);
            tokio::pin!(accept, stop);
            tokio::select! {
                biased;
                () = stop => {}
                () = accept => {}
            }
        }
        self.bound.take();
        while let Some(ended) = readers.join_next().await {
            report(ended);
        }
    }

    /// Accepts clients for as long as the listener is there.
    async fn accept(&self, readers: &mut JoinSet<()>) {
        let listener = match self.bound.borrow().as_ref().map(|bound| bound.listener().try_clone()) {
            Some(listener) => listener.and_then(Watched::reading),
            None => return, // it was ended before it began
        };
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "a listener can't be watched"),
        };
        loop {
            tokio::select! {
                accepted = listener.read(UnixListener::accept) => match accepted {
                    // who still stood in the queue of a listener that has ended finds it closed
                    Ok(_) if self.bound.borrow().is_none() => return,
                    Ok((stream, _)) => {
                        if let Err(error) = self.admit(stream, readers) {
                            tracing::debug!(%error, "a client was gone before it was there");
                        }
                    }
                    Err(error) => {
                        if let Some(unsaid) = self.failures_said.due() {
                            tracing::warn!(%error, unsaid, "no client can be accepted for now");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = readers.join_next() => report(ended),
            }
        }
    }

    fn admit(&self, stream: UnixStream, readers: &mut JoinSet<()>) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let config = self.access.config();
        while let Some(ended) = readers.try_join_next() {
            report(ended);
        }
        let (peer, own_uid) = (socket::peer(&stream)?, socket::own_uid());
        let most = Most { clients: config.max_clients, of_a_user: config.max_of_a_user() };
        let Takes { hub, fanout, headcount } = self.takes.borrow().clone();
        let counted = match headcount.admit(peer.uid, own_uid, most) {
            Ok(counted) => counted,
            Err(full) => {
                let message = match full {
                    Full::Listener => {
                        format!("this listener has its {} clients already (max_clients)", most.clients)
                    }
                    Full::User => format!(
                        "user {} has its {} clients on this listener already (max_clients_per_user)",
                        peer.uid, most.of_a_user
                    ),
                };
                return self.refuse(&stream, &message);
            }
        };
        if socket::is_among_the_last(&stream, peer) {
            let message = "the daemon has nearly as many files open as it may (LimitNOFILE in its unit)";
            return self.refuse(&stream, message);
        }
        let who = socket::identity(&stream)?;
        let rights = self.access.of(&who).rights;
        // nothing but a send is long
        let max_line = if rights.send { config.max_line } else { config.max_line.min(MAX_REQUEST) };
        let stream = Rc::new(Watched::reading(stream)?);
        let dismissed = Rc::new(Notify::new());
        let about = About {
            listener: config.path.clone(),
            format: config.format,
            peer,
            who: who.clone(),
            receive: rights.receive,
            max_line,
            topics: self.access.topics_of(&who),
            slow_client: config.slow_client,
            linger: config.linger,
            dismissed: Rc::clone(&dismissed),
        };
        let id = fanout.join(about, Rc::clone(&stream));
        let Peer { pid, uid } = peer;
        tracing::debug!(client = id, pid, uid, listener = %config.path.display(), "a client attached");
        let reader = ClientReader {
            hub,
            fanout,
            stream,
            id,
            _counted: counted,
            peer,
            who,
            from: Rc::new(Origin::new(peer.uid, id)),
            format: config.format,
            access: Rc::clone(&self.access),
            max_line,
            dismissed,
            started: self.started,
            asked: Rc::default(),
        };
        readers.spawn_local(reader.run());
        Ok(())
    }

    /// Says why a client isn't taken in. The socket is new, so its buffer has room for the line.
    fn refuse(&self, mut stream: &UnixStream, why: &str) -> io::Result<()> {
        self.takes.borrow().hub.counters().refused_client();
        let config = self.access.config();
        if let Some(unsaid) = self.refusals_said.due() {
            tracing::warn!(listener = %config.path.display(), why, unsaid, "refused a client");
        }
        match config.format {
            Format::Envelope => stream.write_all(&replies::error(None, Code::TooManyClients, why)),
            Format::Raw => Ok(()),
        }
    }
}

/// To whom clients go that come, and how many have.
#[derive(Clone)]
struct Takes {
    hub: Hub,
    fanout: Fanout,
    headcount: Headcount,
}

/// A listener's socket, until it is gone: from then on nobody is taken in.
type SharedSocket = Rc<RefCell<Option<Bound>>>;

/// Changes a listener that runs.
pub(crate) struct Handle {
    bound: SharedSocket,
    access: Rc<Access>,
    takes: Rc<RefCell<Takes>>,
}

impl Handle {
    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.access.config().path.clone()
    }

    /// What is in force.
    pub(crate) fn config(&self) -> config::Listener {
        self.access.config().clone()
    }

    /// Applies other settings, with the same path; `ids` where the owner or the group is another one. The socket's
    /// mode and owner and the rights hold at once, the rights for those who are connected as well. The format and
    /// `max_line`, which were told in `hello`, hold for new clients, as does `max_clients`.
    ///
    /// # Errors
    /// What stands in the way, in a sentence; then nothing is changed.
    pub(crate) fn change(&self, new: config::Listener, ids: Option<Ids>) -> Result<(), BindError> {
        if let Some(bound) = &*self.bound.borrow() {
            bound.change(self.access.config().mode, new.mode, ids.clone())?;
        }
        let (old, slow_client) = (self.access.config().slow_client, new.slow_client);
        let (old_linger, linger) = (self.access.config().linger, new.linger);
        self.access.change(new, ids.as_ref());
        let (path, Takes { hub, fanout, .. }) = (self.path(), self.takes.borrow().clone());
        if old != slow_client {
            fanout.set_slow_clients_of(&path, slow_client);
        }
        fanout.narrow_all_of(&path, |who| self.access.topics_of(who));
        for (client, who) in fanout.clients_of(&path) {
            if !self.access.may_claim_answers(&who) {
                hub.unclaim_answers(client);
            }
            let may_any = self.access.may_subscribe(&who);
            hub.revoke_topics(now(), client, |topic| may_any && self.access.may_have(&who, topic));
        }
        if old_linger != linger {
            fanout.linger_all_of(&path, linger);
        }
        Ok(())
    }

    /// Dismisses those who receive and have no right to any more.
    pub(crate) fn withdraw(&self) {
        let may_receive = |who: &Identity| self.access.of(who).rights.receive;
        self.fanout().dismiss_of(&self.path(), |about| about.receive && !may_receive(&about.who));
    }

    /// Has those who come from now on go to another hub and its fan-out. Those who are there stay where they are, are to
    /// leave soon, and don't keep others out meanwhile.
    pub(crate) fn renew(&self, hub: Hub, fanout: Fanout) {
        *self.takes.borrow_mut() = Takes { hub, fanout, headcount: Headcount::default() };
    }

    fn fanout(&self) -> Fanout {
        self.takes.borrow().fanout.clone()
    }

    /// Removes the socket, and dismisses all of its clients. Nobody comes after them.
    pub(crate) fn end(self) {
        self.bound.take();
        let path = self.path();
        self.fanout().dismiss_of(&path, |_| true);
    }
}

/// The clock of the runtime.
fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a client's reader failed; the client is disconnected");
    }
}

#[cfg(test)]
mod tests;
