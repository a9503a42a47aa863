//! What clients see of a cluster, where other machines have the same link and log; and the next log, where one ends.

use std::{
    cell::{Cell, Ref, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Hub, LinkState, LinkStatus, Log, Publisher, now_us};
use crate::protocol::{Line, Message, Public, cluster::Cluster, cluster::ClusterStatus};
pub use crate::protocol::{
    cluster::{ClusterCounts, FencedCounts},
    {ClusterState, ClusterWhy},
};

/// How this machine stands in its cluster: plain values, for `hello` and `status`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterNow {
    /// The cluster's name.
    pub name: Rc<str>,
    /// This machine's.
    pub node: Rc<str>,
    /// What it is in it.
    pub state: ClusterState,
    /// Why it is detached or fenced.
    pub why: Option<ClusterWhy>,
    /// What is wrong, in a sentence.
    pub error: Option<String>,
    /// The machine that leads, as far as is known.
    pub leader: Option<Rc<str>>,
    /// The newest term that is known; 0 before the first.
    pub term: u64,
    /// How many messages of the stream it doesn't have yet, as far as is known.
    pub lag: u64,
    /// Until when it may lead.
    pub lease_until: Option<Instant>,
    /// What it counts.
    pub counts: ClusterCounts,
}

/// The entries that clients wait for.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    waits: RefCell<Vec<Rc<Wait>>>,
    /// There is a new one.
    stirred: Notify,
}

/// A client waits for an entry.
#[derive(Debug)]
struct Wait {
    seq: u64,
    is_over: Cell<bool>,
    over: Notify,
}

impl Hub {
    /// How this machine stands in its cluster; `None` where there is no other machine.
    pub fn cluster(&self) -> Option<Ref<'_, ClusterNow>> {
        Ref::filter_map(self.0.common.cluster.borrow(), |now| now.as_deref()).ok()
    }

    /// Says how this machine stands in its cluster. The first time comes before any client does.
    pub fn set_cluster(&self, now: ClusterNow) {
        *self.0.common.cluster.borrow_mut() = Some(Box::new(now));
    }

    /// Changes what is said of it.
    pub fn change_cluster(&self, change: impl FnOnce(&mut ClusterNow)) {
        self.0.common.cluster.borrow_mut().as_deref_mut().map(change);
    }

    /// Says that the link of the cluster is this machine's, by its name and the term, or no longer: what is announced of
    /// the link says so.
    pub fn lead(&self, leads: Option<(Rc<str>, u64)>) {
        *self.0.common.leads.borrow_mut() = leads;
    }

    /// The status with what this machine is, while it leads.
    pub(super) fn as_leader(&self, status: LinkStatus) -> LinkStatus {
        match &*self.0.common.leads.borrow() {
            Some((node, term)) => LinkStatus { node: Some(Rc::clone(node)), term: Some(*term), ..status },
            None => status,
        }
    }

    /// Has all clients of envelope listeners told the link's status once more, by a line that is no entry. What is said so
    /// several times before they are told is said once.
    pub fn restate(&self) {
        self.0.restated.notify_one();
    }

    /// Waits until the link's status is to be said again. Cancel-safe.
    pub async fn restated(&self) {
        self.0.restated.notified().await;
    }

    /// The hub that goes on with another log, of this epoch and from this entry on. All else is the same: the link's
    /// status, what is counted and configured, the lane, what is asked of the link. Of names it is known whose they are,
    /// and that nothing is kept under them. Whoever waits here for an entry waits in vain.
    pub fn successor(&self, epoch: String, first: u64) -> Hub {
        let log = {
            let old = self.log();
            let mut log = Log::starting_at(first, old.retention(), old.keeps_raw());
            if let Some(retain) = old.retains() {
                log.set_retain(retain.clone());
            }
            log
        };
        // before there is an epoch, nothing has a place
        let names = self.names().renewed(now(), !self.epoch().is_empty());
        self.not_there(u64::MAX);
        self.0.common.forget_claim();
        Hub::of(epoch, log, names, Rc::clone(&self.0.common))
    }

    /// Lets go of all entries: nobody will read them any more, though there may be handles.
    pub fn let_go(&self) {
        let mut log = self.0.log.borrow_mut();
        *log = Log::starting_at(log.next(), log.retention(), false);
    }

    /// Waits until a client waits for an entry that isn't there yet, and returns the highest that any waits for. Each of
    /// them makes it return, also when it is among those returned. Cancel-safe.
    pub async fn awaited(&self) -> u64 {
        loop {
            self.0.awaited.stirred.notified().await;
            if let Some(seq) = self.0.awaited.waits.borrow().iter().map(|wait| wait.seq).max() {
                return seq;
            }
        }
    }

    /// Says that entries up to this one won't come, beyond those that are there: who waits for one is told.
    pub fn not_there(&self, seq: u64) {
        let waits = self.0.awaited.waits.borrow();
        waits.iter().filter(|wait| wait.seq <= seq).for_each(|wait| {
            wait.is_over.set(true);
            wait.over.notify_one();
        });
    }

    /// Waits until this entry is there; false if it won't be. Cancel-safe.
    pub async fn entry(&self, seq: u64) -> bool {
        let reader = self.reader();
        reader.offered(u64::MAX, u64::MAX); // nobody waits for this one
        let wait = Waiting::new(self, seq);
        loop {
            if self.log().head() >= seq {
                return true;
            }
            if wait.wait.is_over.get() {
                return false;
            }
            tokio::select! {
                () = reader.published() => {}
                () = wait.wait.over.notified() => {}
            }
        }
    }
}

impl Publisher {
    /// Sets the link's status to what an entry says that another machine has made. It is no entry, and isn't counted: this
    /// machine hasn't tried anything.
    pub fn follow_link(&self, status: LinkStatus) {
        self.hub().note_link(status);
    }

    /// Says how the link is while this machine doesn't hear of it: nothing of it has ended, as far as is known.
    pub fn lose_link(&self, error: String) {
        let (state, since_us) = (LinkState::Waiting, now_us());
        let (conn, url) = {
            let link = self.hub().link();
            (link.conn, link.url.clone())
        };
        let status = LinkStatus { state, since_us, conn, url, error: Some(error), ..LinkStatus::default() };
        self.hub().replace_link(status);
    }

    /// Takes from an entry that another machine has made what is to be known here: how the link is, and the values of
    /// public captures. Of a message that is nothing. `line` is the entry's, with its end or without.
    pub fn follow(&self, line: &[u8]) {
        if Message::is_one(line) {
            return;
        }
        match Line::parse(line.trim_ascii_end()) {
            Some(Line::Link(link)) => self.follow_link(LinkStatus::from(&link)),
            Some(Line::Public(Public { time_us, public, .. })) => self.follow_public(time_us, &public),
            _ => {}
        }
    }
}

/// A wait, until this is dropped.
struct Waiting<'h> {
    hub: &'h Hub,
    wait: Rc<Wait>,
}

impl Waiting<'_> {
    fn new(hub: &Hub, seq: u64) -> Waiting<'_> {
        let wait = Rc::new(Wait { seq, is_over: Cell::new(false), over: Notify::new() });
        hub.0.awaited.waits.borrow_mut().push(Rc::clone(&wait));
        hub.0.awaited.stirred.notify_one();
        Waiting { hub, wait }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.hub.0.awaited.waits.borrow_mut().retain(|wait| !Rc::ptr_eq(wait, &self.wait));
    }
}

impl ClusterNow {
    /// What `hello` says.
    pub fn told(&self) -> Cluster<'_> {
        Cluster {
            name: (&*self.name).into(),
            state: self.state.into(),
            why: self.why.map(Into::into),
            error: self.error.as_deref().map(Into::into),
            leader: self.leader.as_deref().map(Into::into),
            term: self.term,
        }
    }

    /// What `status` says.
    pub fn status(&self) -> ClusterStatus<'_> {
        let millis = |left: Duration| u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        ClusterStatus {
            cluster: self.told(),
            lag: self.lag,
            lease_left_ms: self.lease_left().map(millis),
            counters: self.counts,
        }
    }

    /// How long this machine may still lead.
    pub fn lease_left(&self) -> Option<Duration> {
        self.lease_until.map(|until| until.saturating_duration_since(now()))
    }
}

/// The clock of the runtime.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{
        config::{Format, History},
        hub::{Command, Commands, Data, Fate, LinkState, MessageTopic, Origin, Payload, Send, Ticket},
    };

    fn hub() -> (Hub, Publisher, Commands) {
        let hub = Hub::starting_at("one".to_owned(), 5, &History::default(), true);
        let (publisher, commands) = hub.publisher().expect("it is the first");
        (hub, publisher, commands)
    }

    fn line(hub: &Hub, seq: u64) -> String {
        let log = hub.log();
        String::from_utf8(log.line(seq, Format::Envelope).expect("it is there").to_vec()).unwrap()
    }

    fn text(line: Vec<u8>) -> String {
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_link_that_is_not_heard_of_waits_and_nothing_of_it_has_ended() {
        let hub = Hub::new("e".into(), &crate::config::History::default(), false);
        let (publisher, _commands) = hub.publisher().unwrap();
        publisher.follow(
            b"{\"type\":\"link\",\"seq\":1,\"time_us\":2,\"state\":\"up\",\"conn\":7,\"url\":\"ws://h/\"}\n",
        );
        publisher.lose_link("NATS is away".into());
        {
            let link = hub.link();
            assert_eq!((link.state, link.conn, link.url.as_str()), (LinkState::Waiting, 7, "ws://h/"));
            assert_eq!(link.error.as_deref(), Some("NATS is away"));
        }
        assert!(hub.last_end().is_none() && hub.log().head() == 0);
    }

    #[test]
    fn who_leads_says_so_with_the_link() {
        let (hub, publisher, _commands) = hub();
        let up = LinkStatus { state: LinkState::Up, ..LinkStatus::default() };
        publisher.announce(up.clone());
        assert!(!line(&hub, 5).contains("node"));
        hub.lead(Some(("host-a".into(), 3)));
        publisher.announce(up.clone());
        let named = ",\"attempt\":0,\"node\":\"host-a\",\"term\":3}\n";
        assert!(line(&hub, 6).ends_with(named) && text(hub.link_line()).ends_with(named));
        drop(publisher);
        assert!(line(&hub, 7).contains("\"closed\"") && line(&hub, 7).ends_with(named));
        hub.lead(None);
        hub.publisher().unwrap().0.announce(up);
        assert!(!line(&hub, 8).contains("node"));
    }

    #[test]
    fn another_machines_entries_are_known_here_and_counted_there() {
        let (hub, publisher, _commands) = hub();
        let supervisor = hub.supervisor();
        publisher.set_public(["s".to_owned()].into());
        let link = r#"{"type":"link","seq":9,"time_us":7,"state":"waiting","conn":2,"url":"ws://h/","subprotocol":"p","code":1011,"reason":"r","http_status":503,"error":"e","attempt":4,"retry_in_ms":20,"node":"host-b","term":8}"#;
        publisher.follow(link.as_bytes());
        assert_eq!(text(hub.link_line()), link.replace("\"seq\":9,", "") + "\n");
        assert!(supervisor.link_changed().now_or_never().is_some());
        assert_eq!(hub.last_end().as_ref().and_then(|end| end.code), Some(1011));
        assert_eq!(hub.counters().troubles().link, Default::default(), "this machine hasn't tried anything");
        publisher.follow(b"{\"type\":\"public\",\"seq\":10,\"time_us\":8,\"public\":{\"s\":1.0}}\n");
        assert_eq!(text(hub.public_line()), "{\"type\":\"public\",\"time_us\":8,\"public\":{\"s\":1.0}}\n");
        for other in [
            "{\"type\":\"message\",\"seq\":1,\"json\":{\"state\":\"up\"}}",
            "{\"type\":\"gap\",\"seq\":1}",
            "no line",
        ] {
            publisher.follow(other.as_bytes());
        }
        assert_eq!((hub.link().conn, hub.log().head()), (2, 4), "and nothing is an entry");
    }

    #[test]
    fn what_is_said_again_several_times_at_once_is_said_once() {
        let (hub, ..) = hub();
        assert!(hub.restated().now_or_never().is_none());
        hub.restate();
        hub.restate();
        assert!(hub.restated().now_or_never().is_some() && hub.restated().now_or_never().is_none());
    }

    #[tokio::test(flavor = "local")]
    async fn the_next_log_is_another_and_all_else_is_the_same() {
        let (hub, publisher, commands) = hub();
        publisher.publish(1, Data::Text("1"), &MessageTopic::None);
        publisher.announce(LinkStatus { state: LinkState::Up, conn: 3, ..LinkStatus::default() });
        hub.claim_answers(1).unwrap();
        let claimed = hub.names().claim(now(), "bot", 7, 1);
        assert_eq!(claimed, crate::hub::Claim::New);
        let next = hub.successor("two".to_owned(), 100);
        assert_eq!((next.epoch(), next.log().head(), next.log().oldest()), ("two", 99, 100));
        assert!(next.log().keeps_raw() && next.link().conn == 3);
        assert_eq!(next.counters().traffic().received, 1);
        assert_eq!(next.names().claim(now(), "bot", 7, 2), crate::hub::Claim::Renewed);
        assert!(next.claim_answers(2).is_ok(), "who had claimed them is of the log before");
        assert_eq!((hub.epoch(), hub.log().head()), ("one", 6), "which stays what it was");

        assert!(next.publisher().is_none(), "the link has one end");
        drop((publisher, commands));
        let (publisher, mut commands) = next.publisher().expect("now it is free");
        publisher.publish(1, Data::Text("2"), &MessageTopic::None);
        assert_eq!((next.log().head(), hub.counters().traffic().received), (100, 2));
        // a client of the log before
        let permit = hub.admit(&Rc::new(Origin::new(7, 1)), 1).await;
        let send = Send::new(Payload::Text("x".to_owned()), Ticket::new(permit, |_| {}), 0);
        assert!(hub.command(Command::Send(send)).await);
        let Some(Command::Send(send)) = commands.try_recv() else {
            panic!("it goes to the link that there is")
        };
        send.ticket.settle(Fate::Written);

        let bytes = hub.log().bytes();
        hub.let_go();
        assert_eq!((hub.log().head(), hub.log().oldest()), (7, 8), "the end of its link was the last entry");
        assert!(hub.log().bytes() < bytes, "{} of {bytes} bytes", hub.log().bytes());
    }

    #[test]
    fn an_entry_that_is_waited_for_comes_or_does_not() {
        let (hub, publisher, _commands) = hub();
        let publish = || {
            publisher.publish(1, Data::Text("1"), &MessageTopic::None);
            publisher.flush();
        };
        assert!(hub.awaited().now_or_never().is_none());
        let (mut five, mut six, mut nine) =
            (Box::pin(hub.entry(5)), Box::pin(hub.entry(6)), Box::pin(hub.entry(9)));
        assert!((&mut five).now_or_never().is_none() && (&mut nine).now_or_never().is_none());
        assert_eq!(hub.awaited().now_or_never(), Some(9));
        assert!(hub.awaited().now_or_never().is_none(), "nobody else has come");
        assert!((&mut six).now_or_never().is_none());
        assert_eq!(hub.awaited().now_or_never(), Some(9));
        publish();
        assert_eq!((&mut five).now_or_never(), Some(true));
        assert!((&mut six).now_or_never().is_none());
        assert!(publisher.is_ready(), "the link doesn't wait for them");
        hub.not_there(8);
        assert_eq!((&mut six).now_or_never(), Some(false));
        assert!((&mut nine).now_or_never().is_none());
        let (two, mut late) = (hub.successor("two".to_owned(), 1), Box::pin(hub.entry(30)));
        assert_eq!((&mut nine).now_or_never(), Some(false), "it is of a log that is over");
        assert!((&mut late).now_or_never().is_none());
        drop((five, six, nine, late));
        assert!(hub.awaited().now_or_never().is_none() && two.awaited().now_or_never().is_none());
        assert_eq!(hub.entry(5).now_or_never(), Some(true));
        let staged = publisher.stage().unwrap();
        publish();
        assert!(hub.entry(6).now_or_never().is_none(), "nobody has seen it");
        staged.commit(6);
        assert_eq!(hub.entry(6).now_or_never(), Some(true));
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn how_a_machine_stands_is_told_with_what_is_left_of_its_lease() {
        let (hub, ..) = hub();
        assert!(hub.cluster().is_none());
        let lease_until = Some(now() + Duration::from_millis(1_400));
        hub.set_cluster(ClusterNow {
            name: "c".into(),
            node: "a".into(),
            state: ClusterState::Leader,
            leader: Some("a".into()),
            term: 3,
            lease_until,
            ..ClusterNow::default()
        });
        hub.change_cluster(|now| now.counts.elected = 2);
        tokio::time::advance(Duration::from_millis(400)).await;
        let next = hub.successor("two".to_owned(), 1);
        let status = serde_json::to_value(next.cluster().unwrap().status()).unwrap();
        assert_eq!(
            (&status["lease_left_ms"], &status["state"]),
            (&1_000.into(), &"leader".into()),
            "{status}"
        );
        assert_eq!((&status["counters"]["elected"], &status["term"]), (&2.into(), &3.into()), "{status}");
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(hub.cluster().unwrap().lease_left(), Some(Duration::ZERO));
        assert_eq!(
            serde_json::to_value(hub.cluster().unwrap().told()).unwrap()["why"],
            serde_json::Value::Null
        );
    }
}
