//! What a storm was seen to do: by the server, by the clients, and by who held the daemon. The oracle
//! judges this and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use serde_json::Value;

use super::{
    calls::{Asked, What},
    payload::Payload,
    units::Part,
};

#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) seed: u64,
    /// The daemon's lives, in order.
    pub(crate) lives: Vec<Life>,
    /// TCP connections that the server took, in order.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) sessions: Vec<Session>,
    /// When somebody did something that may shorten a delay, from when to when since the storm's begin.
    pub(crate) interventions: Vec<(Duration, Duration)>,
    /// `history.slow_client`.
    pub(crate) slow_client: &'static str,
    /// `[topics]` names the topics of messages.
    pub(crate) topics: bool,
    /// `[rotate]` is in force: two connections may be heard at once.
    pub(crate) rotates: bool,
    /// `memory.unfinished_lines`, if it is so small that clients may be refused for it, in bytes.
    pub(crate) unfinished: Option<usize>,
    /// How many clients there are at once, at most.
    pub(crate) clients: usize,
    /// The most memory that the daemon was seen to take, and the bound, in bytes.
    pub(crate) memory: (usize, usize),
}

impl Record {
    /// How much of what happened, for people.
    pub(crate) fn summary(&self) -> String {
        let logged =
            |what: &str| -> usize { self.lives.iter().map(|life| life.log.matches(what).count()).sum() };
        let is_refused = |line: &Vec<u8>| line.starts_with(b"{\"type\":\"error\",\"code\":\"no_room\"");
        let refused = self.sessions.iter().filter(|session| session.lines.iter().any(is_refused)).count();
        let calls: usize = self.sessions.iter().map(|session| session.calls.len()).sum();
        let begins: [&[u8]; 2] = [b"{\"type\":\"answer\"", b"{\"answer\":"];
        let is_answer = |line: &&Vec<u8>| begins.iter().any(|begin| line.starts_with(begin));
        let answers = |session: &Session| session.lines.iter().filter(is_answer).count();
        let answers: usize = self.sessions.iter().map(answers).sum();
        let subs: usize = self.sessions.iter().map(|session| session.subs.len()).sum();
        let is_said = |asked: &&Asked| matches!(asked.what, What::Topics { .. });
        let said = |attempt: &Attempt| attempt.asked.iter().filter(is_said).count();
        let said: usize = self.attempts.iter().map(said).sum();
        format!(
            "{calls} requests and {answers} answers, {subs} subscriptions of which {said} were said, {} lives, {} connections, {} rotations, {} sessions, {refused} of them refused and {} cut off, {} \
             sends dropped",
            self.lives.len(),
            self.attempts.len(),
            logged("is made to take over"),
            self.sessions.len(),
            logged("had stopped reading") + logged("cut off a client"),
            logged("a message isn't sent"),
        )
    }
}

impl Record {
    /// Whether the daemon may have ended this session: by its log, or as nobody knows, since it was killed.
    pub(crate) fn may_be_cut_off(&self, session: &Session) -> bool {
        let Some(hello) = session.lines.first().filter(|_| !session.raw) else { return true };
        let hello: Value = serde_json::from_slice(hello).unwrap_or_default();
        let life = self.lives.iter().find(|life| hello["epoch"] == life.epoch.as_str());
        life.is_none_or(|life| life.killed || life.cuts(&hello["client"]).next().is_some())
    }
}

/// Times are since the storm's begin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    pub(crate) epoch: String,
    /// SIGKILL, or a stop that lets clients have the rest.
    pub(crate) killed: bool,
    /// When it was there for clients.
    pub(crate) from: Duration,
    /// When its end was asked for.
    pub(crate) until: Duration,
    /// Which of the connections to the server it made.
    pub(crate) attempts: Range<usize>,
    /// What it logged, from `debug` on. Nothing of one that was killed.
    pub(crate) log: String,
}

impl Life {
    /// The lines of the log that say that this client was cut off.
    pub(crate) fn cuts(&self, client: &Value) -> impl Iterator<Item = &str> {
        let client = format!("client={client}");
        let says = ["disconnected a client that had stopped reading", "cut off a client"];
        let cuts = self.log.lines().filter(move |line| says.iter().any(|says| line.contains(says)));
        cuts.filter(move |line| line.split_whitespace().any(|word| word == client))
    }
}

/// A connection to the server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempt {
    pub(crate) at: Duration,
    pub(crate) ended: Duration,
    /// The server asked for so much time before the next one.
    pub(crate) retry_after: Option<Duration>,
    /// It answered 101.
    pub(crate) upgraded: bool,
    /// How many messages it began to say.
    pub(crate) begun: u64,
    /// Of what topic each of them was, if it was of one.
    pub(crate) topics: Vec<Option<String>>,
    /// How many of them went out whole.
    pub(crate) whole: u64,
    /// What clients' messages came, in order.
    pub(crate) received: Vec<Payload>,
    /// The topics that it has accepted, and that weren't given up.
    pub(crate) has: BTreeSet<String>,
    /// The messages of units, in order.
    pub(crate) parts: Vec<Part>,
    /// What it was asked, in order.
    pub(crate) asked: Vec<Asked>,
    /// It read all that the daemon wrote: up to a close frame or the end.
    pub(crate) read_to_end: bool,
    /// The reason in its own close frame, when it closed first.
    pub(crate) closed: Option<String>,
    /// The reason in the daemon's close frame, when that came first and was answered. All that went out
    /// whole did so before the answer.
    pub(crate) answered: Option<String>,
}

/// What a client asked for with `attach`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attach {
    /// The epoch and the entry after which it goes on.
    pub(crate) since: Option<(String, u64)>,
    pub(crate) topics: Option<Vec<String>>,
    pub(crate) name: Option<String>,
    /// Whether it takes the name over from another.
    pub(crate) takeover: bool,
}

impl Attach {
    /// The line that asks for it.
    pub(crate) fn line(&self, id: &str) -> String {
        let since = self.since.as_ref();
        let since = since.map_or(String::new(), |(epoch, seq)| {
            format!(",\"since\":{{\"epoch\":\"{epoch}\",\"seq\":{seq}}}")
        });
        let topics = self.topics.as_ref().map_or(String::new(), |topics| format!(",\"topics\":{topics:?}"));
        let name = self.name.as_ref().map_or(String::new(), |name| format!(",\"name\":\"{name}\""));
        let takeover = if self.takeover { ",\"takeover\":true" } else { "" };
        format!("{{\"op\":\"attach\",\"id\":\"{id}\"{since}{topics}{name}{takeover}}}\n")
    }
}

/// What a client asked of topics that are shared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sub {
    pub(crate) topics: Vec<String>,
    /// It subscribes, or gives them up.
    pub(crate) more: bool,
    /// When it was written.
    pub(crate) at: Duration,
    /// When it was answered at last, and whether that was an `ok`.
    pub(crate) told: Option<(Duration, bool)>,
}

/// One connection of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    pub(crate) number: u64,
    /// What its program is like, for people.
    pub(crate) what: String,
    pub(crate) raw: bool,
    /// When it was connected, and when it ended.
    pub(crate) time: (Duration, Duration),
    /// All lines that came whole, without their ends.
    pub(crate) lines: Vec<Vec<u8>>,
    /// Its sends, by their ids.
    pub(crate) sends: BTreeMap<String, u64>,
    /// Its units, by their ids.
    pub(crate) units: BTreeMap<String, u64>,
    /// Which of its requests each id is of, those that it sends as any other message included.
    pub(crate) calls: BTreeMap<String, u64>,
    /// Which requests it has cancelled, by the ids of its cancels.
    pub(crate) cancels: BTreeMap<String, String>,
    /// What it asked of shared topics, by its ids.
    pub(crate) subs: BTreeMap<String, Sub>,
    /// Topics that it was told not to have any more, and when.
    pub(crate) losses: Vec<(Duration, Vec<String>)>,
    /// When it read what came of its first attach.
    pub(crate) attached: Option<Duration>,
    /// When it left, or read that it is over.
    pub(crate) until: Duration,
    /// What its listener lets through; nothing, if that is all.
    pub(crate) taste: Option<Vec<String>>,
    /// Where it attached, by its ids.
    pub(crate) attaches: BTreeMap<String, Attach>,
    /// Of one that closes without reading: how many of its sends went out whole before.
    pub(crate) whole: u64,
    /// How much it has written, in bytes.
    pub(crate) written: usize,
    /// It closed the connection itself.
    pub(crate) left: bool,
}
