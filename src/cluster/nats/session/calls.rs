//! Questions to JetStream, and what their answers bring about.

use std::time::{Duration, Instant};

use async_nats::message::OutboundMessage;

use super::{Out, Phase, Session};
use crate::cluster::{
    machine::{AppendId, AskId, Event, ReadId},
    nats::{
        Arrival,
        api::{self, Ack, ApiError, StreamInfo},
        asking::Step,
        received::Received,
        stream,
        trouble::Trouble,
    },
};

/// A stream that was there and isn't found is looked for once more, after so long.
const CONFIRM_AFTER: Duration = Duration::from_millis(200);

/// After trouble that a person must end.
pub(super) const LONG_REST: Duration = Duration::from_secs(2);

/// How long a server may take to make the stream, or to find that it can't. Where several nodes ask for it at once it may
/// answer one of them alone, so that the others look again soon.
const MADE_WITHIN: Duration = Duration::from_secs(4);

/// A question to JetStream.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) what: What,
    pub(super) subject: String,
    pub(super) until: Instant,
}

/// What a question is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// To look at the stream.
    Look,
    /// To make it.
    Make,
    /// Whether the stream gives consumers again.
    Probe,
    /// Whether it is still there.
    Check,
    /// What the machine asks: first what the stream holds at all.
    AskState(AskId),
    /// Then each message.
    Get(AskId),
    /// To have it read to this node.
    Read(ReadId),
}

impl Session {
    pub(super) fn take_ack(&mut self, now: Instant, id: AppendId, message: &Received) {
        let event = match (message.status, api::ack(&message.payload)) {
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

    pub(super) fn take_answer(&mut self, now: Instant, what: What, message: &Received) {
        if what == What::Look {
            // whichever of them this answers
            self.calls.retain(|call| call.what != What::Look);
            self.phase = Phase::Looking;
        }
        if message.status == Some(503) {
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
            What::Probe => match api::answer::<serde_json::Value>(payload) {
                Ok(_) => {
                    self.delete_probe();
                    self.up(now);
                }
                Err(error) => {
                    self.rest(now, self.settings.rests_for(), Trouble::refused(&self.names.stream(), &error));
                    self.maybe_missed(now, &error);
                }
            },
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
                    self.is_barren = error.err_code != api::STREAM_NOT_FOUND;
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
                self.is_told_gone = false;
                if difference.is_some() {
                    self.complain(Trouble::differs(&stream, &difference));
                }
                if self.is_barren { self.probe(now) } else { self.up(now) }
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

    fn up(&mut self, now: Instant) {
        (self.said, self.is_barren) = (None, false);
        (self.phase, self.up_since) = (Phase::Up, Some(now));
        self.arrivals.push_back(Arrival::Event(Event::NatsUp));
    }

    /// Asks for a consumer that nobody hears. Without a quorum of all servers the stream's leader still tells of it, for
    /// some seconds, while nothing can be read.
    fn probe(&mut self, now: Instant) {
        let stream = self.names.stream();
        // by another name each time: JetStream may have given the one before to a server that is dead
        let (consumer, deliver) = self.new_consumer();
        let request = api::create_consumer(&stream, &consumer, &deliver, 0, self.settings.heartbeat());
        let subject = format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}");
        self.call(now, self.settings.setup_within(), What::Probe, subject, request);
    }

    /// A name for a consumer that no other has, and where its messages come.
    pub(super) fn new_consumer(&mut self) -> (String, String) {
        self.newest_reading += 1;
        (self.newest_consumer(), format!("{}.r.{}.{}", self.base, self.generation, self.newest_reading))
    }

    fn newest_consumer(&self) -> String {
        let token = self.base.rsplit('.').next().unwrap_or_default();
        format!("{}_{token}_{}_{}", self.settings.cluster.node, self.generation, self.newest_reading)
    }

    /// The one that was made to find out whether any is.
    fn delete_probe(&mut self) {
        self.delete_consumer(&self.newest_consumer());
    }

    pub(super) fn delete_consumer(&mut self, consumer: &str) {
        let subject = format!("$JS.API.CONSUMER.DELETE.{}.{consumer}", self.names.stream());
        // it needs no answer: a consumer that nobody hears ends by itself
        let reply = format!("{}.c.0", self.answers);
        self.publish(subject, Some(reply), Vec::new());
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
        self.call(now, MADE_WITHIN, What::Make, subject, request);
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

    pub(super) fn is_unanswered(&mut self, now: Instant, what: What, rest: Option<Duration>) {
        match what {
            // it was, or is, asked anew meanwhile
            What::Look if rest.is_none() => self.trouble(Trouble::unanswered(&self.names.stream())),
            What::Look | What::Make | What::Probe => {
                if what == What::Probe {
                    self.delete_probe();
                }
                let trouble = self.said.clone().filter(|_| rest.is_some());
                let trouble = trouble.unwrap_or_else(|| Trouble::unanswered(&self.names.stream()));
                self.rest(now, rest.unwrap_or(self.settings.rests_for()), trouble);
            }
            What::Check => {}
            What::AskState(_) | What::Get(_) => self.step(now, Step::Failed),
            What::Read(_) => {
                if rest.is_none() && self.read_by_another(now) {
                    return;
                }
                self.lost(now, "it gives no consumer");
                self.is_barren = true;
                if let Some(rest) = rest {
                    self.phase = Phase::Resting(now + rest);
                }
            }
        }
    }

    /// What was read can't be any more. The machine asks and reads anew.
    pub(super) fn lost(&mut self, now: Instant, why: &str) {
        tracing::debug!("the stream {} is read anew: {why}", self.names.stream());
        let rest = if self.has_stood(now) { Duration::ZERO } else { self.settings.rests_for() };
        self.down();
        self.phase = Phase::Resting(now + rest);
    }

    /// The stream can't be used for now.
    pub(super) fn down(&mut self) {
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

    /// Looks at the stream, and again soon unless that is answered, which it may be later all the same.
    pub(super) fn look(&mut self, now: Instant) {
        if self.calls.iter().any(|call| call.what == What::Look) {
            self.trouble(Trouble::unanswered(&self.names.stream()));
        }
        self.phase = Phase::Resting(now + self.settings.looks_again_after());
        self.call(now, self.settings.setup_within(), What::Look, self.info_subject(), Vec::new());
    }

    fn rest(&mut self, now: Instant, time: Duration, trouble: Trouble) {
        self.down();
        self.phase = Phase::Resting(now + time);
        self.trouble(trouble);
    }

    pub(super) fn is_useless(&mut self, trouble: Trouble) {
        self.phase = Phase::Useless;
        self.trouble(trouble);
    }

    /// Says it, unless that was the last thing said.
    pub(super) fn trouble(&mut self, trouble: Trouble) {
        if self.said.as_ref() != Some(&trouble) {
            self.said = Some(trouble.clone());
            self.arrivals.push_back(Arrival::Trouble(trouble));
        }
    }

    pub(super) fn info_subject(&self) -> String {
        format!("$JS.API.STREAM.INFO.{}", self.names.stream())
    }

    pub(super) fn call(
        &mut self,
        now: Instant,
        within: Duration,
        what: What,
        subject: String,
        payload: Vec<u8>,
    ) {
        self.newest_call += 1;
        let number = self.newest_call;
        self.calls.push(Call { number, what, subject: subject.clone(), until: now + within });
        let reply = format!("{}.c.{number}", self.answers);
        self.publish(subject, Some(reply), payload);
    }

    pub(super) fn publish(&mut self, subject: String, reply: Option<String>, payload: Vec<u8>) {
        let message = self.message(subject, reply, payload);
        self.outs.extend(message.map(Out::Publish));
    }

    /// A message without headers; none where it is too large.
    pub(super) fn message(
        &self,
        subject: String,
        reply: Option<String>,
        payload: Vec<u8>,
    ) -> Option<OutboundMessage> {
        if payload.len() > self.max_payload {
            tracing::warn!(
                "a message of {} bytes to {subject} is too large for the NATS server",
                payload.len()
            );
            return None;
        }
        Some(OutboundMessage {
            subject: subject.into(),
            reply: reply.map(Into::into),
            payload: payload.into(),
            headers: None,
        })
    }
}
