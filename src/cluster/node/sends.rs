//! What clients ask of the link, wherever it is: of this node's own, or of the leader's.

use std::{collections::BTreeSet, rc::Rc};

use tokio::{sync::Notify, time::Instant};

use super::Node;
use crate::{
    cluster::{
        Host, clock,
        forward::{Forward, Intake, Leader, Out, Settings},
        machine::Role,
        nats::{Incoming, Nats},
    },
    config,
    hub::{Command, Commands, Fate, LinkState, Publisher, Subscriptions},
};

/// So many commands are taken in one turn.
const COMMANDS_PER_TURN: usize = 256;

/// This node's part in what is sent.
pub(super) struct Sends {
    prefix: String,
    node: Rc<str>,
    lease: std::time::Duration,
    forward: Forward,
    /// What comes from other nodes, while this one leads, and of which term.
    intake: Option<(u64, Intake)>,
    /// The intake has something to say.
    pub(super) stirred: Rc<Notify>,
    /// What was told of who leads.
    leads: bool,
    leader: Option<Leader>,
    /// When the log was last heard.
    alive: Option<Instant>,
    /// Who was there.
    nodes: BTreeSet<String>,
    taken: u64,
}

impl Sends {
    pub(super) fn new(cluster: &config::Cluster, outbox: config::Outbox, nats: &Nats, seed: u64) -> Sends {
        let (prefix, node) = (format!("wsfan.{}", cluster.name), cluster.node.as_str().into());
        let settings = settings_of(&prefix, &node, cluster.lease, nats);
        Sends {
            prefix,
            node,
            lease: cluster.lease,
            forward: Forward::new(settings, outbox, seed),
            intake: None,
            stirred: Rc::default(),
            leads: false,
            leader: None,
            alive: None,
            nodes: BTreeSet::new(),
            taken: 0,
        }
    }

    /// The log was heard.
    pub(super) fn alive(&mut self) {
        let now = Instant::now();
        self.alive = Some(now);
        self.forward.alive(now.into_std());
    }

    /// When nothing will have been heard of it for as long as a leader may be silent.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        self.alive.map(|alive| alive + self.lease)
    }

    /// How many sends came from other nodes, or went to them.
    pub(super) fn forwarded(&self) -> u64 {
        let taken = self.taken + self.intake.as_ref().map_or(0, |(_, intake)| intake.taken());
        self.forward.forwarded() + taken
    }

    /// When there is something to do, if nothing else happens before.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let now = Instant::now();
        let intake = self.intake.as_ref().and_then(|(_, intake)| intake.next_timeout(now.into_std()));
        let others = self.forward.next_timeout().into_iter().chain(intake).map(Instant::from_std);
        let silent = self.leader.and(self.alive).map(|alive| alive + self.lease).filter(|at| *at > now);
        others.chain(silent).min()
    }
}

fn settings_of(prefix: &str, node: &Rc<str>, lease: std::time::Duration, nats: &Nats) -> Settings {
    Settings {
        prefix: prefix.to_owned(),
        inbox: nats.inbox(),
        node: Rc::clone(node),
        lease,
        max_payload: nats.max_payload(),
    }
}

impl<H: Host> Node<H> {
    /// This node begins to lead: it hears what others send.
    pub(super) fn open_intake(&mut self, term: u64) {
        let sends = &mut self.sends;
        let settings = settings_of(&sends.prefix, &sends.node, sends.lease, &self.nats);
        let stirred = Rc::clone(&sends.stirred);
        let intake = Intake::new(settings, self.hub.clone(), move || stirred.notify_one());
        sends.intake = Some((term, intake));
        self.nats.hear(&self.names.send(term));
    }

    /// It leads no more: what is still to be told to others is.
    pub(super) fn close_intake(&mut self) {
        self.say_intake();
        if let Some((term, mut intake)) = self.sends.intake.take() {
            intake.close(Instant::now().into_std());
            self.sends.taken += intake.taken();
            self.nats.hear_no_more(&self.names.send(term));
        }
    }

    fn say_intake(&mut self) {
        let now = Instant::now().into_std();
        if let Some((_, intake)) = &mut self.sends.intake {
            while let Some(Out { subject, reply, payload }) = intake.poll(now) {
                self.nats.say(subject, reply, payload);
            }
        }
    }

    /// The link is about to be this node's: it begins with what waits here.
    pub(super) fn give_to_link(&mut self, publisher: &Publisher, commands: &mut Commands) {
        publisher.with_topics(Subscriptions::forget_elsewhere);
        self.sends.leads = true;
        let now = Instant::now().into_std();
        self.sends.forward.lead(now, true);
        // what others gave back goes before what its client has asked since
        let in_doubt: BTreeSet<u64> = self.sends.forward.in_doubt().collect();
        if !in_doubt.is_empty() {
            self.hub.hold_back(in_doubt, &self.sends.stirred);
            let asked: Vec<Command> = std::iter::from_fn(|| commands.try_recv()).collect();
            for command in asked {
                if let Err(Command::Send(send)) = self.hub.offer(command) {
                    self.hub.keep(send);
                }
            }
        }
        self.sends.forward.hand_over().into_iter().for_each(|send| self.hub.keep(send));
    }

    /// Clients of whom nothing is in doubt any more ask the link themselves again.
    fn tend_held_back(&mut self, now: std::time::Instant) {
        if self.hub.holds_back() {
            let held = self.hub.take_held_back();
            held.into_iter().for_each(|command| self.sends.forward.command(now, command));
            let in_doubt = self.sends.forward.in_doubt().filter(|_| self.link.is_some());
            self.hub.hold_back(in_doubt.collect(), &self.sends.stirred);
        }
    }

    /// Takes a message that is about sends. False where it isn't.
    pub(super) fn hear_sends(&mut self, message: &Incoming) -> bool {
        let now = Instant::now().into_std();
        let Incoming { subject, reply, status, payload } = message;
        if let Some((term, intake)) = &mut self.sends.intake
            && *subject == self.names.send(*term)
        {
            intake.heard(now, reply.as_deref(), payload);
            return true;
        }
        self.sends.forward.heard(now, subject, *status, payload)
    }

    /// A client asks something of the link, which isn't here.
    pub(super) fn command(&mut self, command: Command) {
        self.ask(command);
        for _ in 1..COMMANDS_PER_TURN {
            let next = self.end.as_mut().and_then(|(_, commands)| commands.try_recv());
            let Some(command) = next else { break };
            self.ask(command);
        }
    }

    fn ask(&mut self, command: Command) {
        let is_order = matches!(command, Command::Open | Command::Reconnect | Command::Close);
        if self.is_resting && is_order {
            // the link is this node's, and closed
            if !matches!(command, Command::Close)
                && let Some((publisher, commands)) = self.end.take()
            {
                self.is_resting = false;
                self.run_link(publisher, commands);
            }
            return;
        }
        self.know_leader();
        self.sends.forward.command(Instant::now().into_std(), command);
    }

    /// Clients have left.
    pub(super) fn part(&mut self) {
        if let Some((publisher, _)) = &self.end {
            publisher.take_left().iter().for_each(|from| self.sends.forward.left(from));
        }
    }

    /// Who leads, as far as is known, and how its link is.
    fn know_leader(&mut self) {
        let now = Instant::now();
        let standing = self.machine.standing(clock::now());
        let is_heard = self.sends.alive.is_some_and(|alive| now < alive + self.lease);
        let link = self.hub.link().state;
        let conn = self.followed.link().map_or(0, |link| link.conn);
        let leader = match standing.role {
            // its own, and closed
            Role::Leader if self.is_resting => {
                Some(Leader { term: standing.term, link: LinkState::Closed, conn })
            }
            Role::Follower | Role::Candidate if is_heard && standing.leader.is_some() => {
                Some(Leader { term: standing.term, link, conn })
            }
            _ => None,
        };
        if self.sends.leader != leader {
            self.sends.leader = leader;
            self.sends.forward.leader(now.into_std(), leader);
        }
    }

    /// Says and takes what there is to say and to take, after each turn.
    pub(super) fn tend_sends(&mut self) {
        let now = Instant::now().into_std();
        let leads = self.link.is_some();
        if std::mem::replace(&mut self.sends.leads, leads) && !leads {
            self.sends.forward.lead(now, false);
            self.sends.leader = None;
        }
        if leads {
            self.sends.leader = None;
        } else {
            self.know_leader();
            let kept = self.hub.take_kept();
            if !kept.is_empty() {
                self.sends.forward.take_over(now, kept);
            }
        }
        if self.sends.forward.next_timeout().is_some_and(|at| at <= now) {
            self.sends.forward.timeout(now);
        }
        if let Some((_, intake)) = &mut self.sends.intake
            && intake.next_timeout(now).is_some_and(|at| at <= now)
        {
            intake.timeout(now);
        }
        self.tend_held_back(now);
        if leads {
            let sends = self.sends.forward.hand_over().into_iter().map(Command::Send);
            for command in sends.chain(self.sends.forward.hand_over_orders()) {
                if let Err(Command::Send(send)) = self.hub.offer(command) {
                    self.sends.forward.take_over(now, vec![send]);
                }
            }
        } else if let Some((publisher, _)) = &self.end {
            publisher.set_waiting(self.sends.forward.waiting());
            publisher.with_topics(|topics| {
                if topics.next_timeout().is_some_and(|at| at <= now) {
                    topics.timeout(now);
                }
                self.sends.forward.tend_topics(now, topics);
            });
        }
        while let Some(Out { subject, reply, payload }) = self.sends.forward.poll(now) {
            self.nats.say(subject, reply, payload);
        }
        self.say_intake();
        if self.sends.forward.take_refused() {
            self.tell_untold(); // who was refused waits for the link
        }
    }

    /// Who isn't there any more waits for nothing.
    pub(super) fn part_from_nodes(&mut self) {
        let now = Instant::now().into_std();
        let there: BTreeSet<String> = self.others.names().map(str::to_owned).collect();
        for gone in self.sends.nodes.difference(&there) {
            if let Some((_, intake)) = &mut self.sends.intake {
                intake.gone(now, gone);
            }
        }
        self.sends.nodes = there;
        self.sends.forward.set_outbox(self.host.outbox());
        self.hub.change_cluster(|shown| shown.counts.forwarded = self.sends.forwarded());
    }

    /// The daemon ends: what waits isn't sent.
    pub(super) fn end_sends(&mut self) {
        self.close_intake();
        self.hub.set_keeps(false);
        self.end = None; // what is still asked hears it
        let unsent = self.hub.take_kept();
        unsent.into_iter().for_each(|send| send.ticket.settle(Fate::LinkDown(LinkState::Closed)));
        self.sends.forward.stop();
    }
}

/// The next of what is asked, where the link isn't here.
pub(super) async fn command(commands: Option<&mut Commands>) -> Command {
    match commands {
        Some(commands) => match commands.recv().await {
            Some(command) => command,
            None => std::future::pending().await, // it is nobody's any more
        },
        None => std::future::pending().await,
    }
}

/// Clients have left, or asked for topics.
pub(super) async fn stirred(publisher: Option<&Publisher>) {
    match publisher {
        Some(publisher) => publisher.stirred().await,
        None => std::future::pending().await,
    }
}
