//! NATS, as one place: the stream, and messages between nodes. Everything takes [`DELAY`], and comes in order.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    cluster::{
        machine::{Answer, AppendId, AskId, Event, Message, ReadId, Stored, tests::stream::Stream},
        nats::{Arrival, Arrivals, Incoming, Nats, simulated},
    },
    config,
};

/// What anything takes to come.
const DELAY: Duration = Duration::from_millis(1);

/// What a new connection takes.
const CONNECT: Duration = Duration::from_millis(5);

/// A stream that isn't found is looked for once more, after so long.
const CONFIRM: Duration = Duration::from_millis(200);

/// So many messages are in one answer.
const FEW: usize = 64;

/// All servers.
#[derive(Clone, Default)]
pub(super) struct Servers(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    stream: Stream,
    is_gone: bool,
    wires: Vec<Wire>,
    count: u64,
}

/// A node's connection.
#[derive(Default)]
struct Wire {
    inbox: String,
    heard: BTreeSet<String>,
    /// As far as the node knows.
    is_up: bool,
    /// Nothing comes through, either way.
    is_cut: bool,
    /// What it reads, and the next place.
    reading: Option<(ReadId, u64)>,
    /// Nothing that it reads comes.
    is_stalled: bool,
    coming: BTreeMap<(Instant, u64), Arrival>,
    waker: Option<Waker>,
}

/// What stands in for it at the node.
struct Way {
    servers: Servers,
    wire: usize,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Servers {
    /// A new connection, and its number.
    pub(super) fn connect(&self, cluster: &config::Cluster) -> (usize, (Nats, Arrivals)) {
        let wire = self.0.borrow().wires.len();
        let ends = simulated::connect(cluster, |inbox| {
            self.0.borrow_mut().wires.push(Wire { inbox: inbox.to_owned(), ..Wire::default() });
            Box::new(Way { servers: self.clone(), wire, sleep: None })
        });
        self.0.borrow_mut().tell(wire, CONNECT, Event::NatsUp);
        (wire, ends)
    }

    /// Nothing comes through any more, which the node notices after a while.
    pub(super) fn cut(&self, wire: usize, noticed_after: Duration) {
        let mut inner = self.0.borrow_mut();
        let cut = &mut inner.wires[wire];
        (cut.is_cut, cut.reading) = (true, None);
        cut.coming.clear();
        inner.tell(wire, noticed_after, Event::NatsDown);
    }

    /// The node finds a server again. It has noticed that the one before was gone.
    pub(super) fn join(&self, wire: usize) {
        let mut inner = self.0.borrow_mut();
        assert!(!inner.wires[wire].is_up, "it knows that there is none");
        inner.wires[wire].is_cut = false;
        inner.tell(wire, CONNECT, Event::NatsUp);
    }

    /// What the node reads stands still, or goes on.
    pub(super) fn stall(&self, wire: usize, is_stalled: bool) {
        let mut inner = self.0.borrow_mut();
        inner.wires[wire].is_stalled = is_stalled;
        inner.pump(wire);
    }

    /// The stream is deleted.
    pub(super) fn delete(&self) {
        let mut inner = self.0.borrow_mut();
        inner.stream.begin_anew();
        inner.is_gone = true;
        for wire in 0..inner.wires.len() {
            inner.wires[wire].reading = None;
            if inner.wires[wire].is_up {
                inner.tell(wire, DELAY, Event::NatsDown);
                inner.tell(wire, DELAY + CONFIRM, Event::StreamGone);
            }
        }
    }

    /// It has lost all that it had stored.
    pub(super) fn lose(&self) {
        self.0.borrow_mut().stream.begin_anew();
    }

    /// It is made again.
    pub(super) fn make(&self) {
        let mut inner = self.0.borrow_mut();
        inner.is_gone = false;
        (0..inner.wires.len()).for_each(|wire| inner.tell(wire, CONNECT, Event::NatsUp));
    }

    /// What the stream holds.
    pub(super) fn stored(&self) -> Vec<Stored> {
        self.0.borrow().stream.from(0).cloned().collect()
    }
}

impl Inner {
    fn tell(&mut self, wire: usize, after: Duration, event: Event) {
        self.send(wire, after, Arrival::Event(event));
    }

    fn send(&mut self, wire: usize, after: Duration, arrival: Arrival) {
        self.count += 1;
        let to = &mut self.wires[wire];
        to.coming.insert((Instant::now() + after, self.count), arrival);
        if let Some(waker) = to.waker.take() {
            waker.wake();
        }
    }

    /// Whether what this node asks is answered; one that has no connection is told so at once.
    fn hears(&mut self, wire: usize, or: Event) -> bool {
        let Wire { is_up, is_cut, .. } = self.wires[wire];
        if !is_up {
            self.tell(wire, Duration::ZERO, or);
        } else if self.is_gone && !is_cut {
            self.tell(wire, DELAY, or);
        } else {
            return !is_cut;
        }
        false
    }

    /// What is new in the stream goes out to who reads it.
    fn pump(&mut self, wire: usize) {
        let Wire { reading: Some((id, next)), is_stalled: false, is_cut: false, .. } = self.wires[wire]
        else {
            return;
        };
        let news: Vec<Stored> = self.stream.from(next).cloned().collect();
        self.wires[wire].reading = Some((id, self.stream.last() + 1));
        news.into_iter().for_each(|stored| self.tell(wire, DELAY, Event::Read(id, stored)));
    }
}

impl simulated::Way for Way {
    fn append(&mut self, id: AppendId, expect: u64, message: &Message) {
        let inner = &mut *self.servers.0.borrow_mut();
        if inner.hears(self.wire, Event::Unclear(id)) {
            let event = match inner.stream.append(expect, message) {
                Some(place) => Event::Acked(id, place),
                None => Event::Refused(id),
            };
            inner.tell(self.wire, DELAY, event);
            (0..inner.wires.len()).for_each(|wire| inner.pump(wire));
        }
    }

    fn ask(&mut self, id: AskId, from: u64) {
        let inner = &mut *self.servers.0.borrow_mut();
        if inner.hears(self.wire, Event::NoAnswer(id)) {
            let messages: Vec<Stored> = inner.stream.from(from).take(FEW).cloned().collect();
            let last = inner.stream.last();
            let newest = messages.last().filter(|_| messages.len() == FEW);
            let covered = newest.map_or(last, |newest| newest.place);
            inner.tell(self.wire, DELAY, Event::Answer(Answer { id, last, covered, messages }));
        }
    }

    fn read(&mut self, id: ReadId, after: u64) {
        let inner = &mut *self.servers.0.borrow_mut();
        let wire = &mut inner.wires[self.wire];
        if wire.is_up && !wire.is_cut && !inner.is_gone {
            wire.reading = Some((id, after + 1));
            inner.pump(self.wire);
        }
    }

    fn stop_reading(&mut self) {
        self.servers.0.borrow_mut().wires[self.wire].reading = None;
    }

    fn hear(&mut self, subject: &str) {
        self.servers.0.borrow_mut().wires[self.wire].heard.insert(subject.to_owned());
    }

    fn hear_no_more(&mut self, subject: &str) {
        self.servers.0.borrow_mut().wires[self.wire].heard.remove(subject);
    }

    fn say(&mut self, subject: String, reply: Option<String>, payload: Vec<u8>) {
        let inner = &mut *self.servers.0.borrow_mut();
        let from = &inner.wires[self.wire];
        if !from.is_up || from.is_cut {
            return;
        }
        let hears = |wire: &Wire| {
            let is_own = subject.strip_prefix(&wire.inbox).is_some_and(|rest| rest.starts_with('.'));
            wire.is_up && !wire.is_cut && (is_own || wire.heard.contains(&subject))
        };
        let hearers: Vec<usize> = (0..inner.wires.len()).filter(|wire| hears(&inner.wires[*wire])).collect();
        if let (true, Some(reply)) = (hearers.is_empty(), &reply) {
            let nobody =
                Incoming { subject: reply.clone(), reply: None, status: Some(503), payload: Vec::new() };
            inner.send(self.wire, DELAY, Arrival::Message(nobody));
        }
        for wire in hearers {
            let (subject, reply, payload) = (subject.clone(), reply.clone(), payload.clone());
            let message = Incoming { subject, reply, status: None, payload };
            inner.send(wire, DELAY, Arrival::Message(message));
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        loop {
            let mut inner = self.servers.0.borrow_mut();
            let wire = &mut inner.wires[self.wire];
            let Some(first) = wire.coming.first_entry() else {
                wire.waker = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let at = first.key().0;
            if at <= Instant::now() {
                let arrival = first.remove();
                match &arrival {
                    Arrival::Event(Event::NatsUp) => wire.is_up = true,
                    Arrival::Event(Event::NatsDown) => wire.is_up = false,
                    _ => {}
                }
                return Poll::Ready(arrival);
            }
            wire.waker = Some(cx.waker().clone());
            let sleep = self.sleep.insert(Box::pin(sleep_until(at)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        let mut inner = self.servers.0.borrow_mut();
        let Wire { heard, is_up, reading, coming, .. } = &mut inner.wires[self.wire];
        (*is_up, *reading) = (false, None);
        heard.clear();
        coming.clear();
    }
}
