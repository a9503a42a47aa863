//! What wsfan itself says and hears on one connection: the script, replies, captures, the server's count,
//! and what makes a connection useless. Pure.
//!
//! The contract is the machine's: tell it what happened, drain [`Session::poll_effect`], and come back by
//! [`Session::next_timeout`]. A message is taken in this order: last values, captures, the count, the
//! step under way, rules about messages, replies, the heartbeat's answer, rotation. So a reply to a message
//! already has what that message brought.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use super::secrets::Secrets;
use crate::{
    config::{IdleFrom, Remedy, Say, format_duration},
    hub::{Data, Hole, MessageTopic, RetainAs},
};

mod asked;
pub(super) mod context;
mod count;
pub(super) mod destination;
pub(super) mod draft;
mod effect;
mod elements;
pub(super) mod kept;
mod mark;
pub(super) mod matcher;
pub(super) mod memory;
mod naming;
mod printed;
pub(super) mod probe;
mod programs;
pub(super) mod recount;
mod replies;
pub(super) mod requests;
mod rules;
pub(super) mod runs;
mod script;
pub(super) mod sequence;
pub(super) mod split;
pub(super) mod spot;
mod text;
mod topics;

pub(super) use self::{
    effect::{Effect, Publish, Purpose, Stray},
    mark::{Mark, is_narrow},
    rules::Rules,
};
use self::{
    rules::Values,
    runs::Runs,
    script::{Expected, Heeded, Progress},
};
pub(super) use context::Context;
use matcher::Look;
use printed::Printed;
use requests::{calls::Calls, serving::Serving};
use sequence::Counts;
pub(super) use topics::{OfTopics, Unsaid};

/// A time for people: what is a second or more to a tenth of one, since timers are late and clocks begin early.
fn round(time: Duration) -> Duration {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match millis {
        950.. => Duration::from_millis(millis.saturating_add(50) / 100 * 100),
        _ => Duration::from_millis(millis),
    }
}

#[cfg(test)]
mod tests;

/// One connection's session.
#[derive(Debug)]
pub(super) struct Session {
    rules: Rc<Rules>,
    secrets: Secrets,
    progress: Progress,
    /// The script must be done by then.
    deadline: Instant,
    /// When the step under way began.
    step_began: Instant,
    /// How often the step under way was put off.
    put_off: u32,
    /// The step that was under way when the connection failed.
    failed_at: Option<usize>,
    effects: VecDeque<Effect>,
    /// What is missing before the message that was heard.
    holes: Vec<Hole>,
    /// What the message that was heard has to do with topics.
    of_topics: OfTopics,
    /// Which topic that message is of.
    topic: MessageTopic,
    /// As what it is retained.
    retain: Option<RetainAs>,
    next_id: u64,
    /// The connection's own id, once something says it.
    connection_id: Option<String>,
    /// The requests that wait for their answers.
    calls: Calls,
    /// What the server asked.
    serving: Serving,
    /// The programs that make messages.
    runs: Runs,
    /// What they have printed.
    printed: Printed,
    /// What steps may say of the message that was expected last.
    expected: Expected,
    counts: Counts,
    /// Where this connection's counts begin that another one's, still heard, don't reach yet.
    joins: BTreeMap<String, u64>,
    /// Held as long as the session is there: see [`memory::Memory::presence`].
    presence: Option<Rc<()>>,
    scratch: Vec<Option<bool>>,
    /// Somebody wants to know how the script goes.
    is_followed: bool,
}

impl Session {
    /// A session on a connection that is open. Its script must be done by `deadline`.
    pub(super) fn new(rules: Rc<Rules>, secrets: Secrets, now: Instant, deadline: Instant) -> Session {
        Session {
            rules,
            secrets,
            progress: Progress::Before,
            deadline,
            step_began: now,
            put_off: 0,
            failed_at: None,
            effects: VecDeque::new(),
            holes: Vec::new(),
            of_topics: OfTopics::default(),
            topic: MessageTopic::None,
            retain: None,
            next_id: 1,
            connection_id: None,
            calls: Calls::default(),
            serving: Serving::default(),
            runs: Runs::default(),
            printed: Printed::default(),
            expected: Expected::default(),
            counts: Counts::default(),
            joins: BTreeMap::new(),
            presence: None,
            scratch: Vec::new(),
            is_followed: false,
        }
    }

    /// New rules with the same script, captures and count, and other ones about everything else.
    pub(super) fn set_rules(&mut self, context: &Context<'_>, rules: Rc<Rules>) {
        if self.rules.beat != rules.beat {
            self.runs.forget(Purpose::Heartbeat);
        }
        self.rules = rules;
        self.tell_interval(context);
        self.tell_idle_timeout(context);
    }

    /// Begins the script.
    pub(super) fn start(&mut self, context: &mut Context<'_>) {
        self.presence = Some(context.memory.presence());
        self.tell_interval(context);
        self.tell_idle_timeout(context);
        self.go_on(context, 0);
    }

    /// Takes in a message, and says whether clients get it. Only while [`Session::wants_messages`].
    pub(super) fn heard(&mut self, context: &mut Context<'_>, message: Data<'_>) -> Publish {
        let bytes = match message {
            Data::Text(text) => text.as_bytes(),
            Data::Binary(bytes) => bytes,
        };
        let rules = Rc::clone(&self.rules);
        let is_passed_over = self.progress == Progress::Done && !self.may_concern(&rules, bytes);
        let probe = match self.progress {
            Progress::Before => return Publish::Yes,
            Progress::Runs { .. } | Progress::Waits { .. } | Progress::Again { .. } | Progress::Failed => {
                &rules.during
            }
            Progress::Done if is_passed_over => return Publish::Yes,
            Progress::Done => &rules.after,
        };
        let text = match message {
            Data::Text(text) => text,
            Data::Binary(bytes) => str::from_utf8(bytes).unwrap_or_default(),
        };
        let found = probe.look(text);
        self.take(context, &rules, &Look { bytes, text, found: found.as_ref(), fields: None })
    }

    /// Does what is due. `is_held`: what was to be said still waits for `limits.messages`.
    pub(super) fn timeout(&mut self, context: &mut Context<'_>, is_held: bool) {
        self.expire_requests(context.now);
        if let Progress::Again { step, at } = self.progress
            && at <= context.now
        {
            // what the server had it wait for doesn't count
            self.deadline = context.now + self.rules.patience;
            return self.go_on(context, step);
        }
        if let Progress::Runs { step, until } = self.progress
            && until <= context.now
        {
            let step = &Rc::clone(&self.rules).steps[step];
            let program =
                step.send.as_ref().and_then(Say::command).map_or("", |command| programs::name(command));
            let waited = format_duration(round(context.now.duration_since(self.step_began)));
            let why = format!("{program} did not end within {waited}, by upstream.connect_timeout");
            return self.fail_step(step, &why, step.on_fail);
        }
        let Progress::Waits { until, .. } = self.progress else { return };
        if context.now < until {
            return;
        }
        let rules = Rc::clone(&self.rules);
        let Some(step) = self.progress.step(&rules) else { return };
        let waited = format_duration(round(context.now.duration_since(self.step_began)));
        let expected = step.expect.as_ref().map_or("", |(_, words)| words);
        let what = match is_held {
            true => "limits.messages didn't let all out, and nothing that was expected came",
            false => "nothing that was expected came",
        };
        let why = match until < self.deadline {
            true => format!("{what} within {waited}"),
            false => format!("{what} within {waited}, by upstream.connect_timeout"),
        };
        self.fail_step(step, &format!("{why}: {expected}"), step.on_fail);
    }

    /// What is missing before the message that was just heard.
    pub(super) fn take_holes(&mut self) -> Vec<Hole> {
        std::mem::take(&mut self.holes)
    }

    /// What the message that was just heard has to do with topics.
    pub(super) fn take_topics(&mut self) -> OfTopics {
        std::mem::take(&mut self.of_topics)
    }

    /// Which topic the message is of that was just heard.
    pub(super) fn take_topic(&mut self) -> MessageTopic {
        std::mem::take(&mut self.topic)
    }

    /// As what the message is retained that was just heard.
    pub(super) fn take_retain(&mut self) -> Option<RetainAs> {
        self.retain.take()
    }

    /// The next thing to do. Drain it after each call.
    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Session::timeout`].
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let step = match self.progress {
            Progress::Runs { until, .. } | Progress::Waits { until, .. } => Some(until),
            Progress::Again { at, .. } => Some(at),
            _ => None,
        };
        [step, self.calls.next_timeout(), self.serving.next_timeout()].into_iter().flatten().min()
    }

    /// Whether messages matter to it.
    pub(super) fn wants_messages(&self) -> bool {
        match self.progress {
            Progress::Before => false,
            Progress::Runs { .. } | Progress::Waits { .. } | Progress::Again { .. } => true,
            // it is read to its end: what is hidden stays so, and answers go to who has asked
            Progress::Failed => true,
            Progress::Done => !self.rules.sieve.is_empty() || self.has_requests(&self.rules),
        }
    }

    /// Whether the script is done.
    #[cfg(test)]
    pub(super) fn is_ready(&self) -> bool {
        self.progress == Progress::Done
    }

    // --- a message ------------------------------------------------------------------------------

    fn take(&mut self, context: &mut Context<'_>, rules: &Rules, look: &Look<'_>) -> Publish {
        if let Some(naming) = &rules.naming {
            self.topic = naming.of(look, &rules.slots);
        }
        if let Some(key) = rules.retain {
            let key = key.and_then(|slot| naming::text(look.get(slot)?));
            self.retain = Some(RetainAs::Newest(key));
        }
        self.learn(context, rules, look);
        let knows_topics = matches!(self.progress, Progress::Done | Progress::Failed);
        if let Some(topics) = rules.topics.as_ref().filter(|_| knows_topics) {
            self.of_topics = self.of_topics(context, topics, look);
        }
        let is_private = self.hear_requests(context, rules, look);
        let Heeded { publish, is_taken } = self.hear_step(context, rules, look);
        // who comes late gets what a step retains, and so does who is there
        let is_private = is_private && !matches!(self.retain, Some(RetainAs::Answer(_)));
        let mut publish = if is_private { Publish::No } else { publish };
        if !is_taken
            && self.progress != Progress::Failed
            && let Some((_, words, then)) = rules.faults.iter().find(|rule| rule.0.matches(look))
        {
            let said = self.quote(context, look);
            let error = format!("the server said what a reconnect.rule is about, {words}: {said}");
            self.fail(error, *then);
        }
        if self.reply(context, rules, look) {
            publish = Publish::No;
        }
        if rules.answer.as_ref().is_some_and(|answer| answer.matches(look)) {
            if self.progress != Progress::Failed {
                self.effects.push_back(Effect::HeartbeatAnswered);
            }
            if !rules.publish_answer {
                publish = Publish::No;
            }
        }
        if self.progress != Progress::Failed
            && let Some((when, words)) = &rules.rotate
            && when.matches(look)
        {
            let why = format!("the server said {words}");
            self.effects.push_back(Effect::Rotate { why });
        }
        if self.is_late_answer(rules, look) {
            publish = Publish::No;
        }
        if rules.hidden.as_ref().is_some_and(|hidden| hidden.matches(look)) {
            publish = Publish::No;
        }
        publish
    }

    /// Keeps what a message says, and looks at the server's count; once the connection is of no use, that alone: clients
    /// get its messages to the last.
    fn learn(&mut self, context: &mut Context<'_>, rules: &Rules, look: &Look<'_>) {
        if self.progress == Progress::Failed {
            return self.count(context, rules, look);
        }
        for (spot, pointer) in &rules.last {
            if let Some(json) = spot.get(look) {
                context.memory.hear(pointer, json);
            }
        }
        for rule in rules.captures.iter().filter(|rule| rule.matcher.matches(look)) {
            let groups = rule.regex.as_ref().and_then(|regex| regex.named(look.bytes));
            if let Err(why) = self.capture(context, &rule.values, &groups.unwrap_or_default(), look) {
                return self.fail(why, Remedy::Retry);
            }
        }
        self.count(context, rules, look);
    }

    /// Keeps values of a message by name: those at pointers, and the texts that an expression's groups matched.
    fn capture(
        &mut self,
        context: &mut Context<'_>,
        values: &Values,
        groups: &[(&str, &str)],
        look: &Look<'_>,
    ) -> Result<(), String> {
        let at_pointers =
            values.iter().filter_map(|value| Some((&*value.name, value.spot.get(look)?.to_owned())));
        let texts = groups.iter().map(|(name, text)| (*name, serde_json::Value::from(*text).to_string()));
        for (name, json) in at_pointers.chain(texts) {
            context.memory.capture(name, &json).map_err(|why| format!("the captured `{name}` {why}"))?;
            if self.rules.interval_from.as_ref().is_some_and(|from| from.capture == name) {
                self.tell_interval(context);
            }
            if self.rules.idle_from.as_ref().is_some_and(|from| from.captures.iter().any(|it| it == name)) {
                self.tell_idle_timeout(context);
            }
        }
        Ok(())
    }

    /// Says the heartbeat's interval, if it is captured.
    fn tell_interval(&mut self, context: &Context<'_>) {
        const BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(24 * 60 * 60));
        let Some(from) = &self.rules.interval_from else { return };
        let captures = context.memory.captures();
        let said = captures.json(&from.capture).and_then(|json| duration(json, from.unit));
        // 0 is no interval: a beat each 100 ms would be a flood
        if let Some(interval) = said.filter(|interval| !interval.is_zero()) {
            self.effects.push_back(Effect::BeatInterval(interval.clamp(BOUNDS.0, BOUNDS.1)));
        }
    }

    /// Says after which silence the connection is dead, where captures say it.
    fn tell_idle_timeout(&mut self, context: &Context<'_>) {
        let Some(from) = &self.rules.idle_from else { return };
        let captures = context.memory.captures();
        let said = |name: &String| {
            let said = duration(captures.json(name)?, from.unit)?;
            // a server that says 0 doesn't speak by itself
            (!said.is_zero()).then_some(said)
        };
        let said = from.captures.iter().try_fold(from.plus, |sum, name| sum.checked_add(said(name)?));
        let timeout = said.map(|timeout| timeout.clamp(IdleFrom::BOUNDS.0, IdleFrom::BOUNDS.1));
        self.effects.push_back(Effect::IdleTimeout(timeout));
    }

    fn fail(&mut self, error: String, then: Remedy) {
        if self.progress != Progress::Failed {
            self.failed_at = self.progress.under_way();
            self.progress = Progress::Failed;
            self.runs.clear();
            self.effects.push_back(Effect::Failed { error, then });
        }
    }
}

/// So many units as a message says: a number from 0 on, or a text of one.
fn duration(json: &str, unit: Duration) -> Option<Duration> {
    let digits = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(json);
    let count: f64 = digits.trim().parse().ok()?;
    Duration::try_from_secs_f64(count * unit.as_secs_f64()).ok()
}
