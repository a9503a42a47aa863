//! `listener.rights`: what a client may do.

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
    pub(in crate::config) fn read(section: &Section<'_>) -> Self {
        let before = section.problems();
        let Some(items) = section.texts("rights") else {
            return Self::default();
        };
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
        rights
    }
}
