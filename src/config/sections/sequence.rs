//! `[sequence]`: the server's own numbers, which show what is missing.

use super::rotate::read_pointer;
use crate::config::{
    language::{
        names::{Names, Use},
        pointer::Pointer,
        template::Template,
    },
    reader::Section,
};

/// `[sequence]`: where messages have a number that grows by 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// `pointer`: the number, an integer. A message without it isn't counted.
    pub pointer: Pointer,
    /// `per`: a scalar beside it; each value of it has its own count, for at most 1,024 values of at
    /// most 256 bytes; others aren't counted. None by default: one count.
    pub per: Option<Pointer>,
    /// `on_hole`. Default [`OnHole::Declare`].
    pub on_hole: OnHole,
    /// `send`: what is said to the server about a hole, such as a request for a new snapshot; `${field:/POINTER}`
    /// is a value of the message that showed it. None by default.
    pub send: Option<Template>,
}

/// `sequence.on_hole`: what a hole leads to, beside the line in the log that declares it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnHole {
    /// Nothing more.
    #[default]
    Declare,
    /// A new connection, which may take up where the old one was.
    Reconnect,
    /// A new connection that begins anew: captures are forgotten.
    Forget,
}

impl Sequence {
    /// Reads `[sequence]`; none if the file has none, or says that it is `"off"`.
    pub(in crate::config) fn read(root: &Section<'_>, names: &Names) -> Option<Self> {
        let item = root.item("sequence")?;
        if item.value.as_str() == Some("off") {
            return None;
        }
        let section = item.section();
        let pointer = read_pointer(&section, "pointer");
        if section.item("pointer").is_none() && !section.is_refused() {
            section.problem("pointer", "is missing: write where the number is, such as \"/seq\"");
        }
        let holes =
            [("declare", OnHole::Declare), ("reconnect", OnHole::Reconnect), ("forget", OnHole::Forget)];
        let (per, on_hole) =
            (read_pointer(&section, "per"), section.one_of("on_hole", &holes).unwrap_or_default());
        if per.is_some() && per == pointer {
            section.problem("per", "is the same as sequence.pointer: write what the numbers are counted for");
        }
        let send = section.item("send").and_then(|item| names.message(&item, Use::Reply));
        if send.is_some() && on_hole != OnHole::Declare {
            section.problem(
                "send",
                "only goes with sequence.on_hole = \"declare\": a new connection hears of nothing before",
            );
        }
        section.finish();
        Some(Self { pointer: pointer?, per, on_hole, send })
    }
}
