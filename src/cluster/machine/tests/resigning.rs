//! The end of a term in order.

use std::time::Duration;

use super::rig::{LEASE, MS, Rig, appends, commits};
use crate::cluster::machine::{Event, Order};

#[test]
fn stopped_it_closes_its_link_appends_what_there_is_and_then_lets_others_try() {
    let mut rig = Rig::led();
    let sent = rig.stage(2, 1);
    assert_eq!(rig.tell(Event::Stop), [Order::CloseLink]);
    assert_eq!(commits(&rig.ack(&sent[0])), [2]);
    let last_words = rig.stage(3, 1);
    assert_eq!(last_words.len(), 1);
    let orders = rig.tell(Event::LinkGone);
    let last = appends(&orders).remove(0);
    assert!(
        last.message.header.step_down
            && last.message.header.after == Some(last_words[0].message.header.nonce)
    );
    assert_eq!(commits(&rig.ack(&last_words[0])), [3]);
    assert_eq!(rig.ack(&last), [Order::Cut, Order::Finish]);
    assert!(rig.machine.next_timeout().is_none());

    // who follows doesn't wait
    let mut next = Rig::new();
    next.stream = rig.stream;
    let orders = next.tell(Event::NatsUp);
    next.answer(&orders);
    let orders = next.next_within(100 * MS);
    assert_eq!(orders, [Order::Open { term: 2, first: 4, failover: true }]);
}

#[test]
fn a_server_that_does_not_answer_the_close_is_not_waited_for() {
    let mut rig = Rig::led();
    rig.tell(Event::Stop);
    let orders = rig.next_within(200 * MS);
    assert_eq!(orders[0], Order::StopLink);
    assert!(appends(&orders)[0].message.header.step_down);
}

#[test]
fn who_cannot_have_the_link_up_lets_others_try_but_not_when_it_was_closed_on_request() {
    let wait = |rig: &mut Rig| {
        let end = rig.now + Duration::from_secs(40);
        while rig.now < end {
            let orders = rig.next_within(LEASE);
            if orders.contains(&Order::CloseLink) {
                return true;
            }
            for sent in appends(&orders) {
                rig.ack(&sent);
            }
        }
        false
    };
    for (event, others, steps_down) in [
        (Event::LinkDown, 1, true),
        (Event::LinkDown, 0, false),
        (Event::LinkClosed, 1, false),
        (Event::LinkUp, 1, false),
    ] {
        let mut rig = Rig::led();
        rig.tell(Event::Others(others));
        rig.tell(event.clone());
        assert_eq!(wait(&mut rig), steps_down, "{event:?}, {others}");
    }
}

#[test]
fn the_last_message_of_a_term_is_the_last_whatever_waits() {
    let mut rig = Rig::led();
    let mut waiting = rig.stage(2, 7);
    rig.tell(Event::Stop);
    let mut last = appends(&rig.tell(Event::LinkGone));
    assert!(last.is_empty(), "there is no room, and more to say before");
    let mut committed = Vec::new();
    while !waiting.is_empty() {
        let sent = waiting.remove(0);
        let orders = rig.ack(&sent);
        committed.extend(commits(&orders));
        last.extend(appends(&orders));
        let more = rig.stage(rig.machine.wanted().map_or(8, |wanted| wanted.first), 0);
        last.extend(more.iter().filter(|sent| sent.message.header.step_down).cloned());
        waiting.extend(more.into_iter().filter(|sent| !sent.message.header.step_down));
    }
    assert_eq!(committed, [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(last.len(), 1);
    assert!(last[0].message.header.step_down && last[0].expect == rig.last());
    assert_eq!(rig.ack(&last[0]), [Order::Cut, Order::Finish]);
}
