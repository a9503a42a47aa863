//! A connection whose script is under way, what failures lead to, and where attempts go.

use super::*;
use crate::{hub::Data, upstream::settings::Exit};

const LOGIN: &str = r#"
[[script.step]]
name = "log in"
send = '{"op":"login"}'
expect = { "/op" = "welcome" }
reject = { "/op" = "go away" }
capture = { session = "/session" }
timeout = "3s"
"#;

pub(super) fn toml(text: &str) -> Settings {
    let upstream = match text.contains("[upstream]") {
        true => "",
        false => "[upstream]\nurl = \"wss://a/\"\n",
    };
    let settings = Settings::parse(&format!("{upstream}{text}\n"));
    let kind = if text.contains("[heartbeat]") { settings.heartbeat.kind } else { HeartbeatKind::Off };
    let heartbeat = config::Heartbeat { kind, ..settings.heartbeat };
    Settings { heartbeat, close_timeout: 2 * S, ..settings }
}

impl Bench {
    /// One whose script is under way.
    fn opening(settings: Settings) -> Bench {
        let mut bench = Bench::new(settings);
        bench.tell(Input::Start);
        bench.tell(connected());
        bench
    }

    pub(super) fn hear(&mut self, slot: Slot, text: &str) -> (bool, Vec<Action>) {
        let Hearing { holes, publish, .. } = self.machine.hear(self.now, slot, Data::Text(text));
        self.holes = holes;
        self.news = std::iter::from_fn(|| self.machine.poll_news()).collect();
        (publish, std::iter::from_fn(|| self.machine.poll_action()).collect())
    }

    pub(super) fn said(&mut self, slot: Slot) -> Vec<String> {
        let said = std::iter::from_fn(|| self.machine.next_own(self.now, slot));
        said.map(|payload| if let Payload::Text(text) = payload { text } else { unreachable!() }).collect()
    }
}

const WELCOME: &str = r#"{"op":"welcome","session":"s1"}"#;

#[test]
fn a_connection_is_up_when_its_script_is_done() {
    let mut bench = Bench::opening(toml(LOGIN));
    assert_eq!(bench.said(Slot::A), [r#"{"op":"login"}"#]);
    assert_eq!((bench.machine.sender(), bench.machine.state_for_sends()), (None, LinkState::Connecting));
    assert!(bench.machine.wants_messages(Slot::A));
    assert_eq!(bench.hear(Slot::A, r#"{"op":"news"}"#), (true, vec![]));
    let (publish, _) = bench.hear(Slot::A, WELCOME);
    assert!(publish);
    assert_eq!((bench.announced().state, bench.announced().conn), (LinkState::Up, 1));
    assert_eq!(bench.machine.sender(), Some(Slot::A));
    assert!(!bench.machine.wants_messages(Slot::A), "nothing is of concern any more");
}

#[test]
fn a_script_that_fails_closes_the_connection_and_names_its_step() {
    for refused in [true, false] {
        let mut bench = Bench::opening(toml(LOGIN));
        let actions = match refused {
            true => bench.hear(Slot::A, r#"{"op":"go away"}"#).1,
            false => bench.pass(3 * S),
        };
        assert_eq!(actions, [Action::Close { slot: Slot::A, code: 1000, reason: "script" }]);
        assert_eq!(bench.machine.state_for_sends(), LinkState::Waiting);
        assert_eq!(bench.machine.drained(), None, "there are no clients' sends to wait for");
        let status = bench.told_at(gone()).clone();
        assert_eq!((status.state, status.conn, status.attempt), (LinkState::Waiting, 0, 1));
        assert!(status.error.as_deref().unwrap().contains("\"log in\""), "{status:?}");
    }
}

#[test]
fn the_whole_script_has_the_connect_timeout() {
    let slow = LOGIN.replace("timeout = \"3s\"", "");
    let mut bench = Bench::new(toml(&slow));
    bench.tell(Input::Start);
    bench.pass(4 * S);
    bench.tell(connected());
    assert!(bench.pass(5_999 * MS).is_empty());
    assert!(matches!(bench.pass(MS)[..], [Action::Close { .. }]), "10 s for the attempt and the script");
}

#[test]
fn each_input_while_the_script_is_under_way() {
    let close = |code, reason| Action::Close { slot: Slot::A, code, reason };
    let table: Vec<(&str, Input, Vec<Action>, LinkState)> = vec![
        ("open", Input::Open, vec![], LinkState::Connecting),
        ("reconnect", Input::Reconnect, vec![], LinkState::Connecting),
        ("close", Input::Close, vec![close(1000, "close")], LinkState::Closed),
        ("stop", Input::Stop, vec![close(1001, "shutdown")], LinkState::Closed),
        ("closing", closing(Failure::closed_there(Some(1001), "")), vec![], LinkState::Waiting),
        ("start", Input::Start, vec![], LinkState::Connecting),
        ("another seat's end", gone_from(Slot::B), vec![], LinkState::Connecting),
        ("bytes", inbound(), vec![], LinkState::Connecting),
    ];
    for (name, input, actions, state) in table {
        let mut bench = Bench::opening(toml(LOGIN));
        assert_eq!(bench.tell(input), actions, "{name}");
        assert_eq!(bench.machine.state_for_sends(), state, "{name}");
    }
    let mut bench = Bench::opening(toml(LOGIN));
    assert_eq!(bench.told_at(gone()).state, LinkState::Waiting);
    let mut bench = Bench::opening(toml(LOGIN));
    let moved = toml(&LOGIN.replace("log in", "hello"));
    assert_eq!(bench.tell(Input::Settings(Box::new(moved))), [close(1000, "reconfigured")]);
}

#[test]
fn limits_and_rotation_apply_to_a_live_connection() {
    let mut bench = Bench::up(toml(""));
    let new = toml("[limits]\nmessages = [\"1/10s\"]\n[rotate]\nafter = \"60s\"\n");
    assert_eq!(bench.tell(Input::Settings(Box::new(new))), []);
    bench.machine.sent(bench.now, 1);
    assert_eq!(bench.machine.leeway(bench.now).free, 0);
    assert_eq!(bench.machine.next_let_out(bench.now, Some(1)), Some(bench.now + 10 * S));
    assert_eq!(connects(&bench.pass(60 * S)), 1);
}

#[test]
fn rules_say_what_a_close_code_leads_to() {
    let rules = r#"
[reconnect]
jitter = 0.0
rule = [
    { codes = [4000], then = "after", delay = "77s" },
    { codes = [4001], then = "refresh" },
    { codes = [4002], then = "stop" },
]
"#;
    let lost = |bench: &mut Bench, code| {
        bench.tell(closing(Failure::closed_there(Some(code), "")));
        bench.told_at(gone()).clone()
    };
    let mut bench = Bench::up(toml(rules));
    assert_eq!(lost(&mut bench, 4000).retry_in, Some(77 * S));
    assert_eq!(bench.until_attempt(), 77 * S);
    bench.tell(connected());
    assert_eq!(lost(&mut bench, 4001).retry_in, Some(MS), "at once, but no loop is without a delay");
    bench.until_attempt();
    bench.tell(connected());
    assert_eq!(lost(&mut bench, 4001).retry_in, Some(2 * S), "in a row it is a retry, the third one here");
    bench.until_attempt();
    bench.tell(connected());
    let status = lost(&mut bench, 4002);
    assert_eq!((status.state, status.retry_in), (LinkState::Failed, None));
    let error = status.error.unwrap();
    assert!(
        error.starts_with("given up as a reconnect.rule for code 4002 says: the server closed"),
        "{error}"
    );
    assert_eq!(bench.pass(3_600 * S), []);
    assert_eq!(connects(&bench.tell(Input::Open)), 1, "and open starts it again");
}

#[test]
fn a_rule_that_stops_ends_a_daemon_that_is_to_exit() {
    let text = "[reconnect]\non_exhausted = \"exit\"\nrule = [{ statuses = [401], then = \"stop\" }]\n";
    let mut bench = Bench::new(toml(text));
    bench.tell(Input::Start);
    let failure = Failure { http_status: Some(401), ..Failure::attempt("no") };
    assert_eq!(bench.tell(refused_with(failure)).last(), Some(&Action::Finish(Exit::GivenUp)));
}

#[test]
fn a_message_may_make_the_connection_useless() {
    let text = "[reconnect]\nclose_code = 4000\nrule = [{ match = { \"/op\" = 7 }, then = \"forget\" }]\n";
    let mut bench = Bench::up(toml(text));
    let (publish, actions) = bench.hear(Slot::A, r#"{"op":7}"#);
    assert!(publish);
    assert_eq!(actions, [Action::Close { slot: Slot::A, code: 4000, reason: "script" }]);
    assert_eq!(bench.told_at(gone()).state, LinkState::Waiting);
}

#[test]
fn attempts_go_where_the_server_said_until_that_fails_too_often() {
    let text = format!(
        "[upstream]\nurl = \"wss://a/\"\nresume_url = \"wss://b/${{capture:session}}\"\nresume_url_failures = 2\n{LOGIN}"
    );
    let destination = |actions: &[Action]| {
        let to = actions.iter().find_map(|action| match action {
            Action::Connect { to, .. } => Some(to.clone()),
            _ => None,
        });
        matches!(to.expect("an attempt"), Destination::Resume(captures) if captures.has("session"))
    };
    let mut bench = Bench::opening(toml(&text));
    bench.hear(Slot::A, WELCOME);
    bench.tell(gone());
    assert!(destination(&bench.pass(S)));
    bench.tell(refused());
    assert!(destination(&bench.pass(60 * S)));
    bench.tell(connected());
    bench.tell(gone()); // before its script was done
    assert!(!destination(&bench.pass(60 * S)), "twice in a row");
}

#[test]
fn an_attempt_where_a_message_leads_says_where_that_is() {
    let told = |resume_url: &str, session: &str| {
        let resume = format!("resume_url = \"{resume_url}\"");
        let mut bench =
            Bench::opening(toml(&format!("[upstream]\nurl = \"wss://a/x?y\"\n{resume}\n{LOGIN}")));
        bench.hear(Slot::A, &format!(r#"{{"op":"welcome","session":{session}}}"#));
        let waiting = bench.told_at(gone()).clone();
        let connecting = bench.announced_after(S).clone();
        assert_eq!((waiting.state, connecting.state), (LinkState::Waiting, LinkState::Connecting));
        assert_eq!(waiting.url, connecting.url);
        bench.tell(refused());
        bench.pass(60 * S);
        assert_eq!(bench.told_at(refused()).url, connecting.url, "the next one leads there too");
        bench.pass(60 * S);
        assert_eq!(bench.told_at(refused()).url, "wss://a/x", "and the one after three doesn't");
        connecting.url
    };
    for (resume_url, session, shown) in [
        ("${capture:session}", r#""wss://me:secret@b.example:8443/x?secret""#, "wss://b.example:8443"),
        ("${capture:session}/x", r#""WS://b.example:80""#, "ws://b.example"),
        ("wss://u:p@${capture:session}:443/x", r#""b.example""#, "wss://b.example"),
        ("wss://b.example/${capture:session}?t=${env:T}", "7", "wss://b.example"),
        ("wss://${env:H}/${capture:session}", "7", "upstream.resume_url"),
        ("${capture:session}", r#""no url""#, "upstream.resume_url"),
        ("${capture:session}", r#"{"a":"wss://b.example/"}"#, "upstream.resume_url"),
    ] {
        assert_eq!(told(resume_url, session), shown, "{resume_url}");
    }
}

#[test]
fn a_failed_attempt_says_where_it_went_and_nothing_else_that_was_captured() {
    let text = format!("[upstream]\nurl = \"wss://a/\"\nresume_url = \"${{capture:session}}\"\n{LOGIN}");
    for session in ["wss://b.example:8443", "b.example:8443", "b.example"] {
        let mut bench = Bench::opening(toml(&text));
        bench.hear(Slot::A, &format!(r#"{{"op":"welcome","session":"{session}"}}"#));
        bench.tell(gone());
        bench.until_attempt();
        let error = "wss://b.example:8443: can't connect to b.example:8443";
        let place = Some("wss://b.example:8443 b.example:8443".to_owned());
        let failure = Failure { place, ..Failure::attempt(error) };
        bench.tell(Input::ConnectFailed { slot: Slot::A, failure });
        assert_eq!(bench.announced().error.as_deref(), Some(error));
    }
    let mut bench = Bench::opening(toml(&text));
    bench.hear(Slot::A, r#"{"op":"welcome","session":"hunter2-hunter2"}"#);
    bench.tell(gone());
    bench.until_attempt();
    let failure = Failure::attempt("no such session: hunter2-hunter2");
    bench.tell(Input::ConnectFailed { slot: Slot::A, failure });
    assert_eq!(bench.announced().error.as_deref(), Some("no such session: ${capture:session}"));
}

#[test]
fn a_url_that_leads_where_it_must_not_is_not_the_last_attempt() {
    let text = format!(
        "[upstream]\nurl = \"wss://a/\"\nresume_url = \"${{capture:session}}\"\n[reconnect]\nmax_attempts = 1\n{LOGIN}"
    );
    let mut bench = Bench::opening(toml(&text));
    bench.hear(Slot::A, WELCOME);
    // a connection that was up for long: its end is no attempt
    bench.pass(3600 * S);
    bench.tell(gone());
    bench.until_attempt();
    let misled = Failure { misled: true, ..Failure::attempt("it leads elsewhere") };
    let status = bench.told_at(Input::ConnectFailed { slot: Slot::A, failure: misled }).clone();
    assert_eq!(status.state, LinkState::Waiting, "{:?}", status.error);
    bench.until_attempt();
    assert_eq!(bench.told_at(refused()).state, LinkState::Failed, "the configured server is");
}

#[test]
fn attempts_keep_to_their_limit_whoever_asks() {
    let mut bench = Bench::new(toml("[limits]\nconnects = [\"2/60s\"]\n[reconnect]\njitter = 0.0\n"));
    bench.tell(Input::Start);
    bench.tell(refused());
    bench.until_attempt();
    let status = bench.told_at(refused()).clone();
    assert_eq!(status.retry_in, Some(59_500 * MS), "60 s after the first one");
    bench.tell(Input::Open);
    assert_eq!(bench.tell(Input::Reconnect), [], "asked for already");
    assert_eq!(connects(&bench.pass(59_499 * MS)), 0);
    assert_eq!(connects(&bench.pass(MS)), 1);
}

#[test]
fn a_dead_connection_is_told_the_configured_code_and_left_after_a_moment() {
    let mut bench = Bench::up(toml("[heartbeat]\nclose_code = 4009\n"));
    let actions = bench.pass(40 * S);
    assert_eq!(actions.last(), Some(&Action::Close { slot: Slot::A, code: 4009, reason: "heartbeat" }));
    assert_eq!(bench.machine.drained(), None, "nothing more is sent to a dead server");
    let actions = bench.pass(LINGER);
    assert_eq!(actions[0], Action::Drop { slot: Slot::A });
    assert_eq!(bench.announced().state, LinkState::Waiting);
}

#[test]
fn a_rotation_waits_for_the_next_ones_script() {
    let rotating = format!("{LOGIN}[rotate]\nwhen = {{ \"/op\" = \"leave\" }}\n");
    let mut bench = Bench::opening(toml(&rotating));
    bench.said(Slot::A);
    bench.hear(Slot::A, WELCOME);
    let (_, actions) = bench.hear(Slot::A, r#"{"op":"leave"}"#);
    assert!(matches!(actions[..], [Action::Connect { slot: Slot::B, .. }]), "{actions:?}");
    assert!(matches!(bench.notes()[..], [Note::Rotating(_)]));
    assert_eq!(bench.tell(connected_on(Slot::B)), [], "its script is under way");
    assert_eq!(bench.machine.sender(), Some(Slot::A));
    assert_eq!(bench.said(Slot::B), [r#"{"op":"login"}"#]);
    assert_eq!(bench.hear(Slot::A, r#"{"op":"leave"}"#).1, [], "one rotation at a time");

    // a script that fails leaves the old one be
    let (_, actions) = bench.hear(Slot::B, r#"{"op":"go away"}"#);
    assert_eq!(actions, [Action::Drop { slot: Slot::B }]);
    assert!(matches!(bench.notes()[..], [Note::RotationFailed { .. }]));
    let actions = bench.pass(60 * S);
    assert_eq!(connects(&actions), 1);
    bench.tell(connected_on(Slot::B));

    // the old one goes away meanwhile: the link waits for the script that is under way
    let actions = bench.tell(gone());
    assert_eq!((bench.states(), connects(&actions)), (vec![LinkState::Connecting], 0));
    bench.hear(Slot::B, WELCOME);
    assert_eq!((bench.announced().state, bench.announced().conn), (LinkState::Up, 2));
}

#[test]
fn a_server_that_asks_faster_than_answers_go_out_is_read_no_further() {
    let text = "[[reply]]\nmatch = \"?\"\nsend = '!'\n[limits]\nmessages = [\"10/60s\"]\n";
    let mut bench = Bench::up(toml(text));
    let mut asked = 0;
    while !bench.machine.is_choked(Slot::A) {
        bench.hear(Slot::A, "?");
        asked += 1;
        assert!(asked <= 1_024);
    }
    assert_eq!(bench.said(Slot::A).len(), 10);
    assert!(!bench.machine.is_choked(Slot::A));
    assert_eq!(bench.machine.next_let_out(bench.now, None), Some(bench.now + 60 * S));
}

#[test]
fn a_connection_that_closes_is_read_to_its_end_however_much_waits_to_be_said() {
    let text = "[[reply]]\nmatch = \"?\"\nsend = '!'\n[limits]\nmessages = [\"10/60s\"]\n\
                [rotate]\nafter = \"60s\"\noverlap = \"1s\"\n";
    for rotates in [true, false] {
        let mut bench = Bench::up(toml(text));
        if rotates {
            bench.pass(61 * S);
            bench.tell(connected_on(Slot::B));
        }
        while !bench.machine.is_choked(Slot::A) {
            bench.hear(Slot::A, "?");
        }
        let actions = if rotates { bench.pass(2 * S) } else { bench.tell(Input::Close) };
        assert!(matches!(actions[..], [Action::Close { slot: Slot::A, .. }]), "{actions:?}");
        assert!(!bench.machine.is_choked(Slot::A));
        for _ in 0..10_000 {
            bench.hear(Slot::A, "?"); // and that costs no more
        }
        assert!(bench.said(Slot::A).len() < 1_024);
    }
}

#[test]
fn a_close_reason_does_not_repeat_a_secret() {
    let mut bench = Bench::new(toml(LOGIN));
    bench.tell(Input::Start);
    let secret = config::Value::Text("hunter2".into());
    let secrets = [(config::Placeholder::Env("T".into()), Ok(secret))].into_iter().collect();
    bench.tell(Input::Connected { slot: Slot::A, reached: Reached::default(), secrets });
    bench.tell(closing(Failure::closed_there(Some(4004), "bad token hunter2")));
    bench.tell(gone());
    assert_eq!(bench.announced().reason.as_deref(), Some("bad token …"));
    assert!(!bench.announced().error.as_ref().unwrap().contains("hunter2"));
}

#[test]
fn no_rule_makes_a_storm() {
    for then in ["then = \"refresh\"", "then = \"after\"\ndelay = \"0s\""] {
        // a server that takes each connection and ends it, while each of them counts as stable
        let settings =
            format!("[reconnect]\nstable_after = \"0s\"\n[[reconnect.rule]]\ncodes = [4001]\n{then}\n");
        let mut bench = Bench::up(toml(&settings));
        let begin = bench.now;
        for _ in 0..100 {
            bench.tell(closing(Failure::closed_there(Some(4001), "")));
            bench.tell(gone());
            bench.until_attempt();
            bench.tell(connected());
        }
        assert!(bench.now - begin > 10 * S, "100 in {:?}: {then}", bench.now - begin);
    }
}

#[test]
fn a_delay_of_a_rule_is_the_least() {
    let settings =
        "[reconnect]\njitter = 0\n[[reconnect.rule]]\nstatuses = [503]\nthen = \"after\"\ndelay = \"3s\"\n";
    let mut bench = Bench::new(toml(settings));
    bench.tell(Input::Start);
    let mut waits = Vec::new();
    for _ in 0..6 {
        bench.tell(refused_with(Failure { http_status: Some(503), ..Failure::attempt("no") }));
        waits.push(bench.until_attempt().as_secs());
    }
    assert_eq!(waits, [3, 3, 3, 4, 8, 16], "the delays of [reconnect] hold as well");
}

#[test]
fn a_script_that_says_more_than_the_limits_let_out_fails_for_that_reason() {
    let second = "[[script.step]]\nname = \"subscribe\"\nsend = \"subscribe\"\nexpect = \"subscribed\"\n";
    let mut bench = Bench::opening(toml(&format!("{LOGIN}{second}[limits]\nmessages = \"1/60s\"\n")));
    assert_eq!(bench.said(Slot::A).len(), 1);
    bench.hear(Slot::A, WELCOME);
    assert_eq!(bench.said(Slot::A), [""; 0]);
    bench.pass(10 * S);
    let error = bench.told_at(gone()).error.clone().unwrap();
    let why = "the script's step \"subscribe\" failed: limits.messages didn't let all out";
    assert!(error.starts_with(why), "{error}");
}

#[test]
fn a_heartbeat_does_not_go_before_the_script() {
    let beats = "[heartbeat]\nkind = \"message\"\nmessage = \"beat\"\ninterval = \"1s\"\nfirst = \"now\"\n";
    let mut bench = Bench::opening(toml(&format!("{LOGIN}{beats}")));
    bench.tell(Input::Timeout);
    bench.pass(S / 2);
    assert_eq!(bench.said(Slot::A), [r#"{"op":"login"}"#, "beat"]);
}
