//! How much of it there may be.

use super::*;

#[test]
fn what_is_not_good_is_said_and_leaves_nothing() {
    let none: [&str; 0] = [];
    let long = "x".repeat(257);
    let many: Vec<_> = (0..92).map(|number| format!("t{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let mut few = terms(true);
    few.max = 100;
    let mut bench = Bench::new(few);
    for (topics, payload, trouble, part) in [
        (&none[..], None, "BadRequest", "`topics` is empty"),
        (&[""], None, "BadRequest", "the topic \"\" is empty"),
        (&["a", "b\n"], None, "BadRequest", "control characters"),
        (&[&*long], None, "BadRequest", "has 257 bytes, and 256 are the most"),
        (&["a"], Some("1"), "BadRequest", "no `${payload}`"),
        (&many[..91], None, "TooMany", "91 topics of one client, of which it may have 90"),
    ] {
        bench.subscribe(11, "a", topics, payload);
        let heard = bench.heard.borrow().clone();
        assert!(bench.why().contains(part), "{part}: {heard:?}");
        assert!(format!("{heard:?}").contains(trouble), "{heard:?}");
        assert!(bench.table.is_bare());
    }
    bench.subscribe(11, "a", &many[..90], None);
    bench.subscribe(21, "a", &many[..11], None);
    assert!(bench.heard()[1].contains("TooMany"), "beside others a tenth");
    bench.subscribe(21, "b", &many[82..92], None);
    assert_eq!(bench.heard(), ["21.b queued"], "two new ones");
    let mut asks = 0;
    while bench.heard().iter().all(|heard| !heard.contains("TooMany")) {
        bench.subscribe(21, "c", &["t91"], None);
        asks += 1;
        assert!(asks < 1000);
    }
    assert_eq!(asks, 256, "one waits already");
    bench.table.leave(bench.now, 11);
    bench.table.leave(bench.now, 21);
    bench.wait(LINGER);
    assert!(bench.table.is_bare());
    let mut off = Bench::new(terms(true));
    off.table.set_terms(None);
    off.subscribe(1, "a", &["x"], None);
    assert_eq!(off.why(), "topics.subscribe isn't configured: use `send`");
}

#[test]
fn a_million_topics_are_refused_at_once() {
    let mut bench = Bench::new(terms(true));
    let topics: Vec<_> = (0..1_000_000).map(|number| number.to_string()).collect();
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    bench.subscribe(1, "a", &topics, None);
    assert!(bench.why().contains("there is room for 10000 at most"));
    assert!(bench.table.is_bare());
    // and one by one they end there, too
    for topic in &topics[..9_500] {
        bench.subscribe(1, "a", &[topic], None);
    }
    assert!(bench.table.len() <= 9_000);
}

#[test]
fn those_that_leave_count_until_it_is_said() {
    let mut small = terms(true);
    (small.max, small.linger) = (10, Duration::ZERO);
    let mut bench = Bench::new(small);
    bench.table.open(0);
    let mut refused = 0;
    for number in 0..100 {
        let topic = format!("t{number}");
        bench.subscribe(1, "a", &[&topic], None);
        refused += bench.heard().iter().filter(|heard| heard.contains("TooMany")).count();
        if let Some(saying) = bench.table.next(0) {
            bench.table.said(bench.now, 0, &saying, None);
        }
        let _ = bench.unsubscribe(1, &[&topic]);
        bench.heard();
    }
    assert!(refused < 100, "each is said in its turn: {refused}");
    let seat = bench.table.seats[0].as_ref().unwrap();
    assert!(seat.leaving() <= 10 && seat.phases().count() <= 20, "{}", seat.leaving());
}

#[test]
fn who_flaps_while_nothing_may_be_said_leaves_no_pile() {
    let mut flat = terms(true);
    flat.linger = Duration::ZERO;
    let mut bench = Bench::new(flat);
    bench.table.open(0);
    bench.subscribe(2, "a", &["y"], None);
    assert_eq!(bench.say(0), ["+y"]);
    bench.answer(0, AnswerKind::Accept, None);
    for _ in 0..10_000 {
        // x was never said; y is, and the limits let out nothing more
        bench.subscribe(1, "a", &["x"], None);
        bench.unsubscribe(1, &["x"]).unwrap();
        bench.unsubscribe(2, &["y"]).unwrap();
        bench.subscribe(2, "b", &["y"], None);
    }
    let seat = bench.table.seats[0].as_ref().unwrap();
    assert!(seat.waiting() < 2_000, "{}", seat.waiting());
    bench.heard();
    assert_eq!(bench.say(0), [""; 0]);
}

#[test]
fn no_user_takes_what_is_there_for_all() {
    let mut small = terms(true);
    small.max = 100;
    let mut bench = Bench::new(small);
    let names: Vec<_> = (0..100).map(|number| format!("t{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    bench.subscribe(21, "a", &["other"], None);
    // a user has many clients, each with a tenth
    let mut has = 0;
    for (client, topics) in (10..20).zip(names.chunks(10)) {
        bench.subscribe(client, "a", topics, None);
        has += bench.table.of(client).count();
    }
    assert_eq!(has, 40, "no more than it leaves free, by tens");
    assert!(bench.heard().iter().any(|heard| heard.contains("TooMany")));
    bench.subscribe(22, "a", &names[..10], None);
    assert_eq!(bench.table.of(22).count(), 10, "what is there already takes no room");
    for client in [21, 22] {
        bench.table.leave(bench.now, client);
    }
    bench.wait(LINGER);
    bench.subscribe(15, "b", &names[50..60], None);
    assert_eq!(bench.table.of(15).count(), 10, "alone it may have more");
}

#[test]
fn what_waits_for_the_link_is_bounded_for_all_clients_together() {
    let mut bench = Bench::new(terms(true));
    let names: Vec<_> = (0..1000).map(|number| format!("t{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut taken = 0;
    for client in 0..4 {
        for _ in 0..256 {
            bench.subscribe(client, "a", &names, None);
            taken += bench.heard().iter().filter(|heard| heard.contains("queued")).count();
        }
    }
    assert!((200..270).contains(&taken), "{taken} asks of 1000 topics");
    bench.subscribe(99, "a", &["x"], None);
    assert_eq!(bench.heard(), ["99.a queued"], "there is room for others");
    for client in (0..4).chain([99]) {
        bench.table.leave(bench.now, client);
    }
    bench.wait(LINGER);
    assert!(bench.table.is_bare());
}
