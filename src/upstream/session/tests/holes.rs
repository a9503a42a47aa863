//! Holes in the server's numbers.

use super::*;

#[test]
fn holes_in_the_servers_count_are_told() {
    let hole = |from, to, per: Option<&str>| Hole { from, to, per: per.map(str::to_owned) };
    let mut bench = Bench::ready("sequence = { pointer = \"/n\", per = \"/s\" }");
    for (message, holes) in [
        (r#"{"n":5,"s":"a"}"#, vec![]),
        (r#"{"n":1,"s":"b"}"#, vec![]),
        (r#"{"n":8,"s":"a"}"#, vec![hole(6, 7, Some("\"a\""))]),
        (r#"{"s":"a"}"#, vec![]),
        (r#"{"n":"10","s":"a"}"#, vec![hole(9, 9, Some("\"a\""))]),
        (r#"{"n":2,"s":"b"}"#, vec![]),
        (r#"{"n":1,"s":"a"}"#, vec![]),
        (r#"{"n":1}"#, vec![]),
        (r#"{"n":3}"#, vec![hole(2, 2, None)]),
    ] {
        assert_eq!(bench.misses(message), holes, "{message}");
    }
    // the next connection goes on
    bench.again();
    assert_eq!(bench.misses(r#"{"n":5,"s":"b"}"#), [hole(3, 4, Some("\"b\""))]);
    bench.memory.forget();
    bench.again();
    assert_eq!(bench.misses(r#"{"n":50,"s":"b"}"#), []);
}

#[test]
fn what_is_heard_over_the_other_connection_is_no_hole() {
    let mut bench = Bench::ready("sequence.pointer = \"/n\"");
    bench.hears(r#"{"n":5}"#);
    let new = Session::new(Rc::clone(&bench.rules), secrets(), bench.now, bench.now + S);
    let mut old = std::mem::replace(&mut bench.session, new);
    bench.with(|session, context| session.start(context));
    assert_eq!(bench.misses(r#"{"n":9}"#), [], "the old one is still heard");
    std::mem::swap(&mut old, &mut bench.session);
    assert_eq!(bench.misses(r#"{"n":6}"#), []);
    std::mem::swap(&mut old, &mut bench.session);
    assert_eq!(bench.misses(r#"{"n":10}"#), []);
    assert_eq!(bench.misses(r#"{"n":12}"#), [Hole { from: 11, to: 11, per: None }]);
}

#[test]
fn what_neither_connection_said_is_a_hole_once_the_old_one_is_gone() {
    let mut bench = Bench::ready("sequence.pointer = \"/n\"");
    bench.hears(r#"{"n":5}"#);
    let new = Session::new(Rc::clone(&bench.rules), secrets(), bench.now, bench.now + S);
    let mut old = std::mem::replace(&mut bench.session, new);
    bench.with(|session, context| session.start(context));
    assert_eq!(bench.misses(r#"{"n":9}"#), []);
    std::mem::swap(&mut old, &mut bench.session);
    assert_eq!(bench.misses(r#"{"n":6}"#), []);
    std::mem::swap(&mut old, &mut bench.session);
    drop(old);
    assert_eq!(bench.misses(r#"{"n":10}"#), [Hole { from: 7, to: 8, per: None }]);
    assert_eq!(bench.misses(r#"{"n":11}"#), []);
    bench.again();
    assert_eq!(bench.misses(r#"{"n":13}"#), [Hole { from: 12, to: 12, per: None }]);
}

#[test]
fn a_hole_may_make_the_connection_useless() {
    for (word, then) in [("reconnect", Remedy::Retry), ("forget", Remedy::Forget)] {
        let mut bench = Bench::ready(&format!("sequence = {{ pointer = \"/n\", on_hole = \"{word}\" }}"));
        bench.hears(r#"{"n":1}"#);
        let effects = bench.hears(r#"{"n":4}"#);
        assert_eq!(bench.session.take_holes(), [Hole { from: 2, to: 3, per: None }]);
        assert_eq!(failed(&effects), ("the server's count has a hole from 2 to 3", then));
    }
}

#[test]
fn a_hole_may_be_answered_with_values_of_the_message_that_showed_it() {
    let send = r#"{"op":"resync","of":${field:/s}}"#;
    let mut bench =
        Bench::ready(&format!("sequence = {{ pointer = \"/n\", per = \"/s\", send = '{send}' }}"));
    assert_eq!(bench.hears(r#"{"n":1,"s":"a"}"#), []);
    let effects = bench.hears(r#"{"n":4,"s":"a"}"#);
    assert_eq!(bench.session.take_holes(), [Hole { from: 2, to: 3, per: Some("\"a\"".to_owned()) }]);
    let answer = Payload::Text(r#"{"op":"resync","of":"a"}"#.into()).into();
    assert_eq!(effects, [Effect::Send(answer, Purpose::Reply)]);
    assert_eq!(bench.hears(r#"{"n":5,"s":"a"}"#), []);
}
