//! Selections: what clients that narrow want of the log. Pure.
//!
//! Clients that want the same share a selection. Whether it has a topic is found out once for each topic, and kept;
//! what is new is gone through once for all selections, and the lines that one wants are laid end to end once for all
//! of its clients. A selection that wants nothing of what is new isn't looked at, nor are its clients.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use self::held::HeldTopics;
use crate::{
    config::{Format, TopicPattern, TopicView},
    hub::{Log, Picked, Topic, TopicOf},
};

mod held;

/// The lines of one write: no more than so many bytes, but for a line that is longer.
const PIECE_BYTES: usize = 256 << 10;
/// So many entries are gone through at once for one client that is behind; then the others have their turn.
const MAX_LOOKED_AT: u64 = 1 << 16;
/// So much is looked at for one write of a client that is behind, in [`TopicPattern::cost`]: some 0.1 ms. The last
/// topic may take more. (In tests less, so that they come to it.)
pub(super) const MAX_LOOKS: usize = if cfg!(test) { 1 << 4 } else { 1 << 11 };
/// So much for all that is new: beyond, each client gets what it wants in its own turns.
const MAX_LOOKS_AT_NEW: usize = if cfg!(test) { 1 << 5 } else { 1 << 15 };
/// What it takes to look at a topic at all.
const VIEW_COST: usize = 4;

/// What of the log a client wants: what its listener lets through, and of that what it asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Narrowing {
    listener: Option<Rc<[TopicPattern]>>,
    client: Option<Asked>,
}

/// What a client asks for: topics by patterns, and those that it is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    patterns: Rc<[TopicPattern]>,
    held: Rc<HeldTopics>,
}

impl Narrowing {
    /// The same, within what a listener lets through; all where it says nothing.
    pub(super) fn within(self, listener: Option<&[TopicPattern]>) -> Narrowing {
        Narrowing { listener: listener.map(normal), ..self }
    }

    /// The same, with what a client asks for beside the topics that it is subscribed to, which are `held`; all where it
    /// says nothing.
    pub(super) fn asking(self, client: Option<&[TopicPattern]>, held: &[Topic]) -> Narrowing {
        let asked = |patterns: &[TopicPattern]| {
            let mut topics = HeldTopics::default();
            topics.set(held, true);
            Asked { patterns: normal(patterns), held: Rc::new(topics) }
        };
        Narrowing { client: client.map(asked), ..self }
    }

    /// Whether it is another thing what the client is subscribed to.
    pub(super) fn depends_on_held(&self) -> bool {
        self.client.is_some()
    }

    /// The client is subscribed to these from now on, or no longer.
    pub(super) fn set_held(&mut self, topics: &[Topic], holds: bool) {
        // few go through many, since nobody else has the same once the selection is left
        self.client.iter_mut().for_each(|asked| Rc::make_mut(&mut asked.held).set(topics, holds));
    }

    /// Whether it is all that there is, messages without a topic included.
    pub(super) fn is_all(&self) -> bool {
        self.listener.is_none() && self.client.is_none()
    }

    fn wants(&self, view: &TopicView<'_>) -> bool {
        let any = |patterns: &[TopicPattern]| is_meant(patterns, view);
        let asks = |asked: &Asked| asked.held.has(view.topic()) || any(&asked.patterns);
        self.listener.as_deref().is_none_or(any) && self.client.as_ref().is_none_or(asks)
    }

    /// Whether a message is wanted whose topic stands so on its line.
    pub(super) fn wants_on(&self, topic: Option<&str>) -> bool {
        match topic {
            None => self.is_all(),
            Some("") => self.wants_unfit(),
            Some(topic) => self.is_all() || self.wants(&TopicView::new(topic)),
        }
    }

    /// Whether a message is wanted whose topic can't be written: nobody can say that it isn't what a client asks for,
    /// and it is none that a listener lets through.
    fn wants_unfit(&self) -> bool {
        self.listener.is_none()
    }

    /// What it takes to look whether a topic is wanted, in [`TopicPattern::cost`].
    pub(super) fn cost(&self) -> usize {
        let client = self.client.as_ref().map(|asked| &asked.patterns);
        let of = |patterns: &Rc<[TopicPattern]>| {
            VIEW_COST + wild(patterns).iter().map(TopicPattern::cost).sum::<usize>()
        };
        [self.listener.as_ref(), client].into_iter().flatten().map(of).sum()
    }

    /// What the patterns take that the client asks for, in bytes.
    pub(super) fn memory(&self) -> usize {
        let patterns = self.client.iter().flat_map(|asked| asked.patterns.iter());
        patterns.map(|pattern| pattern.as_str().len() + size_of::<TopicPattern>()).sum()
    }
}

/// The same patterns in the order that all have them in, each once: those with wildcards first.
fn normal(patterns: &[TopicPattern]) -> Rc<[TopicPattern]> {
    let mut patterns = patterns.to_vec();
    patterns.sort_unstable_by(|one, other| {
        (one.is_literal(), one.as_str()).cmp(&(other.is_literal(), other.as_str()))
    });
    patterns.dedup();
    patterns.into()
}

/// Those of [`normal`] ones that have wildcards.
fn wild(patterns: &[TopicPattern]) -> &[TopicPattern] {
    &patterns[..patterns.partition_point(|pattern| !pattern.is_literal())]
}

/// Whether some of [`normal`] ones mean a topic.
fn is_meant(patterns: &[TopicPattern], view: &TopicView<'_>) -> bool {
    let wild = wild(patterns);
    let literal = &patterns[wild.len()..];
    literal.binary_search_by(|pattern| pattern.as_str().cmp(view.topic())).is_ok()
        || wild.iter().any(|pattern| pattern.matches(view))
}

/// All selections that there are.
#[derive(Debug, Default)]
pub(super) struct Selections {
    /// Clients that are not behind have all that their selection wants up to here.
    upto: Rc<Cell<u64>>,
    all: Vec<Option<Selection>>,
    free: Vec<usize>,
    by_narrowing: HashMap<Narrowing, usize>,
    /// Their places, by their serials.
    by_serial: BTreeMap<u64, usize>,
    next_serial: u64,
    /// What is known of each topic, by its number.
    topics: Vec<Known>,
    /// Those that want something of what is new.
    touched: Vec<usize>,
    /// What was gone through for them.
    scanned: Option<(u64, u64)>,
    picked: Picked,
    /// What was picked: for which selection, by its serial, in which format, up to which newest entry.
    picked_for: Option<(u64, Format, u64)>,
}

/// What some clients want.
#[derive(Debug)]
struct Selection {
    serial: u64,
    narrowing: Narrowing,
    /// [`Narrowing::cost`].
    cost: usize,
    members: Vec<u64>,
    /// What it wants of what is new.
    fresh: Vec<u64>,
}

/// Which selections want a topic.
#[derive(Debug, Default)]
struct Known {
    /// The topic's.
    serial: u64,
    /// All selections with lower serials were asked.
    asked: u64,
    /// A bit for each selection, by its place.
    wanted_by: Vec<u64>,
}

impl Selections {
    /// Whether nobody narrows.
    pub(super) fn is_empty(&self) -> bool {
        self.by_narrowing.is_empty()
    }

    /// What clients that follow have up to: for their cursors.
    pub(super) fn upto(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.upto)
    }

    /// Takes in a client of this selection, whose place it returns. `head` is the log's newest entry.
    pub(super) fn join(&mut self, narrowing: Narrowing, client: u64, head: u64) -> usize {
        if self.is_empty() {
            self.upto.set(head);
        }
        if let Some(at) = self.by_narrowing.get(&narrowing) {
            self.all[*at].iter_mut().for_each(|selection| selection.members.push(client));
            return *at;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let (cost, members, fresh) = (narrowing.cost(), vec![client], Vec::new());
        let selection = Selection { serial, narrowing: narrowing.clone(), cost, members, fresh };
        let at = match self.free.pop() {
            Some(at) => {
                self.all[at] = Some(selection);
                at
            }
            None => {
                self.all.push(Some(selection));
                self.all.len() - 1
            }
        };
        self.by_narrowing.insert(narrowing, at);
        self.by_serial.insert(serial, at);
        at
    }

    /// A client leaves its selection.
    pub(super) fn leave(&mut self, at: usize, client: u64) {
        let Some(selection) = &mut self.all[at] else { return };
        if let Some(member) = selection.members.iter().position(|member| *member == client) {
            selection.members.swap_remove(member);
        }
        if selection.members.is_empty() {
            self.by_narrowing.remove(&selection.narrowing);
            self.by_serial.remove(&selection.serial);
            self.all[at] = None;
            self.free.push(at);
        }
        if self.is_empty() {
            *self = Selections { upto: self.upto(), next_serial: self.next_serial, ..Selections::default() };
        }
    }

    /// Goes through what is new, and finds which selections want something of it.
    pub(super) fn scan(&mut self, log: &Log) {
        let (from, head) = (self.upto.get() + 1, log.head());
        self.topics.truncate(log.topic_numbers());
        if !log.holds_from(from) {
            // what nobody was offered is gone: each client is told
            self.touched.extend(self.by_serial.values());
            return;
        }
        let (mut to_all, mut looks) = (false, MAX_LOOKS_AT_NEW);
        for seq in from..=head {
            match log.topic_of(seq) {
                TopicOf::None => {}
                TopicOf::Everybody => {
                    to_all = true;
                    for at in self.by_serial.values() {
                        self.all[*at].iter_mut().for_each(|selection| selection.fresh.push(seq));
                    }
                }
                TopicOf::Unfit => {
                    let Selections { all, touched, by_serial, .. } = self;
                    for at in by_serial.values().copied() {
                        let Some(selection) = all[at].as_mut().filter(|it| it.narrowing.wants_unfit()) else {
                            continue;
                        };
                        if selection.fresh.is_empty() {
                            touched.push(at);
                        }
                        selection.fresh.push(seq);
                    }
                }
                TopicOf::Topic { number, serial, name } => {
                    let looked = self.ask(number, serial, name);
                    if looked > looks {
                        return self.leave_to_turns();
                    }
                    looks -= looked;
                    let Selections { topics, all, touched, .. } = self;
                    for at in topics[number].selections() {
                        let Some(selection) = &mut all[at] else { continue };
                        if selection.fresh.is_empty() {
                            touched.push(at);
                        }
                        selection.fresh.push(seq);
                    }
                }
            }
        }
        if to_all {
            self.touched.clear();
            self.touched.extend(self.by_serial.values());
        }
        self.scanned = Some((from, head));
    }

    /// Too much is to be looked at: all are told of what is new, and get of it what they want in their turns.
    fn leave_to_turns(&mut self) {
        self.all.iter_mut().flatten().for_each(|selection| selection.fresh.clear());
        self.touched.clear();
        self.touched.extend(self.by_serial.values());
    }

    /// The clients of the selections that want something of what is new, one selection after another.
    pub(super) fn touched(&self) -> impl Iterator<Item = u64> {
        self.touched
            .iter()
            .filter_map(|at| self.all[*at].as_ref())
            .flat_map(|selection| selection.members.iter().copied())
    }

    /// All clients that follow have been given what they want up to the newest entry.
    pub(super) fn offered(&mut self, head: u64) {
        for at in std::mem::take(&mut self.touched) {
            self.all[at].iter_mut().for_each(|selection| selection.fresh.clear());
        }
        self.scanned = None;
        self.picked_for = None;
        self.upto.set(head);
    }

    /// The lines that a selection wants of the entries from `from` on, as many as go into one write. `from` must be
    /// held.
    pub(super) fn pick(&mut self, log: &Log, at: usize, format: Format, from: u64) -> &Picked {
        let head = log.head();
        let Some(serial) = self.all[at].as_ref().map(|selection| selection.serial) else {
            self.picked.begin(from);
            return &self.picked;
        };
        if self.picked_for == Some((serial, format, head)) && self.picked.from == from {
            return &self.picked;
        }
        let mut picked = std::mem::take(&mut self.picked);
        picked.begin(from);
        if self.scanned == Some((from, head)) {
            let fresh = self.all[at].iter().flat_map(|selection| selection.fresh.iter());
            let mut fresh = fresh.copied();
            picked.to = match fresh.find(|seq| !picked.add(log, *seq, format, PIECE_BYTES)) {
                Some(first_left) => first_left,
                None => head + 1,
            };
        } else {
            let mut looks = MAX_LOOKS;
            for seq in from..=head.min(from + MAX_LOOKED_AT) {
                let Some(is_wanted) = self.wants(log, at, seq, &mut looks) else { break };
                if is_wanted && !picked.add(log, seq, format, PIECE_BYTES) {
                    break;
                }
                picked.to = seq + 1;
            }
        }
        self.picked = picked;
        self.picked_for = Some((serial, format, head));
        &self.picked
    }

    /// Whether a selection wants an entry that the log holds. It takes what it looks at from `looks`; `None` where
    /// nothing is left of that.
    pub(super) fn wants(&mut self, log: &Log, at: usize, seq: u64, looks: &mut usize) -> Option<bool> {
        if *looks == 0 {
            return None;
        }
        Some(match log.topic_of(seq) {
            TopicOf::None => false,
            TopicOf::Everybody => true,
            TopicOf::Unfit => {
                self.all[at].as_ref().is_some_and(|selection| selection.narrowing.wants_unfit())
            }
            TopicOf::Topic { number, serial, name } => {
                *looks = looks.saturating_sub(self.ask(number, serial, name));
                self.topics[number].is_wanted_by(at)
            }
        })
    }

    /// Asks those selections whether they want a topic that weren't asked yet. What that took, in
    /// [`TopicPattern::cost`].
    fn ask(&mut self, number: usize, serial: u64, name: &str) -> usize {
        if self.topics.len() <= number {
            self.topics.resize_with(number + 1, Known::default);
        }
        let known = &mut self.topics[number];
        if known.serial != serial {
            *known = Known { serial, ..Known::default() };
        }
        if known.asked == self.next_serial {
            return 0;
        }
        let (view, mut looked) = (TopicView::new(name), 0);
        for at in self.by_serial.range(known.asked..).map(|(_, at)| *at) {
            let Some(selection) = &self.all[at] else { continue };
            known.set(at, selection.narrowing.wants(&view));
            looked += selection.cost;
        }
        known.asked = self.next_serial;
        looked
    }
}

impl Known {
    fn set(&mut self, at: usize, wants: bool) {
        let (word, bit) = (at / 64, 1 << (at % 64));
        if wants && self.wanted_by.len() <= word {
            self.wanted_by.resize(word + 1, 0);
        }
        if let Some(word) = self.wanted_by.get_mut(word) {
            *word = if wants { *word | bit } else { *word & !bit };
        }
    }

    fn is_wanted_by(&self, at: usize) -> bool {
        self.wanted_by.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// The places of those that want it, and perhaps of some that are gone.
    fn selections(&self) -> impl Iterator<Item = usize> {
        self.wanted_by.iter().enumerate().flat_map(|(at, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as usize;
                word &= word.wrapping_sub(1);
                (bit < 64).then_some(64 * at + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests;
