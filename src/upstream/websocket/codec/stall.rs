//! Whether the kernel still takes what there is to write. Pure.

use std::time::{Duration, Instant};

/// The kernel took no byte for so long: nobody reads at the other end.
pub(in crate::upstream::websocket) const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Since when nothing could be written.
#[derive(Debug, Default)]
pub(in crate::upstream::websocket) struct Stall {
    /// The kernel doesn't take what we have, since then; and what it had taken by then.
    blocked: Option<(Instant, u64)>,
    /// Since when wsfan itself doesn't read.
    paused: Option<Instant>,
}

impl Stall {
    /// How it stands now: whether wsfan reads, whether there is something to write, and how many bytes were
    /// written so far. While wsfan itself doesn't read, a server that doesn't either may be its own doing,
    /// and doesn't count.
    pub(in crate::upstream::websocket) fn note(
        &mut self,
        now: Instant,
        reads: bool,
        has_more: bool,
        written: u64,
    ) {
        if !reads {
            self.paused.get_or_insert(now);
        } else if let Some(paused) = self.paused.take()
            && let Some((since, _)) = &mut self.blocked
        {
            *since += now - paused.max(*since);
        }
        if !has_more {
            self.blocked = None;
        } else if self.blocked.is_none_or(|(_, before)| before != written) {
            self.blocked = Some((now, written));
        }
    }

    /// When the connection counts as dead.
    pub(in crate::upstream::websocket) fn deadline(&self) -> Option<Instant> {
        self.blocked.filter(|_| self.paused.is_none()).map(|(since, _)| since + STALL_TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_takes_nothing_is_stalled() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut stall = Stall::default();
        stall.note(at(0), true, false, 10);
        assert_eq!(stall.deadline(), None, "there is nothing to write");
        stall.note(at(1), true, true, 10);
        stall.note(at(5), true, true, 10);
        assert_eq!(stall.deadline(), Some(at(31)));
        stall.note(at(6), true, true, 11);
        assert_eq!(stall.deadline(), Some(at(36)), "one byte is progress");
        stall.note(at(10), false, true, 11);
        assert_eq!(stall.deadline(), None, "wsfan doesn't read either");
        stall.note(at(20), true, true, 11);
        assert_eq!(stall.deadline(), Some(at(46)), "and that time doesn't count");
        stall.note(at(21), true, false, 12);
        assert_eq!(stall.deadline(), None);
    }
}
