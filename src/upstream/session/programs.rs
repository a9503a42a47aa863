//! Messages that programs make: what they are asked, and what becomes of what they print. Pure.

use std::sync::Arc;

use super::{
    Context, Effect, Purpose, Session,
    draft::Draft,
    matcher::Look,
    printed::For,
    runs::{Order, Run},
    script::Progress,
};
use crate::{
    config::{Placeholder, Remedy, Secret, SendCommand, Template, Value},
    hub::Payload,
};

/// Why a program isn't run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotRun {
    /// Something that it is to read has no value: a sentence.
    NoValue(String),
    /// Too many wait, or it is too much: a sentence.
    TooMuch(String),
}

impl From<NotRun> for String {
    fn from(why: NotRun) -> String {
        match why {
            NotRun::NoValue(why) | NotRun::TooMuch(why) => why,
        }
    }
}

impl Session {
    /// Has a program make a message, as soon as it has a place.
    pub(super) fn order(
        &mut self,
        context: &mut Context<'_>,
        command: &Arc<SendCommand>,
        why: Purpose,
        look: Option<&Look<'_>>,
    ) -> Result<(), NotRun> {
        let program = name(command);
        let stdin = command.program.stdin.as_ref().map(|template| self.input(context, template, look));
        let no_value =
            |why| NotRun::NoValue(format!("{program} can't be run: its stdin has no value: {why}"));
        let stdin = stdin.transpose().map_err(no_value)?;
        let order = Order { command: Arc::clone(command), stdin, why };
        self.runs.take(order).map_err(|why| NotRun::TooMuch(format!("{program} {why}")))
    }

    /// The next program to run.
    pub(in crate::upstream) fn next_run(&mut self, context: &Context<'_>) -> Option<Run> {
        let (id, order) = self.runs.begin()?;
        let mut redactor = self.secrets.redactor().clone();
        context.memory.captures().hide_in(&mut redactor);
        // what isn't sent may be longer than what the server takes
        let sent = self.rules.max_message.filter(|_| !order.command.silent);
        let max = sent.map_or(SendCommand::MAX_OUTPUT, |max| max.min(SendCommand::MAX_OUTPUT));
        Some(Run { id, command: order.command, stdin: order.stdin, max, redactor })
    }

    /// Whether [`Session::next_run`] has one.
    pub(in crate::upstream) fn may_run(&self) -> bool {
        self.runs.may_begin()
    }

    /// Whether the outcome of this run is still awaited; else it is to end.
    pub(in crate::upstream) fn awaits_run(&self, id: u64) -> bool {
        self.runs.has(id)
    }

    /// Nobody waits for programs any more: the connection ends.
    pub(in crate::upstream) fn end_runs(&mut self) {
        self.runs.clear();
    }

    /// Nobody waits for a heartbeat's program any more: the server isn't ready for what it makes.
    pub(in crate::upstream) fn forget_beat(&mut self) {
        self.runs.forget(Purpose::Heartbeat);
    }

    /// A program has ended. `outcome` is what it printed, or the end of a sentence.
    pub(in crate::upstream) fn ran(
        &mut self,
        context: &mut Context<'_>,
        id: u64,
        outcome: Result<Vec<u8>, String>,
    ) {
        let Some((command, why)) = self.runs.end(id) else { return };
        let message = outcome.and_then(|printed| {
            self.hide_printed(why, &printed);
            match command.silent {
                true => Ok(None),
                false => self.message(&command, printed).map(Some),
            }
        });
        let message = message.map_err(|why| format!("{} {why}", name(&command)));
        match (why, message) {
            (Purpose::Script, message) => self.step_ran(context, message),
            (why, Ok(Some(draft))) => self.effects.push_back(Effect::Send(draft, why)),
            (_, Ok(None)) => {}
            (why, Err(error)) => self.unsent(why, &error),
        }
    }

    /// A reply or a heartbeat isn't sent. The connection goes on.
    pub(super) fn unsent(&mut self, what: Purpose, error: &str) {
        let what = if what == Purpose::Heartbeat { "the heartbeat" } else { "a reply" };
        self.effects.push_back(Effect::Unsent { error: format!("{what} isn't sent: {error}") });
    }

    /// What the step under way was to send is there, or isn't.
    fn step_ran(&mut self, context: &mut Context<'_>, message: Result<Option<Draft>, String>) {
        let Progress::Runs { step: at, .. } = self.progress else { return };
        let rules = std::rc::Rc::clone(&self.rules);
        match message {
            Ok(draft) => {
                self.effects.extend(draft.map(|draft| Effect::Send(draft, Purpose::Script)));
                if !self.awaits_answer(context, at) {
                    self.go_on(context, at + 1);
                }
            }
            Err(why) => self.fail_step(&rules.steps[at], &why, rules.steps[at].on_fail),
        }
    }

    /// What a program printed, as a message. The end of a sentence if it is none.
    fn message(&self, command: &SendCommand, printed: Vec<u8>) -> Result<Draft, String> {
        let payload = match command.binary {
            true => Payload::Binary(printed),
            false => {
                let mut text = String::from_utf8(printed)
                    .map_err(|_| "printed what is not UTF-8 text, and `binary` isn't true".to_owned())?;
                if text.ends_with('\n') {
                    text.pop();
                }
                Payload::Text(text)
            }
        };
        if payload.is_empty() {
            return Err("printed nothing".to_owned());
        }
        self.fitting(payload)
            .map(Draft::from)
            .map_err(|why| format!("printed a message that can't be sent: {why}"))
    }

    /// What a program reads.
    fn input(
        &mut self,
        context: &mut Context<'_>,
        template: &Template,
        look: Option<&Look<'_>>,
    ) -> Result<Secret, String> {
        let mut one_uuid = None;
        let text = template.render(|placeholder| match placeholder {
            Placeholder::Uuid => {
                let uuid = one_uuid.get_or_insert_with(|| context.uuid());
                Ok(Value::Text(uuid.clone()))
            }
            placeholder => self.value(context, placeholder, look),
        });
        text.map_err(|error| error.to_string())
    }

    /// What a program has printed may be as secret as what it was told, and the server may repeat it.
    fn hide_printed(&mut self, why: Purpose, printed: &[u8]) {
        let what = match (why, self.progress.under_way()) {
            (Purpose::Script, Some(step)) => For::Step(step),
            (Purpose::Heartbeat, _) => For::Heartbeat,
            (Purpose::Reply | Purpose::Script, _) => For::Reply,
        };
        self.printed.hide(what, printed);
    }

    /// A text of the server's without what programs have printed.
    pub(in crate::upstream) fn without_printed(&self, text: &str) -> String {
        self.printed.without(text)
    }

    /// Fails the connection, or tells that a reply isn't sent, since its program isn't run.
    pub(super) fn not_run(&mut self, why: NotRun) {
        match why {
            NotRun::NoValue(why) => self.fail(format!("a reply can't be sent: {why}"), Remedy::Retry),
            NotRun::TooMuch(why) => self.unsent(Purpose::Reply, &why),
        }
    }
}

/// The program, by its path.
pub(super) fn name(command: &SendCommand) -> &str {
    command.program.run.first().map_or("", String::as_str)
}
