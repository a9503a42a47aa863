//! What the hub tells of what came from other nodes, until it is said to them.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use crate::{
    cluster::forward::words::Word,
    hub::{self, Fate, NoAnswer},
};

/// So many bytes of answers wait for one node; whose answer doesn't fit has read too slowly.
pub(super) const MAX_ANSWERS: usize = 4 << 20;

/// What has been told.
pub(super) struct Told {
    happened: RefCell<VecDeque<Happened>>,
    stir: Box<dyn Fn()>,
}

/// Something that a node is to hear.
pub(super) enum Happened {
    Fate {
        session: String,
        n: u64,
        fate: Fate,
    },
    Answer {
        session: String,
        n: u64,
        payload: String,
        more: bool,
        failed: bool,
    },
    Nothing {
        session: String,
        n: u64,
        why: NoAnswer,
    },
    Over {
        session: String,
        n: u64,
    },
    Cancelled {
        session: String,
        n: u64,
        is_there: bool,
    },
    /// Anything else.
    Said {
        session: String,
        word: Word,
    },
}

/// How much waits for a node.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Bytes of answers, about.
    pub(super) bytes: Cell<usize>,
    /// Nobody is there any more.
    pub(super) is_gone: Cell<bool>,
}

/// A send that is on its way here. When the hub lets go of it, there is nothing more to tell.
pub(super) struct Entry {
    pub(super) session: String,
    pub(super) n: u64,
    pub(super) told: Rc<Told>,
    pub(super) load: Rc<Load>,
    /// Nobody hears its answers.
    pub(super) has_quit: Cell<bool>,
}

impl Told {
    pub(super) fn new(stir: impl Fn() + 'static) -> Rc<Told> {
        Rc::new(Told { happened: RefCell::default(), stir: Box::new(stir) })
    }

    pub(super) fn push(&self, happened: Happened) {
        self.happened.borrow_mut().push_back(happened);
        self.stir();
    }

    pub(super) fn take(&self) -> Option<Happened> {
        self.happened.borrow_mut().pop_front()
    }

    pub(super) fn stir(&self) {
        (self.stir)();
    }
}

impl Entry {
    /// Nobody hears its answers any more.
    pub(super) fn quit(&self) {
        self.has_quit.set(true);
    }

    pub(super) fn fate(&self, fate: Fate) {
        // it waits in an outbox, if at all, on its own machine
        if fate != Fate::Queued && !self.load.is_gone.get() {
            self.told.push(Happened::Fate { session: self.session.clone(), n: self.n, fate });
        }
    }

    /// Tells of its answers. False when that can't reach the client, and no other will.
    pub(super) fn told(&self, told: hub::Told<'_>) -> bool {
        if self.load.is_gone.get() || self.has_quit.get() {
            return false;
        }
        let (session, n) = (self.session.clone(), self.n);
        match told {
            hub::Told::Answer { payload, more, failed } => {
                let bytes = self.load.bytes.get() + payload.len();
                if bytes > MAX_ANSWERS.max(payload.len()) {
                    self.quit();
                    self.told.push(Happened::Nothing { session, n, why: NoAnswer::Overrun });
                    return false;
                }
                self.load.bytes.set(bytes);
                let payload = payload.to_owned();
                self.told.push(Happened::Answer { session, n, payload, more, failed });
            }
            hub::Told::Nothing(why) => self.told.push(Happened::Nothing { session, n, why }),
        }
        true
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.load.is_gone.get() {
            self.told.push(Happened::Over { session: std::mem::take(&mut self.session), n: self.n });
        }
    }
}
