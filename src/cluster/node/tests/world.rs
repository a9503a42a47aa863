//! Machines with a node each, on one simulated clock.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    daemon::{Around, Client, Daemon},
    servers::Servers,
    upstream::Upstream,
};
use crate::{
    cluster::{
        LinkEnd,
        clock::simulated::{self, Simulated},
        node::Node,
    },
    config::{Cluster, NatsUrl},
    hub::{ClusterState, Command, Fate, Hub, Origin, Payload, Permit, Send, Ticket},
};

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// All of it. The clock is the runtime's, and paused: it goes on when nothing is left to be done.
pub(super) struct World {
    pub(super) servers: Servers,
    pub(super) upstream: Upstream,
    machines: Vec<Machine>,
    seed: u64,
    _clock: Simulated,
}

/// A machine with a wsfan on it, which may have ended.
pub(super) struct Machine {
    pub(super) daemon: Rc<Daemon>,
    /// Its connection to NATS.
    pub(super) wire: usize,
    stop: Rc<Notify>,
    task: JoinHandle<LinkEnd>,
}

impl World {
    /// These machines are started one after the other, each once the one before is with the log.
    pub(super) async fn of(names: &[&str]) -> World {
        let mut world = World {
            servers: Servers::default(),
            upstream: Upstream::default(),
            machines: Vec::new(),
            seed: 1,
            _clock: simulated::begin(),
        };
        for name in names {
            world.start(name, |_| {});
            world.until(name, 4 * LEASE, |world| world.of_client(name).link().as_deref() == Some("up")).await;
        }
        world
    }

    pub(super) fn start(&mut self, name: &str, change: impl FnOnce(&mut Cluster)) {
        let mut cluster = Cluster::new("x", name, NatsUrl::parse("nats://127.0.0.1").unwrap());
        change(&mut cluster);
        let daemon = Daemon::new(name, &self.upstream);
        let (wire, ends) = self.servers.connect(&cluster);
        self.seed += 1;
        let hub = daemon.hub.borrow().clone();
        let node = Node::over(ends, &cluster, hub, Around(Rc::clone(&daemon)), self.seed);
        let stop = Rc::new(Notify::new());
        let task = tokio::task::spawn_local(node.run(Rc::clone(&stop)));
        self.machines.push(Machine { daemon, wire, stop, task });
    }

    /// The newest one of this name.
    pub(super) fn machine(&self, name: &str) -> &Machine {
        self.machines.iter().rev().find(|machine| machine.daemon.name == name).expect("it was started")
    }

    pub(super) fn hub(&self, name: &str) -> Hub {
        self.machine(name).daemon.hub.borrow().clone()
    }

    pub(super) fn of_client(&self, name: &str) -> Rc<Client> {
        self.machine(name).daemon.client()
    }

    pub(super) fn state(&self, name: &str) -> ClusterState {
        self.hub(name).cluster().expect("it is in one").state
    }

    /// Its wsfan dies.
    pub(super) async fn kill(&mut self, name: &str) {
        let at = self.machines.iter().rposition(|machine| machine.daemon.name == name).unwrap();
        let Machine { daemon, task, .. } = self.machines.remove(at);
        daemon.end();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled(), "it ran till then");
    }

    /// It is stopped in order, and says how its link ended.
    pub(super) async fn stop(&mut self, name: &str) -> (Rc<Daemon>, LinkEnd) {
        self.machine(name).stop.notify_one();
        self.ended(name).await
    }

    /// It ends by itself.
    pub(super) async fn ended(&mut self, name: &str) -> (Rc<Daemon>, LinkEnd) {
        let at = self.machines.iter().rposition(|machine| machine.daemon.name == name).unwrap();
        let Machine { daemon, task, .. } = self.machines.remove(at);
        let end = timeout(LEASE, task).await.expect("in time").expect("it doesn't fail");
        (daemon, end)
    }

    /// Goes on until that is so, and says how long that took.
    pub(super) async fn until(
        &self,
        what: &str,
        within: Duration,
        is_so: impl Fn(&World) -> bool,
    ) -> Duration {
        let begin = Instant::now();
        while !is_so(self) {
            assert!(begin.elapsed() < within, "{what}: not within {within:?}; {}", self.describe());
            sleep(MS).await;
        }
        begin.elapsed()
    }

    /// A client of this machine's sends this; what it is told of it.
    pub(super) async fn send(&self, name: &str, text: &str) -> Rc<RefCell<Vec<Fate>>> {
        let fates = Rc::<RefCell<Vec<Fate>>>::default();
        let ticket = Ticket::new(Permit::of(&Rc::<Origin>::default()), {
            let fates = Rc::clone(&fates);
            move |fate| fates.borrow_mut().push(fate)
        });
        let send = Send::new(Payload::Text(text.to_owned()), ticket, 0);
        assert!(self.hub(name).command(Command::Send(send)).await);
        fates
    }

    /// Goes on until this machine's client has so many more numbers.
    pub(super) async fn more(&self, name: &str, count: usize) {
        let before = self.of_client(name).numbers().len();
        let has = |world: &World| world.of_client(name).numbers().len() >= before + count;
        self.until("more of what the server says", 4 * LEASE, has).await;
    }

    /// Both have the same to the end.
    pub(super) async fn are_equal(&self, one: &str, other: &str) {
        let equal = |world: &World| {
            let heads = [one, other].map(|name| world.hub(name).log().head());
            heads[0] == heads[1]
        };
        self.until("both have come as far", LEASE, equal).await;
        let (one, other) = (self.of_client(one), self.of_client(other));
        let both = [one.entries(), other.entries()];
        let shared = both[0].len().min(both[1].len());
        assert!(shared > 10, "there is something to compare");
        assert_eq!(both[0][..shared], both[1][..shared]);
        let both = [one.raw(), other.raw()];
        let shared = both[0].len().min(both[1].len());
        assert!(shared > 10 && both[0][..shared] == both[1][..shared], "raw readers get the same, too");
    }

    fn describe(&self) -> String {
        let machines = self.machines.iter().map(|machine| {
            let hub = machine.daemon.hub.borrow();
            let client = machine.daemon.client();
            let told: Vec<String> =
                client.told().iter().rev().take(5).rev().map(|(_, line)| line.to_string()).collect();
            format!("{}: {:?}, told last {told:#?}", machine.daemon.name, *hub.cluster().unwrap())
        });
        let machines: Vec<String> = machines.collect();
        format!("{} of the upstream; {}", self.upstream.said(), machines.join("\n"))
    }
}
