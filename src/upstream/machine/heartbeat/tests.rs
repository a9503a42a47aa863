use proptest::prelude::*;
use serde_json::json;

use super::*;

const S: Duration = Duration::from_secs(1);

fn settings(kind: HeartbeatKind) -> config::Heartbeat {
    config::Heartbeat { kind, interval: 30 * S, timeout: Some(10 * S), ..config::Heartbeat::default() }
}

fn pings() -> config::Heartbeat {
    settings(HeartbeatKind::Ping)
}

fn messages(expect: Option<config::Pattern>) -> config::Heartbeat {
    settings(HeartbeatKind::Message { message: config::Say::Text(config::Template::literal("beat")), expect })
}

fn expect_pong() -> Option<config::Pattern> {
    let pointer = config::Pointer::parse("/type").unwrap();
    Some(config::Pattern::Json(vec![(pointer, config::Test::OneOf(vec![json!("pong")]))]))
}

/// A heartbeat armed at a moment from which the test counts seconds.
fn armed(settings: config::Heartbeat) -> (Heartbeat, impl Fn(u32) -> Instant) {
    let start = Instant::now();
    (Heartbeat::new(settings, start, 0.25), move |seconds| start + seconds * S)
}

fn ping(n: u64) -> Option<Due> {
    Some(Due::Ping(n.to_be_bytes()))
}

fn is_dead(due: Option<Due>, words: &str) -> bool {
    matches!(due, Some(Due::Dead(sentence)) if sentence.contains(words))
}

#[test]
fn an_unanswered_beat_is_death_after_the_timeout() {
    let (mut heartbeat, at) = armed(pings());
    assert_eq!(heartbeat.due(at(29), at(0)), None);
    assert_eq!(heartbeat.due(at(30), at(0)), ping(1));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(40)));
    assert_eq!(heartbeat.due(at(39), at(0)), None);
    assert!(is_dead(heartbeat.due(at(40), at(0)), "no sign of life within 10s"));
}

#[test]
fn any_inbound_byte_is_proof_and_the_next_beat_keeps_its_time() {
    let (mut heartbeat, at) = armed(pings());
    assert_eq!(heartbeat.due(at(30), at(0)), ping(1));
    heartbeat.inbound(at(35));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(60)));
    assert_eq!(heartbeat.due(at(60), at(0)), ping(2));
}

#[test]
fn with_expect_only_a_match_is_proof() {
    let (mut heartbeat, at) = armed(messages(expect_pong()));
    assert_eq!(heartbeat.due(at(30), at(0)), Some(Due::Message));
    heartbeat.inbound(at(31));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(40)), "data is no proof here");
    assert_eq!(heartbeat.answered(at(32)), Some(2 * S));
    assert_eq!(heartbeat.answered(at(33)), None, "only the first match is measured");
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(60)));
    heartbeat.due(at(60), at(0));
    assert!(is_dead(heartbeat.due(at(70), at(0)), "no expected answer within 10s"));
}

#[test]
fn a_round_trip_is_measured_by_the_pong_with_the_beats_payload() {
    let (mut heartbeat, at) = armed(pings());
    heartbeat.due(at(30), at(0));
    heartbeat.inbound(at(31));
    assert_eq!(heartbeat.pong(at(31), b"else"), None);
    assert_eq!(heartbeat.pong(at(33), &1_u64.to_be_bytes()), Some(3 * S));
    assert_eq!(heartbeat.pong(at(34), &1_u64.to_be_bytes()), None);
    heartbeat.due(at(60), at(0));
    assert_eq!(heartbeat.pong(at(61), &1_u64.to_be_bytes()), None, "a late pong is not the new beat's");
}

#[test]
fn a_message_without_expect_has_no_round_trip() {
    let (mut heartbeat, at) = armed(messages(None));
    heartbeat.due(at(30), at(0));
    assert_eq!(heartbeat.answered(at(31)), None);
}

#[test]
fn silence_is_death_after_the_idle_timeout_whatever_the_kind() {
    let (mut heartbeat, at) =
        armed(config::Heartbeat { idle_timeout: Some(90 * S), ..settings(HeartbeatKind::Off) });
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(90)));
    heartbeat.inbound(at(50));
    assert_eq!(heartbeat.due(at(139), at(0)), None);
    assert!(is_dead(heartbeat.due(at(140), at(0)), "nothing came in for 90s"));
}

#[test]
fn a_late_timer_makes_one_beat_not_many() {
    let (mut heartbeat, at) = armed(pings());
    assert_eq!(heartbeat.due(at(1_000), at(0)), ping(1));
    assert_eq!(heartbeat.due(at(1_000), at(0)), None);
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(1_010)));
}

#[test]
fn while_wsfan_does_not_read_no_deadline_fires_and_it_gets_a_fair_rest() {
    let (mut heartbeat, at) = armed(config::Heartbeat { idle_timeout: Some(35 * S), ..pings() });
    heartbeat.due(at(30), at(0));
    heartbeat.pause(at(32));
    heartbeat.pause(at(33)); // said twice, it began the first time
    assert_eq!(heartbeat.due(at(50), at(0)), None);
    heartbeat.resume(at(50));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(53)), "3 s were left to the idle timeout");
    heartbeat.inbound(at(50));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(60)));

    heartbeat.pause(at(55));
    assert_eq!(heartbeat.due(at(60), at(0)), ping(2), "it still beats: the server may count on it");
    heartbeat.resume(at(80));
    assert_eq!(heartbeat.due(at(89), at(0)), None);
    assert!(is_dead(heartbeat.due(at(90), at(0)), "no sign of life"), "the timeout ran from the resumption");
}

#[test]
fn new_settings_apply_to_the_live_link_at_once() {
    let (mut heartbeat, at) = armed(pings());
    heartbeat.set(at(5), config::Heartbeat { interval: 10 * S, ..pings() });
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(10)));
    heartbeat.set(at(8), config::Heartbeat { interval: 2 * S, timeout: Some(S), ..pings() });
    assert_eq!(heartbeat.due(at(8), at(0)), ping(1), "a beat overdue by the new interval comes now");
    heartbeat.set(at(8), config::Heartbeat { timeout: Some(4 * S), interval: 5 * S, ..pings() });
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(12)), "the beat that is out gets the new timeout");
    heartbeat.set(at(11), config::Heartbeat { timeout: Some(S), interval: 50 * S, ..pings() });
    assert_eq!(heartbeat.due(at(11), at(0)), None, "a shorter timeout doesn't kill on the spot");
    assert!(is_dead(heartbeat.due(at(12), at(0)), "no sign of life within 1s"));
    heartbeat.set(at(12), settings(HeartbeatKind::Off));
    assert_eq!(heartbeat.next_timeout(at(0)), None);
}

#[test]
fn an_idle_timeout_switched_on_counts_from_then() {
    let (mut heartbeat, at) = armed(settings(HeartbeatKind::Off));
    heartbeat.set(at(500), config::Heartbeat { idle_timeout: Some(5 * S), ..settings(HeartbeatKind::Off) });
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(505)));
}

#[test]
fn the_first_beat_is_when_it_is_wanted() {
    for (first, seconds) in [
        (config::FirstBeat::Interval, 30_000),
        (config::FirstBeat::Random, 7_500),
        (config::FirstBeat::Now, 0),
    ] {
        let (mut heartbeat, at) = armed(config::Heartbeat { first, ..pings() });
        let due = at(0) + Duration::from_millis(seconds);
        assert_eq!(heartbeat.next_timeout(at(0)), Some(due));
        assert_eq!(heartbeat.due(due, due), ping(1));
        heartbeat.inbound(due);
        assert_eq!(heartbeat.next_timeout(at(0)), Some(due + 30 * S), "all others are an interval apart");
    }
}

#[test]
fn the_server_may_say_the_interval_and_the_first_beat_is_counted_from_then() {
    let interval_from = Some(config::IntervalFrom { capture: "interval".into(), unit: S });
    for (first, part) in
        [(config::FirstBeat::Interval, 40), (config::FirstBeat::Random, 10), (config::FirstBeat::Now, 0)]
    {
        let settings = config::Heartbeat { interval_from: interval_from.clone(), first, ..pings() };
        let (mut heartbeat, at) = armed(settings);
        assert_eq!(heartbeat.next_timeout(at(0)), Some(at(30)), "until then the default holds");
        heartbeat.set_interval(at(5), 40 * S);
        assert_eq!(heartbeat.next_timeout(at(0)), Some(at(5 + part)));
        heartbeat.due(at(5 + part), at(0));
        heartbeat.inbound(at(46));
        assert_eq!(heartbeat.next_timeout(at(0)), Some(at(45 + part)));
        let answer = config::Heartbeat { interval_from: interval_from.clone(), ..pings() };
        let (mut hasty, _) = armed(answer);
        hasty.set_interval(at(0), S);
        hasty.due(hasty.last_beat + S, at(0));
        assert_eq!(hasty.next_timeout(at(0)), Some(hasty.last_beat + S), "the deadline goes with it");
        heartbeat.set_interval(at(50), 60 * S);
        assert_eq!(heartbeat.next_timeout(at(0)), Some(at(65 + part)), "another one applies at once");
    }
}

#[test]
fn a_beat_only_when_idle_waits_for_an_interval_without_anything() {
    let (mut heartbeat, at) = armed(config::Heartbeat { only_when_idle: true, ..pings() });
    for seconds in [10, 20, 35] {
        heartbeat.inbound(at(seconds));
    }
    assert_eq!(heartbeat.due(at(60), at(0)), None);
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(65)));
    assert_eq!(heartbeat.due(at(65), at(0)), ping(1));
    heartbeat.inbound(at(66));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(96)));
}

#[test]
fn a_beat_waits_for_the_limits_and_its_deadline_with_it() {
    let (mut heartbeat, at) = armed(pings());
    assert_eq!(heartbeat.next_timeout(at(50)), Some(at(50)));
    assert_eq!(heartbeat.due(at(40), at(50)), None);
    assert_eq!(heartbeat.due(at(50), at(50)), ping(1));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(60)));
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u16),
    Inbound,
    Pause,
    Resume,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u16..2_000).prop_map(Step::Wait),
        3 => Just(Step::Inbound),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Against a simple model in steps of 10 ms: death comes when the silence since the oldest
    /// unanswered beat, as far as wsfan was reading, reaches the timeout, and not otherwise.
    #[test]
    fn death_is_just(steps in steps()) {
        let settings = config::Heartbeat { interval: 3 * S, timeout: Some(2 * S), ..pings() };
        let (mut heartbeat, _) = armed(settings);
        let (mut now, tick) = (heartbeat.last_beat, Duration::from_millis(10));
        let (mut silence, mut since_beat, mut paused) = (None::<Duration>, Duration::ZERO, false);
        for step in steps {
            match step {
                Step::Inbound if !paused => {
                    heartbeat.inbound(now);
                    silence = None;
                }
                Step::Inbound => {}
                Step::Pause => {
                    heartbeat.pause(now);
                    paused = true;
                }
                Step::Resume => {
                    heartbeat.resume(now);
                    paused = false;
                }
                Step::Wait(ticks) => for _ in 0..ticks {
                    now += tick;
                    since_beat += tick;
                    if !paused {
                        silence = silence.map(|silence| silence + tick);
                    }
                    let due = heartbeat.due(now, now);
                    if !paused && silence.is_some_and(|silence| silence >= 2 * S) {
                        prop_assert!(matches!(due, Some(Due::Dead(_))));
                        return Ok(());
                    }
                    prop_assert!(!matches!(due, Some(Due::Dead(_))), "silence {silence:?}, paused {paused}");
                    prop_assert_eq!(due.is_some(), since_beat >= 3 * S);
                    if due.is_some() {
                        since_beat = Duration::ZERO;
                        silence.get_or_insert(Duration::ZERO);
                    }
                },
            }
        }
    }
}

#[test]
fn what_a_program_makes_moves_the_deadline_of_its_own_beat_only() {
    let mut settings = messages(expect_pong());
    (settings.interval, settings.timeout) = (10 * S, Some(10 * S));
    let (mut heartbeat, at) = armed(settings);
    assert_eq!(heartbeat.due(at(10), at(0)), Some(Due::Message));
    heartbeat.said(at(15));
    assert_eq!(heartbeat.due(at(20), at(0)), Some(Due::Message), "the first is awaited until 25");
    heartbeat.said(at(21));
    assert_eq!(heartbeat.due(at(24), at(0)), None);
    assert!(is_dead(heartbeat.due(at(25), at(0)), "no expected answer within 10s"));
    // the answer to the first, while the second is being made
    let mut settings = messages(expect_pong());
    (settings.interval, settings.timeout) = (10 * S, Some(10 * S));
    let (mut heartbeat, at) = armed(settings);
    heartbeat.due(at(10), at(0));
    heartbeat.said(at(15));
    heartbeat.due(at(20), at(0));
    heartbeat.answered(at(21));
    heartbeat.said(at(22));
    assert_eq!(heartbeat.due(at(30), at(0)), Some(Due::Message));
    assert!(is_dead(heartbeat.due(at(32), at(0)), "no expected answer"), "the second is awaited");
}

#[test]
fn while_hushed_pings_stand_in_for_messages_and_only_they_find_a_dead_link() {
    let idle = config::Heartbeat { idle_timeout: Some(25 * S), ..messages(expect_pong()) };
    let (mut heartbeat, at) = armed(idle);
    heartbeat.inbound(at(20));
    assert_eq!(heartbeat.due(at(30), at(0)), Some(Due::Message));
    heartbeat.hush();
    for beat in 2..30 {
        let time = 30 * u32::try_from(beat).unwrap();
        assert_eq!(heartbeat.next_timeout(at(0)), Some(at(time)), "nothing is due before");
        assert_eq!(heartbeat.due(at(time), at(0)), ping(beat));
        assert_eq!(heartbeat.next_timeout(at(0)), Some(at(time + 10)));
        heartbeat.inbound(at(time + 1));
        assert_eq!(heartbeat.pong(at(time + 1), &beat.to_be_bytes()), Some(S));
    }
    let (mut silent, at_silent) = armed(messages(expect_pong()));
    silent.hush();
    assert_eq!(silent.due(at_silent(30), at_silent(0)), ping(1));
    assert!(is_dead(silent.due(at_silent(40), at_silent(0)), "no sign of life within 10s"));

    let (mut slow, at_slow) = armed(messages(expect_pong()));
    slow.set_interval(at_slow(0), 86_400 * S);
    slow.hush();
    assert_eq!(slow.next_timeout(at_slow(0)), Some(at_slow(30)), "a server's day is too long for that");

    heartbeat.speak(at(1000));
    assert_eq!(heartbeat.answered(at(1001)), None, "no message was sent that it could answer");
    heartbeat.inbound(at(1020));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(1030)));
    assert_eq!(heartbeat.due(at(1030), at(0)), Some(Due::Message));
    assert!(is_dead(heartbeat.due(at(1040), at(0)), "no expected answer"));

    let (mut heartbeat, at) = armed(pings());
    heartbeat.hush();
    assert_eq!(heartbeat.due(at(30), at(0)), ping(1));
    assert!(is_dead(heartbeat.due(at(40), at(0)), "no sign of life"));
}

#[test]
fn a_beat_that_nothing_answers_is_said_again_and_only_silence_is_death() {
    let idle = |timeout| config::Heartbeat { timeout, idle_timeout: Some(100 * S), ..messages(None) };
    let (mut heartbeat, at) = armed(idle(None));
    for seconds in [30, 60, 90] {
        assert_eq!(heartbeat.due(at(seconds), at(0)), Some(Due::Message));
    }
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(100)));
    assert!(is_dead(heartbeat.due(at(100), at(0)), "nothing came in for 100s"));

    // what is out is awaited no more once that is off, and the next one is once it is on
    let (mut heartbeat, at) = armed(idle(Some(10 * S)));
    heartbeat.due(at(30), at(0));
    heartbeat.set(at(31), idle(None));
    assert_eq!(heartbeat.due(at(50), at(0)), None);
    heartbeat.set(at(51), idle(Some(5 * S)));
    assert_eq!(heartbeat.due(at(59), at(0)), None);
    assert_eq!(heartbeat.due(at(60), at(0)), Some(Due::Message));
    assert!(is_dead(heartbeat.due(at(65), at(0)), "no sign of life within 5s"));

    // its answer may be told all the same
    let (mut heartbeat, at) = armed(config::Heartbeat { timeout: None, ..messages(expect_pong()) });
    heartbeat.due(at(30), at(0));
    assert_eq!(heartbeat.answered(at(32)), Some(2 * S));
    let (mut heartbeat, at) = armed(config::Heartbeat { timeout: None, ..pings() });
    heartbeat.due(at(30), at(0));
    assert_eq!(heartbeat.pong(at(33), &1_u64.to_be_bytes()), Some(3 * S));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(60)));
}

#[test]
fn a_ping_that_stands_in_for_a_beat_is_awaited_though_nothing_answers_that() {
    let off = config::Heartbeat { timeout: None, ..messages(None) };
    let (mut heartbeat, at) = armed(off.clone());
    heartbeat.hush();
    assert_eq!(heartbeat.due(at(30), at(0)), ping(1));
    heartbeat.set(at(31), off);
    assert!(is_dead(heartbeat.due(at(40), at(0)), "no sign of life within 10s"));
}

#[test]
fn the_server_may_say_after_which_silence_it_is_gone() {
    let from = config::IdleFrom { captures: vec!["a".into()], unit: S, plus: S };
    let told = |from: Option<config::IdleFrom>| config::Heartbeat {
        idle_timeout_from: from,
        ..settings(HeartbeatKind::Off)
    };
    let (mut heartbeat, at) = armed(told(Some(from.clone())));
    assert_eq!(heartbeat.next_timeout(at(0)), None, "it has said nothing yet");
    heartbeat.set_idle_timeout(at(500), Some(20 * S));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(520)), "what was before doesn't count");
    heartbeat.inbound(at(510));
    heartbeat.set_idle_timeout(at(511), Some(30 * S));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(540)));
    // a reload that says the same, or something else
    heartbeat.set(at(512), told(Some(from.clone())));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(540)));
    heartbeat.set(at(513), told(Some(config::IdleFrom { plus: 2 * S, ..from })));
    assert_eq!(heartbeat.next_timeout(at(0)), None, "until it is told anew");
    heartbeat.set_idle_timeout(at(513), Some(31 * S));
    assert_eq!(heartbeat.next_timeout(at(0)), Some(at(544)));
    heartbeat.set_idle_timeout(at(514), None);
    assert_eq!(heartbeat.next_timeout(at(0)), None, "it doesn't speak by itself any more");
    heartbeat.set_idle_timeout(at(600), Some(31 * S));
    assert!(is_dead(heartbeat.due(at(631), at(0)), "nothing came in for 31s"));
    heartbeat.set(at(631), told(None));
    assert_eq!(heartbeat.next_timeout(at(0)), None);
    heartbeat.set_idle_timeout(at(632), Some(S));
    assert_eq!(heartbeat.next_timeout(at(0)), None, "nobody asks the server");
}
