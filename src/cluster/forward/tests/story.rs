//! What is told in each case.

use std::{cell::RefCell, rc::Rc, time::Duration};

use super::{
    super::Leader,
    world::{LEASE, World, down, up},
};
use crate::hub::{Command, Fate, LinkState, Origin, Payload, Permit, Send, Ticket};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_send_of_any_size_goes_out_through_the_leader_in_its_order() {
    let mut world = World::new(2, 0, 1);
    world.lead(1, true);
    world.tell_all(up(1));
    let sent: Vec<_> = [10, 100_000, 0, 3_000, 1].map(|length| world.send(0, 1, length)).into();
    let other = world.send(1, 1, 1);
    world.run(2_000 * MS);
    assert!(sent.iter().chain([&other]).all(|number| world.told(*number) == [Fate::Written]));
    let written = world.written.borrow();
    assert_eq!(written.iter().filter(|number| sent.contains(number)).copied().collect::<Vec<_>>(), sent);
}

#[test]
fn without_a_leader_a_send_waits_or_hears_that_the_link_is_down() {
    for (outbox, fate) in [(0, Fate::LinkDown(LinkState::Waiting)), (9, Fate::Queued)] {
        let mut world = World::new(1, outbox, 1);
        let none = world.send(0, 1, 9);
        world.lead(1, false);
        world.tell_all(down(1));
        let waiting = world.send(0, 1, 9);
        // it seems to be up, and isn't any more
        world.tell_all(up(1));
        let late = world.send(0, 1, 9);
        world.run(50 * MS);
        for number in [none, waiting, late] {
            assert_eq!(world.told(number), [fate]);
        }
        assert_eq!(world.nodes[0].waiting(), 3 * usize::from(outbox > 0));
        world.link(1, true);
        world.run(500 * MS);
        let all = [none, waiting, late];
        let written = if outbox > 0 { &all[..] } else { &[] };
        assert_eq!(*world.written.borrow(), written);
        world.check_end();
    }
}

#[test]
fn it_says_so_when_somebody_is_to_send_again() {
    for (outbox, refuses) in [(0, true), (2, true), (3, false)] {
        let mut world = World::new(1, outbox, 1);
        world.tell_all(up(1));
        world.send(0, 1, 600 << 10); // more than is under way at once
        let wait = [world.send(0, 1, 9), world.send(0, 1, 9)];
        assert!(!world.nodes[0].take_refused() && wait.iter().all(|number| world.told(*number).is_empty()));
        world.tell_all(None);
        assert_eq!(world.nodes[0].take_refused(), refuses, "{outbox} may wait");
        assert!(!world.nodes[0].take_refused(), "it is said once");
    }
}

#[test]
fn what_nobody_hears_is_told_at_once_and_what_was_heard_when_it_is_known() {
    let mut world = World::new(1, 0, 1);
    world.tell_all(up(1)); // nobody hears the term yet
    let number = world.send(0, 1, 9);
    world.run(20 * MS);
    assert_eq!(world.told(number), [Fate::LinkDown(LinkState::Waiting)]);
    world.lead(1, true);
    world.run(200 * MS);
    let number = world.send(0, 1, 9);
    world.run(200 * MS);
    assert_eq!(world.told(number), [Fate::Written]);
}

#[test]
fn what_came_from_another_node_is_that_one_s_again_also_where_a_leader_is_known_already() {
    let mut world = World::new(1, 9, 1);
    world.lead(1, true);
    world.tell_all(up(1));
    let told = Rc::new(RefCell::new(Vec::new()));
    let from = Rc::new(Origin::remote(7, 1 << 62));
    let ticket = Ticket::new(Permit::of(&from), {
        let told = Rc::clone(&told);
        move |fate| told.borrow_mut().push(fate)
    });
    let send = Send::new(Payload::Text("0 0 x".to_owned()), ticket, 0);
    let now = world.now;
    world.nodes[0].take_over(now, vec![send]);
    world.run(200 * MS);
    assert_eq!(*told.borrow(), [Fate::LinkDown(LinkState::Waiting)]);
    assert!(world.written.borrow().is_empty());
}

#[test]
fn what_was_handed_over_is_unknown_within_a_lease_and_a_second_of_the_leader_s_last_sign() {
    let mut world = World::new(1, 9, 1);
    world.lead(1, true);
    world.tell_all(up(1));
    world.writes = 0;
    let number = world.send(0, 1, 9);
    while world.leads[0].intake.taken() == 0 {
        world.step();
    }
    world.nodes[0].alive(world.now);
    let lost = world.now;
    world.kill(1);
    world.run(LEASE); // so long nobody knows
    world.tell_all(None);
    let later = world.send(0, 1, 9);
    while world.told(number).is_empty() {
        world.step();
    }
    let took = world.now - lost;
    assert_eq!(world.told(number), [Fate::Unknown]);
    assert!(took > LEASE && took <= LEASE + 1_005 * MS, "{took:?}");
    assert_eq!(world.told(later), [Fate::Queued]);
    world.writes = 7;
    world.lead(2, true);
    world.tell_all(up(2));
    world.run(200 * MS);
    assert_eq!(world.told(later), [Fate::Queued, Fate::Written]);
    world.check_end();
}

#[test]
fn a_leader_that_stops_gives_back_what_it_has_not_begun_and_the_next_gets_it_in_order() {
    let mut world = World::new(2, 50, 3);
    world.lead(1, true);
    world.tell_all(up(1));
    let numbers: Vec<_> = (0..20).map(|_| world.send(0, 1, 9)).collect();
    while world.leads[0].intake.taken() < 20 {
        world.step();
    }
    world.resign(1);
    world.run(20 * MS);
    world.lead(2, true);
    world.tell_all(up(2));
    let newer = world.send(0, 1, 9);
    world.run(1_000 * MS);
    let mut all = numbers;
    all.push(newer);
    assert_eq!(*world.written.borrow(), all);
    world.check_end();
}

#[test]
fn a_short_way_off_the_net_changes_nothing() {
    let mut world = World::new(1, 0, 1);
    world.lead(1, true);
    world.tell_all(up(1));
    let number = world.send(0, 1, 9);
    world.fly_none();
    world.tell_all(None);
    world.run(300 * MS);
    assert!(world.told(number).is_empty(), "it may have been written");
    world.tell_all(up(1));
    world.run(1_500 * MS);
    assert_eq!(world.told(number), [Fate::Written]);
}

#[test]
fn orders_reach_the_leader_or_the_next_one() {
    let mut world = World::new(1, 0, 1);
    let now = world.now;
    world.nodes[0].command(now, Command::Close);
    world.lead(1, true);
    world.tell_all(up(1));
    world.run(50 * MS);
    assert!(matches!(world.orders[..], [Command::Close]));
    let now = world.now;
    world.nodes[0].command(now, Command::Open);
    world.run(50 * MS);
    assert!(matches!(world.orders[..], [Command::Close, Command::Open]));
    world.tell_all(None);
    world.tell_all(up(1));
    world.run(2_000 * MS);
    assert_eq!(world.orders.len(), 2, "no order twice");
}

#[test]
fn an_order_to_reconnect_that_waited_is_for_the_connection_that_was_there() {
    let connection = |conn| up(1).map(|leader| Leader { conn, ..leader });
    for (then, told) in [(connection(3), 1), (connection(4), 0), (up(2), 0)] {
        let mut world = World::new(1, 0, 1);
        world.lead(1, true);
        world.tell_all(connection(3));
        world.tell_all(None);
        let now = world.now;
        world.nodes[0].command(now, Command::Reconnect);
        world.run(50 * MS);
        if then == up(2) {
            world.lead(2, true);
        }
        world.tell_all(then);
        world.run(50 * MS);
        assert_eq!(world.orders.len(), told, "{then:?}");
    }
}

#[test]
fn a_node_that_leads_has_what_waits_for_its_own_link() {
    let mut world = World::new(1, 9, 1);
    let number = world.send(0, 1, 9);
    assert_eq!(world.told(number), [Fate::Queued]);
    let now = world.now;
    world.nodes[0].command(now, Command::Close);
    world.nodes[0].lead(now, true);
    assert!(matches!(world.nodes[0].hand_over_orders()[..], [Command::Close]));
    let sends = world.nodes[0].hand_over();
    assert_eq!(sends.len(), 1);
    world.nodes[0].lead(now, false);
    world.nodes[0].take_over(now, sends);
    assert_eq!(world.told(number), [Fate::Queued], "that is told once");
    world.lead(1, true);
    world.tell_all(up(1));
    world.run(100 * MS);
    assert_eq!(world.told(number), [Fate::Queued, Fate::Written]);
}

#[test]
fn what_is_given_back_to_a_node_that_leads_goes_before_what_its_client_has_sent_since() {
    for outbox in [0, 9] {
        let mut world = World::new(1, outbox, 1);
        world.lead(1, true);
        world.tell_all(up(1));
        world.writes = 0;
        let older = [world.send(0, 1, 9), world.send(0, 1, 9)];
        while world.leads[0].intake.taken() < 2 {
            world.step();
        }
        let now = world.now;
        world.nodes[0].lead(now, true);
        assert_eq!(world.nodes[0].in_doubt().collect::<Vec<_>>(), [1]);
        let (newer, another) = (world.send(0, 1, 9), world.send(0, 2, 9));
        let handed = |world: &mut World| {
            let texts = world.nodes[0].hand_over().into_iter().map(|send| {
                let text = std::str::from_utf8(send.payload.as_bytes()).unwrap();
                let number = text.split(' ').next().unwrap().parse().unwrap();
                send.ticket.settle(Fate::Written);
                number
            });
            texts.collect::<Vec<u64>>()
        };
        assert_eq!(handed(&mut world), [another], "the other client waits for nobody");
        world.resign(1);
        world.run(20 * MS);
        assert_eq!(handed(&mut world), [older[0], older[1], newer]);
        assert_eq!(world.nodes[0].in_doubt().count(), 0);

        // what became of it nobody says: that is told soon, and the newer goes on
        let mut world = World::new(1, outbox, 1);
        world.lead(1, true);
        world.tell_all(up(1));
        world.writes = 0;
        let older = world.send(0, 1, 9);
        while world.leads[0].intake.taken() < 1 {
            world.step();
        }
        world.kill(1);
        let now = world.now;
        world.nodes[0].lead(now, true);
        let newer = world.send(0, 1, 9);
        world.run(510 * MS);
        assert_eq!(world.told(older), [Fate::Unknown]);
        assert_eq!(handed(&mut world), [newer]);
    }
}

#[test]
fn a_session_that_has_ended_is_not_taken_up_again() {
    let mut world = World::new(1, 0, 1);
    world.lead(1, true);
    world.tell_all(up(1));
    let first = world.send(0, 1, 9);
    world.run(50 * MS);
    assert_eq!(world.told(first), [Fate::Written]);
    let now = world.now;
    world.leads[0].intake.gone(now, "n0");
    let lost = world.send(0, 1, 9);
    world.run(100 * MS);
    // the leader may have had it before it forgot the node
    assert_eq!(world.told(lost), [Fate::Unknown]);
    let next = world.send(0, 1, 9);
    world.run(100 * MS);
    assert_eq!(world.told(next), [Fate::Written]);
    world.check_end();
}
