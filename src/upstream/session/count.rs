//! What a session makes of the server's own numbers. Pure.

use super::{
    Effect, Progress, Purpose, Session,
    context::Context,
    matcher::Look,
    rules::{FirstRule, Rules, SequenceRule},
    sequence::{Missing, Numbers, number},
    text::Given,
};
use crate::{
    config::{OnHole, Placeholder, Remedy},
    hub::{self, Data, Hole},
};

impl Session {
    /// Looks at the server's own number.
    pub(super) fn count(&mut self, context: &mut Context<'_>, rules: &Rules, look: &Look<'_>) {
        let Some(sequence) = &rules.sequence else { return };
        let (per, numbers) = match counted(sequence, look) {
            Some(Counted::By { per, numbers }) => (per, numbers),
            Some(Counted::Set { key, number }) => return self.begin_count(context, key, number),
            None => return,
        };
        let key = per.unwrap_or_default();
        let is_first = !self.counts.has(key);
        let here = self.counts.next(key, numbers).filter(|_| !is_first);
        let is_unsure = context.memory.counts().is_unsure(key);
        let before = self.count_on(context, key, numbers, is_first);
        let Some((from, to)) = before.or(here) else { return };
        // what a message without this key is counted for has no name
        let name = per.filter(|per| !per.is_empty()).map(str::to_owned);
        let holes = [before, here].into_iter().flatten();
        for (from, to) in holes.clone() {
            let is_unsure = is_unsure && before == Some((from, to));
            self.holes.push(Hole { from, to, per: name.clone(), is_unsure });
        }
        if self.progress == Progress::Failed {
            return; // it is read to its end, and that is all
        }
        let then = match sequence.on_hole {
            OnHole::Declare => return self.tell_holes(context, sequence, holes, look),
            OnHole::Reconnect => Remedy::Retry,
            OnHole::Forget => Remedy::Forget,
        };
        self.fail(format!("the server's count has a hole from {from} to {to}"), then);
    }

    /// Says what there is to say to the server about holes: of each, or once where that doesn't name them.
    fn tell_holes(
        &mut self,
        context: &mut Context<'_>,
        sequence: &SequenceRule,
        holes: impl Iterator<Item = Missing>,
        look: &Look<'_>,
    ) {
        let Some((send, fields)) = &sequence.send else { return };
        let is_hole =
            |placeholder: &Placeholder| matches!(placeholder, Placeholder::HoleFrom | Placeholder::HoleTo);
        let names_them = send.placeholders().any(|(placeholder, _)| is_hole(placeholder));
        for hole in holes.take(if names_them { usize::MAX } else { 1 }) {
            match self.render(context, send, Some(&look.with(fields)), Given::Hole(hole)) {
                Ok(payload) => self.effects.push_back(Effect::Send(payload, Purpose::Reply)),
                Err(why) => return self.fail(format!("sequence.send can't be sent: {why}"), Remedy::Retry),
            }
        }
    }

    /// A snapshot sets the count: what is missing before it is in it. But not what this connection has begun beyond it
    /// and another one is still to say.
    fn begin_count(&mut self, context: &mut Context<'_>, key: &str, number: u64) {
        self.counts.snapshot(key, number);
        if self.joins.get(key).is_some_and(|first| first.saturating_sub(1) <= number) {
            self.joins.remove(key);
        }
        context.memory.counts().snapshot(key, number);
    }

    /// How far the count has come that this message is in, if it is in one.
    pub(in crate::upstream) fn counted(
        &self,
        context: &Context<'_>,
        message: Data<'_>,
    ) -> Option<hub::Counted> {
        let sequence = self.rules.sequence.as_ref()?;
        let bytes = match message {
            Data::Text(text) => text.as_bytes(),
            Data::Binary(bytes) => bytes,
        };
        let text = str::from_utf8(bytes).unwrap_or_default();
        let found = self.rules.during.look(text);
        let key = match counted(sequence, &Look { bytes, text, found: found.as_ref(), fields: None })? {
            Counted::By { per, .. } => per.unwrap_or_default().to_owned(),
            Counted::Set { key, .. } => key.to_owned(),
        };
        context.memory.counts().told(&key)
    }

    /// Goes on from what was heard before this connection, and says what is missing in between. Where
    /// another one is still heard, that may come over it: it is missing once that one is gone.
    fn count_on(
        &mut self,
        context: &mut Context<'_>,
        key: &str,
        numbers: Numbers,
        is_first: bool,
    ) -> Option<Missing> {
        let is_alone = context.memory.sessions() <= 1;
        let mut counts = context.memory.counts();
        if is_first && !is_alone && self.counts.has(key) {
            self.joins.insert(key.to_owned(), numbers.first);
        }
        let Some(first) = self.joins.get(key).copied() else {
            return counts.next(key, numbers).filter(|_| is_first);
        };
        let last = counts.last(key);
        let has_met = last.is_none_or(|last| last >= first.saturating_sub(1));
        if !has_met && !is_alone {
            return None;
        }
        self.joins.remove(key);
        counts.next(key, numbers);
        last.filter(|_| !has_met).map(|last| (last + 1, first - 1))
    }
}

/// What a message says of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted<'l> {
    /// It stands for these numbers, of what is at `sequence.per`, if that is configured.
    By { per: Option<&'l str>, numbers: Numbers },
    /// It sets the count, or says that none is before it: the count begins with this one.
    Set { key: &'l str, number: u64 },
}

/// What a message says of a count; none where it isn't counted.
pub(super) fn counted<'l>(sequence: &SequenceRule, look: &'l Look<'_>) -> Option<Counted<'l>> {
    if let Some((key, number)) = sequence.first.as_ref().and_then(|first| snapshot(first, look)) {
        return Some(Counted::Set { key, number });
    }
    let per = sequence.per.map(|per| look.get(per).unwrap_or_default());
    let last = look.get(sequence.number).and_then(number)?;
    let numbers = match sequence.span {
        None => last.into(),
        Some((slot, more)) => {
            let begins = look.get(slot).and_then(number).and_then(|first| first.checked_add(more));
            match begins {
                Some(first) => Numbers { first, last },
                // `previous`: what is no number, such as -1, is none of a message before
                None if more > 0 && look.get(slot).is_some() => {
                    return Some(Counted::Set { key: per.unwrap_or_default(), number: last });
                }
                None => last.into(),
            }
        }
    };
    Some(Counted::By { per, numbers })
}

/// The number of a snapshot, and what is counted with it.
fn snapshot<'l>(first: &FirstRule, look: &'l Look<'_>) -> Option<(&'l str, u64)> {
    let number = look.get(first.number).and_then(number)?;
    let key = first.per.and_then(|per| look.get(per)).unwrap_or_default();
    first.matcher.matches(look).then_some((key, number))
}
