//! What a client gets that catches up: of the entries that it has missed, the newest message of each topic. Pure.
//!
//! Nothing is kept for such a client but up to where it catches up. Whether a message is the newest of its topic up to
//! there is known of each entry by the log, so that the client's way to it is gone once, in pieces, and what it passes
//! is declared where it would have stood.

use crate::{
    config::Format,
    hub::{Log, Lost, Picked},
    protocol::Why,
};

/// The lines of one write: no more than so many bytes, but for a line that is longer.
const PIECE_BYTES: usize = 64 << 10;
/// So many entries are gone through at once; then the others have their turn.
pub(super) const MAX_LOOKED_AT: u64 = 1 << 16;

/// Picks from the entries from `from` on up to `to`, as many as go into one write: those that are `wanted`, but none
/// after which another of its topic comes, and the lines that declare these, which `gap` makes. `from` must be held,
/// and [`Log::link_topics`] be done up to `to`. `is_wanted` may say that it is enough for now, but not at once.
pub(super) fn pick(
    picked: &mut Picked,
    log: &Log,
    (from, to): (u64, u64),
    format: Format,
    mut is_wanted: impl FnMut(u64) -> Option<bool>,
    gap: impl Fn(Lost) -> Vec<u8>,
) {
    picked.begin(from);
    let mut lost: Option<Lost> = None;
    for seq in from..=to.min(from.saturating_add(MAX_LOOKED_AT - 1)) {
        let Some(is_wanted) = is_wanted(seq) else { break };
        if is_wanted {
            if log.next_of_topic(seq).is_some_and(|next| next <= to) {
                let lost = lost.get_or_insert(Lost { from: seq, to: seq, count: 0, why: Why::Conflated });
                (lost.to, lost.count) = (seq, lost.count + 1);
            } else {
                if let Some(lost) = lost.take()
                    && !picked.add_gap(lost, &gap(lost), PIECE_BYTES)
                {
                    picked.to = lost.from;
                    return;
                }
                picked.to = seq;
                if !picked.add(log, seq, format, PIECE_BYTES) {
                    return;
                }
            }
        }
        picked.to = seq + 1;
    }
    if let Some(lost) = lost
        && !picked.add_gap(lost, &gap(lost), PIECE_BYTES)
    {
        picked.to = lost.from;
    }
}

#[cfg(test)]
mod tests;
