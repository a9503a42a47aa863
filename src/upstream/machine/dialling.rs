//! Attempts: when they may be made, and where they go.

use std::time::Instant;

use super::{Action, Destination, Fault, Machine, Slot, State, Wait};
use crate::{
    config::{Placeholder, Template, Value, origin},
    hub::LinkState,
    upstream::{
        failure::Failure,
        session::{
            kept::Kept,
            memory::{Captures, Memory},
        },
    },
};

/// An attempt that is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    pub(super) slot: Slot,
    /// By then all has to be done: DNS, TCP, TLS, upgrade and script.
    pub(super) until: Instant,
    /// It goes to `upstream.resume_url`.
    pub(super) resumes: bool,
}

impl Machine {
    /// Begins an attempt for the link, as soon as `limits.connects` let it.
    pub(super) fn connect(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_stale) {
            self.world.memory.forget_heard();
        }
        let at = self.world.pacing.connect_at(now);
        if at > now {
            return self.wait(now, at - now, Wait::Limit);
        }
        // the old connection of a rotation may still be closing in the other seat
        let slot = if self.rotation.slot() == Some(Slot::A) { Slot::B } else { Slot::A };
        let attempt = self.dial(now, slot);
        self.state = State::Dialling(attempt);
        self.announce(LinkState::Connecting);
        let to = self.destination(attempt);
        self.actions.push_back(Action::Connect { slot, to });
    }

    /// An attempt that begins now; its [`Action::Connect`] is left to the caller.
    pub(super) fn dial(&mut self, now: Instant, slot: Slot) -> Attempt {
        self.world.pacing.connecting(now);
        let until = now + self.settings.upstream.connect_timeout;
        Attempt { slot, until, resumes: self.can_resume(slot) }
    }

    /// Where an attempt goes.
    pub(super) fn destination(&self, attempt: Attempt) -> Destination {
        match attempt.resumes {
            true => Destination::Resume(self.world.memory_of(attempt.slot).captures()),
            false => Destination::Configured(self.url),
        }
    }

    /// What commands have printed that are run once, for the attempt of this seat.
    pub(in crate::upstream) fn kept(&self, slot: Slot) -> Kept {
        self.world.memory_of(slot).kept()
    }

    pub(super) fn connect_failed(&mut self, now: Instant, slot: Slot, failure: Failure) {
        match self.state {
            State::Dialling(attempt) if attempt.slot == slot => {
                self.note_resume(attempt.resumes, &failure);
                self.failed(now, Fault { failure, ..Fault::default() });
            }
            _ => self.rotation_failed(now, slot, failure),
        }
    }

    /// The server of the connection or the attempt that there is, or else of the next attempt, for people.
    pub(super) fn server(&self) -> String {
        let upstream = &self.settings.upstream;
        let resumes = match (&self.state, self.state.channel()) {
            (_, Some(channel)) => {
                let place = channel.reached.place.clone();
                return place.unwrap_or_else(|| upstream.display_url(self.url));
            }
            (State::Dialling(attempt), _) => attempt.resumes,
            _ => !self.is_stale && self.has_all(&self.world.memory),
        };
        match &upstream.resume_url {
            Some(template) if resumes => place(template, &self.world.memory.captures()),
            _ => upstream.display_url(self.url),
        }
    }

    /// Whether everything that `resume_url` needs is captured.
    fn can_resume(&self, slot: Slot) -> bool {
        self.has_all(self.world.memory_of(slot))
    }

    fn has_all(&self, memory: &Memory) -> bool {
        self.settings.upstream.resume_url.as_ref().is_some_and(|template| memory.has_all(template))
    }

    /// An attempt of the link's came to nothing: what `resume_url` needs is forgotten where it is given up.
    pub(super) fn note_resume(&mut self, resumes: bool, failure: &Failure) {
        if self.gives_up_resuming(resumes, failure)
            && let Some(template) = &self.settings.upstream.resume_url
        {
            self.world.memory.forget_in(template);
        }
    }

    /// Whether, after an attempt that came to nothing, `resume_url` is given up: after so many in a row, and at
    /// once if it led where it must not.
    pub(super) fn gives_up_resuming(&mut self, resumes: bool, failure: &Failure) -> bool {
        if !resumes {
            return false;
        }
        self.resumes += 1;
        let enough = self.resumes >= self.settings.upstream.resume_url_failures;
        let gives_up = enough || failure.misled;
        if gives_up {
            self.resumes = 0;
        }
        gives_up
    }
}

/// Where `resume_url` leads, as far as captures say it: scheme, host and port.
fn place(template: &Template, captures: &Captures) -> String {
    let url = template.render(|placeholder| match placeholder {
        Placeholder::Capture(name) => captures.value(name),
        // no host has it in it, and nothing else of the URL is shown
        _ => Ok(Value::Text("${}".to_owned())),
    });
    let origin = url.ok().and_then(|url| origin(url.expose()));
    origin.unwrap_or_else(|| "upstream.resume_url".to_owned())
}
