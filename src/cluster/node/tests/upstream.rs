//! The server upstream, which counts its connections and numbers what it says; and the link to it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    cluster::LinkEnd,
    hub::{
        Command, Commands, Data, Fate, LinkState, LinkStatus, MessageTopic, Payload, Publisher, Send, now_us,
    },
};

/// What a connection takes.
pub(super) const CONNECT: Duration = Duration::from_millis(30);

/// A link that couldn't connect tries again after this.
const RETRY: Duration = Duration::from_millis(500);

/// It says something so often.
const PAUSE: Duration = Duration::from_millis(10);

/// The server.
#[derive(Clone, Default)]
pub(super) struct Upstream(Rc<Inner>);

#[derive(Default)]
struct Inner {
    said: Cell<u64>,
    /// Who has a connection.
    open: RefCell<Option<String>>,
    /// What became of connections, and when.
    news: RefCell<Vec<News>>,
    /// What clients sent.
    heard: RefCell<Vec<String>>,
    /// Whom it doesn't let connect.
    refused: RefCell<Option<String>>,
    /// It closes all connections.
    closes: Notify,
    /// It ends all, for good.
    ends: Notify,
}

/// A connection was opened, or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) at: Instant,
    pub(super) node: String,
    pub(super) is_open: bool,
}

/// A connection.
struct Connection(Upstream);

impl Upstream {
    /// What it has said so far.
    pub(super) fn said(&self) -> u64 {
        self.0.said.get()
    }

    pub(super) fn news(&self) -> Vec<News> {
        self.0.news.borrow().clone()
    }

    /// Who has a connection.
    pub(super) fn open(&self) -> Option<String> {
        self.0.open.borrow().clone()
    }

    pub(super) fn heard(&self) -> Vec<String> {
        self.0.heard.borrow().clone()
    }

    /// Whoever has a connection gives it up.
    pub(super) fn end(&self) {
        self.0.ends.notify_waiters();
    }

    /// It doesn't let this node connect any more, nor stay connected.
    pub(super) fn refuse(&self, node: &str) {
        self.0.refused.replace(Some(node.to_owned()));
        self.0.closes.notify_waiters();
    }

    fn connect(&self, node: &str) -> Option<Connection> {
        if self.0.refused.borrow().as_deref() == Some(node) {
            return None;
        }
        let before = self.0.open.replace(Some(node.to_owned()));
        assert_eq!(before, None, "there is one connection when {node} opens another");
        self.note(node, true);
        Some(Connection(self.clone()))
    }

    fn note(&self, node: &str, is_open: bool) {
        self.0.news.borrow_mut().push(News { at: Instant::now(), node: node.to_owned(), is_open });
    }

    fn hear(&self, send: Send) {
        let text = send.messages().map(|payload| match payload {
            Payload::Text(text) => text.clone(),
            Payload::Binary(_) => unreachable!("nobody sends any"),
        });
        self.0.heard.borrow_mut().extend(text);
        send.ticket.settle(Fate::Written);
    }

    /// The link, as the node's own end of it.
    pub(super) async fn link(self, node: String, publisher: Publisher, mut commands: Commands) -> LinkEnd {
        loop {
            announce(&publisher, LinkState::Connecting, 0);
            sleep(CONNECT).await;
            let Some(connection) = self.connect(&node) else {
                announce(&publisher, LinkState::Waiting, 0);
                tokio::select! {
                    command = commands.recv() => if let Some(Command::Stop) | None = command {
                        announce(&publisher, LinkState::Closed, 0);
                        return LinkEnd::Stopped;
                    },
                    () = sleep(RETRY) => {}
                }
                continue;
            };
            announce(&publisher, LinkState::Up, 1);
            publisher.take_kept().into_iter().for_each(|send| self.hear(send));
            let mut next = Instant::now();
            let is_closed = loop {
                tokio::select! {
                    biased;
                    () = self.0.ends.notified() => {
                        drop(connection);
                        announce(&publisher, LinkState::Failed, 0);
                        return LinkEnd::GivenUp;
                    }
                    () = self.0.closes.notified() => break false,
                    command = commands.recv() => match command {
                        Some(Command::Send(send)) => self.hear(send),
                        Some(Command::Close) => break true,
                        Some(Command::Stop) | None => {
                            drop(connection);
                            announce(&publisher, LinkState::Closed, 0);
                            return LinkEnd::Stopped;
                        }
                        _ => {}
                    },
                    () = sleep_until(next) => {
                        publisher.ready().await;
                        next = Instant::now() + PAUSE;
                        let number = self.0.said.get() + 1;
                        self.0.said.set(number);
                        publisher.publish(now_us(), Data::Text(&format!("n{number}")), &MessageTopic::None);
                        publisher.flush();
                    }
                }
            };
            drop(connection);
            if !is_closed {
                continue;
            }
            announce(&publisher, LinkState::Closed, 0);
            loop {
                match commands.recv().await {
                    Some(Command::Open | Command::Reconnect) => break,
                    Some(Command::Stop) | None => return LinkEnd::Stopped,
                    Some(Command::Send(send)) => send.ticket.settle(Fate::LinkDown(LinkState::Closed)),
                    _ => {}
                }
            }
        }
    }
}

fn announce(publisher: &Publisher, state: LinkState, more: u64) {
    let conn = publisher.status().conn + more;
    let url = "ws://upstream/".to_owned();
    publisher.announce(LinkStatus { state, conn, url, since_us: now_us(), ..LinkStatus::default() });
}

impl Drop for Connection {
    fn drop(&mut self) {
        let node = self.0.0.open.take().expect("it was open");
        self.0.note(&node, false);
    }
}
