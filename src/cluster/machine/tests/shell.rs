//! The shell of a simulated node: it does what the machine wants, and looks at what must always hold.

use std::collections::BTreeMap;

use super::{
    clock::MS,
    node::{Daemon, Reading},
    world::{Happening, World},
};
use crate::cluster::machine::{Event, Moment, Opening, Order, Tell, entries, opening};

impl World {
    /// Tells a machine, does what it wants, and looks at what must always hold.
    pub(super) fn handle(&mut self, node: usize, event: Event) {
        let now = self.local(node);
        let Some(daemon) = &mut self.nodes[node].daemon else { return };
        daemon.machine.handle(now, event);
        loop {
            let Some(daemon) = &mut self.nodes[node].daemon else { return };
            if let Some(order) = daemon.machine.poll_order() {
                self.carry_out(node, order);
            } else if let Some(wanted) = daemon.machine.wanted() {
                let (lines, end) = daemon.hub.lines(wanted.first, wanted.max_bytes);
                assert!(end > wanted.first, "what it wants is staged");
                daemon.machine.handle(now, Event::Lines { first: wanted.first, end, lines });
            } else {
                break;
            }
        }
        self.look_at_link_after_sleep(node);
        let Some(daemon) = &self.nodes[node].daemon else { return };
        let Some(next) = daemon.machine.next_timeout() else { return };
        let when = self.nodes[node].clock.when(next).max(self.now + 1);
        if self.nodes[node].timer.is_none_or(|timer| timer > when) {
            self.nodes[node].timer = Some(when);
            let to = self.to(node);
            self.at(when, to, Happening::Timer);
        }
    }

    pub(super) fn local(&self, node: usize) -> Moment {
        self.nodes[node].clock.at(self.now)
    }

    pub(super) fn carry_out(&mut self, node: usize, order: Order) {
        let to = self.to(node);
        match order {
            Order::Append { id, expect, message } => self.send(to, Happening::Append { id, expect, message }),
            Order::Ask { id, from } => self.send(to, Happening::Ask { id, from }),
            Order::Read { id, after } => {
                let reading = Reading { id, conn: to.conn, cursor: after + 1, newest: 0, stalled: false };
                self.daemon(node).read = Some(reading);
                self.send(to, Happening::Read);
            }
            Order::StopReading => self.daemon(node).read = None,
            Order::Open { term, first, failover } => {
                let name = self.nodes[node].name.clone();
                let after_us = failover.then_some(1);
                let lines = opening(&Opening {
                    first,
                    time_us: self.now,
                    node: &name,
                    term,
                    conn: 0,
                    closed: false,
                    after_us,
                });
                let now = self.local(node);
                self.daemon(node).machine.handle(now, Event::Opened { term, lines });
            }
            Order::Epoch { epoch, first } => {
                let hub = &mut self.daemon(node).hub;
                assert!(!hub.epochs.iter().any(|known| **known == *epoch), "no epoch comes back");
                assert!(!hub.staging, "nothing is staged");
                hub.epochs.push(epoch.to_string());
                (hub.epoch, hub.next) = (epoch.to_string(), first);
            }
            Order::Deliver { first, lines } => {
                assert!(!self.daemon(node).hub.staging, "nothing is staged");
                for entry in entries(&lines) {
                    self.give(node, entry.seq, entry.line);
                }
                assert!(self.daemon(node).hub.next > first);
            }
            Order::Skip { to } => {
                let hub = &mut self.daemon(node).hub;
                assert!(to > hub.next && !hub.staging);
                hub.skipped += to - hub.next;
                hub.next = to;
            }
            Order::StartLink => self.start_link(node),
            Order::CloseLink => {
                let link = self.daemon(node).link.as_mut().expect("there is one to close");
                link.closing = true;
                let number = link.number;
                // some servers never answer
                let after = self.random.u64(0..300 * MS);
                self.at(self.now + after, to, Happening::LinkGone(number));
            }
            Order::StopLink => {
                assert!(self.daemon(node).link.take().is_some(), "there is one to stop");
                self.close_link(node);
            }
            Order::Hold(held) => {
                let link = self.daemon(node).link.as_mut();
                link.expect("there is one to hold").held = held;
            }
            Order::Commit { through } => self.commit(node, through),
            Order::Counted { .. } => {}
            Order::Cut => {
                let daemon = self.daemon(node);
                daemon.hub.staging = false;
                daemon.hub.staged.clear();
                assert!(daemon.link.is_none(), "what it brings has no place");
            }
            Order::Tell(tell) => {
                let daemon = self.daemon(node);
                match tell {
                    Tell::Attached => assert!(!std::mem::replace(&mut daemon.attached, true)),
                    Tell::Detached(_) => assert!(std::mem::take(&mut daemon.attached)),
                    Tell::Differs { .. } | Tell::GivesUp => {}
                }
            }
            Order::AskNewEpoch { epoch } => {
                for other in 0..self.nodes.len() {
                    let to = self.to(other);
                    let event = Event::EpochVoid(epoch.to_string());
                    self.at(self.now + MS, to, Happening::Tell(event));
                }
            }
            Order::NotThere { .. } => self.not_there += 1,
            Order::Finish => {
                assert!(self.daemon(node).link.is_none());
                self.kill(node);
            }
        }
    }

    pub(super) fn daemon(&mut self, node: usize) -> &mut Daemon {
        self.nodes[node].daemon.as_mut().expect("it runs")
    }

    pub(super) fn tell_staged(&mut self, node: usize) {
        let hub = &self.daemon(node).hub;
        let event = Event::Staged { end: hub.end(), bytes: hub.staged_bytes() };
        self.handle(node, event);
    }

    pub(super) fn commit(&mut self, node: usize, through: u64) {
        assert!(self.daemon(node).hub.staging);
        while self.daemon(node).hub.next <= through {
            let (seq, line) = self.daemon(node).hub.staged.pop_front().expect("it is staged");
            self.give(node, seq, &line);
        }
        if self.daemon(node).hub.staging {
            let hub = &self.daemon(node).hub;
            let event = Event::Staged { end: hub.end(), bytes: hub.staged_bytes() };
            let now = self.local(node);
            self.daemon(node).machine.handle(now, event);
        }
    }

    /// A node's clients get an entry.
    pub(super) fn give(&mut self, node: usize, seq: u64, line: &[u8]) {
        let hub = &mut self.daemon(node).hub;
        assert_eq!(seq, hub.next, "no hole and no double on {node}");
        hub.next += 1;
        let epoch = hub.epoch.clone();
        assert!(
            self.stream.reference.has(&epoch, seq, line),
            "{seq} in {epoch} isn't stored: {node}, {line:?}"
        );
        self.entries += 1;
        if !self.served.contains_key(&epoch) {
            self.served.insert(epoch.clone(), BTreeMap::new());
        }
        let served = self.served.get_mut(&epoch).unwrap();
        let known = served.entry(seq).or_insert_with(|| line.to_vec());
        if known != line {
            assert!(self.stream.reference.is_double(&epoch, seq), "{seq} in {epoch} is two entries");
            self.doubles += 1;
        }
    }
}
