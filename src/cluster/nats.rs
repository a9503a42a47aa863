//! NATS, as the node uses it: the stream, and messages between nodes.
//!
//! There is one connection at a time, and each has a [`Session`] of its own, which decides; here is what it decides
//! about. A connection that is lost is given up with all that waited in it, so that nothing goes out late, and the next
//! one begins anew. JetStream's requests are a handful, and are made here (`api`): an append's answer finds its way by
//! the address that it was asked to, without a task or a table for it.
//!
//! Nothing here buffers what the stream has: the consumer's messages come as fast as [`Arrivals::next`] is called, and
//! JetStream sends 32 MiB at most before it is told that they were taken.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::atomic::Ordering,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use async_nats::{Client, PublishError, SubscribeError, Subscriber, message::OutboundMessage};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::time::Sleep;

use self::{
    dial::{Connection, Sign},
    session::{Out, Server, Session},
    settings::Settings,
};
use crate::{
    cluster::machine::{AppendId, AskId, Event, Message, ReadId},
    config::{Cluster, History},
};

mod api;
mod asking;
mod dial;
pub(super) mod permissions;
mod reading;
mod session;
mod settings;
mod stream;
pub(super) mod tool;
mod trouble;

pub(crate) use settings::Names;
pub(crate) use trouble::Trouble;

/// So many bytes may wait to be handed to the connection; what is said beyond them is dropped, as NATS may drop it.
const MAX_WAITING: usize = 16 << 20;

/// So many complaints aren't made once more.
const MAX_SAID: usize = 32;

/// Before the servers are tried once more, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What comes from NATS.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Something for the machine.
    Event(Event),
    /// Why the log can't be had, or something else that a person must hear of.
    Trouble(Trouble),
    /// Something from another node.
    Message(Incoming),
}

/// A message that isn't the log's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incoming {
    /// Where it was sent.
    pub(super) subject: String,
    /// Where an answer is awaited.
    pub(super) reply: Option<String>,
    /// What the server says instead of an answer: 503, nobody is there who would hear it.
    pub(super) status: Option<u16>,
    /// What is said.
    pub(super) payload: Vec<u8>,
}

/// What can be done by NATS. Nothing waits: what comes of it is told by [`Arrivals`].
#[derive(Clone)]
pub(super) struct Nats(Rc<RefCell<Inner>>);

/// What comes from NATS.
pub(super) struct Arrivals(Rc<RefCell<Inner>>);

struct Inner {
    settings: Rc<Settings>,
    /// What begins the addresses of this process that JetStream alone is told.
    base: String,
    /// What begins those that other nodes are told.
    inbox: String,
    /// What this node hears beside its own address.
    heard: BTreeMap<String, ()>,
    state: State,
    /// Of servers that were tried in vain since one was there.
    failures: u32,
    /// Connections so far.
    generation: u64,
    next_server: usize,
    is_known: bool,
    /// What has been complained of since there was a connection.
    said: Vec<Trouble>,
    ready: VecDeque<Arrival>,
    max_payload: usize,
    waker: Option<Waker>,
}

enum State {
    /// The next server is tried then.
    Waiting(Pin<Box<Sleep>>),
    Connecting(Pin<Box<dyn Future<Output = Result<Connection, Trouble>>>>),
    Connected(Box<Connected>),
}

/// A connection that stands.
struct Connected {
    session: Session,
    connection: Connection,
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

/// A number that nobody can guess.
fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| fastrand::u64(..))
}

/// Begins to connect, and goes on trying for as long as [`Arrivals::next`] is called. On a current-thread runtime.
pub(super) fn connect(cluster: &Cluster, history: &History) -> (Nats, Arrivals) {
    let settings = Settings::new(cluster, history);
    let address = || format!("{}.{:016x}", settings.inbox(), random());
    let (base, inbox) = (address(), address());
    let servers = settings.cluster.urls.len().max(1);
    let inner = Rc::new(RefCell::new(Inner {
        base,
        inbox,
        heard: BTreeMap::new(),
        state: State::Waiting(Box::pin(tokio::time::sleep(Duration::ZERO))),
        failures: 0,
        generation: 0,
        next_server: fastrand::usize(..servers),
        is_known: false,
        said: Vec::new(),
        ready: VecDeque::new(),
        max_payload: crate::cluster::machine::MAX_BATCH,
        waker: None,
        settings: Rc::new(settings),
    }));
    (Nats(Rc::clone(&inner)), Arrivals(inner))
}

impl Nats {
    /// Appends this to the stream, if its last sequence is `expect`. Appends go out in the order of these calls.
    pub(super) fn append(&self, id: AppendId, expect: u64, message: &Message) {
        self.with(|inner| match inner.connected() {
            Some(connected) => connected.session.append(id, expect, message),
            None => inner.ready.push_back(Arrival::Event(Event::Unclear(id))),
        });
    }

    /// Asks what the stream holds from this place on, instead of what was asked before.
    pub(super) fn ask(&self, id: AskId, from: u64) {
        self.with(|inner| match inner.connected() {
            Some(connected) => connected.session.ask(Instant::now(), id, from),
            None => inner.ready.push_back(Arrival::Event(Event::NoAnswer(id))),
        });
    }

    /// Reads what lies past this place, instead of what was read before.
    pub(super) fn read(&self, id: ReadId, after: u64) {
        self.with(|inner| {
            if let Some(connected) = inner.connected() {
                connected.session.read(Instant::now(), id, after);
            }
        });
    }

    /// Reads no more.
    pub(super) fn stop_reading(&self) {
        self.with(|inner| {
            if let Some(connected) = inner.connected() {
                connected.session.stop_reading();
            }
        });
    }

    /// Hears what comes to this subject, on every connection to come.
    pub(super) fn hear(&self, subject: &str) {
        self.with(|inner| {
            if inner.heard.insert(subject.to_owned(), ()).is_none()
                && let Some(connected) = inner.connected()
            {
                connected.outgoing.subscribe(Place::Heard(subject.to_owned()), subject.to_owned());
            }
        });
    }

    /// Hears no more of it.
    pub(super) fn hear_no_more(&self, subject: &str) {
        self.with(|inner| {
            if inner.heard.remove(subject).is_some()
                && let Some(connected) = inner.connected()
            {
                connected.outgoing.waiting.push_back(Waiting::Drop(Place::Heard(subject.to_owned())));
            }
        });
    }

    /// Says something to other nodes, at most once: without a connection it is lost.
    pub(super) fn say(&self, subject: String, reply: Option<String>, payload: Vec<u8>) {
        self.with(|inner| {
            if let Some(connected) = inner.connected() {
                connected.session.say(subject, reply, payload);
            }
        });
    }

    /// What begins this process's own addresses: what is sent to any below it comes as [`Arrival::Message`].
    pub(super) fn inbox(&self) -> String {
        self.0.borrow().inbox.clone()
    }

    /// The most bytes that the server takes in one message.
    pub(super) fn max_payload(&self) -> usize {
        self.0.borrow().max_payload
    }

    fn with(&self, act: impl FnOnce(&mut Inner)) {
        let inner = &mut *self.0.borrow_mut();
        act(inner);
        let Some(connected) = inner.connected() else {
            return inner.wake();
        };
        // at once, if there is room: who calls may have much else to do before it listens
        let flushed =
            tokio::task::unconstrained(poll_fn(|cx| Poll::Ready(connected.flush(cx)))).now_or_never();
        if flushed != Some(true) || !connected.session.arrivals.is_empty() {
            inner.wake();
        }
    }
}

impl Arrivals {
    /// The next of what comes. Nothing is lost if it isn't waited for to the end.
    pub(super) async fn next(&mut self) -> Arrival {
        poll_fn(|cx| self.0.borrow_mut().poll(cx)).await
    }
}

impl Inner {
    fn connected(&mut self) -> Option<&mut Connected> {
        if let State::Connected(connected) = &mut self.state { Some(connected) } else { None }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        loop {
            if let Some(arrival) = self.ready.pop_front() {
                return Poll::Ready(arrival);
            }
            match &mut self.state {
                State::Waiting(sleep) => {
                    if sleep.as_mut().poll(cx).is_pending() {
                        break;
                    }
                    let url = self.settings.cluster.urls[self.next_server % self.settings.cluster.urls.len()]
                        .clone();
                    self.next_server += 1;
                    self.state = State::Connecting(Box::pin(dial::connect(Rc::clone(&self.settings), url)));
                }
                State::Connecting(connecting) => match connecting.as_mut().poll(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(connection)) => self.begin(connection),
                    Poll::Ready(Err(trouble)) => {
                        self.trouble(trouble);
                        self.try_next();
                    }
                },
                State::Connected(connected) => match connected.poll(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Some(arrival)) => return Poll::Ready(arrival),
                    Poll::Ready(None) => self.give_up(),
                },
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn begin(&mut self, connection: Connection) {
        self.generation += 1;
        let info = connection.client.server_info();
        tracing::debug!("connected to the NATS server {} ({})", connection.url, info.version);
        self.max_payload = info.max_payload;
        let server = Server { version: &info.version, max_payload: info.max_payload };
        let mut outgoing = Outgoing { client: connection.client.clone(), waiting: VecDeque::new(), bytes: 0 };
        // before anything is said that is answered there
        outgoing.subscribe(Place::Answers, format!("{}.>", session::answers(&self.base)));
        outgoing.subscribe(Place::Inbox, format!("{}.>", self.inbox));
        for subject in self.heard.keys() {
            outgoing.subscribe(Place::Heard(subject.clone()), subject.clone());
        }
        let settings = Rc::clone(&self.settings);
        let session =
            Session::new(Instant::now(), settings, &self.base, self.generation, &server, self.is_known);
        self.state = State::Connected(Box::new(Connected {
            session,
            connection,
            outgoing,
            answers: None,
            inbox: None,
            heard: BTreeMap::new(),
            read: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }));
    }

    /// The connection is lost, or its server of no use.
    fn give_up(&mut self) {
        let Some(connected) = self.connected() else { return };
        let session = &mut connected.session;
        session.end();
        let (is_known, is_of_no_use) = (session.is_known(), session.is_of_no_use());
        let arrivals = std::mem::take(&mut session.arrivals);
        let url = std::mem::take(&mut connected.connection.url);
        for arrival in arrivals {
            match arrival {
                Arrival::Trouble(trouble) => self.trouble(trouble),
                other => self.ready.push_back(other),
            }
        }
        self.is_known = is_known;
        if !is_of_no_use {
            self.failures = 0;
            self.said.clear();
            self.trouble(Trouble::fatal(format!("the connection to the NATS server {url} is lost")));
        }
        self.try_next();
    }

    /// Says it, unless it was said since there was a connection.
    fn trouble(&mut self, trouble: Trouble) {
        if !self.said.contains(&trouble) {
            self.said.truncate(MAX_SAID - 1);
            self.said.insert(0, trouble.clone());
            self.ready.push_back(Arrival::Trouble(trouble));
        }
    }

    /// Each server once, and then after a pause, which grows.
    fn try_next(&mut self) {
        let servers = u32::try_from(self.settings.cluster.urls.len()).unwrap_or(u32::MAX).max(1);
        let rounds = self.failures / servers;
        self.failures = self.failures.saturating_add(1);
        let pause =
            RETRY.0.saturating_mul(1_u32.checked_shl(rounds.min(16)).unwrap_or(u32::MAX)).min(RETRY.1);
        let pause = if rounds == 0 && self.failures < servers { Duration::ZERO } else { pause };
        let pause = pause.mul_f64(0.75 + fastrand::f64() / 4.0);
        self.state = State::Waiting(Box::pin(tokio::time::sleep(pause)));
    }
}

impl Connected {
    /// The next arrival; none when the connection is to be given up.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arrival>> {
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
