//! What goes wrong.

use super::{
    clock::{MS, S, Us},
    world::{Happening, Network, To, World},
};
use crate::cluster::machine::{Event, Stored};

const NOBODY: To = To { node: usize::MAX, life: 0, conn: 0 };

/// A change of the weather.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// The next fault.
    Next,
    Network(Network),
    Joined(usize),
    ServerUp,
    Quorum,
    Exists,
    Upstream(bool),
    Pause(Us),
    Reads(usize),
}

impl World {
    pub(super) fn change_at(&mut self, at: Us, change: Change) {
        self.at(at, NOBODY, Happening::Weather(change));
    }

    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Next => {
                self.fault();
                let after = self.random.u64(0..40 * S);
                self.change_at(self.now + after, Change::Next);
            }
            Change::Network(network) => self.network = network,
            Change::Joined(node) => self.join(node),
            Change::ServerUp => {
                self.server = true;
                (0..self.nodes.len()).for_each(|node| self.connect(node));
            }
            Change::Quorum => {
                self.quorum = true;
                // what was proposed meanwhile may be stored after all
                for (to, request) in std::mem::take(&mut self.waiting) {
                    if self.random.bool() {
                        self.at(self.now, to, request);
                    }
                }
            }
            Change::Exists => {
                self.exists = true;
                (0..self.nodes.len()).for_each(|node| self.connect(node));
            }
            Change::Upstream(is_there) => self.upstream = is_there,
            Change::Pause(pause) => self.pause = pause,
            Change::Reads(node) => {
                // a consumer that stands still is made anew
                if self.nodes[node].knows_up {
                    self.connect(node);
                }
            }
        }
    }

    pub(super) fn cut(&mut self, node: usize, noticed_after: Us) {
        if !std::mem::replace(&mut self.nodes[node].cut, true) {
            self.disconnect(node, noticed_after);
            self.tell_others();
        }
    }

    pub(super) fn join(&mut self, node: usize) {
        if std::mem::take(&mut self.nodes[node].cut) {
            self.disturb(self.now);
            self.connect(node);
            self.tell_others();
        }
    }

    pub(super) fn server_down(&mut self, time: Us) {
        if !self.server || !self.exists {
            return;
        }
        self.server = false;
        self.disturb(self.now + time);
        for node in 0..self.nodes.len() {
            if !self.nodes[node].cut {
                let after = self.random.u64(0..20 * MS);
                self.disconnect(node, after);
            }
        }
        self.change_at(self.now + time, Change::ServerUp);
    }

    fn time(&mut self, from: Us, to: Us) -> Us {
        self.random.u64(from..to)
    }

    /// A node that isn't chosen at random, half of the time.
    fn victim(&mut self) -> usize {
        match self.leader() {
            Some(leader) if self.random.bool() => leader,
            _ => self.random.usize(0..self.nodes.len()),
        }
    }

    fn fault(&mut self) {
        let node = self.victim();
        match self.random.u32(0..100) {
            0..14 => {
                self.kill(node);
                let after = self.time(100 * MS, 20 * S);
                let (to, at) = (self.to(node), self.now + after);
                self.disturb(self.now);
                self.at(at, to, Happening::Start);
            }
            14..28 => {
                let time = self.time(50 * MS, 8 * S);
                self.freeze(node, time);
                self.disturb(self.now);
            }
            28..42 => {
                let (noticed, time) = (self.time(0, 3 * S), self.time(300 * MS, 15 * S));
                self.cut(node, noticed);
                self.disturb(self.now);
                self.change_at(self.now + time, Change::Joined(node));
            }
            42..49 => {
                let time = self.time(200 * MS, 5 * S);
                self.server_down(time);
            }
            49..51 => {
                // a machine that lost power takes longer to come back than the lease lasts
                if self.server && self.exists && self.loses {
                    let (count, time) = (self.random.usize(1..200), self.lease_us() + self.time(S, 8 * S));
                    self.stream.roll_back(count);
                    self.server_down(time);
                }
            }
            51..58 if self.quorum => {
                let time = self.time(300 * MS, 9 * S);
                self.quorum = false;
                self.disturb(self.now + time);
                self.change_at(self.now + time, Change::Quorum);
            }
            51..70 => {
                let time = self.time(S, 20 * S);
                let network = Network { lost: self.random.u32(0..15), late: self.random.u32(1..15) };
                self.network = network;
                self.disturb(self.now + time);
                self.change_at(self.now + time, Change::Network(Network::default()));
            }
            70..76 => {
                let to = self.to(node);
                self.at(self.now, to, Happening::Tell(Event::Stop));
                let after = self.time(S, 5 * S);
                self.disturb(self.now);
                self.at(self.now + after, to, Happening::Start);
            }
            76..84 => self.strays(),
            84..88 => {
                let count = self.random.usize(usize::from(!self.loses)..20);
                self.stream.keep(count);
            }
            88..92 => {
                if let Some(reading) =
                    self.nodes[node].daemon.as_mut().and_then(|daemon| daemon.read.as_mut())
                {
                    reading.stalled = true;
                    let time = self.time(S, 10 * S);
                    self.disturb(self.now + time);
                    self.change_at(self.now + time, Change::Reads(node));
                }
            }
            92..95 => {
                let time = self.time(S, 60 * S);
                self.upstream = false;
                // those that step down for it leave it to others for a while
                self.disturb(self.now + time + 30 * S + 5 * self.lease_us());
                self.change_at(self.now + time, Change::Upstream(true));
            }
            95..97 => {
                let time = self.time(S, 2 * S);
                let before = std::mem::replace(&mut self.pause, 3 * MS);
                self.change_at(self.now + time, Change::Pause(before.max(S)));
            }
            97..98 => {
                if self.server && self.exists && self.loses {
                    self.delete_stream();
                }
            }
            _ => {
                let ahead = self.random.u64(1..500);
                if self.nodes[node].is_up(self.now) {
                    let seq = self.daemon(node).hub.next + ahead;
                    self.handle(node, Event::Awaited { seq });
                }
            }
        }
    }

    pub(super) fn delete_stream(&mut self) {
        self.stream.begin_anew();
        self.exists = false;
        let time = self.lease_us() + self.time(0, 3 * S);
        self.disturb(self.now + time);
        for node in 0..self.nodes.len() {
            let after = self.time(0, 20 * MS);
            if !self.nodes[node].cut {
                self.disconnect(node, after);
            }
        }
        self.change_at(self.now + time, Change::Exists);
    }

    /// What others write: something, or what was written before, once more.
    fn strays(&mut self) {
        if !self.server || !self.exists || !self.quorum {
            return;
        }
        let from = self.stream.last().saturating_sub(30);
        let old: Vec<Stored> = self.stream.from(from).cloned().collect();
        for _ in 0..self.random.usize(1..6) {
            let stray = match old.get(self.random.usize(0..40)) {
                Some(stored) => stored.clone(),
                None => Stored { place: 0, header: None, body: b"{\"type\":\"message\"}\n".to_vec() },
            };
            self.stream.write(stray);
        }
        self.disturb(self.now);
        self.pump_all();
    }
}
