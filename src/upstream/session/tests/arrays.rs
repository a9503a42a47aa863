//! Lists in messages: pointers with a `*`.

use super::*;
use crate::hub::MessageTopic;

fn kept(bench: &Bench, name: &str) -> Option<String> {
    bench.memory.captures().json(name).map(str::to_owned)
}

#[test]
fn a_capture_takes_the_last_element_that_has_it() {
    let mut bench = Bench::ready(
        "[[capture]]\nmatch = { \"/*/topic\" = { exists = true } }\n\
         values = { topic = \"/*/topic\", deep = \"/*/d/*/v\", first = \"/0/topic\", all = \"\" }",
    );
    let message = r#"[{"topic":"a","d":[{"v":1},{"v": 2.0}]},{"topic":"b","d":[{"w":3}]},{"d":[]},7]"#;
    bench.hears(message);
    assert_eq!(kept(&bench, "topic").as_deref(), Some("\"b\""));
    assert_eq!(kept(&bench, "deep").as_deref(), Some("2.0"), "as it stands");
    assert_eq!(kept(&bench, "first").as_deref(), Some("\"a\""));
    assert_eq!(kept(&bench, "all").as_deref(), Some(message));
    bench.hears(r#"{"*":{"topic":"of an object","d":{"*":{"v":4}}}}"#);
    assert_eq!(kept(&bench, "topic").as_deref(), Some("\"of an object\""));
    assert_eq!(kept(&bench, "deep").as_deref(), Some("4"));
    bench.hears(r#"[{"topic":"c"}]"#);
    assert_eq!(kept(&bench, "deep").as_deref(), Some("4"), "what isn't there changes nothing");
}

#[test]
fn a_value_is_of_an_element_that_its_pattern_means() {
    let mut bench = Bench::ready(
        r#"
[[capture]]
match = { "/*/type" = "session", "/*/ok" = true }
values = { id = "/*/id", other = "/*/other" }
[[capture]]
match = [{ "/kind" = "x", "/d/*/on" = true }, { "/kind" = "y", "/d/*/on" = false }]
values = { place = "/d/*/place" }
[[reply]]
match = { "/*/ask" = { exists = true }, "/*/for" = "us" }
send = '{"answer":${field:/*/ask},"by":${field:/0/name}}'
"#,
    );
    bench.hears(
        r#"[{"type":"hello","id":1},{"type":"session","ok":true,"id":2},{"type":"session","ok":false,"id":3},{"other":4}]"#,
    );
    assert_eq!(kept(&bench, "id").as_deref(), Some("2"));
    assert_eq!(kept(&bench, "other"), None, "of an element that the pattern isn't about");
    bench.hears(r#"{"kind":"y","d":[{"on":true,"place":1},{"on":false,"place":2},{"on":true,"place":3}]}"#);
    assert_eq!(kept(&bench, "place").as_deref(), Some("2"), "as that one says which matched");
    let ask = r#"[{"name":"n","ask":1,"for":"them"},{"ask":[2],"for":"us"},{"ask":3,"for":"us"}]"#;
    assert_eq!(bench.hears(ask), [reply(r#"{"answer":[2],"by":"n"}"#)]);
}

#[test]
fn a_topic_is_the_first_elements_that_has_one() {
    let mut bench = Bench::ready(
        r#"
[topics]
pointer = ["/*/stream", "/kind"]
[[topics.rule]]
when = { "/*/e" = "kline", "/*/on" = true }
name = "kline.${field:/*/s}"
"#,
    );
    for (message, topic) in [
        (r#"[{"stream":null},{"stream":"a"},{"stream":"b"}]"#, Some("a")),
        (r#"[{"e":"kline","on":false,"s":"x"},{"e":"kline","on":true,"s":"y"}]"#, Some("kline.y")),
        (r#"[{"e":"kline","on":true},{"e":"x","s":"y","stream":"c"}]"#, Some("c")),
        (r#"{"*":{"stream":"o"},"kind":1}"#, Some("o.1")),
        (r#"{"stream":"a"}"#, None),
        ("[]", None),
    ] {
        bench.hears(message);
        assert_eq!(bench.session.take_topic(), MessageTopic::of_line(topic), "{message}");
    }
}

#[test]
fn a_step_finds_what_it_waits_for_in_a_list() {
    let text = r#"
[[script.step]]
name = "boot"
send = '[{"id":${next_id}}]'
expect = { "/*/for" = "boot", "/*/ok" = true }
reject = [
    { match = { "/*/for" = "boot", "/*/ok" = "later" }, then = "again", delay = "/*/wait" },
    { match = { "/*/for" = "boot", "/*/ok" = false }, then = "stop" },
]
capture = { id = "/*/id" }
"#;
    let (mut bench, effects) = Bench::started(text);
    assert_eq!(effects, [said(r#"[{"id":1}]"#)]);
    assert_eq!(
        bench.hears(r#"[{"for":"boot"},{"ok":true},{"for":"x","ok":false}]"#),
        [],
        "of no one element"
    );
    let effects = bench.hears(r#"[{"for":"x","wait":9},{"for":"boot","ok":"later","wait":300}]"#);
    assert!(matches!(effects[..], [Effect::PutOff { delay, .. }] if delay == 300 * S), "{effects:?}");
    assert_eq!(bench.pass(300 * S), [said(r#"[{"id":2}]"#)]);
    let done = bench.hears(r#"[{"for":"boot","ok":true,"id":"s1"},{"for":"x","id":"s2"}]"#);
    assert_eq!(done, [Effect::TakenOn, Effect::Ready]);
    assert_eq!(kept(&bench, "id").as_deref(), Some("\"s1\""));

    let (mut bench, _) = Bench::started(text);
    let effects = bench.hears(r#"[{"id":"s2"},{"for":"boot","ok":true}]"#);
    let (error, _) = failed(&effects);
    assert!(error.contains("has no /*/id to capture as `id`"), "{error}");
    let (mut bench, _) = Bench::started(text);
    let effects = bench.hears(r#"[{"for":"boot","ok":false}]"#);
    assert_eq!(failed(&effects).1, Remedy::Stop);
}

#[test]
fn a_hole_is_told_with_what_stands_in_a_list() {
    let mut bench = Bench::ready("[sequence]\npointer = \"/s\"\nsend = '{\"of\":${field:/d/*/name}}'");
    assert_eq!(bench.hears(r#"{"s":1}"#), []);
    assert_eq!(bench.hears(r#"{"s":3,"d":[1,{"name":"a"},{"name":"b"}]}"#), [reply(r#"{"of":"a"}"#)]);
}

#[test]
fn the_last_value_of_a_list_is_its_last_elements() {
    let mut bench = Bench::ready(
        "[heartbeat]\nkind = \"message\"\nmessage = '{\"s\":${last:/*/s}}'\nexpect = { \"/*/pong\" = 1 }",
    );
    let beat = |bench: &mut Bench| bench.beat().unwrap();
    assert_eq!(beat(&mut bench), Payload::Text(r#"{"s":null}"#.into()));
    assert_eq!(bench.hears(r#"[{"s":5},{"s":null},{"pong":1}]"#), [Effect::HeartbeatAnswered]);
    assert_eq!(beat(&mut bench), Payload::Text(r#"{"s":5}"#.into()));
    bench.hears(r#"[{"s":6},{"s":7}]"#);
    assert_eq!(beat(&mut bench), Payload::Text(r#"{"s":7}"#.into()));
}
