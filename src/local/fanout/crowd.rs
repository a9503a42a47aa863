//! Clients that are offered what is new at the same moments: at once, or as soon as they don't linger any more.

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use crate::local::{linger::Linger, selections::Selections};

/// What those who linger for as long have in common.
#[derive(Debug)]
pub(super) struct Crowd {
    length: Duration,
    pub(super) linger: RefCell<Linger>,
    /// What those want that narrow.
    pub(super) selections: RefCell<Selections>,
    /// Those of them that are behind, or held back: the others needn't be looked at but for what they want.
    pub(super) behind: RefCell<BTreeSet<u64>>,
}

impl Crowd {
    /// Nobody, at the log's head.
    pub(super) fn new(length: Duration, head: u64) -> Crowd {
        Crowd {
            length,
            linger: RefCell::new(Linger::new(length, head)),
            selections: RefCell::default(),
            behind: RefCell::default(),
        }
    }

    /// How late they get what is new at most; zero is at once.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// Whether news wait for them at all.
    pub(super) fn lingers(&self) -> bool {
        !self.length.is_zero()
    }
}
