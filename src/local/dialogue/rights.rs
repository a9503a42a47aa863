//! Who may do what. Pure.

use crate::{
    config::{Listener, Rights},
    protocol::Op,
};

/// The rights of a client whose peer has `uid`: its listener's, or every one for root and for the
/// daemon's own user, unless the listener says that they are like others.
pub(in crate::local) fn of(listener: &Listener, uid: u32, own_uid: u32) -> Rights {
    match listener.privileged && (uid == 0 || uid == own_uid) {
        true => Rights { receive: true, send: true, control: true },
        false => listener.rights,
    }
}

/// The name of the right that `op` needs and `rights` lack.
pub(in crate::local) fn missing(rights: Rights, op: &Op<'_>) -> Option<&'static str> {
    let (has, name) = match op {
        Op::Send(_) | Op::Unit { .. } => (rights.send, "send"),
        Op::Attach { .. } => (rights.receive, "receive"),
        Op::Reconnect | Op::Close | Op::Open | Op::Reload => (rights.control, "control"),
        Op::Status | Op::Ping => (true, ""),
    };
    (!has).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Content;

    const NONE: Rights = Rights { receive: false, send: false, control: false };

    #[test]
    fn root_and_the_daemons_own_user_have_every_right() {
        let all = Rights { receive: true, send: true, control: true };
        let mut listener = Listener { rights: NONE, ..Listener::new("/s") };
        for (uid, rights) in [(0, all), (1000, all), (1001, NONE)] {
            assert_eq!(of(&listener, uid, 1000), rights, "{uid}");
        }
        listener.privileged = false;
        for uid in [0, 1000, 1001] {
            assert_eq!(of(&listener, uid, 1000), NONE, "{uid}");
        }
    }

    #[test]
    fn each_op_needs_its_right() {
        let ops = [
            (Op::Send(Content::Text("".into())), Some("send")),
            (Op::Unit { messages: vec![] }, Some("send")),
            (Op::Attach { since: None }, Some("receive")),
            (Op::Reconnect, Some("control")),
            (Op::Close, Some("control")),
            (Op::Open, Some("control")),
            (Op::Reload, Some("control")),
            (Op::Status, None),
            (Op::Ping, None),
        ];
        for (op, right) in ops {
            assert_eq!(missing(NONE, &op), right, "{op:?}");
            assert_eq!(missing(of(&Listener::new("/s"), 0, 0), &op), None, "{op:?}");
        }
    }
}
