use std::fmt::Write as _;

use crate::config::{Config, language::environment::Environment};

/// What is said of a file in which so many names of each kind aren't used, and as many that are used aren't there.
fn problems(names: usize) -> Vec<String> {
    let mut text = "[upstream]\nurl = \"ws://a/\"\n[vars]\n".to_owned();
    for at in 0..names {
        let _ = writeln!(text, "v{at} = \"x\"\nw{at} = \"${{command:none{at}}}\"");
    }
    for at in 0..names {
        let _ = writeln!(text, "[command.c{at}]\nrun = [\"/bin/true\"]");
    }
    for at in 0..names {
        let _ = writeln!(
            text,
            "[[capture]]\nmatch = {{ \"/a\" = 1 }}\nvalues = {{ k{at} = \"/a\" }}\n\
             [[reply]]\nmatch = {{ \"/a\" = {at} }}\nsend = \"${{var:none{at}}}\"\n\
             [[reply]]\nmatch = {{ \"/b\" = {at} }}\nsend = \"${{capture:none{at}}}\""
        );
    }
    said(&text)
}

fn said(text: &str) -> Vec<String> {
    let invalid = Config::parse(text, &Environment::fixed([])).unwrap_err();
    invalid.problems().iter().map(|problem| problem.sentence.clone()).collect()
}

#[test]
fn a_derived_value_may_be_made_of_others_but_not_of_itself() {
    let said_of = |derived: &str, send: &str| {
        said(&format!(
            "[upstream]\nurl = \"ws://a/\"\n{derived}\n[[script.step]]\nsend = '{send}'\n\
                       [[capture]]\nmatch = \"x\"\nvalues = {{ salt = \"/s\" }}"
        ))
    };
    for (derived, send, sentence) in [
        (
            "[derived.a]\nof = \"${derived:b}\"\n[derived.b]\nof = \"${derived:a}\"",
            "${derived:a}",
            "derived.a is made of itself, by way of others: break the circle",
        ),
        (
            "[derived.a]\nof = \"x\"",
            "${derived:b}",
            "script.step[0].send has `${derived:b}`, which is not in [derived]",
        ),
        ("[derived.a]\nof = \"x\"", r#"{"a":${derived:a}}"#, "is text that stands bare in JSON"),
        ("[derived.a]\nof = \"${next_id}\"", "${derived:a}", "is known only when the message goes out"),
        (
            "[derived.a]\nof = \"${field:/x}\"",
            "${derived:a}",
            "`${field:/x}`, which is of the message that a step before has expected",
        ),
        ("[derived.a]\nof = \"${var:v}\"", "${derived:a}", "`${var:v}`, which is not in [vars]"),
        (
            "[derived.a]\nof = \"x\"\nhash = \"md5\"",
            "${derived:a}",
            "derived.a.hash is \"md5\": write \"sha256\"",
        ),
        ("[derived.a]\nof = \"x\"\nhash = \"hmac_sha256\"", "${derived:a}", "derived.a.key is missing"),
        (
            "[derived.a]\nof = \"x\"\nhash = \"sha256\"\nkey = \"k\"",
            "${derived:a}",
            "derived.a.key only goes with",
        ),
        (
            "[derived.a]\nof = \"x\"\nhash = \"sha256\"\nas = \"text\"",
            "${derived:a}",
            "derived.a.as is \"text\"",
        ),
        ("[derived.a]\nhash = \"sha256\"", "${derived:a}", "derived.a.of is missing"),
    ] {
        let all = said_of(derived, send);
        assert!(all[0].contains(sentence), "{derived}: {all:?}");
    }
    let doubled =
        (0..60).map(|n| format!("[derived.d{}]\nof = \"${{derived:d{n}}}${{derived:d{n}}}\"", n + 1));
    let doubled: Vec<_> = doubled.collect();
    let all = said_of(&format!("[derived.d0]\nof = \"x\"\n{}", doubled.join("\n")), "${derived:d60}");
    assert!(all[0].contains("derived.d8 is made of more than 256 others"), "{all:?}");
    let many: String = (0..300).map(|n| format!("[derived.e{n}]\nof = \"x\"\n")).collect();
    let all = said_of(&many, "${derived:e0}");
    assert!(all[0].contains("is one of 300, and 256 are the most"), "{all:?}");
    let header = said(
        "[upstream]\nurl = \"ws://a/\"\nheaders = { x = \"${derived:a}\" }\n\
                       [derived.a]\nof = \"${capture:salt}\"\n\
                       [[capture]]\nmatch = \"x\"\nvalues = { salt = \"/s\" }",
    );
    assert!(
        header[0].contains("`${capture:salt}`, which is there only once the server has spoken"),
        "{header:?}"
    );
}

#[test]
fn what_is_said_grows_with_the_names_and_not_with_their_square() {
    let bytes = |names| problems(names).iter().map(String::len).sum::<usize>();
    let (few, many) = (bytes(24), bytes(8 * 24));
    assert!(problems(24).len() >= 3 * 24);
    assert!(many < 10 * few, "{few} bytes of problems became {many}");
}

#[test]
fn a_few_names_are_listed_and_many_are_not() {
    let listed = |names: usize| {
        let vars: String = (0..names).map(|at| format!("v{at} = 1\n")).collect();
        let text = format!("[upstream]\nurl = \"ws://a/${{var:none}}\"\n[vars]\n{vars}");
        said(&text).concat()
    };
    assert!(listed(1).contains("write vars.none = \"…\", or one of \"v0\""), "{}", listed(1));
    assert!(listed(16).contains("or one of"), "{}", listed(16));
    assert!(listed(17).ends_with("write vars.none = \"…\""), "{}", listed(17));
}

#[test]
fn each_unused_variable_is_told() {
    let vars: String = (0..20_000).map(|at| format!("v{at} = 1\n")).collect();
    let problems = said(&format!("[upstream]\nurl = \"ws://a/\"\n[vars]\n{vars}"));
    assert_eq!(problems.len(), 20_000);
    assert_eq!(problems[19_999], "vars.v19999 is used nowhere: use it as `${var:v19999}`, or leave it out");
}
