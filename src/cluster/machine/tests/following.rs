//! What a follower gives its clients, and when it stands.

use super::rig::{LEASE, MS, Rig, appends, asked, line, second_term};
use crate::cluster::machine::{Answer, Body, Event, Header, Message, Order, Tell, batch::Nonce};

#[test]
fn a_follower_stands_after_a_lease_of_silence_and_not_before() {
    let mut leader = Rig::led();
    let mut rig = Rig::with(|settings| settings.node = "b".into());
    rig.stream = leader.stream.clone();
    let orders = rig.tell(Event::NatsUp);
    rig.answer(&orders);
    for _ in 0..20 {
        rig.now = rig.now + (LEASE - MS);
        leader.now = leader.now + LEASE / 4;
        let orders = leader.tell(Event::Timeout);
        leader.ack(&appends(&orders)[0]);
        let newest = leader.stream.last().unwrap().clone();
        assert!(rig.tell(Event::Read(rig.reading.unwrap(), newest)).is_empty());
    }
    rig.now = rig.now + (LEASE - MS);
    assert!(rig.tell(Event::Timeout).is_empty());
    assert_eq!(rig.next_within(101 * MS), [Order::Open { term: 2, first: 2, failover: true }]);
}

#[test]
fn a_follower_with_a_shorter_lease_waits_for_the_leaders() {
    let mut leader = Rig::with(|settings| settings.lease = LEASE * 5);
    leader.lead();
    for (own, silence) in [(LEASE, LEASE * 5), (LEASE * 5, LEASE * 5), (LEASE * 10, LEASE * 10)] {
        let mut rig = Rig::with(|settings| (settings.node, settings.lease) = ("b".into(), own));
        rig.stream = leader.stream.clone();
        let orders = rig.tell(Event::NatsUp);
        rig.answer(&orders);
        assert!(rig.after(silence - MS).is_empty(), "{own:?}");
        assert_eq!(rig.next_within(101 * MS), [Order::Open { term: 2, first: 2, failover: true }]);
    }
}

#[test]
fn a_leader_with_other_settings_is_told_of() {
    let mut leader = Rig::with(|settings| settings.fingerprint = "5e".into());
    leader.lead();
    for (ours, differs) in [("5e", false), ("5f", true)] {
        let mut rig = Rig::with(|settings| settings.fingerprint = ours.into());
        rig.stream = leader.stream.clone();
        let orders = rig.tell(Event::NatsUp);
        let orders = rig.answer(&orders);
        assert_eq!(orders.contains(&Order::Tell(Tell::Differs { node: "a".into() })), differs);
    }
}

#[test]
fn what_was_given_is_what_it_says_and_else_is_declared() {
    let mut leader = Rig::led();
    let sent = leader.stage(2, 2);
    for sent in &sent {
        leader.ack(sent);
    }
    leader.stream[1].body = line(7); // by whoever
    let mut rig = Rig::new();
    rig.stream = leader.stream;
    let orders = rig.tell(Event::NatsUp);
    let orders = rig.answer(&orders);
    let expected = [Order::Skip { to: 3 }, Order::Deliver { first: 3, lines: line(3) }];
    assert_eq!(orders[2..4], expected);
    assert_eq!(rig.machine.counts().discarded, 1);
}

#[test]
fn a_line_of_which_a_leader_has_sent_a_part_is_read_to_its_end_when_it_leads_no_more() {
    let mut rig = Rig::led();
    rig.tell(Event::Staged { end: 3, bytes: 300 });
    let lines =
        format!("{{\"type\":\"message\",\"seq\":2,\"time_us\":1,\"text\":\"{}\"}}\n", "x".repeat(200));
    let sent = appends(&rig.tell(Event::Lines { first: 2, end: 3, lines: lines.clone().into_bytes() }));
    assert_eq!(sent.len(), 3);
    rig.ack(&sent[0]);
    rig.ack(&sent[1]);
    rig.store(&sent[2].message);
    rig.now = rig.now + LEASE;
    let orders = rig.tell(Event::Timeout);
    assert_eq!(orders[..2], [Order::StopLink, Order::Cut]);
    assert_eq!(rig.answer(&orders), [Order::Deliver { first: 2, lines: lines.into_bytes() }]);
}

/// The oldest messages that a stream has may be what a former leader left behind the next one's first.
#[test]
fn who_begins_in_the_middle_gives_nothing_before_it_is_sure() {
    let mut leader = Rig::led();
    let stale = leader.stage(2, 3);
    let theirs = second_term(&leader);
    leader.store(&theirs);
    leader.store(&stale[1].message);
    leader.store(&stale[2].message);
    let mut rig = Rig::new();
    rig.stream = leader.stream.split_off(2); // the two stale ones, linked to one another
    let orders = rig.tell(Event::NatsUp);
    assert!(rig.answer(&orders).is_empty());
    let mut before = theirs;
    for nonce in 100..106 {
        let nonce = Nonce(nonce);
        let (first, after) = (before.header.end(), Some(before.header.nonce));
        let header = Header { nonce, after, first, count: 1, ..before.header };
        before = Message { header, body: Body::new(line(first)) };
        let place = rig.store(&before);
        let orders = rig.tell(Event::Read(rig.reading.unwrap(), rig.stream.last().unwrap().clone()));
        match place {
            ..9 => assert!(orders.is_empty(), "{place}: {orders:?}"),
            9 => {
                let given: Vec<_> = orders[1..6].to_vec();
                let expected: Vec<_> =
                    (4..9).map(|first| Order::Deliver { first, lines: line(first) }).collect();
                assert_eq!(given, expected);
            }
            _ => assert_eq!(orders, [Order::Deliver { first, lines: line(first) }]),
        }
    }
}

#[test]
fn a_step_down_that_was_there_before_one_came_back_is_not_trusted() {
    let mut leader = Rig::led();
    leader.tell(Event::Stop);
    let last = appends(&leader.tell(Event::LinkGone)).remove(0);
    let before = leader.stream.clone();
    leader.ack(&last);
    let stands_within = |rig: &mut Rig| {
        let begin = rig.now;
        let orders = rig.next_within(LEASE + 100 * MS);
        assert!(matches!(orders[..], [Order::Open { term: 2, .. }]), "{orders:?}");
        rig.now - begin
    };
    let follower = || {
        let mut rig = Rig::with(|settings| settings.node = "b".into());
        rig.stream = before.clone();
        let orders = rig.tell(Event::NatsUp);
        rig.answer(&orders);
        rig
    };
    // as it comes
    let mut rig = follower();
    let newest = leader.stream.last().unwrap().clone();
    rig.tell(Event::Read(rig.reading.unwrap(), newest));
    assert!(stands_within(&mut rig) <= 100 * MS);
    // after a while without NATS: the stream may have been rolled back to it
    let mut rig = follower();
    rig.tell(Event::NatsDown);
    rig.stream = leader.stream.clone();
    let orders = rig.tell(Event::NatsUp);
    rig.answer(&orders);
    assert!(stands_within(&mut rig) >= LEASE);
}

#[test]
fn what_lay_in_the_stream_before_is_no_sign_of_a_leader_however_late_it_is_read() {
    let mut leader = Rig::led();
    for seq in 2..6 {
        let sent = leader.stage(seq, 1);
        leader.ack(&sent[0]);
    }
    let old = leader.stream.clone();
    let next = leader.stage(6, 1).remove(0);
    leader.store(&next.message);
    // how long each of the four takes that its first answer doesn't hold, and when it stands
    let table = [(0, 4), (2, 4), (4, 6), (8, 10)];
    for (pause, stands) in table.map(|(pause, stands)| (LEASE * pause / 16, LEASE * stands / 4)) {
        for is_led in [false, true] {
            let mut rig = Rig::with(|settings| settings.node = "b".into());
            let orders = rig.tell(Event::NatsUp);
            let (id, begin) = (asked(&orders).0, rig.now);
            rig.tell(Event::Answer(Answer { id, last: 5, covered: 1, messages: old[..1].to_vec() }));
            let reading = rig.reading.expect("it reads");
            for stored in &old[1..] {
                rig.now = rig.now + pause;
                let orders = rig.tell(Event::Read(reading, stored.clone()));
                assert!(!orders.iter().any(|order| matches!(order, Order::Open { .. })), "not in between");
            }
            let stands = match is_led {
                false => begin + stands,
                true => {
                    rig.tell(Event::Read(reading, leader.stream[5].clone()));
                    rig.now + LEASE
                }
            };
            let at = rig.machine.next_timeout().unwrap();
            assert!(stands <= at && at <= stands + 100 * MS, "{pause:?} {is_led}: {:?}", at - begin);
            rig.now = at;
            let orders = rig.tell(Event::Timeout);
            assert!(matches!(orders[..], [Order::Open { term: 2, .. }]), "{orders:?}");
        }
    }
}
