//! How a session's script goes, for who follows it. Pure.

use std::time::Duration;

use super::{Effect, Session};
use crate::config::Say;

/// How far a script has come, by the numbers of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Mark {
    /// The step begins; what it sends follows.
    Begins(usize),
    /// The step is left out, since of its captures one is there or isn't.
    Skips(usize),
    /// The step's expected message came when little of its `timeout` was left. [`Mark::Met`] follows.
    Narrow { step: usize, left: Duration, limit: Duration },
    /// The step's expected message is the one that was just heard.
    Met(usize),
}

/// Whether what came with so much of its limit left came only just in time: on a worse day it won't.
pub(in crate::upstream) fn is_narrow(left: Duration, limit: Duration) -> bool {
    left < limit / 10
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_a_tenth_is_narrow() {
        let ms = Duration::from_millis;
        for (left, limit, narrow) in [
            (1_000, 10_000, false),
            (999, 10_000, true),
            (0, 10, true),
            (10_000, 10_000, false),
            (0, 0, false),
        ] {
            assert_eq!(is_narrow(ms(left), ms(limit)), narrow, "{left} of {limit}");
        }
    }
}
