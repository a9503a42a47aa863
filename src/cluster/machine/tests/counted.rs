//! What a leader tells of the server's counts, and the next one knows.

use super::rig::{LEASE, MS, Rig, Sent, appends, line, lines_of_opening, second_term};
use crate::cluster::machine::{CountedIs, Event, Header, Message, Order};

fn count(seq: u64, per: &str, last: u64) -> Event {
    let text = format!("[{seq},{{\"per\":\"{per}\",\"last\":{last}}}]");
    Event::Counted { seq, per: per.to_owned(), text }
}

fn counted(sent: &Sent) -> Option<&str> {
    sent.message.header.counted.as_deref()
}

fn notes(orders: &[Order]) -> Vec<&str> {
    orders
        .iter()
        .filter_map(|order| if let Order::Counted { list } = order { Some(&**list) } else { None })
        .collect()
}

#[test]
fn how_far_the_server_has_counted_goes_along_with_the_entries_before_and_the_next_leader_knows() {
    let mut rig = Rig::new();
    let opening = rig.stand();
    assert_eq!(counted(&opening), Some("[]"), "it is one that tells");
    rig.ack(&opening);
    rig.after(MS);
    assert_eq!(rig.machine.counted_before(), CountedIs::default());
    // before the entry 3, which isn't taken yet
    assert!(rig.tell(count(3, "a", 7)).is_empty());
    let orders = rig.tell(Event::Staged { end: 3, bytes: 90 });
    assert!(appends(&orders).is_empty() && rig.machine.wanted().is_some());
    let first = rig.tell(Event::Lines { first: 2, end: 3, lines: line(2) });
    let first = appends(&first).remove(0);
    assert_eq!(counted(&first), Some("[[3,{\"per\":\"a\",\"last\":7}]]"));
    // at its time: with the next renewal, since it is known that there is such
    assert!(appends(&rig.tell(count(3, "a", 8))).is_empty());
    let orders = rig.ack(&first);
    assert_eq!(notes(&orders), ["[[3,{\"per\":\"a\",\"last\":7}]]"], "for a later term of this node");
    let renewal = appends(&rig.next_within(LEASE / 4)).remove(0);
    assert_eq!(counted(&renewal), Some("[[3,{\"per\":\"a\",\"last\":8}]]"));
    rig.ack(&renewal);
    let orders = rig.tell(Event::Stop);
    assert!(orders.contains(&Order::CloseLink));
    rig.tell(count(3, "b", 1));
    let last = appends(&rig.tell(Event::LinkGone)).remove(0);
    assert_eq!(
        (counted(&last), last.message.header.step_down),
        (Some("[[3,{\"per\":\"b\",\"last\":1}]]"), true)
    );
    rig.ack(&last);

    // all of it is known to who comes later, and that it is all
    for whole in [true, false] {
        let mut next = Rig::with(|settings| settings.node = "c".into());
        next.stream.clone_from(&rig.stream);
        if !whole {
            next.stream.pop();
        }
        let orders = next.tell(Event::NatsUp);
        let orders = next.answer(&orders);
        let known = notes(&orders);
        assert_eq!(known.len(), 2 + usize::from(whole), "{orders:?}");
        let orders = next.next_within(LEASE + 100 * MS);
        let [Order::Open { term, first, .. }] = orders[..] else { panic!("{orders:?}") };
        let orders = next.tell(Event::Opened { term, lines: lines_of_opening(first) });
        let opening = appends(&orders).remove(0);
        next.ack(&opening);
        assert_eq!(next.machine.counted_before(), CountedIs { untold: 0, whole });
    }
}

#[test]
fn of_what_clients_don_t_get_the_first_is_said_at_once_and_all_before_the_last_word() {
    let mut rig = Rig::new();
    let opening = rig.stand();
    rig.ack(&opening);
    rig.after(MS);
    let urgent = appends(&rig.tell(count(2, "a", 1))).remove(0);
    assert_eq!(
        (counted(&urgent), urgent.message.header.count),
        (Some("[[2,{\"per\":\"a\",\"last\":1}]]"), 0)
    );
    rig.ack(&urgent);
    (0..100).for_each(|n| {
        assert!(appends(&rig.tell(count(2, &format!("{n}{}", "x".repeat(250)), 1))).is_empty())
    });
    rig.tell(Event::Stop);
    let mut said = 0;
    let mut waiting = appends(&rig.tell(Event::LinkGone));
    loop {
        let sent = waiting.remove(0);
        said += counted(&sent)
            .map_or(0, |list| serde_json::from_str::<Vec<serde_json::Value>>(list).unwrap().len());
        let orders = rig.ack(&sent);
        waiting.extend(appends(&orders));
        if sent.message.header.step_down {
            break;
        }
    }
    assert_eq!((said, waiting.len()), (100, 0));
}

#[test]
fn a_message_of_an_older_version_tells_nothing_of_the_server_s_counts() {
    let mut rig = Rig::new();
    let opening = rig.stand();
    rig.ack(&opening);
    let theirs = second_term(&rig);
    let theirs = Message { header: Header { counted: None, step_down: true, ..theirs.header }, ..theirs };
    rig.store(&theirs);
    let untold = theirs.header.end();
    // nor does it come to be known by what those tell who come later
    let mut stream = rig.stream;
    for (node, whole) in [("c", false), ("d", false), ("e", true)] {
        let mut next = Rig::with(|settings| settings.node = node.into());
        next.stream = stream;
        let orders = next.tell(Event::NatsUp);
        next.answer(&orders);
        let orders = next.next_within(LEASE + 100 * MS);
        let [Order::Open { term, first, .. }] = orders[..] else { panic!("{orders:?}") };
        let orders = next.tell(Event::Opened { term, lines: lines_of_opening(first) });
        next.ack(&appends(&orders).remove(0));
        assert_eq!(next.machine.counted_before(), CountedIs { untold, whole }, "{node}");
        if node == "d" {
            next.tell(Event::Stop);
            let last = appends(&next.tell(Event::LinkGone)).remove(0);
            next.ack(&last);
        }
        stream = next.stream;
    }
}

#[test]
fn what_is_told_in_messages_that_a_node_never_got_is_unknown_to_it() {
    let mut leader = Rig::led();
    let mut rig = Rig::with(|settings| settings.node = "c".into());
    rig.stream.clone_from(&leader.stream);
    let orders = rig.tell(Event::NatsUp);
    rig.answer(&orders);
    for sent in leader.stage(2, 2) {
        leader.ack(&sent);
    }
    rig.stream.push(leader.stream.pop().unwrap()); // the one before is let go
    let newest = rig.stream.last().unwrap().clone();
    rig.tell(Event::Read(rig.reading.unwrap(), newest));
    let orders = rig.next_within(LEASE + 100 * MS);
    let [Order::Open { term, first, .. }] = orders[..] else { panic!("{orders:?}") };
    let orders = rig.tell(Event::Opened { term, lines: lines_of_opening(first) });
    let orders = rig.ack(&appends(&orders).remove(0));
    assert!(orders.contains(&Order::Skip { to: 3 }), "{orders:?}");
    assert_eq!(rig.machine.counted_before(), CountedIs { untold: 3, whole: false });
}
