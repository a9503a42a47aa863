use std::{cell::RefCell, collections::BTreeMap};

use proptest::prelude::*;

use super::*;
use crate::hub::{Lane, Origin, Payload, Permit, Ticket};

/// There are no limits.
const ALL: Leeway = Leeway { free: usize::MAX, most: usize::MAX };

type Fates = Rc<RefCell<Vec<(String, Fate)>>>;

fn backlog(max_messages: usize) -> Backlog {
    Backlog::new(config::Outbox { max_messages, max_bytes: 1 << 20, ttl: Duration::from_secs(5) })
}

fn send(fates: &Fates, text: &str) -> Send {
    send_of(fates, &Rc::default(), text)
}

fn send_of(fates: &Fates, from: &Rc<Origin>, text: &str) -> Send {
    let (told, name) = (Rc::clone(fates), text.to_owned());
    let ticket = Ticket::new(Permit::of(from), move |fate| told.borrow_mut().push((name.clone(), fate)));
    Send::new(Payload::Text(text.into()), ticket, 0)
}

fn texts(backlog: &mut Backlog) -> Vec<String> {
    texts_at(backlog, Instant::now())
}

fn texts_at(backlog: &mut Backlog, now: Instant) -> Vec<String> {
    let taken = std::iter::from_fn(|| backlog.next(now, ALL, Room::ALL));
    taken.map(|send| if let Payload::Text(text) = send.payload { text } else { unreachable!() }).collect()
}

fn client(uid: u32, client: u64) -> Rc<Origin> {
    Rc::new(Origin::new(uid, client))
}

#[test]
fn a_connection_that_closes_gets_what_was_there_and_no_more() {
    let (fates, mut backlog, now) = (Fates::default(), backlog(10), Instant::now());
    backlog.hold(now, send(&fates, "old"), &Kinds::default(), LinkState::Waiting);
    backlog.push(send(&fates, "a"), &Kinds::default());
    backlog.close();
    backlog.push(send(&fates, "b"), &Kinds::default());
    backlog.push(send_of(&fates, &client(1, 1), "another's"), &Kinds::default());
    assert_eq!(texts(&mut backlog), ["old", "a"]);
    backlog.requeue(now, LinkState::Connecting);
    assert_eq!(texts(&mut backlog), ["b", "another's"]);
}

#[test]
fn what_a_connection_that_has_gone_had_not_begun_goes_before_what_comes_then() {
    let (mut backlog, fates) = (backlog(9), Fates::default());
    backlog.push(send(&fates, "a"), &Kinds::default());
    backlog.push(send(&fates, "b"), &Kinds::default());
    // a send is looked at before anything else is
    backlog.hold(Instant::now(), send(&fates, "c"), &Kinds::default(), LinkState::Waiting);
    assert_eq!(texts(&mut backlog), ["a", "b", "c"]);
}

#[test]
fn sends_keep_their_order_and_hear_once_that_they_wait_when_a_close_is_cut_short() {
    let (fates, mut backlog, now) = (Fates::default(), backlog(10), Instant::now());
    backlog.hold(now, send(&fates, "old"), &Kinds::default(), LinkState::Waiting);
    backlog.push(send(&fates, "a"), &Kinds::default());
    backlog.close();
    backlog.push(send(&fates, "b"), &Kinds::default());
    backlog.requeue(now + Duration::from_secs(1), LinkState::Waiting);
    let queued =
        |text: &str| fates.borrow().iter().filter(|told| **told == (text.into(), Fate::Queued)).count();
    assert_eq!([queued("old"), queued("a"), queued("b")], [1, 1, 1]);
    assert_eq!(backlog.next_expiry(), Some(now + Duration::from_secs(5)), "the oldest still expires first");
    assert_eq!(texts(&mut backlog), ["old", "a", "b"]);
}

/// A unit of so many messages.
fn unit_of(fates: &Fates, from: &Rc<Origin>, text: &str, count: usize) -> Send {
    let rest = vec![Payload::Text(String::new()); count - 1];
    Send { rest, ..send_of(fates, from, text) }
}

/// What goes out now, by its first message, where so many messages may of so many ever.
fn out(backlog: &mut Backlog, free: usize, most: usize) -> Vec<String> {
    let (mut free, mut texts) = (free, Vec::new());
    while let Some(send) = backlog.next(Instant::now(), Leeway { free, most }, Room::ALL) {
        assert!(send.count() <= free, "more than may");
        free -= send.count();
        let Payload::Text(text) = send.payload else { unreachable!() };
        texts.push(text);
    }
    texts
}

#[test]
fn a_unit_waits_for_all_of_it_and_others_go_on_by_turns_meanwhile() {
    let (fates, mut backlog) = (Fates::default(), backlog(0));
    let (one, other) = (client(1, 1), client(2, 2));
    backlog.push(unit_of(&fates, &one, "unit", 3), &Kinds::default());
    backlog.push(send_of(&fates, &one, "behind it"), &Kinds::default());
    (0..5).for_each(|n| backlog.push(send_of(&fates, &other, &n.to_string()), &Kinds::default()));
    assert_eq!(backlog.ahead(), 9);
    assert_eq!(backlog.wants(), Some(1));
    assert_eq!(out(&mut backlog, 2, 4), ["0"], "its turn saves it one");
    assert_eq!((backlog.wants(), out(&mut backlog, 1, 4).len()), (Some(2), 0));
    assert_eq!(out(&mut backlog, 2, 4), [""; 0], "now it has two");
    assert_eq!((backlog.wants(), out(&mut backlog, 2, 4).len()), (Some(3), 0));
    assert_eq!(out(&mut backlog, 3, 4), ["1"]);
    assert_eq!(out(&mut backlog, 3, 4), ["unit"], "all of it, at once");
    assert_eq!(out(&mut backlog, 9, 4), ["2", "behind it", "3", "4"]);
    assert_eq!((backlog.ahead(), backlog.wants()), (0, None));
}

/// What goes out now, by its first message, where so many requests may of so many ever.
fn asked(backlog: &mut Backlog, free: usize, most: usize) -> Vec<String> {
    let next = || backlog.next(Instant::now(), ALL, Room { free, most });
    std::iter::from_fn(next)
        .map(|send| if let Payload::Text(text) = send.payload { text } else { unreachable!() })
        .collect()
}

#[test]
fn a_unit_of_requests_waits_for_room_for_all_of_it_and_no_other_request_passes_it() {
    let (fates, mut backlog) = (Fates::default(), backlog(0));
    let (one, other) = (client(1, 1), client(2, 2));
    let requests = |requests| Kinds { requests, ..Kinds::default() };
    backlog.push(unit_of(&fates, &one, "unit", 3), &requests(2));
    backlog.push(send_of(&fates, &other, "request"), &requests(1));
    backlog.push(send_of(&fates, &client(3, 3), "plain"), &Kinds::default());
    assert_eq!(asked(&mut backlog, 0, 2), ["plain"]);
    assert!(asked(&mut backlog, 1, 2).is_empty(), "the unit would never have its two");
    assert_eq!(backlog.next(Instant::now(), ALL, Room { free: 2, most: 2 }).unwrap().count(), 3);
    assert!(asked(&mut backlog, 0, 2).is_empty());
    assert_eq!(asked(&mut backlog, 1, 2), ["request"]);
    backlog.push(unit_of(&fates, &one, "too many", 3), &requests(3));
    backlog.push(send_of(&fates, &other, "next"), &requests(1));
    assert_eq!(asked(&mut backlog, 1, 2), ["next"]);
    let told = |name: &str| {
        fates.borrow().iter().filter(|(told, _)| told == name).map(|(_, fate)| *fate).collect::<Vec<_>>()
    };
    assert_eq!(told("too many"), [Fate::TooManyRequests(2)]);
}

#[test]
fn a_unit_that_is_nothing_but_answers_goes_first_and_ends_with_the_connection() {
    let (fates, mut backlog) = (Fates::default(), backlog(10));
    let answers = |ids: &[&str]| Kinds { requests: 0, answers: ids.iter().map(|id| (*id).into()).collect() };
    backlog.push(send(&fates, "plain"), &Kinds::default());
    backlog.push(unit_of(&fates, &client(1, 1), "two", 2), &answers(&["a", "b"]));
    assert_eq!(asked(&mut backlog, 0, 1), ["two", "plain"]);
    backlog.push(unit_of(&fates, &client(1, 1), "mixed", 2), &answers(&["a"]));
    backlog.requeue(Instant::now(), LinkState::Waiting);
    let lost = ("mixed".to_owned(), Fate::LinkDown(LinkState::Waiting));
    assert!(fates.borrow().contains(&lost), "the next connection has asked nothing: {fates:?}");
}

#[test]
fn a_unit_that_the_limits_no_longer_ever_let_out_hears_so() {
    let (fates, mut backlog) = (Fates::default(), backlog(0));
    backlog.push(unit_of(&fates, &client(1, 1), "unit", 5), &Kinds::default());
    assert!(out(&mut backlog, 3, 5).is_empty());
    backlog.push(send_of(&fates, &client(1, 1), "next"), &Kinds::default());
    assert_eq!(out(&mut backlog, 4, 4), ["next"]);
    assert_eq!(fates.borrow()[0], ("unit".to_owned(), Fate::TooMany(4)));
}

#[test]
fn the_outbox_counts_each_message_of_a_unit() {
    let (fates, mut backlog, now) = (Fates::default(), backlog(5), Instant::now());
    let (one, other) = (client(1, 1), client(2, 2));
    let mut hold = |send| backlog.hold(now, send, &Kinds::default(), LinkState::Waiting);
    hold(unit_of(&fates, &one, "too many", 6));
    hold(unit_of(&fates, &one, "unit", 4));
    hold(unit_of(&fates, &other, "other", 2));
    hold(unit_of(&fates, &other, "more", 3));
    assert_eq!((backlog.waiting(), backlog.ahead()), (2, 5));
    let full: Vec<_> =
        fates.borrow().iter().filter(|told| told.1 == Fate::OutboxFull).map(|told| told.0.clone()).collect();
    assert_eq!(full, ["too many", "unit"], "who has the most makes room");
    assert_eq!(backlog.expire(now + Duration::from_secs(5)), 2);
    assert!(backlog.ahead() == 0 && backlog.outbox.is_empty());
}

proptest! {
    /// Whatever is sent by whom, and however much the limits let out: a unit goes out whole or not at all, each
    /// client's sends keep their order, each hears its fate, and all that the limits ever let out goes out in
    /// bounded time, whatever the others send.
    #[test]
    fn every_unit_goes_out_in_its_turn(
        sends in prop::collection::vec((0_u64..4, 1_usize..12), 1..40),
        freed in prop::collection::vec(1_usize..4, 1..20),
        most in 1_usize..8,
    ) {
        let (fates, mut backlog) = (Fates::default(), backlog(0));
        let clients: Vec<_> = (0..4).map(|id| client((id / 2) as u32, id)).collect();
        let mut due: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (n, (id, count)) in sends.iter().enumerate() {
            backlog.push(unit_of(&fates, &clients[*id as usize], &n.to_string(), *count), &Kinds::default());
            if *count <= most {
                due.entry(*id).or_default().push(n.to_string());
            }
        }
        let all: usize = sends.iter().map(|(_, count)| count).sum();
        prop_assert_eq!(backlog.ahead(), all);
        let (mut free, mut went, mut rounds) = (0, BTreeMap::<u64, Vec<String>>::new(), 0);
        while backlog.wants().is_some() {
            free = most.min(free + freed[rounds % freed.len()]);
            rounds += 1;
            prop_assert!(rounds <= 2 * all + 2, "it takes for ever");
            while let Some(send) = backlog.next(Instant::now(), Leeway { free, most }, Room::ALL) {
                prop_assert!(send.count() <= free);
                free -= send.count();
                let Payload::Text(text) = &send.payload else { unreachable!() };
                went.entry(send.ticket.from().client).or_default().push(text.clone());
                send.ticket.settle(Fate::Written);
            }
        }
        prop_assert_eq!(went, due);
        prop_assert_eq!((backlog.ahead(), fates.borrow().len()), (0, sends.len()));
    }
}

#[test]
fn without_an_outbox_what_is_left_hears_that_the_link_is_down() {
    let (fates, mut backlog) = (Fates::default(), backlog(0));
    backlog.push(send(&fates, "a"), &Kinds::default());
    backlog.requeue(Instant::now(), LinkState::Closed);
    assert_eq!(*fates.borrow(), [("a".to_owned(), Fate::LinkDown(LinkState::Closed))]);
}

#[test]
fn a_flood_delays_another_s_send_by_one_of_its_own() {
    let (fates, mut backlog) = (Fates::default(), backlog(0));
    for n in 0..100 {
        backlog.push(send_of(&fates, &client(1, 1), &format!("flood {n}")), &Kinds::default());
    }
    backlog.push(send_of(&fates, &client(1, 2), "another"), &Kinds::default());
    backlog.push(send_of(&fates, &client(2, 3), "another user's"), &Kinds::default());
    let mut first = texts(&mut backlog);
    first.truncate(4);
    assert_eq!(first, ["flood 0", "another user's", "another", "flood 1"]);
}

#[test]
fn what_a_client_that_has_gone_had_waiting_is_sent_in_time_or_not_at_all() {
    let (fates, mut backlog, now) = (Fates::default(), backlog(0), Instant::now());
    let (gone, there) = (client(1, 1), client(1, 2));
    for text in ["a", "b", "c"] {
        backlog.push(send_of(&fates, &gone, text), &Kinds::default());
    }
    backlog.push(send_of(&fates, &there, "d"), &Kinds::default());
    gone.leave(now);
    assert!(backlog.next(now, ALL, Room::ALL).is_some());
    assert_eq!(backlog.next_expiry(), Some(now + Origin::AFTERLIFE));
    assert_eq!(texts_at(&mut backlog, now + Origin::AFTERLIFE), ["d"]);
    let expired = fates.borrow().iter().filter(|(_, fate)| *fate == Fate::Expired).count();
    assert_eq!(expired, 2);
    assert_eq!(backlog.ahead(), 0);
}

#[test]
fn what_is_in_the_outbox_waits_for_ttl_though_its_client_has_gone() {
    let (hour, now) = (Duration::from_secs(3600), Instant::now());
    let limits = config::Outbox { max_messages: 10, max_bytes: 1 << 20, ttl: hour };
    let (fates, mut backlog, gone) = (Fates::default(), Backlog::new(limits), client(1, 1));
    // one was sent while the link was down, the other waited for its turn when it went down
    backlog.hold(now, send_of(&fates, &gone, "held"), &Kinds::default(), LinkState::Waiting);
    backlog.push(send_of(&fates, &gone, "requeued"), &Kinds::default());
    gone.leave(now);
    assert_eq!(backlog.next_expiry(), Some(now + hour));
    backlog.requeue(now, LinkState::Waiting);
    let late = now + 2 * Origin::AFTERLIFE;
    assert_eq!((backlog.next_expiry(), backlog.expire(late)), (Some(now + hour), 0));
    assert_eq!(texts_at(&mut backlog, late), ["held", "requeued"]);
    backlog.hold(late, send_of(&fates, &gone, "from the lane"), &Kinds::default(), LinkState::Waiting);
    assert_eq!((backlog.expire(late + hour), backlog.waiting()), (1, 0));
}

#[test]
fn the_outbox_is_bounded_in_number_bytes_and_time() {
    let limits =
        config::Outbox { max_messages: 3, max_bytes: 10 + 3 * Lane::OVERHEAD, ttl: Duration::from_secs(5) };
    let (fates, mut backlog, now) = (Fates::default(), Backlog::new(limits), Instant::now());
    let second = Duration::from_secs(1);
    for (at, text) in [(0, "12345"), (2, "67890"), (2, "1"), (2, ""), (2, "late")] {
        backlog.hold(now + at * second, send(&fates, text), &Kinds::default(), LinkState::Waiting);
    }
    let full: Vec<_> = fates.borrow().iter().filter(|told| told.1 == Fate::OutboxFull).cloned().collect();
    assert_eq!(full.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), ["1", "late"]);
    assert_eq!(backlog.next_expiry(), Some(now + 5 * second));
    assert_eq!(backlog.expire(now + 5 * second - Duration::from_millis(1)), 0);
    assert_eq!(backlog.expire(now + 5 * second), 1);
    assert_eq!((backlog.waiting(), backlog.expire(now + 7 * second)), (2, 2));
    assert!(backlog.waiting() == 0 && backlog.outbox.is_empty());
}

#[test]
fn who_fills_the_outbox_makes_room_for_the_others_up_to_an_equal_share() {
    let (fates, mut backlog, now) = (Fates::default(), backlog(10), Instant::now());
    let hold = |backlog: &mut Backlog, from: &Rc<Origin>, text: String| {
        backlog.hold(now, send_of(&fates, from, &text), &Kinds::default(), LinkState::Waiting);
    };
    let (flooder, same_user, other) = (client(1, 1), client(1, 2), client(2, 3));
    (0..20).for_each(|n| hold(&mut backlog, &flooder, format!("flood {n}")));
    assert_eq!(backlog.waiting(), 10, "one alone has all of it");
    (0..10).for_each(|n| hold(&mut backlog, &other, format!("other {n}")));
    (0..10).for_each(|n| hold(&mut backlog, &same_user, format!("same {n}")));
    let of = |from: &Origin| backlog.outbox.messages_of(from);
    assert_eq!([of(&flooder), of(&same_user), of(&other)], [3, 2, 5]);
    assert_eq!(backlog.waiting(), 10);
    // the newest went, and each was told
    let sent = texts(&mut backlog);
    assert!(["flood 0", "flood 1", "flood 2", "other 4"].iter().all(|text| sent.iter().any(|s| s == text)));
    let full = fates.borrow().iter().filter(|told| told.1 == Fate::OutboxFull).count();
    assert_eq!(full, 30);
    assert!(backlog.outbox.is_empty());
}

#[test]
fn what_is_left_is_given_back_but_for_what_another_connection_can_not_have() {
    let (mut backlog, fates, now) = (backlog(9), Fates::default(), Instant::now());
    let remote = Rc::new(Origin::remote(1, 7));
    backlog.hold(now, send(&fates, "old"), &Kinds::default(), LinkState::Waiting);
    backlog.hold(now, send_of(&fates, &remote, "another machine's"), &Kinds::default(), LinkState::Waiting);
    backlog.push(send(&fates, "a"), &Kinds::default());
    backlog.push(send_of(&fates, &remote, "its next"), &Kinds::default());
    let bound = Kinds { requests: 0, answers: vec![Default::default()] };
    backlog.push(send(&fates, "an answer"), &bound);
    let left = backlog.leave(LinkState::Closed);
    let texts: Vec<_> = left.iter().map(|send| send.payload.as_bytes().to_vec()).collect();
    assert_eq!(texts, [b"old".to_vec(), b"a".to_vec()]);
    assert!(backlog.ahead() == 0 && backlog.outbox.is_empty());
    let told: Vec<_> = fates.borrow().clone();
    let down = |name: &str, state| (name.to_owned(), Fate::LinkDown(state));
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.contains(&("old".to_owned(), Fate::Queued)));
    assert!(told.contains(&down("another machine's", LinkState::Waiting)));
    assert!(told.contains(&down("its next", LinkState::Closed)));
    assert!(told.contains(&down("an answer", LinkState::Closed)));
}
