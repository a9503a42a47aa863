//! The NATS server, and the way to it.

use super::{
    clock::MS,
    world::{Happening, To, World},
};
use crate::cluster::machine::{Answer, Event, Stored};

impl World {
    pub(super) fn send(&mut self, to: To, request: Happening) {
        if self.nodes[to.node].cut {
            return;
        }
        if let Some(delay) = self.delay() {
            let mut at = self.now + delay;
            if self.network.late == 0 {
                at = at.max(self.nodes[to.node].newest_request);
                self.nodes[to.node].newest_request = at;
            }
            self.at(at, to, request);
        }
    }

    /// What the server does with a request.
    pub(super) fn serve(&mut self, to: To, request: Happening) {
        if !self.server || !self.exists {
            return;
        }
        if !self.quorum {
            // some servers say so, and store it later after all
            let says_so = self.random.bool();
            match &request {
                Happening::Append { id, .. } if says_so => self.answer(to, Event::Unclear(*id)),
                Happening::Ask { id, .. } if says_so => self.answer(to, Event::NoAnswer(*id)),
                _ => {}
            }
            if matches!(request, Happening::Append { .. }) {
                self.waiting.push((to, request));
            }
            return;
        }
        match request {
            Happening::Append { id, expect, message } => {
                let event = match self.stream.append(expect, &message) {
                    Some(place) => {
                        self.pump_all();
                        Event::Acked(id, place)
                    }
                    None => Event::Refused(id),
                };
                self.answer(to, event);
            }
            Happening::Ask { id, from } => {
                let few = self.random.usize(1..40);
                let messages: Vec<Stored> = self.stream.from(from).take(few).cloned().collect();
                let last = self.stream.last();
                let covered = match messages.last() {
                    Some(newest) if messages.len() == few => newest.place,
                    _ => last,
                };
                self.answer(to, Event::Answer(Answer { id, last, covered, messages }));
            }
            Happening::Read => self.pump(to.node),
            _ => {}
        }
    }

    pub(super) fn answer(&mut self, to: To, event: Event) {
        if let Some(delay) = self.delay() {
            self.at(self.now + delay, to, Happening::Tell(event));
        }
    }

    pub(super) fn pump_all(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.pump(node));
    }

    /// What is new in the stream goes out to who reads it, in order.
    pub(super) fn pump(&mut self, node: usize) {
        let to = self.to(node);
        let Some(mut reading) = self.nodes[node].daemon.as_ref().and_then(|daemon| daemon.read) else {
            return;
        };
        if reading.conn != to.conn || reading.stalled || self.nodes[node].cut || !self.server {
            return;
        }
        let news: Vec<Stored> = self.stream.from(reading.cursor).cloned().collect();
        for stored in news {
            let delay = if self.network.late > 0 { 200 * MS } else { 2 * MS };
            reading.newest = (self.now + self.random.u64(100..delay)).max(reading.newest);
            reading.cursor = stored.place + 1;
            self.at(reading.newest, to, Happening::Tell(Event::Read(reading.id, stored)));
        }
        self.daemon(node).read = Some(reading);
    }
}
