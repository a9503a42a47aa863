//! `[[reply]]`: messages that are answered.

use super::{Pattern, Template};

/// One `[[reply]]`: a message that matches is answered, in the script and after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// `match`: which messages are answered.
    pub pattern: Pattern,
    /// `send`: the answer; `${field:/POINTER}` is a value of the message.
    pub send: Template,
    /// `publish`: whether the message still goes to clients. Default true.
    pub publish: bool,
}
