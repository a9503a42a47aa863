//! Messages that programs make.

use super::{
    super::runs::{MAX_RUNNING, MAX_STDIN, MAX_WAITING, Run},
    *,
};

const AUTH: &str = r#"
[[script.step]]
name = "challenge"
expect = { "/0" = "AUTH" }
[[script.step]]
name = "answer"
send_command = { run = ["/bin/sign"], stdin = '{"challenge":"${field:/1}","at":${now_ms},"key":"${env:A}"}' }
expect = { "/0" = "OK" }
reject = { "/0" = "NO" }
timeout = "2s"
on_fail = "stop"
"#;

const REPLY: &str = r#"
[[reply]]
match = { "/ask" = { exists = true } }
send_command = { run = ["/bin/answer"], stdin = "${field:/ask}" }
publish = false
"#;

impl Bench {
    /// The programs that are to run now, and what each reads.
    fn runs(&mut self) -> Vec<(u64, String)> {
        let (runs, effects) = self.with(|session, context| {
            let runs = std::iter::from_fn(|| session.next_run(context));
            runs.collect::<Vec<Run>>()
        });
        assert_eq!(effects, []);
        let stdin = |run: Run| (run.id, run.stdin.map_or(String::new(), |text| text.expose().to_owned()));
        runs.into_iter().map(stdin).collect()
    }

    fn ran(&mut self, id: u64, outcome: Result<&[u8], &str>) -> Vec<Effect> {
        let outcome = outcome.map(<[u8]>::to_vec).map_err(str::to_owned);
        self.with(|session, context| session.ran(context, id, outcome)).1
    }

    /// One whose step's program runs, and its number.
    fn signing() -> (Bench, u64) {
        let (mut bench, _) = Bench::started(AUTH);
        assert_eq!(bench.hears(r#"["AUTH","c1"]"#), []);
        let id = bench.runs()[0].0;
        (bench, id)
    }
}

fn unsent(effects: &[Effect]) -> &str {
    match effects {
        [Effect::Unsent { error }] => error,
        other => panic!("not unsent: {other:?}"),
    }
}

#[test]
fn a_step_says_what_a_program_makes_of_the_message_before() {
    let (mut bench, _) = Bench::started(AUTH);
    assert_eq!(bench.hears(r#"["AUTH","c\"1"]"#), [], "nothing is said before the program has ended");
    let runs = bench.runs();
    assert_eq!(runs, [(1, r#"{"challenge":"c\"1","at":1700000000123,"key":"A-\"1\""}"#.to_owned())]);
    assert!(!bench.session.is_ready() && bench.session.wants_messages());
    assert_eq!(bench.hears(r#"["OK"]"#), [], "what comes before it is said isn't its answer");
    bench.now += 3 * S;
    assert_eq!(bench.ran(1, Ok(b"[\"AUTH\",{}]\n\n")), [said("[\"AUTH\",{}]\n")], "without one line break");
    assert_eq!(bench.session.next_timeout(), Some(bench.now + 2 * S), "its answer is awaited from then on");
    assert_eq!(bench.hears(r#"["OK"]"#), [Effect::Ready]);
    assert_eq!(bench.ran(1, Ok(b"late")), [], "it has ended before");
}

#[test]
fn a_step_whose_program_makes_nothing_fails_by_name() {
    let limited = format!("{AUTH}[limits]\nmax_message = 9\n");
    type Printed = Result<&'static [u8], &'static str>;
    let table: [(&str, Printed, &str); 6] = [
        (AUTH, Err("failed (exit status: 3): no key"), "/bin/sign failed (exit status: 3): no key"),
        (AUTH, Err("did not end within 5s"), "/bin/sign did not end within 5s"),
        (AUTH, Ok(b""), "/bin/sign printed nothing"),
        (AUTH, Ok(b"\n"), "/bin/sign printed nothing"),
        (AUTH, Ok(b"\xff"), "/bin/sign printed what is not UTF-8 text, and `binary` isn't true"),
        (
            &limited,
            Ok(b"xxxxxxxxxx"),
            "/bin/sign printed a message that can't be sent: its 10 bytes are over the 9 bytes of limits.max_message",
        ),
    ];
    for (text, outcome, why) in table {
        let (mut bench, _) = Bench::started(text);
        bench.hears(r#"["AUTH","c1"]"#);
        let id = bench.runs()[0].0;
        let effects = bench.ran(id, outcome);
        let sentence = format!("the script's step \"answer\" failed: {why}");
        assert_eq!(failed(&effects), (&*sentence, Remedy::Stop));
        assert!(!bench.session.awaits_run(id));
    }
}

#[test]
fn a_silent_program_has_the_script_go_on_and_nothing_is_sent() {
    let text = "[[script.step]]\nsend_command = { run = [\"/bin/post\"], silent = true }\n\
                [[reply]]\nmatch = \"post\"\nsend_command = { run = [\"/bin/post\"], silent = true }";
    let (mut bench, effects) = Bench::started(text);
    assert_eq!(effects, []);
    let id = bench.runs()[0].0;
    assert_eq!(bench.ran(id, Ok(b"what it printed")), [Effect::Ready]);
    bench.hears("post");
    let id = bench.runs()[0].0;
    assert_eq!(bench.ran(id, Ok(b"")), [], "not even that it printed nothing");
    let (mut bench, _) = Bench::started(text);
    let id = bench.runs()[0].0;
    let effects = bench.ran(id, Err("failed (exit status: 22): 401"));
    assert_eq!(
        failed(&effects).0,
        "the script's step \"step 1\" failed: /bin/post failed (exit status: 22): 401"
    );
}

#[test]
fn a_program_has_no_more_time_than_the_script() {
    let (mut bench, id) = Bench::signing();
    assert_eq!(bench.session.next_timeout(), Some(bench.now + 10 * S));
    assert_eq!(bench.pass(9 * S), []);
    assert!(bench.session.awaits_run(id));
    let effects = bench.pass(S);
    let sentence =
        "the script's step \"answer\" failed: /bin/sign did not end within 10s, by upstream.connect_timeout";
    assert_eq!(failed(&effects), (sentence, Remedy::Stop));
    assert!(!bench.session.awaits_run(id), "it is to end");
}

#[test]
fn steps_may_say_values_of_the_message_that_was_expected_last() {
    let text = r#"
[[script.step]]
expect = { "/op" = "hello" }
[[script.step]]
send = '[${field:/n},"${field:/s}"]'
[[script.step]]
send = '${field:/s}'
expect = { "/op" = "welcome" }
reject = { match = { "/op" = "later" }, then = "again", delay = "1s" }
[[script.step]]
name = "last"
send = '${field:/n}'
"#;
    let (mut bench, _) = Bench::started(text);
    assert_eq!(
        bench.hears(r#"{"op":"hello","n":1.50,"s":"a\"b"}"#),
        [said(r#"[1.50,"a\"b"]"#), said("a\"b")]
    );
    bench.hears(r#"{"op":"later","s":"not this"}"#);
    assert_eq!(bench.pass(S), [said("a\"b")], "and so when it is said again");
    let effects = bench.hears(r#"{"op":"welcome"}"#);
    assert_eq!(effects[0], Effect::TakenOn);
    let why = "`${field:/n}` is not in the message that was expected last, or is longer than 64KiB";
    assert_eq!(failed(&effects[1..]).0, format!("the script's step \"last\" failed: {why}"));
}

#[test]
fn replies_go_out_as_their_programs_end_and_others_do_not_wait() {
    let mut bench = Bench::ready(&format!("{REPLY}[[reply]]\nmatch = \"plain\"\nsend = \"at once\"\n"));
    assert_eq!(bench.hear(r#"{"ask":"a"}"#), (Publish::No, vec![]));
    bench.hear(r#"{"ask":2}"#);
    assert_eq!(bench.runs(), [(1, "a".to_owned()), (2, "2".to_owned())]);
    assert_eq!(bench.hears("plain"), [reply("at once")]);
    assert_eq!(bench.ran(2, Ok(b"two\n")), [reply("two")]);
    let error = "a reply isn't sent: /bin/answer failed (exit status: 1)";
    assert_eq!(unsent(&bench.ran(1, Err("failed (exit status: 1)"))), error);
    assert!(bench.session.is_ready(), "the connection goes on");
}

#[test]
fn so_many_run_and_so_many_wait_in_order() {
    let mut bench = Bench::ready(REPLY);
    for n in 0..MAX_RUNNING + MAX_WAITING {
        assert_eq!(bench.hear(&format!(r#"{{"ask":{n}}}"#)), (Publish::No, vec![]), "{n}");
        let runs = bench.runs();
        assert_eq!(runs.len(), usize::from(n < MAX_RUNNING), "{n}: {runs:?}");
    }
    let (_, effects) = bench.hear(r#"{"ask":"one more"}"#);
    let error = "a reply isn't sent: /bin/answer isn't run: 16 programs run on this connection, and 1000 replies wait \
                 for theirs";
    assert_eq!(unsent(&effects), error);
    bench.ran(5, Ok(b"5"));
    assert_eq!(bench.runs(), [(17, "16".to_owned())]);
    bench.ran(3, Ok(b"3"));
    bench.ran(17, Ok(b"16"));
    assert_eq!(bench.runs(), [(18, "17".to_owned()), (19, "18".to_owned())]);
    assert_eq!(bench.hear(r#"{"ask":"one more"}"#).1, [], "there is room again");
}

#[test]
fn what_programs_are_to_read_is_bounded() {
    let mut bench = Bench::ready(REPLY);
    let ask = |length: usize| format!(r#"{{"ask":"{}"}}"#, "x".repeat(length));
    let (_, effects) = bench.hear(&ask(MAX_STDIN + 1));
    assert!(unsent(&effects).ends_with("it would have to read more than 1MiB"), "{effects:?}");
    for _ in 0..MAX_RUNNING {
        assert_eq!(bench.hear(&ask(MAX_STDIN)).1, []);
        assert_eq!(bench.runs().len(), 1, "what begins at once doesn't wait");
    }
    assert_eq!(bench.hear(&ask(MAX_STDIN - 2)).1, []);
    assert_eq!(bench.hear(&ask(2)).1, []);
    let (_, effects) = bench.hear(&ask(1));
    assert!(unsent(&effects).ends_with("and 2 replies wait for theirs"), "{effects:?}");
}

#[test]
fn the_script_and_the_heartbeat_go_before_replies() {
    let beat =
        "[heartbeat]\nkind = \"message\"\nsend_command = { run = [\"/bin/beat\"], stdin = \"beat\" }\n";
    let (mut bench, _) = Bench::started(&format!("{AUTH}{REPLY}{beat}"));
    for n in 0..MAX_RUNNING + 2 {
        bench.hear(&format!(r#"{{"ask":{n}}}"#));
    }
    assert_eq!(bench.runs().len(), MAX_RUNNING);
    let beat = |bench: &mut Bench| bench.with(|session, context| session.beat(context)).0;
    assert_eq!(beat(&mut bench), Ok(None));
    bench.hears(r#"["AUTH","c1"]"#);
    assert_eq!(beat(&mut bench), Ok(None), "the one that waits is the one that is due");
    let next = |bench: &mut Bench, ended| {
        bench.ran(ended, Ok(b"x"));
        bench.runs().into_iter().map(|(_, stdin)| stdin).collect::<String>()
    };
    assert!(next(&mut bench, 1).contains("challenge"));
    assert_eq!(next(&mut bench, 2), "beat");
    assert_eq!(next(&mut bench, 3), "16");
    let effects = bench.ran(18, Ok(b"alive"));
    assert_eq!(effects, [Effect::Send(Payload::Text("alive".into()).into(), Purpose::Heartbeat)]);
    assert_eq!(beat(&mut bench), Ok(None));
    bench.ran(4, Ok(b"x"));
    assert_eq!(bench.runs()[0].1, "beat");
    let error = "the heartbeat isn't sent: /bin/beat printed nothing";
    assert_eq!(unsent(&bench.ran(20, Ok(b""))), error);
}

#[test]
fn what_is_binary_goes_out_as_it_was_printed() {
    let text = REPLY.replace("stdin =", "binary = true, stdin =");
    let mut bench = Bench::ready(&text);
    bench.hear(r#"{"ask":1}"#);
    bench.runs();
    let payload = Payload::Binary(b"\xff\n".to_vec());
    assert_eq!(bench.ran(1, Ok(b"\xff\n")), [Effect::Send(payload.into(), Purpose::Reply)]);
}

#[test]
fn what_a_program_is_to_read_and_has_no_value_fails_as_a_message_does() {
    let none = AUTH.replace("${env:A}", "${env:NONE}");
    let (mut bench, _) = Bench::started(&none);
    let effects = bench.hears(r#"["AUTH","c1"]"#);
    let why = "/bin/sign can't be run: its stdin has no value: `${env:NONE}` is not set";
    assert_eq!(failed(&effects), (&*format!("the script's step \"answer\" failed: {why}"), Remedy::Stop));
    let mut bench = Bench::ready(&REPLY.replace("field:/ask", "field:/other"));
    let (_, effects) = bench.hear(r#"{"ask":1}"#);
    let why = "/bin/answer can't be run: its stdin has no value: `${field:/other}` is not in the message";
    assert_eq!(failed(&effects).0, format!("a reply can't be sent: {why}"));
}

#[test]
fn what_a_program_printed_is_hidden_where_the_server_repeats_it() {
    let (mut bench, id) = Bench::signing();
    bench.ran(id, Ok(br#"["AUTH",{"sig":"0123456789abcdef","kind":22242}]"#));
    let effects = bench.hears(r#"["NO","bad 0123456789abcdef"]"#);
    let (error, _) = failed(&effects);
    assert!(error.contains("bad") && !error.contains("0123456789"), "{error}");
}

#[test]
fn what_one_program_printed_stays_hidden_when_others_have_printed() {
    let text = r#"
[[script.step]]
send_command = { run = ["/bin/first"] }
[[script.step]]
send_command = { run = ["/bin/second"] }
[heartbeat]
kind = "message"
send_command = { run = ["/bin/beat"] }
"#;
    let (mut bench, _) = Bench::started(&format!("{text}{REPLY}"));
    for printed in ["PASS oauth:first-s3cret", "second-s3cret"] {
        let id = bench.runs()[0].0;
        bench.ran(id, Ok(printed.as_bytes()));
    }
    bench.hear(r#"{"ask":1}"#);
    let id = bench.runs()[0].0;
    bench.ran(id, Ok(b"reply-s3cret"));
    bench.with(|session, context| session.beat(context)).0.unwrap();
    let id = bench.runs()[0].0;
    bench.ran(id, Ok(b"beat-s3cret"));
    let said = "bad oauth:first-s3cret second-s3cret reply-s3cret beat-s3cret";
    assert_eq!(bench.session.without_printed(said), "bad … … … …");
}

#[test]
fn a_heartbeat_that_is_another_now_is_not_waited_for() {
    let beat = |program: &str| {
        format!("[heartbeat]\nkind = \"message\"\nsend_command = {{ run = [\"{program}\"] }}\n{REPLY}")
    };
    let mut bench = Bench::ready(&beat("/bin/a"));
    bench.with(|session, context| session.beat(context)).0.unwrap();
    bench.hear(r#"{"ask":1}"#);
    assert_eq!(bench.runs().len(), 2);
    let set = |bench: &mut Bench, text: &str| {
        let rules = Rc::new(Rules::new(&settings(text)));
        bench.with(|session, context| session.set_rules(context, rules));
    };
    set(&mut bench, &beat("/bin/a"));
    assert!(bench.session.awaits_run(1));
    set(&mut bench, &beat("/bin/b"));
    assert!(!bench.session.awaits_run(1) && bench.session.awaits_run(2));
    assert_eq!(bench.ran(1, Ok(b"old")), []);
}
