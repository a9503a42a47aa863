//! Steps that the server has wait.

use super::{
    super::script::{DEFAULT_PUT_OFF, MAX_PUT_OFF, MIN_PUT_OFF},
    *,
};

const BOOT: &str = r#"
[[script.step]]
name = "boot"
send = '[${next_id},"boot"]'
expect = { "/ok" = true }
reject = [
    { match = { "/ok" = "later" }, then = "again", delay = "/wait" },
    { match = { "/ok" = "soon" }, then = "again", delay = "2s" },
    { match = { "/ok" = false }, then = "stop" },
]
[[reply]]
match = { "/ask" = 1 }
send = "answer"
"#;

/// How long the step under way is put off.
fn put_off(effects: &[Effect]) -> Duration {
    match effects {
        [Effect::PutOff { why, delay }] => {
            let sentence = format!("the script's step \"boot\" is said again in {}", format_duration(*delay));
            assert!(why.starts_with(&sentence) && why.contains(": not yet: "), "{why}");
            *delay
        }
        other => panic!("not put off: {other:?}"),
    }
}

#[test]
fn a_step_that_is_put_off_is_said_anew_on_the_same_connection() {
    let (mut bench, effects) = Bench::started(BOOT);
    assert_eq!(effects, [said(r#"[1,"boot"]"#)]);
    // far longer than the script may take
    assert_eq!(put_off(&bench.hears(r#"{"ok":"later","wait":300}"#)), 300 * S);
    assert_eq!(bench.session.next_timeout(), Some(bench.now + 300 * S));
    assert_eq!(bench.hears(r#"{"ask":1}"#), [reply("answer")], "the server is answered meanwhile");
    assert_eq!(bench.hears(r#"{"ok":true}"#), [], "what wasn't asked isn't the answer");
    assert_eq!(bench.pass(299 * S), []);
    assert_eq!(bench.pass(S), [said(r#"[2,"boot"]"#)], "with another id");
    assert_eq!(put_off(&bench.hears(r#"{"ok":"soon"}"#)), 2 * S);
    assert_eq!(bench.pass(2 * S), [said(r#"[3,"boot"]"#)]);
    assert_eq!(bench.hears(r#"{"ok":true}"#), [Effect::TakenOn, Effect::Ready]);
}

#[test]
fn a_step_that_was_put_off_has_the_whole_time_again_and_no_more() {
    let (mut bench, _) = Bench::started(BOOT);
    bench.pass(9 * S);
    bench.hears(r#"{"ok":"soon"}"#);
    bench.pass(2 * S);
    assert_eq!(bench.pass(9 * S), []);
    let effects = bench.pass(S);
    assert!(failed(&effects).0.contains("within 10s, by upstream.connect_timeout"), "{effects:?}");
    let (mut bench, _) = Bench::started(BOOT);
    bench.hears(r#"{"ok":"soon"}"#);
    bench.pass(2 * S);
    assert_eq!(failed(&bench.hears(r#"{"ok":false}"#)).1, Remedy::Stop, "another rejection holds as before");
}

#[test]
fn a_step_is_put_off_for_a_time_within_bounds_and_so_often_only() {
    for (wait, delay) in [
        ("0", DEFAULT_PUT_OFF),
        ("null", DEFAULT_PUT_OFF),
        ("-1", DEFAULT_PUT_OFF),
        ("0.001", MIN_PUT_OFF),
        ("\"3\"", 3 * S),
        ("1e9", 24 * 60 * 60 * S),
    ] {
        let (mut bench, _) = Bench::started(BOOT);
        assert_eq!(put_off(&bench.hears(&format!(r#"{{"ok":"later","wait":{wait}}}"#))), delay, "{wait}");
    }
    let (mut bench, _) = Bench::started(BOOT);
    for _ in 0..MAX_PUT_OFF {
        put_off(&bench.hears(r#"{"ok":"soon"}"#));
        assert!(matches!(bench.pass(2 * S)[..], [Effect::Send(..)]));
    }
    let effects = bench.hears(r#"{"ok":"soon"}"#);
    let (error, then) = failed(&effects);
    assert!(error.contains("it was put off 100 times on this connection"), "{error}");
    assert_eq!(then, Remedy::After(2 * S));
}
