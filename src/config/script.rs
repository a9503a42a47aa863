//! `[[script.step]]`: what is said and heard on a new connection before the link is up.

use std::time::Duration;

use super::{Pattern, Pointer, Remedy, Template};

/// `[script]`: the steps, in order, run on every new connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script {
    /// `[[script.step]]`. None by default: a connection is up as soon as it is open.
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
    /// `send` or `send_binary`.
    pub send: Option<Say>,
    /// `expect`: the step is done when such a message is heard.
    pub expect: Option<Pattern>,
    /// `reject`: the step fails when such a message is heard. Looked at before `expect`.
    pub reject: Option<Pattern>,
    /// `capture`: what is kept of the expected message, by name.
    pub capture: Vec<(String, Pointer)>,
    /// `publish`: whether the expected or rejected message is given to clients. Default true.
    pub publish: bool,
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
            send: None,
            expect: None,
            reject: None,
            capture: Vec::new(),
            publish: true,
            timeout: None,
            on_fail: Remedy::Retry,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Say {
    /// A text message.
    Text(Template),
    /// A binary message, without placeholders.
    Binary(Vec<u8>),
}
