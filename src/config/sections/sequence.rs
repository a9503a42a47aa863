//! `[sequence]`: the server's own numbers, which show what is missing.

use super::rotate::read_pointer;
use crate::config::{
    language::{names::Names, pattern::Pattern, pointer::Pointer, template::Template, uses::Use},
    reader::Section,
};

/// `[sequence]`: where messages have a number that grows by 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// `pointer`: the number, an integer. A message without it isn't counted.
    pub pointer: Pointer,
    /// `from` or `previous`: where a message stands for several numbers up to that. None by default: it stands for one,
    /// as a message does that has no such value.
    pub span: Option<Span>,
    /// `per`: a scalar beside it; each value of it has its own count, for at most 1,024 values of at
    /// most 256 bytes; others aren't counted. None by default: one count.
    pub per: Option<Pointer>,
    /// `on_hole`. Default [`OnHole::Declare`].
    pub on_hole: OnHole,
    /// `send`: what is said to the server about a hole, such as a request for a new snapshot; `${field:/POINTER}`
    /// is a value of the message that showed it, `${hole:from}` and `${hole:to}` are the numbers. None by default.
    pub send: Option<Template>,
    /// `first`: messages whose number sets the count. None by default.
    pub first: Option<First>,
}

/// Where the numbers begin that a message stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// `from`: its own first number.
    From(Pointer),
    /// `previous`: the last number of the message before.
    Previous(Pointer),
}

/// `sequence.first`: a snapshot, which stands for all numbers up to its own, so that the next one is expected after it.
/// It isn't counted itself.
#[derive(Debug, Clone, PartialEq)]
pub struct First {
    /// `match`: which messages these are. One without the number is counted as any other.
    pub pattern: Pattern,
    /// `pointer`: the number. Default: as `sequence.pointer`.
    pub pointer: Pointer,
    /// `per`: what the count is of that it sets. Default: as `sequence.per`.
    pub per: Option<Pointer>,
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
        let section = root.section_or_off("sequence")?;
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
        let send = section.item("send").and_then(|item| names.message(&item, Use::Hole));
        if send.is_some() && on_hole != OnHole::Declare {
            section.problem(
                "send",
                "only goes with sequence.on_hole = \"declare\": a new connection hears of nothing before",
            );
        }
        let span = read_span(&section, pointer.as_ref());
        let first =
            section.item("first").map(|item| First::read(item.section(), pointer.as_ref(), per.as_ref()));
        section.finish();
        Some(Self { pointer: pointer?, span, per, on_hole, send, first: first.flatten() })
    }
}

impl First {
    /// Reads `first`; `pointer` and `per` are those of the messages that are counted.
    fn read(section: Section<'_>, pointer: Option<&Pointer>, per: Option<&Pointer>) -> Option<Self> {
        let pattern = Pattern::read(&section, "match");
        if section.item("match").is_none() && !section.is_refused() {
            section.problem(
                "match",
                "is missing: write which messages set the count, such as { \"/type\" = \"snapshot\" }",
            );
        }
        let own = read_pointer(&section, "pointer");
        let own_per = read_pointer(&section, "per");
        if own_per.is_some() && per.is_none() {
            section
                .problem("per", "only goes with sequence.per: write there what the numbers are counted for");
        }
        section.finish();
        Some(Self { pattern: pattern?, pointer: own.or(pointer.cloned())?, per: own_per.or(per.cloned()) })
    }
}

fn read_span(section: &Section<'_>, pointer: Option<&Pointer>) -> Option<Span> {
    let from = read_pointer(section, "from");
    let previous = read_pointer(section, "previous");
    if section.item("from").is_some() && section.item("previous").is_some() {
        section.problem("previous", "is there beside `from`: write one of them");
    }
    for (key, read) in [("from", &from), ("previous", &previous)] {
        if read.is_some() && read.as_ref() == pointer {
            section.problem(
                key,
                "is the same as sequence.pointer: write where the message's numbers begin, or leave it out",
            );
        }
    }
    from.map(Span::From).or(previous.map(Span::Previous))
}
