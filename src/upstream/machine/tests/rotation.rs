//! One connection takes over from another.

use super::{script::toml, *};
use crate::hub::Data;

fn rotating() -> Settings {
    with(|settings| {
        settings.heartbeat.kind = HeartbeatKind::Off;
        settings.terms.rotate.after = Some(600 * S);
    })
}

/// A machine whose connection is old enough: the next one is being dialled.
fn dialling(settings: Settings) -> Bench {
    let mut bench = Bench::up(settings);
    let actions = bench.pass(600 * S);
    let to = Destination::Configured(0);
    assert!(actions.contains(&Action::Connect { slot: Slot::B, to }), "{actions:?}");
    bench
}

/// One in which the next connection has just taken over.
fn overlapping(settings: Settings) -> Bench {
    let mut bench = dialling(settings);
    bench.tell(connected_on(Slot::B));
    assert_eq!((bench.announced().state, bench.announced().conn), (LinkState::Up, 2));
    assert_eq!(bench.machine.sender(), Some(Slot::B));
    bench
}

fn refused_next() -> Input {
    Input::ConnectFailed { slot: Slot::B, failure: Failure::attempt("connection refused") }
}

fn heard(slot: Slot) -> Input {
    Input::Inbound { slot, messages: true }
}

fn rotated_away(slot: Slot) -> Action {
    Action::Close { slot, code: 1000, reason: "rotated" }
}

#[test]
fn an_old_connection_is_left_only_for_one_that_is_up() {
    let mut bench = dialling(rotating());
    assert_eq!(bench.machine.sender(), Some(Slot::A));
    let actions = bench.tell(connected_on(Slot::B));
    assert_eq!(bench.states(), [LinkState::Up]);
    assert!(!actions.iter().any(|action| matches!(action, Action::Close { .. })), "it is read on");
    assert_eq!(bench.tell(Input::Inbound { slot: Slot::B, messages: false }), [], "a frame is no message");
    assert_eq!(bench.tell(heard(Slot::A)), [], "the old one still speaks");
    assert_eq!(bench.tell(heard(Slot::B)), [rotated_away(Slot::A)]);
    assert_eq!(bench.tell(Input::Ended { slot: Slot::A, failure: Failure::lost("") }), []);
    assert_eq!(connects(&bench.pass(599 * S)), 0);
    let actions = bench.pass(S);
    let to = Destination::Configured(0);
    assert!(actions.contains(&Action::Connect { slot: Slot::A, to }), "and back again: {actions:?}");
}

#[test]
fn a_new_connection_that_says_nothing_ends_the_overlap_by_its_time() {
    let mut bench = overlapping(rotating());
    assert_eq!(bench.pass(4 * S), []);
    assert_eq!(bench.pass(S), [rotated_away(Slot::A)]);
    assert_eq!(bench.pass(S), []);
    assert_eq!(bench.pass(S)[0], Action::Drop { slot: Slot::A }, "close_timeout bounds its closing");
    assert_eq!(bench.machine.sender(), Some(Slot::B));
}

#[test]
fn the_next_one_s_failures_leave_the_old_one_be_and_have_delays() {
    let mut bench = dialling(with(|settings| {
        *settings = rotating();
        settings.reconnect.jitter = 0.0;
    }));
    for delay in [500, 1_000, 2_000, 4_000] {
        assert_eq!(bench.tell(refused_next()), []);
        let retry_in = Some(delay * MS);
        let error = "connection refused".to_owned();
        assert_eq!(bench.notes(), [&Note::RotationFailed { error, retry_in }]);
        assert_eq!(bench.states(), []);
        assert_eq!(connects(&bench.pass(delay * MS - MS)), 0);
        assert_eq!(connects(&bench.pass(MS)), 1);
    }
    let status = bench.told_at(connected_on(Slot::B)).clone();
    assert_eq!((status.state, status.attempt), (LinkState::Up, 0), "these were no failures of the link");
}

#[test]
fn a_connection_that_is_lost_while_the_next_is_under_way_waits_for_that() {
    for end in [gone(), closing(Failure::closed_there(Some(1001), ""))] {
        let is_closing = matches!(end, Input::Closing { .. });
        let mut bench = dialling(rotating());
        let actions = bench.tell(end);
        assert_eq!(bench.states(), [LinkState::Connecting], "{actions:?}");
        assert_eq!(connects(&actions), 0, "it is under way already");
        assert!(bench.announced().error.is_some());
        assert_eq!(bench.announced().url, "wss://a/", "where it is under way to");
        assert_eq!(bench.machine.sender(), None);
        bench.tell(connected_on(Slot::B));
        assert_eq!((bench.announced().state, bench.announced().conn), (LinkState::Up, 2));
        assert_eq!(bench.announced().url, "wss://a/");
        let actions = bench.pass(LINGER);
        assert_eq!(actions.contains(&Action::Drop { slot: Slot::A }), is_closing);
    }
}

#[test]
fn a_lost_connection_whose_next_one_fails_too_waits_as_ever() {
    let mut bench = dialling(rotating());
    bench.tell(gone());
    bench.tell(refused_next());
    let status = bench.announced();
    assert_eq!((status.state, status.attempt), (LinkState::Waiting, 2));
    assert_eq!(status.url, "wss://b/", "the next server has its turn");
    bench.until_attempt();
}

#[test]
fn a_rule_about_the_lost_connection_comes_before_the_next_one() {
    let mut bench = dialling(with(|settings| {
        *settings = rotating();
        let codes = vec![4004..=4004];
        settings.reconnect.rules =
            vec![config::Rule { codes, statuses: vec![], pattern: None, then: config::Remedy::Stop }];
    }));
    let actions = bench.tell(closing(Failure::closed_there(Some(4004), "")));
    assert_eq!(actions, [Action::AbandonConnect { slot: Slot::B }]);
    bench.tell(gone());
    assert_eq!(bench.announced().state, LinkState::Failed);
}

#[test]
fn what_is_asked_for_ends_both_connections() {
    for input in [Input::Close, Input::Reconnect, Input::Stop] {
        let mut bench = dialling(rotating());
        let actions = bench.tell(input);
        assert_eq!(actions[0], Action::AbandonConnect { slot: Slot::B });
        assert!(matches!(actions[1], Action::Close { slot: Slot::A, .. }));
    }
    for input in [Input::Close, Input::Reconnect, Input::Stop] {
        let mut bench = overlapping(rotating());
        let actions = bench.tell(input);
        assert_eq!(actions[0], rotated_away(Slot::A));
        assert!(matches!(actions[1], Action::Close { slot: Slot::B, .. }));
        let states = [bench.states_at(gone_from(Slot::B)), bench.states_at(gone_from(Slot::A))];
        assert_eq!(states.concat().len(), 1, "{states:?}");
    }
}

#[test]
fn the_loss_of_the_new_connection_ends_the_old_one_too() {
    let mut bench = overlapping(rotating());
    let actions = bench.tell(gone_from(Slot::B));
    assert_eq!(actions[0], rotated_away(Slot::A));
    assert_eq!(bench.announced().state, LinkState::Waiting);
    let actions = bench.pass(60 * S);
    let dialled: Vec<_> = actions.iter().filter(|action| matches!(action, Action::Connect { .. })).collect();
    assert_eq!(dialled.len(), 1);
}

#[test]
fn limits_of_attempts_hold_for_the_next_connection() {
    let window = config::Window { count: 2, per: 3_600 * S };
    let mut bench = dialling(with(|settings| {
        *settings = rotating();
        settings.terms.limits.connects = vec![window];
    }));
    bench.tell(refused_next());
    assert_eq!(connects(&bench.pass(2_999 * S)), 0);
    assert_eq!(connects(&bench.pass(S)), 1);
}

#[test]
fn a_rule_may_stop_the_attempts_and_the_old_connection_goes_on() {
    let mut bench = dialling(with(|settings| {
        *settings = rotating();
        let statuses = vec![401..=401];
        settings.reconnect.rules =
            vec![config::Rule { codes: vec![], statuses, pattern: None, then: config::Remedy::Stop }];
    }));
    let failure = Failure { http_status: Some(401), ..Failure::attempt("no") };
    assert_eq!(bench.tell(Input::ConnectFailed { slot: Slot::B, failure }), []);
    assert_eq!(bench.notes(), [&Note::RotationFailed { error: "no".into(), retry_in: None }]);
    assert_eq!(connects(&bench.pass(100_000 * S)), 0);
    assert_eq!(bench.machine.sender(), Some(Slot::A));
}

#[test]
fn a_message_that_both_connections_say_is_published_once() {
    let mut bench = dialling(with(|settings| {
        *settings = rotating();
        settings.terms.rotate.dedupe = Some(config::Pointer::parse("/id").unwrap());
    }));
    let hear = |bench: &mut Bench, slot, text| {
        assert!(bench.machine.wants_messages(slot));
        bench.machine.hear(bench.now, slot, Data::Text(text)).publish
    };
    assert!(hear(&mut bench, Slot::A, r#"{"id":1}"#), "said while the next one was dialled");
    bench.tell(connected_on(Slot::B));
    assert!(hear(&mut bench, Slot::B, r#"{"id":2}"#));
    assert_eq!(bench.tell(heard(Slot::B)), [], "the old one may have more from before");
    assert!(!hear(&mut bench, Slot::B, r#"{"id":1}"#));
    assert_eq!(bench.tell(heard(Slot::B)), [rotated_away(Slot::A)], "now they have met");
    assert!(!hear(&mut bench, Slot::A, r#"{"id":2}"#), "closing, it is still heard");
    assert!(hear(&mut bench, Slot::A, r#"{"id":3}"#));
    bench.tell(gone_from(Slot::A));
    assert!(!hear(&mut bench, Slot::B, r#"{"id":3}"#), "and after it is gone");
    bench.pass(5 * S);
    assert!(!bench.machine.wants_messages(Slot::B), "in the end nothing is compared any more");
}

#[test]
fn what_the_next_connection_said_before_it_failed_is_not_published_again() {
    let mut bench = Bench::up(with(|settings| {
        *settings = rotating();
        settings.terms.rotate.dedupe = Some(config::Pointer::parse("/id").unwrap());
        let expect = Some(config::Pattern::Text("welcome".into()));
        settings.terms.script.steps = vec![config::Step { expect, ..config::Step::new("hello") }];
    }));
    bench.hear(Slot::A, "welcome");
    assert_eq!(connects(&bench.pass(600 * S)), 1);
    bench.tell(connected_on(Slot::B));
    assert!(bench.hear(Slot::B, r#"{"id":1}"#).0);
    bench.tell(gone_from(Slot::B));
    assert!(!bench.hear(Slot::A, r#"{"id":1}"#).0);
}

#[test]
fn what_the_old_connection_said_is_known_for_a_while_without_an_overlap_too() {
    let mut bench = dialling(with(|settings| {
        *settings = rotating();
        settings.terms.rotate.overlap = Duration::ZERO;
        settings.terms.rotate.dedupe = Some(config::Pointer::parse("/id").unwrap());
    }));
    bench.tell(connected_on(Slot::B));
    assert_eq!(bench.pass(Duration::ZERO), [rotated_away(Slot::A)]);
    assert!(bench.machine.hear(bench.now, Slot::A, Data::Text(r#"{"id":1}"#)).publish);
    bench.tell(gone_from(Slot::A));
    bench.pass(S);
    assert!(!bench.machine.hear(bench.now, Slot::B, Data::Text(r#"{"id":1}"#)).publish, "both said it");
    bench.pass(5 * S);
    assert!(!bench.machine.rotation.compares(), "and the names are forgotten");
}

#[test]
fn a_binary_message_that_is_text_is_published_once_too() {
    let mut bench = dialling(with(|settings| {
        *settings = rotating();
        settings.terms.rotate.dedupe = Some(config::Pointer::parse("/id").unwrap());
    }));
    bench.tell(connected_on(Slot::B));
    let mut hear = |slot, bytes| bench.machine.hear(bench.now, slot, Data::Binary(bytes)).publish;
    assert!(hear(Slot::A, br#"{"id":1}"#));
    assert!(!hear(Slot::B, br#"{"id":1}"#));
    assert!(hear(Slot::A, b"\xff") && hear(Slot::B, b"\xff"), "what is no text has no name");
}

#[test]
fn an_old_connection_is_not_dropped_unread_while_clients_hold_up_the_reading() {
    let mut bench = overlapping(rotating());
    bench.tell(Input::Paused { slot: Slot::A });
    bench.tell(Input::Paused { slot: Slot::B });
    assert!(!bench.pass(60 * S).iter().any(|action| matches!(action, Action::Close { .. })));
    bench.tell(Input::Resumed { slot: Slot::A });
    assert_eq!(bench.tell(Input::Resumed { slot: Slot::B }), []);
    assert_eq!(bench.tell(heard(Slot::B)), [rotated_away(Slot::A)]);
    bench.pass(S);
    bench.tell(Input::Paused { slot: Slot::A });
    assert_eq!(bench.pass(60 * S), [], "nor while it closes");
    bench.tell(Input::Resumed { slot: Slot::A });
    assert_eq!(bench.pass(S - MS), []);
    assert_eq!(bench.pass(MS)[0], Action::Drop { slot: Slot::A }, "the time before the pause counts");
}

fn rotating_when_told() -> Settings {
    with(|settings| {
        *settings = rotating();
        settings.terms.rotate.when = Some(config::Pattern::Text("bye".into()));
    })
}

#[test]
fn a_server_that_calls_for_the_next_connection_on_each_makes_no_storm() {
    let mut bench = Bench::up(rotating_when_told());
    let (begin, mut slot) = (bench.now, Slot::A);
    for _ in 0..30 {
        let mut actions = bench.hear(slot, "bye").1;
        while connects(&actions) == 0 {
            actions.extend(bench.pass(bench.machine.next_timeout(bench.now).unwrap() - bench.now));
        }
        bench.tell(connected_on(slot.other()));
        bench.tell(heard(slot.other()));
        bench.tell(gone_from(slot));
        slot = slot.other();
    }
    assert!(bench.now - begin > 30 * S, "30 in {:?}", bench.now - begin);
}

#[test]
fn a_call_for_the_next_connection_while_the_last_one_still_closes_is_kept() {
    let mut bench = Bench::up(rotating_when_told());
    bench.pass(20 * S);
    assert_eq!(connects(&bench.hear(Slot::A, "bye").1), 1);
    bench.tell(connected_on(Slot::B));
    assert_eq!(bench.hear(Slot::B, "bye").1, []);
    assert_eq!(bench.tell(heard(Slot::B)), [rotated_away(Slot::A)]);
    assert_eq!(connects(&bench.tell(gone_from(Slot::A))), 1);
}

#[test]
fn each_connection_has_a_heartbeat_of_its_own() {
    let ping = |slot, n: u64| Action::Ping { slot, payload: n.to_be_bytes() };
    let mut bench = Bench::up(with(|settings| {
        settings.terms.rotate.after = Some(50 * S);
        settings.terms.rotate.overlap = 600 * S;
        settings.heartbeat.timeout = Some(30 * S);
    }));
    assert_eq!(bench.pass(49 * S).last(), Some(&ping(Slot::A, 1)));
    bench.tell(inbound());
    bench.pass(S);
    bench.tell(connected_on(Slot::B));
    assert!(bench.pass(10 * S).contains(&ping(Slot::A, 2)), "the old one's goes on");
    assert!(bench.pass(20 * S).contains(&ping(Slot::B, 1)), "the new one's begins with it");
    bench.tell(Input::Inbound { slot: Slot::B, messages: false });
    let actions = bench.pass(10 * S);
    assert!(actions.contains(&Action::Drop { slot: Slot::A }), "only the silent one dies: {actions:?}");
    assert_eq!(bench.machine.sender(), Some(Slot::B));
}

/// One that resumes its session on each connection, and says it to whoever asks.
fn resuming(more: &str) -> Settings {
    toml(&format!(
        r#"
[upstream]
url = "wss://a/"
{more}
[rotate]
after = "600s"
overlap = "5s"
[[script.step]]
name = "resume"
if_captured = "session"
send = '{{"resume":"${{capture:session}}","seq":${{last:/s}}}}'
expect = {{ "/op" = "resumed" }}
reject = {{ "/op" = "invalid" }}
on_fail = "forget"
[[script.step]]
name = "identify"
unless_captured = "session"
send = '{{"identify":${{last:/s}}}}'
expect = {{ "/op" = "ready" }}
capture = {{ session = "/session" }}
[[script.step]]
name = "join"
send = '{{"join":"${{capture:session}}"}}'
expect = {{ "/op" = "joined" }}
[[reply]]
match = {{ "/op" = "who" }}
send = '{{"me":"${{capture:session}}","seq":${{last:/s}}}}'
[sequence]
pointer = "/s"
"#
    ))
}

/// A machine whose connection has a session, and whose next one is open.
fn resumed(settings: Settings) -> Bench {
    let mut bench = Bench::up(settings);
    bench.hear(Slot::A, r#"{"op":"ready","session":"first","s":100}"#);
    bench.hear(Slot::A, r#"{"op":"joined"}"#);
    bench.said(Slot::A);
    assert_eq!(connects(&bench.pass(600 * S)), 1);
    bench.hear(Slot::A, r#"{"s":101}"#);
    bench.tell(connected_on(Slot::B));
    bench
}

fn who(bench: &mut Bench, slot: Slot) -> Vec<String> {
    bench.hear(slot, r#"{"op":"who"}"#);
    bench.said(slot)
}

#[test]
fn what_the_next_connection_forgets_and_captures_is_its_own_until_it_takes_over() {
    let mut bench = resumed(resuming(""));
    assert_eq!(bench.said(Slot::B), [r#"{"resume":"first","seq":101}"#]);
    bench.hear(Slot::B, r#"{"op":"invalid"}"#);
    assert!(matches!(bench.notes()[..], [Note::RotationFailed { .. }]));
    assert_eq!(who(&mut bench, Slot::A), [r#"{"me":"first","seq":101}"#], "the old one keeps its session");

    assert_eq!(connects(&bench.pass(60 * S)), 1);
    bench.hear(Slot::A, r#"{"s":102}"#);
    bench.tell(connected_on(Slot::B));
    assert_eq!(bench.said(Slot::B), [r#"{"identify":null}"#], "and the next one has none of it");
    let (_, actions) = bench.hear(Slot::B, r#"{"op":"ready","session":"second","s":7}"#);
    assert_eq!(actions, [], "a session of its own has numbers of its own");
    assert_eq!(bench.said(Slot::B), [r#"{"join":"second"}"#]);
    assert_eq!(who(&mut bench, Slot::A), [r#"{"me":"first","seq":102}"#]);
    bench.hear(Slot::B, r#"{"op":"joined"}"#);
    assert_eq!(bench.states(), [LinkState::Up]);
    assert_eq!(who(&mut bench, Slot::A), [r#"{"me":"first","seq":102}"#], "as long as it is read");
    assert_eq!(bench.hear(Slot::A, r#"{"s":103}"#).1, []);
    assert_eq!(who(&mut bench, Slot::B), [r#"{"me":"second","seq":7}"#]);
    bench.tell(gone_from(Slot::A));
    assert_eq!(bench.hear(Slot::B, r#"{"s":8}"#).1, []);

    assert_eq!(connects(&bench.pass(600 * S)), 1);
    bench.tell(connected_on(Slot::A));
    assert_eq!(bench.said(Slot::A), [r#"{"resume":"second","seq":8}"#], "what it forgot is forgotten once");
}

#[test]
fn the_next_connection_goes_by_what_the_old_one_hears_until_it_hears_the_same() {
    let mut bench = resumed(resuming(""));
    bench.said(Slot::B);
    bench.hear(Slot::A, r#"{"s":102}"#);
    bench.hear(Slot::B, r#"{"op":"resumed"}"#);
    bench.hear(Slot::B, r#"{"op":"joined"}"#);
    assert_eq!(bench.said(Slot::B), [r#"{"join":"first"}"#]);
    bench.hear(Slot::A, r#"{"s":103}"#);
    assert_eq!(bench.machine.sender(), Some(Slot::B));
    assert_eq!(who(&mut bench, Slot::B), [r#"{"me":"first","seq":103}"#]);
    bench.hear(Slot::B, r#"{"s":102}"#);
    bench.hear(Slot::A, r#"{"s":104}"#);
    assert_eq!(who(&mut bench, Slot::B), [r#"{"me":"first","seq":102}"#]);
    bench.tell(gone_from(Slot::B));
    bench.tell(gone_from(Slot::A));
    bench.pass(60 * S);
    bench.tell(connected_on(Slot::A));
    assert_eq!(bench.said(Slot::A), [r#"{"resume":"first","seq":102}"#]);
}

#[test]
fn a_connection_that_is_lost_leaves_its_session_to_the_next_one_that_is_under_way() {
    let mut bench = resumed(resuming(""));
    bench.said(Slot::B);
    bench.hear(Slot::A, r#"{"s":102}"#);
    bench.tell(gone());
    bench.hear(Slot::B, r#"{"op":"resumed"}"#);
    assert_eq!(bench.said(Slot::B), [r#"{"join":"first"}"#]);
    bench.hear(Slot::B, r#"{"op":"joined"}"#);
    assert_eq!(bench.states(), [LinkState::Up]);
    assert_eq!(who(&mut bench, Slot::B), [r#"{"me":"first","seq":102}"#]);
    bench.hear(Slot::B, r#"{"s":105}"#);
    assert_eq!(bench.holes.len(), 1);
}

#[test]
fn a_resume_url_that_the_next_connection_gives_up_leaves_the_old_one_its_session() {
    let mut bench =
        resumed(resuming("resume_url = \"wss://b/?s=${capture:session}\"\nresume_url_failures = 1"));
    bench.tell(gone_from(Slot::B));
    assert_eq!(who(&mut bench, Slot::A), [r#"{"me":"first","seq":101}"#]);
    for _ in 0..3 {
        let actions = bench.pass(60 * S);
        let to = Destination::Configured(0);
        assert!(actions.contains(&Action::Connect { slot: Slot::B, to }), "{actions:?}");
        bench.tell(refused_next());
    }
    bench.tell(gone());
    let actions = bench.pass(60 * S);
    let resumes = |action: &Action| matches!(action, Action::Connect { to: Destination::Resume(_), .. });
    assert!(actions.iter().any(resumes), "what the rotation forgot, the link didn't: {actions:?}");
}

#[test]
fn each_connection_goes_by_the_silence_that_its_own_server_allows() {
    let mut bench = dialling(toml(
        r#"
[rotate]
after = "600s"
[heartbeat]
kind = "off"
idle_timeout = "${capture:every} + 5s"
[[capture]]
match = { "/every" = { exists = true } }
values = { every = "/every" }
"#,
    ));
    bench.tell(heard(Slot::A));
    bench.hear(Slot::A, r#"{"every":60000}"#);
    bench.tell(connected_on(Slot::B));
    // until it says something itself, the next one goes by what the old one was told
    bench.tell(heard(Slot::B));
    bench.hear(Slot::B, r#"{"every":10000}"#);
    bench.tell(gone_from(Slot::A));
    assert_eq!(bench.pass(14 * S), []);
    let actions = bench.pass(S);
    assert!(actions.contains(&Action::Drop { slot: Slot::B }), "{actions:?}");
    let error = bench.announced().error.clone().unwrap_or_default();
    assert!(error.contains("nothing came in for 15s"), "{error}");
}
