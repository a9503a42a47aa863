//! A message of wsfan's own before it is written: its ids are given then, so that they rise in the order in which
//! messages go out. Pure.

use crate::hub::Payload;

/// A message whose ids are still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream) struct Draft {
    payload: Payload,
    /// Where in the text they belong, first to last.
    ids: Vec<usize>,
}

impl Draft {
    /// A text with room for ids at these places, first to last.
    pub(super) fn new(text: String, ids: Vec<usize>) -> Draft {
        Draft { payload: Payload::Text(text), ids }
    }

    /// Its size in bytes, without its ids.
    pub(in crate::upstream) fn len(&self) -> usize {
        self.payload.len()
    }

    /// The message, with the ids that `next` gives.
    pub(in crate::upstream) fn finish(self, mut next: impl FnMut() -> u64) -> Payload {
        let Payload::Text(text) = self.payload else { return self.payload };
        if self.ids.is_empty() {
            return Payload::Text(text);
        }
        let (mut whole, mut from) = (String::with_capacity(text.len() + 8 * self.ids.len()), 0);
        for at in self.ids {
            whole.push_str(&text[from..at]);
            whole.push_str(itoa::Buffer::new().format(next()));
            from = at;
        }
        whole.push_str(&text[from..]);
        Payload::Text(whole)
    }

    /// The message as text, for tests.
    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        match &self.payload {
            Payload::Text(text) => text,
            Payload::Binary(_) => "",
        }
    }

    /// The message with these ids, to look at.
    pub(super) fn preview(&self, from: u64) -> Payload {
        let mut ids = from..;
        self.clone().finish(|| ids.next().unwrap_or(from))
    }
}

impl From<Payload> for Draft {
    fn from(payload: Payload) -> Draft {
        Draft { payload, ids: Vec::new() }
    }
}
