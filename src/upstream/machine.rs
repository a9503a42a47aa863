//! The link's state machine: what to do next, and when. Pure.
//!
//! The contract is that of one loop: [`Machine::handle`] what happened, drain [`Machine::poll_news`]
//! and [`Machine::poll_action`] and do it, then wait for the next happening or for [`Machine::next_timeout`].
//!
//! There is one state, so there is one attempt or one connection at a time, and beside it at most one
//! more, while one connection takes over from another ([`rotation`]). Every way to a new automatic
//! attempt leads through `Waiting`, which has a delay. Attempts asked for come at once, but no more
//! often than once per `initial_delay`; and all of them keep to `limits.connects`.

use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    failure::Failure,
    secrets::Secrets,
    session::{Effect, Rules, Session, destination::Destination},
    settings::Settings,
};
use crate::{
    config::Remedy,
    hub::{Counted, Data, LinkState, LinkStatus, Payload},
};

mod asked;
mod backoff;
mod channel;
mod dedupe;
mod dialling;
mod events;
mod fault;
mod heartbeat;
mod orders;
mod pacing;
mod past;
mod programs;
mod public;
mod rotation;
mod seldom;
mod sends;
mod state;
mod topics;
mod trial;
mod verdict;
mod world;

pub(super) use crate::upstream::session::{
    Stray,
    requests::{Kinds, Room},
};
use channel::{Channel, Doing, Timeout};
use dialling::Attempt;
pub(super) use events::{Action, Hearing, Input, News, Note, Reached, Slot};
use fault::Fault;
use heartbeat::Heartbeat;
pub(super) use pacing::Leeway;
pub(super) use past::Past;
use public::Public;
use rotation::Rotation;
use state::{State, Then, Wait};
pub(super) use topics::TopicStage;
pub(super) use trial::{How, Told, Trial, TrialAction};
use world::World;

#[cfg(test)]
mod tests;

/// How long the end of the TCP connection is awaited after the closing handshake: the server should
/// close it first (RFC 6455, 7.1.1).
const LINGER: Duration = Duration::from_secs(1);

/// The machine.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    /// What sessions go by, compiled from the settings.
    rules: Rc<Rules>,
    world: World,
    public: Public,
    state: State,
    /// The connection that is to take over, or the one that it took over from.
    rotation: Rotation,
    actions: VecDeque<Action>,
    news: VecDeque<News>,
    /// The number of the newest connection that came up.
    conn: u64,
    /// The URL of the present or next attempt.
    url: usize,
    /// Failures in a row, as shown and as the delay grows with.
    failures: u32,
    /// Attempts in a row that came to nothing or to no stable connection: what `max_attempts` bounds.
    attempts: u32,
    /// Attempts in a row to `resume_url` that came to nothing.
    resumes: u32,
    /// When the stable connection was lost that this row of failures began with.
    fell: Option<Instant>,
    /// In this row of failures one was answered with an attempt at once already.
    refreshed: bool,
    /// Before this no other is answered so.
    refresh_again: Option<Instant>,
    /// How the last attempt or connection ended.
    last: Failure,
    /// Before this an attempt that is asked for has to wait.
    asked_again: Option<Instant>,
    /// What is remembered is of another server, or of another meaning: the next attempt begins without it. Until
    /// then the connection that there is goes on by it.
    is_stale: bool,
}

impl Machine {
    pub(super) fn new(settings: Settings, seed: u64) -> Machine {
        Machine {
            rules: Rc::new(Rules::new(&settings)),
            world: World::new(&settings, seed),
            public: Public::new(&settings),
            settings,
            state: State::Closed,
            rotation: Rotation::default(),
            actions: VecDeque::new(),
            news: VecDeque::new(),
            conn: 0,
            url: 0,
            failures: 0,
            attempts: 0,
            resumes: 0,
            fell: None,
            refreshed: false,
            refresh_again: None,
            last: Failure::default(),
            asked_again: None,
            is_stale: false,
        }
    }

    /// Says what the wall clock shows, in milliseconds since the Unix epoch.
    pub(super) fn set_clock(&mut self, now_ms: u64) {
        self.world.now_ms = now_ms;
    }

    /// Takes in what happened.
    pub(super) fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Start if matches!(self.state, State::Closed) => self.connect(now),
            Input::Start => {}
            Input::Connected { slot, reached, secrets } => {
                self.connected(now, slot, reached, secrets);
            }
            Input::ConnectFailed { slot, failure } => {
                // what the attempt told is hidden there; what was captured before is known here
                let failure = self.without_secrets(now, slot, failure);
                self.connect_failed(now, slot, failure);
            }
            Input::Inbound { slot, messages } => {
                if let Some(channel) = self.channel_mut(slot) {
                    channel.inbound(now, messages);
                }
                self.end_overlap_when_met(now);
            }
            Input::Pong { slot, payload } => {
                let channel = self.channel_mut(slot);
                if let Some(round_trip) = channel.and_then(|channel| channel.pong(now, &payload)) {
                    self.note_round_trip(slot, round_trip);
                }
            }
            Input::Paused { slot } => {
                self.channel_mut(slot).into_iter().for_each(|channel| channel.heartbeat.pause(now));
            }
            Input::Resumed { slot } => {
                if let Some(pause) = self.channel_mut(slot).map(|channel| channel.heartbeat.resume(now)) {
                    self.rotation.resumed(now, slot, pause);
                }
            }
            Input::Closing { slot, failure } => {
                let failure = self.without_secrets(now, slot, failure);
                self.closing(now, slot, failure);
            }
            Input::Ended { slot, failure } => {
                let failure = self.without_secrets(now, slot, failure);
                self.ended(now, slot, failure);
            }
            Input::Open => self.open(now, false),
            Input::Reconnect => self.open(now, true),
            Input::Close => self.close(now),
            Input::Stop => self.stop(now),
            Input::Settings(settings) => self.set(now, *settings),
            Input::Resubscribed { slot } => self.resubscribed(now, slot),
            Input::Ran { slot, id, outcome } => self.ran(now, slot, id, outcome),
            Input::Timeout => self.timeout(now),
        }
    }

    /// Takes in a message, and says what it came to. Wanted only while [`Machine::wants_messages`]. What is
    /// told then belongs behind the message; what is to be done can wait until others are heard.
    pub(super) fn hear(&mut self, now: Instant, slot: Slot, message: Data<'_>) -> Hearing {
        let Machine { state, rotation, world, .. } = self;
        let Some(channel) = find(state, rotation, slot) else {
            return Hearing { publish: true, ..Hearing::default() };
        };
        let Hearing { holes, publish, topic, topics, retain } = channel.hear(now, world, message);
        if let Some(newer) = rotation.newer(slot) {
            world.tell_newer(slot, newer);
        }
        let is_new = publish && rotation.is_new(slot, message);
        self.settle(now, slot);
        if self.closes(slot)
            && let Some(channel) = self.channel_mut(slot).filter(|channel| channel.is_choked())
        {
            channel.forget_unsaid(); // it is read to its end, and answers to nobody any more
        }
        Hearing { holes, publish: publish && is_new, topic, topics, retain }
    }

    /// How far the server has counted in a message, which was [heard](Machine::hear) last, where it is counted.
    pub(super) fn counted(&mut self, now: Instant, slot: Slot, message: Data<'_>) -> Option<Counted> {
        let Machine { state, rotation, world, .. } = self;
        find(state, rotation, slot)?.counted(now, world, message)
    }

    /// The next thing to tell clients and people. Drain it after each [`Machine::handle`] and
    /// [`Machine::hear`].
    pub(super) fn poll_news(&mut self) -> Option<News> {
        // before the link is up, say: who hears of it may need them
        self.poll_public().or_else(|| self.news.pop_front())
    }

    /// The next thing to do. Drain it after each [`Machine::handle`].
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to say [`Input::Timeout`], if nothing else happens before.
    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let own = match &self.state {
            State::Opening { channel } => channel.next_timeout(now, &self.world),
            State::Up { channel, since, stable } => {
                let stable_at = (!stable).then(|| *since + self.settings.reconnect.stable_after);
                let rotation_at = self.rotation.due_at(channel.since, &self.settings.terms.rotate);
                let channel_at = channel.next_timeout(now, &self.world);
                [stable_at, channel_at, rotation_at].into_iter().flatten().min()
            }
            State::Closing { until, .. } | State::Waiting { until, .. } => Some(*until),
            State::Closed | State::Dialling(_) | State::Failed | State::Finished => None,
        };
        [own, self.rotation.next_timeout(now, &self.world)].into_iter().flatten().min()
    }

    // --- what goes out and comes in --------------------------------------------------------------

    /// Whether [`Machine::hear`] has to be told of what comes in on this connection.
    pub(super) fn wants_messages(&self, slot: Slot) -> bool {
        self.rotation.compares() || self.channel(slot).is_some_and(Channel::wants_messages)
    }

    /// Whether so much of wsfan's own waits to go out on this connection that nothing more should be
    /// read from it. Nothing goes out on one that closes: its end is read for.
    pub(super) fn is_choked(&self, slot: Slot) -> bool {
        !self.closes(slot) && self.channel(slot).is_some_and(Channel::is_choked)
    }

    fn closes(&self, slot: Slot) -> bool {
        matches!(&self.state, State::Closing { channel, .. } if channel.slot == slot)
            || self.rotation.is_leaving(slot)
    }

    /// Whether [`Machine::next_own`] may have something.
    pub(super) fn has_own(&self, slot: Slot) -> bool {
        self.channel(slot).is_some_and(Channel::has_own)
    }

    /// The next thing that wsfan itself has to say on this connection, as far as the limits let it.
    pub(super) fn next_own(&mut self, now: Instant, slot: Slot) -> Option<Payload> {
        let Machine { state, rotation, world, .. } = self;
        let channel = find(state, rotation, slot)?;
        let payload = channel.next_own(now, world);
        if payload.is_some() && channel.may_run() {
            self.settle(now, slot);
        }
        payload
    }

    // --- what happens to a connection ------------------------------------------------------------

    fn connected(&mut self, now: Instant, slot: Slot, reached: Reached, secrets: Secrets) {
        let attempt = match &self.state {
            State::Dialling(attempt) if attempt.slot == slot => Some(*attempt),
            _ => self.rotation.attempt(slot),
        };
        let Some(attempt) = attempt else { return };
        let random = self.world.random.f64();
        let session = Session::new(Rc::clone(&self.rules), secrets, now, attempt.until);
        let channel = Box::new(Channel::open(
            now,
            &mut self.world,
            slot,
            attempt.resumes,
            reached,
            session,
            Heartbeat::new(self.settings.heartbeat.clone(), now, random),
        ));
        match self.state.slot() == Some(slot) {
            true => self.state = State::Opening { channel },
            false => self.rotation.opened(channel),
        }
        self.settle(now, slot);
    }

    /// A failure in the server's words, without the secrets that it may repeat.
    fn without_secrets(&mut self, now: Instant, slot: Slot, failure: Failure) -> Failure {
        let Machine { state, rotation, world, .. } = self;
        match find(state, rotation, slot) {
            Some(channel) => channel.without_secrets(now, world, failure),
            None => world.memory_of(slot).captures().without_in(failure),
        }
    }

    /// Looks after what a connection's session wants.
    fn settle(&mut self, now: Instant, slot: Slot) {
        loop {
            let Machine { state, rotation, world, .. } = self;
            let doing = find(state, rotation, slot).and_then(|channel| channel.poll_effect(now, world));
            let Some(doing) = doing else { break };
            let is_main = self.state.slot() == Some(slot);
            match doing {
                Doing::RoundTrip(round_trip) => self.note_round_trip(slot, round_trip),
                Doing::Run(_) if self.closes(slot) => {
                    self.channel_mut(slot).into_iter().for_each(|channel| channel.session.end_runs());
                }
                Doing::Run(run) => self.actions.push_back(Action::Run { slot, run }),
                Doing::Effect(Effect::Ready) => self.script_done(now, slot),
                Doing::Effect(Effect::Rotate { why }) if is_main => self.rotate(now, why),
                Doing::Effect(Effect::Stray(stray)) => self.news.push_back(News::Note(Note::Stray(stray))),
                Doing::Effect(Effect::Unsent { error }) => {
                    let unsaid = self.world.unsent.due(now);
                    self.news.push_back(News::Note(Note::Unsent { error, unsaid }));
                }
                Doing::Effect(Effect::PutOff { why, delay }) => self.put_off(is_main, why, delay),
                Doing::Effect(Effect::Failed { error, then }) => {
                    self.session_failed(now, slot, error, then);
                }
                Doing::Effect(_) => {}
            }
        }
    }

    /// The server has a step wait, on the connection that there is: clients hear why there is no link yet.
    fn put_off(&mut self, is_main: bool, why: String, delay: Duration) {
        self.news.push_back(News::Note(Note::PutOff(why.clone())));
        if is_main {
            let status = self.status(LinkState::Connecting);
            let status = LinkStatus { error: Some(why), retry_in: Some(delay), ..status };
            self.news.push_back(News::Announce(status));
        }
    }

    /// The script is done.
    fn up(&mut self, now: Instant) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Opening { channel } => {
                self.state = State::Up { channel, since: now, stable: false };
                self.rotation.begin();
                self.announce_up();
            }
            other => self.state = other,
        }
    }

    fn timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Up { since, stable, .. }
                if !*stable && now >= *since + self.settings.reconnect.stable_after =>
            {
                *stable = true;
                self.forget_failures();
                self.rotation.settled();
                self.news.push_back(News::Note(Note::Stable));
            }
            State::Closing { until, .. } if now >= *until => self.drop_closing(now),
            State::Waiting { until, why, .. } if now >= *until => {
                if let Wait::Asked = why {
                    self.asked_again = Some(now + self.settings.reconnect.initial_delay);
                }
                self.connect(now);
            }
            _ => {}
        }
        self.rotation_timeout(now);
        for slot in Slot::ALL {
            self.channel_timeout(now, slot);
        }
    }

    fn channel_timeout(&mut self, now: Instant, slot: Slot) {
        if matches!(&self.state, State::Closing { channel, .. } if channel.slot == slot)
            || self.rotation.is_leaving(slot)
        {
            return;
        }
        let Machine { state, rotation, world, .. } = self;
        let Some(channel) = find(state, rotation, slot) else { return };
        match channel.timeout(now, world) {
            Some(Timeout::Ping(payload)) => self.actions.push_back(Action::Ping { slot, payload }),
            Some(Timeout::Dead(why)) => self.dead(now, slot, why),
            Some(Timeout::Unable(error)) => self.session_failed(now, slot, error, Remedy::Retry),
            None => {}
        }
        self.settle(now, slot);
    }

    fn channel(&self, slot: Slot) -> Option<&Channel> {
        match self.state.slot() == Some(slot) {
            true => self.state.channel(),
            false => self.rotation.channel(slot),
        }
    }

    fn channel_mut(&mut self, slot: Slot) -> Option<&mut Channel> {
        find(&mut self.state, &mut self.rotation, slot)
    }

    // --- what is told ----------------------------------------------------------------------------

    /// A connection is up: the first one, or the next.
    fn announce_up(&mut self) {
        self.conn += 1;
        self.last = Failure::default();
        self.resumes = 0;
        let subprotocol = self.state.channel().and_then(|channel| channel.reached.subprotocol.clone());
        let status = LinkStatus { subprotocol, ..self.status(LinkState::Up) };
        self.news.push_back(News::Announce(status));
    }

    fn announce(&mut self, state: LinkState) {
        let status = self.status(state);
        self.news.push_back(News::Announce(status));
    }

    fn status(&self, state: LinkState) -> LinkStatus {
        LinkStatus {
            state,
            conn: self.conn,
            url: self.server(),
            code: self.last.code,
            reason: self.last.reason.clone(),
            http_status: self.last.http_status,
            error: self.last.error.clone(),
            attempt: self.failures,
            ..LinkStatus::default()
        }
    }

    fn note_round_trip(&mut self, slot: Slot, round_trip: Duration) {
        if self.sender() == Some(slot) {
            self.news.push_back(News::Note(Note::RoundTrip(round_trip)));
        }
    }
}

/// The connection in a seat.
fn find<'a>(state: &'a mut State, rotation: &'a mut Rotation, slot: Slot) -> Option<&'a mut Channel> {
    match state.slot() == Some(slot) {
        true => state.channel_mut(),
        false => rotation.channel_mut(slot),
    }
}
