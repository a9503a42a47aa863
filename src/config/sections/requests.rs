//! `[requests]`: how requests and their answers are told apart, so that each answer goes to who asked.

use std::time::Duration;

use super::rotate::read_pointer;
use crate::config::{
    language::{names::Names, pattern::Pattern, pointer::Pointer, template::Template, uses::Use},
    reader::Section,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// So many `[[requests.stream]]` at most: a message is looked at for each.
const MAX_STREAMS: usize = 64;

/// `[requests]`: where requests and answers have their ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Requests {
    /// `id`: where a request carries its id. Never the whole message.
    pub id: Pointer,
    /// `id_kind`: what wsfan writes there. Default [`IdKind::Number`].
    pub id_kind: IdKind,
    /// `answer_id`: where an answer carries it. Default as `id`.
    pub answer_id: Pointer,
    /// `answer`: what the first answer to a request must match, too. None by default: its id is enough.
    pub answer: Option<Pattern>,
    /// `error`: answers that are refusals. None by default.
    pub error: Option<Pattern>,
    /// `timeout`: for so long an answer is awaited where the client doesn't say; 10 ms to 1 d. Default 30 s.
    pub timeout: Duration,
    /// `max_in_flight`: so many requests may await their first answer on a connection, wsfan's own counted; 0, the
    /// default, for no such bound; up to 10,000.
    pub max_in_flight: usize,
    /// `rewrite_sends`: whether sends that are requests, and lines on raw listeners, get ids of wsfan's, too.
    /// Default false.
    pub rewrite_sends: bool,
    /// `rewrite_when`: which messages are requests. None by default: all JSON with a value at `id`, but for answers to
    /// the server's requests.
    pub rewrite_when: Option<Pattern>,
    /// `publish`: whether others see answers, as messages. Default false.
    pub publish: bool,
    /// `[[requests.stream]]`: requests that have more than one answer.
    pub streams: Vec<RequestStream>,
    /// `[requests.server]`: requests from the server. None by default.
    pub server: Option<ServerRequests>,
}

/// `requests.id_kind`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IdKind {
    /// A number.
    #[default]
    Number,
    /// A text of digits.
    Text,
}

/// `[[requests.stream]]`: a request after whose first answer more messages follow.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestStream {
    /// `when`: which requests.
    pub when: Pattern,
    /// `key_from`: the value in the first answer that the messages carry. None by default: the request's id.
    pub key_from: Option<Pointer>,
    /// `key`: where they carry it. Default as `answer_id`.
    pub key: Pointer,
    /// `end`: the message that is the last. None by default: they come until somebody ends them.
    pub end: Option<Pattern>,
    /// `cancel`: what is said when the client cancels or leaves; `${key}` is the value that the messages carry. None by
    /// default: nothing.
    pub cancel: Option<Template>,
    /// `stop`: requests by which a client ends it itself. None by default.
    pub stop: Option<Pattern>,
    /// `stop_id`: where such a request names it: by the key, or by the id that the client gave the first request.
    pub stop_id: Option<Pointer>,
}

/// `[requests.server]`: requests from the server, each of which is answered once.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerRequests {
    /// `when`: which messages are requests.
    pub when: Pattern,
    /// `id`: where they carry their id.
    pub id: Pointer,
    /// `answer`: which sends are answers.
    pub answer: Pattern,
    /// `answer_id`: where an answer carries the request's id. Default as `id`.
    pub answer_id: Pointer,
    /// `timeout`: for so long a request is open; 10 ms to 1 d. Default 30 s.
    pub timeout: Duration,
}

impl Requests {
    /// For so long an answer is awaited by default.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// Reads `[requests]`; none if the file has none, or says that it is `"off"`.
    pub(in crate::config) fn read(root: &Section<'_>, names: &Names) -> Option<Self> {
        let section = root.section_or_off("requests")?;
        let id = id_pointer(&section, "id");
        if section.item("id").is_none() && !section.is_refused() {
            section.problem("id", "is missing: write where a request has its id, such as \"/id\"");
        }
        let answer_id = id_pointer(&section, "answer_id").or_else(|| id.clone());
        let kinds = [("number", IdKind::Number), ("text", IdKind::Text)];
        let rewrite_sends = section.truth("rewrite_sends").unwrap_or(false);
        let streams = section.sections("stream").unwrap_or_default();
        if streams.len() > MAX_STREAMS {
            section.problem("stream", format_args!("has more than {MAX_STREAMS} tables: write fewer"));
        }
        let streams: Vec<_> = streams
            .into_iter()
            .map(|stream| RequestStream::read(stream, answer_id.as_ref(), names))
            .collect();
        let server = section.item("server").map(|item| ServerRequests::read(item.section()));
        let requests = Self {
            id_kind: section.one_of("id_kind", &kinds).unwrap_or_default(),
            answer: Pattern::read(&section, "answer"),
            error: Pattern::read(&section, "error"),
            timeout: read_timeout(&section),
            max_in_flight: section.integer("max_in_flight", 0..=10_000).unwrap_or(0),
            rewrite_sends,
            rewrite_when: Pattern::read(&section, "rewrite_when"),
            publish: section.truth("publish").unwrap_or(false),
            streams: streams.into_iter().collect::<Option<_>>().unwrap_or_default(),
            server: server.flatten(),
            id: id.unwrap_or_else(nowhere),
            answer_id: answer_id.unwrap_or_else(nowhere),
        };
        section.finish();
        Some(requests)
    }

    /// The same with another pace: what a change of doesn't ask for another connection.
    pub(in crate::config) fn paced_as(&self, other: &Self) -> Self {
        Self {
            timeout: other.timeout,
            max_in_flight: other.max_in_flight,
            rewrite_sends: other.rewrite_sends,
            publish: other.publish,
            ..self.clone()
        }
    }
}

impl RequestStream {
    fn read(section: Section<'_>, answer_id: Option<&Pointer>, names: &Names) -> Option<Self> {
        let when = Pattern::read(&section, "when");
        if section.item("when").is_none() && !section.is_refused() {
            section.problem("when", "is missing: write which requests have more than one answer");
        }
        let stop = Pattern::read(&section, "stop");
        let stop_id = read_pointer(&section, "stop_id");
        if stop.is_some() != stop_id.is_some() && !section.is_refused() {
            let (missing, advice) = match stop {
                Some(_) => ("stop_id", "is missing: write where such a request names what it stops"),
                None => ("stop", "is missing: write which requests stop it"),
            };
            if section.item(missing).is_none() {
                section.problem(missing, advice);
            }
        }
        let key = id_pointer(&section, "key");
        let stream = Self {
            key_from: read_pointer(&section, "key_from"),
            key: key.or_else(|| answer_id.cloned()).unwrap_or_else(nowhere),
            end: Pattern::read(&section, "end"),
            cancel: section.item("cancel").and_then(|item| names.message(&item, Use::Cancel)),
            stop,
            stop_id,
            when: match when {
                Some(when) => when,
                None => {
                    section.finish();
                    return None;
                }
            },
        };
        section.finish();
        Some(stream)
    }
}

impl ServerRequests {
    fn read(section: Section<'_>) -> Option<Self> {
        let (when, answer) = (Pattern::read(&section, "when"), Pattern::read(&section, "answer"));
        let id = id_pointer(&section, "id");
        let answer_id = id_pointer(&section, "answer_id").or_else(|| id.clone());
        for (key, advice) in [
            ("when", "is missing: write which messages are requests"),
            ("id", "is missing: write where they have their id, such as \"/id\""),
            ("answer", "is missing: write which sends answer them"),
        ] {
            if section.item(key).is_none() && !section.is_refused() {
                section.problem(key, advice);
            }
        }
        if when.is_some() && when == answer {
            section.problem("answer", "is the same as `when`: a request would be its own answer");
        }
        let timeout = read_timeout(&section);
        section.finish();
        Some(Self { when: when?, id: id?, answer: answer?, answer_id: answer_id?, timeout })
    }
}

fn read_timeout(section: &Section<'_>) -> Duration {
    let timeouts = Duration::from_millis(10)..=DAY;
    section.duration_since("timeout", timeouts, "no answer comes in no time").unwrap_or(Requests::TIMEOUT)
}

/// A pointer to an id, which isn't the whole message.
fn id_pointer(section: &Section<'_>, key: &'static str) -> Option<Pointer> {
    let pointer = read_pointer(section, key)?;
    if pointer.tokens().is_empty() {
        section.problem(key, "is the whole message: write where in it the id is, such as \"/id\"");
        return None;
    }
    Some(pointer)
}

/// What stands for a pointer that is wrong, which has been recorded.
fn nowhere() -> Pointer {
    Pointer::parse("/id").expect("it is a pointer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn parse(rest: &str) -> Result<Option<Requests>, String> {
        let text = format!("[upstream]\nurl = \"ws://a/\"\n{rest}");
        let config = Config::parse(&text, &Environment::fixed([])).map_err(|invalid| invalid.to_string())?;
        Ok(config.terms.requests)
    }

    #[test]
    fn one_key_is_enough() {
        let requests = parse("[requests]\nid = \"/header/id\"").unwrap().unwrap();
        let id = Pointer::parse("/header/id").unwrap();
        assert_eq!((&requests.id, &requests.answer_id), (&id, &id));
        assert_eq!((requests.timeout, requests.max_in_flight), (Requests::TIMEOUT, 0));
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("requests = \"off\"\n").map(|_| ()).map_err(|_| ()), Err(()), "upstream.requests");
    }

    #[test]
    fn a_stream_and_the_servers_own_follow_the_ids() {
        let requests = parse(
            "[requests]\nid = \"/id\"\nanswer_id = \"/re\"\n[[requests.stream]]\nwhen = { \"/type\" = \"sub\" }\n\
             cancel = '{\"id\":${next_id},\"of\":${key}}'\n[requests.server]\nwhen = { \"/0\" = 2 }\nid = \"/1\"\n\
             answer = { \"/0\" = [3, 4] }",
        );
        let requests = requests.unwrap().unwrap();
        assert_eq!(requests.streams[0].key.as_str(), "/re");
        assert_eq!(requests.server.unwrap().answer_id.as_str(), "/1");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (keys, part) in [
            ("", "requests.id is missing"),
            ("id = \"\"", "requests.id is the whole message"),
            ("id = \"id\"", "requests.id is no JSON pointer"),
            ("id = \"/id\"\ntimeout = \"0\"", "requests.timeout is"),
            ("id = \"/id\"\nmax_in_flight = -1", "requests.max_in_flight is -1"),
            ("id = \"/id\"\nid_kind = \"uuid\"", "requests.id_kind is"),
            ("id = \"/id\"\nanswer = {}", "requests.answer is empty"),
            ("id = \"/id\"\nrewrite = true", "unknown key `requests.rewrite`"),
            ("id = \"/id\"\n[[requests.stream]]\nkey = \"/k\"", "requests.stream[0].when is missing"),
            ("id = \"/id\"\n[[requests.stream]]\nwhen = \"a\"\nstop = \"b\"", "stop_id is missing"),
            ("id = \"/id\"\n[[requests.stream]]\nwhen = \"a\"\nstop_id = \"/b\"", "stop is missing"),
            (
                "id = \"/id\"\n[[requests.stream]]\nwhen = \"a\"\ncancel = '${field:/a}'",
                "of a message that came in",
            ),
            (
                "id = \"/id\"\n[requests.server]\nid = \"/1\"\nanswer = \"a\"",
                "requests.server.when is missing",
            ),
            (
                "id = \"/id\"\n[requests.server]\nwhen = \"a\"\nid = \"/1\"\nanswer = \"a\"",
                "requests.server.answer is the same as `when`",
            ),
        ] {
            let said = parse(&format!("[requests]\n{keys}")).expect_err(keys);
            assert!(said.contains(part), "{keys}: {said}");
        }
        let key = "[[script.step]]\nsend = '${key}'";
        let said = parse(key).unwrap_err();
        assert!(said.contains("goes in requests.stream.cancel only"), "{said}");
    }
}
