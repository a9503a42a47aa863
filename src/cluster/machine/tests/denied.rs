//! A node that NATS lets append nothing.

use std::time::Duration;

use super::rig::{LEASE, MS, Rig};
use crate::cluster::machine::{Away, Event, Order, Role};

/// Until it stands once more: how long that is after now.
fn stands(rig: &mut Rig) -> Duration {
    let since = rig.now;
    for _ in 0..1_000 {
        let next = rig.machine.next_timeout().expect("it waits for something");
        rig.now = rig.now.max(next);
        let orders = rig.tell(Event::Timeout);
        if orders.iter().any(|order| matches!(order, Order::Open { .. })) {
            return rig.now - since;
        }
        if orders.iter().any(|order| matches!(order, Order::Ask { .. })) {
            rig.answer(&orders);
        }
    }
    panic!("it stands no more");
}

/// The attempt that was just begun is denied.
fn deny(rig: &mut Rig) {
    rig.open();
    let orders = rig.tell(Event::Denied);
    assert_eq!(rig.standing().role, Role::Detached(Away::Starting), "it doesn't try on");
    rig.answer(&orders);
}

#[test]
fn who_may_not_append_tries_it_ever_more_seldom_and_leads_when_it_may() {
    let mut rig = Rig::new();
    let orders = rig.tell(Event::NatsUp);
    rig.answer(&orders);
    stands(&mut rig);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        deny(&mut rig);
        assert!(rig.tell(Event::Denied).is_empty(), "another try's");
        pauses.push(stands(&mut rig));
    }
    assert!(pauses[0] < LEASE / 2, "at first as after any attempt: {:?}", pauses[0]);
    assert!(pauses.iter().zip(&pauses[1..8]).all(|(one, next)| next > one), "{pauses:?}");
    let longest = Duration::from_secs(31);
    assert!(
        pauses[8..].iter().all(|pause| (longest - Duration::from_secs(1)..longest).contains(pause)),
        "{pauses:?}"
    );

    // the right is given: the next attempt leads, and the one after that isn't late
    let opening = rig.open();
    rig.ack(&opening);
    assert_eq!(rig.standing().role, Role::Leader);
}

#[test]
fn a_new_connection_may_have_the_right() {
    let mut rig = Rig::new();
    let orders = rig.tell(Event::NatsUp);
    rig.answer(&orders);
    for _ in 0..8 {
        stands(&mut rig);
        deny(&mut rig);
    }
    rig.tell(Event::NatsDown);
    let orders = rig.tell(Event::NatsUp);
    rig.answer(&orders);
    assert!(stands(&mut rig) < LEASE + 100 * MS);
    let opening = rig.open();
    rig.ack(&opening);
    assert_eq!(rig.standing().role, Role::Leader);
}

#[test]
fn a_leader_that_may_append_no_more_leads_until_its_lease_is_over() {
    let mut rig = Rig::led();
    assert!(rig.tell(Event::Denied).is_empty());
    assert_eq!(rig.standing().role, Role::Leader);
}
