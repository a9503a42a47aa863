//! `[heartbeat]`: the proof that the connection lives.

use std::time::Duration;

use super::{
    duration::format_duration,
    reader::Section,
    values::{json_scalar, kind},
};

/// `heartbeat.message` where the file has none.
const MESSAGE: &str = r#"{"module":"HEART_CHECK","message":"请求心跳"}"#;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `[heartbeat]`: what is sent to prove that the connection lives, and the deadlines for the proof.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// `kind`, with what belongs to it. Default [`HeartbeatKind::Ping`].
    pub kind: HeartbeatKind,
    /// `interval`: from one beat to the next; 100 ms to 24 h. Default 30 s.
    pub interval: Duration,
    /// `timeout`: no proof of life this long after a beat means that the connection is dead; at least
    /// 10 ms. Default: the interval, at most 10 s. Never longer than the interval.
    pub timeout: Duration,
    /// `idle_timeout`: no inbound frame at all for so long means dead; 1 s to 365 d. Off by default.
    pub idle_timeout: Option<Duration>,
}

/// `heartbeat.kind`.
#[derive(Debug, Clone, PartialEq)]
pub enum HeartbeatKind {
    /// Nothing is sent; `idle_timeout` still applies.
    Off,
    /// A ping frame (RFC 6455, 5.5.2).
    Ping,
    /// A text message.
    Message {
        /// The text, sent as it is. Never empty.
        text: String,
        /// `expect`: the messages that prove life; without it any inbound frame does.
        expect: Option<Expect>,
    },
}

/// Which messages answer a heartbeat: JSON whose value at each pointer (RFC 6901) equals the given one.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect(pub Vec<(String, serde_json::Value)>);

impl Expect {
    /// Whether `text` is JSON in which every pointer leads to its value.
    pub fn matches(&self, text: &str) -> bool {
        serde_json::from_str::<serde_json::Value>(text)
            .is_ok_and(|json| self.0.iter().all(|(pointer, value)| json.pointer(pointer) == Some(value)))
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            kind: HeartbeatKind::Ping,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            idle_timeout: None,
        }
    }
}

impl Heartbeat {
    pub(super) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let before = section.problems();
        let intervals = Duration::from_millis(100)..=DAY;
        let interval = section.duration("interval", intervals).unwrap_or(default.interval);
        let timeout = section.duration("timeout", Duration::from_millis(10)..=DAY);
        if let Some(timeout) = timeout.filter(|timeout| *timeout > interval && section.problems() == before) {
            section.problem(
                "timeout",
                format_args!(
                    "is {}, longer than heartbeat.interval, which is {}: write a shorter one, or \
                     leave it out",
                    format_duration(timeout),
                    format_duration(interval)
                ),
            );
        }
        let heartbeat = Self {
            kind: read_kind(&section),
            interval,
            // A changed interval alone must always be a valid configuration.
            timeout: timeout.unwrap_or(default.timeout.min(interval)),
            idle_timeout: section
                .duration_or_off("idle_timeout", Duration::from_secs(1)..=365 * DAY)
                .flatten(),
        };
        section.finish();
        heartbeat
    }
}

fn read_kind(section: &Section<'_>) -> HeartbeatKind {
    let text = section.text("message").unwrap_or(MESSAGE).to_owned();
    if text.is_empty() {
        section.problem("message", "is empty: write the text to send, or leave it out");
    }
    let expect = read_expect(section);
    let (off, ping) = (HeartbeatKind::Off, HeartbeatKind::Ping);
    let message = HeartbeatKind::Message { text, expect };
    let kinds = [("ping", &ping), ("message", &message), ("off", &off)];
    let known = section.one_of("kind", &kinds);
    let is_bad = known.is_none() && section.item("kind").is_some();
    let kind = known.unwrap_or(&ping);
    if *kind != message && !is_bad && section.item("expect").is_some() {
        section.problem(
            "expect",
            "only goes with heartbeat.kind = \"message\": change the kind, or leave it out",
        );
    }
    kind.clone()
}

fn read_expect(section: &Section<'_>) -> Option<Expect> {
    section.item("expect")?;
    let mut pairs = Vec::new();
    let table = section.section("expect");
    let refused = table.is_refused();
    let items = table.items();
    if items.is_empty() && !refused {
        section.problem(
            "expect",
            "is empty: write a JSON pointer and its value, such as { \"/type\" = \"pong\" }, or \
             leave it out",
        );
    }
    for item in items {
        if !is_pointer(item.name) {
            item.problem("is no JSON pointer: write one such as \"/type\", or \"\" for the whole");
        } else if let Some(value) = json_scalar(item.value) {
            pairs.push((item.name.to_owned(), value));
        } else {
            item.problem(format_args!(
                "is {}, which is no JSON text, number, true or false: write one of these",
                kind(item.value)
            ));
        }
    }
    Some(Expect(pairs))
}

/// Whether text is a JSON pointer (RFC 6901, section 3).
fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    (text.is_empty() || text.starts_with('/')) && escapes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_is_met_by_all_of_its_values() {
        let expect = Expect(vec![("/a/b".into(), 1.into()), ("/t".into(), "pong".into())]);
        assert!(expect.matches(r#"{"t":"pong","a":{"b":1},"x":null}"#));
        assert!(!expect.matches(r#"{"t":"pong"}"#));
        assert!(!expect.matches(r#"{"t":"ping","a":{"b":1}}"#));
        assert!(!expect.matches("pong"));
        assert!(Expect(vec![(String::new(), "pong".into())]).matches("\"pong\""));
    }

    #[test]
    fn pointers() {
        assert!(["", "/", "/a", "/a~0b/~1"].iter().all(|text| is_pointer(text)));
        assert!(["a", "#/a", "/~", "/~2"].iter().all(|text| !is_pointer(text)));
    }
}
