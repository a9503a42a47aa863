//! What one link leaves to the next.

use std::{cell::RefCell, rc::Rc};

use crate::upstream::machine::Past;

/// What a link leaves to one that follows it in the same process, however it ended: how far the server's limits are
/// used up, and what was captured and counted of its messages, `resume_url` among it. With other settings, of which
/// that would be untrue, the next link forgets it as a reload would have. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub struct Legacy(Rc<RefCell<Option<Past>>>);

impl Legacy {
    /// What the link before has left.
    pub(super) fn take(&self) -> Option<Past> {
        self.0.take()
    }

    /// Leaves it to the next one.
    pub(super) fn leave(&self, past: Past) {
        self.0.replace(Some(past));
    }
}
