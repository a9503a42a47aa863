//! What a listener, or one of its rules, lets a client do.

use super::{
    limits::{Window, read_windows},
    rights::{Ops, Rights},
};
use crate::config::{
    language::{
        pattern::Pattern,
        topic_pattern::{MAX_TOPIC_PATTERNS, TopicPattern},
    },
    reader::{Item, Section, values::quoted},
};

/// What a client may do. The same keys stand in `[[listener]]` and in `[[listener.rule]]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grant {
    /// `rights`. Default receive and send.
    pub rights: Rights,
    /// `ops`: of what the rights allow, these ops alone. All by default.
    pub ops: Ops,
    /// `topics`: of these topics alone it gets messages, and may subscribe to them. None by default: of all, and
    /// messages without a topic.
    pub topics: Option<Vec<TopicPattern>>,
    /// `send_when`: what may be sent: messages that this matches. Anything by default.
    pub send_when: Option<Pattern>,
    /// `max_message`: the largest message that may be sent, in bytes; 1 byte to 512 MiB. Off by default.
    pub max_message: Option<usize>,
    /// `rate`: so many messages may be sent by each user, over all connections to the listener; all windows hold.
    /// At most [`MAX_WINDOWS`](super::limits::MAX_WINDOWS), of 10,000 at most. None by default.
    pub rate: Vec<Window>,
}

/// One `[[listener.rule]]`: what some users may do instead.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerRule {
    /// `users`: names or numbers.
    pub users: Vec<String>,
    /// `groups`: names or numbers; a client is in all groups of its process.
    pub groups: Vec<String>,
    /// What those may do: what the rule doesn't say is as the listener says.
    pub grant: Grant,
}

/// So many rules of a listener at most, and names in one.
const MAX_RULES: usize = 64;
const MAX_NAMES: usize = 256;

/// The largest count of a window of `rate`: each message is remembered for its time.
const MAX_RATE: u32 = 10_000;

impl Grant {
    /// Every right, and no bounds.
    pub const ALL: Self = Self {
        rights: Rights { receive: true, send: true, control: true },
        ops: Ops::ALL,
        topics: None,
        send_when: None,
        max_message: None,
        rate: Vec::new(),
    };

    /// What a section says; `default` is for what it leaves out.
    pub(in crate::config) fn read(section: &Section<'_>, default: &Self) -> Self {
        let rate = section.item("rate").map(|_| read_windows(section, "rate", MAX_RATE));
        Self {
            rights: Rights::read(section).unwrap_or(default.rights),
            ops: Ops::read(section).unwrap_or(default.ops),
            topics: read_topics(section).or_else(|| default.topics.clone()),
            send_when: Pattern::read(section, "send_when").or_else(|| default.send_when.clone()),
            max_message: section.size("max_message", 1..=512 << 20).or(default.max_message),
            rate: rate.unwrap_or_else(|| default.rate.clone()),
        }
    }
}

impl ListenerRule {
    /// The rules of a listener that lets others do `grant`.
    pub(in crate::config) fn read_all(listener: &Section<'_>, grant: &Grant) -> Vec<Self> {
        let sections = listener.sections("rule").unwrap_or_default();
        if sections.len() > MAX_RULES {
            let count = sections.len();
            listener.problem("rule", format_args!("is there {count} times: write at most {MAX_RULES} rules"));
        }
        sections.into_iter().map(|section| Self::read(section, grant)).collect()
    }

    fn read(section: Section<'_>, grant: &Grant) -> Self {
        let (users, groups) = (read_names(&section, "users"), read_names(&section, "groups"));
        if section.item("users").is_none() && section.item("groups").is_none() && !section.is_refused() {
            section.problem(
                "users",
                "is missing, and groups too: write whom the rule is for, such as [\"alice\"]",
            );
        }
        let rule = Self { users, groups, grant: Grant::read(&section, grant) };
        section.finish();
        rule
    }
}

fn read_topics(section: &Section<'_>) -> Option<Vec<TopicPattern>> {
    let items = section.texts("topics")?;
    if items.is_empty() || items.len() > MAX_TOPIC_PATTERNS {
        section.problem(
            "topics",
            format_args!(
                "is a list of {}: write 1 to {MAX_TOPIC_PATTERNS} topics or patterns, or leave it out for all",
                items.len()
            ),
        );
        return None;
    }
    let pattern = |item: &Item<'_>| match TopicPattern::parse(item.text()?) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            item.problem(why);
            None
        }
    };
    Some(items.iter().filter_map(pattern).collect())
}

fn read_names(section: &Section<'_>, key: &'static str) -> Vec<String> {
    let Some(items) = section.texts(key) else { return Vec::new() };
    if items.is_empty() || items.len() > MAX_NAMES {
        let what = if key == "users" { "users" } else { "groups" };
        section.problem(
            key,
            format_args!("is a list of {}: write 1 to {MAX_NAMES} {what}, or leave it out", items.len()),
        );
    }
    let named = |item: &Item<'_>| {
        let text = item.text()?;
        if !is_name(text) {
            let who = if key == "users" { "user" } else { "group" };
            item.problem(format_args!("is {}: write a {who}'s name or number", quoted(text)));
            return None;
        }
        Some(text.to_owned())
    };
    items.iter().filter_map(named).collect()
}

/// Whether a text can be the name or the number of a user or a group.
pub(super) fn is_name(text: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '/';
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    // the largest number means "don't change" to the kernel; nothing at all is no number either
    let bad_number = is_number && !text.parse().is_ok_and(|id: u32| id != u32::MAX);
    !bad_number && !text.contains(bad)
}
