//! What a session makes of the server's own numbers. Pure.

use super::{
    Effect, Purpose, Session,
    context::Context,
    matcher::Look,
    rules::{Rules, SequenceRule},
    sequence::{Missing, number},
};
use crate::{
    config::{OnHole, Remedy},
    hub::Hole,
};

impl Session {
    /// Looks at the server's own number.
    pub(super) fn count(&mut self, context: &mut Context<'_>, rules: &Rules, look: &Look<'_>) {
        let Some(sequence) = &rules.sequence else { return };
        let Some(number) = look.get(sequence.number).and_then(number) else { return };
        let per = sequence.per.map(|per| look.get(per).unwrap_or_default());
        let key = per.unwrap_or_default();
        let is_first = !self.counts.has(key);
        let here = self.counts.next(key, number).filter(|_| !is_first);
        let before = self.count_on(context, key, number, is_first);
        let Some((from, to)) = before.or(here) else { return };
        // what a message without this key is counted for has no name
        let name = per.filter(|per| !per.is_empty()).map(str::to_owned);
        for (from, to) in [before, here].into_iter().flatten() {
            self.holes.push(Hole { from, to, per: name.clone() });
        }
        let then = match sequence.on_hole {
            OnHole::Declare => return self.tell_hole(context, sequence, look),
            OnHole::Reconnect => Remedy::Retry,
            OnHole::Forget => Remedy::Forget,
        };
        self.fail(format!("the server's count has a hole from {from} to {to}"), then);
    }
    /// Says what there is to say to the server about a hole.
    fn tell_hole(&mut self, context: &mut Context<'_>, sequence: &SequenceRule, look: &Look<'_>) {
        let Some((send, fields)) = &sequence.send else { return };
        match self.render(context, send, Some(&look.with(fields)), None) {
            Ok(payload) => self.effects.push_back(Effect::Send(payload, Purpose::Reply)),
            Err(why) => self.fail(format!("sequence.send can't be sent: {why}"), Remedy::Retry),
        }
    }

    /// Goes on from what was heard before this connection, and says what is missing in between. Where
    /// another one is still heard, that may come over it: it is missing once that one is gone.
    fn count_on(
        &mut self,
        context: &mut Context<'_>,
        key: &str,
        number: u64,
        is_first: bool,
    ) -> Option<Missing> {
        let is_alone = context.memory.sessions() <= 1;
        let mut counts = context.memory.counts();
        if is_first && !is_alone && self.counts.has(key) {
            self.joins.insert(key.to_owned(), number);
        }
        let Some(first) = self.joins.get(key).copied() else {
            return counts.next(key, number).filter(|_| is_first);
        };
        let last = counts.last(key);
        let has_met = last.is_none_or(|last| last >= first.saturating_sub(1));
        if !has_met && !is_alone {
            return None;
        }
        self.joins.remove(key);
        counts.next(key, number);
        last.filter(|_| !has_met).map(|last| (last + 1, first - 1))
    }
}
