//! How a session's script goes, for who follows it. Pure.

use super::{Effect, Session};
use crate::config::Say;

/// How far a script has come, by the numbers of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Mark {
    /// The step begins; what it sends follows.
    Begins(usize),
    /// The step is left out, since of its captures one is there or isn't.
    Skips(usize),
    /// The step's expected message is the one that was just heard.
    Met(usize),
}

/// A step of the script, for people: nothing in it is secret.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) struct ShownStep<'a> {
    pub(in crate::upstream) name: &'a str,
    /// What it sends, with its placeholders as configured.
    pub(in crate::upstream) sent: Option<String>,
}

impl Session {
    /// From now on it also says how the script goes, by [`Effect::Script`].
    pub(in crate::upstream) fn follow(&mut self) {
        self.is_followed = true;
    }

    /// The step of this number, for people.
    pub(in crate::upstream) fn told(&self, step: usize) -> Option<ShownStep<'_>> {
        let step = self.rules.steps.get(step)?;
        let sent = step.send.as_ref().map(Say::shown);
        Some(ShownStep { name: &step.name, sent })
    }

    /// Says so, if the script is followed.
    pub(super) fn mark(&mut self, mark: Mark) {
        if self.is_followed {
            self.effects.push_back(Effect::Script(mark));
        }
    }
}
