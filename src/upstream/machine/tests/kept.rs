use super::*;
use crate::upstream::session::kept::Kept;

const COMMAND: &str = "[command.kernel]\nrun = [\"/bin/kernel\"]\nkeep = true\n\
                       [[reply]]\nmatch = \"never\"\nsend = \"${command:kernel}\"\n";

fn kept_by(bench: &Bench, slot: Slot, settings: &Settings) -> Option<String> {
    let terms = &settings.terms;
    bench.machine.kept(slot).get("kernel", &terms.commands["kernel"], terms)
}

/// As an attempt does, once its command has printed this.
fn keep(kept: &Kept, settings: &Settings, printed: &str) {
    kept.put("kernel", &settings.terms.commands["kernel"], &settings.terms, printed);
}

/// Until the next attempt is under way.
fn again(bench: &mut Bench) {
    bench.tell(Input::Open);
    bench.pass(60 * S);
}

#[test]
fn what_is_run_once_stays_until_something_says_refresh_or_forget() {
    let not_found = || Failure { http_status: Some(404), ..Failure::attempt("no such kernel") };
    for (then, stays) in [
        ("\"retry\"", true),
        ("\"after\"\ndelay = \"5s\"", true),
        ("\"stop\"", true),
        ("\"refresh\"", false),
        ("\"forget\"", false),
    ] {
        let rule = format!("[[reconnect.rule]]\nstatuses = [404]\nthen = {then}\n");
        let settings = Settings::parse(&format!("upstream.url = \"ws://a/\"\n{COMMAND}{rule}"));
        let mut bench = Bench::new(settings.clone());
        bench.tell(Input::Start);
        keep(&bench.machine.kept(Slot::A), &settings, "1");
        bench.tell(refused());
        assert_eq!(kept_by(&bench, Slot::A, &settings).as_deref(), Some("1"), "no rule is about it");
        again(&mut bench);
        bench.tell(refused_with(not_found()));
        again(&mut bench);
        assert_eq!(kept_by(&bench, Slot::A, &settings).is_some(), stays, "{then}");
        // what an attempt that was given up prints later is nobody's
        let late = bench.machine.kept(Slot::A);
        keep(&late, &settings, "2");
        bench.tell(refused_with(not_found()));
        again(&mut bench);
        keep(&late, &settings, "3");
        assert_eq!(kept_by(&bench, Slot::A, &settings).as_deref(), stays.then_some("3"), "{then}");
    }
}

#[test]
fn a_step_or_a_hole_that_says_forget_is_about_it_too_and_another_server_is_not() {
    let script = "[[script.step]]\nexpect = \"ok\"\nreject = \"gone\"\non_fail = \"forget\"\n\
                  [sequence]\npointer = \"/s\"\non_hole = \"forget\"\n";
    let text = format!("upstream.url = \"ws://a/\"\n{COMMAND}{script}");
    let settings = Settings::parse(&text);
    for (heard, stays) in
        [(&["gone"][..], false), (&["ok", r#"{"s":1}"#, r#"{"s":9}"#], false), (&["ok"], true)]
    {
        let mut bench = Bench::up(settings.clone());
        keep(&bench.machine.kept(Slot::A), &settings, "1");
        for text in heard {
            bench.machine.hear(bench.now, Slot::A, Data::Text(text));
        }
        bench.tell(gone());
        bench.pass(60 * S);
        assert_eq!(kept_by(&bench, Slot::A, &settings).is_some(), stays, "{heard:?}");
    }
    let mut bench = Bench::up(settings.clone());
    keep(&bench.machine.kept(Slot::A), &settings, "1");
    let other = Settings::parse(&text.replace("ws://a/", "ws://b/"));
    bench.tell(Input::Settings(Box::new(other.clone())));
    bench.tell(gone());
    assert_eq!(kept_by(&bench, Slot::A, &other).as_deref(), Some("1"), "it is run by the same");
    let past = bench.machine.leave();
    let mut next = Bench::new(other.clone());
    next.machine.go_on_from(past);
    next.tell(Input::Start);
    assert_eq!(kept_by(&next, Slot::A, &other).as_deref(), Some("1"), "also by the next link");
}

#[test]
fn the_next_connection_of_a_rotation_has_the_same_and_what_it_refuses_is_made_anew_once() {
    let settings = Settings::parse(&format!(
        "upstream.url = \"ws://a/\"\nrotate.after = \"600s\"\nheartbeat.kind = \"off\"\n{COMMAND}\
         [[script.step]]\nexpect = \"ok\"\nreject = \"gone\"\non_fail = \"forget\"\n"
    ));
    let hear = |bench: &mut Bench, slot, text| bench.machine.hear(bench.now, slot, Data::Text(text));
    let mut bench = Bench::up(settings.clone());
    keep(&bench.machine.kept(Slot::A), &settings, "1");
    hear(&mut bench, Slot::A, "ok");
    assert_eq!(connects(&bench.pass(600 * S)), 1);
    assert_eq!(kept_by(&bench, Slot::B, &settings).as_deref(), Some("1"));
    bench.tell(connected_on(Slot::B));
    hear(&mut bench, Slot::B, "gone");

    assert_eq!(connects(&bench.pass(60 * S)), 1);
    assert_eq!(kept_by(&bench, Slot::B, &settings), None);
    keep(&bench.machine.kept(Slot::B), &settings, "2");
    let refused = Input::ConnectFailed { slot: Slot::B, failure: Failure::attempt("connection refused") };
    bench.tell(refused);
    assert_eq!(connects(&bench.pass(60 * S)), 1);
    assert_eq!(kept_by(&bench, Slot::B, &settings).as_deref(), Some("2"), "it was forgotten once");
    bench.tell(connected_on(Slot::B));
    hear(&mut bench, Slot::B, "ok");
    bench.tell(gone_from(Slot::A));
    bench.tell(gone_from(Slot::B));
    bench.until_attempt();
    assert_eq!(kept_by(&bench, Slot::A, &settings).as_deref(), Some("2"));
}
