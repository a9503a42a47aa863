//! The upstream, and the links to it: there is one at a time.

use super::{
    clock::MS,
    node::LinkSim,
    world::{Happening, To, World},
};
use crate::cluster::machine::Event;

impl World {
    pub(super) fn start_link(&mut self, node: usize) {
        self.links += 1;
        let number = self.links;
        let others: Vec<usize> =
            self.open.keys().copied().filter(|other| !self.frozen_at.contains_key(other)).collect();
        assert!(others.is_empty(), "{:?} has a link open when {node} opens one at {}", others, self.now);
        self.open.insert(node, number);
        self.opened += 1;
        let daemon = self.daemon(node);
        assert!(daemon.link.is_none() && !daemon.hub.staging);
        daemon.hub.staging = true;
        daemon.link = Some(LinkSim { number, up: false, held: false, closing: false });
        let (to, after) = (self.to(node), self.random.u64(20 * MS..300 * MS));
        self.at(self.now + after, to, Happening::LinkUp(number));
    }

    pub(super) fn close_link(&mut self, node: usize) {
        self.open.remove(&node);
        self.frozen_at.remove(&node);
    }

    /// A frozen process keeps its connection. When it wakes, the first thing is to close it, unless nobody can have
    /// opened another.
    pub(super) fn look_at_link_after_sleep(&mut self, node: usize) {
        if let Some(opened) = self.frozen_at.remove(&node)
            && self.open.contains_key(&node)
        {
            assert_eq!(opened, self.opened, "{node} goes on with its link, and another was opened");
        }
    }

    pub(super) fn link_up(&mut self, to: To, number: u64) {
        if self.daemon(to.node).link.is_none_or(|link| link.number != number) {
            return;
        }
        if !self.upstream {
            self.at(self.now + 500 * MS, to, Happening::LinkUp(number));
            return;
        }
        self.daemon(to.node).link.as_mut().unwrap().up = true;
        self.handle(to.node, Event::LinkUp);
        self.at(self.now + self.pause, to, Happening::Said(number));
    }

    /// The upstream says something; the shell reads it if it may.
    pub(super) fn hear(&mut self, to: To, number: u64) {
        let Some(link) = self.daemon(to.node).link.filter(|link| link.number == number) else { return };
        let now = self.local(to.node);
        if self.daemon(to.node).machine.lease().is_none_or(|lease| !lease.holds(now)) {
            return self.handle(to.node, Event::Timeout);
        }
        if !self.upstream {
            self.daemon(to.node).link.as_mut().unwrap().up = false;
            self.handle(to.node, Event::LinkDown);
            self.at(self.now + 500 * MS, to, Happening::LinkUp(number));
            return;
        }
        let pause = self.random.u64(0..2 * self.pause) + 1;
        self.at(self.now + pause, to, Happening::Said(number));
        if link.held || link.closing {
            return;
        }
        let burst = if self.random.u32(0..20) == 0 { self.random.usize(2..60) } else { 1 };
        for _ in 0..burst {
            self.said += 1;
            let length = if self.random.u32(0..50) == 0 { self.random.usize(0..2_500) } else { 1 };
            let text = format!("\"text\":\"{} {}\"", self.said, "x".repeat(length));
            let time = self.now;
            self.daemon(to.node).hub.stage(&text, time);
        }
        self.tell_staged(to.node);
    }

    pub(super) fn link_gone(&mut self, node: usize, number: u64) {
        if self.daemon(node).link.is_none_or(|link| link.number != number) {
            return;
        }
        self.daemon(node).link = None;
        self.close_link(node);
        let time = self.now;
        self.daemon(node).hub.stage("\"json\":\"last words\"", time);
        self.tell_staged(node);
        self.handle(node, Event::LinkGone);
    }
}
