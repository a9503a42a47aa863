//! How a rotation goes: from one that is called for to the end of the old connection.

use std::time::Instant;

use super::{Forgets, Phase, REMEMBERED};
use crate::{
    config::Remedy,
    upstream::{
        failure::Failure,
        machine::{Action, LINGER, Machine, News, Note, Slot, State, dedupe::Seen, verdict::Verdict},
    },
};

impl Machine {
    /// The server calls for the next connection. Where it does so soon on one after the other, each has a
    /// delay, which grows.
    pub(in crate::upstream::machine) fn rotate(&mut self, now: Instant, why: String) {
        let State::Up { since, .. } = &self.state else { return };
        match &self.rotation.phase {
            Phase::Idle => {}
            Phase::Overlap { .. } | Phase::Leaving { .. } => {
                self.rotation.wanted = Some(why);
                return;
            }
            _ => return,
        }
        let reconnect = &self.settings.reconnect;
        let hasty = self.rotation.hasty;
        if now < *since + reconnect.stable_after.max(reconnect.initial_delay) {
            self.rotation.hasty = hasty.saturating_add(1);
        }
        self.news.push_back(News::Note(Note::Rotating(why)));
        if hasty == 0 {
            return self.dial_next(now);
        }
        let delay = self.rotation_delay(now, hasty, &Failure::default(), Remedy::Retry);
        self.rotation.phase = Phase::Waiting { until: now + delay };
    }

    fn dial_next(&mut self, now: Instant) {
        let at = self.world.pacing.connect_at(now);
        let State::Up { channel, .. } = &self.state else { return };
        if at > now {
            self.rotation.phase = Phase::Waiting { until: at };
            return;
        }
        let slot = channel.slot.other();
        self.remember_beside(slot);
        let attempt = self.dial(now, slot);
        self.rotation.phase = Phase::Dialling(attempt);
        // a message may come over the old one just before the new one is open; and what was said over one
        // that failed is known
        let dedupe = &self.settings.terms.rotate.dedupe;
        match (&mut self.rotation.seen, dedupe) {
            (Some(seen), Some(_)) => seen.begin(slot),
            (seen, dedupe) => *seen = dedupe.clone().map(Seen::new),
        }
        self.rotation.forget_at = None;
        let to = self.destination(attempt);
        self.actions.push_back(Action::Connect { slot, to });
    }

    /// The next connection, in this seat, has its own copy of what is remembered: what it captures and forgets
    /// is the link's business once it takes over.
    fn remember_beside(&mut self, slot: Slot) {
        let mut memory = self.world.memory.beside();
        match (self.rotation.forgets, &self.settings.upstream.resume_url) {
            (Forgets::All, _) => memory.forget_heard(),
            (Forgets::ResumeUrl, Some(template)) => memory.forget_in(template),
            (Forgets::ResumeUrl, None) | (Forgets::Nothing, _) => {}
        }
        self.world.begin_second(slot, memory);
    }

    /// The next connection takes over from the one in the seat `old`, with what it remembers.
    pub(in crate::upstream::machine) fn take_over(&mut self, old: Slot) {
        self.world.switch(old);
        self.rotation.forgets = Forgets::Nothing;
    }

    /// The next connection's script is done: sends go to it from now on.
    pub(in crate::upstream::machine) fn switch(&mut self, now: Instant, slot: Slot) {
        if !matches!(&self.rotation.phase, Phase::Opening(channel) if channel.slot == slot)
            || !matches!(self.state, State::Up { .. })
        {
            return;
        }
        let Phase::Opening(mut channel) = std::mem::take(&mut self.rotation.phase) else { return };
        channel.heard = false;
        let up = State::Up { channel, since: now, stable: false };
        if let State::Up { channel: old, .. } = std::mem::replace(&mut self.state, up) {
            let until = now + self.settings.terms.rotate.overlap;
            self.take_over(old.slot);
            self.rotation.phase = Phase::Overlap { old, since: now, until };
        }
        self.rotation.failures = 0;
        self.announce_up();
        self.end_overlap_when_met(now);
    }

    /// The old connection is read until the new one has said something. Where messages have names, it
    /// is read until both have said the same: the old one may be behind, and what it has still to say
    /// may be from before the new one listened. Requests that were asked on it have their answers there.
    pub(in crate::upstream::machine) fn end_overlap_when_met(&mut self, now: Instant) {
        if let (State::Up { channel, .. }, Phase::Overlap { old, .. }) = (&self.state, &self.rotation.phase)
            && !old.session.is_asked()
            && self.rotation.seen.as_ref().map_or(channel.heard, Seen::have_met)
        {
            self.leave_old(now);
        }
    }

    fn leave_old(&mut self, now: Instant) {
        if let Phase::Overlap { old, .. } = std::mem::take(&mut self.rotation.phase) {
            let code = self.parting_code();
            self.actions.push_back(Action::Close { slot: old.slot, code, reason: "rotated" });
            self.rotation.leave(old, now, now + self.settings.close_timeout);
        }
    }

    pub(in crate::upstream::machine) fn rotation_timeout(&mut self, now: Instant) {
        if let State::Up { channel, .. } = &self.state
            && let Some(at) = self.rotation.due_at(channel.since, &self.settings.terms.rotate)
            && at <= now
        {
            let age = self.settings.terms.rotate.after.unwrap_or_default();
            self.news.push_back(News::Note(Note::Rotating(format!("the connection is {age:?} old"))));
            self.dial_next(now);
        }
        match &self.rotation.phase {
            Phase::Waiting { until } if now >= *until => self.dial_next(now),
            Phase::Overlap { old, until, .. } if now >= *until && !old.heartbeat.is_paused() => {
                self.leave_old(now);
            }
            Phase::Leaving { old, until, .. } if now >= *until && !old.heartbeat.is_paused() => {
                self.actions.push_back(Action::Drop { slot: old.slot });
                self.second_gone(now);
            }
            _ => {}
        }
        if self.rotation.forget_at.is_some_and(|at| at <= now) {
            (self.rotation.seen, self.rotation.forget_at) = (None, None);
        }
    }

    pub(in crate::upstream::machine) fn rotation_closing(
        &mut self,
        now: Instant,
        slot: Slot,
        failure: Failure,
    ) {
        if self.rotation.slot() != Some(slot) {
            return;
        }
        match std::mem::take(&mut self.rotation.phase) {
            Phase::Overlap { old, .. } => self.rotation.leave(old, now, now + LINGER),
            Phase::Leaving { old, until, .. } => self.rotation.leave(old, now, until.min(now + LINGER)),
            phase @ Phase::Opening(_) => {
                self.rotation.phase = phase;
                self.actions.push_back(Action::Drop { slot });
                self.rotation_failed(now, slot, failure);
            }
            other => self.rotation.phase = other,
        }
    }

    pub(in crate::upstream::machine) fn rotation_ended(
        &mut self,
        now: Instant,
        slot: Slot,
        failure: Failure,
    ) {
        match &self.rotation.phase {
            Phase::Overlap { old, .. } | Phase::Leaving { old, .. } if old.slot == slot => {
                self.second_gone(now)
            }
            _ => self.rotation_failed(now, slot, failure),
        }
    }

    pub(in crate::upstream::machine) fn rotation_session_failed(
        &mut self,
        now: Instant,
        slot: Slot,
        failure: Failure,
    ) {
        match &self.rotation.phase {
            Phase::Opening(channel) if channel.slot == slot => {
                self.actions.push_back(Action::Drop { slot });
                self.rotation_failed(now, slot, failure);
            }
            Phase::Overlap { old, .. } if old.slot == slot => self.leave_old(now),
            _ => {}
        }
    }

    /// Nothing is left of the second connection; the names of what it said are kept for a while, however
    /// short the overlap: the one that goes on may be behind.
    pub(in crate::upstream::machine) fn second_gone(&mut self, now: Instant) {
        let forget_at = now + self.settings.terms.rotate.overlap.max(REMEMBERED);
        self.rotation.rest(self.rotation.compares().then_some(forget_at));
        self.world.end_second();
        if let Some(why) = self.rotation.wanted.take() {
            self.rotate(now, why);
        }
    }

    /// The next connection came to nothing: the old one stays, and another attempt follows.
    pub(in crate::upstream::machine) fn rotation_failed(
        &mut self,
        now: Instant,
        slot: Slot,
        failure: Failure,
    ) {
        let resumes = match &self.rotation.phase {
            Phase::Dialling(attempt) if attempt.slot == slot => attempt.resumes,
            Phase::Opening(channel) if channel.slot == slot => channel.resumes,
            _ => return,
        };
        let mut forgets = self.rotation.forgets;
        if self.gives_up_resuming(resumes, &failure) && forgets == Forgets::Nothing {
            forgets = Forgets::ResumeUrl;
        }
        let verdict = Verdict::of(&failure, &self.settings.reconnect.rules);
        let error = failure.error.clone().unwrap_or_default();
        self.second_gone(now);
        self.rotation.failures = self.rotation.failures.saturating_add(1);
        let retry_in = match verdict.remedy {
            Remedy::Stop => {
                self.rotation.phase = Phase::Stopped;
                None
            }
            remedy => {
                if remedy == Remedy::Forget {
                    forgets = Forgets::All;
                }
                if matches!(remedy, Remedy::Forget | Remedy::Refresh) {
                    // once: the old connection has no more use for it, and the attempts that follow share what is new
                    self.world.memory.forget_kept();
                }
                let delay = self.rotation_delay(now, self.rotation.failures, &failure, remedy);
                self.rotation.phase = Phase::Waiting { until: now + delay };
                Some(delay)
            }
        };
        self.rotation.forgets = forgets;
        self.news.push_back(News::Note(Note::RotationFailed { error, retry_in }));
    }

    /// The link's connection goes away by itself or on request: no other takes over from it, and none
    /// is read beside it.
    pub(in crate::upstream::machine) fn end_rotation(&mut self, now: Instant) {
        self.rotation.forgets = Forgets::Nothing;
        if !matches!(self.rotation.phase, Phase::Overlap { .. } | Phase::Leaving { .. }) {
            self.world.end_second();
        }
        match &self.rotation.phase {
            Phase::Dialling(attempt) => {
                self.actions.push_back(Action::AbandonConnect { slot: attempt.slot });
                self.rotation.rest(None);
            }
            Phase::Opening(channel) => {
                self.actions.push_back(Action::Drop { slot: channel.slot });
                self.rotation.rest(None);
            }
            Phase::Overlap { .. } => self.leave_old(now),
            Phase::Leaving { .. } => {}
            Phase::Idle | Phase::Waiting { .. } | Phase::Stopped => self.rotation.rest(None),
        }
    }
}
