//! What is held already: the last messages of it, or those since a time.

use std::collections::VecDeque;

use crate::protocol::{Line, Message};

/// What came before a time, and is passed over.
pub(super) struct Skip {
    pub(super) until_us: u64,
    /// A gap whose entries may have come after that time: what follows says so.
    pub(super) gap: Option<Vec<u8>>,
}

/// What becomes of a line while others are passed over.
pub(super) enum Skipping {
    Pass(Option<u64>),
    /// It is the first to be shown, after this gap.
    Begin(Option<Vec<u8>>),
    Show,
}

impl Skip {
    pub(super) fn look(&mut self, line: &[u8]) -> Skipping {
        let Some(parsed) = Line::parse(line) else { return Skipping::Show };
        match (&parsed, parsed.seq(), parsed.time_us()) {
            (_, Some(seq), Some(time_us)) if time_us < self.until_us => {
                self.gap = None;
                Skipping::Pass(Some(seq))
            }
            (_, Some(_), _) => Skipping::Begin(self.gap.take()),
            (Line::Gap(gap), ..) => {
                self.gap = Some(line.to_owned());
                Skipping::Pass(gap.to)
            }
            // the link's state said again
            (Line::Link(_), ..) => Skipping::Pass(None),
            _ => Skipping::Show,
        }
    }
}

/// The last messages, with what lies between them.
pub(super) struct Recalled {
    wanted: u64,
    messages: u64,
    pub(super) lines: VecDeque<Vec<u8>>,
    /// The newest entry so far.
    pub(super) at: u64,
}

impl Recalled {
    pub(super) fn new(wanted: u64) -> Recalled {
        Recalled { wanted, messages: 0, lines: VecDeque::new(), at: 0 }
    }

    /// Whether there are as many as are wanted.
    pub(super) fn is_whole(&self) -> bool {
        self.messages == self.wanted
    }

    /// Takes a line; why the daemon says bye, if it does.
    pub(super) fn add(&mut self, line: Vec<u8>) -> Option<String> {
        let parsed = Line::parse(&line);
        match &parsed {
            Some(Line::Bye(bye)) => return Some(bye.why.name().to_owned()),
            Some(Line::Gap(gap)) => self.at = self.at.max(gap.to.unwrap_or(0)),
            Some(other) => self.at = other.seq().unwrap_or(self.at),
            None => {}
        }
        let is_message = matches!(parsed, Some(Line::Message(_)));
        self.lines.push_back(line);
        self.messages += u64::from(is_message);
        // what stands before the first of them is older than what was asked for
        while self.messages > self.wanted || self.is_whole() && !self.begins_with_a_message() {
            let first = self.lines.pop_front()?;
            self.messages -= u64::from(is_a_message(&first));
        }
        None
    }

    fn begins_with_a_message(&self) -> bool {
        self.lines.front().is_none_or(|line| is_a_message(line))
    }
}

fn is_a_message(line: &[u8]) -> bool {
    Message::is_one(line) || matches!(Line::parse(line), Some(Line::Message(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_messages_are_kept_with_what_lies_between() {
        let message = |seq: u64| format!(r#"{{"type":"message","seq":{seq},"json":1}}"#);
        let link = r#"{"type":"link","seq":3,"state":"up"}"#.to_owned();
        let mut recalled = Recalled::new(2);
        for line in [message(1), message(2), link.clone(), message(4)] {
            assert_eq!(recalled.add(line.into_bytes()), None);
        }
        assert!(recalled.is_whole());
        assert_eq!(recalled.lines, [message(2), link, message(4)].map(String::into_bytes));
        assert_eq!(recalled.add(message(5).into_bytes()), None);
        assert_eq!((recalled.at, recalled.lines.len()), (5, 2));
        assert_eq!(recalled.add(br#"{"type":"bye","why":"shutdown"}"#.to_vec()), Some("shutdown".into()));
    }
}
