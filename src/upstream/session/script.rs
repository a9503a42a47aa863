//! How far a session has come in the script, and how it goes on. Pure.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    Effect, Publish, Purpose, Session,
    context::Context,
    duration,
    mark::{Mark, is_narrow},
    matcher::Look,
    memory::{Captures, MAX_VALUE},
    rules::{NamedValue, Rejection, Rules, StepRule},
    text::Given,
};
use crate::{
    config::{Pointer, Remedy, Say, Value, format_duration},
    hub::RetainAs,
};

/// So often a step is put off on one connection; then another connection follows, after the same delay.
pub(super) const MAX_PUT_OFF: u32 = 100;
/// No step is said anew sooner, whatever the server says.
pub(super) const MIN_PUT_OFF: Duration = Duration::from_millis(100);
/// For so long a step is put off where the message says no time, or 0.
pub(super) const DEFAULT_PUT_OFF: Duration = Duration::from_secs(10);

/// A place in the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not begun.
    Before,
    /// A program makes what the step of this number says, until then at the latest.
    Runs { step: usize, until: Instant },
    /// The step of this number is under way, until then at the latest.
    Waits { step: usize, until: Instant },
    /// The step of this number is said anew then, as the server asked.
    Again { step: usize, at: Instant },
    /// All is said and heard.
    Done,
    /// The connection is of no use.
    Failed,
}

impl Progress {
    /// The number of the step that is begun and not done.
    pub(super) fn under_way(&self) -> Option<usize> {
        match self {
            Progress::Runs { step, .. } | Progress::Waits { step, .. } | Progress::Again { step, .. } => {
                Some(*step)
            }
            Progress::Before | Progress::Done | Progress::Failed => None,
        }
    }

    /// The step under way, where its answer is awaited.
    pub(super) fn step<'r>(&self, rules: &'r Rules) -> Option<&'r StepRule> {
        match self {
            Progress::Waits { step, .. } => rules.steps.get(*step),
            _ => None,
        }
    }
}

/// What steps may say of the message that was expected last.
#[derive(Debug, Default)]
pub(super) struct Expected(Vec<(Pointer, Value)>);

impl Expected {
    /// Of a message that this step expects: what steps ask for, but for what is too long to be kept.
    fn of(step: &StepRule, look: &Look<'_>) -> Expected {
        let there = step.fields.iter().filter_map(|(pointer, spot)| Some((pointer, spot.get(look)?)));
        let kept = there.filter(|(_, json)| json.len() <= MAX_VALUE);
        Expected(kept.map(|(pointer, json)| (pointer.clone(), Value::Json(json.to_owned()))).collect())
    }

    /// The value at this pointer.
    pub(super) fn get(&self, pointer: &Pointer) -> Result<Value, String> {
        let found = self.0.iter().find(|(there, _)| there == pointer).map(|(_, value)| value.clone());
        found
            .ok_or_else(|| "is not in the message that was expected last, or is longer than 64KiB".to_owned())
    }
}

/// What a step makes of a message.
pub(super) struct Heeded {
    pub(super) publish: Publish,
    pub(super) is_taken: bool,
}

impl Session {
    pub(super) fn hear_step(&mut self, context: &mut Context<'_>, rules: &Rules, look: &Look<'_>) -> Heeded {
        let not_taken = Heeded { publish: Publish::Yes, is_taken: false };
        let Progress::Waits { step: at, until } = self.progress else { return not_taken };
        let step = &rules.steps[at];
        let publish = if step.publish { Publish::Yes } else { Publish::No };
        if let Some(rejection) = step.reject.iter().find(|rejection| rejection.matcher.matches(look)) {
            let why = match step.publish {
                true => format!("the server refused: {}", self.quote(context, look)),
                false => "the server refused, in words that publish = false keeps back".to_owned(),
            };
            match rejection.again {
                true => self.put_off(context, at, rejection, look, &why),
                false => self.fail_step(step, &why, remedy(rejection, look)),
            }
            return Heeded { publish, is_taken: true };
        }
        if !step.expect.as_ref().is_some_and(|(expect, _)| expect.matches(look)) {
            return not_taken;
        }
        for NamedValue { name, pointer, spot } in &step.capture {
            if spot.get(look).is_none() {
                let why = format!("the expected message has no {pointer} to capture as `{name}`");
                self.fail_step(step, &why, step.on_fail);
                return Heeded { publish, is_taken: true };
            }
        }
        let groups = step.capture_regex.as_ref().map(|regex| (regex.named(look.bytes), regex));
        if let Some((None, regex)) = groups {
            let why = format!("the expected message has nothing that capture_regex, /{regex}/, matches");
            self.fail_step(step, &why, step.on_fail);
            return Heeded { publish, is_taken: true };
        }
        let groups = groups.and_then(|(groups, _)| groups).unwrap_or_default();
        match self.capture(context, &step.capture, &groups, look) {
            Ok(()) => {
                let (left, limit) =
                    (until.duration_since(context.now), until.duration_since(self.step_began));
                if until < self.deadline && is_narrow(left, limit) {
                    self.mark(Mark::Narrow { step: at, left, limit });
                }
                self.mark(Mark::Met(at));
                self.expected = Expected::of(step, look);
                if let Some(step) = step.retain {
                    self.retain = Some(RetainAs::Answer(step));
                }
                if std::mem::take(&mut self.put_off) > 0 {
                    self.effects.push_back(Effect::TakenOn);
                }
                self.go_on(context, at + 1);
            }
            Err(why) => self.fail_step(step, &why, step.on_fail),
        }
        Heeded { publish, is_taken: true }
    }

    /// Whether a message is what the step expected at which the connection failed, and clients don't get that.
    pub(super) fn is_late_answer(&self, rules: &Rules, look: &Look<'_>) -> bool {
        let Some(step) = self.failed_at.and_then(|at| rules.steps.get(at)) else { return false };
        let is_expected = || step.expect.as_ref().is_some_and(|(expect, _)| expect.matches(look));
        let is_rejected = || step.reject.iter().any(|rejection| rejection.matcher.matches(look));
        !step.publish && (is_expected() || is_rejected())
    }

    /// The step under way is said anew later, as often as may be.
    fn put_off(
        &mut self,
        context: &Context<'_>,
        at: usize,
        rejection: &Rejection,
        look: &Look<'_>,
        why: &str,
    ) {
        let delay = match remedy(rejection, look) {
            Remedy::After(delay) => delay.max(MIN_PUT_OFF),
            _ => DEFAULT_PUT_OFF,
        };
        let rules = Rc::clone(&self.rules);
        let step = &rules.steps[at];
        if self.put_off >= MAX_PUT_OFF {
            let why = format!("it was put off {MAX_PUT_OFF} times on this connection, and then {why}");
            return self.fail_step(step, &why, Remedy::After(delay));
        }
        self.put_off += 1;
        self.progress = Progress::Again { step: at, at: context.now + delay };
        let why = why.replacen("the server refused", "not yet", 1);
        let delay_shown = format_duration(delay);
        let why = format!("the script's step {:?} is said again in {delay_shown}: {why}", step.name);
        self.effects.push_back(Effect::PutOff { why, delay });
    }

    /// Says what is to be said from the step of this number on, until something is expected.
    pub(super) fn go_on(&mut self, context: &mut Context<'_>, from: usize) {
        let rules = Rc::clone(&self.rules);
        let mut from = from;
        loop {
            let next = next(&rules, from, &context.memory.captures());
            (from..next.unwrap_or(rules.steps.len())).for_each(|skipped| self.mark(Mark::Skips(skipped)));
            let Some(at) = next else { break };
            self.mark(Mark::Begins(at));
            let step = &rules.steps[at];
            let payload = match &step.send {
                None => None,
                Some(Say::Binary(bytes)) => Some(self.as_it_is(bytes)),
                Some(Say::Text(template)) => Some(self.render(context, template, None, Given::Nothing)),
                Some(Say::Command(command)) => match self.order(context, command, Purpose::Script, None) {
                    Ok(()) => {
                        self.step_began = context.now;
                        self.progress = Progress::Runs { step: at, until: self.deadline };
                        return;
                    }
                    Err(why) => Some(Err(why.into())),
                },
            };
            match payload {
                None => {}
                Some(Ok(payload)) => self.effects.push_back(Effect::Send(payload, Purpose::Script)),
                Some(Err(why)) => return self.fail_step(step, &why, step.on_fail),
            }
            if self.awaits_answer(context, at) {
                return;
            }
            from = at + 1;
        }
        self.progress = Progress::Done;
        self.effects.push_back(Effect::Ready);
    }

    /// Awaits what the step of this number expects, if it does.
    pub(super) fn awaits_answer(&mut self, context: &Context<'_>, at: usize) -> bool {
        let step = &self.rules.steps[at];
        if step.expect.is_none() {
            return false;
        }
        let until = step.timeout.map_or(self.deadline, |timeout| context.now + timeout);
        self.step_began = context.now;
        self.progress = Progress::Waits { step: at, until: until.min(self.deadline) };
        true
    }

    pub(super) fn fail_step(&mut self, step: &StepRule, why: &str, then: Remedy) {
        self.fail(format!("the script's step {:?} failed: {why}", step.name), then);
    }
}

/// The next step from `from` on that isn't skipped.
fn next(rules: &Rules, from: usize, captures: &Captures) -> Option<usize> {
    let wanted = |step: &StepRule| {
        step.if_captured.iter().all(|name| captures.has(name))
            && !step.unless_captured.iter().any(|name| captures.has(name))
    };
    (from..rules.steps.len()).find(|at| wanted(&rules.steps[*at]))
}

/// What a rejection leads to, with the delay that the message says.
fn remedy(rejection: &Rejection, look: &Look<'_>) -> Remedy {
    const MAX: Duration = Duration::from_secs(24 * 60 * 60);
    let Some((spot, unit)) = &rejection.delay_from else { return rejection.then };
    match spot.get(look).and_then(|json| duration(json, *unit)) {
        Some(delay) if !delay.is_zero() => Remedy::After(delay.min(MAX)),
        _ => Remedy::Retry,
    }
}
