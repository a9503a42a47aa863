//! How far a session has come in the script. Pure.

use std::time::Instant;

use super::{
    memory::Captures,
    rules::{Rules, StepRule},
};

/// A place in the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not begun.
    Before,
    /// The step of this number is under way, until then at the latest.
    Waits { step: usize, until: Instant },
    /// The step of this number is said anew then, as the server asked.
    Again { step: usize, at: Instant },
    /// All is said and heard.
    Done,
    /// The connection is of no use.
    Failed,
}

impl Progress {
    /// The step under way.
    pub(super) fn step<'r>(&self, rules: &'r Rules) -> Option<&'r StepRule> {
        match self {
            Progress::Waits { step, .. } => rules.steps.get(*step),
            _ => None,
        }
    }
}

/// The next step from `from` on that isn't skipped.
pub(super) fn next(rules: &Rules, from: usize, captures: &Captures) -> Option<usize> {
    let wanted = |step: &StepRule| {
        step.if_captured.iter().all(|name| captures.has(name))
            && !step.unless_captured.iter().any(|name| captures.has(name))
    };
    (from..rules.steps.len()).find(|at| wanted(&rules.steps[*at]))
}
