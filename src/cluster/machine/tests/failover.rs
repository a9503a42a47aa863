//! One failure at a time, on a network that is otherwise well: what it costs, and how long it takes.

use std::time::Duration;

use super::{
    clock::{MS, S, Us},
    weather::Change,
    world::{Happening, World},
};
use crate::cluster::machine::{Away, Event, Header, Role, Stored};

/// A world that has a leader whose link is up.
fn led(seed: u64, nodes: usize, watchers: usize) -> (World, usize) {
    lead(World::new(seed, nodes, watchers))
}

fn lead(mut world: World) -> (World, usize) {
    world.start_all();
    let leader = next_link(&mut world, 0, 2 * S);
    world.run_until(world.now + 3 * S);
    assert_eq!(world.leader(), Some(leader), "it stays");
    (world, leader)
}

/// Goes on until another link than this is up: who has it.
fn next_link(world: &mut World, after: u64, within: Us) -> usize {
    let up = |world: &World| {
        let node = world.leader()?;
        let link = world.nodes[node].daemon.as_ref()?.link?;
        (link.number > after && link.up).then_some(node)
    };
    let end = world.now + within;
    assert!(world.run_until_some(end, |world| up(world).is_some()), "a link within {within} µs");
    up(world).unwrap()
}

fn link_of(world: &World, node: usize) -> u64 {
    world.nodes[node].daemon.as_ref().unwrap().link.unwrap().number
}

fn everybody_is_there(world: &World) {
    let ends: Vec<_> = world
        .nodes
        .iter()
        .map(|node| node.daemon.as_ref().unwrap())
        .map(|daemon| (daemon.hub.epoch.clone(), daemon.hub.next, daemon.hub.skipped, daemon.attached))
        .collect();
    let newest = ends.iter().map(|end| end.1).max().unwrap();
    for (epoch, next, skipped, attached) in &ends {
        assert!(*attached && *epoch == ends[0].0 && newest - next < 200 && *skipped == 0, "{ends:?}");
    }
    world.stream.reference.check();
}

#[test]
fn a_leader_that_dies_is_replaced_within_3_seconds_ten_times_in_a_row() {
    for seed in 0..3 {
        let (mut world, mut leader) = led(seed, 3, 0);
        world.pause = 5 * MS;
        for round in 1..=10 {
            let link = link_of(&world, leader);
            world.kill(leader);
            let dead = leader;
            leader = next_link(&mut world, link, 3 * S);
            world.start(dead);
            let after = world.random.u64(S..2 * S);
            world.run_until(world.now + after);
            everybody_is_there(&world);
            assert_eq!(world.stream.reference.terms, round + 1, "one term, and so one gap, for each");
        }
        assert_eq!(world.doubles, 0);
    }
}

#[test]
fn without_a_fault_one_term_lasts_and_an_idle_leader_only_says_that_it_is_there() {
    let (mut world, leader) = led(7, 3, 1);
    world.pause = 3_600 * S;
    world.run_until(world.now + S);
    let before = world.stream.last();
    world.run_until(world.now + 600 * S);
    assert_eq!(world.leader(), Some(leader));
    let appended = world.stream.last() - before;
    assert!((1_100..1_300).contains(&appended), "{appended}, one for each quarter of the lease");
    everybody_is_there(&world);
    let counts = *world.daemon(leader).machine.counts();
    assert_eq!((counts.stood, counts.elected, counts.settled, counts.strays), (1, 1, 0, 0));
}

#[test]
fn a_leader_that_is_stopped_in_order_hands_over_within_half_a_second() {
    for seed in 0..10 {
        let mut world = World::new(seed, 3, 0);
        world.lease = Duration::from_secs([1, 2, 15, 60, 5][(seed % 5) as usize]);
        let (mut world, leader) = lead(world);
        let (begin, to) = (world.now, world.to(leader));
        world.at(world.now, to, Happening::Tell(Event::Stop));
        world.run_until(world.now + MS);
        let other = |world: &World| world.leader().is_some_and(|node| node != leader);
        assert!(world.run_until_some(begin + 500 * MS, other), "seed {seed}");
        assert!(world.nodes[leader].daemon.is_none(), "it is gone");
        world.run_until(begin + 3 * S);
        world.start(leader);
        world.run_until(begin + 5 * S);
        everybody_is_there(&world);
        assert_eq!(world.stream.reference.terms, 2);
    }
}

#[test]
fn a_leader_that_sleeps_wakes_as_a_follower_and_nothing_of_its_own_reaches_anybody() {
    for seed in 0..5 {
        let (mut world, leader) = led(seed, 3, 0);
        world.pause = 5 * MS;
        world.run_until(world.now + 100 * MS);
        let link = link_of(&world, leader);
        world.freeze(leader, 5 * S);
        let next = next_link(&mut world, link, 3 * S);
        assert_ne!(next, leader);
        world.run_until(world.now + 5 * S);
        assert_eq!(world.nodes[leader].role(world.now), Some(Role::Follower));
        assert_eq!(world.daemon(leader).machine.counts().fenced.lease, 1);
        everybody_is_there(&world);
    }
}

#[test]
fn a_leader_that_is_cut_off_closes_its_link_before_another_opens_one_however_the_clocks_run() {
    for seed in 0..50 {
        let mut world = World::new(seed, 2, 0);
        (world.nodes[0].clock.ppm, world.nodes[1].clock.ppm) = (-50_000, 50_000);
        let (mut world, leader) = lead(world);
        let link = link_of(&world, leader);
        let noticed = world.random.u64(0..4 * S);
        world.cut(leader, noticed);
        let next = next_link(&mut world, link, 3 * S);
        assert!(next != leader && world.daemon(leader).link.is_none());
        world.join(leader);
        world.run_until(world.now + 3 * S);
        everybody_is_there(&world);
    }
}

#[test]
fn what_others_write_reaches_nobody_and_costs_no_term() {
    let (mut world, leader) = led(1, 3, 0);
    world.pause = 5 * MS;
    for round in 0..200 {
        let from = world.stream.last().saturating_sub(20);
        let old = world.stream.from(from).find(|stored| stored.header.is_some()).cloned().unwrap();
        let header = old.header.clone().unwrap();
        let stray = match round % 4 {
            0 => Stored { place: 0, header: None, body: b"hello".to_vec() },
            1 => old, // once more
            2 => Stored { header: Some(Header { term: 0, ..header }), ..old },
            _ => Stored { header: Some(Header { node: "forged".into(), ..header }), ..old },
        };
        world.stream.write(stray);
        world.pump_all();
        let after = world.random.u64(5 * MS..40 * MS);
        world.run_until(world.now + after);
    }
    world.run_until(world.now + S);
    assert_eq!((world.leader(), world.stream.reference.terms), (Some(leader), 1));
    everybody_is_there(&world);
    // beside them there is what the leader had on its way when one came between
    let strays = [0, 1, 2].map(|node| world.daemon(node).machine.counts().strays);
    assert!(strays[0] >= 200 && strays == [strays[0]; 3], "{strays:?}");
}

#[test]
fn a_nats_server_that_is_back_soon_costs_nothing_and_one_that_is_not_a_term() {
    for seed in 0..5 {
        let (mut world, leader) = led(seed, 3, 0);
        world.pause = 5 * MS;
        world.server_down(300 * MS);
        world.run_until(world.now + 5 * S);
        assert_eq!((world.leader(), world.stream.reference.terms), (Some(leader), 1), "seed {seed}");
        everybody_is_there(&world);

        world.server_down(4 * S);
        world.run_until(world.now + 2 * S);
        assert_eq!(world.leader(), None);
        let away = Some(Role::Detached(Away::Nats));
        assert!((0..3).all(|node| world.nodes[node].role(world.now) == away && !world.daemon(node).attached));
        assert!(world.open.is_empty(), "nobody has a link");
        world.run_until(world.now + 6 * S);
        assert_eq!(world.stream.reference.terms, 2);
        everybody_is_there(&world);
    }
}

#[test]
fn what_the_stream_has_lost_begins_a_new_epoch_and_no_entry_is_ever_two() {
    for seed in 0..5 {
        let (mut world, _) = led(seed, 3, 1);
        world.pause = 5 * MS;
        world.run_until(world.now + 2 * S);
        let epoch = world.daemon(0).hub.epoch.clone();
        world.stream.roll_back(30);
        world.server_down(3 * S);
        world.run_until(world.now + 10 * S);
        assert_ne!(world.daemon(0).hub.epoch, epoch);
        everybody_is_there(&world);
        assert!(world.leader().is_some());
        assert_eq!(world.doubles, 0);
        assert_eq!(world.daemon(0).hub.epochs.len(), 2, "one new one is enough");

        world.delete_stream();
        world.run_until(world.now + 15 * S);
        everybody_is_there(&world);
        assert!(world.leader().is_some());
        assert_eq!(world.daemon(0).hub.epochs.len(), 3);
    }
}

/// A node that has never seen what was lost may be the first to lead: those that have end its epoch.
#[test]
fn a_leader_that_does_not_know_of_a_loss_is_told() {
    for watchers in [0, 1] {
        let (mut world, leader) = led(3, 2, watchers);
        world.pause = 5 * MS;
        world.run_until(world.now + 2 * S);
        let old = world.daemon(leader).hub.epoch.clone();
        let newcomer = 1 - leader;
        world.kill(newcomer);
        if watchers == 1 {
            world.kill(leader); // only one that can't lead has seen it
        } else {
            world.cut(leader, 0);
        }
        world.stream.roll_back(30);
        world.run_until(world.now + 4 * S);
        world.nodes[2 * watchers].cut |= watchers == 1;
        world.start(newcomer);
        let leads = |world: &World| world.leader() == Some(newcomer);
        assert!(world.run_until_some(world.now + 5 * S, leads));
        assert!(watchers == 1 || world.daemon(newcomer).hub.epoch == old);
        world.join(if watchers == 1 { 2 } else { leader });
        world.run_until(world.now + 10 * S);
        let knower = if watchers == 1 { 2 } else { leader };
        let epochs = [newcomer, knower].map(|node| world.daemon(node).hub.epoch.clone());
        assert!(epochs[0] == epochs[1] && epochs[0] != old, "{epochs:?}, {old}");
        assert!(world.daemon(knower).attached && world.leader().is_some());
    }
}

#[test]
fn a_follower_that_comes_too_late_has_a_gap_that_is_counted() {
    let (mut world, leader) = led(5, 2, 0);
    let follower = 1 - leader;
    world.pause = 5 * MS;
    world.cut(follower, 0);
    world.run_until(world.now + 5 * S);
    world.stream.keep(50);
    world.join(follower);
    world.run_until(world.now + 3 * S);
    let lost = world.daemon(follower).machine.counts().discarded;
    assert!(lost > 100 && lost == world.daemon(follower).hub.skipped, "{lost}");
    let [ours, theirs] = [follower, leader].map(|node| world.daemon(node).hub.epoch.clone());
    assert_eq!(ours, theirs);
    let [one, other] = [follower, leader].map(|node| world.daemon(node).hub.next);
    assert!(other.abs_diff(one) < 100 && world.daemon(follower).attached);
}

#[test]
fn a_node_that_is_no_candidate_never_leads() {
    let (mut world, leader) = led(2, 1, 2);
    assert_eq!(leader, 0);
    world.kill(0);
    world.run_until(world.now + 60 * S);
    assert!(world.leader().is_none() && world.open.is_empty());
    assert_eq!(world.stream.reference.terms, 1);
    world.start(0);
    world.run_until(world.now + 5 * S);
    assert_eq!(world.leader(), Some(0));
    everybody_is_there(&world);
}

#[test]
fn a_link_that_cannot_be_had_from_one_machine_is_tried_from_another() {
    let (mut world, leader) = led(4, 3, 0);
    world.upstream = false;
    world.run_until(world.now + 45 * S);
    let next = world.leader().expect("somebody tries");
    assert_ne!(next, leader);
    assert_eq!(world.daemon(leader).machine.counts().stepped_down, 1);
    world.change_at(world.now, Change::Upstream(true));
    world.run_until(world.now + 5 * S);
    everybody_is_there(&world);

    let (mut world, leader) = led(4, 1, 1);
    world.upstream = false;
    world.run_until(world.now + 100 * S);
    assert_eq!(world.leader(), Some(leader), "nobody else may have it");
}

#[test]
fn who_waits_for_an_entry_gets_it_or_hears_that_there_is_none() {
    let (mut world, leader) = led(6, 2, 0);
    world.pause = 10 * MS;
    for node in [leader, 1 - leader] {
        let seq = world.daemon(node).hub.next + 100_000;
        world.handle(node, Event::Awaited { seq });
    }
    assert_eq!(world.not_there, 1, "the leader knows at once");
    world.run_until(world.now + 3 * S);
    assert_eq!(world.not_there, 2);
    let follower = 1 - leader;
    let seq = world.daemon(follower).hub.next + 50;
    world.handle(follower, Event::Awaited { seq });
    world.run_until(world.now + 5 * S);
    assert!(world.daemon(follower).hub.next > seq && world.not_there == 2 && world.daemon(follower).attached);

    // what it reads has stopped, and nobody has told it so
    world.daemon(follower).read.as_mut().unwrap().stalled = true;
    let seq = world.daemon(leader).hub.next;
    world.handle(follower, Event::Awaited { seq });
    world.run_until(world.now + 5 * S);
    assert!(world.daemon(follower).hub.next > seq && world.not_there == 2 && world.daemon(follower).attached);
}
