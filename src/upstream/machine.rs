//! The link's state machine: what to do next, and when. Pure.
//!
//! The contract is that of one loop: [`Machine::handle`] what happened, drain [`Machine::poll_action`]
//! and do it, then wait for the next happening or for [`Machine::next_timeout`].
//!
//! There is one state, so there is one attempt or one connection at a time. Every way to a new
//! automatic attempt leads through `Waiting`, which has a delay. Attempts asked for come at once, but
//! no more often than once per `initial_delay`.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    Ended, Settings, backoff,
    failure::Failure,
    heartbeat::{Due, Heartbeat},
};
use crate::{
    config::OnExhausted,
    hub::{LinkState, LinkStatus},
};

mod events;
mod state;
pub(super) use events::{Action, Input, Note};
use state::{State, Then, Wait};
#[cfg(test)]
mod tests;

/// How long the end of the TCP connection is awaited after the closing handshake: the server should
/// close it first (RFC 6455, 7.1.1).
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The machine.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    random: fastrand::Rng,
    heartbeat: Heartbeat,
    state: State,
    actions: VecDeque<Action>,
    /// The number of the newest connection.
    conn: u64,
    /// The URL of the present or next attempt.
    url: usize,
    /// Failures in a row, as shown and as the delay grows with.
    failures: u32,
    /// Attempts in a row that came to nothing or to no stable connection: what `max_attempts` bounds.
    attempts: u32,
    /// How the last attempt or connection ended.
    last: Failure,
    /// Before this an attempt that is asked for has to wait.
    asked_again: Option<Instant>,
}

impl Machine {
    pub(super) fn new(settings: Settings, seed: u64) -> Machine {
        Machine {
            heartbeat: Heartbeat::new(settings.heartbeat.clone()),
            settings,
            random: fastrand::Rng::with_seed(seed),
            state: State::Closed,
            actions: VecDeque::new(),
            conn: 0,
            url: 0,
            failures: 0,
            attempts: 0,
            last: Failure::default(),
            asked_again: None,
        }
    }

    /// Takes in what happened.
    pub(super) fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Start if matches!(self.state, State::Closed) => self.connect(),
            Input::Start => {}
            Input::Connected { subprotocol } => self.connected(now, subprotocol),
            Input::ConnectFailed(failure) => {
                if matches!(self.state, State::Connecting) {
                    self.failed(now, failure, false);
                }
            }
            Input::Inbound => self.heartbeat.inbound(now),
            Input::Pong(payload) => {
                let round_trip = self.heartbeat.pong(now, payload);
                self.note_round_trip(round_trip);
            }
            Input::Message(text) => {
                let round_trip = self.heartbeat.message(now, text);
                self.note_round_trip(round_trip);
            }
            Input::Paused => self.heartbeat.pause(now),
            Input::Resumed => self.heartbeat.resume(now),
            Input::Closing(failure) => self.closing(now, failure),
            Input::Ended(failure) => self.ended(now, failure),
            Input::Open => self.open(now, false),
            Input::Reconnect => self.open(now, true),
            Input::Close => self.close(now),
            Input::Stop => self.stop(now),
            Input::Settings(settings) => self.set(now, *settings),
            Input::Timeout => self.timeout(now),
        }
    }

    /// The next thing to do. Drain it after each [`Machine::handle`].
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to say [`Input::Timeout`], if nothing else happens before.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Up { since, stable } => {
                let stable_at = (!stable).then(|| *since + self.settings.reconnect.stable_after);
                [stable_at, self.heartbeat.next_timeout()].into_iter().flatten().min()
            }
            State::Closing { until, .. } | State::Waiting { until, .. } => Some(*until),
            State::Closed | State::Connecting | State::Failed | State::Finished => None,
        }
    }

    /// Whether text messages matter to the heartbeat.
    pub(super) fn wants_messages(&self) -> bool {
        self.heartbeat.wants_messages()
    }

    /// Whether a send may go out now.
    pub(super) fn takes_sends(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// The state that a send which doesn't go out is told. While the connection closes, that is
    /// the one to come.
    pub(super) fn state_for_sends(&self) -> LinkState {
        match &self.state {
            State::Connecting => LinkState::Connecting,
            State::Up { .. } => LinkState::Up,
            State::Waiting { .. } => LinkState::Waiting,
            State::Failed => LinkState::Failed,
            State::Closed | State::Finished => LinkState::Closed,
            State::Closing { then, .. } => match then {
                Then::Retry { .. } => LinkState::Waiting,
                Then::Reconnect(_) => LinkState::Connecting,
                Then::Closed(_) | Then::Stop(_) => LinkState::Closed,
            },
        }
    }

    // --- what happens to a connection ------------------------------------------------------------

    fn connected(&mut self, now: Instant, subprotocol: Option<String>) {
        if !matches!(self.state, State::Connecting) {
            return;
        }
        self.conn += 1;
        self.last = Failure::default();
        self.state = State::Up { since: now, stable: false };
        self.heartbeat.arm(now);
        let status = LinkStatus { subprotocol, ..self.status(LinkState::Up) };
        self.actions.push_back(Action::Announce(status));
    }

    fn closing(&mut self, now: Instant, failure: Failure) {
        match &mut self.state {
            State::Up { since, .. } => {
                let stable = now >= *since + self.settings.reconnect.stable_after;
                self.begin_closing(now + LINGER, Then::Retry { failure, stable });
            }
            // the handshake is done: nothing remains but the end of TCP
            State::Closing { until, .. } => *until = (*until).min(now + LINGER),
            _ => {}
        }
    }

    fn ended(&mut self, now: Instant, failure: Failure) {
        match &self.state {
            State::Up { since, .. } => {
                let stable = now >= *since + self.settings.reconnect.stable_after;
                self.failed(now, failure, stable);
            }
            State::Closing { .. } => self.after_closing(now),
            _ => {}
        }
    }

    fn begin_closing(&mut self, until: Instant, then: Then) {
        self.heartbeat.disarm();
        self.state = State::Closing { until, then };
    }

    fn after_closing(&mut self, now: Instant) {
        let State::Closing { then, .. } = std::mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        match then {
            Then::Retry { failure, stable } => self.failed(now, failure, stable),
            Then::Reconnect(last) => {
                self.last = last;
                self.connect_asked(now);
            }
            Then::Closed(last) => {
                self.last = last;
                self.announce(LinkState::Closed);
            }
            Then::Stop(last) => {
                self.last = last;
                self.finish(Ended::Stopped);
            }
        }
    }

    /// An attempt or a connection failed: wait, or give up.
    fn failed(&mut self, now: Instant, failure: Failure, stable: bool) {
        self.heartbeat.disarm();
        self.last = failure;
        self.url = (self.url + 1) % self.settings.upstream.urls.len().max(1);
        if stable {
            // the loss of a stable connection begins a new row; it uses up no attempt
            (self.failures, self.attempts) = (1, 0);
        } else {
            self.failures = self.failures.saturating_add(1);
            self.attempts = self.attempts.saturating_add(1);
        }
        let max = self.settings.reconnect.max_attempts;
        if max != 0 && self.attempts >= max {
            return self.give_up();
        }
        let (random, retry_after) = (self.random.f64(), self.last.retry_after);
        let delay = backoff::delay(&self.settings.reconnect, self.failures, random, retry_after);
        self.wait(now, delay, Wait::Backoff { random, retry_after });
    }

    fn give_up(&mut self) {
        let attempts = match self.attempts {
            1 => "1 attempt".to_owned(),
            n => format!("{n} attempts in a row"),
        };
        let cause = self.last.error.take().unwrap_or_default();
        self.last.error = Some(format!("given up after {attempts} (reconnect.max_attempts): {cause}"));
        self.state = State::Failed;
        self.announce(LinkState::Failed);
        if self.settings.reconnect.on_exhausted == OnExhausted::Exit {
            self.state = State::Finished;
            self.actions.push_back(Action::Finish(Ended::GivenUp));
        }
    }

    fn wait(&mut self, now: Instant, delay: Duration, why: Wait) {
        self.state = State::Waiting { since: now, until: now + delay, why };
        let status = LinkStatus { retry_in: Some(delay), ..self.status(LinkState::Waiting) };
        self.actions.push_back(Action::Announce(status));
    }

    fn connect(&mut self) {
        self.state = State::Connecting;
        self.announce(LinkState::Connecting);
        self.actions.push_back(Action::Connect { url: self.url });
    }

    // --- what is asked for -----------------------------------------------------------------------

    /// `open` and `reconnect` differ only where a connection is up. An attempt under way is left
    /// alone by both: it is the new connection that is asked for.
    fn open(&mut self, now: Instant, anew: bool) {
        match &mut self.state {
            State::Up { .. } if anew => {
                self.close_here(now, 1000, "reconnect", Then::Reconnect);
            }
            State::Closing { then, .. } => {
                if let Then::Closed(last) = then {
                    *then = Then::Reconnect(std::mem::take(last));
                } else if let Then::Retry { failure, .. } = then {
                    *then = Then::Reconnect(std::mem::take(failure));
                }
            }
            State::Waiting { why: Wait::Asked, .. } => {}
            State::Waiting { .. } | State::Failed | State::Closed => self.connect_asked(now),
            State::Up { .. } | State::Connecting | State::Finished => {}
        }
    }

    /// An attempt that was asked for: at once, but once per `initial_delay`, so that a client that
    /// asks again and again makes no storm.
    fn connect_asked(&mut self, now: Instant) {
        (self.failures, self.attempts) = (0, 0);
        match self.asked_again {
            Some(at) if now < at => self.wait(now, at - now, Wait::Asked),
            _ => {
                self.asked_again = Some(now + self.settings.reconnect.initial_delay);
                self.connect();
            }
        }
    }

    fn close(&mut self, now: Instant) {
        match &mut self.state {
            State::Up { .. } => self.close_here(now, 1000, "close", Then::Closed),
            State::Closing { then, .. } => {
                if let Then::Reconnect(last) = then {
                    *then = Then::Closed(std::mem::take(last));
                } else if let Then::Retry { failure, .. } = then {
                    *then = Then::Closed(std::mem::take(failure));
                }
            }
            State::Connecting => {
                self.actions.push_back(Action::AbandonConnect);
                self.closed();
            }
            State::Waiting { .. } | State::Failed => self.closed(),
            State::Closed | State::Finished => {}
        }
    }

    fn closed(&mut self) {
        self.state = State::Closed;
        self.announce(LinkState::Closed);
    }

    /// The daemon goes away (1001, RFC 6455, 7.4.1). Asked a second time, it goes at once.
    fn stop(&mut self, now: Instant) {
        match &mut self.state {
            State::Up { .. } => self.close_here(now, 1001, "shutdown", Then::Stop),
            State::Closing { then: Then::Stop(_), .. } => self.drop_now(now),
            State::Closing { then, until } => {
                *until = (*until).min(now + self.settings.close_timeout);
                let last = match then {
                    Then::Retry { failure, .. } => std::mem::take(failure),
                    Then::Reconnect(last) | Then::Closed(last) | Then::Stop(last) => std::mem::take(last),
                };
                *then = Then::Stop(last);
            }
            State::Connecting => {
                self.actions.push_back(Action::AbandonConnect);
                self.finish(Ended::Stopped);
            }
            State::Waiting { .. } | State::Failed => self.finish(Ended::Stopped),
            State::Closed => {
                self.state = State::Finished;
                self.actions.push_back(Action::Finish(Ended::Stopped));
            }
            State::Finished => {}
        }
    }

    fn finish(&mut self, ended: Ended) {
        self.closed();
        self.state = State::Finished;
        self.actions.push_back(Action::Finish(ended));
    }

    fn close_here(&mut self, now: Instant, code: u16, reason: &'static str, then: fn(Failure) -> Then) {
        self.actions.push_back(Action::Close { code, reason });
        self.begin_closing(now + self.settings.close_timeout, then(Failure::closed_here(code, reason)));
    }

    fn drop_now(&mut self, now: Instant) {
        self.actions.push_back(Action::Drop);
        self.after_closing(now);
    }

    /// New settings: intervals apply to the live link; another upstream means another connection.
    fn set(&mut self, now: Instant, settings: Settings) {
        let moved = !same_upstream(&self.settings, &settings);
        self.heartbeat.set(now, settings.heartbeat.clone());
        self.settings = settings;
        if moved {
            self.url = 0;
            match &self.state {
                State::Up { .. } => self.close_here(now, 1000, "reconfigured", Then::Reconnect),
                State::Closing { .. } => self.open(now, true),
                State::Connecting => {
                    self.actions.push_back(Action::AbandonConnect);
                    self.connect_asked(now);
                }
                State::Waiting { .. } | State::Failed => self.connect_asked(now),
                State::Closed | State::Finished => {}
            }
        } else if let State::Waiting { since, until, why: Wait::Backoff { random, retry_after } } =
            &mut self.state
        {
            let delay = backoff::delay(&self.settings.reconnect, self.failures, *random, *retry_after);
            if *since + delay < *until {
                *until = *since + delay;
                self.actions.push_back(Action::Note(Note::RetryIn(delay)));
            }
        }
    }

    fn timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Up { since, stable } => {
                if !*stable && now >= *since + self.settings.reconnect.stable_after {
                    *stable = true;
                    (self.failures, self.attempts) = (0, 0);
                    self.actions.push_back(Action::Note(Note::Stable));
                }
                match self.heartbeat.due(now) {
                    Some(Due::Beat(beat)) => self.actions.push_back(Action::Heartbeat(beat)),
                    Some(Due::Dead(why)) => {
                        self.actions.push_back(Action::Drop);
                        self.ended(now, Failure::lost(why));
                    }
                    None => {}
                }
            }
            State::Closing { until, .. } if now >= *until => self.drop_now(now),
            State::Waiting { until, why, .. } if now >= *until => {
                if let Wait::Asked = why {
                    self.asked_again = Some(now + self.settings.reconnect.initial_delay);
                }
                self.connect();
            }
            _ => {}
        }
    }

    // --- what is told ----------------------------------------------------------------------------

    fn announce(&mut self, state: LinkState) {
        let status = self.status(state);
        self.actions.push_back(Action::Announce(status));
    }

    fn status(&self, state: LinkState) -> LinkStatus {
        LinkStatus {
            state,
            conn: self.conn,
            url: self.settings.upstream.display_url(self.url),
            code: self.last.code,
            reason: self.last.reason.clone(),
            http_status: self.last.http_status,
            error: self.last.error.clone(),
            attempt: self.failures,
            ..LinkStatus::default()
        }
    }

    fn note_round_trip(&mut self, round_trip: Option<Duration>) {
        if let Some(round_trip) = round_trip {
            self.actions.push_back(Action::Note(Note::RoundTrip(round_trip)));
        }
    }
}

/// Whether a connection made with `old` is as good as one made with `new`.
fn same_upstream(old: &Settings, new: &Settings) -> bool {
    let mut old = old.upstream.clone();
    old.connect_timeout = new.upstream.connect_timeout;
    old == new.upstream
}
