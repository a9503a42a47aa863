//! `[topics.answer]`: what the server says to a subscription.

use std::time::Duration;

use super::rotate::read_pointer;
use crate::config::{
    language::{pattern::Pattern, pointer::Pointer},
    reader::Section,
};

/// `[topics.answer]`: what the server says to it. A message is looked at for `reject`, `end` and `accept`, in
/// this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SubscriptionAnswer {
    /// `accept`: it is done. None by default: it is as soon as it is said.
    pub accept: Option<Pattern>,
    /// `reject`: it is refused, at once or later. None by default.
    pub reject: Option<Pattern>,
    /// `end`: the server ends a subscription by itself. None by default.
    pub end: Option<Pattern>,
    /// `id`: where what is said, and the answer, if `answer_id` doesn't say otherwise, have the id of the message.
    /// None by default: answers come in the order in which it was said, or name their topic.
    pub id: Option<Pointer>,
    /// `answer_id`: where the answer has it. Default as `id`.
    pub answer_id: Option<Pointer>,
    /// `topic`: where an answer names its topic; the values that are there, joined by dots, are the topic or the end
    /// of it, from a dot on. A list of texts there names those that were taken: others of the message are refused. None
    /// by default: it is about all topics of the message.
    pub topic: Vec<Pointer>,
    /// `key_from`: where what `accept` means has the id that the server gives the subscription, a text or a number of
    /// at most 256 bytes, which is then what `id_topic` and `${subscribed_id}` are about. With anything else there it
    /// has none. None by default: that of the message that asked for it.
    pub key_from: Option<Pointer>,
    /// `timeout`: for so long an answer is awaited; 10 ms to 10 min. Default 10 s.
    pub timeout: Duration,
    /// `publish`: whether clients get the answers as messages, too. Default false.
    pub publish: bool,
}

impl SubscriptionAnswer {
    /// How long an answer is awaited by default.
    const TIMEOUT: Duration = Duration::from_secs(10);

    pub(super) fn read(section: Section<'_>) -> Self {
        let timeouts = Duration::from_millis(10)..=Duration::from_secs(600);
        let topic = section
            .one_or_more("topic")
            .unwrap_or_default()
            .into_iter()
            .filter_map(|item| Pointer::parse(item.text()?).map_err(|why| item.problem(why)).ok());
        let answer = Self {
            accept: Pattern::read(&section, "accept"),
            reject: Pattern::read(&section, "reject"),
            end: Pattern::read(&section, "end"),
            id: read_pointer(&section, "id"),
            answer_id: read_pointer(&section, "answer_id"),
            topic: topic.collect(),
            key_from: read_pointer(&section, "key_from"),
            timeout: section.duration("timeout", timeouts).unwrap_or(Self::TIMEOUT),
            publish: section.truth("publish").unwrap_or(false),
        };
        let keys = ["accept", "reject", "end"];
        if !section.is_refused() && keys.iter().all(|key| section.item(key).is_none()) {
            section.problem(
                "accept",
                "is missing, and so are `reject` and `end`: write what the server answers",
            );
        }
        if answer.accept.is_none() && section.item("accept").is_none() && section.item("timeout").is_some() {
            section.problem("timeout", "only goes with `accept`: nothing else is awaited");
        }
        for (key, what) in [("accept", answer.accept.is_none()), ("id", answer.id.is_none())] {
            if answer.key_from.is_some() && what && section.item(key).is_none() {
                section.problem("key_from", format_args!("only goes with `{key}`: write that, too"));
            }
        }
        if answer.answer_id.is_some() && section.item("id").is_none() {
            section.problem("answer_id", "only goes with `id`: write where `topics.subscribe` has it, too");
        }
        if answer.accept.is_some() && answer.accept == answer.reject {
            section.problem("reject", "is the same as `accept`: take one out");
        }
        section.finish();
        answer
    }
}
