//! A client's reader: lines in, replies through the fan-out.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::{self, Read},
    os::unix::net::UnixStream,
    rc::Rc,
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::{sync::Notify, task::coop::consume_budget};

mod asking;
mod attach;
mod subscribing;

use super::{
    access::Access,
    budget::headcount::Counted,
    dialogue::{
        lines::{LineBuffer, TooLong},
        replies,
        rights::{self, Identity},
    },
    fanout::Fanout,
    socket::{self, Peer},
    status::{self, Shown},
    sys::watched::Watched,
};
use crate::{
    config::{Format, Rights},
    hub::{Command, Fate, Hub, Origin, Payload, Permit, Reload, Send, Ticket},
    protocol::{self, Bad, Bye, Code, Content, Done, Op, Request},
};

/// Read at once from a client.
const READ_BYTES: usize = 64 << 10;

/// What a client's lines may take without being counted together with those of others.
const SMALL_LINES: usize = 16 << 10;

/// How often to look for a hang-up where it can't be waited for.
const HUNG_UP_PAUSE: Duration = Duration::from_secs(1);

thread_local! {
    /// Where all readers read to: an idle client has no buffer of its own.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a client's reader works with.
pub(super) struct ClientReader {
    pub(super) hub: Hub,
    pub(super) fanout: Fanout,
    pub(super) stream: Rc<Watched<UnixStream>>,
    pub(super) id: u64,
    pub(super) _counted: Counted,
    pub(super) peer: Peer,
    pub(super) who: Identity,
    pub(super) format: Format,
    /// Its listener's settings, which a reload may change.
    pub(super) access: Rc<Access>,
    pub(super) max_line: usize,
    /// Where its sends come from.
    pub(super) from: Rc<Origin>,
    /// Told when the client is dismissed.
    pub(super) dismissed: Rc<Notify>,
    /// When the daemon started, for `status`.
    pub(super) started: std::time::Instant,
    /// The ids of its requests that wait for their answers.
    pub(super) asked: Rc<RefCell<BTreeSet<Box<str>>>>,
}

impl Drop for ClientReader {
    /// However the reader ends, its client leaves with it.
    fn drop(&mut self) {
        self.hub.unclaim_answers(self.id);
        self.hub.leave(&self.from, now());
        self.fanout.leave(self.id);
    }
}

impl ClientReader {
    /// Reads until the client is gone. What it wrote whole is carried out, also when its answers can't
    /// reach it any more, unless it is dismissed.
    pub(super) async fn run(self) {
        self.read().await;
    }

    async fn read(&self) {
        let mut lines = LineBuffer::default();
        let mut charged = 0;
        loop {
            match self.fill(&mut lines).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => return,
            }
            self.charge(&lines, &mut charged);
            loop {
                match lines.next(self.max_line) {
                    Ok(Some(line)) => tokio::select! {
                        () = self.line(line) => {}
                        // what waits for its turn is given up with the client
                        () = self.dismissed.notified() => {
                            drop(lines);
                            return self.gone().await;
                        }
                    },
                    Ok(None) => break,
                    Err(TooLong) => return self.line_too_long().await,
                }
                if !self.fanout.listens(self.id) {
                    return self.gone().await;
                }
                self.fanout.has_read(self.id).await;
                // a client that writes a lot of lines must leave the others their turns
                consume_budget().await;
            }
            self.charge(&lines, &mut charged);
        }
        if lines.has_rest() {
            self.half_a_line();
        }
        drop(lines);
        self.fanout.unfinished(self.id, self.peer.uid, 0);
        self.gone().await;
    }

    /// Tells what the client's lines take, if that is more than it may have beside others, or was.
    fn charge(&self, lines: &LineBuffer, charged: &mut usize) {
        let memory = if lines.memory() > SMALL_LINES { lines.memory() } else { 0 };
        if std::mem::replace(charged, memory) != memory {
            self.fanout.unfinished(self.id, self.peer.uid, memory);
        }
    }

    async fn fill(&self, lines: &mut LineBuffer) -> io::Result<usize> {
        let read = |mut stream: &UnixStream| {
            SCRATCH.with_borrow_mut(|scratch| {
                scratch.resize(READ_BYTES, 0);
                let read = stream.read(scratch)?;
                lines.push(&scratch[..read], self.max_line);
                Ok(read)
            })
        };
        self.stream.read(read).await
    }

    /// The client has closed its sending side. It may go on reading: waits until it is gone.
    async fn gone(&self) {
        let stream = loop {
            match socket::duplicate(self.stream.socket(), self.peer).and_then(Watched::writing) {
                Ok(stream) => break stream,
                // no descriptor to be had: look again in a while
                Err(_) if !self.fanout.hears(self.id) || socket::is_hung_up(self.stream.socket()) => return,
                Err(_) => tokio::time::sleep(HUNG_UP_PAUSE).await,
            }
        };
        while self.fanout.hears(self.id) && !socket::is_hung_up(stream.socket()) {
            if stream.becomes_writable().await.is_err() {
                return;
            }
        }
    }

    /// The client has closed its sending side within a line, which may be cut short.
    fn half_a_line(&self) {
        match self.format {
            Format::Envelope => {
                let message = "the connection ended within a line: end each line with a line break";
                self.fanout.reply(self.id, &replies::error(None, Code::BadJson, message));
            }
            Format::Raw => self.fanout.dismiss(self.id, Bye::BadClient),
        }
    }

    async fn line_too_long(&self) {
        if self.format == Format::Envelope {
            let message = format!(
                "the line is longer than max_line ({} bytes): the connection is closed",
                self.max_line
            );
            self.fanout.reply(self.id, &replies::error(None, Code::LineTooLong, &message));
        }
        self.fanout.dismiss(self.id, Bye::BadClient);
        self.gone().await;
    }

    pub(super) async fn line(&self, line: &[u8]) {
        match self.format {
            Format::Raw => self.raw(line).await,
            Format::Envelope if line.is_empty() => self.fanout.begin(self.id),
            Format::Envelope => match protocol::parse(line) {
                Ok(request) => self.request(request).await,
                Err(Bad { id, code, message }) => {
                    self.fanout.reply(self.id, &replies::error(id, code, &message));
                    self.fanout.begin(self.id);
                }
            },
        }
    }

    async fn request(&self, Request { id, op, expand }: Request<'_>) {
        if !matches!(op, Op::Attach(_)) {
            self.fanout.begin(self.id); // it begins where it came in
        }
        let missing = rights::missing(&self.access.of(&self.who), &op);
        if let Some(why) = missing {
            return self.refuse(id, op.name(), Code::Forbidden, &why);
        }
        match op {
            Op::Send(content) => {
                self.send(id.map(RawValue::to_owned), content.into(), Vec::new(), expand).await
            }
            Op::Unit { messages } => {
                let mut payloads = messages.into_iter().map(Payload::from);
                let Some(first) = payloads.next() else { return }; // it has one: see `parse`
                self.send(id.map(RawValue::to_owned), first, payloads.collect(), expand).await;
            }
            Op::Request { json, timeout_ms } => {
                let Some(id) = id else { return }; // it has one: see `parse`
                self.ask(id, json, timeout_ms.map(Duration::from_millis), expand).await;
            }
            Op::Cancel { request } => self.cancel(id, request).await,
            Op::Attach(attach) => {
                if let Some(caught_up) = self.catches_up_with(&attach) {
                    caught_up.await;
                }
                self.attach(id, attach);
            }
            Op::Ack { seq } => self.acknowledge(id, seq),
            Op::Subscribe { topics, json } => self.subscribe(id, topics, json).await,
            Op::Unsubscribe { topics } => self.unsubscribe(id, topics),
            Op::Status => self.status(id).await,
            Op::Ping => self.ok(id, Done::Pong),
            Op::Open => self.control(id, "open", Command::Open).await,
            Op::Close => self.control(id, "close", Command::Close).await,
            Op::Reconnect => self.control(id, "reconnect", Command::Reconnect).await,
            Op::Reload => self.reload(id),
        }
    }

    fn ok(&self, id: Option<&RawValue>, result: Done) {
        if let Some(id) = id {
            self.fanout.reply(self.id, &replies::ok(id, result));
        }
    }

    async fn control(&self, id: Option<&RawValue>, op: &str, command: Command) {
        let Peer { pid, uid } = self.peer;
        tracing::info!(op, client = self.id, pid, uid, "asked of the link");
        if self.hub.command(command).await {
            self.ok(id, Done::Accepted);
        } else {
            let message = replies::error(id, Code::LinkDown, "the daemon is stopping");
            self.fanout.reply(self.id, &message);
        }
    }

    /// Refuses what its rights don't let it do.
    fn refuse(&self, id: Option<&RawValue>, op: &str, code: Code, why: &str) {
        self.access.say_refused(self.id, self.peer, op, why);
        self.fanout.reply(self.id, &replies::error(id, code, why));
    }

    fn reload(&self, id: Option<&RawValue>) {
        let Peer { pid, uid } = self.peer;
        tracing::info!(client = self.id, pid, uid, "asked to reload the configuration");
        let (fanout, client, owned) = (self.fanout.clone(), self.id, id.map(RawValue::to_owned));
        let answer = move |reload: &Reload| {
            if owned.is_some() || reload.error.is_some() {
                fanout.reply(client, &replies::reloaded(owned.as_deref(), reload));
            }
        };
        if !self.hub.ask_reload(Box::new(answer)) {
            let message = "too many wait for a reload already: ask again when it is done";
            self.fanout.reply(self.id, &replies::error(id, Code::RateLimited, message));
        }
    }

    async fn send(&self, id: Option<Box<RawValue>>, payload: Payload, rest: Vec<Payload>, expand: bool) {
        let messages = std::iter::once(&payload).chain(&rest);
        if expand && !self.can_expand(id.as_deref(), messages.clone()) {
            return;
        }
        if let Some((code, why)) = self.access.refuses(now(), &self.who, messages) {
            return self.refuse(id.as_deref(), "send", code, &why);
        }
        let extra = id.as_ref().map_or(0, |id| id.get().len());
        let Some(permit) = self.admit(Send::cost_of(&payload, &rest, extra)).await else { return };
        let (hub, fanout, client) = (self.hub.clone(), self.fanout.clone(), self.id);
        let own_id = id.clone();
        let ticket = Ticket::new(permit, move |fate| {
            hub.counters().fate(fate);
            if let Some(line) = replies::fate(own_id.as_deref(), fate) {
                fanout.reply(client, &line);
            }
            if fate.is_failure() && !fanout.can_be_told(client) {
                dropped(&hub, &fanout, client);
            }
        });
        let asks = self.asks(id.clone());
        let may_answer = self.may_answer();
        self.hub
            .command(Command::Send(Send { payload, rest, ticket, extra, asks, may_answer, expand }))
            .await;
    }

    /// Whether all placeholders of these messages are public captures; else that is told.
    fn can_expand<'m>(&self, id: Option<&RawValue>, messages: impl Iterator<Item = &'m Payload>) -> bool {
        let mut messages = messages;
        match messages.try_for_each(|message| self.hub.check_expandable(message)) {
            Ok(()) => true,
            Err(why) => {
                self.fanout.reply(self.id, &replies::error(id, Code::BadRequest, &why));
                false
            }
        }
    }

    /// A line from a client of a raw listener is a text message. There is no line to tell an error
    /// with, so a send that fails ends the connection.
    async fn raw(&self, line: &[u8]) {
        let Ok(text) = std::str::from_utf8(line) else {
            return self.fanout.dismiss(self.id, Bye::BadClient);
        };
        let payload = Payload::Text(text.to_owned());
        let may = rights::missing(&self.access.of(&self.who), &Op::Send(Content::Text("".into())));
        let refused = may
            .or_else(|| self.access.refuses(now(), &self.who, std::iter::once(&payload)).map(|(_, why)| why));
        if let Some(why) = refused {
            self.access.say_refused(self.id, self.peer, "send", &why);
            return self.fanout.dismiss(self.id, Bye::BadClient);
        }
        let Some(permit) = self.admit(Send::cost_of(&payload, &[], 0)).await else { return };
        let (hub, fanout, client) = (self.hub.clone(), self.fanout.clone(), self.id);
        let ticket = Ticket::new(permit, move |fate| {
            hub.counters().fate(fate);
            if fate.is_failure() {
                if !fanout.can_be_told(client) {
                    dropped(&hub, &fanout, client);
                }
                fanout.dismiss(client, Bye::BadClient);
            }
        });
        let (asks, may_answer) = (self.asks(None), self.may_answer());
        let send = Send { asks, may_answer, ..Send::new(payload, ticket, 0) };
        self.hub.command(Command::Send(send)).await;
    }

    /// Waits for room in the lane. `None`: the client has gone so long ago that its sends are dropped.
    async fn admit(&self, cost: usize) -> Option<Permit> {
        let mut admitted = std::pin::pin!(self.hub.admit(&self.from, cost));
        loop {
            if self.from.end().is_some_and(|end| end <= now()) {
                self.hub.counters().fate(Fate::Expired);
                dropped(&self.hub, &self.fanout, self.id);
                return None;
            }
            if let Ok(permit) = tokio::time::timeout(HUNG_UP_PAUSE, &mut admitted).await {
                return Some(permit);
            }
            // one that is deaf may still be there: it goes on writing
            if socket::is_hung_up(self.stream.socket()) {
                self.hub.leave(&self.from, now());
            }
        }
    }

    async fn status(&self, id: Option<&RawValue>) {
        let Rights { control: all, receive, .. } = self.access.of(&self.who).rights;
        let Some(wait) = self.fanout.book_status(self.peer.uid, all) else {
            let message = "this user asks for status more often than it is answered: ask again in a second";
            return self.fanout.reply(self.id, &replies::error(id, Code::RateLimited, message));
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let line = status::answer(
            id,
            &self.hub,
            &self.fanout,
            self.id,
            Shown { all, public: all || receive },
            self.started,
        );
        self.fanout.reply(self.id, &line);
    }
}

/// Counts a send of a client that has gone and that nobody can be told of.
fn dropped(hub: &Hub, fanout: &Fanout, client: u64) {
    hub.counters().count_dropped();
    const WHAT: &str = "a message isn't sent, and the client that sent it has gone";
    match fanout.drops_said().due() {
        Some(unsaid) => tracing::warn!(client, unsaid, "{WHAT}"),
        None => tracing::debug!(client, "{WHAT}"),
    }
}

/// The clock of the runtime.
fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
