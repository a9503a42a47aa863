//! What becomes of a cluster, and what its clients are told.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    upstream::News,
    world::{LEASE, MS, World},
};
use crate::{
    cluster::LinkEnd,
    config::Outbox,
    hub::{ClusterState, Command, Fate},
};

/// A leader that is gone is replaced by then, and the link is up.
const REPLACED: Duration = Duration::from_secs(3);

/// How the links of two machines came one after the other: when the first was closed, and the second opened.
fn handed(news: &[News], from: &str, to: &str) -> (Instant, Instant) {
    let closed = news.iter().rev().find(|news| news.node == from && !news.is_open);
    let opened = news.iter().rev().find(|news| news.node == to && news.is_open);
    (closed.expect("it was closed").at, opened.expect("it was opened").at)
}

/// The lines with which a new term begins, where they are the next ones of this kind.
fn term(lines: &[(Instant, Value)], term: u64) -> Option<[Value; 2]> {
    let at = lines.iter().position(|(_, line)| line["term"] == term)?;
    Some([lines[at].1.clone(), lines[at + 1].1.clone()])
}

/// What the server said lies in the log in its order, and where one is missing, a gap does: so many of them.
fn gaps(numbers: &[u64]) -> usize {
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn one_leads_and_all_have_the_same_bytes() {
    let world = World::of(&["a", "b", "c"]).await;
    world.more("c", 50).await;
    world.are_equal("a", "b").await;
    world.are_equal("a", "c").await;
    let states = ["a", "b", "c"].map(|name| world.state(name));
    assert_eq!(states, [ClusterState::Leader, ClusterState::Follower, ClusterState::Follower]);
    assert_eq!(world.hub("c").cluster().unwrap().leader.as_deref(), Some("a"));
    assert_eq!(world.upstream.news().len(), 1, "one connection");
    let client = world.of_client("c");
    assert_eq!(client.numbers()[0], 1, "all from the beginning");
    assert_eq!(gaps(&client.numbers()), 0);
    assert_eq!(world.hub("a").epoch(), world.hub("c").epoch());
    // nobody is told anything before the stream has it
    let stored = world.servers.stored();
    let bytes: Vec<u8> = stored.into_iter().flat_map(|stored| stored.body).collect();
    assert!(String::from_utf8(bytes).unwrap().starts_with(&client.entries().concat()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_leader_that_dies_is_replaced_and_the_gap_is_declared_once() {
    let mut world = World::of(&["a", "b", "c"]).await;
    world.more("b", 20).await;
    world.kill("a").await;
    let newest = world.hub("c").log().head();
    let (followers, said) = (["b", "c"], world.upstream.said());
    let is_up = |world: &World| {
        followers
            .iter()
            .all(|name| world.of_client(name).was_told(0, |line| line["state"] == "up" && line["term"] == 2))
    };
    let took = world.until("the next leader's link is up", REPLACED, is_up).await;
    assert!(took > LEASE * 9 / 10, "silence was waited for: {took:?}");
    world.more("b", 20).await;
    world.are_equal("b", "c").await;
    for name in followers {
        let client = world.of_client(name);
        let [link, gap] = term(&client.told(), 2).expect("a new term");
        assert_eq!((&link["type"], &link["state"]), (&"link".into(), &"connecting".into()));
        assert_eq!((&gap["type"], &gap["why"]), (&"gap".into(), &"failover".into()));
        let failovers = client.told().iter().filter(|(_, line)| line["why"] == "failover").count();
        assert_eq!(failovers, 1);
        let seq = link["seq"].as_u64().unwrap();
        assert!(seq > newest, "what was acknowledged stays");
        let told = client.told();
        let before = told.iter().find(|(_, line)| line["seq"] == seq - 1).unwrap();
        assert_eq!(gap["after_us"], before.1["time_us"], "the newest entry of the old term");
        assert!(client.numbers().contains(&said), "nothing more was lost than was on its way: {said}");
    }
    assert_eq!(world.upstream.news().len(), 3, "opened, gone with it, opened");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_leader_that_is_cut_off_drops_its_link_before_the_next_one_opens() {
    let world = World::of(&["a", "b"]).await;
    world.more("b", 20).await;
    let (a, cut) = (world.machine("a").wire, Instant::now());
    world.servers.cut(a, 10 * LEASE);
    let opens = |world: &World| world.upstream.open().as_deref() == Some("b");
    world.until("the next one opens", REPLACED, opens).await;
    let (closed, opened) = handed(&world.upstream.news(), "a", "b");
    assert!(closed <= cut + LEASE * 7 / 10 + MS && closed + LEASE / 5 < opened, "{:?}", opened - closed);
    assert_ne!(world.state("a"), ClusterState::Leader);
    // what a had taken in and nobody acknowledged, its clients never saw
    let is_told = |world: &World| world.of_client("a").link().as_deref() == Some("waiting");
    world.until("its clients are told", LEASE, is_told).await;
    let (before, told) = (world.of_client("a").entries(), world.of_client("a").count());
    world.more("b", 20).await;
    assert_eq!(world.of_client("b").entries()[..before.len()], before);

    sleep(10 * LEASE).await;
    world.servers.join(a);
    let is_back = |world: &World| {
        world.state("a") == ClusterState::Follower
            && world.of_client("a").was_told(told, |line| line["term"] == 2 && line["state"] == "up")
    };
    world.until("it goes along", LEASE, is_back).await;
    world.more("a", 20).await;
    world.are_equal("a", "b").await;
    assert_eq!(world.of_client("a").link().as_deref(), Some("up"));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_leader_that_is_stopped_hands_over_without_waiting_for_the_lease() {
    let mut world = World::of(&["a", "b"]).await;
    world.more("b", 20).await;
    let begin = Instant::now();
    let (a, end) = world.stop("a").await;
    assert_eq!(end, LinkEnd::Stopped);
    let opens = |world: &World| world.upstream.open().as_deref() == Some("b");
    world.until("the next one opens", 500 * MS, opens).await;
    let (closed, opened) = handed(&world.upstream.news(), "a", "b");
    assert!(closed < opened && opened < begin + 500 * MS);
    let told = world.of_client("b").told();
    let [_, gap] = term(&told, 2).expect("a new term");
    assert_eq!(gap["why"], "failover");
    let is_last = |line: &Value| line["term"] == 1 && line["type"] == "link" && line["seq"].is_u64();
    let last = told.iter().rev().find(|(_, line)| is_last(line)).unwrap();
    assert_eq!(last.1["state"], "waiting");
    assert!(last.1["error"].as_str().unwrap().contains("hands the link over"), "{}", last.1);
    assert!(!told.iter().any(|(_, line)| line["state"] == "closed"), "nobody has closed it");
    // its own clients have all that it brought
    let entries = a.client().entries();
    assert_eq!(world.of_client("b").entries()[..entries.len()], entries);
    world.more("b", 5).await;
    assert_eq!(gaps(&world.of_client("b").numbers()), 0, "it said nothing meanwhile");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_stream_that_is_gone_ends_the_log_and_another_begins() {
    let world = World::of(&["a", "b"]).await;
    world.more("b", 20).await;
    let names = ["a", "b"];
    let (before, clients) = (world.hub("a").epoch().to_owned(), names.map(|name| world.of_client(name)));
    world.servers.delete();
    let is_closed = |world: &World| world.upstream.open().is_none();
    world.until("the link is dropped", 250 * MS, is_closed).await;
    sleep(LEASE).await;
    world.servers.make();
    let is_new = |world: &World| {
        names.iter().all(|name| {
            *world.hub(name).epoch() != *before && world.of_client(name).link().as_deref() == Some("up")
        })
    };
    world.until("another log", 3 * LEASE, is_new).await;
    assert!(clients.iter().all(|client| client.has_bye.get()));
    assert_eq!(world.hub("a").epoch(), world.hub("b").epoch());
    world.more("a", 20).await;
    world.are_equal("a", "b").await;
    let first = &world.of_client("b").told()[0].1;
    assert_eq!((&first["seq"], &first["type"]), (&1.into(), &"link".into()));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_that_waits_for_an_entry_ahead_gets_it_when_its_node_comes_there() {
    let world = World::of(&["a", "b"]).await;
    world.more("b", 20).await;
    world.servers.stall(world.machine("b").wire, true);
    world.more("a", 20).await;
    let (hub, ahead) = (world.hub("b"), world.hub("a").log().head());
    assert!(hub.log().head() < ahead);
    let waits = tokio::task::spawn_local({
        let hub = hub.clone();
        async move { hub.entry(ahead).await }
    });
    sleep(100 * MS).await;
    assert!(!waits.is_finished(), "it is held");
    world.servers.stall(world.machine("b").wire, false);
    assert!(waits.await.unwrap());
    assert!(hub.log().head() >= ahead);

    let begin = Instant::now();
    assert!(!hub.entry(ahead + 1_000_000).await, "that one is of no log");
    assert!(begin.elapsed() <= LEASE + 500 * MS, "{:?}", begin.elapsed());
    assert!(!world.hub("a").entry(ahead + 1_000_000).await, "the leader knows it at once");
    world.more("b", 5).await;
    world.are_equal("a", "b").await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_client_that_waits_gets_it_after_a_lease_where_its_node_lags() {
    let mut world = World::of(&["a"]).await;
    world.start("b", |cluster| cluster.candidate = false);
    world.more("b", 20).await;
    world.servers.stall(world.machine("b").wire, true);
    world.more("a", 20).await;
    // the stream is asked then, and what it has is taken, though nothing is read
    let (hub, ahead, begin) = (world.hub("b"), world.hub("a").log().head(), Instant::now());
    assert!(hub.log().head() < ahead && hub.entry(ahead).await);
    let took = begin.elapsed();
    assert!(LEASE <= took && took < LEASE + 100 * MS, "{took:?}");
    world.servers.stall(world.machine("b").wire, false);
    world.more("b", 5).await;
    world.are_equal("a", "b").await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_link_that_was_closed_stays_closed_under_the_next_leader() {
    let mut world = World::of(&["a", "b"]).await;
    world.more("b", 20).await;
    assert!(world.hub("b").command(Command::Close).await, "any machine may close it");
    let is_closed = |world: &World| world.of_client("b").link().as_deref() == Some("closed");
    world.until("it is closed", 100 * MS, is_closed).await;
    assert_eq!(world.upstream.open(), None);
    world.kill("a").await;
    let leads = |world: &World| world.state("b") == ClusterState::Leader;
    world.until("the other one leads", REPLACED, leads).await;
    let [link, gap] = term(&world.of_client("b").told(), 2).expect("a new term");
    assert_eq!((&link["state"], &gap["why"]), (&"closed".into(), &"failover".into()));
    sleep(3 * LEASE).await;
    assert_eq!((world.upstream.open(), world.state("b")), (None, ClusterState::Leader));
    assert!(
        world.of_client("b").restated().iter().all(|(_, line)| line["state"] != "up" || line["term"] == 1)
    );
    let said = world.upstream.said();

    assert!(world.hub("b").command(Command::Open).await);
    world.more("b", 20).await;
    assert!(world.upstream.said() > said);
    assert_eq!(world.upstream.open().as_deref(), Some("b"));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_link_that_ends_by_itself_ends_its_node_and_another_leads_at_once() {
    let mut world = World::of(&["a", "b"]).await;
    world.more("b", 20).await;
    world.upstream.end();
    let (_, end) = world.ended("a").await;
    assert_eq!(end, LinkEnd::GivenUp);
    let opens = |world: &World| world.upstream.open().as_deref() == Some("b");
    world.until("the next one opens", 500 * MS, opens).await;
    world.more("b", 5).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_reload_is_heeded_by_a_follower_and_its_next_term_says_so() {
    let mut world = World::of(&["a", "b"]).await;
    let prepared = world.machine("b").daemon.prepared.get();
    world.machine("b").daemon.reload("other");
    let is_prepared = |world: &World| world.machine("b").daemon.prepared.get() == prepared + 1;
    world.until("its hub is made ready anew", 10 * MS, is_prepared).await;
    sleep(LEASE).await;
    world.kill("a").await;
    world.until("b leads", REPLACED, |world| world.state("b") == ClusterState::Leader).await;
    let stored = world.servers.stored();
    let of_term =
        |term| stored.iter().find_map(|stored| stored.header.clone().filter(|header| header.term == term));
    let said = |term| of_term(term).and_then(|header| header.fingerprint).map(|text| text.to_string());
    assert_eq!([1, 2].map(said), ["alike", "other"].map(|text| Some(text.to_owned())));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_follower_s_sends_go_out_by_the_leader_and_each_fate_is_told_once() {
    let world = World::of(&["a", "b"]).await;
    world.more("b", 5).await;
    let mut fates = Vec::new();
    for number in 0..20 {
        fates.push(world.send("b", &number.to_string()).await);
    }
    world.until("each is told", 100 * MS, |_| fates.iter().all(|fates| !fates.borrow().is_empty())).await;
    sleep(LEASE).await;
    assert!(fates.iter().all(|fates| *fates.borrow() == [Fate::Written]), "{fates:?}");
    assert_eq!(world.upstream.heard(), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn two_of_one_name_are_told_so_for_as_long_as_there_are_two() {
    let mut world = World::of(&["a"]).await;
    world.start("b", |cluster| cluster.candidate = false);
    world.start("b", |cluster| cluster.candidate = false);
    let complains = |world: &World| {
        world
            .hub("b")
            .cluster()
            .unwrap()
            .error
            .as_ref()
            .is_some_and(|error| error.contains("is named b, too"))
    };
    world.until("it hears of the other", LEASE, complains).await;
    world.kill("b").await; // the newer one
    world.until("the older one has heard of it, too", LEASE, complains).await;
    world.until("and is alone then", 3 * LEASE, |world| !complains(world)).await;
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_send_that_waits_outlives_the_leader_and_goes_out_once_by_the_next() {
    let mut world = World::of(&["a", "b", "c"]).await;
    world.machine("c").daemon.outbox.set(Outbox { max_messages: 9, ..Outbox::default() });
    sleep(LEASE).await;
    world.kill("a").await;
    sleep(LEASE / 2).await;
    let fates = world.send("c", "1").await; // to the dead one, and nobody hears it
    sleep(LEASE / 4).await;
    assert_eq!(*fates.borrow(), [Fate::Queued]);
    world.more("c", 5).await;
    sleep(LEASE).await;
    assert_eq!(*fates.borrow(), [Fate::Queued, Fate::Written]);
    assert_eq!(world.upstream.heard(), ["1"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_leader_that_cannot_connect_lets_another_one_try() {
    let mut world = World::of(&[]).await;
    for name in ["a", "b"] {
        world.start(name, |cluster| cluster.step_down_after = Some(2 * LEASE));
        world.more(name, 5).await;
    }
    let begin = Instant::now();
    world.upstream.refuse("a");
    let opens = |world: &World| world.upstream.open().as_deref() == Some("b");
    world.until("the other one connects", 3 * LEASE, opens).await;
    assert!(begin.elapsed() >= 2 * LEASE);
    world.more("b", 20).await;
    world.are_equal("a", "b").await;
    assert_eq!([world.state("a"), world.state("b")], [ClusterState::Follower, ClusterState::Leader]);
    assert_eq!(world.hub("a").cluster().unwrap().counts.stepped_down, 1);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_leader_that_is_stopped_without_nats_ends_all_the_same() {
    let mut world = World::of(&["a", "b"]).await;
    world.more("b", 5).await;
    world.servers.cut(world.machine("a").wire, 5 * MS);
    sleep(10 * MS).await;
    let (_, end) = world.stop("a").await; // within a lease
    assert_eq!((end, world.upstream.open()), (LinkEnd::Stopped, None));
}
