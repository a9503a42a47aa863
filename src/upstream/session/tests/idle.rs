//! After which silence a connection is dead, where the server says so.

use super::*;

const TOLD: &str = "[[capture]]\nmatch = '{'\nvalues = { every = \"/every\", grace = \"/grace\" }\n";

fn bench(idle_timeout: &str) -> Bench {
    Bench::ready(&format!("heartbeat = {{ {idle_timeout} }}\n{TOLD}"))
}

/// What the last of a message's effects says; each of its captures has one.
#[track_caller]
fn told(bench: &mut Bench, message: &str) -> Option<Duration> {
    let effects = bench.hears(message);
    let Some(Effect::IdleTimeout(timeout)) = effects.last() else { panic!("{message}: {effects:?}") };
    *timeout
}

#[test]
fn an_idle_timeout_is_the_sum_of_what_the_server_says_and_what_is_added() {
    let ms = Duration::from_millis;
    for (idle_timeout, message, timeout) in [
        ("idle_timeout = \"${capture:every}\"", r#"{"every":25000}"#, Some(25 * S)),
        ("idle_timeout = \"${capture:every}\"", r#"{"every":"25000"}"#, Some(25 * S)),
        (
            "idle_timeout = \"${capture:every}\"",
            r#"{"every":2500.5}"#,
            Some(Duration::from_micros(2_500_500)),
        ),
        ("idle_timeout = \"${capture:every} + 5s\"", r#"{"every":25000}"#, Some(30 * S)),
        ("idle_timeout = \"500ms+${capture:every}+5s\"", r#"{"every":25000}"#, Some(ms(30_500))),
        ("idle_timeout = \"${capture:every} + ${capture:every}\"", r#"{"every":25000}"#, Some(50 * S)),
        ("idle_timeout = \"${capture:every}\", idle_timeout_unit = \"s\"", r#"{"every":10}"#, Some(10 * S)),
        (
            "idle_timeout = \"${capture:every} + ${capture:grace}\"",
            r#"{"every":25000,"grace":20000}"#,
            Some(45 * S),
        ),
        // of two one is missing
        ("idle_timeout = \"${capture:every} + ${capture:grace}\"", r#"{"every":25000}"#, None),
        ("idle_timeout = \"${capture:every} + ${capture:grace}\"", r#"{"every":25000,"grace":0}"#, None),
        // 0, and what is no number, says that it doesn't speak by itself
        ("idle_timeout = \"${capture:every} + 5s\"", r#"{"every":0}"#, None),
        ("idle_timeout = \"${capture:every} + 5s\"", r#"{"every":"0"}"#, None),
        ("idle_timeout = \"${capture:every} + 5s\"", r#"{"every":-1}"#, None),
        ("idle_timeout = \"${capture:every} + 5s\"", r#"{"every":"abc"}"#, None),
        ("idle_timeout = \"${capture:every} + 5s\"", r#"{"every":null}"#, None),
        ("idle_timeout = \"${capture:every} + 5s\"", r#"{"every":[5]}"#, None),
        ("idle_timeout = \"${capture:every} + 5s\"", r#"{"every":"NaN"}"#, None),
        ("idle_timeout = \"${capture:every} + 5s\"", r#"{"every":"inf"}"#, None),
        ("idle_timeout = \"${capture:every} + 5s\"", r#"{"every":1e300}"#, None),
        // what is out of bounds
        ("idle_timeout = \"${capture:every}\"", r#"{"every":1}"#, Some(S)),
        ("idle_timeout = \"${capture:every}\"", r#"{"every":1e-6}"#, Some(S)),
        ("idle_timeout = \"${capture:every}\"", r#"{"every":1e18}"#, Some(365 * 86_400 * S)),
    ] {
        assert_eq!(told(&mut bench(idle_timeout), message), timeout, "{idle_timeout}: {message}");
    }
}

#[test]
fn what_is_captured_now_counts_on_the_next_connection_and_after_a_reload_too() {
    let mut bench = bench("idle_timeout = \"${capture:every} + 5s\"");
    assert_eq!(told(&mut bench, r#"{"every":10000}"#), Some(15 * S));
    assert_eq!(told(&mut bench, r#"{"every":20000}"#), Some(25 * S));
    assert_eq!(bench.again()[0], Effect::IdleTimeout(Some(25 * S)), "until it says something else");
    let rules = settings(&format!("heartbeat.idle_timeout = \"${{capture:every}} + 7s\"\n{TOLD}"));
    bench.rules = Rc::new(Rules::new(&rules));
    let rules = Rc::clone(&bench.rules);
    let effects = bench.with(|session, context| session.set_rules(context, rules)).1;
    assert_eq!(effects, [Effect::IdleTimeout(Some(27 * S))]);
    assert_eq!(told(&mut bench, r#"{"every":0}"#), None, "it doesn't speak by itself any more");
    bench.memory.forget();
    assert_eq!(bench.again()[0], Effect::IdleTimeout(None));
}
