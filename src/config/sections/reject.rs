//! What a server, or a program that is asked, says instead of what is expected.

use std::time::Duration;

use toml::de::DeValue;

use super::remedy::{AGAIN, RejectOf, Remedy, read_remedy};
use crate::config::{
    language::{pattern::Pattern, pointer::Pointer},
    reader::{Item, Section},
};

/// One entry of `reject`: a pattern, or `{ match = PATTERN, then = "…" }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reject {
    /// Which messages reject.
    pub pattern: Pattern,
    /// `then`: what that leads to. None: what `on_fail` says.
    pub then: Option<Remedy>,
    /// `then = "again"`: the step is said anew on the same connection, after `delay`. Only in a step, and with
    /// [`Remedy::After`], which is what it leads to where it has been said anew often enough.
    pub again: bool,
    /// `delay` as a pointer: where the message itself says how long to wait, in `delay_unit`. Only with
    /// [`Remedy::After`], whose own delay is 0 then; where there is no number, it is [`Remedy::Retry`].
    pub delay_from: Option<DelayFrom>,
}

/// A delay that a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayFrom {
    /// Where the number is.
    pub pointer: Pointer,
    /// `delay_unit`: `"s"`, the default, or `"ms"`.
    pub unit: Duration,
}

impl Reject {
    /// A rejection that leads to what `on_fail` says.
    pub fn new(pattern: Pattern) -> Self {
        Self { pattern, then: None, again: false, delay_from: None }
    }

    /// Reads a pattern, a table with `match` and `then`, or a list of both; none if the key isn't there.
    pub(in crate::config) fn read_all(section: &Section<'_>, key: &'static str, of: RejectOf) -> Vec<Self> {
        let Some(item) = section.item(key) else { return Vec::new() };
        let elements = match item.elements() {
            Some(elements) if !elements.is_empty() => elements,
            // an empty list is refused as a pattern
            _ => vec![item],
        };
        let has_verdict = |item: &Item<'_>| {
            item.value
                .as_table()
                .is_some_and(|table| ["match", "then"].iter().any(|key| table.contains_key(*key)))
        };
        let rejects = elements.iter().filter_map(|element| match has_verdict(element) {
            true => Self::read(element.section(), of),
            false => Pattern::of(element).map(Self::new),
        });
        rejects.collect()
    }

    fn read(section: Section<'_>, of: RejectOf) -> Option<Self> {
        let pattern = Pattern::read(&section, "match");
        if section.item("match").is_none() {
            section.problem("match", "is missing: write which messages reject");
        }
        let units = [("s", Duration::from_secs(1)), ("ms", Duration::from_millis(1))];
        let unit = section.one_of("delay_unit", &units).unwrap_or(Duration::from_secs(1));
        let delay = section.item("delay");
        let pointer = delay
            .as_ref()
            .filter(|item| matches!(item.value, DeValue::String(text) if text.starts_with('/')));
        let delay_from = pointer.and_then(|item| {
            let pointer = Pointer::parse(item.text()?).map_err(|why| item.problem(why)).ok()?;
            Some(DelayFrom { pointer, unit })
        });
        let then = read_remedy(&section, pointer.map(|_| Duration::ZERO), of);
        let again = section
            .item("then")
            .is_some_and(|item| matches!(item.value, DeValue::String(word) if word == AGAIN));
        section.finish();
        Some(Self { pattern: pattern?, then, again, delay_from })
    }
}
