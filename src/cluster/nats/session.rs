//! One connection to NATS: from the first look at the stream to the last message. Pure.

use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::Instant,
};

use async_nats::{HeaderMap, HeaderValue, message::OutboundMessage};
use bytes::Bytes;

use self::calls::{Call, LONG_REST, What};
use super::{
    Arrival, Incoming, api,
    asking::Asking,
    reading::{Reading, Taken},
    received::Received,
    settings::{Names, Settings},
    stream,
    trouble::{Denied, Trouble},
};
use crate::cluster::machine::{AppendId, AskId, Event, MAX_BATCH, Message as Append, ReadId};

mod calls;

/// The last sequence that the stream must have; what an append is fenced by.
const EXPECTED: &str = "Nats-Expected-Last-Sequence";

/// So many consumers are asked for, one after the other.
const READ_ATTEMPTS: u32 = 3;

/// So many different complaints of the server's are passed on.
const MAX_COMPLAINTS: usize = 64;

/// What this connection must do.
#[derive(Debug)]
pub(super) enum Out {
    Publish(OutboundMessage),
    /// The same of what is said to other nodes, which may be lost.
    Say(OutboundMessage),
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
    /// It gave no consumer, for want of servers: it isn't up before it gives one.
    is_barren: bool,
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
    /// What an answer says of the stream is followed.
    Looking,
    /// It is being made.
    Making,
    /// It is looked at again then, unless what was asked last is answered before.
    Resting(Instant),
    /// It can be used.
    Up,
    /// This server is of no use.
    Useless,
}

/// What a server says of itself.
pub(super) struct Server<'s> {
    pub(super) url: &'s str,
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
            is_barren: false,
            up_since: None,
            said: None,
            complaints: BTreeSet::new(),
            outs: VecDeque::new(),
            arrivals: VecDeque::new(),
        };
        let needed = MAX_BATCH + stream::HEADERS;
        if !is_new_enough(server.version) {
            session.is_useless(Trouble::too_old(server.url, server.version));
        } else if server.max_payload < needed {
            session.is_useless(Trouble::max_payload(server.url, server.max_payload, needed));
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

    /// Whether it has been so for a lease.
    pub(super) fn has_stood(&self, now: Instant) -> bool {
        let lease = self.settings.cluster.lease;
        self.is_up() && self.up_since.is_some_and(|since| now.saturating_duration_since(since) >= lease)
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
        if self.is_up() {
            self.begin_reading(now, id, after, 1);
        } // else that was told
    }

    /// Has a consumer made, which is the machine's `attempt`th for this.
    fn begin_reading(&mut self, now: Instant, id: ReadId, after: u64, attempt: u32) {
        let (consumer, deliver) = self.new_consumer();
        let heartbeat = self.settings.heartbeat();
        let stream = self.names.stream();
        let request = api::create_consumer(&stream, &consumer, &deliver, after, heartbeat);
        let subject = format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}");
        self.reading = Some(Reading::new(now, id, after, attempt, consumer, heartbeat));
        self.outs.push_back(Out::ReadAt(deliver));
        self.call(now, self.settings.setup_within() / READ_ATTEMPTS, What::Read(id), subject, request);
    }

    /// No consumer was made in time: JetStream may have given it to a server that is dead. Another may be luckier, and
    /// nothing was read yet. False where that was tried often enough.
    fn read_by_another(&mut self, now: Instant) -> bool {
        let Some(reading) = &self.reading else { return true };
        if reading.has_begun() {
            return true;
        }
        let (id, after, attempt) = (reading.id, reading.after, reading.attempt);
        if attempt < READ_ATTEMPTS {
            self.stop_reading();
            self.begin_reading(now, id, after, attempt + 1);
        }
        attempt < READ_ATTEMPTS
    }

    /// Reads no more.
    pub(super) fn stop_reading(&mut self) {
        self.calls.retain(|call| !matches!(call.what, What::Read(_)));
        let Some(reading) = self.reading.take() else { return };
        self.outs.push_back(Out::ReadNoMore);
        self.delete_consumer(&reading.consumer);
    }

    /// Says something to other nodes.
    pub(super) fn say(&mut self, subject: String, reply: Option<String>, payload: Vec<u8>) {
        let message = self.message(subject, reply, payload);
        self.outs.extend(message.map(Out::Say));
    }

    /// JetStream has answered something.
    pub(super) fn take(&mut self, now: Instant, message: &Received) {
        let rest = message.subject.strip_prefix(&*self.answers).and_then(|rest| rest.strip_prefix('.'));
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
    pub(super) fn hear(&mut self, message: Received) {
        self.arrivals.push_back(Arrival::Message(Incoming {
            subject: message.subject.into(),
            reply: message.reply.filter(|reply| self.names.is_inbox(reply)).map(Into::into),
            status: message.status,
            payload: message.payload,
        }));
    }

    /// Something has come from the consumer.
    pub(super) fn take_read(&mut self, now: Instant, message: Received) {
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
        let Some(denied) = Denied::read(error) else { return self.complain(Trouble::server(error)) };
        if denied.publish && denied.subject.starts_with("$JS.API.CONSUMER.DELETE.") {
            return; // it ends by itself
        }
        let trouble = Trouble::denied(&denied, &self.names, &self.settings.cluster.node);
        self.complain(trouble.clone());
        if denied.publish && denied.subject == self.names.log() {
            self.arrivals.push_back(Arrival::Event(Event::Denied));
        }
        let at = self.calls.iter().position(|call| denied.publish && call.subject == denied.subject);
        if let Some(at) = at {
            self.said = Some(trouble);
            let call = self.calls.swap_remove(at);
            self.is_unanswered(now, call.what, Some(LONG_REST));
        }
    }

    /// Says it once for each connection.
    pub(super) fn complain(&mut self, trouble: Trouble) {
        if self.complaints.len() < MAX_COMPLAINTS && self.complaints.insert(trouble.to_string()) {
            self.arrivals.push_back(Arrival::Trouble(trouble));
        }
    }

    /// Messages were dropped, since too many waited.
    pub(super) fn overrun(&mut self) {
        self.trouble(Trouble::behind());
    }

    /// What was to be said to other nodes was dropped, since too much waits.
    pub(super) fn is_unsaid(&mut self) {
        self.trouble(Trouble::unsaid());
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
