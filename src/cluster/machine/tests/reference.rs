//! What the log is, read from the stream as it is written, by a rule of its own: a message belongs to it if it names
//! the one before, or begins an epoch.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::cluster::machine::{Stored, entries};

/// The log, and what it was before something was lost.
#[derive(Debug, Default)]
pub(super) struct Reference {
    /// The log's messages, with the bytes of a line that isn't ended yet.
    chain: Vec<(Stored, Vec<u8>)>,
    entries: HashMap<String, BTreeMap<u64, Vec<u8>>>,
    /// Entries that the stream has lost.
    lost: HashMap<String, BTreeMap<u64, Vec<Vec<u8>>>>,
    /// The stream holds nothing of it any more: who comes can't know it.
    pub(super) emptied: bool,
    pub(super) terms: usize,
}

/// What an entry says, as far as the tests are about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// So much of the upstream.
    Number(u64),
    /// The link of a term begins.
    Term(u64),
    Failover,
    Other,
}

impl Reference {
    pub(super) fn stored(&mut self, stored: &Stored) {
        let Some(header) = &stored.header else { return };
        let tip = self.chain.last().and_then(|(tip, _)| tip.header.as_ref());
        let follows = tip.is_some_and(|tip| header.after == Some(tip.nonce) && header.epoch == tip.epoch);
        if let Some(tip) = tip {
            let begins = header.after.is_none() && header.epoch != tip.epoch;
            if !follows && !(begins && (header.term > tip.term || self.emptied)) {
                return;
            }
            if follows {
                if header.first != tip.end() || header.term < tip.term {
                    return;
                }
                let is_same = header.term == tip.term;
                assert!(
                    is_same == (header.node == tip.node) || !is_same,
                    "one leader a term: {header:?}, {tip:?}"
                );
            }
        } else if header.after.is_some() {
            return; // the stream was made anew under its feet
        }
        self.emptied = false;
        let mut open = Vec::new();
        if follows && header.part.is_some_and(|part| part.number > 1) {
            open.clone_from(&self.chain.last().unwrap().1);
        }
        open.extend_from_slice(&stored.body);
        if header.count > 0 {
            let mut count = 0;
            self.terms +=
                usize::from(follows.then_some(tip).flatten().is_none_or(|tip| tip.term != header.term));
            let epoch = self.entries.entry(header.epoch.to_string()).or_default();
            for entry in entries(&open) {
                let before = epoch.insert(entry.seq, entry.line.to_vec());
                assert!(before.is_none(), "stored once: {}", entry.seq);
                assert_eq!(entry.seq, header.first + count);
                count += 1;
            }
            assert_eq!(count, header.count, "all that it says");
            open.clear();
        }
        self.chain.push((stored.clone(), open));
    }

    /// How many epochs there were.
    pub(super) fn epochs(&self) -> usize {
        self.entries.keys().chain(self.lost.keys()).collect::<HashSet<_>>().len()
    }

    /// Where so many of the newest of its messages begin.
    pub(super) fn newest(&self, count: usize) -> u64 {
        let at = self.chain.len().saturating_sub(count);
        self.chain.get(at).map_or(0, |(stored, _)| stored.place)
    }

    pub(super) fn roll_back(&mut self, last: u64) {
        self.check();
        while let Some((stored, _)) = self.chain.pop_if(|(stored, _)| stored.place > last) {
            let header = stored.header.unwrap();
            let Some(entries) = self.entries.get_mut(&*header.epoch) else { continue };
            for seq in header.first..header.end() {
                let line = entries.remove(&seq).unwrap();
                self.lost.entry(header.epoch.to_string()).or_default().entry(seq).or_default().push(line);
            }
        }
    }

    /// Whether this entry may be given to a client: the stream has it, or had it.
    pub(super) fn has(&self, epoch: &str, seq: u64, line: &[u8]) -> bool {
        self.entry(epoch, seq).is_some_and(|entry| entry == line)
            || self.lost(epoch, seq).any(|lost| lost == line)
    }

    /// Whether two lines were acknowledged under one name, since the stream lost the first.
    pub(super) fn is_double(&self, epoch: &str, seq: u64) -> bool {
        self.entry(epoch, seq).into_iter().chain(self.lost(epoch, seq)).count() > 1
    }

    fn entry(&self, epoch: &str, seq: u64) -> Option<&Vec<u8>> {
        self.entries.get(epoch)?.get(&seq)
    }

    fn lost(&self, epoch: &str, seq: u64) -> impl Iterator<Item = &Vec<u8>> {
        self.lost.get(epoch).and_then(|lost| lost.get(&seq)).into_iter().flatten()
    }

    /// Looks at each epoch's entries, one by one.
    pub(super) fn check(&self) {
        for (epoch, entries) in &self.entries {
            let entries: Vec<(u64, Said)> = entries.iter().map(|(seq, line)| (*seq, said(line))).collect();
            let loses = self.lost.contains_key(epoch);
            let mut newest = None;
            let mut may_jump = true;
            let mut terms = 0;
            for (at, (seq, entry)) in entries.iter().enumerate() {
                assert_eq!(*seq, at as u64 + 1, "no hole in {epoch}");
                match entry {
                    Said::Number(number) => {
                        let follows = newest.is_none_or(|newest| match may_jump {
                            true => *number > newest,
                            false => *number == newest + 1,
                        });
                        assert!(follows || loses, "{number} follows {newest:?} at {seq} in {epoch}");
                        (newest, may_jump) = (Some(*number), false);
                    }
                    Said::Term(_) => {
                        (terms, may_jump) = (terms + 1, true);
                        let gap = entries.get(at + 1).map(|(_, said)| *said);
                        assert_eq!(
                            gap == Some(Said::Failover),
                            terms > 1,
                            "a gap for each failover, at {seq}"
                        );
                    }
                    Said::Failover => {
                        let before = entries.get(at.wrapping_sub(1)).map(|(_, said)| *said);
                        assert!(matches!(before, Some(Said::Term(_))), "no gap but for a failover, at {seq}");
                    }
                    Said::Other => {}
                }
            }
        }
    }
}

fn said(line: &[u8]) -> Said {
    let text = std::str::from_utf8(line).unwrap();
    let number = |key: &str| {
        let (_, rest) = text.split_once(key)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    if let Some(number) = number("\"text\":\"") {
        Said::Number(number)
    } else if let Some(term) = number("\"term\":").filter(|_| !text.contains("\"url\":")) {
        Said::Term(term)
    } else if text.contains("failover") {
        Said::Failover
    } else {
        Said::Other
    }
}
