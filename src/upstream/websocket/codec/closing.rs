//! How far the end of a connection has come (RFC 6455, section 7). Pure.

/// Where a connection is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream::websocket) enum ClosingPhase {
    Open,
    /// Our close frame is out; the server's answer is awaited, and messages until then.
    Closing,
    /// The server's close frame is here; the end of TCP is awaited, nothing it says is listened to.
    Closed,
    /// Our close frame for the server's fault is on its way; nothing it says is listened to.
    Failing,
}

/// The closing handshake.
#[derive(Debug)]
pub(in crate::upstream::websocket) struct Closing {
    phase: ClosingPhase,
    /// Close with this once everything that was sent before is out.
    wanted: Option<(u16, &'static str)>,
}

impl Closing {
    /// A connection that is open.
    pub(in crate::upstream::websocket) fn new() -> Closing {
        Closing { phase: ClosingPhase::Open, wanted: None }
    }

    pub(in crate::upstream::websocket) fn phase(&self) -> ClosingPhase {
        self.phase
    }

    /// Whether what the server says still counts.
    pub(in crate::upstream::websocket) fn listens(&self) -> bool {
        matches!(self.phase, ClosingPhase::Open | ClosingPhase::Closing)
    }

    /// Whether a close waits for what is still to be sent.
    pub(in crate::upstream::websocket) fn is_draining(&self) -> bool {
        self.phase == ClosingPhase::Open && self.wanted.is_some()
    }

    /// Begins the handshake as soon as there is no more to send.
    pub(in crate::upstream::websocket) fn want(&mut self, code: u16, reason: &'static str) {
        if self.phase == ClosingPhase::Open {
            self.wanted = Some((code, reason));
        }
    }

    /// There is no more to send: what our close frame says, if it is to go out.
    pub(in crate::upstream::websocket) fn drained(&mut self) -> Option<Vec<u8>> {
        let (code, reason) = self.wanted.take()?;
        self.phase = ClosingPhase::Closing;
        Some(payload(code, reason))
    }

    /// The server's close frame is here: what ours says, if it is still to go out. The answer has the server's
    /// own code (5.5.1).
    pub(in crate::upstream::websocket) fn heard(&mut self, code: Option<u16>) -> Option<Vec<u8>> {
        let before = std::mem::replace(&mut self.phase, ClosingPhase::Closed);
        (before == ClosingPhase::Open).then(|| code.map_or_else(Vec::new, |code| payload(code, "")))
    }

    /// The server broke the rules: what our close frame says (7.1.7). None where one is out already, and there
    /// is no more to wait for.
    pub(in crate::upstream::websocket) fn fault(&mut self, code: u16, reason: &str) -> Option<Vec<u8>> {
        (self.phase == ClosingPhase::Open).then(|| {
            self.phase = ClosingPhase::Failing;
            payload(code, reason)
        })
    }
}

fn payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_close_waits_for_what_was_sent_before() {
        let mut closing = Closing::new();
        assert_eq!(closing.drained(), None, "nobody wants it");
        closing.want(1000, "bye");
        assert!(closing.is_draining() && closing.listens());
        assert_eq!(closing.drained(), Some(b"\x03\xe8bye".to_vec()));
        assert!(!closing.is_draining() && closing.listens(), "messages until the answer count");
        closing.want(1001, "again");
        assert_eq!((closing.drained(), closing.phase()), (None, ClosingPhase::Closing));
        assert_eq!(closing.heard(Some(1000)), None, "ours is out");
        assert!(!closing.listens());
    }

    #[test]
    fn the_servers_close_is_answered_with_its_code() {
        for (code, answer) in [(Some(1001), b"\x03\xe9".to_vec()), (None, Vec::new())] {
            let mut closing = Closing::new();
            closing.want(1000, "later");
            assert_eq!(closing.heard(code), Some(answer));
            assert_eq!(closing.phase(), ClosingPhase::Closed);
            assert!(!closing.is_draining());
        }
    }

    #[test]
    fn a_fault_is_told_once() {
        let mut closing = Closing::new();
        assert_eq!(closing.fault(1002, "no"), Some(b"\x03\xeano".to_vec()));
        assert_eq!((closing.phase(), closing.fault(1002, "no")), (ClosingPhase::Failing, None));
        let mut closing = Closing::new();
        closing.want(1000, "");
        closing.drained();
        assert_eq!(closing.fault(1002, "no"), None, "our close is out already");
    }
}
