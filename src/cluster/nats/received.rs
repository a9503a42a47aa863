//! A message that has come from NATS, in no more memory than it needs.

use async_nats::{HeaderMap, Message};

use crate::cluster::machine::Header;

/// What a message takes beside its bytes: what holds it, and its parts' places in memory.
const EACH: usize = 256;

/// The last number that a consumer has given to a message, in a sign that it is there.
pub(super) const LAST_GIVEN: &str = "Nats-Last-Consumer";

/// Where a consumer waits for an answer before it gives more, in such a sign.
pub(super) const STALLED: &str = "Nats-Consumer-Stalled";

/// A message. What it came in was a part of a large buffer, and headers in a table of many small ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    /// Where it was sent.
    pub(super) subject: Box<str>,
    /// Where an answer is awaited.
    pub(super) reply: Option<Box<str>>,
    /// What the server says instead of a payload, or of the consumer.
    pub(super) status: Option<u16>,
    /// The same in words.
    pub(super) description: Option<Box<str>>,
    /// Those that say something here, a line each.
    headers: Box<str>,
    /// What is said.
    pub(super) payload: Vec<u8>,
}

impl Received {
    /// This one. Of its headers those are kept that may be those of the log or a consumer.
    pub(super) fn new(message: &Message, keeps_headers: bool) -> Received {
        let headers = message.headers.as_ref().filter(|_| keeps_headers);
        Received {
            subject: message.subject.as_str().into(),
            reply: message.reply.as_ref().map(|reply| reply.as_str().into()),
            status: message.status.map(|status| status.as_u16()),
            description: message.description.as_deref().map(Into::into),
            headers: headers.map(lines).unwrap_or_default().into(),
            payload: message.payload.to_vec(),
        }
    }

    /// The value of the header of this name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.split_terminator('\n').filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// How many bytes it takes.
    pub(super) fn size(&self) -> usize {
        let texts = [self.reply.as_deref(), self.description.as_deref()];
        let texts: usize = texts.into_iter().flatten().map(str::len).sum();
        EACH + self.subject.len() + texts + self.headers.len() + self.payload.len()
    }
}

fn lines(headers: &HeaderMap) -> String {
    let mut lines = String::new();
    for name in Header::NAMES.into_iter().chain([LAST_GIVEN, STALLED]) {
        if let Some(value) = headers.get(name).map(|value| value.as_str())
            && !value.contains('\n')
        {
            lines.extend([name, ":", value, "\n"]);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_something_is_kept_and_what_doesnt_takes_no_room() {
        let mut headers = HeaderMap::new();
        headers.insert("Wsfan-Epoch", "e:1");
        headers.insert("Wsfan-Term", "7");
        headers.insert(LAST_GIVEN, "12");
        (0..10_000).for_each(|n| headers.insert(format!("X-{n}").as_str(), "y"));
        let message = Message {
            subject: "s".into(),
            reply: Some("r".into()),
            payload: "{}\n".into(),
            headers: Some(headers),
            status: None,
            description: None,
            length: 0,
        };
        let received = Received::new(&message, true);
        let values = ["Wsfan-Epoch", "Wsfan-Term", LAST_GIVEN, "X-1", "Wsfan-Node", "Wsfan"];
        assert_eq!(
            values.map(|name| received.header(name)),
            [Some("e:1"), Some("7"), Some("12"), None, None, None]
        );
        assert!((EACH + 5..EACH + 100).contains(&received.size()), "{}", received.size());
        assert_eq!(Received::new(&message, false).header("Wsfan-Epoch"), None);
    }
}
