//! What one link leaves to the next.

use std::{borrow::Cow, cell::RefCell, rc::Rc};

use crate::{
    config::Format,
    hub::{CountedBeside, Log},
    upstream::{machine::Past, session::recount::Recount, settings::Settings},
};

/// The server's counts are made of so many bytes of the log's newest lines, at most: what a message in ten thousand
/// says is found in them, and it is no long pause.
const MAX_LOOK: usize = 16 << 20;

/// What a link leaves to one that follows it in the same process, however it ended: how far the server's limits are
/// used up, and what was captured and counted of its messages, `resume_url` among it. With other settings, of which
/// that would be untrue, the next link forgets it as a reload would have. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub struct Legacy(Rc<RefCell<Option<Past>>>);

impl Legacy {
    /// Has the next link go on from what is in the log, since another process held the link that wrote it: the server's
    /// numbers (`[sequence]`) are counted on where the log's messages end, so that the first message of the new
    /// connection shows what is missing, whoever heard the last one. How far the limits are used up by links of this
    /// process stays; what they had captured is forgotten, which that other link's session has outdated.
    ///
    /// To be told before each [`run`](crate::upstream::run) over a log that others have written to. `settings` are
    /// those of the next link. Where there is no `[sequence]` the log isn't looked at; else its newest 16 MiB, at most.
    ///
    /// `beside` is what is known of messages that were counted and aren't in the log, since clients don't get them. Where
    /// that may not be all, the first hole of such a count is declared without how many messages are missing in it.
    pub fn of_log(&self, log: &Log, beside: &CountedBeside, settings: &Settings) {
        let counts = settings.terms.sequence.as_ref().map(|sequence| {
            let mut counts = Recount::new(sequence).of(log.next(), payloads(log), beside);
            if beside.is_unsure() {
                counts.doubt();
            }
            counts
        });
        self.leave(Past::of_others(self.take(), counts.unwrap_or_default(), settings.clone()));
    }

    /// What the link before has left.
    pub(super) fn take(&self) -> Option<Past> {
        self.0.take()
    }

    /// Leaves it to the next one.
    pub(super) fn leave(&self, past: Past) {
        self.0.replace(Some(past));
    }
}

/// The entries of the log, the newest first, and what those carry that are messages.
fn payloads(log: &Log) -> impl Iterator<Item = (u64, Option<Cow<'_, [u8]>>)> {
    let mut left = MAX_LOOK;
    let entries = (log.oldest()..=log.head()).rev().take_while(move |seq| {
        let length = log.line(*seq, Format::Envelope).map_or(0, <[u8]>::len);
        let fits = length <= left;
        left = left.saturating_sub(length);
        fits
    });
    entries.map(|seq| (seq, log.payload(seq)))
}
