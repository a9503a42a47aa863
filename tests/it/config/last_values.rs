//! Last values and public captures: what they need, and their bounds.

use super::*;
use wsfan::config::RetainBounds;

#[test]
fn what_is_retained() {
    let topics = |text: &str| with(&format!("[topics]\n{text}")).unwrap().terms.topics;
    let default = topics("pointer = \"/t\"\nretain = true");
    assert_eq!((default.retain, default.retain_key), (true, None));
    assert_eq!(default.bounds, RetainBounds { max: 10_000, bytes: 16 << 20 });
    let own = topics("retain = true\nretain_key = \"/k\"\nretain_max = 5\nretain_bytes = \"1MiB\"");
    assert_eq!(own.retain_key.map(|key| key.to_string()).as_deref(), Some("/k"));
    assert_eq!(own.bounds, RetainBounds { max: 5, bytes: 1 << 20 });
    refused(&[
        (
            "[topics]\nretain = true",
            "line 3: topics.retain is true, but no message has a topic: write topics.pointer, a [[topics.rule]] or topics.retain_key",
        ),
        (
            "[topics]\npointer = \"/t\"\nretain_key = \"/k\"",
            "line 4: topics.retain_key only goes with `retain = true` in [topics]: write that, too",
        ),
        (
            "[topics]\npointer = \"/t\"\nretain = false\nretain_bytes = \"1MiB\"",
            "line 5: topics.retain_bytes only goes with `retain = true` in [topics]: write that, too",
        ),
        (
            "[topics]\npointer = \"/t\"\nretain = true\nretain_max = 0",
            "line 5: topics.retain_max is 0: write a whole number from 1 to 1000000",
        ),
        (
            "[topics]\npointer = \"/t\"\nretain = true\nretain_bytes = \"1KiB\"",
            "line 5: topics.retain_bytes is 1KiB: write 64KiB to 1TiB",
        ),
        (
            "[[script.step]]\nexpect = \"a\"\npublish = false\nretain = true",
            "line 5: script.step[0].retain keeps what clients get, but `publish = false` keeps it from them: take one out",
        ),
        (
            "[[script.step]]\nsend = \"a\"\nretain = true",
            "line 4: script.step[0].retain only goes with `expect` in the same step: write what is expected, too",
        ),
    ]);
}

#[test]
fn what_names_a_topic() {
    let rule = |text: &str| format!("[[topics.rule]]\n{text}");
    assert!(with(&rule("regex = '^(?<topic>[a-z]+) '")).is_ok());
    assert!(with(&rule("when = \"MSG\"\nregex = '^(?<topic>[a-z]+) '")).is_ok());
    for (text, why) in [
        ("regex = '^[a-z]+ '", "line 3: topics.rule[0].regex has no named group"),
        (
            "regex = '^(?<name>[a-z]+) '",
            "line 3: topics.rule[0].regex is for a topic: write one named group, `(?<topic>…)`",
        ),
        ("regex = '(?<topic>a)(?<b>c)'", "line 3: topics.rule[0].regex is for a topic"),
        ("regex = '(?<topic>a'", "line 3: topics.rule[0].regex is no regular expression"),
        (
            "regex = '(?<topic>a)'\nname = \"x\"",
            "line 3: topics.rule[0].regex names the topic, and so does `name`: leave one of them out",
        ),
        ("name = \"x\"", "topics.rule[0].when is missing"),
        ("when = \"x\"", "topics.rule[0].name is missing"),
    ] {
        let error = with(&rule(text)).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn what_is_public() {
    let public = |text: &str| with(text).unwrap().terms.public_captures().into_iter().collect::<Vec<_>>();
    let step = "[[script.step]]\nexpect = \"a\"\ncapture = { a = \"/a\" }\ncapture_regex = '(?<b>x)'\n";
    assert_eq!(public(step), [] as [&str; 0], "a capture is secret");
    assert_eq!(public(&format!("{step}public = true")), ["a", "b"]);
    let capture = "[[capture]]\nmatch = \"a\"\nvalues = { c = \"/c\" }\n";
    assert_eq!(public(&format!("{step}{capture}public = true")), ["c"]);
    refused(&[
        (
            "[[script.step]]\nexpect = \"a\"\npublic = true",
            "line 4: script.step[0].public only goes with `capture` in the same step: write what is captured, too",
        ),
        (
            "[[capture]]\nmatch = \"a\"\nvalues = { c = \"/c\" }\npublic = true\n[[capture]]\nmatch = \"b\"\nvalues = { c = \"/c\" }",
            "line 2: capture keeps `c` as public in one place and not in another: write `public = true` in all of them, or in none",
        ),
    ]);
}
