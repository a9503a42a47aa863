//! What is asked for: open, reconnect, close, stop, and other settings.

use std::{rc::Rc, time::Instant};

use super::{Action, Machine, Public, State, Then, Wait, backoff};
use crate::{
    config::{self, Takes},
    hub::LinkState,
    upstream::{
        failure::Failure,
        session::Rules,
        settings::{Exit, Settings},
    },
};

impl Machine {
    /// `open` and `reconnect` differ only where a connection is up. An attempt under way is left
    /// alone by both: it is the new connection that is asked for.
    pub(super) fn open(&mut self, now: Instant, anew: bool) {
        match &mut self.state {
            State::Up { .. } if anew => {
                self.close_here(now, self.parting_code(), "reconnect", Then::Reconnect);
            }
            State::Closing { then, .. } => {
                if let Then::Closed(_) | Then::Fail(_) = then {
                    *then = Then::Reconnect(then.take_failure());
                }
            }
            State::Waiting { why: Wait::Asked | Wait::Limit, .. } => {}
            State::Waiting { .. } | State::Failed | State::Closed => self.begin_anew(now),
            State::Up { .. } | State::Dialling(_) | State::Opening { .. } | State::Finished => {}
        }
    }

    /// An attempt that was asked for where there is no connection: what went wrong before was told then, and
    /// isn't told again.
    fn begin_anew(&mut self, now: Instant) {
        self.last = Failure::default();
        self.connect_asked(now);
    }

    /// An attempt that was asked for: at once, but once per `initial_delay`, so that a client that
    /// asks again and again makes no storm.
    pub(super) fn connect_asked(&mut self, now: Instant) {
        self.forget_failures();
        match self.asked_again {
            Some(at) if now < at => self.wait(now, at - now, Wait::Asked),
            _ => {
                self.asked_again = Some(now + self.settings.reconnect.initial_delay);
                self.connect(now);
            }
        }
    }

    pub(super) fn close(&mut self, now: Instant) {
        match &mut self.state {
            State::Up { .. } | State::Opening { .. } => self.close_here(now, 1000, "close", Then::Closed),
            State::Closing { then, .. } => {
                if let Then::Reconnect(_) | Then::Fail(_) = then {
                    *then = Then::Closed(then.take_failure());
                }
            }
            State::Dialling(attempt) => {
                self.actions.push_back(Action::AbandonConnect { slot: attempt.slot });
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
    pub(super) fn stop(&mut self, now: Instant) {
        match &mut self.state {
            State::Up { .. } | State::Opening { .. } => self.close_here(now, 1001, "shutdown", Then::Stop),
            State::Closing { then: Then::Stop(_), .. } => self.drop_closing(now),
            State::Closing { then, until, .. } => {
                *until = (*until).min(now + self.settings.close_timeout);
                *then = Then::Stop(then.take_failure());
            }
            State::Dialling(attempt) => {
                self.actions.push_back(Action::AbandonConnect { slot: attempt.slot });
                self.finish(Exit::Stopped);
            }
            State::Waiting { .. } | State::Failed => self.finish(Exit::Stopped),
            State::Closed => {
                self.state = State::Finished;
                self.actions.push_back(Action::Finish(Exit::Stopped));
            }
            State::Finished => {}
        }
    }

    pub(super) fn finish(&mut self, ended: Exit) {
        self.closed();
        self.state = State::Finished;
        self.actions.push_back(Action::Finish(ended));
    }

    fn close_here(&mut self, now: Instant, code: u16, reason: &'static str, then: fn(Failure) -> Then) {
        self.end_rotation(now);
        let drains = matches!(self.state, State::Up { .. });
        if let State::Up { channel, .. } | State::Opening { channel } =
            std::mem::replace(&mut self.state, State::Closed)
        {
            self.actions.push_back(Action::Close { slot: channel.slot, code, reason });
            let until = now + self.settings.close_timeout;
            let then = then(Failure::closed_here(code, reason));
            self.state = State::Closing { channel, until, then, drains };
        }
    }

    /// New settings: intervals, rules, limits and rotation apply to the live link; another upstream,
    /// and another way to speak to it, mean another connection.
    pub(super) fn set(&mut self, now: Instant, settings: Settings) {
        let moved = !is_same_connection(&self.settings, &settings);
        self.is_stale |= is_another_session(&self.settings, &settings);
        let delays_changed = self.settings.reconnect != settings.reconnect;
        self.settings = settings;
        self.rules = Rc::new(Rules::new(&self.settings));
        self.public = Public::new(&self.settings);
        self.world.pacing.set(&self.settings.terms.limits);
        for slot in super::Slot::ALL.into_iter().filter(|_| !moved) {
            if self.closes(slot) {
                continue; // it ends as it was: what waits there was asked by the old words
            }
            let Machine { state, rotation, settings, rules, world, .. } = self;
            if let Some(channel) = super::find(state, rotation, slot) {
                channel.set(now, world, settings, rules);
            }
            self.settle(now, slot);
        }
        if moved {
            self.url = 0;
            match &self.state {
                State::Up { .. } | State::Opening { .. } => {
                    self.close_here(now, self.parting_code(), "reconfigured", Then::Reconnect);
                }
                State::Closing { then: Then::Fail(_), .. } => self.open(now, true),
                State::Dialling(attempt) => {
                    self.actions.push_back(Action::AbandonConnect { slot: attempt.slot });
                    self.begin_anew(now);
                }
                State::Waiting { .. } | State::Failed => self.begin_anew(now),
                State::Closing { .. } | State::Closed | State::Finished => {}
            }
        } else if delays_changed {
            self.shorten_wait(now);
        }
    }

    /// A wait that would be shorter with the new settings ends sooner, but not before the limits let it.
    fn shorten_wait(&mut self, now: Instant) {
        let free = self.world.pacing.connect_at(now);
        if let State::Waiting { since, until, why: Wait::Backoff { random, down, retry_after } } =
            &mut self.state
        {
            let delay = backoff::delay(&self.settings.reconnect, self.failures, *random, *down, *retry_after);
            let sooner = (*since + delay).max(free).max(now);
            if sooner < *until {
                *until = sooner;
                self.announce_waiting(now, sooner);
            }
        }
    }
}

/// Whether what was captured, heard last and counted with `old` means nothing with `new`: it is of another
/// server, or something else by the same name.
pub(super) fn is_another_session(old: &Settings, new: &Settings) -> bool {
    let where_to = |settings: &Settings| {
        let config::Upstream { urls, url_command, resume_url, .. } = &settings.upstream;
        (urls.clone(), url_command.clone(), resume_url.clone())
    };
    let kept = |settings: &Settings| {
        let config::Terms { captures, sequence, script, .. } = &settings.terms;
        let steps = script.steps.iter().map(|step| step.capture.clone());
        (captures.clone(), sequence.clone(), steps.collect::<Vec<_>>())
    };
    where_to(old) != where_to(new) || kept(old) != kept(new)
}

/// Whether a connection made with `old` is as good as one made with `new`.
fn is_same_connection(old: &Settings, new: &Settings) -> bool {
    let Settings { upstream, terms, heartbeat, reconnect, outbox, close_timeout: _ } = old;
    let changes = [
        upstream.changes(&new.upstream),
        terms.changes(&new.terms),
        heartbeat.changes(&new.heartbeat),
        reconnect.changes(&new.reconnect),
        outbox.changes(&new.outbox),
    ];
    changes.iter().flatten().all(|key| key.takes == Takes::Nothing)
}
