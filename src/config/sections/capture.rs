//! `[[capture]]`: what is kept of messages.

use super::script::read_values;
use crate::config::{
    language::{pattern::Pattern, pointer::Pointer},
    reader::Section,
};

/// One `[[capture]]`: of each message that matches, values are kept by name, in the script and after it.
///
/// What is captured outlives the connection, until a rule, a hole or a step says `forget`.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    /// `match`: which messages.
    pub pattern: Pattern,
    /// `values`: names, and where their values are. Never empty. Where the message has no value, what was
    /// captured before stays.
    pub values: Vec<(String, Pointer)>,
}

impl Capture {
    /// Reads `[[capture]]`.
    pub(in crate::config) fn read_all(root: &Section<'_>) -> Vec<Self> {
        root.sections("capture").unwrap_or_default().into_iter().filter_map(Self::read).collect()
    }

    fn read(section: Section<'_>) -> Option<Self> {
        let pattern = Pattern::read(&section, "match");
        let before = section.problems();
        let values = read_values(section.section("values"));
        if !section.is_refused() {
            if section.item("match").is_none() {
                section.problem("match", "is missing: write of which messages");
            }
            if values.is_empty() && section.problems() == before {
                section
                    .problem("values", "is missing: write a name and a pointer, such as { id = \"/d/id\" }");
            }
        }
        section.finish();
        Some(Self { pattern: pattern?, values })
    }
}
