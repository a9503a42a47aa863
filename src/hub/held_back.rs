//! What clients ask whose older sends may still come back from another machine: their order must hold.

use std::{collections::BTreeSet, rc::Rc};

use tokio::sync::Notify;

use super::{Command, Hub};

/// These clients, and what they have asked meanwhile: as many sends as the lane lets in, and what else comes until whoever
/// takes it has its turn, which is the next one.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    clients: BTreeSet<u64>,
    asked: Vec<Command>,
    /// Whoever takes it.
    stirred: Rc<Notify>,
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
        self.stirred.notify_one();
        None
    }
}

impl Hub {
    /// Holds back what these clients ask of the link from now on, and what others ask no more. Each time something is,
    /// `stirred` is notified: see [`Hub::take_held_back`].
    pub fn hold_back(&self, clients: BTreeSet<u64>, stirred: &Rc<Notify>) {
        let mut held_back = self.0.common.held_back.borrow_mut();
        (held_back.clients, held_back.stirred) = (clients, Rc::clone(stirred));
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
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;
    use crate::{
        config::History,
        hub::{Origin, Payload, Permit, Send, Ticket},
    };

    fn send(client: u64) -> Command {
        let ticket = Ticket::new(Permit::of(&Rc::new(Origin::new(7, client))), |_| {});
        Command::Send(Send::new(Payload::Text(client.to_string()), ticket, 0))
    }

    #[test]
    fn what_waits_for_room_when_its_client_is_held_back_is_held_too() {
        let hub = Hub::new("test".into(), &History::default(), false);
        let (_publisher, mut commands) = hub.publisher().expect("it is the first");
        while hub.offer(send(3)).is_ok() {}
        let (mut held, mut other) = (pin!(hub.command(send(1))), pin!(hub.command(send(2))));
        assert!(held.as_mut().now_or_never().is_none() && other.as_mut().now_or_never().is_none());
        hub.hold_back([1].into(), &Rc::default());
        while commands.try_recv().is_some() {}
        assert_eq!((held.now_or_never(), other.now_or_never()), (Some(true), Some(true)));
        let client = |command: Command| match command {
            Command::Send(send) => send.ticket.from().client,
            other => panic!("{other:?}"),
        };
        assert_eq!(commands.try_recv().map(client), Some(2));
        assert!(commands.try_recv().is_none());
        assert_eq!(hub.take_held_back().into_iter().map(client).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn what_some_clients_ask_waits_and_what_others_ask_does_not() {
        let hub = Hub::new("test".into(), &History::default(), false);
        let (_publisher, mut commands) = hub.publisher().expect("it is the first");
        let ask = |client| assert!(hub.offer(send(client)).is_ok());
        let client = |command: Command| match command {
            Command::Send(send) => send.ticket.from().client,
            other => panic!("{other:?}"),
        };
        let stirred = Rc::default();
        let is_stirred = || Notify::notified(&stirred).now_or_never().is_some();
        hub.hold_back([1, 2].into(), &stirred);
        ask(3);
        assert!(!is_stirred(), "nothing is held back");
        [1, 2, 1].into_iter().for_each(ask);
        assert!(is_stirred());
        assert!(hub.offer(Command::Close).is_ok());
        assert_eq!(commands.try_recv().map(client), Some(3));
        assert!(matches!(commands.try_recv(), Some(Command::Close)) && commands.try_recv().is_none());
        hub.hold_back([2].into(), &stirred);
        ask(1);
        assert_eq!(commands.try_recv().map(client), Some(1));
        let held: Vec<u64> = hub.take_held_back().into_iter().map(client).collect();
        assert!(held == [1, 2, 1] && hub.holds_back());
        hub.hold_back(BTreeSet::new(), &stirred);
        assert!(!hub.holds_back());
    }
}
