//! The other nodes: who is there, and what they are told.

use tokio::time::Instant;

use super::{Node, others::Heard};
use crate::cluster::{
    Host, clock,
    machine::{Event, Role},
    nats::Incoming,
    report::{Beat, Report},
};

/// A longer line on the link isn't said to others.
const MAX_LINK: usize = 8 << 10;

/// What is wrong where two have this name.
fn namesake(name: &str) -> String {
    format!("another node of this cluster is named {name}, too: give each machine its own cluster.node")
}

impl<H: Host> Node<H> {
    pub(super) async fn hear(&mut self, message: Incoming) {
        if self.hear_sends(&message) {
            return;
        }
        let Incoming { subject, reply, payload, .. } = message;
        if subject == self.names.here() {
            let Some(beat) = Beat::read(&payload) else { return };
            let before = self.others.candidates();
            if self.others.hear(Instant::now().into_std(), &beat) == Heard::SameName {
                self.trouble(namesake(&self.name));
            }
            self.count_others(before).await;
            if let Some(link) = &beat.link {
                self.learn_link(&beat.node, link);
            }
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

    /// The leader says how the link is: to a node that was started when the log had let go of the entry that tells.
    fn learn_link(&mut self, node: &str, line: &str) {
        let standing = self.machine.standing(clock::now());
        let is_follower = matches!(standing.role, Role::Follower | Role::Candidate);
        if is_follower && standing.leader.as_deref() == Some(node) && self.followed.learn(line) {
            self.is_unled = true;
            self.heed_silence(&standing);
        }
    }

    pub(super) async fn count_others(&mut self, before: usize) {
        let count = self.others.candidates();
        if count != before {
            self.tell(Event::Others(count)).await;
        }
    }

    /// Says that this node is there, now and then, and looks who else is.
    pub(super) async fn be_there(&mut self) {
        let now = Instant::now();
        if now < self.beat_at {
            return;
        }
        self.beat_at = now + self.lease / 3;
        self.machine.set_fingerprint(&self.host.fingerprint());
        let standing = self.machine.standing(clock::now());
        self.show(&standing);
        self.heed_silence(&standing);
        let role = standing.role;
        let stands = self.is_candidate && matches!(role, Role::Follower | Role::Candidate | Role::Leader);
        let link = self.followed.link().filter(|_| role == Role::Leader).map(|link| link.line(None));
        let link = link.and_then(|line| String::from_utf8(line).ok()).filter(|line| line.len() <= MAX_LINK);
        self.nats.say(self.names.here(), None, Beat { link, ..self.others.beat(stands) }.write());
        let before = self.others.candidates();
        self.others.forget(now.into_std());
        if !self.others.has_namesake() {
            self.trouble.take_if(|trouble| *trouble == namesake(&self.name));
        }
        self.count_others(before).await;
        self.part_from_nodes();
    }
}
