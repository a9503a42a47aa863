//! The configuration of what a server wants to hear: what is refused, in which words, and the examples of
//! `docs/servers.md` and `docs/recipes.md`.

use std::{process::Command, time::Duration};

use wsfan::config::{Excess, HeartbeatKind, OnHole, Placeholder, Remedy, Say, Template, Var, Window};

use crate::common::config::{parse, refused, with};

const PAGE: &str = include_str!("../../docs/servers.md");
const RECIPES: &str = include_str!("../../docs/recipes.md");

/// A page's examples, each of which is valid.
fn examples(page: &str) -> Vec<&str> {
    let examples: Vec<_> = page
        .split("<!-- example -->\n```toml\n")
        .skip(1)
        .map(|after| after.split_once("```").expect("an example ends").0)
        .collect();
    assert_eq!(examples.len(), page.matches("```toml").count(), "an example that isn't marked");
    assert!(examples.len() >= 5);
    for example in &examples {
        assert_eq!(parse(example).err(), None, "{example}");
    }
    examples
}

#[test]
fn the_pages_examples_are_valid() {
    examples(PAGE);
}

/// And `wsfan check` says so, also of what it has profiles for.
#[test]
fn the_recipes_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wsfan.toml");
    for recipe in examples(RECIPES) {
        std::fs::write(&file, recipe).unwrap();
        let check =
            Command::new(env!("CARGO_BIN_EXE_wsfan")).arg("check").arg("-c").arg(&file).output().unwrap();
        let said = [check.stdout, check.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(check.status.success() && said.contains(": OK"), "{said}\n{recipe}");
    }
}

#[test]
fn a_variable_that_nothing_uses_is_refused() {
    refused(&[
        (
            "[vars]\ntoken = \"a\"",
            "line 3: vars.token is used nowhere: use it as `${var:token}`, or leave it out",
        ),
        (
            "[vars]\ntoken = \"a\"\ntokn = \"b\"\n[[script.step]]\nsend = \"${var:token}\"",
            "line 4: vars.tokn is used nowhere: those that are used are \"token\"; use it as `${var:tokn}`, or leave it out",
        ),
    ]);
    let error = parse("profile = \"graphql-ws\"\nupstream.url = \"wss://a\"\nvars.subscibe = { id = \"1\" }");
    assert!(error.unwrap_err().starts_with("line 3: vars.subscibe is used nowhere"));
    for used in [
        "upstream.proxy = \"http://${var:a}:p@h\"",
        "upstream.headers.A = \"${var:a}\"",
        "[[script.step]]\nif_var = \"a\"\nsend = \"x\"",
        "[command.c]\nrun = [\"/bin/c\"]\nstdin = \"${var:a}\"",
        "heartbeat = { kind = \"message\", message = \"${var:a}\" }",
    ] {
        assert_eq!(with(&format!("vars.a = \"1\"\n{used}")).err(), None, "{used}");
    }
}

#[test]
fn the_page_names_every_profile() {
    let refusal = parse("profile = \"none such\"").unwrap_err();
    let line = refusal.lines().find(|line| line.contains("profile is")).expect("the refusal");
    let (_, names) = line.split_once("write ").expect("a list of them");
    let names: Vec<&str> = names.split('"').skip(1).step_by(2).filter(|name| !name.is_empty()).collect();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        assert!(PAGE.contains(&format!("[`{name}`](../config/profiles/{name}.toml)")), "{name}");
    }
}

#[test]
fn scripts() {
    refused(&[
        (
            "[[script.step]]\nname = \"x\"",
            "line 2: script.step[0].send is missing, and so is `expect`: write at least one of them",
        ),
        (
            "[[script.step]]\nsend = \"a\"\nreject = \"b\"",
            "line 4: script.step[0].reject only goes with `expect` in the same step: write what is expected, too",
        ),
        (
            "[[script.step]]\nexpect = \"a\"\nreject = [\"b\", \"a\"]",
            "line 4: script.step[0].reject is the same as `expect`, so that nothing would be expected: take one out",
        ),
        (
            "[[script.step]]\nsend = \"a\"\nsend_binary = \"AA==\"",
            "line 4: script.step[0].send_binary is there beside `send`: write one of them, and another step for the other",
        ),
        (
            "[[script.step]]\nexpect = \"a\"\ncapture_regex = '(a)'",
            "line 4: script.step[0].capture_regex has no named group, so that nothing would be kept: write such as `(?<id>[^ ]+)`",
        ),
        (
            "[[script.step]]\nexpect = \"a\"\ncapture_regex = '(?<a.b>x)'",
            "line 4: script.step[0].capture_regex names \"a.b\": write a name of letters, digits, `_` and `-`",
        ),
        (
            "[[script.step]]\nexpect = \"a\"\ncapture = { \"a b\" = \"/a\", c = \"c\" }",
            "line 4: script.step[0].capture.\"a b\" has the name \"a b\": write letters, digits, `_` and `-`\n\
             line 4: script.step[0].capture.c is no JSON pointer: write one such as \"/type\", or \"\" for the whole",
        ),
        (
            "[[script.step]]\nsend = \"a\"\nif_captured = \"x\"",
            "line 4: script.step[0].if_captured is \"x\", which is captured nowhere: write `capture = { … }` in a step of the script, or a [[capture]]",
        ),
        (
            "[[script.step]]\nsend = \"a\"\nif_var = [\"x\"]",
            "line 4: script.step[0].if_var[0] is \"x\", which is not in [vars]: write vars.x = \"…\"",
        ),
        (
            "[[script.step]]\nsend = \"a\"\non_fail = \"after\"",
            "line 4: script.step[0].on_fail is \"after\": write \"retry\", \"stop\", \"refresh\" or \"forget\"",
        ),
        (
            "[[script.step]]\nexpect = \"a\"\nreject = [{ match = \"b\", then = \"after\" }, { match = \"c\" }]",
            "line 4: script.step[0].reject[0].delay is missing: write after how long, such as delay = \"5s\"\n\
             line 4: script.step[0].reject[1].then is missing: write \"again\", \"retry\", \"after\", \"refresh\", \"forget\" or \"stop\"",
        ),
        (
            "script.step = 1",
            "line 2: script.step is an integer: write [[script.step]], with two brackets each",
        ),
        (
            "[script]\nsend = \"a\"",
            "line 3: unknown key `script.send`: it belongs to a step: write [[script.step]], and the key below it",
        ),
    ]);
    let found = with("[[script.step]]\nsend_binary = \"AA=\"").unwrap_err();
    assert!(found.contains("is no base64 with padding"), "{found}");
    let config = with(
        "[[script.then]]\nsend = \"last\"\n[[script.step]]\nname = \"first\"\nexpect = [\"a\", { \"/b\" = 1 }]\ntimeout = \"1s\"\n",
    );
    let steps = config.unwrap().terms.script.steps;
    assert_eq!(steps[0].name, "first");
    assert_eq!(steps[0].timeout, Some(Duration::from_secs(1)));
    assert_eq!((steps[1].name.as_str(), steps[1].on_fail), ("step 2", Remedy::Retry));
    assert_eq!(steps[1].send, Some(Say::Text(Template::literal("last"))));
    let config = with(
        "[[script.then]]\nexpect = \"a\"\ncapture = { s = \"/s\" }\n[[script.then]]\nsend = '{\"s\":${capture:s}}'",
    );
    assert_eq!(config.map(|config| config.terms.script.steps.len()), Ok(2), "what it captures may be used");
}

#[test]
fn templates() {
    let step = |send: &str| format!("[[script.step]]\nsend = '{send}'");
    let at = |what: &str| format!("line 3: script.step[0].send {what}");
    for (send, what) in [
        ("${var:x}", "has `${var:x}`, which is not in [vars]: write vars.x = \"…\""),
        ("${command:x}", "has `${command:x}`, which is no command: write [command.x] with what to run"),
        (
            "${field:/x}",
            "has `${field:/x}`, which is of the message that a step before has expected, and none has: write it in a later step",
        ),
        ("{\"a\":${env:X}}", "has `${env:X}`, which is text that stands bare in JSON: put quotes around it"),
        (
            "{\"a\":${uuid}",
            "can't be read: it begins as JSON, but isn't (EOF while parsing an object at line 1 column 6): write JSON, a placeholder in the place of a value or within a string",
        ),
        (
            "{\"a\":1${now_s}}",
            "can't be read: `${now_s}` stands beside another part of its value: put quotes around both",
        ),
        (
            "${last:s}",
            "can't be read: `${last:s}` is no JSON pointer: write one such as \"/type\", or \"\" for the whole",
        ),
    ] {
        assert_eq!(with(&step(send)).unwrap_err(), at(what), "{send}");
    }
    refused(&[
        (
            "[vars]\na = \"${var:b}\"\nb = \"1\"",
            "line 3: vars.a has `${var:b}`, which is another variable: write what that one is",
        ),
        (
            "[vars]\na = { b = [\"${uuid}\"] }",
            "line 3: vars.a has `${uuid}`, which has another value at each use: write it where it is used",
        ),
        ("[vars]\na = 1979-05-27", "line 3: vars.a is a date or time: write text, or what JSON has too"),
        (
            "[vars]\n\"a b\" = 1",
            "line 3: vars.\"a b\" has the name \"a b\": write letters, digits, `_` and `-`",
        ),
        (
            "upstream.headers.A = \"${capture:x}\"",
            "line 2: upstream.headers.A has `${capture:x}`, which is there only once the server has spoken: it goes in messages and in upstream.resume_url",
        ),
        (
            "upstream.headers.A = \"${next_id}\"",
            "line 2: upstream.headers.A has `${next_id}`, which goes in messages only",
        ),
        (
            "upstream.resume_url = \"ws://b/\"",
            "line 2: upstream.resume_url has no `${capture:NAME}`, so that it would always be used: write it in upstream.url",
        ),
        (
            "[vars]\na = \"1\"\n[[script.step]]\nsend = '[${var:a}]'",
            "line 5: script.step[0].send has `${var:a}`, which is text that stands bare in JSON: put quotes around it, or give the variable a number, true or false, a list or a table",
        ),
        (
            "[command.a]\nrun = [\"/a\"]\n[[script.step]]\nsend = '[${command:a}]'",
            "line 5: script.step[0].send has `${command:a}`, which is text that stands bare in JSON: put quotes around it, or name a value of its output, such as `${command:NAME/pointer}`",
        ),
        (
            "[command.a]\nrun = [\"/a\"]\nstdin = \"${var:v}\"\n[vars]\nv = [\"${command:a}\"]",
            "line 4: command.a.stdin has `${var:v}`, which runs a command itself: write here what needs none",
        ),
    ]);
    let used = "[[script.step]]\nsend = '[${var:n},${var:list},\"${var:empty}\"]'";
    let vars = "[vars]\nn = 5\nlist = [\"a\", { b = \"${env:X}\" }]\nempty = \"\"";
    let config = with(&format!("{vars}\n{used}")).unwrap();
    let vars = config.terms.vars;
    assert_eq!(vars["n"], Var::Json(Template::literal("5")));
    assert!(vars["n"].is_set() && !vars["empty"].is_set());
    let Var::Json(list) = &vars["list"] else { panic!() };
    assert_eq!(list.to_string(), r#"["a",{"b":"${env:X}"}]"#);
    let found: Vec<_> = list.placeholders().map(|(placeholder, _)| placeholder.clone()).collect();
    assert_eq!(found, [Placeholder::Env("X".into())]);
}

#[test]
fn patterns() {
    let rotate = |when: &str| format!("rotate.when = {when}");
    for (when, what) in [
        ("{ regex = \"\" }", ".regex is empty, which every message would match: write an expression"),
        ("[]", " is a list of 0, but one of 1 to 256 can match"),
        ("{ \"/a\" = [] }", ".\"/a\" is a list of 0, but one of 1 to 256 can match"),
        (
            "{ \"/a\" = 1, \"/a/b\" = 2 }",
            ".\"/a/b\" can't hold together with \"/a\": one leads into what the other says is no object or list",
        ),
        ("{ \"/a\" = { exists = 1 } }", ".\"/a\".exists is an integer: write true or false"),
        (
            "{ \"/a\" = { } }",
            ".\"/a\" is a table without exactly one of its keys: write { exists = true }, { matches = \"text\" } or { regex = '…' }",
        ),
        (
            "{ \"/a\" = { matches = \"\" } }",
            ".\"/a\" is empty: write a text that is in the value, or { exists = true }",
        ),
        ("{ \"/~\" = 1 }", ".\"/~\" is no JSON pointer: write ~0 for `~`, and ~1 for a `/` in a key"),
    ] {
        assert_eq!(with(&rotate(when)).unwrap_err(), format!("line 2: rotate.when{what}"), "{when}");
    }
    for when in [
        "{ \"/a\" = { exists = true }, \"/a/b\" = 2 }",
        "{ \"/a\" = 1, \"/a/b\" = { exists = false } }",
        "[\"a\", { \"/b\" = [1, \"x\", true] }]",
    ] {
        assert_eq!(with(&rotate(when)).err(), None, "{when}");
    }
}

#[test]
fn rules_limits_and_the_rest() {
    refused(&[
        (
            "[[reconnect.rule]]\ncodes = [\"4000-4010\"]\nthen = \"stop\"\n[[reconnect.rule]]\ncodes = 4005\nthen = \"retry\"",
            "line 6: reconnect.rule[1].codes is covered by reconnect.rule[0].codes[0] on line 3 already: write each number once",
        ),
        (
            "[[reconnect.rule]]\ncodes = [\"4010-4000\", 999]\nthen = \"stop\"",
            "line 3: reconnect.rule[0].codes[0] is \"4010-4000\": write a number from 1000 to 4999, or a range such as \"1000-4999\"\n\
             line 3: reconnect.rule[0].codes[1] is 999: write a whole number from 1000 to 4999",
        ),
        (
            "[[reconnect.rule]]\nstatuses = [101]\nthen = \"stop\"",
            "line 3: reconnect.rule[0].statuses[0] is 101: write a whole number from 200 to 599",
        ),
        (
            "[[reconnect.rule]]\nthen = \"stop\"\ndelay = \"1s\"",
            "line 4: reconnect.rule[0].delay only goes with then = \"after\": change that, or leave it out",
        ),
        (
            "[[reconnect.rule]]\nthen = \"stop\"",
            "line 2: reconnect.rule[0].codes is missing, and so are `statuses` and `match`: write at least one of them",
        ),
        (
            "limits = { messages = [\"5/1s\", \"120/60s\"], reserve = 120 }",
            "line 2: limits.reserve is 120, which leaves nothing of 120/1m for clients: write less than 120",
        ),
        (
            "limits.messages = [\"5\"]",
            "line 2: limits.messages[0] is \"5\": write a number from 1 to 100000, a slash and a time of 1ms to 1d, such as \"120/60s\"",
        ),
        (
            "[sequence]\npointer = \"/n\"\nfrom = \"/a\"\nprevious = \"/b\"",
            "line 5: sequence.previous is there beside `from`: write one of them",
        ),
        (
            "[sequence]\npointer = \"/n\"\nfrom = \"/n\"",
            "line 4: sequence.from is the same as sequence.pointer: write where the message's numbers begin, or leave it out",
        ),
        (
            "[sequence]\npointer = \"/n\"\nfirst = { pointer = \"/s\" }",
            "line 4: sequence.first.match is missing: write which messages set the count, such as { \"/type\" = \"snapshot\" }",
        ),
        (
            "[sequence]\npointer = \"/n\"\nfirst = { match = \"a\", per = \"/s\" }",
            "line 4: sequence.first.per only goes with sequence.per: write there what the numbers are counted for",
        ),
        ("[sequence]\npointer = \"/n\"\nfirst = \"/s\"", "line 4: sequence.first is text: write a table"),
        (
            "[sequence]\npointer = \"/n\"\nsend = \"${hole:size}\"",
            "line 4: sequence.send can't be read: `${hole:size}` is no end of a hole: write `${hole:from}` or `${hole:to}`",
        ),
        (
            "[[reply]]\nmatch = \"a\"\nsend = \"${hole:from}\"",
            "line 4: reply[0].send has `${hole:from}`, which is a number that the server's count lacks: it goes in sequence.send only",
        ),
        (
            "[[script.step]]\nsend = \"${hole:to}\"",
            "line 3: script.step[0].send has `${hole:to}`, which is a number that the server's count lacks: it goes in sequence.send only",
        ),
        (
            "[vars]\na = \"${hole:to}\"",
            "line 3: vars.a has `${hole:to}`, which is a number that the server's count lacks: it goes in sequence.send only",
        ),
        (
            "[derived.a]\nof = \"${hole:to}\"\n[sequence]\npointer = \"/n\"\nsend = \"${derived:a}\"",
            "line 3: derived.a.of has `${hole:to}`, which is a number that the server's count lacks: it goes in sequence.send only",
        ),
        (
            "[sequence]\nper = \"/a\"",
            "line 2: sequence.pointer is missing: write where the number is, such as \"/seq\"",
        ),
        (
            "command.a.run = [\"sign\"]",
            "line 2: command.a.run begins with \"sign\": write the program's path, which starts with `/`",
        ),
        ("[command.a]", "line 2: command.a.run is missing: write run = [\"/path/to/program\", \"argument\"]"),
        (
            "upstream.url_command = { run = [\"/a\"] }",
            "line 2: upstream.url_command is there beside upstream.url: take one of them out",
        ),
        ("[[reply]]\nsend = \"a\"", "line 2: reply[0].match is missing: write which messages are answered"),
        (
            "[[capture]]\nmatch = \"a\"",
            "line 2: capture[0].values is missing: write a name and a pointer, such as { id = \"/d/id\" }, or a `regex` with named groups",
        ),
        (
            "upstream.compression = { server_max_window_bits = 8 }",
            "line 2: upstream.compression.server_max_window_bits is 8: write a whole number from 9 to 15",
        ),
    ]);
    let config = with(
        "limits = { messages = [\"5/1s\", \"120/60s\"], excess = \"refuse\" }\n\
         sequence = { pointer = \"/n\", on_hole = \"forget\" }\nupstream.compression = true\n\
         rotate = { after = \"1h\" }\nheartbeat.close_code = 4000",
    )
    .unwrap();
    let limits = config.terms.limits;
    assert_eq!(limits.tightest(), Some(Window { count: 120, per: Duration::from_secs(60) }));
    assert_eq!((limits.reserve, limits.excess), (12, Excess::Refuse));
    assert_eq!(config.terms.sequence.unwrap().on_hole, OnHole::Forget);
    assert!(config.upstream.compression.is_some());
    assert_eq!(with("sequence = \"off\"").unwrap().terms.sequence, None);
    let lines = "heartbeat = { kind = \"message\", interval = \"${capture:i}\", message = \"${last:/s}\" }\n\
                 [[capture]]\nmatch = \"a\"\nvalues = { i = \"/i\" }";
    let heartbeat = with(lines).unwrap().heartbeat;
    assert_eq!(heartbeat.interval_from.unwrap().unit, Duration::from_millis(1));
    assert!(matches!(heartbeat.kind, HeartbeatKind::Message { .. }));
}
