//! The part of `[topics]` that is about subscriptions: how they are said to the server, once for all clients.

use std::{collections::BTreeSet, time::Duration};

use super::{rotate::read_pointer, subscription_answer::SubscriptionAnswer};
use crate::config::{
    language::{
        names::Names,
        placeholder::Placeholder,
        pointer::Pointer,
        template::{Template, Value},
        uses::Use,
    },
    reader::{Item, Section, values::quoted},
};

/// The longest topic, in bytes.
pub const MAX_TOPIC: usize = 256;
/// The largest payload that goes with a topic, in bytes.
pub const MAX_PAYLOAD: usize = 64 << 10;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How topics are subscribed to.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscriptions {
    /// `subscribe`: what is said for the first subscriber of a topic, and again on each new connection.
    pub subscribe: Template,
    /// `unsubscribe`: what is said once the last has gone for `linger`. None by default: nothing, and the server
    /// sends the topic for as long as the connection lasts.
    pub unsubscribe: Option<Template>,
    /// `item`: what `${topics}` is a list of, as the only element of a list of JSON. Default `${topic}`.
    pub item: Template,
    /// `payload`: what `${payload}` is where a client gives none, as the only element of a list of JSON; it may hold
    /// the topic. None by default: a client must give one.
    pub payload: Option<Template>,
    /// `batch`: so many topics in one message at most, 1 to 10,000. Default 100, and 1 without `${topics}`.
    pub batch: usize,
    /// `linger`: for so long a topic stays after its last subscriber has gone; up to 1 d. Default 2 s.
    pub linger: Duration,
    /// `resubscribe`. Default [`Resubscribe::BeforeUp`].
    pub resubscribe: Resubscribe,
    /// `max`: so many topics at once, of all clients together; 1 to 1,000,000. Default 10,000.
    pub max: usize,
    /// `[topics.answer]`. None by default: no answer is expected.
    pub answer: Option<SubscriptionAnswer>,
    /// `id_topic`: messages that have here the id under which a topic was subscribed to are of that topic. None
    /// by default.
    pub id_topic: Option<Pointer>,
}

/// `topics.resubscribe`: when all topics are said again on a new connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resubscribe {
    /// After the script and before the link is up, or takes over.
    #[default]
    BeforeUp,
    /// Once it is up.
    AfterUp,
}

impl Subscriptions {
    /// Reads the keys of `[topics]` that are about subscriptions; none if there is no `subscribe`.
    pub(in crate::config) fn read(section: &Section<'_>, names: &Names) -> Option<Self> {
        let template = |key, used| section.item(key).and_then(|item| names.message(&item, used));
        let subscribe = template("subscribe", Use::Subscribe);
        let unsubscribe = template("unsubscribe", Use::Unsubscribe);
        let item = section.item("item");
        let read_item = item.as_ref().and_then(|item| read_item(item, names));
        if !section.is_refused() && section.item("subscribe").is_none() {
            for key in ONLY_WITH_SUBSCRIBE {
                if section.item(key).is_some() {
                    section.problem(key, "only goes with topics.subscribe: write what is said to the server");
                }
            }
        }
        let batch = section.integer("batch", 1..=10_000);
        check_templates(section, &subscribe, &unsubscribe, item.is_some(), batch);
        let answer = section.item("answer").map(|item| SubscriptionAnswer::read(item.section()));
        let is_keyed = answer.as_ref().is_some_and(|answer| answer.key_from.is_some());
        if is_keyed && has_list(&subscribe) && batch != Some(1) {
            section.problem(
                "answer",
                "has `key_from`, where one subscription has its id, but a message has several topics: write batch = 1",
            );
        }
        let id_topic = read_pointer(section, "id_topic");
        let counts = |template| has(template, |one| *one == Placeholder::NextId);
        let has_id = id_topic.is_some()
            || answer.as_ref().is_some_and(|answer| answer.id.is_some())
            || counts(&subscribe)
            || counts(&read_item);
        if !has_id && has(&unsubscribe, |one| *one == Placeholder::SubscribedId) {
            section.problem(
                "unsubscribe",
                "has `${subscribed_id}`, but nothing says where the id is: write topics.answer.id or topics.id_topic, or \
                 put `${next_id}` into topics.subscribe",
            );
        }
        let words = [("before_up", Resubscribe::BeforeUp), ("after_up", Resubscribe::AfterUp)];
        Some(Self {
            batch: batch.unwrap_or(if has_list(&subscribe) { 100 } else { 1 }),
            item: read_item.unwrap_or_else(default_item),
            payload: section.item("payload").and_then(|item| read_payload(&item, names)),
            linger: section.duration("linger", Duration::ZERO..=DAY).unwrap_or(Duration::from_secs(2)),
            resubscribe: section.one_of("resubscribe", &words).unwrap_or_default(),
            max: section.integer("max", 1..=1_000_000).unwrap_or(10_000),
            answer,
            id_topic,
            unsubscribe,
            subscribe: subscribe?,
        })
    }

    /// How it is with this template for everything, and the default for the rest.
    #[doc(hidden)]
    pub fn new(subscribe: &str) -> Self {
        let subscribe = Template::parse_message(subscribe).expect("a template");
        let is_list = subscribe.placeholders().any(|(one, _)| *one == Placeholder::Topics);
        Self {
            batch: if is_list { 100 } else { 1 },
            subscribe,
            unsubscribe: None,
            item: default_item(),
            payload: None,
            linger: Duration::from_secs(2),
            resubscribe: Resubscribe::default(),
            max: 10_000,
            answer: None,
            id_topic: None,
        }
    }

    /// Where what is said has its id.
    pub fn id(&self) -> Option<&Pointer> {
        self.answer.as_ref().and_then(|answer| answer.id.as_ref()).or(self.id_topic.as_ref())
    }

    /// Where an answer has it.
    pub fn answer_id(&self) -> Option<&Pointer> {
        self.answer.as_ref().and_then(|answer| answer.answer_id.as_ref()).or(self.id())
    }

    /// How long an answer is awaited; `None` where none is.
    pub fn answer_within(&self) -> Option<Duration> {
        self.answer.as_ref().filter(|answer| answer.accept.is_some()).map(|answer| answer.timeout)
    }

    /// Whether a message has a payload.
    pub fn wants_payload(&self) -> bool {
        self.placeholders().any(|placeholder| *placeholder == Placeholder::Payload)
    }

    /// What is wrong with a topic, if anything: the end of a sentence.
    ///
    /// # Errors
    ///
    /// It is empty, too long, has control characters, or fewer parts than the templates ask for.
    pub fn check(&self, topic: &str) -> Result<(), String> {
        if topic.is_empty() {
            return Err("is empty".to_owned());
        }
        if topic.len() > MAX_TOPIC {
            return Err(format!("has {} bytes, and {MAX_TOPIC} are the most", topic.len()));
        }
        if topic.chars().any(char::is_control) {
            return Err("has control characters in it".to_owned());
        }
        let (wanted, there) = (self.parts(), topic.split('.').count());
        match usize::from(wanted) > there {
            true => Err(format!(
                "has {there} of the {wanted} parts, divided by dots, that topics.subscribe names"
            )),
            false => Ok(()),
        }
    }

    /// A part of a topic, from 1 on: what stands between dots; the last that is asked for has the rest.
    pub fn part<'t>(&self, topic: &'t str, number: u8) -> &'t str {
        let parts = usize::from(self.parts().max(number));
        topic.splitn(parts, '.').nth(usize::from(number.max(1)) - 1).unwrap_or_default()
    }

    /// What topics must have in common to be said in one message: the parts, and the payload, that stand in
    /// `subscribe` or `unsubscribe` beside the list.
    pub fn group(&self, topic: &str, payload: Option<&str>) -> String {
        let payload = payload.map(str::to_owned).or_else(|| self.own_payload(topic));
        let outside = [Some(&self.subscribe), self.unsubscribe.as_ref()].into_iter().flatten().flat_map(of);
        // a message has one payload, also where each item has it
        let items = of(&self.item).filter(|placeholder| **placeholder == Placeholder::Payload);
        let outside: BTreeSet<_> = outside.chain(items).collect();
        let values = outside.into_iter().filter_map(|placeholder| match placeholder {
            Placeholder::Topic(Some(number)) => Some(self.part(topic, *number)),
            Placeholder::Payload => payload.as_deref(),
            _ => None,
        });
        values.collect::<Vec<_>>().join("\0")
    }

    /// A message for these topics, of which there is at least one. `other` knows all other placeholders.
    ///
    /// # Errors
    ///
    /// What `other` says is wrong: a sentence.
    pub fn message(
        &self,
        template: &Template,
        topics: &[&str],
        payload: Option<&str>,
        subscribed_id: Option<&str>,
        mut other: impl FnMut(&Placeholder) -> Result<Value, String>,
    ) -> Result<String, String> {
        let first = topics.first().copied().unwrap_or_default();
        let mut list = None;
        if of(template).any(|placeholder| *placeholder == Placeholder::Topics) {
            let mut items = Vec::with_capacity(topics.len());
            for topic in topics {
                let value = |one: &Placeholder| {
                    self.value(one, topic, payload, subscribed_id).unwrap_or_else(|| other(one))
                };
                let item = self.item.render(value).map_err(|error| error.to_string())?;
                let item = item.expose().trim();
                items.push(item[1..item.len() - 1].to_owned());
            }
            list = Some(items.join(","));
        }
        let value = |one: &Placeholder| match (one, &list) {
            (Placeholder::Topics, Some(list)) => Ok(Value::Json(list.clone())),
            (one, _) => self.value(one, first, payload, subscribed_id).unwrap_or_else(|| other(one)),
        };
        let whole = template.render(value).map_err(|error| error.to_string())?;
        Ok(whole.expose().to_owned())
    }

    fn value(
        &self,
        placeholder: &Placeholder,
        topic: &str,
        payload: Option<&str>,
        subscribed_id: Option<&str>,
    ) -> Option<Result<Value, String>> {
        Some(match placeholder {
            Placeholder::Topic(None) => Ok(Value::Text(topic.to_owned())),
            Placeholder::Topic(Some(number)) => Ok(Value::Text(self.part(topic, *number).to_owned())),
            Placeholder::Payload => match payload.map(str::to_owned).or_else(|| self.own_payload(topic)) {
                Some(payload) => Ok(Value::Json(payload)),
                None => Err("is what no client gave".to_owned()),
            },
            Placeholder::SubscribedId => match subscribed_id {
                Some(id) => Ok(Value::Json(id.to_owned())),
                None => Err("is not known: what was said has no such id".to_owned()),
            },
            _ => return None,
        })
    }

    /// What `payload` makes of a topic.
    fn own_payload(&self, topic: &str) -> Option<String> {
        let part = |one: &Placeholder| match one {
            Placeholder::Topic(Some(number)) => Ok(Value::Text(self.part(topic, *number).to_owned())),
            _ => Ok(Value::Text(topic.to_owned())),
        };
        let list = self.payload.as_ref()?.render(part).ok()?;
        let list = list.expose().trim();
        Some(list[1..list.len() - 1].to_owned())
    }

    /// How many parts of a topic are asked for.
    fn parts(&self) -> u8 {
        let numbers = self.placeholders().filter_map(|placeholder| match placeholder {
            Placeholder::Topic(Some(number)) => Some(*number),
            _ => None,
        });
        numbers.max().unwrap_or(1)
    }

    fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        [Some(&self.subscribe), self.unsubscribe.as_ref(), Some(&self.item), self.payload.as_ref()]
            .into_iter()
            .flatten()
            .flat_map(of)
    }
}

fn of(template: &Template) -> impl Iterator<Item = &Placeholder> {
    template.placeholders().map(|(placeholder, _)| placeholder)
}

fn default_item() -> Template {
    Template::parse_message("[${topic}]").expect("it is a template")
}

/// Keys that say more about what is said to the server.
const ONLY_WITH_SUBSCRIBE: [&str; 9] =
    ["unsubscribe", "item", "payload", "batch", "linger", "resubscribe", "max", "answer", "id_topic"];

fn has(template: &Option<Template>, which: fn(&Placeholder) -> bool) -> bool {
    template.iter().flat_map(of).any(which)
}

fn has_list(template: &Option<Template>) -> bool {
    has(template, |one| *one == Placeholder::Topics)
}

/// What is wrong with what is said to the server, by itself or beside another key.
fn check_templates(
    section: &Section<'_>,
    subscribe: &Option<Template>,
    unsubscribe: &Option<Template>,
    has_item: bool,
    batch: Option<usize>,
) {
    let both = [("subscribe", subscribe), ("unsubscribe", unsubscribe)];
    for (key, template) in both {
        if has_list(template) && has(template, |one| *one == Placeholder::Topic(None)) {
            let why = "has `${topic}` beside `${topics}`, but which of them? Write one of the two";
            section.problem(key, why);
        }
    }
    if subscribe.is_none() {
        return;
    }
    let names_topic =
        |one: &Placeholder| matches!(one, Placeholder::Topic(_) | Placeholder::Topics | Placeholder::Payload);
    if !has(subscribe, names_topic) {
        section.problem("subscribe", "doesn't say which topic: put `${topic}` or `${topics}` into it");
    }
    if has_item && !both.iter().any(|(_, template)| has_list(template)) {
        let why = "is what `${topics}` is a list of, which topics.subscribe doesn't have: take it out";
        section.problem("item", why);
    }
    if !has_list(subscribe) {
        if batch.is_some_and(|batch| batch > 1) {
            let why = "is more than 1, but topics.subscribe has no `${topics}`: a message has one topic";
            section.problem("batch", why);
        }
        return;
    }
    for (key, template) in both {
        if batch != Some(1) && template.as_ref().is_some_and(is_no_list) {
            let why = "has `${topics}` without brackets around it, which is no JSON once there are two: write \
                       `[${topics}]`";
            section.problem(key, why);
        }
    }
}

/// What `${topics}` has of each topic.
fn read_item(item: &Item<'_>, names: &Names) -> Option<Template> {
    let text = item.text()?;
    let whole = names.part(item, &format!("[{text}]"), Use::Topic)?;
    if serde_json::from_str::<serde::de::IgnoredAny>(&whole.with_stand_ins()).is_err() {
        item.problem(format_args!("is {}, which is no value of JSON", quoted(text)));
    }
    Some(whole)
}

fn read_payload(item: &Item<'_>, names: &Names) -> Option<Template> {
    let text = item.text()?;
    let whole = names.part(item, &format!("[{text}]"), Use::Topic)?;
    let list = whole.with_stand_ins();
    let one = list.get(1..list.len() - 1).unwrap_or_default();
    if !of(&whole).all(|one| matches!(one, Placeholder::Topic(_))) {
        item.problem("may hold `${topic}` and its parts alone: write what else there is into the message");
    } else if let Err(why) = serde_json::from_str::<serde::de::IgnoredAny>(one) {
        item.problem(format_args!("is {}, which is no JSON: {why}", quoted(text)));
    } else if text.len() > MAX_PAYLOAD {
        item.problem("is over 64KiB: write a shorter one");
    } else {
        return Some(whole);
    }
    None
}

/// Whether this is JSON for one topic, and none for two.
fn is_no_list(template: &Template) -> bool {
    let is_json = |topics| {
        let text = template.with_stand_ins_but(&Placeholder::Topics, topics);
        serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok()
    };
    is_json("1") && !is_json("1,1")
}

#[cfg(test)]
mod tests;
