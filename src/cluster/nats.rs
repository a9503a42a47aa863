//! NATS, as the node uses it: the stream, and messages between nodes.
//!
//! There is one connection at a time, and each has a [`Session`] of its own, which decides; here is what it decides
//! about. A connection that is lost is given up with all that waited in it, so that nothing goes out late, and the next
//! one begins anew. JetStream's requests are a handful, and are made here (`api`): an append's answer finds its way by
//! the address that it was asked to, without a task or a table for it.
//!
//! What comes faster than [`Arrivals::next`] is called waits in an `inflow`, and what goes out faster than the server takes
//! it in an `outflow`, each bounded in bytes.

use std::{
    cell::RefCell,
    collections::{BTreeSet, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use self::{
    connected::Connected,
    dial::Connection,
    session::{Server, Session},
    settings::Settings,
};
use crate::{
    cluster::machine::{AppendId, AskId, Event, Message, ReadId},
    config::{Cluster, History},
};

mod api;
mod asking;
mod connected;
mod dial;
mod inflow;
mod outflow;
pub(super) mod permissions;
mod reading;
mod received;
mod session;
mod settings;
#[cfg(test)]
pub(super) mod simulated;
mod stream;
#[cfg(test)]
mod tests;
pub(super) mod tool;
mod trouble;

pub(crate) use settings::Names;
pub(crate) use trouble::Trouble;

/// So many complaints aren't made once more.
const MAX_SAID: usize = 32;

/// Before the servers are tried once more, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The last words may take so long.
const CLOSED_WITHIN: Duration = Duration::from_millis(250);

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
    heard: BTreeSet<String>,
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
    /// In tests, something else stands in for it, from the beginning to the end.
    #[cfg(test)]
    Simulated(Box<dyn simulated::Way>),
    /// Nothing comes any more.
    Closed,
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
        heard: BTreeSet::new(),
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
        self.with(|inner| match &mut inner.state {
            State::Connected(connected) => connected.session.append(id, expect, message),
            #[cfg(test)]
            State::Simulated(way) => way.append(id, expect, message),
            _ => inner.ready.push_back(Arrival::Event(Event::Unclear(id))),
        });
    }

    /// Asks what the stream holds from this place on, instead of what was asked before.
    pub(super) fn ask(&self, id: AskId, from: u64) {
        self.with(|inner| match &mut inner.state {
            State::Connected(connected) => connected.session.ask(Instant::now(), id, from),
            #[cfg(test)]
            State::Simulated(way) => way.ask(id, from),
            _ => inner.ready.push_back(Arrival::Event(Event::NoAnswer(id))),
        });
    }

    /// Reads what lies past this place, instead of what was read before.
    pub(super) fn read(&self, id: ReadId, after: u64) {
        self.with(|inner| match &mut inner.state {
            State::Connected(connected) => connected.session.read(Instant::now(), id, after),
            #[cfg(test)]
            State::Simulated(way) => way.read(id, after),
            _ => {}
        });
    }

    /// Reads no more.
    pub(super) fn stop_reading(&self) {
        self.with(|inner| match &mut inner.state {
            State::Connected(connected) => connected.session.stop_reading(),
            #[cfg(test)]
            State::Simulated(way) => way.stop_reading(),
            _ => {}
        });
    }

    /// Hears what comes to this subject, on every connection to come.
    pub(super) fn hear(&self, subject: &str) {
        self.with(|inner| match &mut inner.state {
            _ if !inner.heard.insert(subject.to_owned()) => {}
            State::Connected(connected) => connected.hear(subject),
            #[cfg(test)]
            State::Simulated(way) => way.hear(subject),
            _ => {}
        });
    }

    /// Hears no more of it.
    pub(super) fn hear_no_more(&self, subject: &str) {
        self.with(|inner| match &mut inner.state {
            _ if !inner.heard.remove(subject) => {}
            State::Connected(connected) => connected.hear_no_more(subject),
            #[cfg(test)]
            State::Simulated(way) => way.hear_no_more(subject),
            _ => {}
        });
    }

    /// Says something to other nodes, at most once: without a connection it is lost.
    pub(super) fn say(&self, subject: String, reply: Option<String>, payload: Vec<u8>) {
        self.with(|inner| match &mut inner.state {
            State::Connected(connected) => connected.session.say(subject, reply, payload),
            #[cfg(test)]
            State::Simulated(way) => way.say(subject, reply, payload),
            _ => {}
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
        // at once, if there is room: who calls may have much else to do before it listens
        if !inner.connected().is_some_and(Connected::flush_now) {
            inner.wake();
        }
    }
}

impl Arrivals {
    /// The next of what comes. Nothing is lost if it isn't waited for to the end.
    pub(super) async fn next(&mut self) -> Arrival {
        poll_fn(|cx| self.0.borrow_mut().poll(cx)).await
    }

    /// Ends the connection once the server has what was said to it, or doesn't take it for a while.
    pub(super) async fn close(self) {
        let state = std::mem::replace(&mut self.0.borrow_mut().state, State::Closed);
        if let State::Connected(connected) = state {
            let _ = tokio::time::timeout(CLOSED_WITHIN, connected.close()).await;
        }
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
                #[cfg(test)]
                State::Simulated(way) => return way.poll(cx),
                State::Closed => break,
                State::Connected(connected) => match connected.poll(cx) {
                    Poll::Pending => break,
                    Poll::Ready(Some(arrival)) => return Poll::Ready(arrival),
                    Poll::Ready(None) => self.give_up(Instant::now()),
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
        let server = Server { url: &connection.url, version: &info.version, max_payload: info.max_payload };
        let settings = Rc::clone(&self.settings);
        let session =
            Session::new(Instant::now(), settings, &self.base, self.generation, &server, self.is_known);
        let connected = Connected::new(session, connection, &self.base, &self.inbox, self.heard.iter());
        self.state = State::Connected(Box::new(connected));
    }

    /// The connection is lost, or its server of no use.
    fn give_up(&mut self, now: Instant) {
        let Some(connected) = self.connected() else { return };
        let fault = connected.fault.take();
        let session = &mut connected.session;
        let has_stood = session.has_stood(now);
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
        if has_stood || (fault.is_none() && !is_of_no_use) {
            self.failures = 0;
            self.said.clear();
        }
        if let Some(fault) = fault {
            // it may come again at once: told once, and tried again ever more slowly, until a connection has stood
            self.trouble(fault);
        } else if !is_of_no_use {
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
