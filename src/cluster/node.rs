//! One node of a cluster: the loop around its machine. What has happened is told to it, and what it wants is done, in
//! order.

use std::{future::pending, rc::Rc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    Host, LinkEnd, clock,
    machine::{Away, Event, Machine, Order, Role, Settings},
    nats::{self, Arrival, Arrivals, Names, Nats},
    report::Beat,
};
use crate::{
    config,
    hub::{ClusterNow, Command, Commands, CountedBeside, Hub, Publisher, Reader, Staging, Supervisor},
};

mod company;
mod entries;
mod followed;
mod leading;
mod link;
mod others;
mod people;
mod sends;
mod terms;
#[cfg(test)]
mod tests;
mod told;

use followed::Followed;
use link::LeasedLink;
use others::Others;
use people::{Complaints, Untold};
use sends::Sends;
use terms::Terms;

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
    terms: Terms,
    complaints: Complaints,
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
    /// How far the server has counted in what is no entry.
    counted: CountedBeside,
    sends: Sends,

    /// Clients are told that no machine has the link, whatever its last entry says.
    is_unled: bool,
    /// What they aren't told yet.
    untold: Option<Untold>,
    /// This node goes along with the log.
    is_attached: bool,
    /// Since it does, the leader has written something.
    is_heard: bool,

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
    /// A reload has changed the link's settings.
    Reconfigured,
    Stop,
    Time,
}

impl<H: Host> Node<H> {
    /// A node that has just been started, in front of an empty hub.
    pub(crate) fn new(cluster: &config::Cluster, history: &config::History, hub: Hub, host: H) -> Node<H> {
        let seed = getrandom::u64().unwrap_or_else(|_| fastrand::u64(..));
        Node::over(nats::connect(cluster, history), cluster, hub, host, seed)
    }

    /// One that has this way to NATS, and this number of its own.
    fn over(
        (nats, arrivals): (Nats, Arrivals),
        cluster: &config::Cluster,
        hub: Hub,
        host: H,
        seed: u64,
    ) -> Node<H> {
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
            terms: Terms::default(),
            complaints: Complaints::default(),
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
            counted: CountedBeside::default(),
            is_unled: false,
            untold: None,
            is_attached: false,
            is_heard: false,
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
        let Node { arrivals, link, staging, end, supervisor, hub, sends, host, .. } = self;
        let leads = link.is_some();
        // what comes faster than clients are offered it waits in NATS, but for what a leader hears: a link that was held
        // back leaves its hold behind, and what it left is still to be acknowledged
        let is_ready = staging.is_some() || end.as_ref().is_none_or(|(publisher, _)| publisher.is_ready());
        let (publisher, commands) = end.as_mut().map(|(publisher, commands)| (publisher, commands)).unzip();
        tokio::select! {
            () = stop.notified() => Happening::Stop,
            arrival = arrivals.next(), if is_ready => Happening::Arrival(arrival),
            () = ready(publisher.as_deref()), if !is_ready => Happening::Time,
            end = ended(link) => Happening::LinkEnded(end),
            () = supervisor.link_changed(), if leads => Happening::LinkChanged,
            () = published(staging.as_ref()) => Happening::Staged,
            seq = hub.awaited() => Happening::Awaited(seq),
            () = host.changed() => Happening::Reconfigured,
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
            Happening::Reconfigured => self.prepare(),
            Happening::Stop => self.tell(Event::Stop).await,
            Happening::Time => self.tell(Event::Timeout).await,
        }
        self.be_there().await;
        if self.untold.as_ref().is_some_and(|untold| untold.at <= Instant::now()) {
            self.tell_untold();
        }
        self.tend_sends();
    }

    /// Tells the machine, and does what it wants, in order.
    async fn tell(&mut self, event: Event) {
        match &event {
            Event::NatsUp => self.trouble = None,
            Event::Read(..) => {
                self.sends.alive();
                if self.is_attached && !std::mem::replace(&mut self.is_heard, true) {
                    self.untold = None; // nothing was missed
                    self.beat_at = Instant::now(); // who is told how the link is hears it now
                }
            }
            Event::NatsDown => self.others.forget(Instant::now().into_std()),
            Event::StreamGone => self.say_gone(),
            _ => {}
        }
        self.tell_counted();
        let (is_gone, breaches) = (event == Event::StreamGone, self.machine.counts().breaches);
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
        if is_gone {
            self.tell_worse(Away::Gone); // that NATS can't be reached was said before
        } else if self.machine.counts().breaches != breaches {
            self.tell_worse(Away::Breach);
        }
        self.say_standing();
        self.say_strays();
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
            Order::Counted { list } => self.note_counted(&list),
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

    fn deadline(&self) -> Instant {
        let now = clock::now();
        let machine = self.machine.next_timeout().map(|at| Instant::now() + (at - now));
        let topics = self.end.as_ref().and_then(|(publisher, _)| publisher.topics().next_timeout());
        let topics = topics.map(Instant::from_std);
        let untold = self.untold.as_ref().map(|untold| untold.at);
        let others = machine.into_iter().chain(self.sends.next_timeout()).chain(topics).chain(untold);
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
