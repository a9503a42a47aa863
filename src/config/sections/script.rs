//! `[[script.step]]`: what is said and heard on a new connection before the link is up.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    reject::Reject,
    remedy::{ON_FAIL, RejectOf, Remedy},
    send_command::SendCommand,
    vars::Vars,
};
use crate::config::{
    language::{
        expression::Expression,
        names::{Names, check_name, is_name},
        pattern::Pattern,
        placeholder::Placeholder,
        pointer::Pointer,
        template::Template,
        uses::Use,
    },
    reader::{Item, Section, values::quoted},
};

/// `[script]`: the steps, in order, run on every new connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script {
    /// `[[script.step]]`, and after them `[[script.then]]`, which is for steps of one's own behind those of a
    /// profile. None by default: a connection is up as soon as it is open.
    pub steps: Vec<Step>,
}

/// One `[[script.step]]`. It has something to send, something to expect, or both; then it sends first.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// `name`: for people. Default `step N`, counted from 1.
    pub name: String,
    /// `if_captured`: the step is skipped unless all of these are captured.
    pub if_captured: Vec<String>,
    /// `unless_captured`: the step is skipped if any of these is captured.
    pub unless_captured: Vec<String>,
    /// `if_var`: the step is left out unless all of these variables are set, which `""` isn't.
    pub if_var: Vec<String>,
    /// `unless_var`: the step is left out if any of these variables is set.
    pub unless_var: Vec<String>,
    /// `send`, `send_binary` or `send_command`.
    pub send: Option<Say>,
    /// `expect`: the step is done when such a message is heard.
    pub expect: Option<Pattern>,
    /// `reject`: the step fails when such a message is heard; the first that matches says what that leads
    /// to. Looked at before `expect`.
    pub reject: Vec<Reject>,
    /// `capture`: what is kept of the expected message, by name.
    pub capture: Vec<(String, Pointer)>,
    /// `capture_regex`: what is kept of the expected message by an expression's named groups, as texts.
    pub capture_regex: Option<Expression>,
    /// `public`: whether clients are told the values of `capture`, and may name them in what they send. Default false.
    pub public: bool,
    /// `publish`: whether the expected or rejected message is given to clients, and a refusal's words to the
    /// log. Default true.
    pub publish: bool,
    /// `retain`: whether the expected message is retained: who attaches with `snapshot` gets it, until that of the next
    /// connection takes its place. Default false.
    pub retain: bool,
    /// `timeout`: for the expected message; 10 ms to 10 min. Default: what is left of
    /// `upstream.connect_timeout`, which bounds the whole script in any case.
    pub timeout: Option<Duration>,
    /// `on_fail`: what a failure leads to. Default [`Remedy::Retry`]; never [`Remedy::After`].
    pub on_fail: Remedy,
}

impl Step {
    /// A step of this name, with the default for everything: it does nothing yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            if_captured: Vec::new(),
            unless_captured: Vec::new(),
            if_var: Vec::new(),
            unless_var: Vec::new(),
            send: None,
            expect: None,
            reject: Vec::new(),
            capture: Vec::new(),
            capture_regex: None,
            public: false,
            publish: true,
            retain: false,
            timeout: None,
            on_fail: Remedy::Retry,
        }
    }
}

impl Step {
    /// Whether the variables leave it in.
    pub fn is_wanted(&self, vars: &Vars) -> bool {
        let is_set = |name: &String| vars.get(name).is_some_and(|var| var.is_set());
        self.if_var.iter().all(is_set) && !self.unless_var.iter().any(is_set)
    }

    /// Whether it is said on every connection that comes so far, whatever is captured.
    pub fn is_certain(&self, vars: &Vars) -> bool {
        self.is_wanted(vars) && self.if_captured.is_empty() && self.unless_captured.is_empty()
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Say {
    /// A text message.
    Text(Template),
    /// A binary message, without placeholders.
    Binary(Vec<u8>),
    /// What a program prints.
    Command(Arc<SendCommand>),
}

impl Say {
    /// What placeholders stand in: a text, or what a program reads.
    pub fn template(&self) -> Option<&Template> {
        match self {
            Self::Text(template) => Some(template),
            Self::Binary(_) => None,
            Self::Command(command) => command.program.stdin.as_ref(),
        }
    }

    /// The program that makes it.
    pub fn command(&self) -> Option<&Arc<SendCommand>> {
        match self {
            Self::Command(command) => Some(command),
            Self::Text(_) | Self::Binary(_) => None,
        }
    }
}

/// So many steps at most.
const MAX_STEPS: usize = 256;
/// The keys that say what a step sends.
const SENDS: [&str; 3] = ["send", "send_binary", "send_command"];

impl Script {
    pub(in crate::config) fn read(section: Section<'_>, names: &Names) -> Self {
        let mut sections = Vec::new();
        for key in ["step", "then"] {
            sections.extend(section.sections(key).unwrap_or_default());
        }
        if sections.len() > MAX_STEPS {
            section.problem("step", format_args!("are {} steps: write at most {MAX_STEPS}", sections.len()));
        }
        section.finish();
        let (mut steps, mut is_heard) = (Vec::new(), false);
        for section in sections {
            let step = Step::read(section, steps.len() + 1, names, is_heard);
            is_heard |= step.expect.is_some();
            steps.push(step);
        }
        Self { steps }
    }
}

impl Step {
    /// `is_heard`: a step before it expects a message.
    fn read(section: Section<'_>, number: usize, names: &Names, is_heard: bool) -> Self {
        let refused = section.is_refused();
        let timeouts = Duration::from_millis(10)..=Duration::from_secs(600);
        let default = Self::new(section.text("name").map_or_else(|| format!("step {number}"), str::to_owned));
        let step = Self {
            if_captured: read_names(&section, "if_captured", |name| names.captured(name)),
            unless_captured: read_names(&section, "unless_captured", |name| names.captured(name)),
            if_var: read_names(&section, "if_var", |name| names.variable(name)),
            unless_var: read_names(&section, "unless_var", |name| names.variable(name)),
            send: read_send(&section, names),
            expect: Pattern::read(&section, "expect"),
            reject: Reject::read_all(&section, "reject", RejectOf::Step),
            capture: read_values(section.section("capture")),
            capture_regex: read_regex(&section, "capture_regex"),
            public: section.truth("public").unwrap_or(default.public),
            publish: section.truth("publish").unwrap_or(default.publish),
            retain: section.truth("retain").unwrap_or(default.retain),
            timeout: section.duration("timeout", timeouts),
            on_fail: section.one_of("on_fail", &ON_FAIL).unwrap_or(default.on_fail),
            ..default
        };
        if section.item("expect").is_none() {
            for key in ["reject", "capture", "capture_regex", "timeout", "publish", "retain"] {
                if section.item(key).is_some() {
                    section.problem(
                        key,
                        "only goes with `expect` in the same step: write what is expected, too",
                    );
                }
            }
            let says = SENDS.iter().any(|key| section.item(key).is_some());
            if !says && !refused {
                section.problem("send", "is missing, and so is `expect`: write at least one of them");
            }
        } else if step.reject.iter().any(|reject| Some(&reject.pattern) == step.expect.as_ref()) {
            section.problem(
                "reject",
                "is the same as `expect`, so that nothing would be expected: take one out",
            );
        }
        if step.retain && !step.publish {
            section.problem(
                "retain",
                "keeps what clients get, but `publish = false` keeps it from them: take one out",
            );
        }
        let field = step.send.as_ref().and_then(first_field);
        if let Some(placeholder) = field.filter(|_| !is_heard) {
            let key = SENDS.into_iter().find(|key| section.item(key).is_some()).unwrap_or("send");
            section.problem(
                key,
                format_args!(
                    "has `{placeholder}`, which is of the message that a step before has expected, and none has: write \
                     it in a later step"
                ),
            );
        }
        let captures = ["capture", "capture_regex"].iter().any(|key| section.item(key).is_some());
        if section.item("public").is_some() && !captures {
            section
                .problem("public", "only goes with `capture` in the same step: write what is captured, too");
        }
        section.finish();
        step
    }
}

/// The first value of a message that something has in it.
fn first_field(say: &Say) -> Option<&Placeholder> {
    let mut placeholders = say.template()?.placeholders().map(|(placeholder, _)| placeholder);
    placeholders.find(|placeholder| matches!(placeholder, Placeholder::Field(_)))
}

/// Names and pointers, as a capture has them.
pub(in crate::config) fn read_values(section: Section<'_>) -> Vec<(String, Pointer)> {
    let mut values = Vec::new();
    for item in section.items() {
        if !check_name(&item) {
            continue;
        }
        let Some(text) = item.text() else { continue };
        match Pointer::parse(text) {
            Ok(pointer) => values.push((item.name.to_owned(), pointer)),
            Err(why) => item.problem(why),
        }
    }
    values
}

/// An expression with named groups, as a capture has it.
pub(in crate::config) fn read_regex(section: &Section<'_>, key: &'static str) -> Option<Expression> {
    let item = section.item(key)?;
    let regex = Expression::read(&item)?;
    if let Some(name) = regex.names().find(|name| !is_name(name)) {
        item.problem(format_args!("names {}: write a name of letters, digits, `_` and `-`", quoted(name)));
        return None;
    }
    if regex.names().next().is_none() {
        item.problem("has no named group, so that nothing would be kept: write such as `(?<id>[^ ]+)`");
        return None;
    }
    Some(regex)
}

/// A name or a list of names, each of which is known.
fn read_names(
    section: &Section<'_>,
    key: &'static str,
    known: impl Fn(&str) -> Result<(), String>,
) -> Vec<String> {
    let mut read = Vec::new();
    for item in section.one_or_more(key).unwrap_or_default() {
        let Some(name) = item.text() else { continue };
        match known(name) {
            Ok(()) => read.push(name.to_owned()),
            Err(_) if !is_name(name) => {
                item.problem(format_args!(
                    "is {}: write a name, of letters, digits, `_` and `-`",
                    quoted(name)
                ));
            }
            Err(why) => item.problem(format_args!("is {}, which {why}", quoted(name))),
        }
    }
    read
}

fn read_send(section: &Section<'_>, names: &Names) -> Option<Say> {
    let (text, binary) = (section.item("send"), section.item("send_binary"));
    if text.is_some() && binary.is_some() {
        section.problem(
            "send_binary",
            "is there beside `send`: write one of them, and another step for the other",
        );
    }
    let command = SendCommand::read_beside(section, &["send", "send_binary"], names, Use::Step);
    if let Some(item) = text {
        return names.text(&item, Use::Step).map(Say::Text);
    }
    if let Some(item) = binary {
        return decode(&item).map(Say::Binary);
    }
    command.map(|command| Say::Command(Arc::new(command)))
}

/// The bytes that an item is in base64.
pub(in crate::config) fn decode(item: &Item<'_>) -> Option<Vec<u8>> {
    match STANDARD.decode(item.text()?) {
        Ok(bytes) => Some(bytes),
        Err(why) => {
            item.problem(format_args!("is no base64 with padding (RFC 4648, 4): {why}"));
            None
        }
    }
}
