//! One connection of the link: what is said and heard on it by wsfan itself, and whether it lives.

use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    Hearing, Reached, Slot,
    heartbeat::{Due, Heartbeat},
    pacing::Sender,
    world::World,
};
use crate::{
    hub::{Counted, Data, Payload},
    upstream::{
        failure::Failure,
        session::{Effect, Publish, Purpose, Rules, Session, draft::Draft, runs::Run},
        settings::Settings,
    },
};

/// While so many messages of wsfan's own wait to go out,
const MAX_OUTGOING: usize = 1024;
/// or so many bytes of them, nothing more is read: a server that asks for replies faster than it takes
/// them, or than the limits let them out, can't fill the memory.
const MAX_OUTGOING_BYTES: usize = 1 << 20;

/// A connection.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) slot: Slot,
    pub(super) reached: Reached,
    /// When it was open.
    pub(super) since: Instant,
    /// It goes to `upstream.resume_url`.
    pub(super) resumes: bool,
    pub(super) session: Session,
    pub(super) heartbeat: Heartbeat,
    /// The script is done, and topics are said again before it is up.
    pub(super) resubscribes: bool,
    /// A message came in since it is up.
    pub(super) heard: bool,
    /// What wsfan itself has to say, oldest first.
    outgoing: VecDeque<OwnMessage>,
    outgoing_bytes: usize,
    /// Whether the last beat was a request; until there was one, it may be.
    beat_asks: bool,
}

/// Something of wsfan's own that waits to go out.
#[derive(Debug)]
struct OwnMessage {
    draft: Draft,
    why: Purpose,
    /// Its answer is awaited, so that it waits for `requests.max_in_flight`.
    is_request: bool,
}

/// What a connection's timeout came to.
pub(super) enum Timeout {
    /// Send a ping.
    Ping([u8; 8]),
    /// The connection is dead.
    Dead(String),
    /// The heartbeat can't be said.
    Unable(String),
}

impl Channel {
    /// A connection that is open now: its script begins.
    pub(super) fn open(
        now: Instant,
        world: &mut World,
        slot: Slot,
        resumes: bool,
        reached: Reached,
        session: Session,
        heartbeat: Heartbeat,
    ) -> Channel {
        let mut channel = Channel {
            slot,
            reached,
            since: now,
            resumes,
            session,
            heartbeat,
            resubscribes: false,
            heard: false,
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            beat_asks: true,
        };
        channel.session.start(&mut world.context(now, slot));
        channel
    }

    /// Bytes came in, whole messages among them or not.
    pub(super) fn inbound(&mut self, now: Instant, messages: bool) {
        self.heartbeat.inbound(now);
        self.heard |= messages;
    }

    /// Whether [`Channel::hear`] has to be told of what comes in.
    pub(super) fn wants_messages(&self) -> bool {
        self.session.wants_messages()
    }

    /// A message came in: what is missing before it, and whether clients get it.
    pub(super) fn hear(&mut self, now: Instant, world: &mut World, message: Data<'_>) -> Hearing {
        if !self.wants_messages() {
            return Hearing { publish: true, ..Hearing::default() };
        }
        let publish = self.session.heard(&mut world.context(now, self.slot), message) == Publish::Yes;
        let (topic, topics) = (self.session.take_topic(), self.session.take_topics());
        Hearing {
            holes: self.session.take_holes(),
            publish,
            topic,
            topics,
            retain: self.session.take_retain(),
        }
    }

    /// How far the server has counted in a message, which was heard last, where it is counted.
    pub(super) fn counted(&self, now: Instant, world: &mut World, message: Data<'_>) -> Option<Counted> {
        self.session.counted(&world.context(now, self.slot), message)
    }

    /// A pong came in. Its round trip, when it answers the newest ping.
    pub(super) fn pong(&mut self, now: Instant, payload: &[u8]) -> Option<Duration> {
        self.heartbeat.pong(now, payload)
    }

    /// A failure in the server's words, without the secrets that it may repeat.
    pub(super) fn without_secrets(&self, now: Instant, world: &mut World, failure: Failure) -> Failure {
        self.session.without_secrets(&world.context(now, self.slot), failure)
    }

    /// Something that wsfan itself has to say.
    fn say(&mut self, draft: Draft, why: Purpose) {
        let is_request = self.session.plan(&draft);
        self.outgoing_bytes += draft.len();
        self.outgoing.push_back(OwnMessage { draft, why, is_request });
    }

    /// Whether something waits to be said.
    pub(super) fn has_own(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The next thing that wsfan itself has to say, as far as the limits let it out.
    pub(super) fn next_own(&mut self, now: Instant, world: &mut World) -> Option<Payload> {
        let next = self.next_to_say()?;
        if world.pacing.message_at(now, Sender::Link) > now {
            return None;
        }
        let OwnMessage { draft, .. } = self.outgoing.remove(next)?;
        self.outgoing_bytes -= draft.len();
        world.pacing.sent(now);
        Some(self.session.write_own(now, draft))
    }

    /// What goes out next of all that waits. Where so many requests await their answers that no other may go, what is
    /// none passes them.
    fn next_to_say(&self) -> Option<usize> {
        match self.session.has_room() {
            true => (!self.outgoing.is_empty()).then_some(0),
            false => self.outgoing.iter().position(|own| !own.is_request),
        }
    }

    /// When the limits let out what waits to be said: `now`, or later.
    pub(super) fn let_out(&self, now: Instant, world: &World) -> Option<Instant> {
        self.next_to_say().map(|_| world.pacing.message_at(now, Sender::Link))
    }

    /// Nothing that waits is said any more.
    pub(super) fn forget_unsaid(&mut self) {
        self.outgoing.clear();
        self.outgoing_bytes = 0;
    }

    /// Whether wsfan has something to say.
    pub(super) fn has_to_say(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether so much waits to be said that nothing more should be heard.
    pub(super) fn is_choked(&self) -> bool {
        self.outgoing.len() >= MAX_OUTGOING || self.outgoing_bytes >= MAX_OUTGOING_BYTES
    }

    /// When [`Channel::timeout`] has something to do.
    pub(super) fn next_timeout(&self, now: Instant, world: &World) -> Option<Instant> {
        let free = self.beat_at(now, world);
        [self.session.next_timeout(), self.heartbeat.next_timeout(free)].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn timeout(&mut self, now: Instant, world: &mut World) -> Option<Timeout> {
        if self.session.next_timeout().is_some_and(|at| at <= now) {
            let is_held = self.has_to_say() && self.let_out(now, world).is_none_or(|at| at > now);
            self.session.timeout(&mut world.context(now, self.slot), is_held);
        }
        let free = self.beat_at(now, world); // a request whose time was over has made room
        match self.heartbeat.due(now, free)? {
            Due::Ping(payload) => {
                world.pacing.sent(now);
                Some(Timeout::Ping(payload))
            }
            Due::Message => match self.session.beat(&mut world.context(now, self.slot)) {
                Ok(draft) => {
                    draft.into_iter().for_each(|draft| self.beat(draft));
                    None
                }
                Err(error) => Some(Timeout::Unable(error)),
            },
            Due::Dead(why) => Some(Timeout::Dead(why)),
        }
    }

    /// A heartbeat goes before everything else that waits but the script, which a server may want to hear
    /// first, and instead of an older one.
    fn beat(&mut self, draft: Draft) {
        let older = self.outgoing.iter().position(|own| own.why == Purpose::Heartbeat);
        if let Some(older) = older.and_then(|at| self.outgoing.remove(at)) {
            self.outgoing_bytes -= older.draft.len();
        }
        let script = self.outgoing.iter().rposition(|own| own.why == Purpose::Script);
        self.outgoing_bytes += draft.len();
        let is_request = self.session.plan(&draft);
        self.beat_asks = is_request;
        let own = OwnMessage { draft, why: Purpose::Heartbeat, is_request };
        self.outgoing.insert(script.map_or(0, |at| at + 1), own);
    }

    /// When a beat may be: `now`, or later. One that is a request waits until others have their answers, and its own
    /// answer isn't awaited before it is said.
    fn beat_at(&self, now: Instant, world: &World) -> Instant {
        const LATER: Duration = Duration::from_secs(3_600);
        match self.heartbeat.is_message() && self.beat_asks && !self.session.has_room() {
            true => now + LATER,
            false => world.pacing.message_at(now, Sender::Link),
        }
    }

    /// A client cancels the request that it names so. False where none of it waits here.
    pub(super) fn cancel(&mut self, now: Instant, world: &mut World, client: u64, name: &str) -> bool {
        self.session.cancel(&mut world.context(now, self.slot), client, name)
    }

    /// A client has left.
    pub(super) fn leave(&mut self, now: Instant, world: &mut World, client: u64) {
        self.session.leave(&mut world.context(now, self.slot), client);
    }

    /// The next effect that is for the machine; what is only this connection's own business is done.
    pub(super) fn poll_effect(&mut self, now: Instant, world: &mut World) -> Option<Doing> {
        loop {
            let Some(effect) = self.session.poll_effect() else {
                // what is said for a server that takes nothing would fill the memory
                let context = world.context(now, self.slot);
                return if self.is_choked() { None } else { self.session.next_run(&context).map(Doing::Run) };
            };
            return Some(match effect {
                // a program has made it
                Effect::Send(draft, Purpose::Heartbeat) => {
                    self.heartbeat.said(now);
                    self.beat(draft);
                    continue;
                }
                Effect::Send(draft, why) => {
                    self.say(draft, why);
                    continue;
                }
                Effect::BeatInterval(interval) => {
                    self.heartbeat.set_interval(now, interval);
                    continue;
                }
                Effect::IdleTimeout(timeout) => {
                    self.heartbeat.set_idle_timeout(now, timeout);
                    continue;
                }
                Effect::HeartbeatAnswered => match self.heartbeat.answered(now) {
                    Some(round_trip) => Doing::RoundTrip(round_trip),
                    None => continue,
                },
                Effect::PutOff { why, delay } => {
                    self.heartbeat.hush();
                    self.session.forget_beat();
                    Doing::Effect(Effect::PutOff { why, delay })
                }
                Effect::TakenOn => {
                    self.heartbeat.speak(now);
                    continue;
                }
                effect => Doing::Effect(effect),
            });
        }
    }

    /// Whether a program may be run that couldn't before, since too much waited to be said.
    pub(super) fn may_run(&self) -> bool {
        self.session.may_run() && !self.is_choked()
    }

    /// A program has ended.
    pub(super) fn ran(&mut self, now: Instant, world: &mut World, id: u64, outcome: Result<Vec<u8>, String>) {
        self.session.ran(&mut world.context(now, self.slot), id, outcome);
    }

    /// Applies new settings that ask for no other connection.
    pub(super) fn set(&mut self, now: Instant, world: &mut World, settings: &Settings, rules: &Rc<Rules>) {
        self.heartbeat.set(now, settings.heartbeat.clone());
        self.session.set_rules(&world.context(now, self.slot), Rc::clone(rules));
    }
}

/// What the machine has to look after.
pub(super) enum Doing {
    RoundTrip(Duration),
    Effect(Effect),
    /// Run this program.
    Run(Run),
}
