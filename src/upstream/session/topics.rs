//! What is said and heard of topics on one connection. Pure.

use super::{
    Session,
    context::Context,
    matcher::{Look, Matcher},
};
use crate::{
    config::{MAX_TOPIC, Placeholder, Value},
    hub::{AnswerKind, Payload, Saying, SayingKind, TopicAnswer},
};

/// `[topics]`, compiled: what answers are, and where they name what they are about.
#[derive(Debug)]
pub(super) struct TopicRules {
    /// In the order in which they are looked at.
    pub(super) verdicts: Vec<(AnswerKind, Matcher)>,
    pub(super) id: Option<usize>,
    pub(super) topic: Vec<usize>,
    /// Where an answer has the server's id of the subscription.
    pub(super) key: Option<usize>,
    /// Where messages have the id of their topic.
    pub(super) id_topic: Option<usize>,
    pub(super) terms: crate::config::Subscriptions,
}

/// What a message has to do with topics.
#[derive(Debug, Default, PartialEq)]
pub(in crate::upstream) struct OfTopics {
    /// The answer that it may be, and whether clients get it then.
    pub(in crate::upstream) answer: Option<(TopicAnswer, bool)>,
    /// The id of the topic that it is of, as JSON.
    pub(in crate::upstream) id: Option<String>,
}

/// Why something isn't said of topics.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Unsaid {
    /// It is over `limits.max_message`.
    TooLarge(String),
    /// Something in it has no value.
    NoValue(String),
}

impl Session {
    /// A message about topics, and its id.
    ///
    /// # Errors
    /// It can't be made: a sentence.
    pub(in crate::upstream) fn say_topics(
        &mut self,
        context: &mut Context<'_>,
        saying: &Saying,
    ) -> Result<(Payload, Option<String>), Unsaid> {
        let none = || Unsaid::NoValue("topics.subscribe isn't there any more".to_owned());
        let rules = std::rc::Rc::clone(&self.rules);
        let terms = &rules.topics.as_ref().ok_or_else(none)?.terms;
        let template = match saying.kind {
            SayingKind::Subscribe => &terms.subscribe,
            SayingKind::Unsubscribe => terms.unsubscribe.as_ref().ok_or_else(none)?,
        };
        let topics: Vec<&str> = saying.topics.iter().map(AsRef::as_ref).collect();
        let mut id = None;
        let message = terms.message(
            template,
            &topics,
            saying.payload.as_deref(),
            saying.subscribed_id.as_deref(),
            |placeholder| match placeholder {
                // one for the whole message
                Placeholder::NextId => match &id {
                    Some(id) => Ok(Value::Json(String::clone(id))),
                    None => self.value(context, placeholder, None).inspect(|value| {
                        if let Value::Json(json) = value {
                            id = Some(json.clone());
                        }
                    }),
                },
                placeholder => self.value(context, placeholder, None),
            },
        );
        let message = message.map_err(|why| Unsaid::NoValue(format!("it can't be said: {why}")))?;
        let id = match terms.id() {
            Some(pointer) => serde_json::from_str(&message)
                .ok()
                .and_then(|message: serde_json::Value| Some(message.pointer(pointer.as_str())?.to_string())),
            // of what is no JSON, wsfan's own number
            None => id,
        };
        let payload = self.fitting(Payload::Text(message)).map_err(Unsaid::TooLarge)?;
        if let Some(requests) = &rules.requests {
            self.calls.write_shared(context.now, requests, &payload);
        }
        Ok((payload, id))
    }

    /// What a message has to do with topics.
    pub(super) fn of_topics(&self, context: &Context<'_>, rules: &TopicRules, look: &Look<'_>) -> OfTopics {
        let is_meant = |(_, matcher): &&(AnswerKind, Matcher)| matcher.matches(look);
        let answer = rules.verdicts.iter().find(is_meant).map(|(verdict, _)| {
            let there = || rules.topic.iter().filter_map(|slot| look.get(*slot));
            let named: Vec<_> = there().filter_map(scalar).collect();
            let answer = TopicAnswer {
                verdict: *verdict,
                id: rules.id.and_then(|slot| look.get(slot)).filter(|id| *id != "null").map(str::to_owned),
                topic: (!named.is_empty()).then(|| named.join(".")),
                taken: there().find(|json| json.starts_with('[')).map(str::to_owned),
                key: rules.key.and_then(|slot| look.get(slot)).filter(|key| is_key(key)).map(str::to_owned),
                words: self.quote(context, look),
            };
            let publish = rules.terms.answer.as_ref().is_some_and(|answer| answer.publish);
            (answer, publish)
        });
        let id = rules.id_topic.and_then(|slot| look.get(slot)).map(str::to_owned);
        OfTopics { answer, id }
    }
}

/// Whether a topic may go by it, for as long as it is there: a text or a number.
fn is_key(json: &str) -> bool {
    json.starts_with(|first| matches!(first, '"' | '-' | '0'..='9')) && json.len() <= MAX_TOPIC
}

/// A scalar of JSON as text.
fn scalar(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'{' | b'[' => None,
        b'"' => serde_json::from_str(json).ok(),
        _ => Some(json.to_owned()),
    }
}
