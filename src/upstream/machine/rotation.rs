//! Rotation: the next connection is made, and its script is done, while the old one is live; then
//! they change places, and the old one is read to its end.
//!
//! Before the change the next one's failures concern nobody: the old connection stays, and another
//! attempt follows after a delay. After it the old one's do not.

use std::time::{Duration, Instant};

use super::{
    Action, Attempt, Channel, LINGER, Machine, News, Note, Slot, State, dedupe::Seen, fault::is_under_way,
    verdict::Verdict, world::World,
};
use crate::{
    config::{self, Remedy},
    hub::Data,
    upstream::failure::Failure,
};

/// Names of messages are kept for so long at least once only one connection is left.
const REMEMBERED: Duration = Duration::from_secs(5);

/// The second connection.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    phase: Phase,
    /// Attempts in a row that came to nothing.
    failures: u32,
    /// Rotations in a row that the server called for on a connection that wasn't stable.
    hasty: u32,
    /// Another rotation is called for, once the old connection of this one is gone.
    wanted: Option<String>,
    /// The names of messages, while two connections are read.
    seen: Option<Seen>,
    /// When the names aren't needed any more.
    forget_at: Option<Instant>,
    /// What the next connection goes without of what the link remembers.
    forgets: Forgets,
}

/// What failed attempts of a rotation have it forget, until one takes over; the old connection needs it still.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Forgets {
    #[default]
    Nothing,
    /// What `resume_url` needs.
    ResumeUrl,
    /// A rule, or a step, says `forget`.
    All,
}

/// How far it has come.
#[derive(Debug, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    /// Before the next attempt.
    Waiting {
        until: Instant,
    },
    Dialling(Attempt),
    /// The next connection's script is under way.
    Opening(Box<Channel>),
    /// The next connection is the link's; the old one is still read, until nothing is missed without it
    /// or this time comes.
    Overlap {
        old: Box<Channel>,
        since: Instant,
        until: Instant,
    },
    /// The old connection closes; what it still says counts.
    Leaving {
        old: Box<Channel>,
        since: Instant,
        until: Instant,
    },
    /// A rule said not to try again.
    Stopped,
}

impl Rotation {
    /// A connection is up that wasn't made in a rotation.
    pub(super) fn begin(&mut self) {
        self.failures = 0;
        if matches!(self.phase, Phase::Stopped) {
            self.phase = Phase::Idle;
        }
    }

    /// The link's connection is stable.
    pub(super) fn settled(&mut self) {
        self.hasty = 0;
    }

    /// The seat that is taken.
    pub(super) fn slot(&self) -> Option<Slot> {
        match &self.phase {
            Phase::Dialling(attempt) => Some(attempt.slot),
            _ => self.any_channel().map(|channel| channel.slot),
        }
    }

    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(super) fn attempt(&self, slot: Slot) -> Option<Attempt> {
        match &self.phase {
            Phase::Dialling(attempt) if attempt.slot == slot => Some(*attempt),
            _ => None,
        }
    }

    pub(super) fn channel(&self, slot: Slot) -> Option<&Channel> {
        self.any_channel().filter(|channel| channel.slot == slot)
    }

    pub(super) fn channel_mut(&mut self, slot: Slot) -> Option<&mut Channel> {
        match &mut self.phase {
            Phase::Opening(channel)
            | Phase::Overlap { old: channel, .. }
            | Phase::Leaving { old: channel, .. } => {
                Some(&mut **channel).filter(|channel| channel.slot == slot)
            }
            _ => None,
        }
    }

    /// The one that is to take over from the connection in this seat, or has taken over.
    pub(super) fn newer(&self, slot: Slot) -> Option<Slot> {
        match &self.phase {
            Phase::Dialling(attempt) => Some(attempt.slot),
            Phase::Opening(next) => Some(next.slot),
            Phase::Overlap { old, .. } | Phase::Leaving { old, .. } if old.slot == slot => Some(slot.other()),
            _ => None,
        }
    }

    pub(super) fn is_leaving(&self, slot: Slot) -> bool {
        matches!(&self.phase, Phase::Leaving { old, .. } if old.slot == slot)
    }

    /// The next connection is open.
    pub(super) fn opened(&mut self, channel: Box<Channel>) {
        self.phase = Phase::Opening(channel);
    }

    /// The attempt or the script that is under way, for the link to take over.
    pub(super) fn take_next(&mut self) -> Option<Phase> {
        is_under_way(&self.phase).then(|| std::mem::take(&mut self.phase))
    }

    /// A connection closes while the link goes on with the next one.
    pub(super) fn leave(&mut self, old: Box<Channel>, now: Instant, until: Instant) {
        self.phase = Phase::Leaving { old, since: now, until };
    }

    /// wsfan reads again: while it didn't, nobody could hear what the connection still had to say.
    pub(super) fn resumed(&mut self, now: Instant, slot: Slot, pause: Duration) {
        if let Phase::Overlap { old, until, since } | Phase::Leaving { old, until, since } = &mut self.phase
            && old.slot == slot
        {
            *until += pause.min(now - *since);
        }
    }

    /// Whether names of messages are compared.
    pub(super) fn compares(&self) -> bool {
        self.seen.is_some()
    }

    /// Whether the other connection hasn't published this message yet.
    pub(super) fn is_new(&mut self, slot: Slot, message: Data<'_>) -> bool {
        let text = match message {
            Data::Text(text) => Some(text),
            Data::Binary(bytes) => str::from_utf8(bytes).ok(),
        };
        match (&mut self.seen, text) {
            (Some(seen), Some(text)) => seen.is_new(slot, text),
            _ => true,
        }
    }

    /// When the age of a connection calls for the next one.
    pub(super) fn due_at(&self, since: Instant, rotate: &config::Rotate) -> Option<Instant> {
        rotate.after.filter(|_| matches!(self.phase, Phase::Idle)).map(|age| since + age)
    }

    pub(super) fn next_timeout(&self, now: Instant, world: &World) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Opening(channel) => channel.next_timeout(now, world),
            Phase::Leaving { old, until, .. } => Some(*until).filter(|_| !old.heartbeat.is_paused()),
            Phase::Overlap { old, until, .. } => {
                let until = Some(*until).filter(|_| !old.heartbeat.is_paused());
                [old.next_timeout(now, world), until].into_iter().flatten().min()
            }
            Phase::Idle | Phase::Dialling(_) | Phase::Stopped => None,
        };
        [own, self.forget_at].into_iter().flatten().min()
    }

    fn any_channel(&self) -> Option<&Channel> {
        match &self.phase {
            Phase::Opening(channel)
            | Phase::Overlap { old: channel, .. }
            | Phase::Leaving { old: channel, .. } => Some(channel),
            _ => None,
        }
    }

    /// Nothing is left of the second connection. What it said last may still come over the other.
    fn rest(&mut self, forget_at: Option<Instant>) {
        self.phase = Phase::Idle;
        self.forget_at = forget_at;
        if forget_at.is_none() {
            self.seen = None;
        }
    }
}

impl Machine {
    /// The server calls for the next connection. Where it does so soon on one after the other, each has a
    /// delay, which grows.
    pub(super) fn rotate(&mut self, now: Instant, why: String) {
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
            (Forgets::All, _) => memory.forget(),
            (Forgets::ResumeUrl, Some(template)) => memory.forget_in(template),
            (Forgets::ResumeUrl, None) | (Forgets::Nothing, _) => {}
        }
        self.world.begin_second(slot, memory);
    }

    /// The next connection takes over from the one in the seat `old`, with what it remembers.
    pub(super) fn take_over(&mut self, old: Slot) {
        self.world.switch(old);
        self.rotation.forgets = Forgets::Nothing;
    }

    /// The next connection's script is done: sends go to it from now on.
    pub(super) fn switch(&mut self, now: Instant, slot: Slot) {
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
    pub(super) fn end_overlap_when_met(&mut self, now: Instant) {
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

    pub(super) fn rotation_timeout(&mut self, now: Instant) {
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

    pub(super) fn rotation_closing(&mut self, now: Instant, slot: Slot, failure: Failure) {
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

    pub(super) fn rotation_ended(&mut self, now: Instant, slot: Slot, failure: Failure) {
        match &self.rotation.phase {
            Phase::Overlap { old, .. } | Phase::Leaving { old, .. } if old.slot == slot => {
                self.second_gone(now)
            }
            _ => self.rotation_failed(now, slot, failure),
        }
    }

    pub(super) fn rotation_session_failed(&mut self, now: Instant, slot: Slot, failure: Failure) {
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
    pub(super) fn second_gone(&mut self, now: Instant) {
        let forget_at = now + self.settings.terms.rotate.overlap.max(REMEMBERED);
        self.rotation.rest(self.rotation.compares().then_some(forget_at));
        self.world.end_second();
        if let Some(why) = self.rotation.wanted.take() {
            self.rotate(now, why);
        }
    }

    /// The next connection came to nothing: the old one stays, and another attempt follows.
    pub(super) fn rotation_failed(&mut self, now: Instant, slot: Slot, failure: Failure) {
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
    pub(super) fn end_rotation(&mut self, now: Instant) {
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
