//! Holes in the server's numbers.

use super::*;

#[test]
fn holes_in_the_servers_count_are_told() {
    let hole = |from, to, per: Option<&str>| Hole { from, to, per: per.map(str::to_owned), is_unsure: false };
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
    assert_eq!(bench.misses(r#"{"n":12}"#), [Hole { from: 11, to: 11, per: None, is_unsure: false }]);
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
    assert_eq!(bench.misses(r#"{"n":10}"#), [Hole { from: 7, to: 8, per: None, is_unsure: false }]);
    assert_eq!(bench.misses(r#"{"n":11}"#), []);
    bench.again();
    assert_eq!(bench.misses(r#"{"n":13}"#), [Hole { from: 12, to: 12, per: None, is_unsure: false }]);
}

#[test]
fn of_a_count_that_is_unsure_the_first_hole_alone_is() {
    let hole = |from, to, is_unsure| Hole { from, to, is_unsure, ..Hole::default() };
    for (then, holes) in [(9, vec![hole(6, 8, true)]), (6, vec![])] {
        let mut bench = Bench::ready("sequence.pointer = \"/n\"");
        bench.hears(r#"{"n":5}"#);
        bench.memory.counts().doubt();
        bench.again();
        assert_eq!(bench.misses(&format!("{{\"n\":{then}}}")), holes);
        assert_eq!(bench.misses(r#"{"n":11}"#), [hole(then + 1, 10, false)]);
        bench.again();
        assert_eq!(bench.misses(r#"{"n":14}"#), [hole(12, 13, false)]);
    }
}

#[test]
fn a_hole_may_make_the_connection_useless() {
    for (word, then) in [("reconnect", Remedy::Retry), ("forget", Remedy::Forget)] {
        let mut bench = Bench::ready(&format!("sequence = {{ pointer = \"/n\", on_hole = \"{word}\" }}"));
        bench.hears(r#"{"n":1}"#);
        let effects = bench.hears(r#"{"n":4}"#);
        assert_eq!(bench.session.take_holes(), [Hole { from: 2, to: 3, per: None, is_unsure: false }]);
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
    assert_eq!(
        bench.session.take_holes(),
        [Hole { from: 2, to: 3, per: Some("\"a\"".to_owned()), is_unsure: false }]
    );
    let answer = Payload::Text(r#"{"op":"resync","of":"a"}"#.into()).into();
    assert_eq!(effects, [Effect::Send(answer, Purpose::Reply)]);
    assert_eq!(bench.hears(r#"{"n":5,"s":"a"}"#), []);
}

#[test]
fn a_snapshot_sets_the_count_for_its_key() {
    let hole = |from, to, per: &str| Hole { from, to, per: Some(format!("\"{per}\"")), is_unsure: false };
    // Binance: an event's `U` and `u`, and a snapshot that is an answer, whose id says of which symbol
    let mut bench = Bench::ready(
        "[sequence]\npointer = \"/u\"\nfrom = \"/U\"\nper = \"/s\"\n\
         first = { match = { \"/result/lastUpdateId\" = { exists = true } }, pointer = \"/result/lastUpdateId\", per = \"/id\" }",
    );
    for (message, holes) in [
        (r#"{"s":"A","U":157,"u":160}"#, vec![]),
        (r#"{"s":"B","U":1,"u":5}"#, vec![]),
        (r#"{"s":"A","U":164,"u":165}"#, vec![hole(161, 163, "A")]),
        // older than what was seen, and of the other one
        (r#"{"id":"A","result":{"lastUpdateId":162}}"#, vec![]),
        (r#"{"s":"A","U":166,"u":166}"#, vec![]),
        (r#"{"id":"B","result":{"lastUpdateId":12}}"#, vec![]),
        (r#"{"s":"B","U":10,"u":13}"#, vec![]),
        (r#"{"s":"B","U":15,"u":15}"#, vec![hole(14, 14, "B")]),
        (r#"{"id":"C","result":{"lastUpdateId":7}}"#, vec![]),
        (r#"{"s":"C","U":9,"u":9}"#, vec![hole(8, 8, "C")]),
        // what has no number is no snapshot, and none of these is counted for another key
        (r#"{"id":"C","result":{"lastUpdateId":null}}"#, vec![]),
        (r#"{"id":"C","result":{"lastUpdateId":-1}}"#, vec![]),
        (r#"{"id":"C","result":{"lastUpdateId":1e300}}"#, vec![]),
        (r#"{"id":"C","result":{"lastUpdateId":"abc"}}"#, vec![]),
        (r#"{"s":"C","U":10,"u":10}"#, vec![]),
    ] {
        assert_eq!(bench.misses(message), holes, "{message}");
    }
    // on the next connection what a snapshot has isn't missing, and the others go on
    bench.again();
    assert_eq!(bench.misses(r#"{"id":"A","result":{"lastUpdateId":300}}"#), []);
    assert_eq!(bench.misses(r#"{"s":"A","U":301,"u":301}"#), []);
    assert_eq!(bench.misses(r#"{"s":"B","U":17,"u":17}"#), [hole(16, 16, "B")]);
}

#[test]
fn a_snapshot_is_a_message_that_has_the_number_where_others_have_it() {
    // OKX: `prevSeqId` is -1 in a snapshot
    let mut bench = Bench::ready(
        "[sequence]\npointer = \"/seqId\"\nprevious = \"/prevSeqId\"\nfirst.match = { \"/action\" = \"snapshot\" }",
    );
    for (message, holes) in [
        (r#"{"action":"snapshot","prevSeqId":-1,"seqId":10}"#, vec![]),
        (r#"{"action":"update","prevSeqId":10,"seqId":15}"#, vec![]),
        (r#"{"action":"update","prevSeqId":15,"seqId":15}"#, vec![]),
        (
            r#"{"action":"update","prevSeqId":18,"seqId":30}"#,
            vec![Hole { from: 16, to: 18, per: None, is_unsure: false }],
        ),
        // subscribed anew, and the server's count begins anew
        (r#"{"action":"snapshot","prevSeqId":-1,"seqId":90}"#, vec![]),
        (r#"{"action":"update","prevSeqId":90,"seqId":91}"#, vec![]),
        (r#"{"action":"snapshot","prevSeqId":-1,"seqId":3}"#, vec![]),
        (r#"{"action":"update","prevSeqId":3,"seqId":5}"#, vec![]),
    ] {
        assert_eq!(bench.misses(message), holes, "{message}");
    }
}

#[test]
fn what_names_none_before_it_begins_the_count_anew() {
    let mut bench = Bench::ready("[sequence]\npointer = \"/n\"\nprevious = \"/p\"\nper = \"/s\"");
    let hole = |from, to| Hole { from, to, per: Some("\"a\"".to_owned()), is_unsure: false };
    for (message, holes) in [
        (r#"{"s":"a","p":-1,"n":10}"#, vec![]),
        (r#"{"s":"a","p":10,"n":15}"#, vec![]),
        (r#"{"s":"a","p":-1,"n":90}"#, vec![]),
        (r#"{"s":"a","p":90,"n":91}"#, vec![]),
        (r#"{"s":"a","p":93,"n":95}"#, vec![hole(92, 93)]),
        (r#"{"s":"a","p":null,"n":3}"#, vec![]),
        (r#"{"s":"a","p":3,"n":5}"#, vec![]),
        (r#"{"s":"a","n":7}"#, vec![hole(6, 6)]), // without it, a message stands for its one number
    ] {
        assert_eq!(bench.misses(message), holes, "{message}");
    }
    bench.again();
    assert_eq!(bench.misses(r#"{"s":"a","p":-1,"n":200}"#), [], "a new connection, and a snapshot");
    assert_eq!(bench.misses(r#"{"s":"a","p":202,"n":204}"#), [hole(201, 202)]);
}

#[test]
fn a_hole_is_asked_for_by_its_numbers_and_what_comes_of_it_is_no_new_beginning() {
    let send = r#"{"op":"resend","of":${field:/s},"from":${hole:from},"to":"${hole:to}"}"#;
    let mut bench =
        Bench::ready(&format!("sequence = {{ pointer = \"/n\", per = \"/s\", send = '{send}' }}"));
    bench.hears(r#"{"n":1,"s":"a"}"#);
    let asked =
        |from: u64, to: u64| reply(&format!(r#"{{"op":"resend","of":"a","from":{from},"to":"{to}"}}"#));
    assert_eq!(bench.hears(r#"{"n":4,"s":"a"}"#), [asked(2, 3)]);
    // one more while the first is asked for
    assert_eq!(bench.hears(r#"{"n":9,"s":"a"}"#), [asked(5, 8)]);
    assert_eq!(bench.session.take_holes().len(), 2);
    for late in [2, 3, 5, 3, 6, 7, 8] {
        assert_eq!(bench.misses(&format!(r#"{{"n":{late},"s":"a"}}"#)), [], "{late}");
    }
    assert_eq!(bench.misses(r#"{"n":10,"s":"a"}"#), []);
    // the next connection lacks some as well
    bench.again();
    assert_eq!(bench.hears(r#"{"n":12,"s":"a"}"#), [asked(11, 11)]);
}

#[test]
fn two_holes_that_show_at_once_are_both_asked_for() {
    let send = "again ${hole:from}-${hole:to}";
    let mut bench = Bench::ready(&format!("sequence = {{ pointer = \"/n\", send = '{send}' }}"));
    bench.hears(r#"{"n":5}"#);
    let new = Session::new(Rc::clone(&bench.rules), secrets(), bench.now, bench.now + S);
    let old = std::mem::replace(&mut bench.session, new);
    bench.with(|session, context| session.start(context));
    assert_eq!(bench.misses(r#"{"n":9}"#), [], "the old one may still say them");
    drop(old);
    assert_eq!(bench.hears(r#"{"n":12}"#), [reply("again 6-8"), reply("again 10-11")]);
}

#[test]
fn a_snapshot_on_the_connection_that_takes_over_is_told_no_hole_by_the_other() {
    let text = "[sequence]\npointer = \"/n\"\nfirst = { match = { \"/t\" = \"snapshot\" } }";
    for (snapshot, then, holes) in [
        (r#"{"t":"snapshot","n":8}"#, r#"{"n":9}"#, vec![]),
        (
            r#"{"t":"snapshot","n":8}"#,
            r#"{"n":10}"#,
            vec![Hole { from: 9, to: 9, per: None, is_unsure: false }],
        ),
        // behind the old one, which has said more
        (r#"{"t":"snapshot","n":4}"#, r#"{"n":5}"#, vec![]),
    ] {
        let mut bench = Bench::ready(text);
        bench.hears(r#"{"n":5}"#);
        let new = Session::new(Rc::clone(&bench.rules), secrets(), bench.now, bench.now + S);
        let mut old = std::mem::replace(&mut bench.session, new);
        bench.with(|session, context| session.start(context));
        assert_eq!(bench.misses(snapshot), []);
        std::mem::swap(&mut old, &mut bench.session);
        assert_eq!(bench.misses(r#"{"n":6}"#), [], "the old one goes on by its own count");
        std::mem::swap(&mut old, &mut bench.session);
        drop(old);
        assert_eq!(bench.misses(then), holes, "{snapshot} {then}");
    }
    // what is missing before the new one's first message, and isn't in its snapshot
    let mut bench = Bench::ready(text);
    bench.hears(r#"{"n":5}"#);
    let new = Session::new(Rc::clone(&bench.rules), secrets(), bench.now, bench.now + S);
    let old = std::mem::replace(&mut bench.session, new);
    bench.with(|session, context| session.start(context));
    assert_eq!(bench.misses(r#"{"n":9}"#), []);
    assert_eq!(bench.misses(r#"{"t":"snapshot","n":7}"#), []);
    drop(old);
    assert_eq!(bench.misses(r#"{"n":10}"#), [Hole { from: 8, to: 8, per: None, is_unsure: false }]);
}
