//! `[[reply]]`: messages that are answered.

use std::sync::Arc;

use super::{script::Say, send_command::SendCommand};
use crate::config::{
    language::{names::Names, pattern::Pattern, uses::Use},
    reader::Section,
};

/// One `[[reply]]`: a message that matches is answered, in the script and after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// `match`: which messages are answered.
    pub pattern: Pattern,
    /// `send` or `send_command`: the answer; `${field:/POINTER}` is a value of the message.
    pub send: Say,
    /// `publish`: whether the message still goes to clients. Default true.
    pub publish: bool,
}

impl Reply {
    /// Reads `[[reply]]`.
    pub(in crate::config) fn read_all(root: &Section<'_>, names: &Names) -> Vec<Self> {
        let sections = root.sections("reply").unwrap_or_default();
        sections.into_iter().filter_map(|section| Self::read(section, names)).collect()
    }

    fn read(section: Section<'_>, names: &Names) -> Option<Self> {
        let pattern = Pattern::read(&section, "match");
        let command = SendCommand::read_beside(&section, &["send"], names, Use::Reply);
        let send = match section.item("send") {
            Some(item) => names.text(&item, Use::Reply).map(Say::Text),
            None => command.map(|command| Say::Command(Arc::new(command))),
        };
        let publish = section.truth("publish").unwrap_or(true);
        if !section.is_refused() {
            if section.item("match").is_none() {
                section.problem("match", "is missing: write which messages are answered");
            }
            if section.item("send").is_none() && section.item("send_command").is_none() {
                section.problem("send", "is missing: write the answer");
            }
        }
        section.finish();
        Some(Self { pattern: pattern?, send: send?, publish })
    }
}
