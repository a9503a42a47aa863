//! Which placeholder has a value where.

use super::{placeholder::Placeholder, template::Position};

/// Where a template is used, which says what has a value there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Use {
    /// In `[vars]`.
    Variable,
    /// In what a command reads: no other command may be run for it.
    Input,
    /// In `[derived.NAME]`, wherever that is used.
    Derived,
    /// In a URL or a header, for each attempt.
    Attempt,
    /// In `[cluster]`, for each attempt to reach NATS: nothing of the server's is known there.
    Nats,
    /// In `upstream.resume_url`.
    Resume,
    /// In a message of the heartbeat, say.
    Message,
    /// In a message of the script.
    Step,
    /// In the answer to a message.
    Reply,
    /// In `sequence.send`.
    Hole,
    /// In `topics.subscribe`.
    Subscribe,
    /// In `topics.unsubscribe`.
    Unsubscribe,
    /// In `requests.stream.cancel`.
    Cancel,
    /// In `topics.item`.
    Topic,
    /// In the `name` of a `[[topics.rule]]`.
    TopicName,
}

impl Use {
    /// Why a placeholder has no value in such a place, whatever is defined: the end of a sentence.
    pub(super) fn refuses(self, placeholder: &Placeholder, position: Position) -> Option<&'static str> {
        let is_bare = position == Position::JsonValue;
        let is_read =
            matches!(placeholder, Placeholder::Credential(_) | Placeholder::Env(_) | Placeholder::File(_));
        let is_field = matches!(placeholder, Placeholder::Field(_));
        let why = match placeholder {
            _ if self == Use::TopicName && !is_field => {
                "is no value of the message: write such as `${field:/s}`"
            }
            _ if self == Use::Nats && !is_read => {
                "is of the upstream's: write `${credential:NAME}`, `${env:NAME}` or `${file:PATH}`"
            }
            Placeholder::NextId
            | Placeholder::Topic(_)
            | Placeholder::Topics
            | Placeholder::Payload
            | Placeholder::Key
            | Placeholder::SubscribedId
                if self == Use::Derived =>
            {
                "is known only when the message goes out: write it there"
            }
            Placeholder::Var(_) if self == Use::Variable => "is another variable: write what that one is",
            Placeholder::Command(..) if self == Use::Input => {
                "is a command, and commands wait for no other: write here what needs none"
            }
            _ if is_read && is_bare => "is text that stands bare in JSON: put quotes around it",
            Placeholder::Capture(_) if matches!(self, Use::Variable | Use::Input | Use::Attempt) => {
                "is there only once the server has spoken: it goes in messages and in upstream.resume_url"
            }
            Placeholder::Last(_) | Placeholder::NextId | Placeholder::ConnectionId
                if matches!(self, Use::Variable | Use::Input | Use::Attempt | Use::Resume) =>
            {
                "goes in messages only"
            }
            Placeholder::SubscribedId if self != Use::Unsubscribe => {
                "is known once a topic is subscribed to: it goes in topics.unsubscribe only"
            }
            Placeholder::HoleFrom | Placeholder::HoleTo if self != Use::Hole => {
                "is a number that the server's count lacks: it goes in sequence.send only"
            }
            Placeholder::Key if self != Use::Cancel => {
                "is what a stream's messages carry: it goes in requests.stream.cancel only"
            }
            Placeholder::Topics if self == Use::Topic => "is the list that this is one of: write `${topic}`",
            Placeholder::Topics if position == Position::JsonText => {
                "is a list of values, but stands within a string: take out the quotes"
            }
            Placeholder::Topic(_) | Placeholder::Topics | Placeholder::Payload
                if !matches!(self, Use::Subscribe | Use::Unsubscribe | Use::Topic) =>
            {
                "is what clients subscribe to: it goes in [topics] only"
            }
            Placeholder::Field(_)
                if !matches!(self, Use::Step | Use::Reply | Use::Hole | Use::TopicName | Use::Derived) =>
            {
                "is of a message that came in: it goes in [[script.step]], [[reply]], [[topics.rule]] and \
                 sequence.send only"
            }
            Placeholder::NowMs(_) | Placeholder::NowS(_) | Placeholder::Uuid if self == Use::Variable => {
                "has another value at each use: write it where it is used"
            }
            _ => return None,
        };
        Some(why)
    }
}
