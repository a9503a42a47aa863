//! The server's count, made of messages that somebody else has heard. Pure.

use super::{
    count::{Counted, counted},
    matcher::{Look, Sieve},
    probe::Probe,
    rules::SequenceRule,
    sequence::{Counts, Numbers},
};
use crate::config::Sequence;

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

    /// How far the counts have come with these messages, of which the newest comes first. It asks for no more of them
    /// than it needs: where there is one count that is soon enough, else it's all.
    pub(in crate::upstream) fn of<M: AsRef<[u8]>>(&self, newest_first: impl Iterator<Item = M>) -> Counts {
        let enough = if self.rule.per.is_none() { ENOUGH } else { usize::MAX };
        let mut scratch = Vec::new();
        let said = newest_first.filter_map(|message| self.said(message.as_ref(), &mut scratch));
        let said: Vec<Said> = said.take(enough).collect();
        let mut counts = Counts::default();
        for said in said.into_iter().rev() {
            match said {
                Said::By(key, numbers) => drop(counts.next(&key, numbers)),
                Said::Set(key, number) => counts.snapshot(&key, number),
            }
        }
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
