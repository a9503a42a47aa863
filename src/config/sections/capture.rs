//! `[[capture]]`: what is kept of messages.

use super::script::{read_regex, read_values};
use crate::config::{
    language::{expression::Expression, pattern::Pattern, pointer::Pointer},
    reader::Section,
};

/// One `[[capture]]`: of each message that matches, values are kept by name, in the script and after it.
///
/// What is captured outlives the connection, until a rule, a hole or a step says `forget`.
#[derive(Debug, Clone, PartialEq)]
pub struct Capture {
    /// `match`: which messages. Where it is left out, those that `regex` matches.
    pub pattern: Pattern,
    /// `values`: names, and where their values are. Where the message has no value, what was captured before stays.
    pub values: Vec<(String, Pointer)>,
    /// `regex`: its named groups are names, whose values are texts. There is this, or `values`, or both.
    pub regex: Option<Expression>,
    /// `public`: whether clients are told the values, and may name them in what they send. Default false.
    pub public: bool,
}

impl Capture {
    /// Reads `[[capture]]`.
    pub(in crate::config) fn read_all(root: &Section<'_>) -> Vec<Self> {
        root.sections("capture").unwrap_or_default().into_iter().filter_map(Self::read).collect()
    }

    fn read(section: Section<'_>) -> Option<Self> {
        let before = section.problems();
        let values = read_values(section.section("values"));
        let regex = read_regex(&section, "regex");
        if values.is_empty() && regex.is_none() && section.problems() == before && !section.is_refused() {
            section.problem(
                "values",
                "is missing: write a name and a pointer, such as { id = \"/d/id\" }, or a `regex` with named groups",
            );
        }
        let pattern = match section.item("match") {
            Some(item) => Pattern::of(&item),
            None => regex.clone().map(Pattern::Regex),
        };
        if pattern.is_none() && section.item("match").is_none() && !section.is_refused() {
            section.problem("match", "is missing: write of which messages");
        }
        let public = section.truth("public").unwrap_or(false);
        section.finish();
        Some(Self { pattern: pattern?, values, regex, public })
    }
}
