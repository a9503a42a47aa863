//! Topics that the daemon is asked to subscribe to, and what comes of it.

use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use crate::{
    cli::{
        failure::{FAILED, Failure, LATE, refusal},
        format::clean,
    },
    client::{Error, Requests},
    protocol::{Code, Done, Line, Op, Refusal},
};

/// How long the daemon may take to read.
const WRITE: Duration = Duration::from_secs(10);

/// So many topics are named.
const NAMED: usize = 5;

/// What is wanted.
pub(in crate::cli) struct Subscription {
    topics: Vec<String>,
    payload: Option<Box<RawValue>>,
    /// The id under which it was asked.
    asked: u64,
}

/// What a line says of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Note(String),
    /// That is the end.
    Failed(Failure),
}

impl Subscription {
    pub(in crate::cli) fn new(topics: Vec<String>, payload: Option<Box<RawValue>>) -> Subscription {
        Subscription { topics, payload, asked: 0 }
    }

    /// Asks for those that there still are.
    pub(super) fn ask(&mut self, requests: &mut Requests) -> Result<(), Error> {
        let topics = self.topics.iter().map(|topic| topic.into()).collect();
        let op = Op::Subscribe { topics, json: self.payload.as_deref() };
        self.asked = requests.send(op, Instant::now() + WRITE)?;
        Ok(())
    }

    pub(super) fn hear(&mut self, line: &Line<'_>) -> Said {
        match line {
            Line::Ok(done) if line.replies_to(self.asked) => match done.result.known() {
                Some(Done::Queued) => Said::Note("the link isn't up: subscribed to once it is".to_owned()),
                _ => Said::Note(format!("subscribed to {}", named(&self.topics))),
            },
            Line::Error(why) if line.replies_to(self.asked) => Said::Failed(failed("not subscribed to", why)),
            Line::Error(why) if why.id.is_none() => self.lose(why),
            _ => Said::Nothing,
        }
    }

    /// Hears what became of topics that it had.
    fn lose(&mut self, why: &Refusal<'_>) -> Said {
        let Some(lost) = why.topics.as_deref() else { return Said::Nothing };
        // the server didn't say that it has them again, nor that it hasn't
        if why.code.known() == Some(Code::Timeout) {
            return Said::Note(format!("{}: {}", named(lost), refusal(why)));
        }
        self.topics.retain(|topic| !lost.contains(topic));
        let failure = failed("no longer subscribed to", why);
        if self.topics.is_empty() { Said::Failed(failure) } else { Said::Note(failure.to_string()) }
    }
}

fn failed(what: &str, why: &Refusal<'_>) -> Failure {
    let code = if why.code.known() == Some(Code::Timeout) { LATE } else { FAILED };
    let topics = why.topics.as_deref().map_or(String::new(), |topics| format!(" {}", named(topics)));
    Failure::with_code(code, format!("{what}{topics}: {}", refusal(why)).replace(" to: ", ": "))
}

/// The first of the topics, for people.
fn named(topics: &[String]) -> String {
    let shown: Vec<_> = topics.iter().take(NAMED).map(|topic| clean(topic)).collect();
    match topics.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(subscription: &mut Subscription, line: &str) -> (Option<u8>, String) {
        match subscription.hear(&Line::parse(line.as_bytes()).unwrap()) {
            Said::Nothing => (None, String::new()),
            Said::Note(note) => (None, note),
            Said::Failed(failure) => (Some(failure.code()), failure.to_string()),
        }
    }

    #[test]
    fn what_becomes_of_topics() {
        for (line, code, said) in [
            (r#"{"type":"ok","id":2,"result":"subscribed"}"#, None, "subscribed to a, b"),
            (
                r#"{"type":"ok","id":2,"result":"queued"}"#,
                None,
                "the link isn't up: subscribed to once it is",
            ),
            (r#"{"type":"ok","id":1,"result":"attached"}"#, None, ""),
            (
                r#"{"type":"error","id":2,"code":"refused","message":"no such","topics":["b"]}"#,
                Some(1),
                "not subscribed to b: no such (refused)",
            ),
            (
                r#"{"type":"error","id":2,"code":"unsupported","message":"m"}"#,
                Some(1),
                "not subscribed: m (unsupported)",
            ),
            (
                r#"{"type":"error","id":2,"code":"timeout","message":"m","topics":["a","b"]}"#,
                Some(124),
                "not subscribed to a, b: m (timeout)",
            ),
            (
                r#"{"type":"error","code":"ended","message":"m","topics":["b"]}"#,
                None,
                "no longer subscribed to b: m (ended)",
            ),
            (
                r#"{"type":"error","code":"ended","message":"m","topics":["a","b"]}"#,
                Some(1),
                "no longer subscribed to a, b: m (ended)",
            ),
            (r#"{"type":"error","code":"timeout","message":"m","topics":["a"]}"#, None, "a: m (timeout)"),
            (r#"{"type":"error","code":"line_too_long","message":"m"}"#, None, ""),
        ] {
            let topics = ["a", "b"].map(str::to_owned).to_vec();
            let mut subscription = Subscription { asked: 2, ..Subscription::new(topics, None) };
            assert_eq!(heard(&mut subscription, line), (code, said.to_owned()), "{line}");
        }
        let mut subscription = Subscription::new(["a", "b"].map(str::to_owned).to_vec(), None);
        let ended =
            |topic: &str| format!(r#"{{"type":"error","code":"ended","message":"m","topics":["{topic}"]}}"#);
        assert_eq!(heard(&mut subscription, &ended("a")).0, None);
        assert_eq!(heard(&mut subscription, &ended("b")).0, Some(1), "none is left");
    }

    #[test]
    fn many_topics_are_counted() {
        let topics: Vec<_> = (0..7).map(|n| format!("t{n}")).collect();
        assert_eq!(named(&topics), "t0, t1, t2, t3, t4 and 2 more");
    }
}
