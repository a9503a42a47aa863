//! The listeners that there are, and what a reload makes of them.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use tokio::{
    sync::oneshot,
    task::{JoinError, JoinSet},
};

use super::reload::ReloadStep;
use crate::{
    config::{self, Format},
    hub::Hub,
    local::{BindError, Fanout, Handle, Ids, Listener},
};

/// All listeners.
pub(super) struct Listeners {
    hub: Hub,
    fanout: Fanout,
    started: Instant,
    active: Vec<Active>,
    /// Those that a reload has ended, until [`Listeners::settle`].
    parting: Vec<Handle>,
    tasks: JoinSet<()>,
}

/// Whose sockets are to be, by their paths; those whose owner and group stay left out.
pub(super) type Owners = BTreeMap<PathBuf, Result<Ids, BindError>>;

/// Looks up who owns the sockets of the new listeners. This may block.
pub(super) fn owners(old: &[config::Listener], new: &[config::Listener]) -> Owners {
    let members = |listener: &config::Listener| -> Vec<_> {
        listener.rules.iter().map(|rule| (rule.users.clone(), rule.groups.clone())).collect()
    };
    let stays = |new: &config::Listener| {
        let is_same = |old: &&config::Listener| {
            (&old.path, &old.owner, &old.group) == (&new.path, &new.owner, &new.group)
                && members(old) == members(new)
        };
        old.iter().find(is_same).is_some()
    };
    new.iter().filter(|new| !stays(new)).map(|new| (new.path.clone(), Ids::of(new))).collect()
}

/// A listener that accepts clients.
struct Active {
    handle: Handle,
    /// Dropped to stop accepting.
    _accepts: oneshot::Sender<()>,
}

impl Listeners {
    /// Binds the sockets.
    ///
    /// # Errors
    /// The first that can't be bound; then none is.
    pub(super) fn bind(
        configs: &[config::Listener],
        hub: Hub,
        fanout: Fanout,
        started: Instant,
    ) -> Result<Listeners, BindError> {
        let mut listeners = Listeners {
            hub,
            fanout,
            started,
            active: Vec::new(),
            parting: Vec::new(),
            tasks: JoinSet::new(),
        };
        let bound = configs.iter().map(|config| listeners.bind_one(config, Ids::of(config)?));
        let bound: Vec<_> = bound.collect::<Result<_, _>>()?;
        bound.into_iter().for_each(|listener| listeners.start(listener));
        Ok(listeners)
    }

    /// Does what a reload asks for, with what [`owners`] found. Returns the names of what is done, and what couldn't
    /// be done, in sentences; that part stays as it was.
    pub(super) fn apply(
        &mut self,
        steps: Vec<(ReloadStep, Vec<String>)>,
        mut owners: Owners,
    ) -> (Vec<String>, Vec<String>) {
        let (mut names, mut problems) = (Vec::new(), Vec::new());
        for (step, step_names) in steps {
            let done = match step {
                ReloadStep::Add(config) => owners
                    .remove(&config.path)
                    .unwrap_or_else(|| Ok(Ids::default()))
                    .and_then(|ids| self.bind_one(&config, ids))
                    .map(|listener| self.start(listener)),
                ReloadStep::Change(config) => {
                    owners.remove(&config.path).transpose().and_then(|ids| self.change(config, ids))
                }
                // without the new one the old one is better than none
                ReloadStep::End(path) if !problems.is_empty() => {
                    let path = path.display();
                    problems.push(format!("{path}: this listener stays, since not all others are there"));
                    continue;
                }
                ReloadStep::End(path) => {
                    if let Some(at) = self.active.iter().position(|active| active.handle.path() == path) {
                        self.parting.push(self.active.remove(at).handle);
                    }
                    Ok(())
                }
            };
            match done {
                Ok(()) => names.extend(step_names),
                Err(error) => problems.push(error.to_string()),
            }
        }
        (names, problems)
    }

    /// Dismisses the clients that a reload leaves without a listener or a right. Apart from
    /// [`Listeners::apply`], so that who asked for it is told first what came of it.
    pub(super) fn settle(&mut self) {
        self.parting.drain(..).for_each(Handle::end);
        self.active.iter().for_each(|active| active.handle.withdraw());
        self.tell_answering();
        // those who stay with it have it to their end
        self.fanout.offer_raw(self.active.iter().any(|active| active.handle.config().format == Format::Raw));
    }

    /// Has clients that come from now on go to another hub and its fan-out. The sockets stay as they are.
    pub(super) fn renew(&mut self, hub: &Hub, fanout: &Fanout) {
        (self.hub, self.fanout) = (hub.clone(), fanout.clone());
        let handles = self.active.iter().map(|active| &active.handle).chain(&self.parting);
        handles.for_each(|handle| handle.renew(hub.clone(), fanout.clone()));
    }

    /// What is in force.
    pub(super) fn configs(&self) -> Vec<config::Listener> {
        self.active.iter().map(|active| active.handle.config()).collect()
    }

    /// Stops accepting, on all.
    pub(super) fn close(&mut self) {
        self.active.clear();
    }

    /// Waits for a listener that is over, whose clients are gone; `None` when there is none.
    pub(super) async fn join_next(&mut self) -> Option<Result<(), JoinError>> {
        self.tasks.join_next().await
    }

    fn bind_one(&self, config: &config::Listener, ids: Ids) -> Result<Listener, BindError> {
        Listener::bind(config.clone(), ids, self.hub.clone(), self.fanout.clone(), self.started)
    }

    fn start(&mut self, listener: Listener) {
        if listener.format() == Format::Raw {
            self.fanout.offer_raw(true); // from its first client on
        }
        let (accepts, over) = oneshot::channel::<()>();
        self.active.push(Active { handle: listener.handle(), _accepts: accepts });
        self.tell_answering();
        self.tasks.spawn_local(listener.run(async move {
            let _ = over.await; // dropped, never sent
        }));
    }

    /// Says whether some listeners, and they alone, are for answers to the server.
    fn tell_answering(&self) {
        self.hub.set_answering(self.active.iter().any(|active| active.handle.config().answers));
    }

    fn change(&mut self, config: config::Listener, ids: Option<Ids>) -> Result<(), BindError> {
        let raw = config.format == Format::Raw;
        let active = self.active.iter().find(|active| active.handle.path() == config.path);
        active.map_or(Ok(()), |active| active.handle.change(config, ids))?;
        self.tell_answering();
        if raw {
            self.fanout.offer_raw(true);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, time::Duration};

    use super::*;
    use crate::config::{History, MemoryBounds};

    #[tokio::test(flavor = "local")]
    async fn the_raw_form_ends_with_the_last_raw_listener_and_its_clients() {
        let directory = tempfile::tempdir().unwrap();
        let raw =
            config::Listener { format: Format::Raw, ..config::Listener::new(directory.path().join("raw")) };
        let hub = Hub::new("e".to_owned(), &History::default(), true);
        let fanout = Fanout::new(hub.clone(), &History::default(), &MemoryBounds::default());
        let begun = Instant::now();
        let mut listeners =
            Listeners::bind(std::slice::from_ref(&raw), hub.clone(), fanout.clone(), begun).unwrap();
        let _client = UnixStream::connect(&raw.path).unwrap();
        let comes = async {
            while fanout.count() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), comes).await.expect("it comes");
        listeners.apply(vec![(ReloadStep::End(raw.path.clone()), vec![])], Owners::new());
        assert!(hub.log().keeps_raw(), "the client is still there");
        listeners.settle();
        assert_eq!((fanout.count(), hub.log().keeps_raw()), (0, false));

        listeners.apply(vec![(ReloadStep::Add(raw.clone()), vec![])], Owners::new());
        assert!(hub.log().keeps_raw(), "from its first client on");
        listeners.apply(vec![(ReloadStep::End(raw.path), vec![])], Owners::new());
        listeners.settle();
        assert!(!hub.log().keeps_raw());
    }
}
