//! `[[reconnect.rule]]`: what certain failures lead to.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::remedy::{RejectOf, Remedy, read_remedy};
use crate::config::{
    language::pattern::Pattern,
    reader::{Item, Section, values::quoted},
};

/// One `[[reconnect.rule]]`. No code and no status is covered twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// `codes`: of the server's close frame; 1005 and 1006 as well.
    pub codes: Vec<RangeInclusive<u16>>,
    /// `statuses`: HTTP statuses of an upgrade that was refused.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// `match`: a message after which the connection is of no use; it is closed. A step's own `expect` and
    /// `reject` come first. None by default.
    pub pattern: Option<Pattern>,
    /// `then`, with its `delay`.
    pub then: Remedy,
}

impl Rule {
    /// Whether the rule is about this close code.
    pub fn covers_code(&self, code: u16) -> bool {
        self.codes.iter().any(|codes| codes.contains(&code))
    }

    /// Whether the rule is about this HTTP status.
    pub fn covers_status(&self, status: u16) -> bool {
        self.statuses.iter().any(|statuses| statuses.contains(&status))
    }
}

/// What a server's close frame may say (RFC 6455, 7.4); 1005 and 1006 are what wsfan says for none.
const CODES: RangeInclusive<u16> = 1000..=4999;
/// What an HTTP answer that is no upgrade may say (RFC 9110, 15).
const STATUSES: RangeInclusive<u16> = 200..=599;

/// A range of a rule, and what it is called in the file.
struct Covered {
    range: RangeInclusive<u16>,
    path: String,
    line: usize,
}

impl Rule {
    /// Reads `[[reconnect.rule]]`.
    pub(in crate::config) fn read_all(reconnect: &Section<'_>) -> Vec<Self> {
        let (mut codes, mut statuses) = (Vec::new(), Vec::new());
        let sections = reconnect.sections("rule").unwrap_or_default();
        sections.into_iter().filter_map(|section| Self::read(section, &mut codes, &mut statuses)).collect()
    }

    fn read(section: Section<'_>, codes: &mut Vec<Covered>, statuses: &mut Vec<Covered>) -> Option<Self> {
        let before = section.problems();
        let rule = Self {
            codes: read_ranges(&section, "codes", &CODES, codes),
            statuses: read_ranges(&section, "statuses", &STATUSES, statuses),
            pattern: Pattern::read(&section, "match"),
            then: read_remedy(&section, None, RejectOf::Connection).unwrap_or_default(),
        };
        let is_about_nothing = rule.codes.is_empty() && rule.statuses.is_empty() && rule.pattern.is_none();
        if section.problems() == before && is_about_nothing {
            section.problem(
                "codes",
                "is missing, and so are `statuses` and `match`: write at least one of them",
            );
        }
        section.finish();
        Some(rule)
    }
}

fn read_ranges(
    section: &Section<'_>,
    key: &'static str,
    bounds: &RangeInclusive<u16>,
    covered: &mut Vec<Covered>,
) -> Vec<RangeInclusive<u16>> {
    let Some(item) = section.item(key) else { return Vec::new() };
    let elements = item.elements().unwrap_or_else(|| vec![item.clone()]);
    if elements.is_empty() {
        item.problem("is an empty list: write numbers, or ranges such as \"4000-4009\"");
    }
    let mut ranges = Vec::new();
    for element in elements {
        let Some(range) = read_range(&element, bounds) else { continue };
        let there = covered
            .iter()
            .find(|there| there.range.start() <= range.end() && range.start() <= there.range.end());
        if let Some(Covered { path, line, .. }) = there {
            element
                .problem(format_args!("is covered by {path} on line {line} already: write each number once"));
        }
        covered.push(Covered { range: range.clone(), path: element.path.clone(), line: element.line });
        ranges.push(range);
    }
    ranges
}

/// A number, or two with a `-` between.
fn read_range(item: &Item<'_>, bounds: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let DeValue::String(text) = item.value else {
        return item
            .integer(i64::from(*bounds.start())..=i64::from(*bounds.end()))
            .map(|number| number..=number);
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|number| bounds.contains(number));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Some(first..=last),
        _ => {
            let (min, max) = (bounds.start(), bounds.end());
            item.problem(format_args!(
                "is {}: write a number from {min} to {max}, or a range such as \"{min}-{max}\"",
                quoted(text)
            ));
            None
        }
    }
}
