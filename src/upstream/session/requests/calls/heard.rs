//! What a message is to those who wait for answers. Pure.

/// What a message is to those who wait.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::upstream::session) struct Heard {
    /// It is an answer, which others don't get unless that is configured.
    pub(in crate::upstream::session) is_answer: bool,
    /// Nobody waited for it any more.
    pub(in crate::upstream::session) is_late: bool,
    /// A stream whose messages nobody takes any more.
    pub(in crate::upstream::session) cancel: Option<Cancel>,
}

/// A stream is to be cancelled.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream::session) struct Cancel {
    /// Its number among the rules.
    pub(in crate::upstream::session) stream: usize,
    /// Its key, as it is written in JSON.
    pub(in crate::upstream::session) key: String,
}

impl Heard {
    /// What a message is that is for several.
    pub(super) fn and(self, other: Heard) -> Heard {
        Heard {
            is_answer: self.is_answer && other.is_answer,
            is_late: self.is_late && other.is_late,
            cancel: self.cancel.or(other.cancel),
        }
    }
}
