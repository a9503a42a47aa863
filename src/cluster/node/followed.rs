//! What the log's entries say of the link: its status on a machine that hasn't the link, and for the next term. Pure.

use std::collections::VecDeque;

use crate::hub::{LinkState, LinkStatus};

/// The link, by the newest entries that are surely in the log.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// By the newest `link` entry; none before the first that this node has seen.
    link: Option<LinkStatus>,
    /// When the newest entry was made, in microseconds since the Unix epoch.
    time_us: u64,
    /// What this node's own link has said, up to which entry, as long as those aren't committed.
    staged: VecDeque<(u64, LinkStatus)>,
}

impl Followed {
    /// An entry of another machine's.
    pub(super) fn read(&mut self, time_us: u64, line: &[u8]) {
        self.time_us = time_us;
        if let Some(status) = LinkStatus::of_line(line) {
            self.link = Some(status);
        }
    }

    /// This node's own link is so, by the entries before this one, which are staged.
    pub(super) fn stage(&mut self, end: u64, status: LinkStatus) {
        if self.staged.back().is_none_or(|(_, last)| last.state != status.state) {
            self.staged.push_back((end, status));
        }
    }

    /// Entries up to this one are committed, now.
    pub(super) fn commit(&mut self, through: u64, now_us: u64) {
        self.time_us = now_us;
        while self.staged.front().is_some_and(|(end, _)| *end <= through + 1) {
            self.link = self.staged.pop_front().map(|(_, status)| status);
        }
    }

    /// What was staged is cut.
    pub(super) fn cut(&mut self) {
        self.staged.clear();
    }

    /// The link, as the log has it.
    pub(super) fn link(&self) -> Option<&LinkStatus> {
        self.link.as_ref()
    }

    /// It was closed on request, and stays so.
    pub(super) fn is_closed(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.state == LinkState::Closed)
    }

    /// When the newest entry was made, in microseconds since the Unix epoch; 0 where none is known.
    pub(super) fn time_us(&self) -> u64 {
        self.time_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: LinkState) -> LinkStatus {
        LinkStatus { state, conn: 3, ..LinkStatus::default() }
    }

    #[test]
    fn the_link_is_as_the_newest_entry_has_it_that_is_committed() {
        let mut followed = Followed::default();
        assert!(followed.link().is_none() && !followed.is_closed());
        let closed = b"{\"type\":\"link\",\"seq\":7,\"time_us\":50,\"state\":\"closed\",\"conn\":9}\n";
        followed.read(50, closed);
        assert!(followed.is_closed() && followed.link().unwrap().conn == 9);
        followed.read(60, b"{\"type\":\"message\",\"seq\":8,\"time_us\":60,\"text\":\"x\"}\n");
        assert!(followed.is_closed() && followed.time_us() == 60);

        followed.stage(10, status(LinkState::Connecting));
        followed.stage(12, status(LinkState::Up));
        followed.commit(8, 70);
        assert!(followed.is_closed(), "that isn't committed");
        followed.commit(9, 80);
        assert_eq!(followed.link().map(|link| link.state), Some(LinkState::Connecting));
        followed.cut();
        followed.commit(20, 90);
        assert_eq!(followed.link().map(|link| link.state), Some(LinkState::Connecting), "that was cut");
    }
}
