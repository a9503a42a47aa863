//! `send_command`: a program that makes a message.

use super::command::Program;
use crate::config::{
    language::{names::Names, uses::Use},
    reader::{Item, Section},
};

/// `send_command` of a step, a reply or the heartbeat: a program that is run each time, and prints the message.
///
/// Its `stdin` may have what a message there may have; in a step, `${field:/POINTER}` is a value of the message that
/// was expected last.
#[derive(Debug, Clone, PartialEq)]
pub struct SendCommand {
    /// What is run.
    pub program: Program,
    /// `binary`: what it prints is a binary message. Default false: text, which is UTF-8.
    pub binary: bool,
    /// `silent`: what it prints isn't sent, since it does something elsewhere. Not in the heartbeat. Default false.
    pub silent: bool,
}

impl SendCommand {
    /// The longest message that a program may print, in bytes; less where `limits.max_message` is.
    pub const MAX_OUTPUT: usize = 1 << 20;

    /// Reads it.
    pub(in crate::config) fn read(item: &Item<'_>, names: &Names, used: Use) -> Option<Self> {
        let section = item.section();
        let program = Program::read_keys(&section, names, used);
        let binary = section.truth("binary").unwrap_or_default();
        let silent = section.truth("silent").unwrap_or_default();
        if silent && binary {
            section
                .problem("binary", "is about a message, of which there is none with `silent`: take one out");
        }
        section.finish();
        Some(Self { program: program?, binary, silent })
    }

    /// The one that a section has, if it has no other way to say what is sent: `other`.
    pub(in crate::config) fn read_beside(
        section: &Section<'_>,
        others: &[&'static str],
        names: &Names,
        used: Use,
    ) -> Option<Self> {
        let item = section.item("send_command")?;
        if let Some(other) = others.iter().find(|other| section.item(other).is_some()) {
            item.problem(format_args!("is there beside `{other}`: write one of them"));
        }
        Self::read(&item, names, used)
    }
}
