use proptest::prelude::*;

use super::{memory::Memory, *};
use crate::{
    config::{Placeholder, Value},
    hub::Payload,
    upstream::settings::Settings,
};

mod answers;
mod arrays;
mod derived;
mod failed;
mod holes;
mod idle;
mod programs;
mod put_off;
mod recount;
mod script;

const S: Duration = Duration::from_secs(1);

/// Settings from a configuration's text, below a valid first line.
fn settings(text: &str) -> Settings {
    Settings::parse(&format!("upstream.url = \"ws://a\"\n{text}"))
}

/// A session, what it is given from outside, and a clock that moves when told to.
struct Bench {
    rules: Rc<Rules>,
    session: Session,
    memory: Memory,
    random: fastrand::Rng,
    now: Instant,
}

impl Bench {
    /// One whose script is under way, with 10 s for it.
    fn new(text: &str) -> Bench {
        let rules = Rc::new(Rules::new(&settings(text)));
        let now = Instant::now();
        let session = Session::new(Rc::clone(&rules), secrets(), now, now + 10 * S);
        Bench { rules, session, memory: Memory::default(), random: fastrand::Rng::with_seed(7), now }
    }

    /// One whose script is begun, and what that led to.
    fn started(text: &str) -> (Bench, Vec<Effect>) {
        let mut bench = Bench::new(text);
        let effects = bench.with(|session, context| session.start(context)).1;
        (bench, effects)
    }

    /// One that is ready.
    fn ready(text: &str) -> Bench {
        let (bench, effects) = Bench::started(text);
        assert_eq!(effects.last(), Some(&Effect::Ready));
        bench
    }

    /// The next connection, with the same memory.
    fn again(&mut self) -> Vec<Effect> {
        self.session = Session::new(Rc::clone(&self.rules), secrets(), self.now, self.now + 10 * S);
        self.with(|session, context| session.start(context)).1
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Session, &mut Context<'_>) -> T) -> (T, Vec<Effect>) {
        let Bench { session, memory, random, now, .. } = self;
        let mut context = Context { now: *now, now_ms: 1_700_000_000_123, random, memory };
        let result = act(session, &mut context);
        let effects: Vec<_> = std::iter::from_fn(|| session.poll_effect()).collect();
        let written = effects.into_iter().map(|effect| match effect {
            Effect::Send(draft, why) => Effect::Send(session.write_own(context.now, draft).into(), why),
            effect => effect,
        });
        (result, written.collect())
    }

    fn hear(&mut self, text: &str) -> (Publish, Vec<Effect>) {
        self.with(|session, context| session.heard(context, Data::Text(text)))
    }

    /// What a message leads to; clients get it.
    fn hears(&mut self, text: &str) -> Vec<Effect> {
        let (publish, effects) = self.hear(text);
        assert_eq!(publish, Publish::Yes, "{text}");
        effects
    }

    /// Hears a message that leads to nothing but these holes.
    fn misses(&mut self, text: &str) -> Vec<Hole> {
        assert_eq!(self.hears(text), [], "{text}");
        self.session.take_holes()
    }

    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.with(|session, context| session.timeout(context, false)).1
    }

    fn beat(&mut self) -> Result<Payload, String> {
        let draft = self.with(|session, context| session.beat(context)).0?.expect("no program makes it");
        Ok(self.session.write_own(self.now, draft))
    }
}

fn secrets() -> Secrets {
    let value = |name: &str| (Placeholder::Env(name.into()), Ok(Value::Text(format!("{name}-\"1\""))));
    [value("A"), value("TOKEN"), (Placeholder::Env("NONE".into()), Err("is not set".into()))]
        .into_iter()
        .collect()
}

fn said(text: &str) -> Effect {
    Effect::Send(Payload::Text(text.into()).into(), Purpose::Script)
}

fn reply(text: &str) -> Effect {
    Effect::Send(Payload::Text(text.into()).into(), Purpose::Reply)
}

fn failed(effects: &[Effect]) -> (&str, Remedy) {
    match effects {
        [Effect::Failed { error, then }] => (error, *then),
        other => panic!("not failed: {other:?}"),
    }
}

const LOGIN: &str = r#"
[[script.step]]
name = "hello"
expect = { "/op" = 10 }
capture = { interval = "/d/interval" }
timeout = "2s"

[[script.step]]
name = "resume"
if_captured = "session"
send = '{"op":6,"session":${capture:session},"seq":${last:/s}}'
expect = { "/t" = "RESUMED" }
reject = [{ "/op" = 9 }]
on_fail = "forget"

[[script.step]]
name = "identify"
unless_captured = "session"
send = '{"op":2,"token":"${env:TOKEN}"}'
expect = { "/t" = "READY" }
reject = [
    { match = { "/op" = 9, "/wait" = { exists = true } }, then = "after", delay = "/wait", delay_unit = "ms" },
    { "/op" = 9 },
]
capture = { session = "/d/session" }
publish = false
on_fail = "stop"

[heartbeat]
kind = "message"
interval = "${capture:interval}"
message = '{"op":1,"d":${last:/s}}'
expect = { "/op" = 11 }
"#;

#[test]
fn what_is_no_interval_leaves_the_default() {
    for interval in ["0", "-1", "\"soon\"", "null", "1e300", "\"nan\""] {
        let (mut bench, _) = Bench::started(LOGIN);
        let effects = bench.hears(&format!(r#"{{"op":10,"d":{{"interval":{interval}}}}}"#));
        assert!(matches!(effects[..], [Effect::Send(..)]), "{interval}: {effects:?}");
    }
}

#[test]
fn a_heartbeat_may_be_binary() {
    let mut bench = Bench::ready("[heartbeat]\nkind = 'message'\nmessage_binary = 'wAA='");
    assert_eq!(bench.beat(), Ok(Payload::Binary(vec![0xc0, 0])));
}

#[test]
fn what_has_no_value_fails_by_name() {
    let text = "[[script.step]]\nname = \"log in\"\nsend = '{\"a\":\"${env:NONE}\"}'\non_fail = \"refresh\"";
    let (_, effects) = Bench::started(text);
    let sentence = "the script's step \"log in\" failed: `${env:NONE}` is not set";
    assert_eq!(failed(&effects), (sentence, Remedy::Refresh));

    let (mut bench, _) = Bench::started("[[script.step]]\nexpect = 'a'\ncapture = { x = \"/x\" }");
    let effects = bench.hears(r#"{"a":1}"#);
    assert_eq!(
        failed(&effects).0,
        "the script's step \"step 1\" failed: the expected message has no /x to capture as `x`"
    );

    let mut bench = Bench::ready(
        "heartbeat = { kind = \"message\", message = '${capture:x}' }\n\
         [[capture]]\nmatch = \"x\"\nvalues = { x = \"/x\" }",
    );
    assert_eq!(bench.beat(), Err("the heartbeat can't be sent: `${capture:x}` is not captured".into()));
    let effects = bench.hears(&format!(r#"{{"x":"{}"}}"#, "x".repeat(70_000)));
    assert_eq!(failed(&effects).0, "the captured `x` is longer than 65536 bytes");
}

#[test]
fn what_is_larger_than_the_server_takes_fails_by_name() {
    let text = |send: &str| format!("limits.max_message = 8\n[[script.step]]\nname = \"log in\"\n{send}");
    let long = "its 9 bytes are over the 8 bytes of limits.max_message";
    for send in ["send = \"123456789\"", "send_binary = \"MTIzNDU2Nzg5\""] {
        let (_, effects) = Bench::started(&text(send));
        assert_eq!(failed(&effects).0, format!("the script's step \"log in\" failed: {long}"));
    }
    let mut bench = Bench::ready(
        "limits.max_message = 8\n[heartbeat]\nkind = \"message\"\nmessage = \"123456789\"\n\
         [[reply]]\nmatch = { \"/a\" = { exists = true } }\nsend = \"${field:/a}\"",
    );
    assert_eq!(bench.beat(), Err(format!("the heartbeat can't be sent: {long}")));
    assert_eq!(bench.hears(r#"{"a":"12345678"}"#), [reply("12345678")]);
    let effects = bench.hears(r#"{"a":"123456789"}"#);
    assert_eq!(failed(&effects).0, format!("a reply can't be sent: {long}"));
}

#[test]
fn what_is_hidden_is_heard_all_the_same() {
    let text = "upstream.hide = [{ \"/type\" = \"ping\" }, \"noise\"]\n[[reply]]\nmatch = { \"/type\" = \"ping\", \"/n\" = 1 }\n\
                send = \"pong\"\n[[capture]]\nmatch = \"noise\"\nvalues = { n = \"/n\" }\n[[script.step]]\nexpect = \"hello\"";
    let (mut bench, _) = Bench::started(text);
    assert_eq!(bench.hear(r#"{"type":"ping","n":1}"#), (Publish::No, vec![reply("pong")]));
    assert_eq!(bench.hear("hello, noise"), (Publish::No, vec![Effect::Ready]));
    assert_eq!(bench.hear(r#"{"type":"ping","n":2}"#), (Publish::No, vec![]));
    assert_eq!(bench.hear(r#"{"type":"pong"}"#), (Publish::Yes, vec![]));
    assert_eq!(bench.hear(r#"{"n":7,"a":"noise"}"#), (Publish::No, vec![]));
    assert!(bench.memory.captures().has("n"));
}

#[test]
fn messages_are_answered() {
    let text = "[[reply]]\nmatch = { \"/id\" = { exists = true } }\nsend = '{\"id\":${field:/id},\"a\":\"${field:/a}\"}'\n\
                publish = false\n[[reply]]\nmatch = \"ping\"\nsend = \"pong ${uuid}\"";
    let mut bench = Bench::ready(text);
    let (publish, effects) = bench.hear(r#"{"id":[1, 2],"a":"x\n\"y"}"#);
    assert_eq!((publish, effects), (Publish::No, vec![reply(r#"{"id":[1, 2],"a":"x\n\"y"}"#)]));
    let Some(Effect::Send(pong, Purpose::Reply)) = bench.hears("ping").pop() else { panic!() };
    let pong = pong.text().to_owned();
    assert_eq!(pong.len(), "pong ".len() + 36);
    assert_eq!(bench.hears("something else"), []);
    let (_, effects) = bench.hear(r#"{"id":1}"#);
    assert_eq!(
        failed(&effects),
        ("a reply can't be sent: `${field:/a}` is not in the message", Remedy::Retry)
    );
}

#[test]
fn a_reply_has_what_its_message_brought() {
    let text = "[[capture]]\nmatch = { \"/k\" = { exists = true } }\nvalues = { k = \"/k\", other = \"/o\" }\n\
                [[reply]]\nmatch = { \"/k\" = { exists = true } }\nsend = '[${capture:k},${last:/s}]'";
    let mut bench = Bench::ready(text);
    assert_eq!(bench.hears(r#"{"k":"a","s":1}"#), [reply(r#"["a",1]"#)]);
    assert_eq!(bench.hears(r#"{"s":2}"#), []);
    assert_eq!(bench.hears(r#"{"k":{"deep":[]}}"#), [reply(r#"[{"deep":[]},2]"#)]);
    assert!(!bench.memory.captures().has("other"));
}

#[test]
fn binary_messages_are_searched_for_bytes() {
    let mut bench = Bench::ready("[[reply]]\nmatch = \"ping\"\nsend = \"pong\"");
    let hear = |bench: &mut Bench, bytes: &[u8]| {
        bench.with(|session, context| session.heard(context, Data::Binary(bytes))).1
    };
    assert_eq!(hear(&mut bench, b"a ping"), [reply("pong")]);
    assert_eq!(hear(&mut bench, b"\0\xffping\xff"), [reply("pong")]);
    assert_eq!(hear(&mut bench, b"\0\xffpin\xff"), []);
    let mut bench = Bench::ready("[[reply]]\nmatch = { \"/a\" = 1 }\nsend = \"pong\"");
    assert_eq!(hear(&mut bench, b"{\"a\":1}"), [reply("pong")]);
    assert_eq!(hear(&mut bench, b"{\"a\":1}\xff"), [], "JSON is UTF-8");
}

#[test]
fn an_empty_message_is_heard_and_answered_with_one() {
    let mut bench = Bench::ready("[[reply]]\nmatch = \"\"\nsend = \"\"");
    assert_eq!(bench.hears(""), [reply("")]);
    assert_eq!(bench.hears("x"), []);
}

#[test]
fn what_a_named_group_matched_is_captured_as_a_text() {
    let text = "[[capture]]\nregex = '(?s)^id: (?<id>[^\\n]+)\\n'\n\
                [[capture]]\nmatch = \"both\"\nregex = '\"(?<word>\\w+)\"'\nvalues = { number = \"/n\" }\n\
                [[script.step]]\nexpect = \"hi\"\ncapture_regex = '^hi (?<name>\\S+)(?: (?<more>\\S+))?'";
    let (mut bench, _) = Bench::started(text);
    assert_eq!(bench.hears("hi \"you\""), [Effect::Ready]);
    bench.hears("id: 1795476208:0\n\n{}");
    bench.hears(r#"{"both":"x","n":[1]}"#);
    let captures = bench.memory.captures();
    let kept = |name| captures.json(name);
    assert_eq!(kept("name"), Some(r#""\"you\"""#));
    assert_eq!(kept("more"), None, "a group that takes no part keeps nothing");
    assert_eq!(kept("id"), Some("\"1795476208:0\""));
    assert_eq!((kept("word"), kept("number")), (Some("\"both\""), Some("[1]")));
    let (mut bench, _) = Bench::started(text);
    let effects = bench.hears("oh hi");
    let (error, _) = failed(&effects);
    assert!(error.contains("has nothing that capture_regex"), "{error}");
}

#[test]
fn a_regular_expression_says_what_a_search_cannot() {
    let mut bench = Bench::ready(
        "[[reply]]\nmatch = { regex = '^#(\\d+)$' }\nsend = \"whole\"\n\
         [[reply]]\nmatch = { \"/t\" = { regex = '^a.*z$' } }\nsend = \"value\"",
    );
    assert_eq!(bench.hears("#12"), [reply("whole")]);
    assert_eq!(bench.hears("#12 "), []);
    assert_eq!(bench.hears(r#"{"t":"a\nz"}"#), []);
    assert_eq!(bench.hears(r#"{"t":"abz"}"#), [reply("value")]);
}

#[test]
fn a_message_may_make_the_connection_useless() {
    let text = "[[reconnect.rule]]\nmatch = [{ \"/op\" = 7 }, { \"/op\" = 9, \"/d\" = true }]\nthen = \"retry\"\n\
                [[reconnect.rule]]\nmatch = { \"/op\" = 9, \"/d\" = false }\nthen = \"forget\"\n\
                [[script.step]]\nexpect = \"hi\"\nreject = { \"/op\" = 7 }\non_fail = \"stop\"";
    let ready = || {
        let (mut bench, _) = Bench::started(text);
        assert_eq!(bench.hears("hi"), [Effect::Ready]);
        bench
    };
    assert_eq!(failed(&ready().hears(r#"{"op":7}"#)).1, Remedy::Retry);
    assert_eq!(failed(&ready().hears(r#"{"op":9,"d":true}"#)).1, Remedy::Retry);
    assert_eq!(failed(&ready().hears(r#"{"op":9,"d":false}"#)).1, Remedy::Forget);
    assert_eq!(ready().hears(r#"{"op":9}"#), []);
    let (mut bench, _) = Bench::started(text);
    assert_eq!(failed(&bench.hears(r#"{"op":7}"#)).1, Remedy::Stop, "a step's own word comes first");
    let (mut bench, _) = Bench::started(text);
    assert_eq!(
        failed(&bench.hears(r#"{"op":9,"d":false}"#)).1,
        Remedy::Forget,
        "the rules hold in the script"
    );
}

#[test]
fn the_server_announces_its_end() {
    let mut bench = Bench::ready("rotate.when = { \"/type\" = \"disconnect\" }");
    assert_eq!(bench.hears(r#"{"type":"trade"}"#), []);
    let why = "the server said /type = \"disconnect\"".to_owned();
    assert_eq!(bench.hears(r#"{"type":"disconnect"}"#), [Effect::Rotate { why }]);
}

/// A line of a conversation: what the server says, or that time passes.
fn any_line() -> impl Strategy<Value = String> {
    let value =
        || prop_oneof!["[0-9]{1,3}", Just("\"READY\"".to_owned()), Just("{\"session\":1}".to_owned())];
    let entry = ("op|t|d|s|id|n", value()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    let json = prop::collection::vec(entry, 0..4).prop_map(|entries| format!("{{{}}}", entries.join(",")));
    let hello = Just(r#"{"op":10,"d":{"interval":500}}"#.to_owned());
    prop_oneof![6 => json, 1 => hello, 1 => ".{0,8}", 1 => Just("pass".to_owned())]
}

proptest! {
    #[test]
    fn nothing_follows_a_failure_and_ready_comes_once(lines in prop::collection::vec(any_line(), 0..30)) {
        let more = "[[reply]]\nmatch = { \"/id\" = { exists = true } }\nsend = '${field:/id}'\n\
                    [sequence]\npointer = \"/n\"\non_hole = \"forget\"\n\
                    [[reconnect.rule]]\nmatch = { \"/op\" = 7 }\nthen = \"retry\"\n";
        let (mut bench, mut all) = Bench::started(&format!("{LOGIN}\n{more}"));
        for line in lines {
            all.extend(match line.as_str() {
                "pass" => bench.pass(S),
                line => bench.hear(line).1,
            });
        }
        let ready = all.iter().filter(|effect| **effect == Effect::Ready).count();
        prop_assert!(ready <= 1);
        prop_assert_eq!(ready == 1 && !matches!(all.last(), Some(Effect::Failed { .. })), bench.session.is_ready());
        let failure = all.iter().position(|effect| matches!(effect, Effect::Failed { .. }));
        if let Some(at) = failure {
            prop_assert_eq!(at, all.len() - 1, "{:?}", all);
        }
    }
}

#[test]
fn a_wait_is_told_as_it_was_meant() {
    for (waited, told) in [(9_998, "10s"), (10_003, "10s"), (1_949, "1s900ms"), (999, "1s"), (87, "87ms")] {
        assert_eq!(format_duration(round(Duration::from_millis(waited))), told, "{waited}");
    }
}
