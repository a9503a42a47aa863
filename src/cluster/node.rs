//! One node of a cluster: the loop around its machine. What has happened is told to it, and what it wants is done, in
//! order.

use std::{future::pending, rc::Rc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Host, LinkEnd, clock,
    machine::{Away, Event, Machine, Opening, Order, Role, Settings, Standing, Tell, entries, opening},
    nats::{self, Arrival, Arrivals, Incoming, Names, Nats},
    report::{Beat, Report},
};
use crate::{
    config,
    hub::{
        ClusterNow, Command, Commands, Hub, LinkState, LinkStatus, Publisher, Reader, Staging, Supervisor,
        now_us,
    },
};

mod followed;
mod link;
mod others;
mod sends;
mod told;

use followed::Followed;
use link::LeasedLink;
use others::{Heard, Others};
use sends::Sends;

/// A link that is to close has so long to hear of it.
const TOLD_WITHIN: Duration = Duration::from_millis(100);

/// What a node is made of.
pub(crate) struct Node<H> {
    host: H,
    hub: Hub,
    supervisor: Supervisor,
    machine: Machine,
    /// The term and the role that were told of last.
    known: (u64, Role),
    name: String,
    lease: Duration,
    is_candidate: bool,

    nats: Nats,
    arrivals: Arrivals,
    /// What is the matter with NATS, in a sentence.
    trouble: Option<String>,
    others: Others,
    beat_at: Instant,
    names: Names,
    /// Which of its lives this is.
    run: u64,

    /// The link's end of the hub, while no link has it.
    end: Option<(Publisher, Commands)>,
    link: Option<LeasedLink>,
    /// Entries are staged.
    staging: Option<Staging>,
    /// Holds the link back.
    holder: Reader,
    /// The link was to be started, and is closed on request.
    is_resting: bool,
    followed: Followed,
    sends: Sends,

    given_up: bool,
    is_finished: bool,
}

/// What the node waits for.
enum Happening {
    Arrival(Arrival),
    Staged,
    Command(Command),
    /// Clients have left, or asked for topics.
    Stirred,
    LinkEnded(Option<LinkEnd>),
    LinkChanged,
    /// A client waits for this entry.
    Awaited(u64),
    Stop,
    Time,
}

impl<H: Host> Node<H> {
    /// A node that has just been started, in front of an empty hub.
    pub(crate) fn new(cluster: &config::Cluster, history: &config::History, hub: Hub, host: H) -> Node<H> {
        let seed = getrandom::u64().unwrap_or_else(|_| fastrand::u64(..));
        let (nats, arrivals) = nats::connect(cluster, history);
        let settings = settings(cluster, &host.fingerprint(), &hub);
        let (lease, name) = (settings.lease, settings.node.to_string());
        let is_candidate = settings.candidate;
        let names = Names::of(&cluster.name);
        nats.hear(&names.here());
        nats.hear(&names.who());
        hub.set_keeps(true);
        let mut node = Node {
            sends: Sends::new(cluster, host.outbox(), &nats, seed),
            supervisor: hub.supervisor(),
            machine: Machine::new(clock::now(), settings, seed),
            known: (0, Role::Follower),
            others: Others::new(&name, seed, lease * 2),
            lease,
            name,
            is_candidate,
            nats,
            arrivals,
            trouble: None,
            beat_at: Instant::now(),
            names,
            run: seed,
            end: None,
            link: None,
            staging: None,
            holder: holder(&hub),
            is_resting: false,
            followed: Followed::default(),
            given_up: false,
            is_finished: false,
            host,
            hub,
        };
        node.hub.set_cluster(ClusterNow {
            name: cluster.name.as_str().into(),
            node: cluster.node.as_str().into(),
            ..ClusterNow::default()
        });
        node.take_end();
        node.be_away(told::away(Away::Starting, None));
        node
    }

    /// Runs it until it is to stop, or its link was given up. What it has is handed over in order.
    pub(crate) async fn run(mut self, stop: Rc<Notify>) -> LinkEnd {
        while !self.is_finished {
            let happening = self.next(&stop).await;
            self.take(happening).await;
        }
        let bye = Beat { bye: true, ..self.others.beat(false) };
        self.nats.say(self.names.here(), None, bye.write());
        self.end_sends();
        self.arrivals.close().await;
        if self.given_up { LinkEnd::GivenUp } else { LinkEnd::Stopped }
    }

    /// Waits for the next happening. Each arm is cancel-safe.
    async fn next(&mut self, stop: &Notify) -> Happening {
        let until = self.deadline();
        let Node { arrivals, link, staging, end, supervisor, hub, sends, .. } = self;
        let leads = link.is_some();
        // what comes faster than clients are offered it waits in NATS
        let is_ready = end.as_ref().is_none_or(|(publisher, _)| publisher.is_ready());
        let (publisher, commands) = end.as_mut().map(|(publisher, commands)| (publisher, commands)).unzip();
        tokio::select! {
            () = stop.notified() => Happening::Stop,
            arrival = arrivals.next(), if is_ready => Happening::Arrival(arrival),
            () = ready(publisher.as_deref()), if !is_ready => Happening::Time,
            end = ended(link) => Happening::LinkEnded(end),
            () = supervisor.link_changed(), if leads => Happening::LinkChanged,
            () = published(staging.as_ref()) => Happening::Staged,
            seq = hub.awaited() => Happening::Awaited(seq),
            command = sends::command(commands) => Happening::Command(command),
            () = sends::stirred(publisher.as_deref()) => Happening::Stirred,
            () = sends.stirred.notified() => Happening::Stirred,
            () = sleep_until(until) => Happening::Time,
        }
    }

    async fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival(Arrival::Event(event)) => self.tell(event).await,
            Happening::Arrival(Arrival::Trouble(trouble)) => self.trouble(trouble.to_string()),
            Happening::Arrival(Arrival::Message(message)) => self.hear(message).await,
            Happening::Staged => self.tell_staged().await,
            Happening::Command(command) => self.command(command),
            Happening::Stirred => self.part(),
            Happening::LinkEnded(end) => self.link_ended(end).await,
            Happening::LinkChanged => self.link_changed().await,
            Happening::Awaited(seq) => self.tell(Event::Awaited { seq }).await,
            Happening::Stop => self.tell(Event::Stop).await,
            Happening::Time => self.tell(Event::Timeout).await,
        }
        self.be_there().await;
        self.tend_sends();
    }

    /// Tells the machine, and does what it wants, in order.
    async fn tell(&mut self, event: Event) {
        match &event {
            Event::NatsUp => self.trouble = None,
            Event::Read(..) => self.sends.alive(),
            Event::NatsDown => self.others.forget(Instant::now().into_std()),
            _ => {}
        }
        self.machine.handle(clock::now(), event);
        loop {
            if let Some(order) = self.machine.poll_order() {
                self.carry_out(order).await;
            } else if let Some(wanted) = self.machine.wanted() {
                let lines =
                    self.staging.as_ref().and_then(|staging| staging.lines(wanted.first, wanted.max_bytes));
                let Some((lines, end)) = lines else { break };
                self.machine.handle(clock::now(), Event::Lines { first: wanted.first, end, lines });
            } else {
                break;
            }
        }
        if let (Some(link), Some(lease)) = (&self.link, self.machine.lease()) {
            link.set_lease(lease);
        }
        self.say_standing();
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Append { id, expect, message } => self.nats.append(id, expect, &message),
            Order::Ask { id, from } => self.nats.ask(id, from),
            Order::Read { id, after } => self.nats.read(id, after),
            Order::StopReading => self.nats.stop_reading(),
            Order::Open { term, first, failover } => self.open(term, first, failover),
            Order::Epoch { epoch, first } => self.begin_epoch(&epoch, first).await,
            Order::Deliver { first, lines } => self.deliver(first, &lines),
            Order::Skip { to } => self.skip(to).await,
            Order::StartLink => self.start_link(),
            Order::CloseLink => self.close_link().await,
            Order::StopLink => self.stop_link(),
            Order::Hold(holds) => self.holder.hold(holds),
            Order::Commit { through } => self.commit(through),
            Order::Cut => self.cut(),
            Order::Tell(tell) => self.told(tell),
            Order::AskNewEpoch { epoch } => {
                let beat = Beat { void: Some(epoch.to_string()), ..self.others.beat(false) };
                self.nats.say(self.names.here(), None, beat.write());
            }
            Order::NotThere { seq } => self.hub.not_there(seq),
            Order::Finish => self.is_finished = true,
        }
    }

    // ------------------------------------------------------------ the log

    /// The entries that a term begins with.
    fn open(&mut self, term: u64, first: u64, failover: bool) {
        let lines = opening(&Opening {
            first,
            time_us: now_us(),
            node: &self.name,
            term,
            conn: self.followed.link().map_or(0, |link| link.conn),
            closed: self.followed.is_closed(),
            after_us: failover.then_some(self.followed.time_us()),
        });
        self.machine.handle(clock::now(), Event::Opened { term, lines });
    }

    async fn begin_epoch(&mut self, epoch: &str, first: u64) {
        debug_assert!(
            self.link.is_none() && self.staging.is_none(),
            "nothing is staged when an epoch begins"
        );
        self.end = None;
        self.hub = self.host.renew(epoch, first).await;
        self.supervisor = self.hub.supervisor();
        self.holder = holder(&self.hub);
        self.followed = Followed::default();
        self.take_end();
    }

    fn deliver(&mut self, first: u64, lines: &[u8]) {
        let Some((publisher, _)) = &self.end else { return };
        for entry in entries(lines) {
            if let Err(error) = publisher.put(entry.seq, entry.time_us, entry.line) {
                tracing::error!(first, seq = entry.seq, %error, "an entry has no place, which is a fault of wsfan");
                return;
            }
            self.followed.read(entry.time_us, entry.line);
            publisher.follow(entry.line);
        }
        publisher.flush();
    }

    async fn skip(&mut self, to: u64) {
        let Some((publisher, _)) = &self.end else { return };
        match publisher.skip_to(to).await {
            Ok(missing) => {
                tracing::warn!(
                    missing,
                    "the stream had let go of entries before they came here: they are declared"
                );
                publisher.flush();
            }
            Err(error) => tracing::error!(to, %error, "a hole has no place, which is a fault of wsfan"),
        }
    }

    fn commit(&mut self, through: u64) {
        if let Some(staging) = &self.staging {
            staging.commit(through);
            self.followed.commit(through, now_us());
            let (end, bytes) = (staging.entries().end, staging.bytes());
            self.machine.handle(clock::now(), Event::Staged { end, bytes });
        }
    }

    fn cut(&mut self) {
        self.close_intake();
        let cut = self.staging.take().map_or(0, |staging| staging.cut());
        self.followed.cut();
        self.holder.hold(false);
        self.is_resting = false;
        self.hub.lead(None);
        if cut > 0 {
            tracing::warn!(
                entries = cut,
                "what the server said last isn't in the log: the next term declares it"
            );
        }
        self.take_end();
        self.follow_link();
    }

    async fn tell_staged(&mut self) {
        if let Some(staging) = &self.staging {
            let (end, bytes) = (staging.entries().end, staging.bytes());
            self.tell(Event::Staged { end, bytes }).await;
        }
    }

    // ------------------------------------------------------------ the link

    fn start_link(&mut self) {
        let Some((publisher, commands)) = self.end.take() else { return };
        let standing = self.machine.standing(clock::now());
        self.hub.lead(Some((self.name.as_str().into(), standing.term)));
        self.staging = publisher.stage();
        self.open_intake(standing.term);
        if self.followed.is_closed() {
            // on request, by the log: it stays so
            self.is_resting = true;
            self.end = Some((publisher, commands));
            self.machine.handle(clock::now(), Event::LinkClosed);
        } else {
            self.run_link(publisher, commands);
        }
    }

    fn run_link(&mut self, publisher: Publisher, commands: Commands) {
        if let Some(lease) = self.machine.lease() {
            self.give_to_link();
            self.link = Some(LeasedLink::start(self.host.link(publisher, commands, &self.hub), lease));
        }
    }

    async fn close_link(&mut self) {
        if let Some(staging) = &self.staging {
            staging.hand_over();
        }
        self.is_resting = false;
        if self.link.is_none() {
            self.machine.handle(clock::now(), Event::LinkGone);
            return;
        }
        // it takes commands in every round; one that doesn't is stopped soon
        let _ = timeout(TOLD_WITHIN, self.hub.command(Command::Stop)).await;
    }

    fn stop_link(&mut self) {
        if let Some(link) = self.link.take() {
            link.stop();
        }
        self.take_end();
    }

    async fn link_ended(&mut self, end: Option<LinkEnd>) {
        self.link = None;
        self.take_end();
        self.tend_sends(); // others have back what wasn't begun, before another may lead
        self.tell_staged().await;
        match end {
            Some(LinkEnd::GivenUp) => {
                self.given_up = true;
                self.tell(Event::Stop).await;
                self.tell(Event::LinkGone).await;
            }
            Some(LinkEnd::Stopped) => self.tell(Event::LinkGone).await,
            None => self.tell(Event::Timeout).await,
        }
    }

    async fn link_changed(&mut self) {
        let status = self.hub.link().clone();
        let event = match status.state {
            LinkState::Up => Event::LinkUp,
            LinkState::Closed => Event::LinkClosed,
            LinkState::Connecting | LinkState::Waiting | LinkState::Failed => Event::LinkDown,
        };
        if let Some(staging) = &self.staging {
            self.followed.stage(staging.entries().end, status);
        }
        self.tell(event).await;
    }

    /// Has the hub's status of the link be what the log says.
    fn follow_link(&self) {
        if let (Some((publisher, _)), Some(link)) = (&self.end, self.followed.link()) {
            publisher.follow_link(link.clone());
        }
    }

    /// Takes the link's end of the hub, if nobody has it.
    fn take_end(&mut self) {
        if self.end.is_none()
            && self.link.is_none()
            && let Some((publisher, commands)) = self.hub.publisher()
        {
            publisher.only_follow();
            self.host.prepare(&publisher);
            self.end = Some((publisher, commands));
        }
    }

    // ------------------------------------------------------------ clients and people

    fn told(&mut self, tell: Tell) {
        match tell {
            Tell::Attached => {
                tracing::info!("this node goes along with the cluster's log");
                let link = self.followed.link().cloned().unwrap_or_else(|| LinkStatus {
                    state: LinkState::Connecting,
                    since_us: now_us(),
                    ..LinkStatus::default()
                });
                if let Some((publisher, _)) = &self.end {
                    publisher.follow_link(link);
                }
                self.hub.restate();
            }
            Tell::Detached(away) => {
                let why = told::away(away, self.trouble.as_deref());
                tracing::warn!("detached: {why}");
                self.be_away(why);
                self.hub.restate();
            }
            Tell::Differs { node } => {
                tracing::warn!(%node, "the leader's [upstream], or what is said on a connection, isn't this node's: \
                                       make their configurations equal");
            }
        }
    }

    /// Clients are told that the link isn't to be had from here.
    fn be_away(&self, why: String) {
        if let Some((publisher, _)) = &self.end {
            publisher.lose_link(why);
        }
    }

    fn trouble(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!("{trouble}");
        }
        self.trouble = Some(trouble);
        self.show(&self.machine.standing(clock::now()));
    }

    /// Says what has become of this node, where that is new.
    fn say_standing(&mut self) {
        let standing = self.machine.standing(clock::now());
        let now = (standing.term, standing.role);
        if std::mem::replace(&mut self.known, now) == now {
            return;
        }
        self.show(&standing);
        match standing.role {
            Role::Leader => tracing::info!(term = standing.term, "this node leads"),
            Role::Fenced(why) => {
                tracing::warn!(term = standing.term, "this node leads no more: {}", told::fenced(why))
            }
            Role::Candidate => tracing::debug!(term = standing.term, "this node stands"),
            Role::Follower | Role::Detached(_) => {}
        }
    }

    /// Shows clients how this node stands.
    fn show(&self, standing: &Standing) {
        let (counts, trouble) = (self.machine.counts(), self.trouble.as_deref());
        self.hub.change_cluster(|shown| {
            told::show(shown, standing, counts, trouble, Instant::now().into_std());
        });
    }

    // ------------------------------------------------------------ the others

    async fn hear(&mut self, message: Incoming) {
        if self.hear_sends(&message) {
            return;
        }
        let Incoming { subject, reply, payload, .. } = message;
        if subject == self.names.here() {
            let Some(beat) = Beat::read(&payload) else { return };
            let before = self.others.candidates();
            if self.others.hear(Instant::now().into_std(), &beat) == Heard::SameName {
                let name = &self.name;
                self.trouble(format!(
                    "another node of this cluster is named {name}, too: give each machine its own cluster.node"
                ));
            }
            self.count_others(before).await;
            if let Some(epoch) = beat.void {
                self.tell(Event::EpochVoid(epoch)).await;
            }
        } else if subject == self.names.who() {
            let report = Report::of(&self.hub, Instant::now().into_std(), self.run, self.is_candidate);
            if let (Some(report), Some(reply)) = (report, reply) {
                self.nats.say(reply, None, report.write());
            }
        }
    }

    async fn count_others(&mut self, before: usize) {
        let count = self.others.candidates();
        if count != before {
            self.tell(Event::Others(count)).await;
        }
    }

    /// Says that this node is there, now and then, and looks who else is.
    async fn be_there(&mut self) {
        let now = Instant::now();
        if now < self.beat_at {
            return;
        }
        self.beat_at = now + self.lease / 3;
        self.machine.set_fingerprint(&self.host.fingerprint());
        let standing = self.machine.standing(clock::now());
        self.show(&standing);
        let role = standing.role;
        let stands = self.is_candidate && matches!(role, Role::Follower | Role::Candidate | Role::Leader);
        self.nats.say(self.names.here(), None, self.others.beat(stands).write());
        let before = self.others.candidates();
        self.others.forget(now.into_std());
        self.count_others(before).await;
        self.part_from_nodes();
    }

    fn deadline(&self) -> Instant {
        let now = clock::now();
        let machine = self.machine.next_timeout().map(|at| Instant::now() + (at - now));
        let others = machine.into_iter().chain(self.sends.next_timeout());
        others.fold(self.beat_at, |first, at| first.min(at))
    }
}

/// The machine's part of the configuration.
fn settings(cluster: &config::Cluster, fingerprint: &str, hub: &Hub) -> Settings {
    Settings {
        candidate: cluster.candidate,
        step_down_after: cluster.step_down_after,
        max_unacked: cluster.max_unacked,
        max_entry: hub.max_entry(),
        fingerprint: fingerprint.into(),
        ..Settings::new(&cluster.node, cluster.lease)
    }
}

/// A reader that reads nothing, and whom nobody waits for, unless it holds.
fn holder(hub: &Hub) -> Reader {
    let reader = hub.reader();
    reader.offered(u64::MAX, u64::MAX);
    reader
}

async fn ready(publisher: Option<&Publisher>) {
    match publisher {
        Some(publisher) => publisher.ready().await,
        None => pending().await,
    }
}

async fn published(staging: Option<&Staging>) {
    match staging {
        Some(staging) => staging.published().await,
        None => pending().await,
    }
}

async fn ended(link: &mut Option<LeasedLink>) -> Option<LinkEnd> {
    match link {
        Some(link) => link.ended().await,
        None => pending().await,
    }
}
