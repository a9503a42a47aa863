//! `[heartbeat]`: the proof that the connection lives.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    script::{Say, decode},
    send_command::SendCommand,
};
use crate::config::{
    language::{names::Names, pattern::Pattern, placeholder::Placeholder, template::Template, uses::Use},
    reader::{
        Item, Section,
        duration::{format_duration, parse_duration},
        values::quoted,
    },
};

/// `heartbeat.message` where the file has none.
const MESSAGE: &str = r#"{"module":"HEART_CHECK","message":"请求心跳"}"#;

/// `heartbeat.timeout` where the file has none and the interval isn't shorter.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `[heartbeat]`: what is sent to prove that the connection lives, and the deadlines for the proof.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// `kind`, with what belongs to it. Default [`HeartbeatKind::Ping`].
    pub kind: HeartbeatKind,
    /// `interval`: from one beat to the next; 100 ms to 24 h. Default 30 s, also with `interval_from`,
    /// where it holds while nothing is captured.
    pub interval: Duration,
    /// `interval = "${capture:NAME}"`: the server says the interval. None by default.
    pub interval_from: Option<IntervalFrom>,
    /// `first`: when the first beat of a connection is. Default [`FirstBeat::Interval`].
    pub first: FirstBeat,
    /// `only_when_idle`: a beat is only sent after an interval in which nothing came in. Default false.
    pub only_when_idle: bool,
    /// `timeout`: no proof of life this long after a beat means that the connection is dead; at least
    /// 10 ms. Default: the interval, at most 10 s. Never longer than the interval. None for `"off"`: nothing
    /// answers a beat, and none is awaited.
    pub timeout: Option<Duration>,
    /// `idle_timeout`: no inbound frame at all for so long means dead; 1 s to 365 d. Off by default.
    pub idle_timeout: Option<Duration>,
    /// `idle_timeout = "${capture:NAME}"`: the server says how often it speaks. None by default.
    pub idle_timeout_from: Option<IdleFrom>,
    /// `publish`: whether clients get the messages that `expect` names. Default true.
    pub publish: bool,
    /// `close_code`: what the dead connection is closed with; 1000 or 3000 to 4999. None by default: TCP
    /// is dropped.
    pub close_code: Option<u16>,
}

/// `heartbeat.interval` from what the server said: the capture's value, a number or a text of one, times
/// the unit. What is out of the interval's bounds is moved to the nearest bound; 0, and what is no number,
/// says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalFrom {
    /// The capture's name.
    pub capture: String,
    /// `interval_unit`: `"ms"`, the default, or `"s"`.
    pub unit: Duration,
}

/// `heartbeat.idle_timeout` from what the server said: the captures' values, numbers or texts of one, times the unit,
/// and `plus`. What is out of [`IdleFrom::BOUNDS`] is moved to the nearest bound. While one of them isn't captured, is
/// 0 or is no number, there is no such timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleFrom {
    /// The captures' names, at least one; one that is there twice counts twice.
    pub captures: Vec<String>,
    /// `idle_timeout_unit`: `"ms"`, the default, or `"s"`.
    pub unit: Duration,
    /// The durations among them.
    pub plus: Duration,
}

impl IdleFrom {
    /// What an idle timeout may be: 1 s to 365 d.
    pub const BOUNDS: (Duration, Duration) =
        (Duration::from_secs(1), Duration::from_secs(365 * 24 * 60 * 60));
    /// So many captures and durations at most.
    const MAX: usize = 8;
}

/// As it is written: `${capture:interval} + 5s`.
impl fmt::Display for IdleFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let captures = self.captures.iter().map(|name| format!("${{capture:{name}}}"));
        let plus = (!self.plus.is_zero()).then(|| format_duration(self.plus));
        f.write_str(&captures.chain(plus).collect::<Vec<_>>().join(" + "))
    }
}

/// `heartbeat.first`: when the first beat of a connection is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FirstBeat {
    /// After one interval.
    #[default]
    Interval,
    /// After a random part of an interval, so that many clients of a server that restarts don't beat at once.
    Random,
    /// At once.
    Now,
}

/// `heartbeat.kind`.
#[derive(Debug, Clone, PartialEq)]
pub enum HeartbeatKind {
    /// Nothing is sent; `idle_timeout` still applies.
    Off,
    /// A ping frame (RFC 6455, 5.5.2).
    Ping,
    /// A message.
    Message {
        /// `message`, `message_binary` or `send_command`.
        message: Say,
        /// `expect`: the messages that prove life; without it any inbound frame does.
        expect: Option<Pattern>,
    },
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            kind: HeartbeatKind::Ping,
            interval: Duration::from_secs(30),
            interval_from: None,
            first: FirstBeat::Interval,
            only_when_idle: false,
            timeout: Some(DEFAULT_TIMEOUT),
            idle_timeout: None,
            idle_timeout_from: None,
            publish: true,
            close_code: None,
        }
    }
}

impl Heartbeat {
    /// Whether `timeout` is what it is where the file leaves it out.
    pub(in crate::config) fn has_default_timeout(&self) -> bool {
        self.timeout == Some(self.default_timeout())
    }

    /// What `timeout` is where the file leaves it out.
    pub fn default_timeout(&self) -> Duration {
        DEFAULT_TIMEOUT.min(self.interval)
    }

    pub(in crate::config) fn read(section: Section<'_>, names: &Names) -> Self {
        let default = Self::default();
        let before = section.problems();
        let interval_from = read_interval_from(&section, names);
        let intervals = Duration::from_millis(100)..=DAY;
        let interval = match interval_from {
            Some(_) => default.interval,
            None if section.problems() > before => default.interval,
            None => section.duration("interval", intervals).unwrap_or(default.interval),
        };
        let timeout = section.duration_or_off("timeout", Duration::from_millis(10)..=DAY);
        let fixed = interval_from.is_none() && section.problems() == before;
        if let Some(timeout) = timeout.flatten().filter(|timeout| *timeout > interval && fixed) {
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
        let beats =
            [("interval", FirstBeat::Interval), ("random", FirstBeat::Random), ("now", FirstBeat::Now)];
        let idle_timeout_from = read_idle_from(&section, names);
        let idle_timeout = match idle_timeout_from {
            Some(_) => None,
            None if section.problems() > before => None,
            None => {
                section.duration_or_off("idle_timeout", IdleFrom::BOUNDS.0..=IdleFrom::BOUNDS.1).flatten()
            }
        };
        let heartbeat = Self {
            kind: read_kind(&section, names),
            interval,
            interval_from,
            first: section.one_of("first", &beats).unwrap_or(default.first),
            only_when_idle: section.truth("only_when_idle").unwrap_or(default.only_when_idle),
            // A changed interval alone must always be a valid configuration.
            timeout: timeout.unwrap_or(Some(DEFAULT_TIMEOUT.min(interval))), // as in default_timeout
            idle_timeout,
            idle_timeout_from,
            publish: read_publish(&section),
            close_code: read_close_code(&section),
        };
        heartbeat.warn_of_no_proof(&section);
        section.finish();
        heartbeat
    }

    /// A connection that nothing proves to be alive.
    fn warn_of_no_proof(&self, section: &Section<'_>) {
        let has_idle = self.idle_timeout.is_some() || self.idle_timeout_from.is_some();
        let key = match self.kind {
            HeartbeatKind::Off => "kind",
            _ => "timeout",
        };
        let proves_nothing = !has_idle && (self.timeout.is_none() || self.kind == HeartbeatKind::Off);
        if let Some(item) = section.item(key).filter(|_| proves_nothing) {
            item.warning(
                "is \"off\" without `idle_timeout`, so that a dead connection isn't noticed until the system gives it \
                 up: write in idle_timeout after which silence it is dead",
            );
        }
    }
}

fn read_publish(section: &Section<'_>) -> bool {
    let publish = section.truth("publish").unwrap_or(true);
    if !publish && section.item("expect").is_none() {
        section.problem(
            "publish",
            "is false, but only `expect` tells which messages are the heartbeat's: write it",
        );
    }
    publish
}

/// `interval = "${capture:NAME}"`, with its unit.
fn read_interval_from(section: &Section<'_>, names: &Names) -> Option<IntervalFrom> {
    let unit = read_unit(section, "interval_unit");
    let item = with_placeholder(section, "interval")?;
    let template = names.header(&item, Use::Message)?;
    let capture = only_capture(&template);
    if capture.is_none() {
        item.problem("is neither a duration nor a capture: write such as \"30s\" or \"${capture:NAME}\"");
    }
    Some(IntervalFrom { capture: capture?, unit })
}

/// `idle_timeout = "${capture:NAME} + 5s"`, with its unit.
fn read_idle_from(section: &Section<'_>, names: &Names) -> Option<IdleFrom> {
    let mut from = IdleFrom {
        captures: Vec::new(),
        unit: read_unit(section, "idle_timeout_unit"),
        plus: Duration::ZERO,
    };
    let item = with_placeholder(section, "idle_timeout")?;
    let terms: Vec<&str> = item.text()?.split('+').map(str::trim).collect();
    if terms.len() > IdleFrom::MAX {
        item.problem(format_args!("adds up {} values: write at most {}", terms.len(), IdleFrom::MAX));
        return None;
    }
    for term in terms {
        let capture = match term.contains("${") {
            true => only_capture(&names.part(&item, term, Use::Message)?),
            false => None,
        };
        match (capture, parse_duration(term)) {
            (Some(capture), _) => from.captures.push(capture),
            (None, Ok(duration)) if duration <= IdleFrom::BOUNDS.1 => from.plus += duration,
            (None, _) => {
                item.problem(format_args!(
                    "has {}, which is neither a duration nor a capture: write such as \"90s\", \"${{capture:NAME}}\" or \
                     \"${{capture:NAME}} + 5s\"",
                    quoted(term)
                ));
                return None;
            }
        }
    }
    Some(from)
}

/// A key whose text has a placeholder.
fn with_placeholder<'a>(section: &Section<'a>, key: &'static str) -> Option<Item<'a>> {
    section.item(key).filter(|item| item.value.as_str().is_some_and(|text| text.contains("${")))
}

/// What a captured number counts.
fn read_unit(section: &Section<'_>, key: &'static str) -> Duration {
    const MILLISECOND: Duration = Duration::from_millis(1);
    let units = [("ms", MILLISECOND), ("s", Duration::from_secs(1))];
    section.one_of(key, &units).unwrap_or(MILLISECOND)
}

/// The name of the capture that is all of a template.
fn only_capture(template: &Template) -> Option<String> {
    let mut placeholders = template.placeholders();
    match (placeholders.next(), placeholders.next()) {
        (Some((Placeholder::Capture(name), _)), None) if template.with_stand_ins() == "1" => {
            Some(name.clone())
        }
        _ => None,
    }
}

/// A code that a client may close with: RFC 6455, 7.4, leaves it these.
pub(in crate::config) fn read_close_code(section: &Section<'_>) -> Option<u16> {
    let code: u16 = section.integer("close_code", 1000..=4999)?;
    if code != 1000 && code < 3000 {
        section.problem("close_code", format_args!("is {code}: write 1000, or a number from 3000 to 4999"));
    }
    Some(code)
}

fn read_kind(section: &Section<'_>, names: &Names) -> HeartbeatKind {
    let before = section.problems();
    let message = match section.item("message") {
        Some(item) => names.text(&item, Use::Message),
        None => None,
    };
    let is_told = section.problems() > before;
    let message = Say::Text(message.unwrap_or_else(|| Template::literal(MESSAGE)));
    let binary = section.item("message_binary");
    if binary.is_some() && section.item("message").is_some() {
        section.problem("message_binary", "is there beside `message`: write one of them");
    }
    let message = binary.and_then(|item| decode(&item)).map_or(message, Say::Binary);
    let others = ["message", "message_binary"];
    let command = SendCommand::read_beside(section, &others, names, Use::Message);
    if command.as_ref().is_some_and(|command| command.silent) {
        section.problem("send_command", "is silent, so that no heartbeat would be sent: take `silent` out");
    }
    let message = command.map_or(message, |command| Say::Command(Arc::new(command)));
    let expect = Pattern::read(section, "expect");
    let (off, ping) = (HeartbeatKind::Off, HeartbeatKind::Ping);
    let message = HeartbeatKind::Message { message, expect };
    let kinds = [("ping", &ping), ("message", &message), ("off", &off)];
    let known = section.one_of("kind", &kinds);
    let is_bad = known.is_none() && section.item("kind").is_some();
    let kind = known.unwrap_or(&ping);
    for key in ["message", "expect", "message_binary", "send_command"] {
        let Some(item) = section.item(key).filter(|_| *kind != message && !is_bad) else { continue };
        // as it stands in the sample, it says nothing
        let is_still = is_told || item.value.as_str() == Some(MESSAGE);
        if key != "message" || !is_still {
            item.problem("only goes with heartbeat.kind = \"message\": change the kind, or leave it out");
        }
    }
    let says_nothing =
        ["message", "message_binary", "send_command"].iter().all(|key| section.item(key).is_none());
    if let Some(item) = section.item("kind").filter(|_| *kind == message && says_nothing) {
        item.warning(format_args!(
            "is \"message\" without `message`, so that {MESSAGE} is sent, which few servers know: write what yours \
             wants to hear"
        ));
    }
    kind.clone()
}
