//! Captures that are public: what they are now is told. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Machine, News};
use crate::upstream::{session::memory::Captures, settings::Settings};

/// Which captures are public, and what was told of them.
#[derive(Debug, Default)]
pub(super) struct Public {
    names: BTreeSet<String>,
    /// What was captured when it was last told. While it is the same, so are the values.
    told: Captures,
}

impl Public {
    pub(super) fn new(settings: &Settings) -> Public {
        Public { names: settings.terms.public_captures(), told: Captures::default() }
    }
}

impl Machine {
    /// The values of public captures, where they may have changed since the last call.
    pub(super) fn poll_public(&mut self) -> Option<News> {
        if self.public.names.is_empty() {
            return None;
        }
        let captures = self.world.memory.captures();
        if captures.is_same(&self.public.told) {
            return None;
        }
        let value = |name: &String| Some((name.clone(), captures.json(name)?.to_owned()));
        let values: BTreeMap<_, _> = self.public.names.iter().filter_map(value).collect();
        self.public.told = captures;
        Some(News::Public(values))
    }
}
