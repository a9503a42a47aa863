//! What a session makes of the server's own numbers. Pure.

use super::{Effect, Session, rules::Rules};
use crate::{
    config::{OnHole, Remedy},
    upstream::{context::Context, matcher::Look, sequence::number},
};

impl Session {
    /// Looks at the server's own number.
    pub(super) fn count(&mut self, context: &mut Context<'_>, rules: &Rules, look: &Look<'_>) {
        let Some(sequence) = &rules.sequence else { return };
        let Some(number) = look.get(sequence.number).and_then(number) else { return };
        let per = sequence.per.map(|per| look.get(per).unwrap_or_default());
        let key = per.unwrap_or_default();
        let is_first = !self.counts.has(key);
        let here = self.counts.next(key, number);
        let before = context.memory.counts.next(key, number);
        // the first number goes on from the last connection's, unless that one is still heard
        let missing = match is_first {
            true if context.memory.sessions() > 1 => None,
            true => before,
            false => here,
        };
        let Some((from, to)) = missing else { return };
        // what a message without this key is counted for has no name
        let per = per.filter(|per| !per.is_empty()).map(str::to_owned);
        self.effects.push_back(Effect::Hole { from, to, per });
        let then = match sequence.on_hole {
            OnHole::Declare => return,
            OnHole::Reconnect => Remedy::Retry,
            OnHole::Fresh => Remedy::Fresh,
        };
        self.fail(format!("the server's count has a hole from {from} to {to}"), then);
    }
}
