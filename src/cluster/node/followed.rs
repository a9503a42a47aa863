//! What the log's entries say of the link: its status on a machine that hasn't the link, and for the next term. Pure.

use crate::hub::{LinkState, LinkStatus};

/// The link, by the newest entries that are surely in the log.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// By the newest `link` entry; none before the first that this node has seen.
    link: Option<LinkStatus>,
    /// When the newest entry was made, in microseconds since the Unix epoch.
    time_us: u64,
}

impl Followed {
    /// An entry of another machine's.
    pub(super) fn read(&mut self, time_us: u64, line: &[u8]) {
        self.time_us = time_us;
        if let Some(status) = LinkStatus::of_line(line) {
            self.link = Some(status);
        }
    }

    /// The leader says how the link is by an entry that this node will never have. True where it has none that is newer.
    pub(super) fn learn(&mut self, line: &str) -> bool {
        if self.link.is_none() {
            self.link = LinkStatus::of_line(line.as_bytes());
            return self.link.is_some();
        }
        false
    }

    /// Entries of this node's own are committed: when the newest was made, where that is known, and how the link is by
    /// them, where they say it.
    pub(super) fn commit(&mut self, time_us: Option<u64>, link: Option<LinkStatus>) {
        self.time_us = time_us.unwrap_or(self.time_us);
        self.link = link.or_else(|| self.link.take());
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
    fn what_the_log_has_let_go_of_is_learnt_from_the_leader() {
        let mut followed = Followed::default();
        followed.read(60, b"{\"type\":\"message\",\"seq\":8,\"time_us\":60,\"text\":\"x\"}\n");
        assert!(!followed.learn("nonsense") && followed.link().is_none());
        let up = LinkStatus { url: "ws://h/".into(), ..status(LinkState::Up) };
        assert!(followed.learn(&String::from_utf8(up.line(None)).unwrap()));
        assert_eq!(followed.link(), Some(&up));
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

        assert!(
            !followed.learn("{\"type\":\"link\",\"time_us\":40,\"state\":\"up\",\"conn\":8}\n"),
            "that is older"
        );
        followed.commit(Some(70), None);
        assert!(followed.is_closed() && followed.time_us() == 70);
        followed.commit(Some(80), Some(status(LinkState::Connecting)));
        assert_eq!(followed.link().map(|link| link.state), Some(LinkState::Connecting));
        followed.commit(None, None);
        assert_eq!((followed.time_us(), followed.is_closed()), (80, false));
    }
}
