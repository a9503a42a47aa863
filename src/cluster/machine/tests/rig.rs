//! One machine, told event by event, and what it wants for each.

use std::time::Duration;

use crate::cluster::machine::{
    Answer, AppendId, AskId, Body, Event, Header, Machine, Message, Moment, Opening, Order, ReadId, Settings,
    Standing, Stored, Wanted, batch::Nonce, opening,
};

pub(super) const LEASE: Duration = Duration::from_secs(2);
pub(super) const MS: Duration = Duration::from_millis(1);

/// A machine, and what the stream holds.
pub(super) struct Rig {
    pub(super) machine: Machine,
    pub(super) now: Moment,
    pub(super) stream: Vec<Stored>,
    pub(super) reading: Option<ReadId>,
}

/// What an order says of an append.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) id: AppendId,
    pub(super) expect: u64,
    pub(super) message: Message,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Rig {
        let mut settings = Settings { max_batch: 100, max_unacked: 1_000, ..Settings::new("a", LEASE) };
        change(&mut settings);
        let now = Moment::after_boot(Duration::from_secs(1_000));
        Rig { machine: Machine::new(now, settings, 1), now, stream: Vec::new(), reading: None }
    }

    /// Tells it, and gives its orders, but for the reading.
    pub(super) fn tell(&mut self, event: Event) -> Vec<Order> {
        self.machine.handle(self.now, event);
        let mut orders: Vec<Order> = std::iter::from_fn(|| self.machine.poll_order()).collect();
        orders.retain(|order| match order {
            Order::Read { id, .. } => {
                self.reading = Some(*id);
                false
            }
            Order::StopReading => false,
            _ => true,
        });
        orders
    }

    pub(super) fn after(&mut self, time: Duration) -> Vec<Order> {
        self.now = self.now + time;
        self.tell(Event::Timeout)
    }

    /// Goes on to the moment that it asks for, which is no later than this from now.
    pub(super) fn next_within(&mut self, time: Duration) -> Vec<Order> {
        let next = self.machine.next_timeout().expect("it waits for something");
        assert!(next - self.now <= time, "{:?} is later than {time:?}", next - self.now);
        self.now = self.now.max(next);
        self.tell(Event::Timeout)
    }

    /// An append is refused, and it asks, sooner or later.
    pub(super) fn refuse(&mut self, id: AppendId) -> Vec<Order> {
        let orders = self.tell(Event::Refused(id));
        if orders.is_empty() { self.next_within(LEASE / 80) } else { orders }
    }

    pub(super) fn answer(&mut self, orders: &[Order]) -> Vec<Order> {
        let (id, from) = asked(orders);
        let messages = self.stream.iter().filter(|stored| stored.place >= from).cloned().collect();
        let last = self.last();
        self.tell(Event::Answer(Answer { id, last, covered: last, messages }))
    }

    pub(super) fn standing(&self) -> Standing {
        self.machine.standing(self.now)
    }

    pub(super) fn last(&self) -> u64 {
        self.stream.last().map_or(0, |stored| stored.place)
    }

    /// The stream stores this.
    pub(super) fn store(&mut self, message: &Message) -> u64 {
        let place = self.last() + 1;
        let body = message.body.bytes().to_vec();
        self.stream.push(Stored { place, header: Some(message.header.clone()), body });
        place
    }

    pub(super) fn write_stray(&mut self) {
        let place = self.last() + 1;
        self.stream.push(Stored { place, header: None, body: b"?".to_vec() });
    }

    /// The stream stores it, and says so.
    pub(super) fn ack(&mut self, sent: &Sent) -> Vec<Order> {
        assert_eq!(sent.expect, self.last());
        let place = self.store(&sent.message);
        self.tell(Event::Acked(sent.id, place))
    }

    /// From the start to the opening of the first term.
    pub(super) fn stand(&mut self) -> Sent {
        let orders = self.tell(Event::NatsUp);
        self.answer(&orders);
        self.next_within(LEASE + 100 * MS);
        self.open()
    }

    pub(super) fn open(&mut self) -> Sent {
        let orders = self.tell(Event::Opened { term: 1, lines: lines_of_opening(1) });
        appends(&orders).remove(0)
    }

    /// The leader of the first term, with its link.
    pub(super) fn led() -> Rig {
        let mut rig = Rig::new();
        rig.lead();
        rig
    }

    pub(super) fn lead(&mut self) {
        let opening = self.stand();
        let orders = self.ack(&opening);
        assert!(orders.contains(&Order::StartLink));
    }

    /// So many short entries are staged, and all that is wanted of them is given, one a message.
    pub(super) fn stage(&mut self, first: u64, count: u64) -> Vec<Sent> {
        let mut orders = self.tell(Event::Staged { end: first + count, bytes: 60 * count as usize });
        while let Some(Wanted { first, .. }) = self.machine.wanted() {
            orders.extend(self.tell(Event::Lines { first, end: first + 1, lines: line(first) }));
        }
        appends(&orders)
    }
}

pub(super) fn lines_of_opening(first: u64) -> Vec<u8> {
    let after_us = (first > 1).then_some(1);
    opening(&Opening { first, time_us: 1, node: "a", term: 1, conn: 0, closed: false, after_us })
}

pub(super) fn line(seq: u64) -> Vec<u8> {
    format!("{{\"type\":\"message\",\"seq\":{seq},\"time_us\":1,\"json\":0}}\n").into_bytes()
}

pub(super) fn appends(orders: &[Order]) -> Vec<Sent> {
    let sent = orders.iter().filter_map(|order| match order.clone() {
        Order::Append { id, expect, message } => Some(Sent { id, expect, message }),
        _ => None,
    });
    sent.collect()
}

pub(super) fn asked(orders: &[Order]) -> (AskId, u64) {
    let found = orders.iter().rev().find_map(|order| match order {
        Order::Ask { id, from } => Some((*id, *from)),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("it asks: {orders:?}"))
}

pub(super) fn commits(orders: &[Order]) -> Vec<u64> {
    let through = orders.iter().filter_map(|order| match order {
        Order::Commit { through } => Some(*through),
        _ => None,
    });
    through.collect()
}

/// Another node's first message of the second term.
pub(super) fn second_term(rig: &Rig) -> Message {
    let tip = rig.stream.iter().rev().find_map(|stored| stored.header.clone()).unwrap();
    let (first, after) = (tip.end(), Some(tip.nonce));
    let nonce = Nonce(77);
    let header = Header {
        term: 2,
        node: "b".into(),
        first,
        count: 2,
        after,
        nonce,
        part: None,
        step_down: false,
        ..tip
    };
    Message { header, body: Body::new(lines_of_opening(first)) }
}
