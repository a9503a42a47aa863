//! `listener.rights` and `listener.ops`: what a client may do.

use crate::config::reader::{Section, values::quoted};

/// `listener.rights`: what a client of a listener may do. Default: receive and send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// `"receive"`: see messages and the link's changes.
    pub receive: bool,
    /// `"send"`: send upstream.
    pub send: bool,
    /// `"control"`: `reconnect`, `close` and `open` the link.
    pub control: bool,
}

impl Default for Rights {
    fn default() -> Self {
        Self { receive: true, send: true, control: false }
    }
}

impl Rights {
    /// What a section says; none where it doesn't.
    pub(in crate::config) fn read(section: &Section<'_>) -> Option<Self> {
        let before = section.problems();
        let items = section.texts("rights")?;
        let wanted = "write \"receive\", \"send\" or \"control\"";
        let mut rights = Self { receive: false, send: false, control: false };
        for item in &items {
            let text = item.text().unwrap_or_default();
            let right = match text {
                "receive" => &mut rights.receive,
                "send" => &mut rights.send,
                "control" => &mut rights.control,
                _ => {
                    item.problem(format_args!("is {}: {wanted}", quoted(text)));
                    continue;
                }
            };
            if std::mem::replace(right, true) {
                item.problem(format_args!("is {} again: list each one once", quoted(text)));
            }
        }
        if items.is_empty() && section.problems() == before {
            section.problem("rights", format_args!("is an empty list: {wanted}"));
        }
        Some(rights)
    }
}

/// `listener.ops`: of what the rights allow, these ops alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ops {
    /// A bit for each of [`Ops::NAMES`].
    bits: u32,
}

impl Default for Ops {
    fn default() -> Self {
        Self::ALL
    }
}

impl Ops {
    /// All ops of the local protocol; a test of the local room holds the two together.
    pub const NAMES: &[&str] = &[
        "send",
        "request",
        "cancel",
        "attach",
        "ack",
        "subscribe",
        "unsubscribe",
        "status",
        "reconnect",
        "close",
        "open",
        "reload",
        "ping",
    ];

    /// Every one.
    pub const ALL: Self = Self { bits: u32::MAX };

    /// Whether an op is among them.
    pub fn has(self, name: &str) -> bool {
        self == Self::ALL
            || Self::NAMES.iter().position(|known| *known == name).is_some_and(|at| self.bits & 1 << at != 0)
    }

    /// What a section says; none where it doesn't.
    pub(in crate::config) fn read(section: &Section<'_>) -> Option<Self> {
        let items = section.texts("ops")?;
        let mut ops = Self { bits: 0 };
        for item in &items {
            let text = item.text().unwrap_or_default();
            match Self::NAMES.iter().position(|name| *name == text) {
                Some(at) if ops.bits & 1 << at != 0 => {
                    item.problem(format_args!("is {} again: list each one once", quoted(text)));
                }
                Some(at) => ops.bits |= 1 << at,
                None => {
                    let names = Self::NAMES.join(", ");
                    item.problem(format_args!("is {}: there are {names}", quoted(text)));
                }
            }
        }
        Some(ops)
    }
}
