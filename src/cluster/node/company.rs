//! The other nodes: who is there, and what they are told.

use tokio::time::Instant;

use super::{Node, others::Heard};
use crate::cluster::{
    Host, clock,
    machine::{Event, Role},
    nats::Incoming,
    report::{Beat, Report},
};

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
        self.nats.say(self.names.here(), None, self.others.beat(stands).write());
        let before = self.others.candidates();
        self.others.forget(now.into_std());
        self.count_others(before).await;
        self.part_from_nodes();
    }
}
