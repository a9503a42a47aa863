//! What clients ask whose older sends may still come back from another machine: their order must hold.

use std::collections::BTreeSet;

use super::{Command, Hub};

/// These clients, and what they have asked meanwhile: as much as the lane lets in.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    clients: BTreeSet<u64>,
    asked: Vec<Command>,
}

impl HeldBack {
    /// Holds a command back, or gives it back where it isn't to be held.
    pub(super) fn hold(&mut self, command: Command) -> Option<Command> {
        if self.clients.is_empty() {
            return Some(command); // as nearly always
        }
        let client = match &command {
            Command::Send(send) => send.ticket.from().client,
            Command::Cancel(cancellation) => cancellation.from.client,
            _ => return Some(command),
        };
        if !self.clients.contains(&client) {
            return Some(command);
        }
        self.asked.push(command);
        None
    }
}

impl Hub {
    /// Holds back what these clients ask of the link from now on, and what others ask no more: see [`Hub::take_held_back`].
    pub fn hold_back(&self, clients: BTreeSet<u64>) {
        self.0.common.held_back.borrow_mut().clients = clients;
    }

    /// Whether something is held back, or may be.
    pub fn holds_back(&self) -> bool {
        let held_back = self.0.common.held_back.borrow();
        !held_back.clients.is_empty() || !held_back.asked.is_empty()
    }

    /// Takes what was held back, each client's in its order.
    pub fn take_held_back(&self) -> Vec<Command> {
        std::mem::take(&mut self.0.common.held_back.borrow_mut().asked)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        config::History,
        hub::{Origin, Payload, Permit, Send, Ticket},
    };

    #[test]
    fn what_some_clients_ask_waits_and_what_others_ask_does_not() {
        let hub = Hub::new("test".into(), &History::default(), false);
        let (_publisher, mut commands) = hub.publisher().expect("it is the first");
        let ask = |client| {
            let ticket = Ticket::new(Permit::of(&Rc::new(Origin::new(7, client))), |_| {});
            let send = Send::new(Payload::Text(client.to_string()), ticket, 0);
            assert!(hub.offer(Command::Send(send)).is_ok());
        };
        let client = |command: Command| match command {
            Command::Send(send) => send.ticket.from().client,
            other => panic!("{other:?}"),
        };
        hub.hold_back([1, 2].into());
        [1, 3, 2, 1].into_iter().for_each(ask);
        assert!(hub.offer(Command::Close).is_ok());
        assert_eq!(commands.try_recv().map(client), Some(3));
        assert!(matches!(commands.try_recv(), Some(Command::Close)) && commands.try_recv().is_none());
        hub.hold_back([2].into());
        ask(1);
        assert_eq!(commands.try_recv().map(client), Some(1));
        let held: Vec<u64> = hub.take_held_back().into_iter().map(client).collect();
        assert!(held == [1, 2, 1] && hub.holds_back());
        hub.hold_back(BTreeSet::new());
        assert!(!hub.holds_back());
    }
}
