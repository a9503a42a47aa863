//! Appends on their way to the stream, each of which expects the one before.

use std::collections::VecDeque;

use super::{
    Moment,
    batch::{Message, Nonce},
    events::{AppendId, Order},
};

/// How many are on their way at once. A former leader may leave one less in the stream behind the next one's first
/// message, where the numbers happen to fit.
pub(super) const MAX_IN_FLIGHT: usize = 4;

/// One of them.
#[derive(Debug)]
pub(super) struct Append {
    /// The newest try.
    id: AppendId,
    /// The last sequence that the stream must have.
    expect: u64,
    /// When the newest try was sent.
    sent: Moment,
    /// When the first one was: the one that is found in the stream may be that.
    first_sent: Moment,
    message: Message,
    acked: bool,
}

/// Those that aren't surely stored, in their order.
#[derive(Debug, Default)]
pub(super) struct Appends(VecDeque<Append>);

impl Append {
    /// A first try.
    pub(super) fn new(id: AppendId, expect: u64, now: Moment, message: Message) -> Append {
        Append { id, expect, sent: now, first_sent: now, message, acked: false }
    }

    /// One more try, with what the stream has now.
    pub(super) fn again(&mut self, id: AppendId, expect: u64, now: Moment) -> Order {
        (self.id, self.expect, self.sent, self.acked) = (id, expect, now, false);
        self.order()
    }

    pub(super) fn order(&self) -> Order {
        Order::Append { id: self.id, expect: self.expect, message: self.message.clone() }
    }

    pub(super) fn message(&self) -> &Message {
        &self.message
    }

    pub(super) fn nonce(&self) -> Nonce {
        self.message.header.nonce
    }

    pub(super) fn is(&self, id: AppendId) -> bool {
        self.id == id
    }

    /// Where it lies if it was stored as it was meant.
    pub(super) fn place(&self) -> u64 {
        self.expect + 1
    }

    /// When the newest try was sent.
    pub(super) fn sent(&self) -> Moment {
        self.sent
    }

    /// When the first try was sent.
    pub(super) fn first_sent(&self) -> Moment {
        self.first_sent
    }
}

impl Appends {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_IN_FLIGHT
    }

    /// The newest one.
    pub(super) fn newest(&self) -> Option<&Append> {
        self.0.back()
    }

    /// The oldest one.
    pub(super) fn oldest(&self) -> Option<&Append> {
        self.0.front()
    }

    pub(super) fn push(&mut self, append: Append) {
        debug_assert!(!self.is_full());
        self.0.push_back(append);
    }

    /// Whether the answer to this try is still waited for.
    pub(super) fn waits_for(&self, id: AppendId) -> bool {
        self.0.iter().any(|append| append.is(id) && !append.acked)
    }

    /// The stream says where it has stored one. False where that isn't where it was meant to be.
    pub(super) fn acked(&mut self, id: AppendId, place: u64) -> bool {
        let append = self.0.iter_mut().find(|append| append.is(id));
        append.is_none_or(|append| {
            append.acked = append.place() == place;
            append.acked
        })
    }

    /// Takes out the oldest one, if it is acknowledged: one behind it counts only when it does. (The stream takes an
    /// append where the numbers fit, whoever wrote what lies before.)
    pub(super) fn pop_acked(&mut self) -> Option<Append> {
        if self.oldest()?.acked { self.0.pop_front() } else { None }
    }

    /// Takes out the oldest one, if it is this: it was found in the stream.
    pub(super) fn pop_found(&mut self, nonce: Nonce) -> Option<Append> {
        if self.oldest()?.nonce() == nonce { self.0.pop_front() } else { None }
    }

    /// Tries all of them once more, behind what the stream has now.
    pub(super) fn again(
        &mut self,
        end: u64,
        now: Moment,
        mut id: impl FnMut() -> AppendId,
    ) -> impl Iterator<Item = Order> {
        self.0.iter_mut().zip(end..).map(move |(append, expect)| append.again(id(), expect, now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::machine::{Body, Header};

    fn append(n: u64) -> Append {
        let header = Header {
            epoch: "e".into(),
            term: 1,
            node: "a".into(),
            first: n,
            count: 1,
            nonce: Nonce(n),
            after: Some(Nonce(n - 1)),
            part: None,
            step_down: false,
            fingerprint: None,
            lease: None,
            counted: None,
        };
        let message = Message { header, body: Body::new(Vec::new()) };
        Append::new(AppendId(n), n + 9, Moment::after_boot(Duration::from_secs(n)), message)
    }

    fn three() -> Appends {
        let mut appends = Appends::default();
        (1..4).for_each(|n| appends.push(append(n)));
        appends
    }

    #[test]
    fn an_acknowledgement_counts_when_all_before_it_are_there() {
        let mut appends = three();
        assert!(appends.acked(AppendId(2), 12) && appends.pop_acked().is_none());
        assert!(appends.acked(AppendId(9), 99), "of a try that is past");
        assert!(!appends.waits_for(AppendId(2)) && appends.waits_for(AppendId(3)));
        assert!(appends.acked(AppendId(1), 11));
        assert_eq!(appends.pop_acked().map(|append| append.place()), Some(11));
        assert_eq!(appends.pop_acked().map(|append| append.place()), Some(12));
        assert!(appends.pop_acked().is_none());
        assert!(!appends.acked(AppendId(3), 99), "that is somewhere else");
        assert!(appends.pop_acked().is_none());
    }

    #[test]
    fn what_is_tried_again_expects_what_the_stream_has_now_and_an_older_answer_is_no_answer() {
        let mut appends = three();
        appends.acked(AppendId(2), 12);
        let now = Moment::after_boot(Duration::from_secs(50));
        let mut next = 20;
        let id = || {
            next += 1;
            AppendId(next)
        };
        let orders: Vec<Order> = appends.again(30, now, id).collect();
        let expected: Vec<_> = orders
            .iter()
            .map(|order| match order {
                Order::Append { id, expect, message } => (id.0, *expect, message.header.nonce.0),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(expected, [(21, 30, 1), (22, 31, 2), (23, 32, 3)]);
        assert!(appends.acked(AppendId(1), 11) && appends.pop_acked().is_none());
        let oldest = appends.oldest().unwrap();
        assert_eq!(oldest.sent() - oldest.first_sent(), Duration::from_secs(49));
        assert!(appends.pop_found(Nonce(2)).is_none() && appends.pop_found(Nonce(1)).is_some());
    }
}
