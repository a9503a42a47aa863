//! New settings for a running link.

use super::{script::toml, *};

#[test]
fn a_new_interval_applies_to_the_live_link() {
    let mut bench = Bench::up(settings());
    bench.pass(12 * S);
    let new = with(|settings| settings.heartbeat.interval = 15 * S);
    assert_eq!(bench.tell(Input::Settings(Box::new(new))), []);
    assert_eq!(bench.machine.next_timeout(bench.now), Some(bench.now + 3 * S));
}

#[test]
fn a_connect_timeout_alone_makes_no_new_connection() {
    let mut bench = Bench::up(settings());
    let new = with(|settings| settings.upstream.connect_timeout = S);
    assert_eq!(bench.tell(Input::Settings(Box::new(new))), []);
}

#[test]
fn another_upstream_is_connected_to_at_once() {
    let moved = || {
        Input::Settings(Box::new(with(|settings| {
            settings.upstream.urls = vec![Template::literal("wss://new/")];
        })))
    };
    let mut bench = Bench::up(settings());
    assert_eq!(bench.tell(moved()), [Action::Close { slot: Slot::A, code: 1000, reason: "reconfigured" }]);
    let actions = bench.tell(gone());
    assert_eq!(bench.announced().url, "wss://new/");
    assert_eq!(connects(&actions), 1);

    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    let actions = bench.tell(moved());
    assert_eq!((&actions[0], connects(&actions)), (&Action::AbandonConnect { slot: Slot::A }, 1));

    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    bench.tell(refused());
    assert_eq!(connects(&bench.tell(moved())), 1);

    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    bench.tell(Input::Close);
    assert_eq!(bench.tell(moved()), [], "closed on request stays closed");

    let mut bench = Bench::up(settings());
    bench.tell(Input::Close);
    assert_eq!(bench.tell(moved()), []);
    assert_eq!(bench.states_at(gone()), [LinkState::Closed], "also while it closes");
}

/// Resumes what is captured, and counts.
const RESUMING: &str = r#"
[[script.step]]
if_captured = "session"
send = '{"resume":"${capture:session}","seq":${last:/s}}'
[[script.step]]
unless_captured = "session"
send = '{"identify":${last:/s}}'
[[capture]]
match = "session"
values = { session = "/session" }
[sequence]
pointer = "/s"
"#;

#[test]
fn another_server_hears_nothing_of_the_old_ones_session() {
    let upstream = "[upstream]\nurl = \"wss://a/\"\n";
    let with = |old: &str, new: &str| format!("{upstream}{RESUMING}").replace(old, new);
    for (config, forgets) in [
        (with("wss://a/", "wss://new/"), true),
        (with("url = \"wss://a/\"", "url_command = { run = [\"/bin/url\"] }"), true),
        (with("wss://a/\"", "wss://a/\"\nresume_url = \"wss://a/?${capture:session}\""), true),
        (with("\"/session\" }", "\"/id\" }"), true),
        (with("pointer = \"/s\"", "pointer = \"/n\""), true),
        (with("wss://a/\"", "wss://a/\"\nheaders = { X-A = \"1\" }"), false),
        (with("identify", "hello"), false),
    ] {
        let mut bench = Bench::up(toml(&format!("{upstream}{RESUMING}")));
        bench.said(Slot::A);
        bench.hear(Slot::A, r#"{"session":"abc","s":100}"#);
        let actions = bench.tell(Input::Settings(Box::new(toml(&config))));
        assert_eq!(
            actions,
            [Action::Close { slot: Slot::A, code: 1000, reason: "reconfigured" }],
            "{config}"
        );
        // closing, it is still heard
        bench.hear(Slot::A, r#"{"session":"late","s":101}"#);
        let actions = bench.tell(gone());
        let expected = if forgets { r#"{"identify":null}"# } else { r#"{"resume":"late","seq":101}"# };
        assert_eq!(connects(&actions), 1, "{config}");
        bench.tell(connected());
        assert_eq!(bench.said(Slot::A), [expected], "{config}");
        bench.hear(Slot::A, r#"{"s":500,"n":7}"#);
        assert_eq!(forgets, bench.holes.is_empty(), "{config}");
    }
}

#[test]
fn an_interval_that_the_server_said_is_read_by_the_new_unit() {
    let config = |unit: &str| {
        let text = format!(
            "[upstream]\nurl = \"ws://a/\"\n[heartbeat]\ninterval = \"${{capture:i}}\"\ninterval_unit = \"{unit}\"\n\
             [[script.step]]\nexpect = \"hi\"\ncapture = {{ i = \"/i\" }}\n[[listener]]\npath = \"/s\"\n"
        );
        let config = config::Config::parse(&text, &config::Environment::fixed([])).unwrap();
        with(|settings| (settings.terms, settings.heartbeat) = (config.terms, config.heartbeat))
    };
    let mut bench = Bench::up(config("ms"));
    bench.machine.hear(bench.now, Slot::A, Data::Text(r#"{"hi":1,"i":20}"#));
    bench.tell(Input::Settings(Box::new(config("s"))));
    assert!(bench.pass(19 * S).len() <= 1, "the link is up");
    let beats = bench.pass(2 * S);
    assert!(matches!(beats[..], [Action::Ping { .. }]), "{beats:?}");
}

#[test]
fn a_shorter_delay_ends_a_long_wait_sooner() {
    let slow = with(|settings| {
        settings.reconnect.initial_delay = 60 * S;
        settings.reconnect.max_delay = 600 * S;
        settings.reconnect.jitter = 0.0;
    });
    let mut bench = Bench::new(slow.clone());
    bench.tell(Input::Start);
    bench.tell(refused());
    bench.pass(10 * S);
    let mut fast = slow.clone();
    fast.reconnect.initial_delay = 15 * S;
    assert_eq!(bench.tell(Input::Settings(Box::new(fast))), []);
    let [News::Announce(status)] = &bench.news[..] else { panic!("everyone is told: {:?}", bench.news) };
    assert_eq!((status.state, status.retry_in), (LinkState::Waiting, Some(5 * S)), "counted from its line");
    assert!(status.error.is_some(), "what went wrong is still true");
    assert_eq!(bench.states_at(Input::Settings(Box::new(slow))), [], "a longer one doesn't prolong it");
    assert_eq!(bench.until_attempt(), 5 * S);
}

#[test]
fn an_idle_timeout_that_the_server_said_stays_over_a_reload_that_adds_something_else() {
    let settings = |idle: &str| {
        toml(&format!(
            "[heartbeat]\nkind = \"off\"\nidle_timeout = \"{idle}\"\n\
             [[capture]]\nmatch = {{ \"/every\" = {{ exists = true }} }}\nvalues = {{ every = \"/every\" }}\n"
        ))
    };
    let mut bench = Bench::up(settings("${capture:every} + 5s"));
    assert_eq!(bench.pass(3_600 * S), [], "it has said nothing yet");
    bench.tell(inbound());
    bench.hear(Slot::A, r#"{"every":10000}"#);
    assert_eq!(bench.machine.next_timeout(bench.now), Some(bench.now + 15 * S));
    bench.pass(4 * S);
    // what is added changes, and the silence counts from the reload; then it is fixed, and then off
    assert_eq!(bench.tell(Input::Settings(Box::new(settings("${capture:every} + 2s")))), []);
    assert_eq!(bench.machine.next_timeout(bench.now), Some(bench.now + 12 * S));
    assert_eq!(bench.tell(Input::Settings(Box::new(settings("1m")))), []);
    assert_eq!(bench.machine.next_timeout(bench.now), Some(bench.now + 60 * S));
    assert_eq!(bench.tell(Input::Settings(Box::new(settings("off")))), []);
    assert_eq!(bench.pass(3_600 * S), []);
    // and what was said is known again
    assert_eq!(bench.tell(Input::Settings(Box::new(settings("${capture:every} + 2s")))), []);
    assert_eq!(bench.pass(12 * S)[0], Action::Drop { slot: Slot::A });
    let error = bench.announced().error.clone().unwrap_or_default();
    assert!(error.contains("nothing came in for 12s"), "{error}");
}
