//! Which topic a message is of. Pure.

use super::{
    matcher::{Look, Matcher},
    rules::Compiler,
};
use crate::{
    config::{Placeholder, TOPIC_GROUP, Template, TopicName, Topics, Value},
    hub::MessageTopic,
};

/// `[topics]`, compiled.
#[derive(Debug)]
pub(super) struct Naming {
    rules: Vec<(Matcher, TopicName)>,
    pointers: Vec<usize>,
    join: String,
}

impl Naming {
    /// Compiles what is configured; nothing where no message has a topic.
    pub(super) fn new(topics: &Topics, compiler: &mut Compiler) -> Option<Naming> {
        let rules = topics.rules.iter().map(|rule| {
            let name = match &rule.name {
                TopicName::Template(name) => TopicName::Template(compiler.template(name)),
                TopicName::Group(regex) => TopicName::Group(regex.clone()),
            };
            (compiler.pattern(&rule.when), name)
        });
        let rules = rules.collect();
        let pointers = topics.pointers.iter().map(|pointer| compiler.value(pointer)).collect();
        (!topics.is_empty()).then(|| Naming { rules, pointers, join: topics.join.clone() })
    }

    /// The topic of a message.
    pub(super) fn of(
        &self,
        look: &Look<'_>,
        slot: impl Fn(&crate::config::Pointer) -> Option<usize>,
    ) -> MessageTopic {
        let named =
            self.rules.iter().filter(|(when, _)| when.matches(look)).find_map(|(_, name)| match name {
                TopicName::Template(name) => rendered(name, look, &slot),
                TopicName::Group(regex) => {
                    let groups = regex.named(look.bytes)?;
                    let topic = groups.iter().find(|(name, topic)| *name == TOPIC_GROUP && !topic.is_empty());
                    topic.map(|(_, topic)| (*topic).to_owned())
                }
            });
        let pointed = || {
            let mut values = self.pointers.iter().filter_map(|slot| text(look.get(*slot)?));
            let first = values.next()?;
            Some(values.fold(first, |whole, value| whole + &self.join + &value))
        };
        named.or_else(pointed).map_or(MessageTopic::None, MessageTopic::new)
    }
}

fn rendered(
    name: &Template,
    look: &Look<'_>,
    slot: impl Fn(&crate::config::Pointer) -> Option<usize>,
) -> Option<String> {
    let value = |placeholder: &Placeholder| match placeholder {
        Placeholder::Field(pointer) => {
            let found = slot(pointer).and_then(|slot| text(look.get(slot)?));
            found.map(Value::Text).ok_or_else(|| "is not in the message".to_owned())
        }
        _ => Err("is no value of the message".to_owned()),
    };
    name.render(value).ok().map(|name| name.expose().to_owned())
}

/// A value that a topic can be of, or have in it: a text, a number, true or false.
pub(super) fn text(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(json.to_owned()),
    }
}
