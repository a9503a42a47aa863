//! What is asked for: open, reconnect, close and stop.

use super::*;

#[test]
fn open_and_reconnect_end_a_wait_at_once() {
    for input in [Input::Open, Input::Reconnect] {
        let mut bench = Bench::new(settings());
        bench.tell(Input::Start);
        bench.tell(refused());
        let actions = bench.tell(input);
        assert_eq!((connects(&actions), bench.announced().attempt), (1, 0));
    }
}

#[test]
fn what_was_told_already_is_not_told_again_with_what_is_asked_for() {
    for max_attempts in [0, 1] {
        let mut bench = Bench::new(with(|settings| {
            settings.reconnect.max_attempts = max_attempts;
            settings.reconnect.jitter = 0.0;
        }));
        bench.tell(Input::Start);
        bench.tell(refused());
        let told = |status: &LinkStatus| (status.state, status.error.is_some());
        assert_eq!(told(bench.told_at(Input::Open)), (LinkState::Connecting, false), "at once");
        bench.pass(100 * MS);
        assert!(told(bench.told_at(refused())).1, "this one is new");
        assert_eq!(
            told(bench.told_at(Input::Open)),
            (LinkState::Waiting, false),
            "an initial_delay after the one before"
        );
        assert_eq!(bench.announced().retry_in, Some(400 * MS));
        assert_eq!(told(bench.announced_after(400 * MS)), (LinkState::Connecting, false));
    }
}

#[test]
fn asking_again_and_again_makes_no_storm() {
    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    bench.tell(refused());
    let mut attempts = 0;
    for _ in 0..10_000 {
        let mut actions = bench.tell(Input::Reconnect);
        actions.extend(bench.pass(MS));
        attempts += connects(&actions);
        if connects(&actions) > 0 {
            bench.tell(refused());
        }
    }
    // 10 s hold 20 initial delays; automatic attempts may come between, a tenth of one apart
    assert!((18..=45).contains(&attempts), "{attempts}");
}

#[test]
fn reconnecting_a_live_link_again_and_again_makes_no_storm() {
    let mut bench = Bench::up(settings());
    let mut attempts = 0;
    for _ in 0..10_000 {
        let mut actions = bench.tell(Input::Reconnect);
        actions.extend(bench.tell(gone()));
        actions.extend(bench.pass(MS));
        attempts += connects(&actions);
        if connects(&actions) > 0 {
            bench.tell(connected());
        }
    }
    assert!((18..=22).contains(&attempts), "{attempts}");
}

#[test]
fn reconnect_closes_and_connects_anew() {
    let mut bench = Bench::up(settings());
    assert_eq!(
        bench.tell(Input::Reconnect),
        [Action::Close { slot: Slot::A, code: 1000, reason: "reconnect" }]
    );
    assert_eq!(bench.machine.state_for_sends(), LinkState::Connecting);
    assert_eq!(bench.machine.next_timeout(bench.now), Some(bench.now + 2 * S));
    assert_eq!(bench.tell(closing(Failure::closed_there(Some(1000), ""))), []);
    assert_eq!(
        bench.machine.next_timeout(bench.now),
        Some(bench.now + LINGER),
        "the server answered: only TCP is left"
    );
    let actions = bench.tell(gone());
    let status = bench.announced();
    assert_eq!((status.state, status.code, status.attempt), (LinkState::Connecting, Some(1000), 0));
    assert_eq!(status.error, None, "nothing went wrong");
    assert!(
        actions.contains(&Action::Connect { slot: Slot::A, to: Destination::Configured(0) }),
        "with the same server"
    );
    assert_eq!(bench.told_at(connected()).conn, 2);
}

#[test]
fn where_another_connection_follows_the_configured_code_is_sent() {
    let settings = || with(|settings| settings.reconnect.close_code = Some(4000));
    let close = |actions: &[Action]| match actions[0] {
        Action::Close { code, .. } => code,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(close(&Bench::up(settings()).tell(Input::Reconnect)), 4000);
    assert_eq!(close(&Bench::up(settings()).tell(Input::Close)), 1000);
    assert_eq!(close(&Bench::up(settings()).tell(Input::Stop)), 1001);
}

#[test]
fn open_leaves_a_live_link_and_an_attempt_alone() {
    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    assert_eq!(bench.tell(Input::Open), []);
    assert_eq!(bench.tell(Input::Reconnect), []);
    bench.tell(connected());
    assert_eq!(bench.tell(Input::Open), []);
}

#[test]
fn close_stays_closed_from_every_state() {
    for setup in ["connecting", "waiting", "up", "closing"] {
        let mut bench = Bench::new(settings());
        bench.tell(Input::Start);
        match setup {
            "waiting" => drop(bench.tell(refused())),
            "up" => drop(bench.tell(connected())),
            "closing" => {
                bench.tell(connected());
                bench.tell(closing(Failure::closed_there(Some(1001), "")));
            }
            _ => {}
        }
        let actions = bench.tell(Input::Close);
        assert_eq!(actions.contains(&Action::AbandonConnect { slot: Slot::A }), setup == "connecting");
        let mut states = bench.states();
        bench.pass(2 * S);
        states.extend(bench.states());
        assert_eq!(states, [LinkState::Closed], "{setup}");
        assert_eq!(bench.pass(3_600 * S), [], "{setup}");
        assert_eq!(bench.tell(Input::Close), [], "{setup}");
        assert_eq!(connects(&bench.tell(Input::Open)), 1, "{setup}");
    }
}

#[test]
fn the_heartbeat_rests_while_the_connection_closes() {
    let mut bench = Bench::up(settings());
    bench.pass(29 * S);
    bench.tell(Input::Close);
    assert_eq!(bench.machine.next_timeout(bench.now), Some(bench.now + 2 * S), "for the handshake alone");
    let actions = bench.pass(3_600 * S);
    assert!(!actions.iter().any(|action| matches!(action, Action::Ping { .. })), "{actions:?}");
    assert_eq!(actions[0], Action::Drop { slot: Slot::A }, "the handshake has a deadline");
}

#[test]
fn stop_finishes_from_every_state() {
    let mut bench = Bench::up(settings());
    assert_eq!(bench.tell(Input::Stop), [Action::Close { slot: Slot::A, code: 1001, reason: "shutdown" }]);
    let actions = bench.tell(gone());
    assert_eq!((bench.announced().state, bench.announced().code), (LinkState::Closed, Some(1001)));
    assert_eq!(actions.last(), Some(&Action::Finish(Exit::Stopped)));

    let mut bench = Bench::up(settings());
    bench.tell(Input::Stop);
    let actions = bench.pass(2 * S);
    assert_eq!(actions[0], Action::Drop { slot: Slot::A });
    assert_eq!(actions.last(), Some(&Action::Finish(Exit::Stopped)), "the deadline holds");

    let mut bench = Bench::up(settings());
    bench.tell(Input::Stop);
    let actions = bench.tell(Input::Stop);
    assert_eq!(actions[0], Action::Drop { slot: Slot::A });
    assert_eq!(actions.last(), Some(&Action::Finish(Exit::Stopped)), "a second stop is at once");

    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    let actions = bench.tell(Input::Stop);
    assert_eq!(actions[0], Action::AbandonConnect { slot: Slot::A });
    assert_eq!(bench.states(), [LinkState::Closed]);
    assert_eq!(bench.tell(Input::Stop), []);
    assert_eq!(bench.tell(Input::Reconnect), []);

    let mut bench = Bench::up(settings());
    bench.tell(Input::Close);
    bench.pass(2 * S);
    assert_eq!(bench.tell(Input::Stop), [Action::Finish(Exit::Stopped)]);
}
