//! The part of `[topics]` that is about messages: which topic each is of.

use crate::config::{
    language::{
        expression::Expression, names::Names, pattern::Pattern, pointer::Pointer, template::Template,
        uses::Use,
    },
    reader::Section,
};

use super::{rotate::read_pointer, script::read_regex};

/// So many pointers, or rules, at most.
const MAX: usize = 256;

/// How the topic of a message is found. Empty by default: no message has one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Topics {
    /// `[[topics.rule]]`: the first that matches names the topic, before `pointer`.
    pub rules: Vec<TopicRule>,
    /// `pointer`: where the topic is; of several, the values that are there are joined. A value is a text, a number,
    /// true or false.
    pub pointers: Vec<Pointer>,
    /// `join`: what stands between them. Default `.`.
    pub join: String,
    /// `retain`: whether the newest message of each topic is retained. Default false.
    pub retain: bool,
    /// `retain_key`: the newest is retained for each value here, within its topic or without one. None by default.
    pub retain_key: Option<Pointer>,
    /// `retain_max` and `retain_bytes`.
    pub bounds: RetainBounds,
}

/// How much is retained: what was updated the longest ago goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainBounds {
    /// `retain_max`: so many values, 1 to 1,000,000. Default 10,000.
    pub max: usize,
    /// `retain_bytes`: so many bytes, what it takes to find them included; 64 KiB to 1 TiB. What steps of the script
    /// were answered counts too. Default 16 MiB.
    pub bytes: usize,
}

impl Default for RetainBounds {
    fn default() -> Self {
        Self { max: 10_000, bytes: 16 << 20 }
    }
}

/// One `[[topics.rule]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicRule {
    /// `when`: which messages. Where it is left out, those that `regex` matches.
    pub when: Pattern,
    /// Their topic. A message that has no such value has no topic by this rule.
    pub name: TopicName,
}

/// What a rule takes a topic from.
#[derive(Debug, Clone, PartialEq)]
pub enum TopicName {
    /// `name`, in which `${field:/POINTER}` is a value of the message.
    Template(Template),
    /// `regex`, whose group `topic` is the topic, as it stands in the message: text that needn't be JSON.
    Group(Expression),
}

impl Topics {
    /// Reads the keys of `[topics]` that are about messages.
    pub(in crate::config) fn read(section: &Section<'_>, names: &Names) -> Self {
        let rules = section.sections("rule").unwrap_or_default();
        let rules: Vec<_> = rules.into_iter().filter_map(|rule| TopicRule::read(rule, names)).collect();
        let items = section.one_or_more("pointer").unwrap_or_default();
        for (key, count) in [("rule", rules.len()), ("pointer", items.len())] {
            if count > MAX {
                section.problem(key, format_args!("is a list of {count}, but {MAX} are the most"));
            }
        }
        if items.is_empty()
            && section.item("pointer").is_some_and(|item| item.elements().is_some_and(|all| all.is_empty()))
        {
            section.problem("pointer", "is an empty list: write where the topic is, such as \"/stream\"");
        }
        let mut pointers: Vec<Pointer> = Vec::new();
        for item in &items {
            match item.text().map(Pointer::parse) {
                Some(Ok(pointer)) => pointers.push(pointer),
                Some(Err(why)) => item.problem(why),
                None => {}
            }
        }
        let join = section.item("join");
        if let Some(item) = join.as_ref().filter(|_| items.len() < 2 && !section.is_refused()) {
            item.problem("stands between several values: write a list of them as topics.pointer");
        }
        if let Some(item) = &join
            && item.text().is_some_and(|text| text.chars().any(char::is_control))
        {
            item.problem("has control characters in it, which no topic has");
        }
        let join = join.and_then(|item| item.text()).unwrap_or(".").to_owned();
        let default = RetainBounds::default();
        let bounds = RetainBounds {
            max: section.integer("retain_max", 1..=1_000_000).unwrap_or(default.max),
            bytes: section.size("retain_bytes", 64 << 10..=1 << 40).unwrap_or(default.bytes),
        };
        let retain = section.truth("retain").unwrap_or(false);
        let retain_key = read_pointer(section, "retain_key");
        if !section.is_refused() && !retain {
            for key in ["retain_key", "retain_max", "retain_bytes"] {
                if section.item(key).is_some() {
                    section.problem(key, "only goes with `retain = true` in [topics]: write that, too");
                }
            }
        }
        let names_any = rules.is_empty() && items.is_empty();
        if retain && names_any && section.item("retain_key").is_none() && section.item("id_topic").is_none() {
            section.problem(
                "retain",
                "is true, but no message has a topic: write topics.pointer, a [[topics.rule]] or topics.retain_key",
            );
        }
        Self { rules, pointers, join, retain, retain_key, bounds }
    }

    /// Whether no message has a topic.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.pointers.is_empty()
    }
}

/// The group that an expression names the topic by.
pub const TOPIC_GROUP: &str = "topic";

impl TopicRule {
    fn read(section: Section<'_>, names: &Names) -> Option<Self> {
        let before = section.problems();
        let when = Pattern::read(&section, "when");
        let name = section.item("name").and_then(|item| names.text(&item, Use::TopicName));
        let regex = read_regex(&section, "regex");
        if let Some(regex) = &regex
            && regex.names().ne([TOPIC_GROUP])
        {
            section.problem("regex", "is for a topic: write one named group, `(?<topic>…)`");
        }
        let both = section.item("name").is_some() && section.item("regex").is_some();
        if both {
            section.problem("regex", "names the topic, and so does `name`: leave one of them out");
        }
        if !section.is_refused() && section.problems() == before {
            if regex.is_none() && section.item("when").is_none() {
                section.problem("when", "is missing: write which messages are meant");
            }
            if regex.is_none() && section.item("name").is_none() {
                section.problem("name", "is missing: write their topic, such as \"kline.${field:/s}\"");
            }
        }
        let when = match section.item("when") {
            Some(_) => when,
            None => regex.clone().map(Pattern::Regex),
        };
        section.finish();
        let name = name.map(TopicName::Template).or_else(|| regex.map(TopicName::Group));
        Some(Self { when: when?, name: name? })
    }
}
