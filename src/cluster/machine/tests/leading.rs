//! A term: what is appended, committed and settled, and what ends it.

use std::time::Duration;

use super::rig::{LEASE, MS, Rig, appends, asked, commits, line, lines_of_opening, second_term};
use crate::cluster::machine::{Away, Event, Fenced, Order, Role, Tell, Wanted};

#[test]
fn the_first_term_of_an_empty_stream_begins_at_once_and_without_a_gap() {
    let mut rig = Rig::new();
    assert_eq!(rig.standing().role, Role::Detached(Away::Starting));
    let orders = rig.tell(Event::NatsUp);
    assert_eq!(asked(&orders).1, 1);
    assert!(rig.answer(&orders).is_empty());
    let orders = rig.next_within(100 * MS);
    assert_eq!(orders, [Order::Open { term: 1, first: 1, failover: false }]);
    assert_eq!(rig.standing().role, Role::Candidate);
    let opening = rig.open();
    let header = opening.message.header.clone();
    assert_eq!((opening.expect, header.term, header.first, header.count), (0, 1, 1, 1));
    let orders = rig.ack(&opening);
    let expected = [
        Order::Epoch { epoch: header.epoch, first: 1 },
        Order::Deliver { first: 1, lines: lines_of_opening(1) },
        Order::Tell(Tell::Attached),
        Order::StartLink,
    ];
    assert_eq!(orders, expected);
    let standing = rig.standing();
    assert_eq!((standing.role, standing.term, standing.leader.as_deref()), (Role::Leader, 1, Some("a")));
    assert!(standing.lease_left.is_some_and(|left| left <= LEASE * 7 / 10));
}

#[test]
fn four_appends_are_on_their_way_each_behind_the_one_before_and_committed_in_order() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 6);
    let places: Vec<_> = sent.iter().map(|sent| (sent.expect, sent.message.header.first)).collect();
    assert_eq!(places, [(1, 2), (2, 3), (3, 4), (4, 5)]);
    for pair in sent.windows(2) {
        assert_eq!(pair[1].message.header.after, Some(pair[0].message.header.nonce));
    }
    assert_eq!(rig.machine.wanted(), None);
    sent.iter().for_each(|sent| {
        rig.store(&sent.message);
    });
    // answers may come in any order
    assert!(rig.tell(Event::Acked(sent[1].id, 3)).is_empty());
    assert_eq!(commits(&rig.tell(Event::Acked(sent[0].id, 2))), [2, 3]);
    assert_eq!(rig.machine.wanted(), Some(Wanted { first: 6, max_bytes: 100 }));
    assert_eq!(commits(&rig.tell(Event::Acked(sent[2].id, 4))), [4]);
}

#[test]
fn a_line_larger_than_a_message_goes_in_parts_and_is_an_entry_with_the_last() {
    let mut rig = Rig::led();
    rig.tell(Event::Staged { end: 3, bytes: 900 });
    let text = "x".repeat(500);
    let lines =
        format!("{{\"type\":\"message\",\"seq\":2,\"time_us\":1,\"text\":\"{text}\"}}\n").into_bytes();
    let mut sent = appends(&rig.tell(Event::Lines { first: 2, end: 3, lines: lines.clone() }));
    let mut all = Vec::new();
    let mut committed = Vec::new();
    while !sent.is_empty() {
        let part = sent.remove(0);
        all.push(part.clone());
        let orders = rig.ack(&part);
        sent.extend(appends(&orders));
        committed.extend(commits(&orders));
    }
    let of = all.len() as u32;
    let parts: Vec<_> =
        all.iter().map(|sent| sent.message.header.part.map(|part| (part.number, part.of))).collect();
    assert_eq!(parts, (1..=of).map(|number| Some((number, of))).collect::<Vec<_>>());
    assert!(all.iter().all(|sent| sent.message.body.bytes().len() <= 100 && sent.message.header.first == 2));
    assert_eq!(all.iter().map(|sent| sent.message.header.count).sum::<u64>(), 1);
    assert_eq!(all.iter().flat_map(|sent| sent.message.body.bytes()).copied().collect::<Vec<u8>>(), lines);
    assert_eq!(committed, [2]);

    // a follower puts them together again
    let mut follower = Rig::new();
    follower.stream = rig.stream;
    let orders = follower.tell(Event::NatsUp);
    let orders = follower.answer(&orders);
    assert!(orders.contains(&Order::Deliver { first: 2, lines }), "{orders:?}");
}

#[test]
fn an_idle_leader_renews_with_an_empty_message_after_a_quarter_of_the_lease() {
    let mut rig = Rig::led();
    let sent = appends(&rig.next_within(LEASE / 4)).remove(0);
    assert!(sent.message.body.bytes().is_empty() && sent.message.header.count == 0);
    let begin = rig.now;
    assert!(rig.ack(&sent).is_empty(), "there is nothing to commit");
    assert_eq!(rig.machine.lease().unwrap().until(), begin + LEASE * 7 / 10);
}

#[test]
fn a_stray_in_between_costs_a_question_and_nothing_else() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 2);
    rig.write_stray();
    let orders = rig.tell(Event::Refused(sent[0].id));
    assert!(rig.tell(Event::Refused(sent[1].id)).is_empty(), "it has asked");
    let again = appends(&rig.answer(&orders));
    let expected: Vec<_> = again.iter().map(|sent| sent.expect).collect();
    assert_eq!(expected, [2, 3]);
    for (again, sent) in again.iter().zip(&sent) {
        assert!(again.message == sent.message && again.id != sent.id);
        assert!(!commits(&rig.ack(again)).is_empty());
    }
    assert_eq!((rig.machine.counts().strays, rig.machine.counts().settled), (1, 1));
}

/// The second of two was taken where the number fitted, behind something else than the first.
#[test]
fn an_append_that_was_taken_without_the_one_before_it_is_not_committed() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 2);
    rig.write_stray();
    let place = rig.store(&sent[1].message);
    assert!(rig.tell(Event::Acked(sent[1].id, place)).is_empty());
    let orders = rig.tell(Event::Refused(sent[0].id));
    let orders = rig.answer(&orders);
    assert!(commits(&orders).is_empty());
    let again = appends(&orders);
    assert_eq!(again.iter().map(|sent| sent.expect).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(commits(&rig.ack(&again[0])), [2]);
    assert_eq!(commits(&rig.ack(&again[1])), [3]);
}

#[test]
fn what_is_unclear_is_asked_for_and_what_is_there_counts_from_its_first_sending() {
    let mut rig = Rig::led();
    let begin = rig.now;
    let sent = rig.stage(2, 2);
    let orders = rig.after(400 * MS); // no answer
    let again = appends(&rig.answer(&orders)); // nothing is there
    assert_eq!((again.len(), again[0].expect), (2, 1));
    rig.store(&sent[0].message); // late
    let orders = rig.refuse(again[0].id);
    let orders = rig.answer(&orders);
    assert_eq!(commits(&orders), [2]);
    assert_eq!(rig.machine.lease().unwrap().until(), begin + LEASE * 7 / 10, "it may be the first try");
    let again = appends(&orders);
    assert_eq!((again.len(), again[0].expect), (1, 2));
    assert!(commits(&rig.tell(Event::Unclear(again[0].id))).is_empty());
}

#[test]
fn another_leaders_message_ends_the_term_and_the_link_before_anything_else() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 2);
    let theirs = second_term(&rig);
    rig.store(&theirs);
    // the second append comes to lie behind it, since the number fits
    let place = rig.store(&sent[1].message);
    assert!(rig.tell(Event::Acked(sent[1].id, place)).is_empty());
    let orders = rig.tell(Event::Refused(sent[0].id));
    let orders = rig.answer(&orders);
    assert_eq!(orders[..2], [Order::StopLink, Order::Cut]);
    assert_eq!(rig.standing().role, Role::Fenced(Fenced::Superseded));
    let orders = rig.answer(&orders);
    assert_eq!(orders, [Order::Deliver { first: 2, lines: lines_of_opening(2) }], "and no word of its own");
    let standing = rig.standing();
    assert_eq!((standing.role, standing.leader.as_deref()), (Role::Follower, Some("b")));
}

#[test]
fn a_leader_stops_when_its_lease_is_over_also_when_it_has_slept() {
    for sleep in [LEASE * 7 / 10, LEASE * 50] {
        let mut rig = Rig::led();
        let sent = rig.stage(2, 1);
        rig.now = rig.now + sleep;
        let place = rig.store(&sent[0].message);
        let orders = rig.tell(Event::Acked(sent[0].id, place));
        assert_eq!(orders[..2], [Order::StopLink, Order::Cut]);
        assert!(commits(&orders).is_empty());
        // what was stored after all comes from the stream
        assert_eq!(rig.answer(&orders), [Order::Deliver { first: 2, lines: line(2) }]);
    }
}

#[test]
fn an_opening_that_is_acknowledged_too_late_brings_no_link() {
    let mut rig = Rig::new();
    let opening = rig.stand();
    rig.now = rig.now + LEASE * 7 / 10;
    let orders = rig.ack(&opening);
    assert!(!orders.contains(&Order::StartLink) && rig.machine.lease().is_none());
    assert_eq!(rig.machine.counts().elected, 0);
}

#[test]
fn the_upstream_is_not_read_while_too_much_is_unacknowledged() {
    let mut rig = Rig::led();
    assert_eq!(rig.tell(Event::Staged { end: 9, bytes: 1_001 }), [Order::Hold(true)]);
    assert!(rig.tell(Event::Staged { end: 9, bytes: 1_002 }).is_empty());
    assert_eq!(rig.tell(Event::Staged { end: 9, bytes: 1_000 }), [Order::Hold(false)]);
}

#[test]
fn without_nats_a_leader_goes_on_until_its_lease_is_over() {
    let mut rig = Rig::led();
    assert!(rig.tell(Event::NatsDown).is_empty());
    assert_eq!(rig.standing().role, Role::Leader);
    assert!(rig.stage(2, 1).is_empty(), "nothing is sent");
    let orders = rig.next_within(LEASE * 7 / 10);
    assert_eq!(orders, [Order::StopLink, Order::Cut, Order::Tell(Tell::Detached(Away::Nats))]);

    let mut rig = Rig::led();
    let sent = rig.stage(2, 1);
    rig.tell(Event::NatsDown);
    rig.store(&sent[0].message);
    rig.now = rig.now + 300 * MS;
    let orders = rig.tell(Event::NatsUp);
    assert_eq!(commits(&rig.answer(&orders)), [2], "it was stored before");
    assert_eq!(rig.standing().role, Role::Leader);
}

#[test]
fn a_stream_that_is_gone_ends_the_term() {
    let mut rig = Rig::led();
    let orders = rig.tell(Event::StreamGone);
    assert_eq!(orders[..2], [Order::StopLink, Order::Cut]);
    assert_eq!(rig.standing().role, Role::Detached(Away::Gone));
    rig.stream.clear();
    let orders = rig.tell(Event::NatsUp);
    assert!(rig.answer(&orders).is_empty());
    assert_eq!(rig.standing().role, Role::Detached(Away::Breach));
    let orders = rig.next_within(100 * MS);
    assert_eq!(orders, [Order::Open { term: 2, first: 1, failover: false }]);
    let orders = rig.tell(Event::Opened { term: 2, lines: lines_of_opening(1) });
    let opening = appends(&orders).remove(0);
    assert!(opening.expect == 0 && opening.message.header.after.is_none());
    let orders = rig.ack(&opening);
    assert!(matches!(orders[0], Order::Epoch { first: 1, .. }));
    assert!(!orders.contains(&Order::StartLink), "somebody may have a link who doesn't know yet");
    let mut waited = Duration::ZERO;
    loop {
        let begin = rig.now;
        let orders = rig.next_within(LEASE);
        waited += rig.now - begin;
        for sent in appends(&orders) {
            rig.ack(&sent);
        }
        if orders.contains(&Order::StartLink) {
            break;
        }
    }
    assert_eq!(waited, LEASE);
}

#[test]
fn a_question_that_is_not_answered_is_asked_again_and_meanwhile_the_node_is_detached() {
    let mut rig = Rig::led();
    rig.now = rig.now + LEASE;
    let orders = rig.tell(Event::Timeout);
    let (id, _) = asked(&orders);
    assert_eq!(rig.tell(Event::NoAnswer(id)), [Order::Tell(Tell::Detached(Away::Unanswered))]);
    let orders = rig.next_within(LEASE / 8);
    assert!(rig.answer(&orders).contains(&Order::Tell(Tell::Attached)));
}

#[test]
fn an_opening_that_is_found_in_the_stream_counts_from_its_first_sending() {
    for late in [0, 1] {
        let mut rig = Rig::new();
        let opening = rig.stand();
        let begin = rig.now;
        let orders = rig.after(400 * MS);
        let again = appends(&rig.answer(&orders)).remove(0);
        assert!(again.message == opening.message && again.id != opening.id);
        rig.now = rig.now + 500 * MS;
        rig.store(&opening.message);
        rig.now = rig.now + 600 * MS * late;
        let orders = rig.refuse(again.id);
        if late == 0 {
            assert!(rig.answer(&orders).contains(&Order::StartLink));
            assert_eq!(rig.machine.lease().unwrap().until(), begin + LEASE * 7 / 10);
        } else {
            // by now the attempt is over, and its term nobody's
            assert!(!rig.answer(&orders).contains(&Order::StartLink));
            assert_eq!(rig.standing().role, Role::Follower);
        }
    }
}

#[test]
fn what_is_refused_for_no_reason_is_not_tried_in_haste() {
    let mut rig = Rig::led();
    let mut sent = rig.stage(2, 1).remove(0);
    let begin = rig.now;
    let mut tries = 0;
    loop {
        let orders = rig.refuse(sent.id);
        if orders.first() == Some(&Order::StopLink) {
            break;
        }
        sent = appends(&rig.answer(&orders)).remove(0);
        tries += 1;
    }
    assert_eq!(rig.now - begin, LEASE * 7 / 10);
    assert!(tries < 60, "{tries}");
}

#[test]
fn an_entry_that_another_node_has_first_is_waited_for_on_the_leader_too() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 2);
    assert!(rig.tell(Event::Awaited { seq: 3 }).is_empty(), "it may be stored");
    assert_eq!(rig.tell(Event::Awaited { seq: 4 }), [Order::NotThere { seq: 4 }]);
    for sent in &sent {
        assert_eq!(commits(&rig.ack(sent)).len(), 1);
    }
}
