//! What the server answers.

use std::{borrow::Cow, collections::HashMap, rc::Rc};

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{SayingKind, SubscriptionError, SubscriptionPhase, Subscriptions, Topic};

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// `topics.answer.accept`.
    Accept,
    /// `topics.answer.reject`.
    Reject,
    /// `topics.answer.end`.
    End,
}

/// An answer of the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicAnswer {
    /// What it means.
    pub verdict: AnswerKind,
    /// The id that it carries, as JSON.
    pub id: Option<String>,
    /// The topic that it names, or the end of it.
    pub topic: Option<String>,
    /// The list that names topics, or the ends of them, as JSON: others of the message that it accepts are refused.
    pub taken: Option<String>,
    /// The id that the server gives the subscription, as JSON: messages carry it, and it is ended by it.
    pub key: Option<String>,
    /// The server's words, fit for a sentence.
    pub words: String,
}

impl Subscriptions {
    /// The server has answered. Says whether that was about a topic, or about an unsubscription.
    pub fn heard(&mut self, seat: usize, answer: &TopicAnswer) -> bool {
        match self.meant(seat, answer) {
            None => false,
            Some((number, topics)) => {
                let is_any = !topics.is_empty();
                let (taken, left_out) = answer.divided(topics);
                let mut is_known = self.take_answer(seat, number, &taken, answer);
                // of an answer that nothing waits for, a list says nothing
                if number.is_some() && !left_out.is_empty() {
                    let refused = TopicAnswer { verdict: AnswerKind::Reject, ..answer.clone() };
                    is_known |= self.take_answer(seat, number, &left_out, &refused);
                }
                is_known || is_any
            }
        }
    }

    /// The message and the topics that an answer is about.
    fn meant(&self, seat: usize, answer: &TopicAnswer) -> Option<(Option<u64>, Vec<Topic>)> {
        let seat = self.seats[seat].as_ref()?;
        let by_id = self.terms.as_ref()?.id().is_some();
        let named = answer.topic.as_deref().filter(|topic| !topic.is_empty());
        let (number, all) = match (&answer.id, named) {
            (Some(id), _) if by_id => {
                let is_its = |message: &super::connection::SaidMessage| message.id.as_deref() == Some(id);
                let message = seat.messages.iter().find(|(_, message)| is_its(message));
                let ids = if answer.verdict == AnswerKind::End { seat.carried() } else { &seat.ids };
                match (message, ids.get(id.as_str())) {
                    (Some((number, message)), _) if answer.verdict != AnswerKind::End => {
                        (Some(*number), message.topics.clone())
                    }
                    // a list that somebody else has asked for by the same id
                    (None, _) if answer.verdict == AnswerKind::Accept && answer.taken.is_some() => {
                        return None;
                    }
                    // it is settled already: what is refused or ended now was live, and what is accepted so late, too
                    (_, Some(topics)) => (None, topics.clone()),
                    _ => return None,
                }
            }
            (_, Some(named)) => {
                let asked = |phase| match answer.verdict {
                    AnswerKind::End => phase == SubscriptionPhase::Live,
                    _ => phase != SubscriptionPhase::Waits,
                };
                let topics = seat.phases().filter(|(topic, phase)| asked(*phase) && is_named(topic, named));
                // two that end alike are told apart by the whole name
                let topics: Vec<_> = topics.map(|(topic, _)| Rc::clone(topic)).collect();
                let whole = topics.iter().find(|topic| &***topic == named);
                return Some((None, whole.or(topics.first()).into_iter().cloned().collect()));
            }
            (_, None) if !by_id && answer.verdict != AnswerKind::End => {
                let (number, message) = seat.messages.first_key_value()?;
                (Some(*number), message.topics.clone())
            }
            _ => return None,
        };
        let Some(named) = named.filter(|_| all.len() > 1) else { return Some((number, all)) };
        let topics: Vec<_> = all.into_iter().filter(|topic| is_named(topic, named)).collect();
        (!topics.is_empty()).then_some((number, topics))
    }

    fn take_answer(
        &mut self,
        at: usize,
        number: Option<u64>,
        topics: &[Topic],
        answer: &TopicAnswer,
    ) -> bool {
        let Some(seat) = self.seats[at].as_mut() else { return false };
        let mut kind = None;
        if let Some(number) = number
            && let Some(message) = seat.messages.get_mut(&number)
        {
            kind = Some(message.kind);
            let is_whole = answer.topic.is_none() && answer.taken.is_none() && message.topics.len() > 1;
            if answer.verdict == AnswerKind::Reject && is_whole && message.kind == SayingKind::Subscribe {
                let topics = message.topics.clone();
                seat.messages.remove(&number);
                seat.halve(&topics, SubscriptionPhase::Asked(number));
                self.want_held(at, &topics);
                return true;
            }
            message.topics.retain(|topic| !topics.contains(topic));
            if message.topics.is_empty() {
                seat.messages.remove(&number);
            }
        }
        if kind == Some(SayingKind::Unsubscribe) {
            return true;
        }
        let is_whole = number.is_none() && answer.taken.is_none();
        if is_whole && answer.verdict == AnswerKind::Reject && topics.len() > 1 {
            // they were taken to be live, as no answer was expected
            seat.halve(topics, SubscriptionPhase::Live);
            self.want_held(at, topics);
            return true;
        }
        for topic in topics {
            match answer.verdict {
                AnswerKind::Accept => self.accepted(at, number, topic, answer.key.as_deref()),
                AnswerKind::Reject | AnswerKind::End => self.denied(at, number, topic, answer),
            }
        }
        kind.is_some()
    }

    /// The server has a topic that was asked for.
    fn accepted(&mut self, at: usize, number: Option<u64>, topic: &Topic, key: Option<&str>) {
        let Some(seat) = self.seats[at].as_mut() else { return };
        let Some(SubscriptionPhase::Asked(asked)) = seat.phase(topic) else { return };
        match number {
            Some(number) if number != asked => return,
            Some(_) => {}
            None => seat.answered(asked, topic),
        }
        if let Some(key) = key {
            seat.key(topic, key);
        }
        seat.accept(topic, asked);
        self.settle(topic);
    }

    /// The server won't have a topic that was asked for, or has it no more.
    fn denied(&mut self, at: usize, number: Option<u64>, topic: &Topic, answer: &TopicAnswer) {
        let Some(seat) = self.seats[at].as_mut() else { return };
        match seat.phase(topic) {
            None | Some(SubscriptionPhase::Waits) => return,
            Some(SubscriptionPhase::Asked(asked)) if number.is_some_and(|number| number != asked) => return,
            Some(SubscriptionPhase::Asked(asked)) => seat.answered(asked, topic),
            Some(_) => {}
        }
        let was_leaving = seat.is_leaving(topic);
        seat.forget(topic);
        if was_leaving {
            // that was of what nobody holds any more: it may be held with other JSON by now
            return self.want_held(at, std::slice::from_ref(topic));
        }
        let goes_on = self.seats.iter().flatten().any(|seat| seat.has(topic));
        match answer.verdict {
            // the connection that takes over has it
            AnswerKind::End if goes_on => {}
            AnswerKind::End => self.lose(topic, SubscriptionError::Ended, &answer.words),
            _ => self.lose(topic, SubscriptionError::Refused, &answer.words),
        }
    }
}

impl TopicAnswer {
    /// The topics that an answer is about: those that it means, and those that it leaves out and so refuses.
    fn divided(&self, topics: Vec<Topic>) -> (Vec<Topic>, Vec<Topic>) {
        match &self.taken {
            Some(list) if self.verdict == AnswerKind::Accept => {
                let mut taken = are_named(list, &topics).into_iter();
                topics.into_iter().partition(|_| taken.next().unwrap_or_default())
            }
            _ => (topics, Vec::new()),
        }
    }
}

impl super::ConnectionTopics {
    /// What a message said of a topic is answered.
    fn answered(&mut self, number: u64, topic: &Topic) {
        if let Some(message) = self.messages.get_mut(&number) {
            message.topics.retain(|one| one != topic);
            if message.topics.is_empty() {
                self.messages.remove(&number);
            }
        }
    }
}

/// Whether a topic is this one, or ends in it from a dot on.
fn is_named(topic: &str, named: &str) -> bool {
    topic.strip_suffix(named).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Which topics a list of JSON names. The list is the server's, and may be long: it is read once, and nothing of it is
/// kept.
fn are_named(list: &str, topics: &[Topic]) -> Vec<bool> {
    /// Topics by what names them, and which are named by now.
    struct Named<'a>(HashMap<&'a str, Vec<usize>>, Vec<bool>);

    impl<'de> Visitor<'de> for &mut Named<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
            while let Some(one) = list.next_element::<&RawValue>()? {
                let text = match one.get().strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                    Some(text) if !text.contains('\\') => Cow::Borrowed(text),
                    Some(_) => Cow::Owned(serde_json::from_str(one.get()).unwrap_or_default()),
                    None => continue,
                };
                // once: the next of the same name says nothing new
                for at in self.0.remove(&*text).unwrap_or_default() {
                    self.1[at] = true;
                }
            }
            Ok(())
        }
    }

    let mut named = Named(HashMap::new(), vec![false; topics.len()]);
    for (at, topic) in topics.iter().enumerate() {
        let ends = topic.match_indices('.').map(|(dot, _)| &topic[dot + 1..]);
        for name in std::iter::once(&**topic).chain(ends) {
            named.0.entry(name).or_default().push(at);
        }
    }
    // it is a value of a message that was read already
    let _ = serde_json::Deserializer::from_str(list).deserialize_seq(&mut named);
    named.1
}
