//! Which topic a message is of. Pure.

use super::{
    matcher::{Look, Matcher, Slots},
    rules::Compiler,
    spot::{Fields, Spot},
};
use crate::{
    config::{Placeholder, TOPIC_GROUP, Template, TopicName, Topics, Value},
    hub::MessageTopic,
};

/// `[topics]`, compiled.
#[derive(Debug)]
pub(super) struct Naming {
    rules: Vec<(Matcher, TopicName, Fields)>,
    pointers: Vec<Spot>,
    join: String,
}

impl Naming {
    /// Compiles what is configured; nothing where no message has a topic.
    pub(super) fn new(topics: &Topics, compiler: &mut Compiler) -> Option<Naming> {
        let rules = topics.rules.iter().map(|rule| {
            let (name, fields) = match &rule.name {
                TopicName::Template(name) => {
                    let fields = compiler.fields(name, Some(&rule.when));
                    (TopicName::Template(compiler.template(name)), fields)
                }
                TopicName::Group(regex) => (TopicName::Group(regex.clone()), Fields::default()),
            };
            (compiler.pattern(&rule.when), name, fields)
        });
        let rules = rules.collect();
        let pointers = topics.pointers.iter().map(|pointer| compiler.spot(pointer)).collect();
        (!topics.is_empty()).then(|| Naming { rules, pointers, join: topics.join.clone() })
    }

    /// The topic of a message, which was probed for `slots`.
    pub(super) fn of(&self, look: &Look<'_>, slots: &Slots) -> MessageTopic {
        let mut meant = self.rules.iter().filter(|(when, ..)| when.matches(look));
        let named = meant.find_map(|(_, name, fields)| match name {
            TopicName::Template(name) => rendered(name, &look.with(fields), slots),
            TopicName::Group(regex) => {
                let groups = regex.named(look.bytes)?;
                let topic = groups.iter().find(|(name, topic)| *name == TOPIC_GROUP && !topic.is_empty());
                topic.map(|(_, topic)| (*topic).to_owned())
            }
        });
        let pointed = || {
            let mut values = self.pointers.iter().filter_map(|spot| text(spot.get(look)?));
            let first = values.next()?;
            Some(values.fold(first, |whole, value| whole + &self.join + &value))
        };
        named.or_else(pointed).map_or(MessageTopic::None, MessageTopic::new)
    }
}

fn rendered(name: &Template, look: &Look<'_>, slots: &Slots) -> Option<String> {
    let value = |placeholder: &Placeholder| match placeholder {
        Placeholder::Field(pointer) => {
            let found = look.field(pointer, slots).and_then(text);
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
