//! `[rotate]`: a new connection before the server ends the old one.

use std::time::Duration;

use crate::config::{
    language::{pattern::Pattern, pointer::Pointer},
    reader::Section,
};

/// `[rotate]`: when a new connection takes over from one that still works. Off by default.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotate {
    /// `after`: the connection's age; 1 s to 365 d. Off by default.
    pub after: Option<Duration>,
    /// `when`: a message that announces the end. None by default.
    pub when: Option<Pattern>,
    /// `overlap`: both connections are read for at most so long, once the new one is up; 0 s to 10 min.
    /// Default 5 s.
    pub overlap: Duration,
    /// `dedupe`: where a message has what names it; one that is heard on both connections is published
    /// once. None by default: both are published.
    pub dedupe: Option<Pointer>,
}

impl Default for Rotate {
    fn default() -> Self {
        Self { after: None, when: None, overlap: Duration::from_secs(5), dedupe: None }
    }
}

impl Rotate {
    pub(in crate::config) fn read(section: Section<'_>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let default = Self::default();
        let rotate = Self {
            after: section.duration_or_off("after", Duration::from_secs(1)..=365 * DAY).flatten(),
            when: Pattern::read(&section, "when"),
            overlap: section
                .duration("overlap", Duration::ZERO..=Duration::from_secs(600))
                .unwrap_or(default.overlap),
            dedupe: read_pointer(&section, "dedupe"),
        };
        section.finish();
        rotate
    }
}

/// A pointer that leads to one place, if the file has the key.
pub(in crate::config) fn read_pointer(section: &Section<'_>, key: &'static str) -> Option<Pointer> {
    let item = section.item(key)?;
    let pointer = Pointer::parse(item.text()?).map_err(|why| item.problem(why)).ok()?;
    if pointer.at_any().is_some() {
        item.warning(
            "has a `*`, which is a member's name here: only patterns, captures and topics mean a list's elements by it",
        );
    }
    Some(pointer)
}
