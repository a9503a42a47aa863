//! The server's count, made of messages that somebody else has heard. Pure.

use super::{
    count::{Counted, counted},
    matcher::{Look, Sieve},
    probe::Probe,
    rules::SequenceRule,
    sequence::{Counts, Numbers},
};
use crate::{config::Sequence, hub::CountedBeside};

/// Where there is one count, so many of the newest messages that are counted say where it is: late ones, snapshots and
/// holes among them.
const ENOUGH: usize = 1024;

/// Makes the counts of messages, as the sessions that heard them had them.
#[derive(Debug)]
pub(in crate::upstream) struct Recount {
    rule: SequenceRule,
    probe: Probe,
    sieve: Sieve,
}

/// What a message says, without the message.
enum Said {
    By(String, Numbers),
    Set(String, u64),
}

impl Recount {
    /// Counts as configured.
    pub(in crate::upstream) fn new(sequence: &Sequence) -> Recount {
        let (rule, probe, sieve) = SequenceRule::alone(sequence);
        Recount { rule, probe, sieve }
    }

    /// How far the counts have come with these entries of a log, of which the newest comes first, each with its `seq` and,
    /// if it has one, its message; the next one will have the `seq` `next`. It asks for no more of them than it needs:
    /// where there is one count that is soon enough, else it's all. What is known `beside` them counts too, unless it is
    /// of before: what came between isn't known then. Counts that nothing has shown since somebody had the link who didn't
    /// tell are unsure.
    pub(in crate::upstream) fn of<M: AsRef<[u8]>>(
        &self,
        next: u64,
        newest_first: impl Iterator<Item = (u64, Option<M>)>,
        beside: &CountedBeside,
    ) -> Counts {
        let enough = if self.rule.per.is_none() { ENOUGH } else { usize::MAX };
        let (mut scratch, mut oldest) = (Vec::new(), next);
        let said = newest_first.filter_map(|(seq, message)| {
            oldest = seq;
            Some((seq, self.said(message?.as_ref(), &mut scratch)?))
        });
        let said: Vec<(u64, Said)> = said.take(enough).collect();
        let untold = beside.untold;
        let mut beside: Vec<_> = beside.counts().filter(|(seq, _)| *seq >= oldest).collect();
        beside.sort_by_key(|(seq, _)| *seq);
        let mut beside = beside.into_iter().peekable();
        let (mut counts, mut is_doubted) = (Counts::default(), false);
        let mut doubt = |counts: &mut Counts, is_behind: bool| {
            if is_behind && !std::mem::replace(&mut is_doubted, true) {
                counts.doubt();
            }
        };
        for (seq, said) in said.into_iter().rev() {
            while let Some((before, counted)) = beside.next_if(|(before, _)| *before <= seq) {
                doubt(&mut counts, before > untold);
                counts.set(counted);
            }
            doubt(&mut counts, seq >= untold);
            match said {
                Said::By(key, numbers) => drop(counts.next(&key, numbers)),
                Said::Set(key, number) => counts.snapshot(&key, number),
            }
        }
        for (before, counted) in beside {
            doubt(&mut counts, before > untold);
            counts.set(counted);
        }
        doubt(&mut counts, true);
        counts
    }

    fn said(&self, message: &[u8], scratch: &mut Vec<Option<bool>>) -> Option<Said> {
        if !self.sieve.may_concern(message, scratch) {
            return None;
        }
        let text = str::from_utf8(message).unwrap_or_default();
        let found = self.probe.look(text);
        let look = Look { bytes: message, text, found: found.as_ref(), fields: None };
        Some(match counted(&self.rule, &look)? {
            Counted::By { per, numbers } => Said::By(per.unwrap_or_default().to_owned(), numbers),
            Counted::Set { key, number } => Said::Set(key.to_owned(), number),
        })
    }
}
