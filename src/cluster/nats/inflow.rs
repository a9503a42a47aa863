//! What has come from NATS and isn't taken in yet, bounded in bytes.
//!
//! NATS's client reads its socket whatever becomes of it, and bounds what waits by number alone. So a task of its own
//! takes out all that it has at once, whether or not the node has time for it, and counts it here. Between two turns of
//! that task, on a current-thread runtime, the client reads 128 times at most.

use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;

use super::received::Received;

/// So many bytes of what other nodes say may wait here, for this node's own address and for each other that it hears: who
/// may ask how the nodes are takes no room from what they say to each other. What comes beyond them is lost, as NATS may
/// lose it: beats come again, questions are asked again, and what is sent is said again until it is heard.
pub(super) const MAX_SAID: usize = 8 << 20;

/// So many bytes of the stream and of JetStream's answers may wait here, beyond which the connection is given up: JetStream
/// sends 32 MiB of the stream at most before it hears that they were taken (as the network counts them), and no more
/// answers than were asked for.
pub(super) const MAX_STREAM: usize = 64 << 20;

/// What a subscription is for. What JetStream answers is taken in first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// What JetStream answers.
    Answers,
    /// What comes to this node's own address.
    Inbox,
    /// What comes to another that it hears.
    Heard(String),
    /// What comes from the stream's consumer.
    Read,
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// An answer of JetStream's.
    Answer(Received),
    /// What another node says.
    Said(Received),
    /// From the stream's consumer.
    Read(Received),
    /// More was said than there is room for, and some of it is lost.
    Overrun,
    /// There is no room for what JetStream sends.
    Flooded,
    /// The connection is lost.
    Lost,
}

/// What waits to be taken in.
pub(super) struct Inflow {
    shared: Arc<Mutex<Shared>>,
    drain: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    subscribers: BTreeMap<Place, Subscriber>,
    waiting: Waiting,
    is_lost: bool,
    /// The drain, and who takes in what it has drained.
    wakers: [Option<Waker>; 2],
}

const DRAIN: usize = 0;
const NODE: usize = 1;

/// What waits. Pure.
#[derive(Debug, Default)]
struct Waiting {
    answers: Queue,
    inbox: Queue,
    /// By subject; the one whose turn it was last is the last.
    heard: VecDeque<(String, Queue)>,
    read: Queue,
    /// What was said came last.
    said_last: bool,
    is_overrun: bool,
    is_flooded: bool,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Received>,
    bytes: usize,
}

impl Inflow {
    /// One in which nothing waits. Within a current-thread runtime.
    pub(super) fn new() -> Inflow {
        let shared = Arc::<Mutex<Shared>>::default();
        let draining = Arc::clone(&shared);
        // in one turn as much as there is, however much that is
        let drain = tokio::task::unconstrained(poll_fn(move |cx| lock(&draining).drain(cx)));
        Inflow { shared, drain: tokio::spawn(drain) }
    }

    /// Takes from this subscription, instead of the one of the same place before.
    pub(super) fn set(&self, place: Place, subscriber: Subscriber) {
        let mut shared = lock(&self.shared);
        shared.forget(&place);
        shared.subscribers.insert(place, subscriber);
        shared.wake(DRAIN);
    }

    /// Takes no more from it, nor what has come.
    pub(super) fn remove(&self, place: &Place) {
        lock(&self.shared).forget(place);
    }

    /// The next of what has come.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Came> {
        let mut shared = lock(&self.shared);
        match shared.waiting.next() {
            Some(came) => Poll::Ready(came),
            None if shared.is_lost => Poll::Ready(Came::Lost),
            None => {
                shared.wakers[NODE] = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        self.drain.abort();
    }
}

impl Shared {
    /// Takes out all that the subscriptions have; ready when nothing is to come any more.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Shared { subscribers, waiting, is_lost, .. } = self;
        let mut has_come = false;
        for (place, subscriber) in subscribers.iter_mut() {
            while !waiting.is_flooded
                && let Poll::Ready(message) = subscriber.poll_next_unpin(cx)
            {
                has_come = true;
                let Some(message) = message else {
                    *is_lost = true;
                    break;
                };
                waiting.take(place, Received::new(&message, *place == Place::Read));
            }
        }
        if has_come {
            self.wake(NODE);
        }
        if self.is_lost || self.waiting.is_flooded {
            self.subscribers.clear(); // nothing more is kept for them
            return Poll::Ready(());
        }
        self.wakers[DRAIN] = Some(cx.waker().clone());
        Poll::Pending
    }

    fn forget(&mut self, place: &Place) {
        self.subscribers.remove(place);
        self.waiting.forget(place);
    }

    fn wake(&mut self, which: usize) {
        if let Some(waker) = self.wakers[which].take() {
            waker.wake();
        }
    }
}

impl Waiting {
    fn take(&mut self, place: &Place, message: Received) {
        let stream = self.answers.bytes + self.read.bytes;
        let (queue, room) = match place {
            Place::Answers => (&mut self.answers, MAX_STREAM - stream),
            Place::Read => (&mut self.read, MAX_STREAM - stream),
            Place::Inbox => with_room(&mut self.inbox),
            Place::Heard(subject) => with_room(self.heard(subject)),
        };
        if message.size() <= room {
            queue.push(message);
        } else if matches!(place, Place::Inbox | Place::Heard(_)) {
            self.is_overrun = true;
        } else {
            *self = Waiting { is_flooded: true, ..Waiting::default() };
        }
    }

    fn heard(&mut self, subject: &str) -> &mut Queue {
        let at = self.heard.iter().position(|(heard, _)| heard == subject).unwrap_or_else(|| {
            self.heard.push_front((subject.to_owned(), Queue::default()));
            0
        });
        &mut self.heard[at].1
    }

    fn next(&mut self) -> Option<Came> {
        if self.is_flooded {
            return Some(Came::Flooded);
        }
        if std::mem::take(&mut self.is_overrun) {
            return Some(Came::Overrun);
        }
        if let Some(answer) = self.answers.pop() {
            return Some(Came::Answer(answer));
        }
        // in turns: neither keeps the other waiting
        let said_first = !std::mem::replace(&mut self.said_last, false) || self.read.messages.is_empty();
        if said_first && let Some(said) = self.next_said() {
            self.said_last = true;
            return Some(Came::Said(said));
        }
        self.read.pop().map(Came::Read)
    }

    /// What was said to this node alone, before what each of the others was told, in turns.
    fn next_said(&mut self) -> Option<Received> {
        self.inbox.pop().or_else(|| {
            let at = self.heard.iter().position(|(_, queue)| !queue.messages.is_empty())?;
            let (subject, mut queue) = self.heard.remove(at)?;
            let said = queue.pop();
            self.heard.push_back((subject, queue));
            said
        })
    }

    /// What came to this place isn't waited for any more.
    fn forget(&mut self, place: &Place) {
        match place {
            Place::Answers => self.answers = Queue::default(),
            Place::Read => self.read = Queue::default(),
            Place::Inbox => {}
            Place::Heard(subject) => self.heard.retain(|(heard, _)| heard != subject),
        }
    }
}

impl Queue {
    fn push(&mut self, message: Received) {
        self.bytes += message.size();
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Received> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.size();
        Some(message)
    }
}

fn with_room(said: &mut Queue) -> (&mut Queue, usize) {
    let room = MAX_SAID - said.bytes;
    (said, room)
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
