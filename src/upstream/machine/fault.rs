//! What comes of a failure: another attempt, sooner or later, or none.

use std::time::{Duration, Instant};

use super::{
    Action, Attempt, LINGER, Machine, News, Slot, State, Then, Wait, backoff, rotation::Phase,
    verdict::Verdict,
};
use crate::{
    config::{OnExhausted, Remedy},
    hub::{LinkState, LinkStatus},
    upstream::{failure::Failure, settings::Exit},
};

/// An attempt or a connection that failed.
#[derive(Debug, Default)]
pub(super) struct Fault {
    pub(super) failure: Failure,
    /// It had been up for so long that failures count anew.
    pub(super) stable: bool,
}

/// How far the loss of the link's connection has come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loss {
    /// There is nothing left of it.
    Gone,
    /// The end of TCP is awaited until then.
    Leaving(Instant),
}

impl Machine {
    pub(super) fn closing(&mut self, now: Instant, slot: Slot, failure: Failure) {
        if self.state.slot() != Some(slot) {
            return self.rotation_closing(now, slot, failure);
        }
        match &mut self.state {
            State::Up { .. } | State::Opening { .. } => {
                let fault = self.fault(now, failure);
                self.lose(now, fault, Loss::Leaving(now + LINGER));
            }
            // the handshake is done: nothing remains but the end of TCP
            State::Closing { until, .. } => *until = (*until).min(now + LINGER),
            _ => {}
        }
    }

    pub(super) fn ended(&mut self, now: Instant, slot: Slot, failure: Failure) {
        if self.state.slot() != Some(slot) {
            return self.rotation_ended(now, slot, failure);
        }
        match &self.state {
            State::Up { .. } | State::Opening { .. } => {
                let fault = self.fault(now, failure);
                self.lose(now, fault, Loss::Gone);
            }
            State::Closing { .. } => self.after_closing(now),
            _ => {}
        }
    }

    /// The heartbeat says that a connection is dead.
    pub(super) fn dead(&mut self, now: Instant, slot: Slot, why: String) {
        if self.state.slot() != Some(slot) {
            self.actions.push_back(Action::Drop { slot });
            return self.rotation_ended(now, slot, Failure::lost(why));
        }
        let fault = self.fault(now, Failure::lost(why));
        match self.settings.heartbeat.close_code {
            Some(code) => {
                self.actions.push_back(Action::Close { slot, code, reason: "heartbeat" });
                self.lose(now, fault, Loss::Leaving(now + LINGER));
            }
            None => {
                self.actions.push_back(Action::Drop { slot });
                self.lose(now, fault, Loss::Gone);
            }
        }
    }

    /// A step of the script, or something that must be said, failed.
    pub(super) fn session_failed(&mut self, now: Instant, slot: Slot, error: String, then: Remedy) {
        let failure = Failure::meant(error, then);
        if self.state.slot() != Some(slot) {
            return self.rotation_session_failed(now, slot, failure);
        }
        if matches!(self.state, State::Up { .. } | State::Opening { .. }) {
            let fault = self.fault(now, failure);
            let code = self.parting_code();
            self.actions.push_back(Action::Close { slot, code, reason: "script" });
            self.lose(now, fault, Loss::Leaving(now + self.settings.close_timeout));
        }
    }

    fn fault(&self, now: Instant, failure: Failure) -> Fault {
        let stable = match &self.state {
            State::Up { since, .. } => now >= *since + self.settings.reconnect.stable_after,
            _ => false,
        };
        Fault { failure, stable }
    }

    /// The link's connection is lost. Where the next one is under way already, the link waits for
    /// that; else what has to be done follows once it is gone.
    fn lose(&mut self, now: Instant, fault: Fault, loss: Loss) {
        if let State::Opening { channel } = &self.state {
            let resumes = channel.resumes;
            self.note_resume(resumes, &fault.failure);
        }
        let adopts = self.verdict(&fault).remedy == Remedy::Retry && !self.is_last_attempt(&fault);
        let next = if adopts { self.rotation.take_next() } else { None };
        let (State::Up { channel, .. } | State::Opening { channel }) =
            std::mem::replace(&mut self.state, State::Closed)
        else {
            return;
        };
        match (next, loss) {
            (Some(next), _) => {
                self.take_over(channel.slot);
                match loss {
                    Loss::Leaving(until) => self.rotation.leave(channel, now, until),
                    Loss::Gone => self.second_gone(now),
                }
                // it goes where the one that is lost went
                let url = self.url;
                self.count(now, fault);
                self.url = url;
                self.state = match next {
                    Phase::Dialling(attempt) => State::Dialling(attempt),
                    Phase::Opening(channel) => State::Opening { channel },
                    _ => unreachable!("only these are under way"),
                };
                self.announce(LinkState::Connecting);
            }
            (None, Loss::Gone) => self.failed(now, fault),
            (None, Loss::Leaving(until)) => {
                self.end_rotation(now);
                self.state = State::Closing { channel, until, then: Then::Fail(fault), drains: false };
            }
        }
    }

    /// An attempt or a connection failed, and nothing is left of it: wait, or give up.
    pub(super) fn failed(&mut self, now: Instant, fault: Fault) {
        self.end_rotation(now);
        let Verdict { remedy, why } = self.verdict(&fault);
        self.count(now, fault);
        match remedy {
            Remedy::Stop => return self.give_up(&format!("as {why} says")),
            Remedy::Forget => self.world.memory.forget(),
            Remedy::Refresh => self.world.memory.forget_kept(),
            _ => {}
        }
        // where a message misled it, nobody was called: the configured server is next, whatever the count
        if self.are_attempts_used_up() && !self.last.misled {
            let attempts = match self.attempts {
                1 => "1 attempt".to_owned(),
                n => format!("{n} attempts in a row"),
            };
            return self.give_up(&format!("after {attempts} (reconnect.max_attempts)"));
        }
        let retry_after = self.last.retry_after;
        if remedy == Remedy::Refresh && self.may_refresh(now) {
            let delay = backoff::at_least(&self.settings.reconnect, Duration::ZERO, retry_after);
            return self.wait(now, delay, Wait::Fixed);
        }
        let random = self.world.random.f64();
        let down = self.fell.map(|fell| now.saturating_duration_since(fell));
        let delay = backoff::delay(&self.settings.reconnect, self.failures, random, down, retry_after);
        match remedy {
            Remedy::After(least) => self.wait(now, delay.max(least), Wait::Fixed),
            _ => self.wait(now, delay, Wait::Backoff { random, down, retry_after }),
        }
    }

    /// Whether an attempt may follow at once: one in a row, and one per `initial_delay`, since rows are
    /// short where connections count as stable soon.
    fn may_refresh(&mut self, now: Instant) -> bool {
        let is_first = !std::mem::replace(&mut self.refreshed, true);
        let may = is_first && self.refresh_again.is_none_or(|at| now >= at);
        if may {
            self.refresh_again = Some(now + self.settings.reconnect.initial_delay);
        }
        may
    }

    fn verdict(&self, fault: &Fault) -> Verdict {
        Verdict::of(&fault.failure, &self.settings.reconnect.rules)
    }

    /// What a connection is closed with where another is to follow.
    pub(super) fn parting_code(&self) -> u16 {
        self.settings.reconnect.close_code.unwrap_or(1000)
    }

    /// Counts a failure; the next server has its turn.
    fn count(&mut self, now: Instant, fault: Fault) {
        self.last = fault.failure;
        self.url = (self.url + 1) % self.settings.upstream.urls.len().max(1);
        if fault.stable {
            // the loss of a stable connection begins a new row; it uses up no attempt
            self.forget_failures();
            (self.failures, self.fell) = (1, Some(now));
        } else {
            self.failures = self.failures.saturating_add(1);
            self.attempts = self.attempts.saturating_add(1);
        }
    }

    pub(super) fn forget_failures(&mut self) {
        (self.failures, self.attempts, self.fell, self.refreshed) = (0, 0, None, false);
    }

    fn are_attempts_used_up(&self) -> bool {
        let max = self.settings.reconnect.max_attempts;
        max != 0 && self.attempts >= max
    }

    fn is_last_attempt(&self, fault: &Fault) -> bool {
        let max = self.settings.reconnect.max_attempts;
        !fault.stable && max != 0 && self.attempts.saturating_add(1) >= max
    }

    fn give_up(&mut self, why: &str) {
        let cause = self.last.error.take().unwrap_or_default();
        self.last.error = Some(format!("given up {why}: {cause}"));
        self.state = State::Failed;
        self.announce(LinkState::Failed);
        if self.settings.reconnect.on_exhausted == OnExhausted::Exit {
            self.state = State::Finished;
            self.actions.push_back(Action::Finish(Exit::GivenUp));
        }
    }

    /// Waits for the next attempt: for `delay`, or for as long as `limits.connects` want it.
    pub(super) fn wait(&mut self, now: Instant, delay: Duration, why: Wait) {
        let until = (now + delay).max(self.world.pacing.connect_at(now));
        self.state = State::Waiting { since: now, until, why };
        self.announce_waiting(now, until);
    }

    /// The link waits until then.
    pub(super) fn announce_waiting(&mut self, now: Instant, until: Instant) {
        let (retry_in, retry_at) = (Some(until - now), Some(until));
        let status = LinkStatus { retry_in, retry_at, ..self.status(LinkState::Waiting) };
        self.news.push_back(News::Announce(status));
    }

    /// The closing handshake is over, or its time.
    pub(super) fn after_closing(&mut self, now: Instant) {
        let State::Closing { then, .. } = std::mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        match then {
            Then::Fail(fault) => self.failed(now, fault),
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
                self.finish(Exit::Stopped);
            }
        }
    }

    pub(super) fn drop_closing(&mut self, now: Instant) {
        if let State::Closing { channel, .. } = &self.state {
            self.actions.push_back(Action::Drop { slot: channel.slot });
            self.after_closing(now);
        }
    }

    /// The next server's turn within a rotation, which counts by itself.
    pub(super) fn rotation_delay(
        &mut self,
        now: Instant,
        failures: u32,
        failure: &Failure,
        remedy: Remedy,
    ) -> Duration {
        let random = self.world.random.f64();
        let delay = backoff::delay(&self.settings.reconnect, failures, random, None, failure.retry_after);
        let delay = match remedy {
            Remedy::After(least) => delay.max(least),
            _ => delay,
        };
        delay.max(self.world.pacing.connect_at(now) - now)
    }
}

/// Nothing but an attempt or a script that is under way can be taken over.
pub(super) fn is_under_way(phase: &Phase) -> bool {
    matches!(phase, Phase::Dialling(Attempt { .. }) | Phase::Opening(_))
}
