//! `[sequence]`: the server's own numbers, which show what is missing.

use super::Pointer;

/// `[sequence]`: where messages have a number that grows by 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// `pointer`: the number, an integer. A message without it isn't counted.
    pub pointer: Pointer,
    /// `per`: a scalar beside it; each value of it has its own count. None by default: one count.
    pub per: Option<Pointer>,
    /// `on_hole`. Default [`OnHole::Declare`].
    pub on_hole: OnHole,
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
    Fresh,
}
