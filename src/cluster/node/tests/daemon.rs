//! The daemon around a node: its hub, and a client that reads all there is in both formats.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use futures_util::{FutureExt, future::LocalBoxFuture};
use serde_json::Value;
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

use super::upstream::Upstream;
use crate::{
    cluster::{Host, LinkEnd},
    config::{self, Format},
    hub::{Commands, CountedBeside, Hub, Publisher},
};

/// The daemon.
pub(super) struct Daemon {
    pub(super) name: String,
    upstream: Upstream,
    pub(super) hub: RefCell<Hub>,
    /// One for each epoch, the newest last.
    clients: RefCell<Vec<Rc<Client>>>,
    /// The client's task.
    serving: RefCell<Option<JoinHandle<()>>>,
    pub(super) fingerprint: RefCell<String>,
    pub(super) outbox: Cell<config::Outbox>,
    changed: Notify,
    /// How often its hub was made ready for what others publish.
    pub(super) prepared: Cell<u32>,
}

/// What a node has done by it.
pub(super) struct Around(pub(super) Rc<Daemon>);

/// A client of one log.
#[derive(Default)]
pub(super) struct Client {
    told: RefCell<Vec<Told>>,
    numbers: RefCell<Vec<u64>>,
    raw: RefCell<String>,
    /// It was told that the log has ended.
    pub(super) has_bye: Cell<bool>,
}

/// An envelope line.
struct Told {
    at: Instant,
    line: String,
    value: Value,
}

impl Daemon {
    /// One that has no log yet.
    pub(super) fn new(name: &str, upstream: &Upstream) -> Rc<Daemon> {
        let hub = Hub::new(String::new(), &config::History::default(), true);
        let daemon = Rc::new(Daemon {
            name: name.to_owned(),
            upstream: upstream.clone(),
            hub: RefCell::new(hub.clone()),
            clients: RefCell::default(),
            serving: RefCell::default(),
            fingerprint: RefCell::new("alike".to_owned()),
            outbox: Cell::default(),
            changed: Notify::new(),
            prepared: Cell::new(0),
        });
        daemon.serve(hub);
        daemon
    }

    /// Its clients are served no more.
    pub(super) fn end(&self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }

    /// A reload has changed the link's settings.
    pub(super) fn reload(&self, fingerprint: &str) {
        self.fingerprint.replace(fingerprint.to_owned());
        self.changed.notify_one();
    }

    /// The client of the newest log.
    pub(super) fn client(&self) -> Rc<Client> {
        Rc::clone(self.clients.borrow().last().expect("there is always one"))
    }

    fn serve(&self, hub: Hub) {
        self.end();
        let client = Rc::<Client>::default();
        self.clients.borrow_mut().push(Rc::clone(&client));
        self.serving.replace(Some(tokio::task::spawn_local(serve(hub, client))));
    }
}

async fn serve(hub: Hub, client: Rc<Client>) {
    let reader = hub.reader();
    reader.want_raw(true);
    let mut next = hub.log().oldest();
    loop {
        {
            let log = hub.log();
            while next <= log.head() {
                client.hear(log.line(next, Format::Envelope).expect("nothing leaves this log"));
                let raw = log.line(next, Format::Raw).expect("it is kept");
                client.raw.borrow_mut().push_str(std::str::from_utf8(raw).unwrap());
                next += 1;
            }
        }
        reader.offered(next - 1, u64::MAX);
        tokio::select! {
            () = reader.published() => {}
            () = hub.restated() => client.hear(&hub.link_line()),
        }
    }
}

impl Client {
    fn hear(&self, line: &[u8]) {
        let line = std::str::from_utf8(line).unwrap().to_owned();
        let value: Value = serde_json::from_str(&line).unwrap();
        if let Some(text) = value["text"].as_str().and_then(|text| text.strip_prefix('n')) {
            self.numbers.borrow_mut().push(text.parse().unwrap());
        }
        self.told.borrow_mut().push(Told { at: Instant::now(), line, value });
    }

    /// All that it was told, each with its time.
    pub(super) fn told(&self) -> Vec<(Instant, Value)> {
        self.told.borrow().iter().map(|told| (told.at, told.value.clone())).collect()
    }

    /// How many lines it was told.
    pub(super) fn count(&self) -> usize {
        self.told.borrow().len()
    }

    /// Whether it was told such a line, but for so many of the first.
    pub(super) fn was_told(&self, from: usize, is_so: impl Fn(&Value) -> bool) -> bool {
        self.told.borrow()[from..].iter().any(|told| is_so(&told.value))
    }

    /// Those that are no entries: what its own machine says of the link.
    pub(super) fn restated(&self) -> Vec<(Instant, Value)> {
        self.told().into_iter().filter(|(_, line)| line.get("seq").is_none()).collect()
    }

    /// The entries' lines.
    pub(super) fn entries(&self) -> Vec<String> {
        let told = self.told.borrow();
        let entries = told.iter().filter(|told| told.value.get("seq").is_some());
        entries.map(|told| told.line.clone()).collect()
    }

    /// What a reader of the raw format was told.
    pub(super) fn raw(&self) -> String {
        self.raw.borrow().clone()
    }

    /// The numbers of what the server said.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.numbers.borrow().clone()
    }

    /// The state of the link, as it was told last.
    pub(super) fn link(&self) -> Option<String> {
        let told = self.told.borrow();
        let newest = told.iter().rev().find(|told| told.value["type"] == "link")?;
        newest.value["state"].as_str().map(str::to_owned)
    }
}

impl Host for Around {
    fn prepare(&self, _publisher: &Publisher) {
        self.0.prepared.set(self.0.prepared.get() + 1);
    }

    async fn changed(&mut self) {
        self.0.changed.notified().await;
    }

    fn fingerprint(&self) -> String {
        self.0.fingerprint.borrow().clone()
    }

    fn outbox(&self) -> config::Outbox {
        self.0.outbox.get()
    }

    fn link(
        &self,
        publisher: Publisher,
        commands: Commands,
        _hub: &Hub,
        _counted: &CountedBeside,
    ) -> LocalBoxFuture<'static, LinkEnd> {
        let link = self.0.upstream.clone().link(self.0.name.clone(), publisher, commands);
        link.boxed_local()
    }

    fn renew(&self, epoch: &str, first: u64) -> LocalBoxFuture<'_, Hub> {
        let hub = self.0.hub.borrow().successor(epoch.to_owned(), first);
        self.0.client().has_bye.set(true);
        self.0.hub.replace(hub.clone());
        self.0.serve(hub.clone());
        std::future::ready(hub).boxed_local()
    }
}
