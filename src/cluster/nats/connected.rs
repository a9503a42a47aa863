//! A connection that stands: what goes between its session and NATS's client.

use std::{
    collections::{BTreeMap, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_nats::{Client, PublishError, SubscribeError, Subscriber, message::OutboundMessage};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::time::Sleep;

use super::{
    Arrival,
    dial::{Connection, Sign},
    session::{self, Out, Session},
};

/// So many bytes may wait to be handed to the connection; what is said beyond them is dropped, as NATS may drop it.
const MAX_WAITING: usize = 16 << 20;

/// A connection that stands.
pub(super) struct Connected {
    pub(super) session: Session,
    pub(super) connection: Connection,
    outgoing: Outgoing,
    /// What JetStream answers.
    answers: Option<Subscriber>,
    /// What comes to this node's own address.
    inbox: Option<Subscriber>,
    /// What comes to others that it hears.
    heard: BTreeMap<String, Subscriber>,
    /// What comes from the stream's consumer.
    read: Option<Subscriber>,
    timer: Pin<Box<Sleep>>,
}

type Subscribing = Pin<Box<dyn Future<Output = Result<Subscriber, SubscribeError>>>>;

/// What is on its way to the connection, in the order in which it was given.
struct Outgoing {
    client: Client,
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

enum Waiting {
    Publish(OutboundMessage),
    Subscribe(Place, Subscribing),
    Drop(Place),
}

/// What a subscription is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Answers,
    Inbox,
    Heard(String),
    Read,
}

impl Connected {
    /// One that has just been made. `base` begins JetStream's addresses, `inbox` those of other nodes' answers, and what
    /// is `heard` comes beside them.
    pub(super) fn new<'h>(
        session: Session,
        connection: Connection,
        base: &str,
        inbox: &str,
        heard: impl Iterator<Item = &'h String>,
    ) -> Connected {
        let client = connection.client.clone();
        let mut outgoing = Outgoing { client, waiting: VecDeque::new(), bytes: 0 };
        // before anything is said that is answered there
        outgoing.subscribe(Place::Answers, format!("{}.>", session::answers(base)));
        outgoing.subscribe(Place::Inbox, format!("{inbox}.>"));
        for subject in heard {
            outgoing.subscribe(Place::Heard(subject.clone()), subject.clone());
        }
        Connected {
            session,
            connection,
            outgoing,
            answers: None,
            inbox: None,
            heard: BTreeMap::new(),
            read: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Hears what comes to this subject.
    pub(super) fn hear(&mut self, subject: &str) {
        self.outgoing.subscribe(Place::Heard(subject.to_owned()), subject.to_owned());
    }

    /// Hears no more of it.
    pub(super) fn hear_no_more(&mut self, subject: &str) {
        self.outgoing.waiting.push_back(Waiting::Drop(Place::Heard(subject.to_owned())));
    }

    /// Hands over what is to go out, as far as there is room. False where something waits, or has arrived.
    pub(super) fn flush_now(&mut self) -> bool {
        let flushed = tokio::task::unconstrained(poll_fn(|cx| Poll::Ready(self.flush(cx)))).now_or_never();
        flushed == Some(true) && self.session.arrivals.is_empty()
    }

    /// Hands over all that waits, and ends when the server has it.
    pub(super) async fn close(mut self) {
        poll_fn(|cx| if self.flush(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        let _ = self.connection.client.flush().await; // or the connection is lost
    }

    /// The next arrival; none when the connection is to be given up.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arrival>> {
        loop {
            if self.session.is_of_no_use() {
                return Poll::Ready(None);
            }
            self.flush(cx);
            if let Some(arrival) = self.session.arrivals.pop_front() {
                return Poll::Ready(Some(arrival));
            }
            match self.poll_connection(cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(None),
                Poll::Pending => {
                    if self.poll_timer(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Takes one thing that has come; false where the connection is lost.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let now = Instant::now();
        match self.connection.signs.poll_recv(cx) {
            Poll::Ready(Some(Sign::Complaint(text))) => {
                self.session.complaint(now, &text);
                return Poll::Ready(true);
            }
            Poll::Ready(Some(Sign::Lost) | None) => return Poll::Ready(false),
            Poll::Pending => {}
        }
        if self.connection.client.connection_state() != async_nats::connection::State::Connected {
            return Poll::Ready(false);
        }
        if self.connection.overrun.swap(false, Ordering::Relaxed) {
            self.session.overrun();
            return Poll::Ready(true);
        }
        if let Some(answers) = &mut self.answers
            && let Poll::Ready(message) = answers.poll_next_unpin(cx)
        {
            let Some(message) = message else { return Poll::Ready(false) };
            self.session.take(now, &message);
            return Poll::Ready(true);
        }
        for heard in self.inbox.iter_mut().chain(self.heard.values_mut()) {
            if let Poll::Ready(message) = heard.poll_next_unpin(cx) {
                let Some(message) = message else { return Poll::Ready(false) };
                self.session.hear(message);
                return Poll::Ready(true);
            }
        }
        if let Some(read) = &mut self.read
            && let Poll::Ready(message) = read.poll_next_unpin(cx)
        {
            let Some(message) = message else { return Poll::Ready(false) };
            self.session.take_read(now, &message);
            return Poll::Ready(true);
        }
        Poll::Pending
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.session.next_timeout() else { return Poll::Pending };
        let now = Instant::now();
        if next <= now {
            self.session.timeout(now);
            return Poll::Ready(());
        }
        let next = tokio::time::Instant::from_std(next);
        // a deadline that has moved away is looked at when the old one has come: it moves with each message
        if self.timer.is_elapsed() || self.timer.deadline() > next {
            self.timer.as_mut().reset(next);
        }
        match self.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Hands to the connection what is to go out; false where something must wait.
    fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some(out) = self.session.outs.pop_front() {
            match out {
                Out::Publish(message) => self.outgoing.publish(message),
                Out::ReadAt(subject) => {
                    self.read = None;
                    self.outgoing.subscribe(Place::Read, subject);
                }
                Out::ReadNoMore => self.outgoing.waiting.push_back(Waiting::Drop(Place::Read)),
            }
        }
        while let Poll::Ready(Some(done)) = self.outgoing.poll(cx) {
            match done {
                Done::Subscribed(Place::Answers, subscriber) => self.answers = Some(subscriber),
                Done::Subscribed(Place::Inbox, subscriber) => self.inbox = Some(subscriber),
                Done::Subscribed(Place::Read, subscriber) => self.read = Some(subscriber),
                Done::Subscribed(Place::Heard(subject), subscriber) => {
                    _ = self.heard.insert(subject, subscriber)
                }
                Done::Drop(Place::Answers) => self.answers = None,
                Done::Drop(Place::Inbox) => self.inbox = None,
                Done::Drop(Place::Read) => self.read = None,
                Done::Drop(Place::Heard(subject)) => _ = self.heard.remove(&subject),
                Done::Published => {}
            }
        }
        self.outgoing.waiting.is_empty()
    }
}

/// What has been handed to the connection.
enum Done {
    Published,
    Subscribed(Place, Subscriber),
    Drop(Place),
}

impl Outgoing {
    fn subscribe(&mut self, place: Place, subject: String) {
        let client = self.client.clone();
        let subscribing = Box::pin(async move { client.subscribe(subject).await });
        self.waiting.push_back(Waiting::Subscribe(place, subscribing));
    }

    fn publish(&mut self, message: OutboundMessage) {
        if self.bytes + message.payload.len() > MAX_WAITING {
            tracing::debug!(
                "a message to {} is dropped: too much waits for the NATS server",
                message.subject
            );
            return;
        }
        self.bytes += message.payload.len();
        self.waiting.push_back(Waiting::Publish(message));
    }

    /// Hands over the oldest; ready with none when nothing waits.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Done>> {
        let Some(oldest) = self.waiting.front_mut() else { return Poll::Ready(None) };
        let subscribed = match oldest {
            Waiting::Publish(_) => match ready!(self.client.poll_ready_unpin(cx)) {
                Ok(()) => None,
                Err(_) => return Poll::Ready(self.close()),
            },
            Waiting::Subscribe(_, subscribing) => match ready!(subscribing.as_mut().poll(cx)) {
                Ok(subscriber) => Some(subscriber),
                Err(_) => return Poll::Ready(self.close()),
            },
            Waiting::Drop(_) => None,
        };
        Poll::Ready(match (self.waiting.pop_front(), subscribed) {
            (Some(Waiting::Publish(message)), _) => {
                self.bytes -= message.payload.len();
                let sent: Result<(), PublishError> = self.client.start_send_unpin(message);
                if let Err(error) = sent {
                    tracing::warn!("NATS: {error}"); // it was too large; who waits for an answer will wait in vain
                }
                Some(Done::Published)
            }
            (Some(Waiting::Subscribe(place, _)), Some(subscriber)) => {
                Some(Done::Subscribed(place, subscriber))
            }
            (Some(Waiting::Drop(place)), _) => Some(Done::Drop(place)),
            (Some(Waiting::Subscribe(..)) | None, _) => None,
        })
    }

    /// The connection's task has ended, which is told elsewhere.
    fn close<T>(&mut self) -> Option<T> {
        self.waiting.clear();
        self.bytes = 0;
        None
    }
}
