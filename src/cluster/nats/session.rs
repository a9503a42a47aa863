//! One connection to NATS: from the first look at the stream to the last message. Pure.

use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, HeaderValue, Message, message::OutboundMessage};
use bytes::Bytes;

use super::{
    Arrival, Incoming,
    api::{self, Ack, ApiError, StreamInfo},
    asking::{Asking, Step},
    reading::{Reading, Taken},
    settings::{Names, Settings},
    stream,
    trouble::{Denied, Trouble},
};
use crate::cluster::machine::{AppendId, AskId, Event, Message as Append, ReadId};

/// The last sequence that the stream must have; what an append is fenced by.
const EXPECTED: &str = "Nats-Expected-Last-Sequence";

/// What a node must still say again once a stream that was there isn't found: it is looked for once more.
const CONFIRM_AFTER: Duration = Duration::from_millis(200);

/// After trouble that a person must end.
const LONG_REST: Duration = Duration::from_secs(2);

/// So many different complaints of the server's are passed on.
const MAX_COMPLAINTS: usize = 64;

/// What this connection must do.
#[derive(Debug)]
pub(super) enum Out {
    Publish(OutboundMessage),
    /// The consumer's messages are heard here from now on, instead of where they were before.
    ReadAt(String),
    /// They aren't any more.
    ReadNoMore,
}

#[derive(Debug)]
pub(super) struct Session {
    settings: Rc<Settings>,
    names: Names,
    /// What begins all addresses here of this process.
    base: String,
    /// What JetStream answers this node at. No other node hears of it, so that none can answer in JetStream's stead.
    answers: String,
    /// Which connection it is.
    generation: u64,
    max_payload: usize,
    phase: Phase,
    calls: Vec<Call>,
    newest_call: u64,
    asking: Option<Asking>,
    reading: Option<Reading>,
    newest_reading: u64,
    /// The stream was there once.
    is_known: bool,
    /// It wasn't found a moment ago.
    is_missed: bool,
    is_told_gone: bool,
    up_since: Option<Instant>,
    /// Said since it was up last.
    said: Option<Trouble>,
    complaints: BTreeSet<String>,
    pub(super) outs: VecDeque<Out>,
    pub(super) arrivals: VecDeque<Arrival>,
}

/// How far the way to the stream is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The stream is looked at.
    Looking,
    /// It is being made.
    Making,
    /// It is looked at again then.
    Resting(Instant),
    /// It can be used.
    Up,
    /// This server is of no use.
    Useless,
}

/// A question to JetStream.
#[derive(Debug)]
struct Call {
    number: u64,
    what: What,
    subject: String,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Look,
    Make,
    /// Whether the stream is still there.
    Check,
    AskState(AskId),
    Get(AskId),
    Read(ReadId),
}

/// What a server says of itself.
pub(super) struct Server<'s> {
    pub(super) version: &'s str,
    pub(super) max_payload: usize,
}

impl Session {
    /// A connection that has just been made, the `generation`th. `base` begins all addresses of this process;
    /// `is_known`: the stream was there before.
    pub(super) fn new(
        now: Instant,
        settings: Rc<Settings>,
        base: &str,
        generation: u64,
        server: &Server<'_>,
        is_known: bool,
    ) -> Session {
        let mut session = Session {
            names: settings.names(),
            settings,
            base: base.to_owned(),
            answers: answers(base),
            generation,
            max_payload: server.max_payload,
            phase: Phase::Looking,
            calls: Vec::new(),
            newest_call: 0,
            asking: None,
            reading: None,
            newest_reading: 0,
            is_known,
            is_missed: false,
            is_told_gone: false,
            up_since: None,
            said: None,
            complaints: BTreeSet::new(),
            outs: VecDeque::new(),
            arrivals: VecDeque::new(),
        };
        let needed = crate::cluster::machine::MAX_BATCH + stream::HEADERS;
        if !is_new_enough(server.version) {
            session.is_useless(Trouble::too_old(server.version));
        } else if server.max_payload < needed {
            session.is_useless(Trouble::max_payload(server.max_payload, needed));
        } else {
            session.look(now);
        }
        session
    }

    /// The connection is no more.
    pub(super) fn end(&mut self) {
        self.down();
        self.outs.clear();
    }

    /// Whether the stream was ever there.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Whether the stream can be used.
    pub(super) fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// Another server may do better.
    pub(super) fn is_of_no_use(&self) -> bool {
        self.phase == Phase::Useless
    }

    /// Appends a message behind this place, and nowhere else.
    pub(super) fn append(&mut self, id: AppendId, expect: u64, message: &Append) {
        let Some(headers) = headers(expect, message) else {
            return self.arrivals.push_back(Arrival::Event(Event::Unclear(id)));
        };
        self.outs.push_back(Out::Publish(OutboundMessage {
            subject: self.names.log().into(),
            reply: Some(format!("{}.a.{}", self.answers, id.number()).into()),
            payload: Bytes::from_owner(message.body.clone()),
            headers: Some(headers),
        }));
    }

    /// Asks what the stream holds from this place on.
    pub(super) fn ask(&mut self, now: Instant, id: AskId, from: u64) {
        self.calls.retain(|call| !matches!(call.what, What::AskState(_) | What::Get(_)));
        self.asking = None;
        if !self.is_up() {
            return self.arrivals.push_back(Arrival::Event(Event::NoAnswer(id)));
        }
        let within = self.settings.answers_within();
        self.asking = Some(Asking::new(id, from, now + within));
        self.call(now, within, What::AskState(id), self.info_subject(), Vec::new());
    }

    /// Reads what lies past this place, instead of what was read before.
    pub(super) fn read(&mut self, now: Instant, id: ReadId, after: u64) {
        self.stop_reading();
        if !self.is_up() {
            return; // it was told
        }
        self.newest_reading += 1;
        let (generation, number) = (self.generation, self.newest_reading);
        let token = self.base.rsplit('.').next().unwrap_or_default();
        let consumer = format!("{}_{token}_{generation}_{number}", self.settings.cluster.node);
        let deliver = format!("{}.r.{generation}.{number}", self.base);
        let heartbeat = self.settings.heartbeat();
        let stream = self.names.stream();
        let request = api::create_consumer(&stream, &consumer, &deliver, after, heartbeat);
        let subject = format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}");
        self.reading = Some(Reading::new(now, id, consumer, deliver.clone(), heartbeat));
        self.outs.push_back(Out::ReadAt(deliver));
        self.call(now, self.settings.setup_within(), What::Read(id), subject, request);
    }

    /// Reads no more.
    pub(super) fn stop_reading(&mut self) {
        self.calls.retain(|call| !matches!(call.what, What::Read(_)));
        let Some(reading) = self.reading.take() else { return };
        self.outs.push_back(Out::ReadNoMore);
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", self.names.stream(), reading.consumer);
        // it needs no answer: a consumer that nobody hears ends by itself
        let reply = format!("{}.c.0", self.answers);
        self.publish(subject, Some(reply), Vec::new());
    }

    /// Says something to other nodes.
    pub(super) fn say(&mut self, subject: String, reply: Option<String>, payload: Vec<u8>) {
        self.publish(subject, reply, payload);
    }

    /// JetStream has answered something.
    pub(super) fn take(&mut self, now: Instant, message: &Message) {
        let rest =
            message.subject.strip_prefix(self.answers.as_str()).and_then(|rest| rest.strip_prefix('.'));
        let number = |kind: &str| rest?.strip_prefix(kind)?.parse::<u64>().ok();
        if let Some(id) = number("a.") {
            self.take_ack(now, AppendId::of(id), message);
        } else if let Some(number) = number("c.")
            && let Some(at) = self.calls.iter().position(|call| call.number == number)
        {
            let call = self.calls.swap_remove(at);
            self.take_answer(now, call.what, message);
        }
    }

    /// Something has come from another node.
    pub(super) fn hear(&mut self, message: Message) {
        self.arrivals.push_back(Arrival::Message(Incoming {
            subject: message.subject.to_string(),
            reply: message.reply.map(|reply| reply.to_string()),
            status: message.status.map(|status| status.as_u16()),
            payload: message.payload.into(),
        }));
    }

    /// Something has come from the consumer.
    pub(super) fn take_read(&mut self, now: Instant, message: &Message) {
        let Some(reading) = &mut self.reading else { return };
        match reading.take(now, message) {
            Taken::Stored(stored) => {
                let id = reading.id;
                self.arrivals.push_back(Arrival::Event(Event::Read(id, stored)));
            }
            Taken::Answer(subject) => self.publish(subject, None, Vec::new()),
            Taken::Nothing => {}
            Taken::Lost(why) => self.lost(now, &why),
        }
    }

    /// The server complains.
    pub(super) fn complaint(&mut self, now: Instant, error: &str) {
        let is_new = self.complaints.len() < MAX_COMPLAINTS && self.complaints.insert(error.to_owned());
        let Some(denied) = Denied::read(error) else {
            if is_new {
                self.arrivals.push_back(Arrival::Trouble(Trouble::server(error)));
            }
            return;
        };
        let trouble = Trouble::denied(&denied);
        if denied.publish && denied.subject.starts_with("$JS.API.CONSUMER.DELETE.") {
            return; // it ends by itself
        }
        if is_new {
            self.arrivals.push_back(Arrival::Trouble(trouble.clone()));
        }
        let at = self.calls.iter().position(|call| denied.publish && call.subject == denied.subject);
        if let Some(at) = at {
            self.said = Some(trouble);
            let call = self.calls.swap_remove(at);
            self.is_unanswered(now, call.what, Some(LONG_REST));
        }
    }

    /// Messages were dropped, since too many waited.
    pub(super) fn overrun(&mut self) {
        self.trouble(Trouble::behind());
    }

    /// When [`Session::timeout`] is due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let rest = match self.phase {
            Phase::Resting(until) => Some(until),
            _ => None,
        };
        let reading = self.reading.as_ref().map(Reading::next_timeout);
        let asking = self.asking.as_ref().map(|asking| asking.until);
        self.calls.iter().map(|call| call.until).chain(rest).chain(reading).chain(asking).min()
    }

    /// What time alone brings about.
    pub(super) fn timeout(&mut self, now: Instant) {
        while let Some(at) = self.calls.iter().position(|call| call.until <= now) {
            let call = self.calls.swap_remove(at);
            self.is_unanswered(now, call.what, None);
        }
        if let Some(asking) = self.asking.take_if(|asking| asking.until <= now) {
            self.arrivals.push_back(Arrival::Event(Event::NoAnswer(asking.id)));
        }
        if self.reading.as_mut().is_some_and(|reading| reading.is_silent(now)) {
            self.lost(now, "its consumer fell silent");
        }
        if matches!(self.phase, Phase::Resting(until) if until <= now) {
            self.look(now);
        }
    }

    fn take_ack(&mut self, now: Instant, id: AppendId, message: &Message) {
        let event = match (message.status.map(|status| status.as_u16()), api::ack(&message.payload)) {
            (None | Some(200), Ack::Stored(place)) => Event::Acked(id, place),
            (None | Some(200), Ack::Refused) => Event::Refused(id),
            (_, Ack::Unclear(Some(error))) => {
                self.trouble(Trouble::no_appends(&self.names.stream(), &error));
                self.check(now);
                Event::Unclear(id)
            }
            _ => {
                self.check(now); // perhaps nobody listens because it is gone
                Event::Unclear(id)
            }
        };
        self.arrivals.push_back(Arrival::Event(event));
    }

    fn take_answer(&mut self, now: Instant, what: What, message: &Message) {
        let has_nobody = message.status.is_some_and(|status| status.as_u16() == 503);
        if has_nobody {
            if matches!(what, What::Look | What::Make) {
                // a server without JetStream, or one of several that hasn't found the others yet
                self.rest(now, self.settings.rests_for(), Trouble::no_jetstream());
            } else {
                self.is_unanswered(now, what, None);
            }
            return;
        }
        let payload = &message.payload;
        match what {
            What::Look | What::Check => self.looked(now, what, api::answer(payload)),
            What::Make => match api::answer::<serde_json::Value>(payload) {
                Ok(_) => self.look(now),
                Err(error) if error.err_code == api::STREAM_NAME_IN_USE => self.look(now),
                Err(error) => self.rest(now, LONG_REST, Trouble::not_made(&self.names.stream(), &error)),
            },
            What::AskState(id) => match api::answer::<StreamInfo>(payload) {
                Ok(info) => {
                    if let Some(asking) = self.asking.as_mut().filter(|asking| asking.id == id) {
                        let step = asking.state(info.state);
                        self.step(now, step);
                    }
                }
                Err(error) => {
                    self.step(now, Step::Failed);
                    self.maybe_missed(now, &error);
                }
            },
            What::Get(id) => {
                if let Some(asking) = self.asking.as_mut().filter(|asking| asking.id == id) {
                    let step = asking.got(api::got(payload));
                    self.step(now, step);
                }
            }
            What::Read(_) => {
                if let Err(error) = api::answer::<serde_json::Value>(payload) {
                    self.lost(
                        now,
                        &format!("it gives no consumer: {} ({})", error.description, error.err_code),
                    );
                    self.maybe_missed(now, &error);
                }
            }
        }
    }

    /// The stream was looked at.
    fn looked(&mut self, now: Instant, what: What, answer: Result<StreamInfo, ApiError>) {
        let stream = self.names.stream();
        match answer {
            Ok(info) => {
                (self.is_known, self.is_missed) = (true, false);
                if what == What::Check {
                    return;
                }
                let wanted = stream::wanted(&self.names, &self.settings.stream);
                let difference = stream::compare(&wanted, &info.config);
                if !difference.fatal.is_empty() {
                    return self.rest(now, LONG_REST, Trouble::is_another(&stream, &difference.fatal));
                }
                (self.said, self.is_told_gone) = (None, false);
                if !difference.other.is_empty() && self.complaints.insert(difference.other.join(";")) {
                    let trouble = Trouble::differs(&stream, &difference.other);
                    self.arrivals.push_back(Arrival::Trouble(trouble));
                }
                (self.phase, self.up_since) = (Phase::Up, Some(now));
                self.arrivals.push_back(Arrival::Event(Event::NatsUp));
            }
            Err(error) if error.err_code == api::STREAM_NOT_FOUND => self.missed(now),
            Err(_) if what == What::Check => {}
            Err(error) => {
                let long =
                    if api::NOT_ENABLED.contains(&error.err_code) { LONG_REST } else { Duration::ZERO };
                let rest = self.settings.rests_for().max(long);
                self.rest(now, rest, Trouble::refused(&stream, &error));
            }
        }
    }

    /// An answer may say that the stream is gone.
    fn maybe_missed(&mut self, now: Instant, error: &ApiError) {
        if error.err_code == api::STREAM_NOT_FOUND {
            self.missed(now);
        }
    }

    /// The stream isn't there. One that was is looked for once more: that it is gone ends an epoch.
    fn missed(&mut self, now: Instant) {
        self.down();
        if self.is_known && !self.is_missed {
            self.is_missed = true;
            self.phase = Phase::Resting(now + CONFIRM_AFTER);
            return;
        }
        self.is_missed = false;
        if !std::mem::replace(&mut self.is_told_gone, true) {
            self.arrivals.push_back(Arrival::Event(Event::StreamGone));
        }
        self.is_known = false;
        let stream = self.names.stream();
        if !self.settings.cluster.candidate {
            return self.rest(now, self.settings.rests_for(), Trouble::not_there(&stream));
        }
        self.phase = Phase::Making;
        let config = stream::wanted(&self.names, &self.settings.stream);
        let request = serde_json::to_vec(&config).unwrap_or_default();
        let subject = format!("$JS.API.STREAM.CREATE.{stream}");
        // it takes a server long to say that it can't
        self.call(now, Duration::from_secs(10), What::Make, subject, request);
    }

    /// Looks whether the stream is still there, unless that is being done.
    fn check(&mut self, now: Instant) {
        if self.is_up() && !self.calls.iter().any(|call| call.what == What::Check) {
            self.call(now, self.settings.setup_within(), What::Check, self.info_subject(), Vec::new());
        }
    }

    fn step(&mut self, now: Instant, step: Step) {
        match step {
            Step::Get(places) => {
                let Some((id, until)) = self.asking.as_ref().map(|asking| (asking.id, asking.until)) else {
                    return;
                };
                let subject = format!("$JS.API.STREAM.MSG.GET.{}", self.names.stream());
                for place in places {
                    let within = until.saturating_duration_since(now);
                    self.call(now, within, What::Get(id), subject.clone(), api::get(place));
                }
            }
            Step::Wait => {}
            Step::Done(answer) => {
                self.asking = None;
                self.arrivals.push_back(Arrival::Event(Event::Answer(answer)));
            }
            Step::Failed => {
                self.calls.retain(|call| !matches!(call.what, What::AskState(_) | What::Get(_)));
                if let Some(asking) = self.asking.take() {
                    self.arrivals.push_back(Arrival::Event(Event::NoAnswer(asking.id)));
                }
            }
        }
    }

    fn is_unanswered(&mut self, now: Instant, what: What, rest: Option<Duration>) {
        match what {
            What::Look | What::Make => {
                let trouble = self.said.clone().filter(|_| rest.is_some());
                let trouble = trouble.unwrap_or_else(|| Trouble::unanswered(&self.names.stream()));
                self.rest(now, rest.unwrap_or(self.settings.rests_for()), trouble);
            }
            What::Check => {}
            What::AskState(_) | What::Get(_) => self.step(now, Step::Failed),
            What::Read(_) => {
                self.lost(now, "it gives no consumer");
                if let Some(rest) = rest {
                    self.phase = Phase::Resting(now + rest);
                }
            }
        }
    }

    /// What was read can't be any more. The machine asks and reads anew.
    fn lost(&mut self, now: Instant, why: &str) {
        tracing::debug!("the stream {} is read anew: {why}", self.names.stream());
        let was_up_for = self.up_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.down();
        let rest = if was_up_for >= self.settings.cluster.lease {
            Duration::ZERO
        } else {
            self.settings.rests_for()
        };
        self.phase = Phase::Resting(now + rest);
    }

    /// The stream can't be used for now.
    fn down(&mut self) {
        if let Some(asking) = self.asking.take() {
            self.arrivals.push_back(Arrival::Event(Event::NoAnswer(asking.id)));
        }
        self.stop_reading();
        self.calls.clear();
        if self.is_up() {
            self.phase = Phase::Looking;
            self.arrivals.push_back(Arrival::Event(Event::NatsDown));
        }
    }

    fn look(&mut self, now: Instant) {
        self.calls.retain(|call| call.what != What::Look);
        self.phase = Phase::Looking;
        self.call(now, self.settings.setup_within(), What::Look, self.info_subject(), Vec::new());
    }

    fn rest(&mut self, now: Instant, time: Duration, trouble: Trouble) {
        self.down();
        self.phase = Phase::Resting(now + time);
        self.trouble(trouble);
    }

    fn is_useless(&mut self, trouble: Trouble) {
        self.phase = Phase::Useless;
        self.trouble(trouble);
    }

    /// Says it, unless that was the last thing said.
    fn trouble(&mut self, trouble: Trouble) {
        if self.said.as_ref() != Some(&trouble) {
            self.said = Some(trouble.clone());
            self.arrivals.push_back(Arrival::Trouble(trouble));
        }
    }

    fn info_subject(&self) -> String {
        format!("$JS.API.STREAM.INFO.{}", self.names.stream())
    }

    fn call(&mut self, now: Instant, within: Duration, what: What, subject: String, payload: Vec<u8>) {
        self.newest_call += 1;
        let number = self.newest_call;
        self.calls.push(Call { number, what, subject: subject.clone(), until: now + within });
        let reply = format!("{}.c.{number}", self.answers);
        self.publish(subject, Some(reply), payload);
    }

    fn publish(&mut self, subject: String, reply: Option<String>, payload: Vec<u8>) {
        if payload.len() > self.max_payload {
            tracing::warn!(
                "a message of {} bytes to {subject} is too large for the NATS server",
                payload.len()
            );
            return;
        }
        self.outs.push_back(Out::Publish(OutboundMessage {
            subject: subject.into(),
            reply: reply.map(Into::into),
            payload: payload.into(),
            headers: None,
        }));
    }
}

/// What begins the addresses at which JetStream answers.
pub(super) fn answers(base: &str) -> String {
    format!("{base}.js")
}

/// None where a value isn't one for a header, which it is if it has been read from one.
fn headers(expect: u64, message: &Append) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED, HeaderValue::from(expect));
    for (name, value) in message.header.write() {
        headers.insert(name, value.parse::<HeaderValue>().ok()?);
    }
    Some(headers)
}

/// 2.9 or newer.
pub(super) fn is_new_enough(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split('.').map(|part| part.parse::<u64>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (2, 9)
}

#[cfg(test)]
mod tests;
