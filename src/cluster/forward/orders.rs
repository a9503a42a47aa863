//! Orders to the link, which any leader may take, and cancellations.

use std::time::{Duration, Instant};

use super::{
    Forward,
    handed::Handed,
    words::{Ask, Order},
};
use crate::hub::{Cancellation, NoAnswer};

/// So many orders wait for a leader, and for so long.
const MAX_ORDERS: usize = 64;
const ORDERS_WAIT: Duration = Duration::from_secs(60);
/// So many cancellations wait for word.
const MAX_CANCELS: usize = 1024;
/// An order that waits.
#[derive(Debug)]
pub(super) struct Waits {
    pub(super) order: Order,
    /// The term and the link's connection when it was given, as far as they were known; else 0.
    pub(super) given: (u64, u64),
    pub(super) until: Instant,
    /// In which session it was said, and where that ended.
    pub(super) said: Option<(u64, u64)>,
}

impl Forward {
    pub(super) fn order(&mut self, now: Instant, order: Order) {
        if self.orders.len() >= MAX_ORDERS {
            self.orders.pop_front();
        }
        self.orders.push_back(Waits { order, given: self.present, until: now + ORDERS_WAIT, said: None });
    }

    pub(super) fn say_orders(&mut self, now: Instant) {
        let is_due = self.leader.is_some() && self.unheard_until.is_none();
        if !is_due || self.orders.iter().all(|waits| waits.said.is_some()) {
            return;
        }
        self.session(now);
        let Some(session) = &mut self.session else { return };
        for waits in self.orders.iter_mut().filter(|waits| waits.said.is_none()) {
            let end = session.say(&Ask::Control { order: waits.order }, &[]);
            waits.said = Some((session.number, end));
        }
    }

    /// There is another connection than the one that was to be replaced: nothing is left to do.
    pub(super) fn end_reconnects(&mut self) {
        let present = self.present;
        self.orders.retain(|waits| {
            let is_over = waits.order == Order::Reconnect && waits.given.0 > 0 && waits.given < present;
            !is_over || waits.said.is_some()
        });
    }

    pub(super) fn cancel(&mut self, cancellation: Cancellation) {
        let Cancellation { from, request, tell } = cancellation;
        if self.line.cancel(from.client, request.get()) {
            return tell(true);
        }
        let is_it = |handed: &Handed| handed.is_request(from.client, request.get());
        let Some((n, handed)) = self.handed.iter_mut().find(|(_, handed)| is_it(handed)) else {
            return tell(false);
        };
        let (n, number) = (*n, handed.session);
        match &mut self.session {
            Some(session) if session.number == number && self.cancels.len() < MAX_CANCELS => {
                if self.leader.is_none() {
                    // it is over here, and there when the leader hears of it
                    session.say(&Ask::Quit { n }, &[]);
                    handed.fail(NoAnswer::Cancelled);
                    return tell(true);
                }
                self.next += 1;
                let request = request.get().to_owned();
                session.say(&Ask::Cancel { n: self.next, client: from.client, request }, &[]);
                self.cancels.insert(self.next, (number, tell));
            }
            _ => {
                handed.fail(NoAnswer::Cancelled);
                tell(true);
            }
        }
    }

    /// Gives up orders that no leader has taken in time.
    pub(super) fn end_orders(&mut self, now: Instant) {
        while self.orders.front().is_some_and(|waits| waits.until <= now) {
            let late = self.orders.pop_front().map(|late| late.order);
            tracing::warn!(order = ?late, "no leader has taken an order to the link in time");
        }
    }
}
