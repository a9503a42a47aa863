//! What the link heard of which an entry was made. Pure.

use std::borrow::Cow;

use super::Log;
use crate::{config::Format, protocol::Message};

impl Log {
    /// What an entry that is held carries, as it came in but for line breaks in JSON and the blanks around it. None for
    /// an entry that is no message.
    pub fn payload(&self, seq: u64) -> Option<Cow<'_, [u8]>> {
        let line = self.line(seq, Format::Envelope).filter(|line| Message::is_one(line))?;
        serde_json::from_slice::<Message<'_>>(line).ok()?.payload()
    }
}
