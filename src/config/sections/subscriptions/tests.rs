use super::*;
use crate::config::{Config, language::environment::Environment};

fn parse(rest: &str) -> Result<Option<Subscriptions>, String> {
    let text = format!("[upstream]\nurl = \"ws://a/\"\n[topics]\n{rest}");
    let config = Config::parse(&text, &Environment::fixed([])).map_err(|invalid| invalid.to_string())?;
    Ok(config.terms.subscriptions)
}

fn said(rest: &str, topics: &[&str], payload: Option<&str>) -> String {
    let subscriptions = parse(rest).unwrap().unwrap();
    let mut ids = 1..;
    let next = |_: &Placeholder| Ok(Value::Json(ids.next().unwrap().to_string()));
    subscriptions.message(&subscriptions.subscribe, topics, payload, None, next).unwrap()
}

#[test]
fn messages_are_made_of_topics() {
    for (keys, topics, payload, message) in [
        (r#"subscribe = '{"sub":${topic}}'"#, &["a\"b"][..], None, r#"{"sub":"a\"b"}"#),
        (r#"subscribe = '{"sub":"x.${topic}"}'"#, &["a"], None, r#"{"sub":"x.a"}"#),
        (r#"subscribe = 'SUB ${topic}'"#, &["a b"], None, "SUB a b"),
        (
            r#"subscribe = '{"params":[${topics}],"id":${next_id}}'"#,
            &["a", "b", "ü"],
            None,
            r#"{"params":["a","b","ü"],"id":1}"#,
        ),
        (
            "subscribe = '{\"args\":[${topics}]}'\nitem = '{\"channel\":${topic:1},\"instId\":${topic:2}}'",
            &["books.BTC-USDT", "tickers.A.B"],
            None,
            r#"{"args":[{"channel":"books","instId":"BTC-USDT"},{"channel":"tickers","instId":"A.B"}]}"#,
        ),
        (
            "subscribe = '{\"c\":${topic:1},\"s\":[${topics}]}'\nitem = '${topic:2}'",
            &["book.A/B", "book.C"],
            None,
            r#"{"c":"book","s":["A/B","C"]}"#,
        ),
        (
            r#"subscribe = '{"id":"${topic}","payload":${payload}}'"#,
            &["a"],
            Some(r#"{"query":"s { p }"}"#),
            r#"{"id":"a","payload":{"query":"s { p }"}}"#,
        ),
        ("subscribe = '[${topic},${payload}]'\npayload = '{}'", &["a"], None, r#"["a",{}]"#),
        ("subscribe = '{\"p\":${payload}}'\npayload = '[${topic}]'", &["a"], None, r#"{"p":["a"]}"#),
        ("subscribe = '{\"p\":${payload}}'\npayload = '[${topic}]'", &["a"], Some("[1]"), r#"{"p":[1]}"#),
        ("subscribe = '{\"p\":${payload}}'\npayload = '${topic:2}'", &["a.b"], None, r#"{"p":"b"}"#),
    ] {
        assert_eq!(said(keys, topics, payload), message, "{keys}");
    }
}

#[test]
fn parts_and_groups() {
    let keys = "subscribe = '{\"c\":${topic:1},\"s\":[${topics}]}'\nitem = '${topic:2}'";
    let one = parse(keys).unwrap().unwrap();
    assert_eq!((one.part("a.b.c", 1), one.part("a.b.c", 2), one.batch), ("a", "b.c", 100));
    assert_eq!(one.group("a.b", None), one.group("a.c", None));
    assert_ne!(one.group("a.b", None), one.group("b.b", None));
    assert_eq!(
        one.check("a"),
        Err("has 1 of the 2 parts, divided by dots, that topics.subscribe names".to_owned())
    );
    assert_eq!(one.check("a.b"), Ok(()));
    for (topic, part) in [("", "empty"), ("a.\n", "control"), (&*"x.".repeat(129), "258 bytes")] {
        assert!(one.check(topic).unwrap_err().contains(part), "{topic:?}");
    }
}

#[test]
fn a_list_needs_no_brackets_where_it_is_no_json_or_has_one_topic() {
    for keys in [
        "subscribe = '{\"s\":${topics}}'\nbatch = 1",
        "subscribe = '42[\"s\",${topics}]'",
        "subscribe = '[1,${topics}]'",
    ] {
        assert!(parse(keys).unwrap().is_some(), "{keys}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (keys, part) in [
        ("unsubscribe = '${topic}'", "topics.unsubscribe only goes with topics.subscribe"),
        ("linger = \"1s\"", "topics.linger only goes with topics.subscribe"),
        ("subscribe = 'hello'", "doesn't say which topic"),
        ("subscribe = '[${topics},${topic}]'", "`${topic}` beside `${topics}`"),
        ("subscribe = '[\"${topics}\"]'", "list of values"),
        ("subscribe = '{\"s\":${topics}}'", "topics.subscribe has `${topics}` without brackets"),
        (
            "subscribe = '[${topics}]'\nunsubscribe = '{\"u\":${topics}}'",
            "topics.unsubscribe has `${topics}` without",
        ),
        ("subscribe = '${topic}'\nbatch = 2", "topics.batch is more than 1"),
        ("subscribe = '${topic}'\nitem = '1'", "topics.item is what `${topics}` is a list of"),
        ("subscribe = '[${topics}]'\nitem = '{'", "topics.item is \"{\", which is no value of JSON"),
        ("subscribe = '[${topics}]'\nitem = '${topics}'", "topics.item has `${topics}`"),
        ("subscribe = '${topic:0}'", "counted from 1 to 9"),
        ("subscribe = '${topic:x}'", "counted from 1 to 9"),
        ("subscribe = '${topic}${subscribed_id}'", "goes in topics.unsubscribe only"),
        ("subscribe = '${topic}'\nunsubscribe = '${subscribed_id}'", "nothing says where the id is"),
        ("subscribe = '${topic} ${field:/a}'", "goes in [[script.step]], [[reply]], "),
        ("subscribe = '${topic} ${payload}'\npayload = '{'", "which is no JSON"),
        ("subscribe = '${topic} ${payload}'\npayload = '1,2'", "which is no JSON"),
        (
            "subscribe = '${topic} ${payload}'\npayload = '[${next_id}]'",
            "may hold `${topic}` and its parts alone",
        ),
        ("subscribe = '${topic}'\nmax = 0", "topics.max is 0"),
        ("subscribe = '${topic}'\n[topics.answer]\nid = \"/id\"", "topics.answer.accept is missing"),
        (
            "subscribe = '${topic}'\n[topics.answer]\nreject = \"a\"\ntimeout = \"1s\"",
            "only goes with `accept`",
        ),
        (
            "subscribe = '${topic}'\n[topics.answer]\naccept = \"a\"\nreject = \"a\"",
            "is the same as `accept`",
        ),
        ("subscribe = '${topic}'\n[topics.answer]\naccept = \"a\"\ntopic = \"a\"", "no JSON pointer"),
    ] {
        let said = parse(keys).expect_err(keys);
        assert!(said.contains(part), "{keys}: {said}");
    }
    let message = "[upstream]\nurl = \"ws://a/\"\n[[script.step]]\nsend = '${topic}'";
    let said = Config::parse(message, &Environment::fixed([])).unwrap_err().to_string();
    assert!(said.contains("goes in [topics] only"), "{said}");
}
