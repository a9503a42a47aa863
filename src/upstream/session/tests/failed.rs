//! A connection that is of no use any more, and is read to its end.

use super::*;

const RULES: &str = r#"
upstream.hide = { "/op" = "secret" }
[[reconnect.rule]]
match = { "/op" = "bye" }
then = "retry"
[[capture]]
match = { "/token" = { exists = true } }
values.token = "/token"
[[reply]]
match = { "/op" = "ask" }
send = "answer"
publish = false
[heartbeat]
kind = "message"
message = "ping"
expect = { "/op" = "pong" }
publish = false
[rotate]
when = { "/op" = "move" }
[sequence]
pointer = "/n"
[topics]
pointer = "/topic"
"#;

/// What clients get of a message on one that has failed already.
fn hears_no_more(bench: &mut Bench, text: &str) -> Publish {
    let (publish, effects) = bench.hear(text);
    assert_eq!((effects, bench.session.take_holes()), (vec![], vec![]), "{text}");
    publish
}

#[test]
fn what_is_hidden_stays_so_after_the_failure_and_nothing_else_follows() {
    let mut bench = Bench::ready(RULES);
    bench.hears(r#"{"n":1}"#);
    let effects = bench.hears(r#"{"op":"bye"}"#);
    assert!(matches!(&effects[..], [Effect::Failed { .. }]), "{effects:?}");
    assert!(bench.session.wants_messages());
    for (text, publish) in [
        (r#"{"op":"secret"}"#, Publish::No),
        (r#"{"op":"ask"}"#, Publish::No),
        (r#"{"op":"pong"}"#, Publish::No),
        (r#"{"op":"bye"}"#, Publish::Yes),
        (r#"{"op":"move"}"#, Publish::Yes),
        (r#"{"token":"late"}"#, Publish::Yes),
        ("no JSON", Publish::Yes),
    ] {
        assert_eq!(hears_no_more(&mut bench, text), publish, "{text}");
    }
    assert!(!bench.memory.captures().has("token"), "it is of another connection's session");
    hears_no_more(&mut bench, r#"{"topic":"news"}"#);
    assert_eq!(bench.session.take_topic(), MessageTopic::new("news".to_owned()));
    // clients get these, so that they aren't missing on the next connection, but what is missing between is
    hears_no_more(&mut bench, r#"{"n":2}"#);
    hears_no_more(&mut bench, r#"{"op":"secret","n":3}"#);
    let hole = |from, to| Hole { from, to, ..Hole::default() };
    assert_eq!(bench.misses(r#"{"n":9}"#), [hole(4, 8)]);
    bench.again();
    assert_eq!(bench.misses(r#"{"n":12}"#), [hole(10, 11)]);
}

#[test]
fn the_message_that_fails_it_may_be_hidden_itself() {
    let mut bench = Bench::ready(RULES);
    let long = format!(r#"{{"op":"secret","token":"{}"}}"#, "x".repeat(70_000));
    let (publish, effects) = bench.hear(&long);
    assert!(failed(&effects).0.contains("captured `token`"), "{effects:?}");
    assert_eq!(publish, Publish::No);
    let mut bench = Bench::ready(&RULES.replace(r#""bye""#, r#""ask""#));
    let (publish, effects) = bench.hear(r#"{"op":"ask"}"#);
    assert!(matches!(&effects[..], [Effect::Failed { .. }]), "{effects:?}");
    assert_eq!(publish, Publish::No, "it isn't answered, but still one that is kept back");
}

#[test]
fn what_a_step_keeps_back_is_kept_back_when_it_comes_too_late() {
    let script = "[[script.step]]\nexpect = { \"/op\" = \"welcome\" }\nreject = { \"/op\" = \"no\" }\n\
                  publish = false\ntimeout = \"1s\"\n";
    let (mut bench, _) = Bench::started(script);
    failed(&bench.pass(S));
    assert_eq!(hears_no_more(&mut bench, r#"{"op":"welcome","session":"s3cret"}"#), Publish::No);
    assert_eq!(hears_no_more(&mut bench, r#"{"op":"no","session":"s3cret"}"#), Publish::No);
    assert_eq!(hears_no_more(&mut bench, r#"{"op":"other"}"#), Publish::Yes);
}
