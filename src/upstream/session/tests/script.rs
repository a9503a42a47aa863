//! The script, step by step.

use super::*;

#[test]
fn a_connection_without_a_script_is_ready_at_once() {
    let bench = Bench::ready("");
    assert!(!bench.session.wants_messages() && bench.session.is_ready());
    assert_eq!(bench.session.next_timeout(), None);
}

#[test]
fn a_script_is_said_and_heard_step_by_step() {
    let (mut bench, effects) = Bench::started(LOGIN);
    assert_eq!(effects, []);
    assert!(bench.session.wants_messages() && !bench.session.is_ready());
    assert_eq!(bench.session.next_timeout(), Some(bench.now + 2 * S));
    assert_eq!(bench.hears("not JSON, and nothing of ours"), []);
    assert_eq!(
        bench.hears(r#"{"op":10,"d":{"interval":41250}}"#),
        [Effect::BeatInterval(Duration::from_millis(41_250)), said(r#"{"op":2,"token":"TOKEN-\"1\""}"#),]
    );
    assert_eq!(bench.session.next_timeout(), Some(bench.now + 10 * S));
    assert_eq!(bench.hears(r#"{"op":0,"t":"OTHER","s":1}"#), []);
    let (publish, effects) = bench.hear(r#"{"op":0,"t":"READY","s":2,"d":{"session":"x\u0041"}}"#);
    assert_eq!((publish, effects), (Publish::No, vec![Effect::Ready]));
    assert_eq!(bench.session.next_timeout(), None);
    assert_eq!(bench.beat(), Ok(Payload::Text(r#"{"op":1,"d":2}"#.into())));
    assert_eq!(bench.hears(r#"{"op":11,"s":null}"#), [Effect::HeartbeatAnswered]);
    assert_eq!(bench.beat(), Ok(Payload::Text(r#"{"op":1,"d":2}"#.into())), "null is no value");
}

#[test]
fn a_script_that_is_followed_says_how_it_goes() {
    let mut bench = Bench::new(LOGIN);
    bench.session.follow();
    let effects = bench.with(|session, context| session.start(context)).1;
    assert_eq!(effects, [Effect::Script(Mark::Begins(0))]);
    let effects = bench.hears(r#"{"op":10,"d":{"interval":1000}}"#);
    let marks = [Mark::Met(0), Mark::Skips(1), Mark::Begins(2)].map(Effect::Script);
    let effects: Vec<_> =
        effects.iter().filter(|effect| !matches!(effect, Effect::BeatInterval(_))).collect();
    assert_eq!(effects[..3], marks.iter().collect::<Vec<_>>());
    assert!(matches!(effects[3], Effect::Send(..)), "{effects:?}");
    let effects = bench.hear(r#"{"t":"READY","d":{"session":"s"}}"#).1;
    assert_eq!(effects, [Effect::Script(Mark::Met(2)), Effect::Ready]);
    let told = bench.session.told(2).unwrap();
    assert_eq!(told.name, "identify");
    assert_eq!(told.sent.as_deref(), Some(r#"{"op":2,"token":"${env:TOKEN}"}"#), "never the token");
    assert_eq!(bench.session.told(3), None);
}

#[test]
fn what_was_captured_is_there_on_the_next_connection() {
    let (mut bench, _) = Bench::started(LOGIN);
    bench.hear(r#"{"op":10,"d":{"interval":"500"}}"#);
    bench.hear(r#"{"t":"READY","s":7,"d":{"session":"x"}}"#);
    assert_eq!(bench.again(), [Effect::BeatInterval(S / 2)]);
    let effects = bench.hears(r#"{"op":10,"d":{"interval":1}}"#);
    let least = Duration::from_millis(100);
    assert_eq!(
        effects,
        [Effect::BeatInterval(least), said(r#"{"op":6,"session":"x","seq":7}"#)],
        "no interval is shorter"
    );
    // the step after the one that was taken isn't for who has a session
    assert_eq!(bench.hears(r#"{"t":"RESUMED"}"#), [Effect::Ready]);
    bench.again();
    bench.hear(r#"{"op":10,"d":{"interval":1}}"#);
    let effects = bench.hears(r#"{"op":9,"d":"SECRET TOKEN-\"1\" is bad"}"#);
    assert_eq!(failed(&effects).1, Remedy::Forget);
    bench.memory.forget();
    assert_eq!(bench.again(), []);
    let effects = bench.hears(r#"{"op":10,"d":{"interval":100}}"#);
    assert!(matches!(&effects[1], Effect::Send(draft, _) if draft.text().contains("\"op\":2")));
}

#[test]
fn a_rejection_leads_to_what_it_says() {
    for (message, then) in [
        (r#"{"op":9}"#, Remedy::Stop),
        (r#"{"op":9,"wait":1500}"#, Remedy::After(S * 3 / 2)),
        (r#"{"op":9,"wait":"250"}"#, Remedy::After(S / 4)),
        (r#"{"op":9,"wait":0}"#, Remedy::Retry),
        (r#"{"op":9,"wait":"soon"}"#, Remedy::Retry),
        (r#"{"op":9,"wait":-1}"#, Remedy::Retry),
        (r#"{"op":9,"wait":1e300}"#, Remedy::Retry),
    ] {
        let (mut bench, _) = Bench::started(LOGIN);
        bench.hear(r#"{"op":10,"d":{"interval":500}}"#);
        let (publish, effects) = bench.hear(message);
        assert_eq!((publish, failed(&effects).1), (Publish::No, then), "{message}");
        assert_eq!(
            failed(&effects).0,
            "the script's step \"identify\" failed: the server refused, in words that publish = false keeps back"
        );
        let late = bench.hear(r#"{"t":"READY","d":{"session":1}}"#);
        assert_eq!(late, (Publish::No, vec![]), "nothing follows, and it is kept back");
    }
}

#[test]
fn a_refusal_does_not_repeat_a_secret() {
    let text = "[[script.step]]\nsend = '${env:PLAIN}'\nexpect = 'ok'\nreject = 'bad'";
    let mut bench = Bench::new(text);
    let secret = (Placeholder::Env("PLAIN".into()), Ok(Value::Text("hunter2".into())));
    let secrets = [secret].into_iter().collect();
    bench.session = Session::new(Rc::clone(&bench.rules), secrets, bench.now, bench.now + S);
    bench.with(|session, context| session.start(context));
    let effects = bench.hears("bad password: hunter2\nline");
    assert_eq!(
        failed(&effects).0,
        "the script's step \"step 1\" failed: the server refused: bad password: … line"
    );
}

#[test]
fn a_refusal_that_is_no_text_is_told_by_its_bytes() {
    let text =
        "[[script.step]]\nsend_binary = 'EAA='\nexpect = \" \\u0002\\u0000\\u0000\"\nreject = \" \\u0002\"";
    let (mut bench, _) = Bench::started(text);
    let (publish, effects) =
        bench.with(|session, context| session.heard(context, Data::Binary(&[0x20, 2, 0, 5])));
    assert_eq!(publish, Publish::Yes);
    assert_eq!(
        failed(&effects).0,
        "the script's step \"step 1\" failed: the server refused: the bytes [20 02 00 05]"
    );
}

#[test]
fn a_step_that_waits_in_vain_fails_by_name() {
    let (mut bench, _) = Bench::started(LOGIN);
    assert_eq!(bench.pass(S), []);
    let effects = bench.pass(S);
    assert_eq!(
        failed(&effects),
        (
            "the script's step \"hello\" failed: nothing that was expected came within 2s: /op = 10",
            Remedy::Retry
        )
    );
    assert_eq!(bench.pass(S), []);

    let (mut bench, _) = Bench::started(LOGIN);
    bench.pass(S);
    bench.hear(r#"{"op":10,"d":{"interval":500}}"#);
    let effects = bench.pass(9 * S);
    assert_eq!(
        failed(&effects),
        (
            "the script's step \"identify\" failed: nothing that was expected came within 9s, \
             by upstream.connect_timeout: /t = \"READY\"",
            Remedy::Stop
        )
    );
}

#[test]
fn steps_depend_on_variables() {
    let steps = "[[script.step]]\nif_var = [\"a\", \"b\"]\nsend = \"ab\"\n\
                 [[script.step]]\nunless_var = \"b\"\nsend = \"not b\"\n\
                 [[script.step]]\nif_var = \"n\"\nsend_binary = \"AAE=\"\n\
                 [[script.then]]\nsend = \"${next_id} ${next_id} ${now_s} ${now_ms}\"\n";
    let ends = || said("1 2 1700000000 1700000000123");
    let with = |vars: &str| Bench::started(&format!("[vars]\n{vars}\n{steps}")).1;
    assert_eq!(
        with("a = \"x\"\nb = \"${env:A}\"\nn = 0"),
        [
            said("ab"),
            Effect::Send(Payload::Binary(vec![0, 1]).into(), Purpose::Script),
            ends(),
            Effect::Ready
        ]
    );
    let (a, b) = ("a = \"x\"\nb = \"\"\nn = \"\"", "a = \"\"\nb = \"\"\nn = \"\"");
    assert_eq!(with(a), [said("not b"), ends(), Effect::Ready]);
    assert_eq!(with(b), [said("not b"), ends(), Effect::Ready]);
}
