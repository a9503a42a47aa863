//! A hub and a fan-out, and clients of it.

use std::{collections::BTreeMap, io::Read, os::unix::net::UnixStream, rc::Rc, time::Duration};

use futures_util::FutureExt;
use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use serde_json::json;
use tokio::sync::Notify;

use super::{
    CLIENTS, NAMES, PATTERNS, Step, TOPICS,
    model::{Ask, Entry, Told, World},
};
use crate::{
    config::{self, Format, History, MemoryBounds, SlowClient},
    hub::{self, Data, Hub, LinkStatus, MessageTopic, Origin, Publisher, Retain, RetainAs},
    local::{
        access::Access,
        budget::headcount::{Headcount, Most},
        client::ClientReader,
        fanout::{About, Fanout, laggards::Wake},
        socket::{self, Ids},
        sys::watched::Watched,
    },
};

/// A place is kept for so long under a name.
pub(super) const KEEP: Duration = Duration::from_secs(60 * 60);

const POLICIES: [SlowClient; 4] =
    [SlowClient::Gap, SlowClient::Latest, SlowClient::Disconnect, SlowClient::Block];

/// One connection, from both ends.
struct Client {
    reader: Option<ClientReader>,
    far: UnixStream,
    /// The line that it is in the middle of.
    rest: Vec<u8>,
    told: Told,
    name: Option<&'static str>,
    acked: Option<u64>,
}

/// What is known of a name that somebody has, or had.
#[derive(Debug, Clone, Copy)]
enum Name {
    Held(usize),
    /// Its holder had read, or had said itself to have, no more than this; or has acknowledged it, exactly.
    Kept {
        most: u64,
        is_exact: bool,
    },
}

pub(super) struct Stage {
    hub: Hub,
    publisher: Publisher,
    fanout: Fanout,
    headcount: Headcount,
    staging: Option<hub::Staging>,
    clients: [Option<Client>; CLIENTS],
    names: BTreeMap<&'static str, Name>,
    world: World,
    next_id: u64,
}

impl Stage {
    pub(super) fn new() -> Stage {
        let history = History { max_bytes: 256 << 10, ..History::default() };
        let hub = Hub::new("e".to_owned(), &history, false);
        let (publisher, _) = hub.publisher().unwrap();
        publisher.set_retain(Retain { topics: Some(config::Topics::default()), ..Retain::default() });
        let fanout = Fanout::new(hub.clone(), &history, &MemoryBounds::default());
        Stage {
            hub,
            publisher,
            fanout,
            headcount: Headcount::default(),
            staging: None,
            clients: [const { None }; CLIENTS],
            names: BTreeMap::new(),
            world: World { oldest: 1, ..World::default() },
            next_id: 1,
        }
    }

    pub(super) fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish { topic, length, count, late } => {
                (0..count).for_each(|_| self.publish(topic, length, late));
            }
            Step::Announce => {
                self.publisher.announce(LinkStatus::default());
                self.world.staged.push_back(None);
            }
            Step::Offer => self.fanout.offer(),
            Step::Stage => self.staging = self.staging.take().or_else(|| self.publisher.stage()),
            Step::Commit { back } => {
                if let Some(staging) = &self.staging {
                    let newest = self.hub.log().next() - 1;
                    staging.commit(newest.saturating_sub(back));
                }
            }
            // what is staged still is cut
            Step::CommitAll => {
                self.note();
                if self.staging.take().is_some() {
                    self.world.staged.clear();
                }
            }
            Step::Reload { policy, history } => {
                let slow_client = POLICIES[policy];
                self.world.conflates |= slow_client == SlowClient::Latest;
                let history = History { max_bytes: history << 10, slow_client, ..History::default() };
                self.hub.supervisor().set_retention(&history);
                self.fanout.set_policy(&history, &MemoryBounds::default());
            }
            Step::Lapse => self.names.retain(|_, name| matches!(name, Name::Held(_))),
            Step::Join { client } if self.clients[client].is_none() => self.join(client),
            Step::Leave { client } => self.leave(client),
            Step::Begin { client } => {
                if let Some(id) = self.id(client) {
                    self.fanout.begin(id);
                }
            }
            Step::Attach { client, back, patterns, name, takeover, snapshot } => {
                self.attach(client, back, patterns, name, takeover, snapshot)?;
            }
            Step::Ack { client, back } => self.ack(client, back),
            Step::Read { client, room } => {
                self.read(client, room)?;
            }
            Step::Join { .. } => {}
        }
        self.settle()
    }

    fn publish(&mut self, topic: usize, length: usize, late: bool) {
        let topic = match TOPICS.get(topic) {
            Some(name) => MessageTopic::new((*name).to_owned()),
            None if topic == TOPICS.len() => MessageTopic::None,
            None => MessageTopic::Unfit,
        };
        let time_us = if late { 5 } else { u64::MAX / 2 };
        let retain_as = RetainAs::Newest(None);
        let retain_as = matches!(topic, MessageTopic::Of(_)).then_some(&retain_as);
        self.publisher.publish_retained(time_us, Data::Text(&"x".repeat(length)), &topic, retain_as);
        self.world.staged.push_back(Some(topic));
    }

    /// Takes note of what everybody may know by now.
    fn note(&mut self) {
        let log = self.hub.log();
        let noted = self.world.entries.last_key_value().map_or(0, |(seq, _)| *seq);
        for seq in noted + 1..=log.head() {
            let topic = self.world.staged.pop_front().expect("it was published");
            let line =
                String::from_utf8(log.line(seq, Format::Envelope).expect("it is new").to_vec()).unwrap();
            self.world.entries.insert(seq, Entry { topic, line });
        }
        self.world.oldest = log.oldest();
    }

    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.note();
        self.fanout.0.new_waits.borrow_mut().clear(); // the test looks by itself
        self.note_the_gone();
        for row in self.fanout.rows(0, true) {
            prop_assert!(row.ledger.balances(), "{:?}", row);
        }
        Ok(())
    }

    fn id(&self, client: usize) -> Option<u64> {
        self.clients[client].as_ref()?.reader.as_ref().map(|reader| reader.id)
    }

    fn join(&mut self, client: usize) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        let config = config::Listener::new("/listener");
        let (peer, who) = (socket::peer(&near).unwrap(), socket::identity(&near).unwrap());
        let most = Most { clients: 1_000, of_a_user: 1_000 };
        let counted = self.headcount.admit(peer.uid, peer.uid, most).expect("there is room");
        let stream = Rc::new(Watched::reading(near).unwrap());
        let dismissed = Rc::new(Notify::new());
        let about = About {
            listener: config.path.clone(),
            format: config.format,
            peer,
            who: who.clone(),
            receive: true,
            max_line: config.max_line,
            topics: None,
            slow_client: None,
            linger: config.linger,
            dismissed: Rc::clone(&dismissed),
        };
        let id = self.fanout.join(about, Rc::clone(&stream));
        let reader = ClientReader {
            hub: self.hub.clone(),
            fanout: self.fanout.clone(),
            stream,
            id,
            _counted: counted,
            peer,
            who,
            from: Rc::new(Origin::new(peer.uid, id)),
            format: config.format,
            max_line: config.max_line,
            access: Rc::new(Access::new(config, &Ids::default())),
            dismissed,
            started: std::time::Instant::now(),
            asked: Rc::default(),
        };
        self.clients[client] = Some(Client {
            reader: Some(reader),
            far,
            rest: Vec::new(),
            told: Told::default(),
            name: None,
            acked: None,
        });
    }

    /// A client is gone, however that was.
    fn leave(&mut self, client: usize) {
        if let Some(gone) = self.clients[client].take() {
            self.keep(client, &gone);
        }
    }

    /// Whom the fan-out has let go has no name any more, though it may still read.
    fn note_the_gone(&mut self) {
        for at in 0..CLIENTS {
            let is_gone = self.id(at).is_some_and(|id| self.fanout.0.clients.borrow().get(id).is_none());
            if is_gone && let Some(mut gone) = self.clients[at].take() {
                self.keep(at, &gone);
                gone.name = None;
                self.clients[at] = Some(gone);
            }
        }
    }

    /// Its name has the place that it had.
    fn keep(&mut self, at: usize, client: &Client) {
        if let Some(name) = client.name.filter(|name| matches!(self.names[name], Name::Held(by) if by == at))
        {
            let asked = client.told.asks.iter().map(|ask| ask.after.1.max(ask.oldest - 1)).max();
            let most = client.acked.unwrap_or(client.told.place().max(asked.unwrap_or(0)));
            self.names.insert(name, Name::Kept { most, is_exact: client.acked.is_some() });
        }
    }

    fn attach(
        &mut self,
        at: usize,
        back: Option<u64>,
        patterns: Option<usize>,
        name: Option<usize>,
        takeover: bool,
        snapshot: bool,
    ) -> Result<(), TestCaseError> {
        let name = name.map(|name| NAMES[name]);
        if !self.is_heard(at) {
            return Ok(());
        }
        let Some(mut client) = self.clients[at].take() else { return Ok(()) };
        // one connection has one name
        let name = name.filter(|name| client.name.is_none_or(|own| own == *name));
        let (head, oldest) = (self.hub.log().head(), self.hub.log().oldest());
        let id = self.next_id;
        self.next_id += 1;
        let mut after = (head, head);
        let (mut goes_on, mut is_taken) = (false, false);
        if let Some(name) = name {
            let place = match self.names.get(name).copied() {
                Some(Name::Held(by)) if by == at => {
                    goes_on = client.acked.is_none() && client.told.asks.is_empty();
                    Some(client.acked.map_or((0, head), |acked| (acked, acked)))
                }
                Some(Name::Held(_)) if !takeover => {
                    is_taken = true;
                    None
                }
                Some(Name::Held(by)) => {
                    let mut holder = self.clients[by].take().expect("it is there");
                    self.keep(by, &holder);
                    holder.name = None;
                    self.clients[by] = Some(holder);
                    self.kept(name, &mut client)
                }
                Some(Name::Kept { .. }) => self.kept(name, &mut client),
                None => None,
            };
            after = place.unwrap_or(after);
            if !is_taken {
                self.names.insert(name, Name::Held(at));
                client.name = Some(name);
            }
        }
        let mut op = json!({"op": "attach", "id": id, "snapshot": snapshot});
        if let Some(back) = back {
            let seq = head.saturating_sub(back);
            (after, goes_on) = ((seq, seq), false);
            op["since"] = json!({"epoch": "e", "seq": seq});
        }
        let wants = patterns.map(|patterns| PATTERNS[patterns]);
        if let Some(wants) = wants {
            op["topics"] = json!(wants);
        }
        if let Some(name) = name {
            (op["name"], op["takeover"]) = (json!(name), json!(takeover));
        }
        if client.acked.is_some() && !is_taken {
            client.acked = Some(after.0);
        }
        let values = self.world.values(wants);
        client.told.asks.push_back(Ask { id, wants, after, oldest, goes_on, snapshot, values, is_taken });
        self.clients[at] = Some(client);
        self.say(at, &op.to_string());
        Ok(())
    }

    /// Where one goes on that comes back by a name.
    fn kept(&self, name: &str, client: &mut Client) -> Option<(u64, u64)> {
        let Some(Name::Kept { most, is_exact }) = self.names.get(name).copied() else { return None };
        client.acked = is_exact.then_some(most);
        Some((if is_exact { most } else { 0 }, most))
    }

    fn ack(&mut self, at: usize, back: u64) {
        if !self.is_heard(at) {
            return;
        }
        let Some(client) = &mut self.clients[at] else { return };
        if client.name.is_none() || !client.told.asks.is_empty() || client.told.ended {
            return;
        }
        let seq = client.told.place().saturating_sub(back);
        client.acked = Some(client.acked.unwrap_or(0).max(seq));
        self.say(at, &json!({"op": "ack", "seq": seq}).to_string());
    }

    /// Whether a client is there, and still listened to.
    fn is_heard(&self, at: usize) -> bool {
        self.id(at).is_some_and(|id| self.fanout.listens(id))
    }

    /// A client says a line.
    fn say(&self, at: usize, line: &str) {
        let Some(Client { reader: Some(reader), .. }) = &self.clients[at] else { return };
        reader.line(line.as_bytes()).now_or_never().expect("it waits for nothing");
    }

    /// A client reads so many bytes; how many there were.
    fn read(&mut self, at: usize, room: usize) -> Result<usize, TestCaseError> {
        let Some(client) = &mut self.clients[at] else { return Ok(0) };
        let mut bytes = vec![0; room];
        let read = client.far.read(&mut bytes).unwrap_or(0);
        client.rest.extend_from_slice(&bytes[..read]);
        while let Some(end) = memchr::memchr(b'\n', &client.rest) {
            let line: Vec<u8> = client.rest.drain(..=end).collect();
            client.told.line(&self.world, std::str::from_utf8(&line).unwrap())?;
        }
        if let Some(id) = self.id(at)
            && self.fanout.0.clients.borrow().get(id).is_some_and(|client| client.lagging)
        {
            self.fanout.wake(Wake::Writable(id));
        }
        Ok(read)
    }

    /// All read to the end, and everything is accounted for.
    pub(super) fn finish(&mut self) -> Result<(), TestCaseError> {
        self.note();
        self.staging = None;
        self.world.staged.clear();
        for at in 0..CLIENTS {
            if let Some(id) = self.id(at) {
                self.fanout.begin(id);
            }
        }
        self.fanout.offer();
        self.settle()?;
        for at in 0..CLIENTS {
            let is_lagging = |stage: &Stage| {
                let clients = stage.fanout.0.clients.borrow();
                stage.id(at).and_then(|id| clients.get(id).map(|client| client.lagging)).unwrap_or(false)
            };
            while self.read(at, 1 << 20)? > 0 || is_lagging(self) {
                self.settle()?;
            }
            let (Some(client), Some(id)) = (&self.clients[at], self.id(at)) else { continue };
            prop_assert!(client.rest.is_empty(), "within a line");
            if client.told.ended {
                continue;
            }
            prop_assert!(client.told.asks.is_empty(), "{:?} have no answer", client.told.asks);
            let expected = client.told.ledger(&self.world, self.hub.log().head())?;
            let row = self.fanout.rows(id, false).pop().expect("it is there");
            prop_assert_eq!(row.ledger, expected);
        }
        Ok(())
    }
}
