//! Which topic each entry is of. Pure.
//!
//! Each topic that some entry is of has a number; an entry has its number in a queue. A topic whose last entry has left
//! is forgotten, and its number is given again: the serial says which of them is meant.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use crate::protocol::MessageTopic;

/// What an entry is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicOf<'a> {
    /// Nothing that could be named: it goes to those alone who narrow nothing.
    None,
    /// It is for everybody: no message.
    Everybody,
    /// A topic that can't be written: nobody can say that it isn't meant, nor that it may be had.
    Unfit,
    /// This topic.
    Topic {
        /// Its number, below `Topics::numbers`; others may have it later.
        number: usize,
        /// No other topic ever has this.
        serial: u64,
        /// Its name.
        name: &'a str,
    },
}

/// The topics of the log's entries.
#[derive(Debug)]
pub(super) struct Topics {
    /// The entry that the queue begins with. Of those before nothing is known.
    first: u64,
    /// What each entry is of: a topic's number, or one of the three below.
    entries: VecDeque<u32>,
    /// How many entries later the next of the same topic is, as far as that is asked for: of the entries from `first`
    /// to `linked`.
    later: VecDeque<u32>,
    /// One past the last entry that was looked at for that.
    linked: u64,
    held: Vec<Numbered>,
    numbers: HashMap<Rc<str>, u32>,
    free: Vec<u32>,
    next_serial: u64,
    /// What the names take.
    names: usize,
}

/// A topic, or the place of one that was.
#[derive(Debug)]
struct Numbered {
    name: Rc<str>,
    serial: u64,
    entries: u64,
    /// The newest of those that were looked at for [`Topics::link`]; 0 for none.
    newest: u64,
}

const NONE: u32 = u32::MAX;
const EVERYBODY: u32 = u32::MAX - 1;
const UNFIT: u32 = u32::MAX - 2;
/// There is no later one.
const LAST: u32 = u32::MAX;

/// What a topic takes beside its name, which is held once.
const TOPIC_BYTES: usize = size_of::<Numbered>() + 2 * size_of::<(Rc<str>, u32)>() + size_of::<u32>();

impl Topics {
    /// For the entries from `first` on.
    pub(super) fn from(first: u64) -> Topics {
        Topics {
            first,
            entries: VecDeque::new(),
            later: VecDeque::new(),
            linked: first,
            held: Vec::new(),
            numbers: HashMap::new(),
            free: Vec::new(),
            next_serial: 0,
            names: 0,
        }
    }

    /// The next entry is a message of this topic.
    pub(super) fn message(&mut self, topic: &MessageTopic) {
        let number = match topic {
            MessageTopic::None => NONE,
            MessageTopic::Unfit => UNFIT,
            MessageTopic::Of(name) => self.number(name),
        };
        self.entries.push_back(number);
    }

    /// The next entry is none.
    pub(super) fn other(&mut self) {
        self.entries.push_back(EVERYBODY);
    }

    /// What an entry is of; none of those before the first.
    pub(super) fn of(&self, seq: u64) -> Option<TopicOf<'_>> {
        let number = *self.entries.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)?;
        Some(match number {
            NONE => TopicOf::None,
            EVERYBODY => TopicOf::Everybody,
            UNFIT => TopicOf::Unfit,
            number => {
                let Numbered { name, serial, .. } = &self.held[number as usize];
                TopicOf::Topic { number: number as usize, serial: *serial, name }
            }
        })
    }

    /// Forgets the entries before `seq`.
    pub(super) fn forget_before(&mut self, seq: u64) {
        while self.first < seq
            && let Some(number) = self.entries.pop_front()
        {
            self.first += 1;
            self.later.pop_front();
            self.release(number);
        }
        self.first = self.first.max(seq);
        self.linked = self.linked.max(self.first);
        if self.later.is_empty() {
            self.later = VecDeque::new(); // nobody asks any more
        }
        if self.entries.capacity() > 4 * self.entries.len().max(1024) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Takes back the entries from `seq` on.
    pub(super) fn cut(&mut self, seq: u64) {
        while self.first + self.entries.len() as u64 > seq
            && let Some(number) = self.entries.pop_back()
        {
            self.release(number);
        }
        self.first = self.first.min(seq); // it may have begun with one of those
        self.linked = self.linked.min(self.first + self.entries.len() as u64);
    }

    /// Notes which entry is the next of the same topic, of those up to `head`, but of no more than `most` that weren't
    /// looked at before. True: it is known of all of them. Nobody may cut entries up to `head` any more.
    pub(super) fn link(&mut self, head: u64, most: u64) -> bool {
        let end = (head + 1).min(self.first + self.entries.len() as u64);
        let to = end.min(self.linked.saturating_add(most));
        for seq in self.linked..to {
            let at = (seq - self.first) as usize;
            self.later.push_back(LAST);
            let Some(held) = self.held.get_mut(self.entries[at] as usize) else { continue };
            if let Some(before) = held.newest.checked_sub(self.first) {
                self.later[before as usize] = u32::try_from(seq - held.newest).unwrap_or(LAST);
            }
            held.newest = seq;
        }
        self.linked = self.linked.max(to);
        self.linked >= end
    }

    /// The next entry of the same topic; none where there is none, or where [`Topics::link`] doesn't know of any.
    pub(super) fn next_of_same(&self, seq: u64) -> Option<u64> {
        let later = *self.later.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)?;
        (later != LAST).then(|| seq + u64::from(later))
    }

    /// All numbers are below this.
    pub(super) fn numbers(&self) -> usize {
        self.held.len()
    }

    /// How many topics there are.
    pub(super) fn count(&self) -> usize {
        self.numbers.len()
    }

    /// What it all takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        (self.entries.capacity() + self.later.capacity()) * size_of::<u32>()
            + self.held.len() * TOPIC_BYTES
            + self.names
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            self.held[*number as usize].entries += 1;
            return *number;
        }
        let name: Rc<str> = name.into();
        self.names += name.len();
        let held = Numbered { name: Rc::clone(&name), serial: self.next_serial, entries: 1, newest: 0 };
        self.next_serial += 1;
        let number = match self.free.pop() {
            Some(number) => {
                self.held[number as usize] = held;
                number
            }
            None => {
                self.held.push(held);
                (self.held.len() - 1) as u32
            }
        };
        self.numbers.insert(name, number);
        number
    }

    fn release(&mut self, number: u32) {
        let Some(held) = self.held.get_mut(number as usize) else { return };
        held.entries -= 1;
        if held.entries == 0 {
            self.names -= held.name.len();
            self.numbers.remove(&held.name);
            held.name = "".into();
            self.free.push(number);
            if self.numbers.is_empty() {
                // many that came once are no reason to keep room for as many
                (self.held, self.free) = (Vec::new(), Vec::new());
                self.numbers.shrink_to(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name_of(topics: &Topics, seq: u64) -> Option<String> {
        match topics.of(seq)? {
            TopicOf::None => Some(String::new()),
            TopicOf::Everybody => Some("*".to_owned()),
            TopicOf::Unfit => Some("?".to_owned()),
            TopicOf::Topic { name, .. } => Some(name.to_owned()),
        }
    }

    proptest! {
        /// Each entry keeps its topic for as long as it is there, a serial is of one topic alone, and nothing is left
        /// of topics that no entry is of.
        #[test]
        fn entries_have_their_topics(steps in prop::collection::vec((0u8..9, 0u64..6), 1..200)) {
            let (mut topics, mut plain, mut first) = (Topics::from(1), VecDeque::new(), 1);
            let mut serials: HashMap<u64, String> = HashMap::new();
            let mut linked = 0; // one past the last entry that was looked at
            for (step, number) in steps {
                match step {
                    8 => {
                        let (end, before) = (first + plain.len() as u64, linked.max(first));
                        let head = end.saturating_sub(1 + number / 3);
                        let is_all = topics.link(head, number);
                        linked = before.max((head + 1).min(before + number));
                        prop_assert_eq!(is_all, linked > head);
                    }
                    0 => {
                        let seq = first + number.min(plain.len() as u64);
                        topics.forget_before(seq);
                        plain.drain(..(seq - first) as usize);
                        first = seq;
                    }
                    1 => {
                        let seq = (first + plain.len() as u64).saturating_sub(number).max(1);
                        let seq = if linked > first { seq.max(linked) } else { seq }; // those are committed
                        topics.cut(seq);
                        plain.truncate(seq.saturating_sub(first) as usize);
                        first = first.min(seq);
                        linked = linked.min(first + plain.len() as u64);
                    }
                    2 => { topics.other(); plain.push_back("*".to_owned()); }
                    3 => { topics.message(&MessageTopic::None); plain.push_back(String::new()); }
                    4 => { topics.message(&MessageTopic::Unfit); plain.push_back("?".to_owned()); }
                    _ => {
                        let name = format!("topic {number}");
                        topics.message(&MessageTopic::new(name.clone()));
                        plain.push_back(name);
                    }
                }
                for (at, name) in plain.iter().enumerate() {
                    let seq = first + at as u64;
                    let is = name_of(&topics, seq);
                    prop_assert_eq!(is.as_ref(), Some(name));
                    let later = plain.iter().enumerate().skip(at + 1).find(|(_, other)| {
                        *other == name && name.starts_with("topic")
                    });
                    let later = later.map(|(at, _)| first + at as u64).filter(|seq| *seq < linked);
                    prop_assert_eq!(topics.next_of_same(seq), later, "of {}", seq);
                    if let Some(TopicOf::Topic { serial, name, .. }) = topics.of(seq) {
                        prop_assert_eq!(serials.entry(serial).or_insert_with(|| name.to_owned()), name);
                    }
                }
                prop_assert_eq!(topics.of(first - 1), None);
                prop_assert_eq!(topics.of(first + plain.len() as u64), None);
                let distinct: std::collections::HashSet<_> = plain.iter().filter(|name| name.starts_with("topic")).collect();
                prop_assert_eq!(topics.count(), distinct.len());
                prop_assert_eq!(topics.names, distinct.iter().map(|name| name.len()).sum::<usize>());
            }
        }
    }
}
