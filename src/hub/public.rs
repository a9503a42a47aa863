//! Captures that are public: clients are told their values, and may name them in what they send.

use std::{
    cell::Ref,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use serde_json::value::{RawValue, to_raw_value};

use super::{Expandable, Fate, Hub, Payload, Publisher, Send, Unexpanded, expand::MAX_GROWTH, now_us};
use crate::protocol::{Line, Public, PublicValues};

/// The longest value that is captured, in bytes of its JSON.
const MAX_VALUE: usize = 64 << 10;

/// Which captures are public, and what they are now.
#[derive(Debug, Default)]
pub(super) struct PublicCaptures {
    names: BTreeSet<String>,
    values: BTreeMap<String, String>,
    /// When they changed, in microseconds since the Unix epoch.
    since_us: u64,
    /// What they were before each entry that tells of them and is staged.
    before: VecDeque<(u64, BTreeMap<String, String>, u64)>,
}

impl PublicCaptures {
    fn told(&self) -> PublicValues {
        let raw = |json: &String| {
            // a line break in JSON can only stand between tokens
            let line = json.replace(['\n', '\r'], " ");
            RawValue::from_string(line).or_else(|_| to_raw_value(json)).ok()
        };
        let values = self.values.iter().filter_map(|(name, json)| Some((name.clone(), raw(json)?)));
        PublicValues(values.collect())
    }

    fn line(&self, seq: Option<u64>) -> Vec<u8> {
        Line::Public(Public { seq, time_us: self.since_us, public: self.told() }).write()
    }
}

impl Hub {
    /// The values of public captures, by their names.
    pub fn public(&self) -> PublicValues {
        self.captures().told()
    }

    /// The line that says them again, which is no entry; nothing where no capture is public.
    pub fn public_line(&self) -> Vec<u8> {
        let captures = self.captures();
        if captures.names.is_empty() { Vec::new() } else { captures.line(None) }
    }

    /// The longest line that tells of public captures, in bytes.
    pub(super) fn longest_public_line(&self) -> usize {
        // a value is escaped already, and a name has nothing to escape
        let names = self.captures().names.iter().map(|name| name.len() + MAX_VALUE + 4).sum::<usize>();
        if names == 0 { 0 } else { names + 128 }
    }

    /// Looks whether a message that a client sends names public captures alone.
    ///
    /// # Errors
    ///
    /// What is wrong with it: a sentence.
    pub fn check_expandable(&self, payload: &Payload) -> Result<(), String> {
        let Payload::Text(text) = payload else {
            return Err("`expand` is for `json` and `text`: a binary message has no placeholders".to_owned());
        };
        let captures = self.captures();
        match Expandable::parse(text)?.names().find(|name| !captures.names.contains(*name)) {
            None => Ok(()),
            Some(name) if captures.names.is_empty() => {
                Err(format!("`${{{name}}}` names no public capture: none is configured (`public = true`)"))
            }
            Some(name) => {
                let names: Vec<_> = captures.names.iter().map(|name| format!("`${{{name}}}`")).collect();
                Err(format!("`${{{name}}}` names no public capture: there is {}", names.join(", ")))
            }
        }
    }

    /// What is staged up to the entry `through` is committed.
    pub(super) fn commit_public(&self, through: u64) {
        let before = &mut self.0.common.captures.borrow_mut().before;
        while before.front().is_some_and(|(seq, ..)| *seq <= through) {
            before.pop_front();
        }
    }

    /// What is staged is cut: nobody has heard of what it tells.
    pub(super) fn cut_public(&self) {
        let captures = &mut *self.0.common.captures.borrow_mut();
        if let Some((_, values, since_us)) = std::mem::take(&mut captures.before).pop_front() {
            (captures.values, captures.since_us) = (values, since_us);
            captures.values.retain(|name, _| captures.names.contains(name));
        }
    }

    fn captures(&self) -> Ref<'_, PublicCaptures> {
        self.0.common.captures.borrow()
    }
}

impl Publisher {
    /// Says which captures are public from now on. Values of others are told no more. Where the log is another's and
    /// nothing is staged, that is no entry.
    pub fn set_public(&self, names: BTreeSet<String>) {
        let mut values = self.hub().captures().values.clone();
        values.retain(|name, _| names.contains(name));
        self.hub().0.common.captures.borrow_mut().names = names;
        if self.follows() && !self.hub().log().is_staging() {
            self.hub().0.common.captures.borrow_mut().values = values;
        } else {
            self.tell_public(values);
        }
    }

    /// Says what public captures are now, as JSON. Where that is something new, all clients are told, by an entry,
    /// of so many bytes.
    pub fn tell_public(&self, values: BTreeMap<String, String>) -> usize {
        let hub = self.hub();
        if hub.captures().values == values {
            return 0;
        }
        let now_us = now_us();
        {
            let captures = &mut *hub.0.common.captures.borrow_mut();
            let before = (std::mem::replace(&mut captures.values, values), captures.since_us);
            captures.since_us = now_us;
            let log = hub.log();
            if log.is_staging() {
                captures.before.push_back((log.next(), before.0, before.1));
            }
        }
        let mut bytes = 0;
        hub.append(now_us, |seq| {
            let line = hub.captures().line(Some(seq));
            bytes = line.len();
            line
        });
        hub.published();
        bytes
    }

    /// Takes over the values that another machine's entry tells of.
    pub(super) fn follow_public(&self, time_us: u64, told: &PublicValues) {
        let mut captures = self.hub().0.common.captures.borrow_mut();
        captures.values = told.0.iter().map(|(name, json)| (name.clone(), json.get().to_owned())).collect();
        captures.since_us = time_us;
    }

    /// Puts values in the places of a send's placeholders, now that it goes out. `None`: it can't be, which is told.
    pub fn expand(&self, send: Send) -> Option<Send> {
        if !send.expand {
            return Some(send);
        }
        let expanded = {
            let captures = self.hub().captures();
            let mut growth = MAX_GROWTH;
            let mut expand = |payload: &Payload| match payload {
                Payload::Text(text) => Expandable::parse(text)
                    .map_err(|_| Unexpanded::Unfit) // it was looked at when it came
                    .and_then(|expandable| {
                        expandable.expand(&mut growth, |name| captures.values.get(name).map(String::as_str))
                    })
                    .map(Payload::Text),
                Payload::Binary(bytes) => Ok(Payload::Binary(bytes.clone())),
            };
            expand(&send.payload).and_then(|payload| {
                Ok((payload, send.rest.iter().map(&mut expand).collect::<Result<Vec<_>, _>>()?))
            })
        };
        match expanded {
            Ok((payload, rest)) => Some(Send { payload, rest, ..send }),
            Err(why) => {
                send.ticket.settle(Fate::Unexpanded(why));
                None
            }
        }
    }
}
