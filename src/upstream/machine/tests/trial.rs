//! One connection on trial: what is told, done and said as its parts follow one another, and how each may fail.

use proptest::prelude::*;

use super::{script::toml, *};
use crate::{
    config::{Placeholder, Value},
    hub::Data,
};

const LOGIN: &str = r#"
[[script.step]]
name = "log in"
send = '{"op":"login","token":"${env:TOKEN}"}'
expect = { "/op" = "welcome" }
reject = [
    { match = { "/op" = "go away" }, then = "retry" },
    { match = { "/op" = "later" }, then = "again", delay = "5s" },
]
timeout = "3s"
"#;

const WELCOME: &str = r#"{"op":"welcome"}"#;
const PINGS: &str = "[heartbeat]\nkind = \"ping\"\ntimeout = \"2s\"\n";

/// A trial, and a clock that moves when told to.
struct Stand {
    trial: Trial,
    now: Instant,
    /// The kernel has taken all that was said.
    written: bool,
}

impl Stand {
    fn new(text: &str) -> Stand {
        let (settings, now) = (toml(text), Instant::now());
        let secrets = [
            (Placeholder::Env("TOKEN".into()), Ok(Value::Text("s3cret-t0ken".into()))),
            (Placeholder::Env("NONE".into()), Err("is not set".to_owned())),
        ];
        let (secrets, until) = (secrets.into_iter().collect(), now + settings.upstream.connect_timeout);
        let trial = Trial::begin(&settings, Reached::default(), secrets, until, 7, now, 0);
        Stand { trial, now, written: true }
    }

    /// One whose heartbeat has just gone out.
    fn beating(text: &str) -> Stand {
        let mut stand = Stand::new(text);
        stand.told();
        stand.pass(Duration::ZERO);
        stand.said();
        stand
    }

    /// What is told after a round of the loop.
    fn told(&mut self) -> Vec<Told> {
        self.trial.go_on(self.now, self.written);
        std::iter::from_fn(|| self.trial.poll_told()).collect()
    }

    fn acts(&mut self) -> Vec<TrialAction> {
        std::iter::from_fn(|| self.trial.poll_act()).collect()
    }

    /// What goes out.
    fn said(&mut self) -> Vec<String> {
        let said = std::iter::from_fn(|| self.trial.next_own(self.now));
        said.map(|payload| if let Payload::Text(text) = payload { text } else { unreachable!() }).collect()
    }

    fn hear(&mut self, text: &str) {
        self.trial.hear(self.now, Data::Text(text));
        self.trial.inbound(self.now, true);
    }

    /// Lets time pass, with a timeout told as soon as it is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.trial.outcome().is_none() && self.trial.next_timeout(self.now) <= end {
            self.now = self.now.max(self.trial.next_timeout(self.now));
            self.trial.timeout(self.now);
        }
        self.now = end;
    }

    /// How it has failed, and in which words. What it still does is to close.
    #[track_caller]
    fn failed(&mut self) -> (How, String) {
        let told = self.told();
        let Some(Told::Failed { failure, how }) = told.last() else { panic!("not failed: {told:?}") };
        assert_eq!(self.acts().last(), Some(&TrialAction::Close(1000)));
        assert_eq!(self.said(), [""; 0], "after its failure nothing is said");
        (*how, failure.error.clone().unwrap())
    }
}

fn beaten(message: Option<&str>, round_trip: Option<Duration>, answered: Option<bool>) -> Told {
    Told::Beaten { message: message.map(str::to_owned), round_trip, answered }
}

fn closed_with(code: u16) -> Failure {
    Failure::closed_there(Some(code), "")
}

#[test]
fn a_script_a_beat_and_the_close_follow_one_another() {
    let skipped = "[[script.step]]\nname = \"resume\"\nsend = \"x\"\nif_captured = [\"id\"]\n\
                   [[capture]]\nmatch = \"\\\"id\\\"\"\nvalues = { id = \"/id\" }\n";
    let mut stand = Stand::new(&format!("{LOGIN}{skipped}{PINGS}"));
    let sent = Some(r#"{"op":"login","token":"${env:TOKEN}"}"#.to_owned());
    assert_eq!(stand.told(), [Told::Step { name: "log in".into(), sent }]);
    assert_eq!(stand.said(), [r#"{"op":"login","token":"s3cret-t0ken"}"#]);
    stand.written = false;
    stand.hear(r#"{"op":"hint","of":"s3cret-t0ken"}"#);
    stand.hear(WELCOME);
    let told = stand.told();
    let [Told::Heard(hint), Told::Heard(last), Told::Skipped { name }] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(hint.contains("hint") && !hint.contains("s3cret"), "{hint}");
    assert_eq!((last.as_str(), name.as_str()), (WELCOME, "resume"));
    assert!(!stand.trial.may_go_on(false), "what was said isn't written yet");
    stand.written = true;
    assert_eq!(stand.told(), [Told::Done, Told::Beats]);
    stand.pass(Duration::ZERO);
    assert_eq!(stand.acts(), [TrialAction::Ping(1_u64.to_be_bytes())]);
    stand.pass(S);
    stand.trial.pong(stand.now, &1_u64.to_be_bytes());
    assert_eq!(stand.told(), [beaten(None, Some(S), Some(true)), Told::Done, Told::Closes]);
    assert_eq!(stand.acts(), [TrialAction::Close(1000)]);
    stand.trial.closing(stand.now, closed_with(1000), true);
    assert_eq!(stand.trial.outcome(), None, "TCP isn't at its end");
    stand.trial.ended(stand.now, Failure::default(), true);
    assert_eq!((stand.told(), stand.trial.outcome()), (vec![Told::Closed { code: Some(1000) }], Some(true)));
}

#[test]
fn each_way_to_fail_is_told_apart() {
    type Happening = fn(&mut Stand);
    let unsaid = &*LOGIN.replace("env:TOKEN", "env:NONE");
    let held = "[limits]\nmessages = [\"1/1h\"]\n[[script.step]]\nname = \"a\"\nsend = \"1\"\n\
                [[script.step]]\nname = \"b\"\nsend = \"2\"\n";
    let message = "[heartbeat]\nkind = \"message\"\nmessage = \"${env:NONE}\"\n";
    let cases: [(&str, Happening, How, &str); 8] = [
        (LOGIN, |stand| stand.hear(r#"{"op":"go away"}"#), How::Refused, "the server refused: "),
        (LOGIN, |stand| stand.hear(r#"{"op":"later"}"#), How::PutOff, "is said again in 5s"),
        (LOGIN, |stand| stand.pass(3 * S), How::Late, "nothing that was expected came within 3s"),
        (LOGIN, |stand| stand.trial.closing(stand.now, closed_with(4001), true), How::Lost, "4001"),
        (unsaid, |_| {}, How::Unsaid, "is not set"),
        (held, |stand| stand.pass(60 * S), How::Plain, "it couldn't be sent in time"),
        (PINGS, |stand| stand.pass(2 * S), How::Late, "no sign of life within 2s of a heartbeat"),
        (message, |stand| stand.pass(Duration::ZERO), How::Unsaid, "the heartbeat can't be sent"),
    ];
    for (text, happening, how, words) in cases {
        let mut stand = Stand::new(text);
        stand.trial.go_on(stand.now, true);
        stand.said();
        happening(&mut stand);
        let (failed, error) = stand.failed();
        assert_eq!(failed, how, "{text}: {error}");
        assert!(error.contains(words), "{error}");
        // whatever comes then is nobody's business, but the end
        stand.hear(r#"{"op":"go away"}"#);
        stand.trial.ended(stand.now, Failure::lost("gone"), true);
        assert_eq!((stand.told(), stand.trial.outcome()), (vec![], Some(false)));
    }
}

#[test]
fn what_came_before_the_end_may_have_been_all_that_was_wanted() {
    for (written, well) in [(true, true), (false, false)] {
        let mut stand = Stand::new(LOGIN);
        stand.said();
        stand.written = written;
        stand.hear(WELCOME);
        stand.trial.closing(stand.now, closed_with(1001), written);
        let told = stand.told();
        match well {
            true => assert_eq!(told[2..], [Told::Done, Told::Closes]),
            false => assert!(matches!(told[2..], [Told::Failed { how: How::Lost, .. }]), "{told:?}"),
        }
        stand.trial.ended(stand.now, Failure::default(), written);
        assert_eq!(stand.trial.outcome(), Some(well));
    }
}

#[test]
fn an_answer_is_told_from_a_sign_of_life() {
    let message = |expect: &str| {
        format!("[heartbeat]\nkind = \"message\"\nmessage = \"beat\"\ntimeout = \"2s\"\n{expect}")
    };
    // nothing can tell an answer from what would have come anyhow
    let mut stand = Stand::beating(&message(""));
    stand.pass(S);
    stand.hear("anything");
    assert_eq!(stand.told()[0], beaten(Some("beat"), Some(S), Some(false)));

    let mut stand = Stand::beating(&message("expect = \"echo\"\n"));
    stand.hear("anything");
    assert_eq!(stand.told(), []);
    stand.pass(S);
    stand.hear("echo");
    assert_eq!(stand.told()[0], beaten(Some("beat"), Some(S), Some(true)));

    let mut stand = Stand::beating(&message("expect = \"echo\"\n"));
    stand.hear("anything");
    stand.pass(2 * S);
    assert_eq!(stand.failed().0, How::Late);

    // a pong isn't owed by a server that talks
    let mut stand = Stand::beating(PINGS);
    stand.hear("anything");
    stand.pass(2 * S);
    assert_eq!(stand.told()[0], beaten(None, None, Some(false)));
}

#[test]
fn a_beat_that_nothing_answers_is_done_once_it_is_written() {
    let message =
        "[heartbeat]\nkind = \"message\"\nmessage = \"beat\"\ntimeout = \"off\"\nidle_timeout = \"1m\"\n";
    let pings = "[heartbeat]\ntimeout = \"off\"\nidle_timeout = \"1m\"\n";
    for (text, said) in [(message, Some("beat")), (pings, None)] {
        let mut stand = Stand::new(text);
        assert_eq!(stand.told(), [Told::Done, Told::Beats]);
        stand.written = false;
        stand.pass(Duration::ZERO);
        assert_eq!(stand.said(), said.into_iter().collect::<Vec<_>>());
        assert_eq!(stand.told(), [beaten(said, None, None)], "it isn't written yet");
        stand.written = true;
        assert_eq!(stand.told(), [Told::Done, Told::Closes]);
    }
}

#[test]
fn a_beat_that_the_limits_hold_back_is_awaited() {
    let step = "[[script.step]]\nname = \"a\"\nsend = \"1\"\n";
    let mut stand = Stand::new(&format!("{step}{PINGS}[limits]\nmessages = [\"1/5s\"]\n"));
    assert_eq!(stand.said(), ["1"]);
    assert_eq!(stand.told()[1..], [Told::Done, Told::Beats]);
    stand.pass(4 * S);
    assert_eq!(stand.acts(), []);
    stand.pass(S);
    assert_eq!(stand.acts(), [TrialAction::Ping(1_u64.to_be_bytes())]);
}

#[test]
fn the_close_is_bounded_and_so_is_the_end_of_tcp() {
    for answered in [false, true] {
        let mut stand = Stand::new("");
        assert_eq!(stand.told(), [Told::Done, Told::Closes]);
        let (wait, code) = match answered {
            true => (LINGER, Some(1000)),
            false => (2 * S, None), // `close_timeout`
        };
        if answered {
            stand.pass(S);
            stand.trial.closing(stand.now, closed_with(1000), true);
        }
        stand.pass(wait - MS);
        assert_eq!(stand.trial.outcome(), None);
        stand.pass(MS);
        assert_eq!((stand.told(), stand.trial.outcome()), (vec![Told::Closed { code }], Some(true)));
    }
}

/// A script with a capture, a step that may be left out, a reply, and limits that hold things back.
const PARITY: &str = r#"
[limits]
messages = ["2/1s"]
[[script.step]]
name = "hello"
send = '{"op":"hello","n":${next_id}}'
expect = { "/op" = "welcome" }
reject = { "/op" = "go away" }
capture = { session = "/session" }
timeout = "3s"
[[script.step]]
name = "anew"
send = '{"op":"anew"}'
unless_captured = ["again"]
[[script.step]]
name = "join"
send = '{"op":"join","session":${capture:session},"n":${next_id}}'
expect = { "/op" = "joined" }
timeout = "5s"
[[capture]]
match = { "/op" = "again" }
values = { again = "/op" }
[[reply]]
match = { "/op" = "ask" }
send = '{"op":"answer","to":${field:/n}}'
"#;

proptest! {
    /// What is asked of a server in a check is what the link asks of it.
    #[test]
    fn a_trial_says_what_the_link_says(
        happenings in proptest::collection::vec((0_usize..9, 0_u32..1_500), 0..20),
    ) {
        says_the_same(&happenings)?;
    }
}

#[test]
fn a_trial_says_what_the_link_says_where_it_once_did_not() {
    says_the_same(&[(0, 0), (1, 0)]).unwrap();
}

/// Each is a message by its number, or else so many milliseconds that pass.
fn says_the_same(happenings: &[(usize, u32)]) -> Result<(), TestCaseError> {
    let messages = [
        r#"{"op":"welcome","session":"s1"}"#,
        r#"{"op":"joined"}"#,
        r#"{"op":"ask","n":1}"#,
        r#"{"op":"ask"}"#,
        r#"{"op":"again"}"#,
        r#"{"op":"go away"}"#,
        r#"{"op":"welcome"}"#,
    ];
    let mut link = Bench::up(toml(PARITY));
    let mut stand = Stand::new(PARITY);
    for (which, millis) in happenings {
        match messages.get(*which) {
            Some(text) => {
                link.hear(Slot::A, text);
                stand.trial.hear(stand.now, Data::Text(text));
            }
            None => {
                link.pass(*millis * MS);
                stand.pass(*millis * MS);
            }
        }
        let is_failed = stand.trial.poll_act() == Some(TrialAction::Close(1000));
        let is_up = stand.trial.is_done();
        prop_assert_eq!(link.machine.sender().is_some(), is_up);
        prop_assert_eq!(link.machine.state_for_sends() == LinkState::Waiting, is_failed);
        if is_failed {
            return Ok(());
        }
        prop_assert_eq!(link.said(Slot::A), stand.said());
        if is_up {
            return Ok(());
        }
    }
    Ok(())
}

#[test]
fn an_answer_that_comes_just_in_time_is_told_with_the_key_that_limits_it() {
    let expects = "[[script.step]]\nname = \"a\"\nexpect = \"welcome\"\n";
    let off = "[heartbeat]\nkind = \"off\"\n";
    let narrow = |left: Duration, limit: Duration, key| Told::Narrow { left, limit, key };
    for (script, wait, told) in [
        (format!("{LOGIN}{off}"), 2_700 * MS, None),
        (format!("{LOGIN}{off}"), 2_701 * MS, Some(narrow(299 * MS, 3 * S, "the step's timeout"))),
        (format!("{expects}{off}"), 9 * S, None),
        (format!("{expects}{off}"), 9_001 * MS, Some(narrow(999 * MS, 10 * S, "upstream.connect_timeout"))),
    ] {
        let mut stand = Stand::new(&script);
        stand.pass(wait);
        stand.hear(WELCOME);
        let all = stand.told();
        let narrow = all.iter().find(|told| matches!(told, Told::Narrow { .. }));
        assert_eq!(narrow, told.as_ref(), "{script} {wait:?}");
        assert_eq!(stand.trial.outcome(), None);
    }
    for (wait, told) in [(1_800 * MS, None), (1_801 * MS, Some(narrow(199 * MS, 2 * S, "heartbeat.timeout")))]
    {
        let beat = "[heartbeat]\nkind = \"message\"\nmessage = \"p\"\nexpect = \"q\"\ntimeout = \"2s\"\n";
        let mut stand = Stand::beating(beat);
        stand.pass(wait);
        stand.hear("q");
        let all = stand.told();
        assert!(all.contains(&beaten(Some("p"), Some(wait), Some(true))), "{all:?}");
        assert_eq!(all.iter().find(|told| matches!(told, Told::Narrow { .. })), told.as_ref(), "{wait:?}");
    }
}
