//! What one link leaves for the next, where there is another: in a cluster.

use super::{Hub, Publisher, Send};

impl Hub {
    /// Says whether what a link leaves unsent is kept for the next one, rather than refused. Whoever says so
    /// [takes it](Publisher::take_kept), since what is kept has told no fate.
    pub fn set_keeps(&self, keeps: bool) {
        self.0.common.keeps.set(keeps);
    }

    /// Whether it is.
    pub(super) fn keeps(&self) -> bool {
        self.0.common.keeps.get()
    }

    /// Keeps a send. It is bounded where it comes from: by the lane, or the outbox that it was in.
    pub fn keep(&self, send: Send) {
        self.0.common.kept.borrow_mut().push(send);
    }

    /// What is kept, each client's sends in their order, to be told that there is no link when the daemon stops.
    pub fn take_kept(&self) -> Vec<Send> {
        self.0.common.kept.take()
    }
}

impl Publisher {
    /// Whether what is left unsent is to be [kept](Publisher::keep).
    pub fn keeps(&self) -> bool {
        self.hub().keeps()
    }

    /// Keeps a send for the next link.
    pub fn keep(&self, send: Send) {
        self.hub().keep(send);
    }

    /// Takes what the link before left unsent, each client's sends in their order. It goes before what is asked now.
    pub fn take_kept(&self) -> Vec<Send> {
        self.hub().take_kept()
    }
}
