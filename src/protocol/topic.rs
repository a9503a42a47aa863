//! The topic of a message.

/// The longest topic, in bytes.
pub const MAX_TOPIC: usize = 256;

/// Which topic a message is of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MessageTopic {
    /// None.
    #[default]
    None,
    /// One that is too long, or has control characters in it: its line has an empty one. Nobody can say that it isn't
    /// meant, so that everybody gets it.
    Unfit,
    /// This one, which [`MessageTopic::new`] has found fit.
    Of(Box<str>),
}

impl MessageTopic {
    /// The topic of this name; none where it is empty.
    pub fn new(name: String) -> MessageTopic {
        match name.len() {
            0 => MessageTopic::None,
            1..=MAX_TOPIC if !name.chars().any(char::is_control) => MessageTopic::Of(name.into()),
            _ => MessageTopic::Unfit,
        }
    }

    /// As it stands on a line.
    pub fn as_line(&self) -> Option<&str> {
        match self {
            MessageTopic::None => None,
            MessageTopic::Unfit => Some(""),
            MessageTopic::Of(name) => Some(name),
        }
    }

    /// What stands on a line, back again.
    pub fn of_line(topic: Option<&str>) -> MessageTopic {
        match topic {
            None => MessageTopic::None,
            Some("") => MessageTopic::Unfit,
            Some(name) => MessageTopic::new(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_stand_on_a_line_is_a_topic() {
        for (name, is) in [
            ("btc".to_owned(), MessageTopic::Of("btc".into())),
            (String::new(), MessageTopic::None),
            ("x".repeat(256), MessageTopic::Of("x".repeat(256).into())),
            ("x".repeat(257), MessageTopic::Unfit),
            ("a\u{85}b".to_owned(), MessageTopic::Unfit),
        ] {
            let topic = MessageTopic::new(name);
            assert_eq!(topic, is);
            assert_eq!(MessageTopic::of_line(topic.as_line()), is);
        }
    }
}
