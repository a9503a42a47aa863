//! What the configuration says about a connection's messages, compiled once.

use std::{collections::BTreeSet, time::Duration};

use super::{
    matcher::{Matcher, Sieve, Slots},
    naming::Naming,
    probe::Probe,
    requests::rules::RequestRules,
    spot::{Fields, Pick, Spot},
    topics::TopicRules,
};
use crate::{
    config::{
        Capture, DelayFrom, Expression, HeartbeatKind, IdleFrom, IntervalFrom, OnHole, Pattern, Placeholder,
        Pointer, Reject, Remedy, Reply, Requests, Say, Sequence, Span, Subscriptions, Template,
    },
    hub::AnswerKind,
    upstream::settings::Settings,
};

/// The rules of a session: see [`Rules::new`].
#[derive(Debug)]
pub(in crate::upstream) struct Rules {
    pub(super) steps: Vec<StepRule>,
    pub(super) captures: Vec<CaptureRule>,
    pub(super) replies: Vec<ReplyRule>,
    /// Messages that make the connection useless.
    pub(super) faults: Vec<(Matcher, String, Remedy)>,
    pub(super) naming: Option<Naming>,
    /// Messages are retained by their topics, and by the key at the pointer of this number, if there is one.
    pub(super) retain: Option<Option<usize>>,
    pub(super) rotate: Option<(Matcher, String)>,
    pub(super) sequence: Option<SequenceRule>,
    pub(super) requests: Option<RequestRules>,
    pub(super) topics: Option<TopicRules>,
    /// What clients don't get.
    pub(super) hidden: Option<Matcher>,
    /// The heartbeat's message.
    pub(super) beat: Option<Say>,
    /// What answers it.
    pub(super) answer: Option<Matcher>,
    /// Whether clients get that.
    pub(super) publish_answer: bool,
    pub(super) interval_from: Option<IntervalFrom>,
    pub(super) idle_from: Option<IdleFrom>,
    /// What the script may take, where the server has had it wait: `upstream.connect_timeout`.
    pub(super) patience: Duration,
    /// The largest message that may be said, in bytes.
    pub(super) max_message: Option<usize>,
    /// The pointers whose last value something asks for.
    pub(super) last: Vec<(Spot, Pointer)>,
    /// The pointers that something asks for, by their numbers.
    pub(super) slots: Slots,
    /// All pointers but those that only the script has.
    pub(super) after: Probe,
    /// All pointers.
    pub(super) during: Probe,
    /// What is of concern once the script is done.
    pub(super) sieve: Sieve,
}

/// Values that are kept by names.
pub(super) type Values = Vec<NamedValue>;

/// A value that is kept by a name.
#[derive(Debug)]
pub(super) struct NamedValue {
    pub(super) name: String,
    pub(super) pointer: Pointer,
    pub(super) spot: Spot,
}

/// What is kept of messages.
#[derive(Debug)]
pub(super) struct CaptureRule {
    pub(super) matcher: Matcher,
    pub(super) values: Values,
    pub(super) regex: Option<Expression>,
}

/// A step of the script.
#[derive(Debug)]
pub(super) struct StepRule {
    pub(super) name: String,
    pub(super) if_captured: Vec<String>,
    pub(super) unless_captured: Vec<String>,
    pub(super) send: Option<Say>,
    /// What is expected, and in words.
    pub(super) expect: Option<(Matcher, String)>,
    pub(super) reject: Vec<Rejection>,
    pub(super) capture: Values,
    pub(super) capture_regex: Option<Expression>,
    /// What later steps say of the expected message.
    pub(super) fields: Vec<(Pointer, Spot)>,
    pub(super) publish: bool,
    /// What it is answered is retained: as that of the step of this number of all that are configured.
    pub(super) retain: Option<usize>,
    pub(super) timeout: Option<Duration>,
    pub(super) on_fail: Remedy,
}

/// What fails a step.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) matcher: Matcher,
    pub(super) then: Remedy,
    /// The step is said anew on the same connection, `then` or what the message says later.
    pub(super) again: bool,
    /// Where the message says how long to wait, and in what.
    pub(super) delay_from: Option<(Spot, Duration)>,
}

#[derive(Debug)]
pub(super) struct ReplyRule {
    pub(super) matcher: Matcher,
    pub(super) send: Say,
    pub(super) fields: Fields,
    pub(super) publish: bool,
}

#[derive(Debug)]
pub(super) struct SequenceRule {
    pub(super) number: usize,
    pub(super) per: Option<usize>,
    /// Where the message's numbers begin: the value at this pointer, and so many more.
    pub(super) span: Option<(usize, u64)>,
    pub(super) on_hole: OnHole,
    pub(super) send: Option<(Template, Fields)>,
    pub(super) first: Option<FirstRule>,
}

/// What sets the count.
#[derive(Debug)]
pub(super) struct FirstRule {
    pub(super) matcher: Matcher,
    pub(super) number: usize,
    pub(super) per: Option<usize>,
}

impl SequenceRule {
    /// The rule alone, and what finds its values in messages, and passes over those without.
    pub(super) fn alone(sequence: &Sequence) -> (SequenceRule, Probe, Sieve) {
        let mut compiler = Compiler::default();
        let rule = compiler.sequence(sequence);
        (rule, Probe::new(compiler.slots.pointers()), compiler.sieve)
    }
}

impl Rules {
    /// Compiles what `settings` say.
    pub(in crate::upstream) fn new(settings: &Settings) -> Rules {
        let mut compiler = Compiler::default();
        let terms = &settings.terms;
        let captures = terms.captures.iter().map(|capture| compiler.capture(capture)).collect();
        let replies = terms.replies.iter().map(|reply| compiler.reply(reply)).collect();
        let patterns =
            settings.reconnect.rules.iter().filter_map(|rule| Some((rule.pattern.as_ref()?, rule.then)));
        let faults = patterns.map(|(pattern, then)| (compiler.pattern(pattern), pattern.to_string(), then));
        let faults = faults.collect();
        let naming = Naming::new(&terms.topics, &mut compiler);
        let key = terms.topics.retain_key.as_ref().map(|pointer| compiler.value(pointer));
        let retain = terms.topics.retain.then_some(key);
        let rotate = terms.rotate.when.as_ref();
        let rotate = rotate.map(|pattern| (compiler.pattern(pattern), pattern.to_string()));
        let sequence = terms.sequence.as_ref().map(|sequence| compiler.sequence(sequence));
        let topics = terms.subscriptions.as_ref().map(|terms| compiler.topics(terms));
        let (beat, answer) = compiler.heartbeat(&settings.heartbeat.kind);
        let hidden = settings.upstream.hide.as_ref().map(|pattern| compiler.pattern(pattern));
        let requests = terms.requests.as_ref().map(|requests| compiler.requests(requests, settings));
        // what is asked for by the script alone comes after what is asked for always
        let says = terms.script.steps.iter().filter_map(|step| step.send.as_ref()?.template());
        let said: BTreeSet<&Pointer> = says.clone().flat_map(fields).collect();
        says.for_each(|template| compiler.last_values(template));
        let always = compiler.slots.pointers().len();
        let steps = terms.script.steps.iter().enumerate().filter(|(_, step)| step.is_wanted(&terms.vars));
        let steps = steps.map(|(at, step)| compiler.step(at, step, &said)).collect();
        let Compiler { slots, sieve, last } = compiler;
        Rules {
            steps,
            captures,
            replies,
            faults,
            naming,
            retain,
            rotate,
            sequence,
            requests,
            topics,
            hidden,
            beat,
            answer,
            publish_answer: settings.heartbeat.publish,
            interval_from: settings.heartbeat.interval_from.clone(),
            idle_from: settings.heartbeat.idle_timeout_from.clone(),
            patience: settings.upstream.connect_timeout,
            max_message: terms.limits.max_message,
            last,
            after: Probe::new(&slots.pointers()[..always]),
            during: Probe::new(slots.pointers()),
            slots,
            sieve,
        }
    }
}

/// The texts that wsfan itself says on a connection.
fn own_messages(settings: &Settings) -> Vec<&Template> {
    let terms = &settings.terms;
    let says = settings.says().filter_map(|say| match say {
        Say::Text(template) => Some(template),
        Say::Binary(_) | Say::Command(_) => None,
    });
    let hole = terms.sequence.as_ref().and_then(|sequence| sequence.send.as_ref());
    let cancels = terms.requests.iter().flat_map(|requests| &requests.streams);
    let cancels = cancels.filter_map(|stream| stream.cancel.as_ref());
    says.chain(hole).chain(cancels).collect()
}

/// The values of a message that a template names.
fn fields(template: &Template) -> impl Iterator<Item = &Pointer> {
    template.placeholders().filter_map(|(placeholder, _)| match placeholder {
        Placeholder::Field(pointer) => Some(pointer),
        _ => None,
    })
}

/// What is gathered while the rules are compiled.
#[derive(Default)]
pub(super) struct Compiler {
    slots: Slots,
    sieve: Sieve,
    last: Vec<(Spot, Pointer)>,
}

impl Compiler {
    /// A pattern that is looked for at any time.
    pub(super) fn pattern(&mut self, pattern: &Pattern) -> Matcher {
        self.sieve.pattern(pattern);
        Matcher::new(pattern, &mut self.slots)
    }

    /// A value that is looked for at any time.
    pub(super) fn value(&mut self, pointer: &Pointer) -> usize {
        self.sieve.value(pointer);
        self.slots.of(pointer)
    }

    /// A value that is looked for at any time, in the first element that has it where its pointer leads through a list.
    pub(super) fn spot(&mut self, pointer: &Pointer) -> Spot {
        self.sieve.value(pointer);
        Spot::new(pointer, None, Pick::FirstSaid, &mut self.slots)
    }

    /// Where a template that is rendered for messages of a pattern finds its fields in lists.
    pub(super) fn fields(&mut self, template: &Template, of: Option<&Pattern>) -> Fields {
        Fields::new(template, of, &mut self.slots)
    }

    /// Of messages that a pattern is about; in a list the last element that has the value is the newest.
    fn values(&mut self, values: &[(String, Pointer)], of: Option<&Pattern>) -> Values {
        let value = |(name, pointer): &(String, Pointer)| NamedValue {
            name: name.clone(),
            pointer: pointer.clone(),
            spot: Spot::new(pointer, of, Pick::Last, &mut self.slots),
        };
        values.iter().map(value).collect()
    }

    /// A template whose fields and last values are looked for at any time.
    pub(super) fn template(&mut self, template: &Template) -> Template {
        self.last_values(template);
        for pointer in fields(template).filter(|pointer| pointer.at_any().is_none()) {
            self.slots.of(pointer);
        }
        template.clone()
    }

    /// A template whose last values are looked for at any time.
    fn last_values(&mut self, template: &Template) {
        for (placeholder, _) in template.placeholders() {
            if let Placeholder::Last(pointer) = placeholder
                && !self.last.iter().any(|(_, there)| there == pointer)
            {
                self.sieve.value(pointer);
                let spot = Spot::new(pointer, None, Pick::LastSaid, &mut self.slots);
                self.last.push((spot, pointer.clone()));
            }
        }
    }

    /// Something to say whose fields and last values are looked for at any time.
    fn say(&mut self, say: &Say) -> Say {
        say.template().into_iter().for_each(|template| drop(self.template(template)));
        say.clone()
    }

    fn capture(&mut self, capture: &Capture) -> CaptureRule {
        CaptureRule {
            matcher: self.pattern(&capture.pattern),
            values: self.values(&capture.values, Some(&capture.pattern)),
            regex: capture.regex.clone(),
        }
    }

    fn reply(&mut self, reply: &Reply) -> ReplyRule {
        let send = reply.send.template();
        ReplyRule {
            matcher: self.pattern(&reply.pattern),
            send: self.say(&reply.send),
            fields: send.map_or_else(Fields::default, |send| self.fields(send, Some(&reply.pattern))),
            publish: reply.publish,
        }
    }

    /// The heartbeat's message, and what answers it.
    fn heartbeat(&mut self, kind: &HeartbeatKind) -> (Option<Say>, Option<Matcher>) {
        match kind {
            HeartbeatKind::Message { message, expect } => {
                let answer = expect.as_ref().map(|pattern| self.pattern(pattern));
                (Some(self.say(message)), answer)
            }
            HeartbeatKind::Off | HeartbeatKind::Ping => (None, None),
        }
    }

    fn requests(&mut self, requests: &Requests, settings: &Settings) -> RequestRules {
        let mut rules = RequestRules::new(requests, &mut self.slots);
        if settings.upstream.split.is_some() {
            rules.take_apart();
        }
        own_messages(settings).into_iter().for_each(|template| rules.reserve(template));
        rules.cancels().flatten().for_each(|cancel| drop(self.template(cancel)));
        rules
    }

    fn sequence(&mut self, sequence: &Sequence) -> SequenceRule {
        SequenceRule {
            number: self.value(&sequence.pointer),
            per: sequence.per.as_ref().map(|per| self.slots.of(per)),
            span: sequence.span.as_ref().map(|span| match span {
                Span::From(pointer) => (self.slots.of(pointer), 0),
                Span::Previous(pointer) => (self.slots.of(pointer), 1),
            }),
            on_hole: sequence.on_hole,
            first: sequence.first.as_ref().map(|first| FirstRule {
                matcher: self.pattern(&first.pattern),
                number: self.slots.of(&first.pointer),
                per: first.per.as_ref().map(|per| self.slots.of(per)),
            }),
            send: sequence.send.as_ref().map(|send| (self.template(send), self.fields(send, None))),
        }
    }

    fn topics(&mut self, terms: &Subscriptions) -> TopicRules {
        for template in [Some(&terms.subscribe), terms.unsubscribe.as_ref(), Some(&terms.item)] {
            template.into_iter().for_each(|template| drop(self.template(template)));
        }
        let answer = terms.answer.as_ref();
        let patterns = answer.into_iter().flat_map(|answer| {
            let patterns = [
                (AnswerKind::Reject, &answer.reject),
                (AnswerKind::End, &answer.end),
                (AnswerKind::Accept, &answer.accept),
            ];
            patterns.into_iter().filter_map(|(verdict, pattern)| Some((verdict, pattern.as_ref()?)))
        });
        let verdicts = patterns.map(|(verdict, pattern)| (verdict, self.pattern(pattern))).collect();
        TopicRules {
            verdicts,
            id: terms.answer_id().map(|pointer| self.slots.of(pointer)),
            topic: answer
                .iter()
                .flat_map(|answer| &answer.topic)
                .map(|pointer| self.slots.of(pointer))
                .collect(),
            key: answer.and_then(|answer| answer.key_from.as_ref()).map(|pointer| self.slots.of(pointer)),
            id_topic: terms.id_topic.as_ref().map(|pointer| self.value(pointer)),
            terms: terms.clone(),
        }
    }

    /// `said`: what steps say of messages that were expected before.
    fn step(&mut self, at: usize, step: &crate::config::Step, said: &BTreeSet<&Pointer>) -> StepRule {
        let expect = step.expect.as_ref();
        let field =
            |pointer: &Pointer| (pointer.clone(), Spot::new(pointer, expect, Pick::First, &mut self.slots));
        let fields = if expect.is_some() { said.iter().copied().map(field).collect() } else { Vec::new() };
        let reject = step.reject.iter().map(|reject| self.rejection(reject, step.on_fail)).collect();
        StepRule {
            name: step.name.clone(),
            if_captured: step.if_captured.clone(),
            unless_captured: step.unless_captured.clone(),
            send: step.send.clone(),
            expect: expect.map(|pattern| (Matcher::new(pattern, &mut self.slots), pattern.to_string())),
            reject,
            capture: self.values(&step.capture, expect),
            capture_regex: step.capture_regex.clone(),
            fields,
            publish: step.publish,
            retain: step.retain.then_some(at),
            timeout: step.timeout,
            on_fail: step.on_fail,
        }
    }

    fn rejection(&mut self, reject: &Reject, on_fail: Remedy) -> Rejection {
        let delay_from = reject.delay_from.as_ref();
        Rejection {
            matcher: Matcher::new(&reject.pattern, &mut self.slots),
            then: reject.then.unwrap_or(on_fail),
            again: reject.again,
            delay_from: delay_from.map(|DelayFrom { pointer, unit }| {
                (Spot::new(pointer, Some(&reject.pattern), Pick::First, &mut self.slots), *unit)
            }),
        }
    }
}
