//! A place in the log, to be kept and gone on from.

use crate::protocol::{Hello, Line, Since, Why};

/// A place in the log: after this entry. Epoch and seq name it for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The life of the log that it belongs to.
    pub epoch: String,
    /// The last entry that was worked off.
    pub seq: u64,
}

impl Place {
    /// Where one is who has just connected: after the newest entry.
    pub fn newest(hello: &Hello<'_>) -> Place {
        Place { epoch: hello.epoch.to_string(), seq: hello.seq }
    }

    /// Before the oldest entry that can be had.
    pub fn oldest(hello: &Hello<'_>) -> Place {
        Place { epoch: hello.epoch.to_string(), seq: hello.oldest.saturating_sub(1) }
    }

    /// As a request says it.
    pub fn since(&self) -> Since<'_> {
        Since { epoch: (&self.epoch).into(), seq: self.seq }
    }

    /// Moves on with a line: past an entry, or past a gap, which has told of what is lost.
    pub fn pass(&mut self, line: &Line<'_>) {
        match line {
            // one of another epoch alone says nothing of this one's entries
            Line::Gap(gap) if gap.why == Why::Epoch && gap.to.is_none() => {}
            // a last value is from before
            Line::Message(message) if message.snapshot => {}
            Line::Gap(gap) => self.seq = gap.to.unwrap_or(self.seq),
            _ => self.seq = line.seq().unwrap_or(self.seq),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_moves_with_entries_and_gaps() {
        let hello = Hello { epoch: "e".into(), seq: 9, oldest: 4, ..Hello::default() };
        assert_eq!(Place::oldest(&hello).seq, 3);
        let mut place = Place::newest(&hello);
        assert_eq!(place.since(), Since { epoch: "e".into(), seq: 9 });
        for (line, seq) in [
            (r#"{"type":"message","seq":10,"time_us":1,"json":1}"#, 10),
            (r#"{"type":"link","time_us":1,"state":"up"}"#, 10), // said again
            (r#"{"type":"link","seq":11,"time_us":1,"state":"up"}"#, 11),
            (r#"{"type":"gap","from":12,"to":20,"count":9,"why":"slow_client"}"#, 20),
            (r#"{"type":"gap","count":null,"why":"epoch"}"#, 20),
            (r#"{"type":"gap","seq":21,"time_us":1,"why":"upstream","from":5,"to":7,"count":3}"#, 21),
            (r#"{"type":"ok","id":1,"result":"attached","seq":3}"#, 21),
            (r#"{"type":"message","seq":4,"time_us":1,"json":1,"snapshot":true}"#, 21),
            (r#"{"type":"snapshot","seq":21,"count":1,"dropped":0}"#, 21),
            (r#"{"type":"gap","from":1,"to":2,"count":null,"why":"epoch"}"#, 2),
        ] {
            place.pass(&Line::parse(line.as_bytes()).unwrap());
            assert_eq!(place.seq, seq, "{line}");
        }
    }
}
