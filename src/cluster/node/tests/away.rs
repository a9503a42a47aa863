//! What clients are told when their node is away from the log, and for how long it may be before they are.

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    daemon::Client,
    world::{LEASE, MS, World},
};
use crate::{
    config::Outbox,
    hub::{ClusterState, Fate, LinkState},
};

/// The states of the link, as a node has told them by itself, from so many lines on, and when.
fn states(world: &World, name: &str, from: usize) -> Vec<(Instant, String)> {
    let told = world.of_client(name).told();
    let restated = told[from..].iter().filter(|(_, line)| line.get("seq").is_none());
    restated.map(|(at, line): &(Instant, Value)| (*at, line["state"].as_str().unwrap().to_owned())).collect()
}

/// b can't reach its NATS server any more, which it sees soon.
async fn cut_off(world: &World) -> (usize, Instant) {
    world.more("b", 20).await;
    let (told, cut) = (world.of_client("b").count(), Instant::now());
    world.servers.cut(world.machine("b").wire, 20 * MS);
    world.until("it sees it", 30 * MS, |world| world.state("b") == ClusterState::Detached).await;
    (told, cut)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_follower_that_finds_another_server_soon_says_nothing_to_its_clients() {
    let world = World::of(&["a", "b"]).await;
    for away in [MS, LEASE / 4, LEASE / 2] {
        let (told, _) = cut_off(&world).await;
        sleep(away).await;
        assert_eq!(world.hub("b").link().state, LinkState::Up, "the log says nothing else");
        world.servers.join(world.machine("b").wire);
        world.until("it is back", 50 * MS, |world| world.state("b") == ClusterState::Follower).await;
        sleep(2 * LEASE).await;
        world.are_equal("a", "b").await;
        assert_eq!(states(&world, "b", told), [], "after {away:?}");
    }
    let numbers = world.of_client("b").numbers();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "nothing was missed");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_follower_that_is_away_for_a_lease_says_so_and_says_when_it_is_over() {
    let world = World::of(&["a", "b"]).await;
    let (told, cut) = cut_off(&world).await;
    sleep(3 * LEASE).await;
    let away = states(&world, "b", told);
    assert_eq!(away.len(), 1, "{away:?}");
    assert_eq!(away[0].1, "waiting");
    assert!(away[0].0 <= cut + LEASE && away[0].0 > cut + LEASE / 2, "{:?}", away[0].0 - cut);
    assert_eq!(world.hub("b").link().state, LinkState::Waiting);

    world.servers.join(world.machine("b").wire);
    sleep(LEASE).await;
    let back: Vec<String> = states(&world, "b", told).into_iter().map(|(_, state)| state).collect();
    assert_eq!(
        (back.first().map(String::as_str), back.last().map(String::as_str)),
        (Some("waiting"), Some("up"))
    );
    world.are_equal("a", "b").await;
    assert_eq!(world.hub("b").link().state, LinkState::Up);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn servers_that_come_and_go_don_t_put_off_that_clients_are_told() {
    let world = World::of(&["a", "b"]).await;
    let (told, cut) = cut_off(&world).await;
    let wire = world.machine("b").wire;
    while cut.elapsed() < LEASE {
        world.servers.stall(wire, true); // it is there, and nothing of the log comes
        world.servers.join(wire);
        sleep(20 * MS).await;
        world.servers.cut(wire, MS);
        sleep(20 * MS).await;
    }
    let away = states(&world, "b", told);
    assert!(!away.is_empty() && away.iter().all(|(_, state)| state == "waiting"), "{away:?}");
    assert!(away[0].0 <= cut + LEASE, "{:?}", away[0].0 - cut);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_leader_that_dies_while_a_follower_is_away_is_told_of_all_the_same() {
    let mut world = World::of(&["a", "b"]).await;
    let (told, cut) = cut_off(&world).await;
    world.kill("a").await;
    sleep(100 * MS).await;
    world.servers.join(world.machine("b").wire);
    world.until("b leads", 2 * LEASE, |world| world.state("b") == ClusterState::Leader).await;
    let away = states(&world, "b", told);
    assert_eq!(away.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(), ["waiting"]);
    assert!(away[0].0 <= cut + LEASE, "{:?}", away[0].0 - cut);
    world.more("b", 5).await;
    let lines = &world.of_client("b").told()[told..];
    assert!(lines.iter().any(|(_, line)| line["why"] == "failover"));
    assert_eq!(world.of_client("b").link().as_deref(), Some("up"));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_is_refused_a_send_meanwhile_is_told_when_to_send_again() {
    let world = World::of(&["a", "b"]).await;
    let (told, cut) = cut_off(&world).await;
    let fates = world.send("b", "1").await;
    world.until("it is refused", 10 * MS, |_| !fates.borrow().is_empty()).await;
    assert_eq!(fates.take(), [Fate::LinkDown(LinkState::Waiting)]);
    sleep(MS).await;
    let away = states(&world, "b", told);
    assert_eq!(away.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(), ["waiting"]);
    assert!(away[0].0 < cut + 50 * MS);
    world.servers.join(world.machine("b").wire);
    sleep(LEASE).await;
    assert_eq!(states(&world, "b", told).last().map(|(_, state)| state.as_str()), Some("up"));
    assert!(world.upstream.heard().is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_waited_for_a_turn_and_is_refused_is_told_when_to_send_again() {
    let world = World::of(&["a", "b"]).await;
    world.more("b", 20).await;
    let (told, wire) = (world.of_client("b").count(), world.machine("b").wire);
    world.servers.cut(wire, 20 * MS);
    let long = world.send("b", &"x".repeat(600 << 10)).await; // more than is under way at once
    let waits = world.send("b", "1").await;
    sleep(10 * MS).await;
    assert_eq!((long.borrow().len(), waits.borrow().len()), (0, 0), "nobody knows yet");
    world.until("it is seen", 20 * MS, |world| world.state("b") == ClusterState::Detached).await;
    sleep(MS).await;
    assert_eq!(waits.take(), [Fate::LinkDown(LinkState::Waiting)]);
    world.servers.join(wire);
    sleep(LEASE).await;
    let states: Vec<String> = states(&world, "b", told).into_iter().map(|(_, state)| state).collect();
    assert_eq!(
        (states.first().map(String::as_str), states.last().map(String::as_str)),
        (Some("waiting"), Some("up"))
    );
    assert_eq!(long.take(), [Fate::Written], "it was under way, and came");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn whom_the_outbox_has_no_room_for_is_told_when_to_send_again() {
    let world = World::of(&["a", "b"]).await;
    world.machine("b").daemon.outbox.set(Outbox { max_messages: 1, ..Outbox::default() });
    sleep(LEASE).await;
    let (told, _) = cut_off(&world).await;
    let first = world.send("b", "1").await;
    sleep(MS).await;
    assert_eq!((first.borrow().as_slice(), states(&world, "b", told)), ([Fate::Queued].as_slice(), vec![]));
    let second = world.send("b", "2").await;
    sleep(MS).await;
    assert!(first.borrow().contains(&Fate::OutboxFull) != second.borrow().contains(&Fate::OutboxFull));
    let away = states(&world, "b", told);
    assert_eq!(away.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(), ["waiting"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_send_to_a_leader_that_is_known_goes_out_before_anything_is_read() {
    let world = World::of(&["a", "b"]).await;
    let (told, _) = cut_off(&world).await;
    let wire = world.machine("b").wire;
    world.servers.stall(wire, true);
    world.servers.join(wire);
    world.until("it is back", 50 * MS, |world| world.state("b") == ClusterState::Follower).await;
    let fates = world.send("b", "1").await;
    sleep(10 * MS).await;
    assert_eq!(fates.take(), [Fate::Written]);
    world.servers.stall(wire, false);
    sleep(LEASE).await;
    assert_eq!((world.upstream.heard(), states(&world, "b", told)), (vec!["1".to_owned()], vec![]));
}

/// When a client was told first, after so many lines, that the link can't be had, and why.
fn away(client: &Client, from: usize) -> (Instant, String) {
    let mut told = client.told().into_iter().skip(from);
    let (at, line) = told.find(|(_, line)| line.get("seq").is_none()).expect("it was told");
    assert_eq!(line["state"], "waiting");
    (at, line["error"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn that_the_stream_is_gone_is_told_when_it_is_known() {
    let world = World::of(&["a", "b"]).await;
    world.more("b", 20).await;
    let (client, gone) = (world.of_client("b"), Instant::now());
    let told = client.count();
    world.servers.delete();
    sleep(LEASE / 2).await;
    let (at, why) = away(&client, told);
    assert!(at <= gone + 250 * MS, "{:?}", at - gone);
    assert!(why.starts_with("the cluster's stream isn't there"), "{why}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn that_the_stream_has_lost_something_is_told_when_it_is_seen() {
    let world = World::of(&["a", "b"]).await;
    let client = world.of_client("b"); // of this log: another begins soon
    let (told, cut) = cut_off(&world).await;
    world.servers.cut(world.machine("a").wire, MS);
    sleep(10 * MS).await;
    world.servers.lose();
    world.servers.join(world.machine("b").wire);
    sleep(LEASE / 4).await;
    let (at, why) = away(&client, told);
    assert!(at <= cut + 100 * MS, "{:?}", at - cut);
    assert!(why.starts_with("the cluster's stream has lost what it had stored"), "{why}");
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_may_wait_in_the_outbox_meanwhile_goes_out_and_nothing_else_is_told() {
    let world = World::of(&["a", "b"]).await;
    world.machine("b").daemon.outbox.set(Outbox { max_messages: 9, ..Outbox::default() });
    sleep(LEASE).await;
    let (told, _) = cut_off(&world).await;
    let fates = world.send("b", "1").await;
    sleep(LEASE / 4).await;
    assert_eq!(*fates.borrow(), [Fate::Queued]);
    world.servers.join(world.machine("b").wire);
    sleep(LEASE).await;
    assert_eq!(*fates.borrow(), [Fate::Queued, Fate::Written]);
    assert_eq!(world.upstream.heard(), ["1"]);
    assert_eq!(states(&world, "b", told), []);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nats_that_is_away_for_a_moment_costs_no_term_and_no_entry_and_nobody_is_told() {
    let world = World::of(&["a", "b"]).await;
    world.more("b", 20).await;
    let wires = ["a", "b"].map(|name| world.machine(name).wire);
    let told = ["a", "b"].map(|name| world.of_client(name).count());
    wires.iter().for_each(|wire| world.servers.cut(*wire, 5 * MS));
    let said = world.upstream.said();
    sleep(300 * MS).await;
    assert!(world.upstream.said() > said + 20, "the server is heard meanwhile");
    let before = world.of_client("a").numbers().len();
    assert!(before as u64 <= said, "and nobody is told before the stream has it");
    wires.iter().for_each(|wire| world.servers.join(*wire));
    sleep(LEASE).await;
    world.are_equal("a", "b").await;
    for (name, told) in ["a", "b"].into_iter().zip(told) {
        assert_eq!(states(&world, name, told), [], "{name}");
        assert_eq!(world.hub(name).cluster().unwrap().term, 1);
        let numbers = world.of_client(name).numbers();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) && numbers.len() > before + 100);
    }
    assert_eq!(world.upstream.news().len(), 1);
}
