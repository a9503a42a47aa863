//! Last values: the newest message of each topic, or of each key within it, and what steps of the script were answered.
//! Pure.
//!
//! Each is kept as its line, marked, beside the log: it may have left that long ago. A newer message takes the place of
//! the older one and has a higher `seq`, so that the lowest are those that were updated the longest ago; and who goes
//! through them by `seq` up to some entry, while they change, meets each value here or after that entry in the log, and
//! none twice.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Write as _,
    rc::Rc,
};

use super::Log;
use crate::{
    config::{self, Format, Pointer},
    protocol::{Message, MessageTopic, SNAPSHOT_MARK, mark_snapshot},
};

#[cfg(test)]
mod tests;

/// The longest key, in bytes. A message with a longer one is not retained.
const MAX_KEY: usize = 256;

/// What a value takes beside its line and its name, in bytes.
const VALUE_BYTES: usize = 256;

/// What is retained, and how much of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retain {
    /// Messages are, by their topics and keys, as these say. None: no message is for its topic.
    pub topics: Option<config::Topics>,
    /// Answers are, that steps of this script got. None: none is.
    pub script: Option<config::Script>,
    /// The bounds.
    pub bounds: config::RetainBounds,
}

impl Retain {
    /// Whether nothing is.
    pub fn is_nothing(&self) -> bool {
        self.topics.is_none() && self.script.is_none()
    }
}

/// As what a message is retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetainAs {
    /// As the newest of its topic, and of this key within it, if it has one.
    Newest(Option<String>),
    /// As what the step of this number was answered.
    Answer(usize),
}

/// How much is retained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// How many values.
    pub values: usize,
    /// What they take, in bytes.
    pub bytes: usize,
    /// How many values have gone for want of room since the daemon's start, those that never had any among them.
    pub dropped: u64,
}

/// A value that is retained.
#[derive(Debug, Clone, Copy)]
pub struct LastValue<'a> {
    /// Its entry.
    pub seq: u64,
    /// Its topic as it stands on a line: none, or empty for one that can't be written.
    pub topic: Option<&'a str>,
    /// Its line, marked, with its end.
    pub line: &'a Rc<[u8]>,
}

/// All values that are retained.
#[derive(Debug, Default)]
pub(super) struct Values {
    retain: Retain,
    /// By their entries.
    values: BTreeMap<u64, Value>,
    /// Their entries, by their names.
    seqs: HashMap<Rc<str>, u64>,
    /// How many of them are answers.
    answers: usize,
    bytes: usize,
    dropped: u64,
    /// What is to be retained once it is committed.
    staged: VecDeque<(u64, Rc<str>, Option<MessageTopic>)>,
    /// Lines that are retained no longer, and that clients are in the middle of.
    left: Vec<Rc<[u8]>>,
    /// Where names are put together.
    scratch: String,
}

#[derive(Debug)]
struct Value {
    /// The topic, and after [`KEY`] the key; or after [`STEP`] the number of a step. No topic has control characters.
    name: Rc<str>,
    line: Rc<[u8]>,
    /// Of a step's answer: its topic.
    answer: Option<MessageTopic>,
}

const KEY: char = '\0';
const STEP: char = '\x01';

impl Value {
    fn cost(&self) -> usize {
        cost(&self.name, self.line.len() - SNAPSHOT_MARK.len())
    }

    fn topic(&self) -> Option<&str> {
        match &self.answer {
            Some(topic) => topic.as_line(),
            None => self.name.split(KEY).next().filter(|topic| !topic.is_empty()),
        }
    }
}

/// What a value takes whose line has so many bytes.
fn cost(name: &str, line: usize) -> usize {
    name.len() + line + VALUE_BYTES
}

impl Values {
    /// Retains something else from now on: what isn't meant any more is let go, and what is too much.
    fn set(&mut self, retain: Retain) {
        let naming = |retain: &Retain| {
            let topics = retain.topics.clone();
            topics.map(|topics| config::Topics { bounds: config::RetainBounds::default(), ..topics })
        };
        let (keeps_topics, keeps_script) =
            (naming(&self.retain) == naming(&retain), self.retain.script == retain.script);
        if !keeps_topics || !keeps_script {
            self.forget(|value| if value.answer.is_some() { keeps_script } else { keeps_topics });
        }
        self.retain = retain;
        self.evict();
        self.seqs.shrink_to_fit();
    }

    /// Lets go of all but those of which this holds.
    fn forget(&mut self, stays: impl Fn(&Value) -> bool) {
        let gone: Vec<u64> =
            self.values.iter().filter(|(_, value)| !stays(value)).map(|(seq, _)| *seq).collect();
        gone.into_iter().for_each(|seq| self.remove(seq));
        self.staged.clear();
    }

    /// The name of a message that is retained so; none of one that isn't.
    fn name(&mut self, topic: &MessageTopic, retain_as: &RetainAs) -> Option<Rc<str>> {
        self.scratch.clear();
        match (retain_as, topic) {
            (RetainAs::Answer(step), _) if self.retain.script.is_some() => {
                let _ = write!(self.scratch, "{STEP}{step}");
            }
            (RetainAs::Newest(key), MessageTopic::None | MessageTopic::Of(_))
                if self.retain.topics.is_some() =>
            {
                self.scratch.push_str(topic.as_line().unwrap_or_default());
                if let Some(key) = key {
                    if key.len() > MAX_KEY {
                        self.dropped += 1;
                        return None;
                    }
                    self.scratch.push(KEY);
                    self.scratch.push_str(key);
                }
            }
            _ => return None,
        }
        if self.scratch.is_empty() {
            return None;
        }
        let known = self.seqs.get_key_value(self.scratch.as_str()).map(|(name, _)| Rc::clone(name));
        Some(known.unwrap_or_else(|| self.scratch.as_str().into()))
    }

    /// Retains the line of an entry, which is newer than all others.
    fn keep(&mut self, seq: u64, name: Rc<str>, line: &[u8], answer: Option<MessageTopic>) {
        if let Some(older) = self.seqs.get(&name).copied() {
            self.remove(older);
        }
        if cost(&name, line.len()) > self.retain.bounds.bytes {
            self.dropped += 1;
            return;
        }
        let value = Value { line: mark_snapshot(line).into(), name: Rc::clone(&name), answer };
        self.bytes += value.cost();
        self.answers += usize::from(value.answer.is_some());
        self.seqs.insert(name, seq);
        self.values.insert(seq, value);
        self.evict();
    }

    fn evict(&mut self) {
        let config::RetainBounds { max, bytes } = self.retain.bounds;
        while self.values.len() - self.answers > max || self.bytes > bytes {
            // answers are few, and seldom said again: they would be the first to go
            let is_value = |(_, value): &(&u64, &Value)| value.answer.is_none();
            let first = self.values.iter().find(is_value).or_else(|| self.values.iter().next());
            let Some(first) = first.map(|(seq, _)| *seq) else { return };
            self.remove(first);
            self.dropped += 1;
        }
    }

    fn remove(&mut self, seq: u64) {
        let Some(value) = self.values.remove(&seq) else { return };
        self.bytes -= value.cost();
        self.answers -= usize::from(value.answer.is_some());
        self.seqs.remove(&value.name);
        if Rc::strong_count(&value.line) > 1 {
            self.left.push(value.line);
        }
    }

    /// What lines take that are retained no longer, and that clients are in the middle of.
    pub(super) fn left_bytes(&mut self) -> usize {
        self.left.retain(|line| Rc::strong_count(line) > 1);
        self.left.iter().map(|line| line.len()).sum()
    }
}

impl Log {
    /// Says what is retained from now on. What was retained otherwise is let go, and so is what is too much.
    pub fn set_retain(&mut self, retain: Retain) {
        match &mut self.retained {
            None if retain.is_nothing() => {}
            None => self.retained = Some(Box::new(Values { retain, ..Values::default() })),
            Some(values) => values.set(retain),
        }
    }

    /// Lets go of all that is retained: it is another server's.
    pub fn forget_retained(&mut self) {
        self.retained.iter_mut().for_each(|values| values.forget(|_| false));
    }

    /// How much is retained; `None` where nothing is to be.
    pub fn retained(&self) -> Option<Retained> {
        let values = self.retained.as_ref().filter(|values| !values.retain.is_nothing())?;
        Some(Retained { values: values.values.len(), bytes: values.bytes, dropped: values.dropped })
    }

    /// What is retained, and its bounds; `None` where nothing is to be.
    pub fn retains(&self) -> Option<&Retain> {
        self.retained.as_ref().map(|values| &values.retain).filter(|retain| !retain.is_nothing())
    }

    /// The values that are retained, of the entries from `from` to `to`, by their `seq`.
    pub fn last_values(&self, from: u64, to: u64) -> impl Iterator<Item = LastValue<'_>> {
        let values = self.retained.as_ref().filter(|_| from <= to);
        values
            .into_iter()
            .flat_map(move |values| values.values.range(from..=to))
            .map(|(seq, value)| LastValue { seq: *seq, topic: value.topic(), line: &value.line })
    }

    /// Retains the newest entry, a message of this topic; once it is committed, where it is staged.
    pub(in crate::hub) fn retain_newest(&mut self, topic: &MessageTopic, retain_as: &RetainAs) {
        let seq = self.next() - 1;
        let Some(values) = &mut self.retained else { return };
        let Some(name) = values.name(topic, retain_as) else { return };
        let answer = matches!(retain_as, RetainAs::Answer(_)).then(|| topic.clone());
        values.staged.push_back((seq, name, answer));
        self.retain_committed();
    }

    /// Retains the newest entry, which another log has had, if it is a message of a topic or with a key.
    pub(in crate::hub) fn retain_given(&mut self, line: &[u8]) {
        let Some(topics) = self.retains().and_then(|retain| retain.topics.as_ref()) else { return };
        if Message::is_one(line) {
            let key = topics.retain_key.as_ref().and_then(|pointer| key_of(line, pointer));
            self.retain_newest(&Message::topic_of(line), &RetainAs::Newest(key));
        }
    }

    /// Retains what was to be once it is committed, and is.
    pub(super) fn retain_committed(&mut self) {
        let head = self.head();
        let Some(mut values) = self.retained.take() else { return };
        while values.staged.front().is_some_and(|(seq, ..)| *seq <= head)
            && let Some((seq, name, answer)) = values.staged.pop_front()
        {
            if let Some(line) = self.line(seq, Format::Envelope) {
                values.keep(seq, name, line, answer);
            }
        }
        self.retained = Some(values);
    }

    /// What was to be retained from this entry on was taken back.
    pub(super) fn cut_retained(&mut self, seq: u64) {
        if let Some(values) = &mut self.retained {
            values.staged.retain(|(staged, ..)| *staged < seq);
        }
    }

    /// What has changed in a hole nobody knows: nothing that is older is the last value for sure.
    pub(super) fn drop_retained(&mut self) {
        if let Some(values) = &mut self.retained {
            values.dropped += values.values.len() as u64;
            values.forget(|_| false);
        }
    }
}

/// The key of a message that has become its line.
fn key_of(line: &[u8], pointer: &Pointer) -> Option<String> {
    let message: Message<'_> = serde_json::from_slice(line).ok()?;
    let json: serde_json::Value = serde_json::from_str(message.json?.get()).ok()?;
    match json.pointer(pointer.as_str())? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}
