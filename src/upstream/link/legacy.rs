//! What one link leaves to the next.

use std::{cell::RefCell, rc::Rc};

use crate::upstream::machine::Pacing;

/// What a link leaves to one that follows it in the same process: how far the server's limits are used up, since it
/// counts by account or address and knows nothing of links. Clones are handles to the same.
///
/// What was captured isn't left: it belongs to the session that has ended.
#[derive(Debug, Clone, Default)]
pub struct Legacy(Rc<RefCell<Option<Pacing>>>);

impl Legacy {
    pub(super) fn take(&self) -> Option<Pacing> {
        self.0.take()
    }

    pub(super) fn leave(&self, pacing: Pacing) {
        self.0.replace(Some(pacing));
    }
}
