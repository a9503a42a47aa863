//! Topics through the real daemon: messages have theirs, clients and listeners narrow, and each one's ledger says what
//! it passed.

use std::{
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    process::Command,
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::common::{self, Client, DEADLINE, assert_balanced, up};

const TOPICS: &str = "[topics]\npointer = \"/stream\"\n";

fn say(upstream: &mut common::Connection, stream: &str, n: u64) {
    upstream.text(&json!({"stream": stream, "n": n}).to_string());
}

fn narrow(client: &mut Client, topics: &[&str]) {
    let answer = client.request(json!({"op": "attach", "topics": topics}));
    assert_eq!(answer["result"], "attached", "{answer}");
}

/// The next message's topic and number.
fn next(client: &mut Client) -> (String, u64) {
    let message = client.message();
    (message["topic"].as_str().unwrap_or_default().to_owned(), message["json"]["n"].as_u64().unwrap())
}

#[test]
fn a_client_gets_the_topics_that_it_asks_for_and_its_ledger_says_what_it_passed() {
    let (_server, daemon, mut upstream) = up(TOPICS);
    let (mut all, mut some, mut none) = (daemon.client(), daemon.client(), daemon.client());
    narrow(&mut some, &["btc.*", "eth.trades"]);
    narrow(&mut none, &[]);
    let streams = ["btc.trades", "eth.trades", "eth.book", "btc.book.5", "btc.book"];
    for n in 0..100 {
        say(&mut upstream, streams[n as usize % 5], n);
    }
    upstream.text("{\"n\":100}");
    say(&mut upstream, &"x".repeat(257), 101);
    for n in 0..100 {
        assert_eq!(next(&mut all), (streams[n as usize % 5].to_owned(), n));
    }
    assert_eq!(next(&mut all), (String::new(), 100));
    assert_eq!(next(&mut all), (String::new(), 101));
    for n in (0..100).filter(|n| [0, 1, 4].contains(&(n % 5))) {
        assert_eq!(next(&mut some), (streams[n as usize % 5].to_owned(), n));
    }
    // nobody can say that it isn't meant
    let last = some.message();
    assert_eq!((&last["topic"], &last["json"]["n"]), (&json!(""), &json!(101)), "{last}");
    assert_eq!(none.message()["json"]["n"], 101);
    let status = all.status();
    assert_balanced(&status);
    let row = |client: &Client| {
        let rows = status["clients"].as_array().unwrap();
        rows.iter().find(|row| row["client"] == client.hello["client"]).unwrap()["ledger"].clone()
    };
    assert_eq!(row(&some)["passed"], 41, "{status}");
    assert_eq!(row(&none)["passed"], 101, "{status}");
    assert_eq!(row(&all)["passed"], 0, "{status}");
    assert_eq!(row(&none)["ahead"], 0, "{status}");
    assert_eq!(status["log"]["topics"], 5, "{status}");
    assert_eq!(status["counters"]["unfit_topics"], 1, "{status}");
}

#[test]
fn who_comes_back_gets_what_it_wants_of_what_it_missed() {
    let (_server, daemon, mut upstream) = up(TOPICS);
    let mut first = daemon.client();
    for n in 0..1_000 {
        say(&mut upstream, if n % 100 == 0 { "rare" } else { "common" }, n);
        assert_eq!(next(&mut first).1, n);
    }
    let mut late = daemon.client();
    let since = json!({"epoch": late.hello["epoch"], "seq": 0});
    late.request(json!({"op": "attach", "since": since, "topics": ["r*"]}));
    for n in 0..10 {
        assert_eq!(next(&mut late), ("rare".to_owned(), 100 * n));
    }
    let status = late.status();
    assert_balanced(&status);
    let own = status["clients"].as_array().unwrap().iter().find(|row| row["you"] == true).unwrap();
    assert_eq!(own["ledger"]["passed"], 990, "{status}");
    assert_eq!(own["ledger"]["ahead"], 0, "{status}");
    // and everything again, from here on
    late.request(json!({"op": "attach"}));
    say(&mut upstream, "common", 1_000);
    assert_eq!(next(&mut late), ("common".to_owned(), 1_000));
}

#[test]
fn links_and_gaps_are_for_everybody() {
    let (server, daemon, upstream) = up(TOPICS);
    let mut client = daemon.client();
    narrow(&mut client, &["nothing"]);
    drop(upstream);
    client.link("waiting");
    let mut upstream = server.accept();
    client.link("up");
    say(&mut upstream, "something", 1);
    say(&mut upstream, "nothing", 2);
    assert_eq!(next(&mut client), ("nothing".to_owned(), 2));
}

#[test]
fn a_listener_narrows_for_all_its_clients_and_a_reload_for_those_who_are_there() {
    let listeners = |topics: &str| {
        format!(
            "{TOPICS}[[listener]]\npath = \"SOCKET\"\n{topics}[[listener]]\npath = \"SOCKET.raw\"\nformat = \"raw\"\n\
             topics = [\"**.trades\"]\n"
        )
    };
    let (server, daemon, mut upstream) = up(&listeners("topics = [\"btc.**\"]\n"));
    let raw = UnixStream::connect(format!("{}.raw", daemon.socket().display())).unwrap();
    raw.set_read_timeout(Some(DEADLINE)).unwrap();
    let (mut plain, mut own) = (daemon.client(), daemon.client());
    plain.until_clients(3);
    narrow(&mut own, &["*.trades"]);
    // one that can't be written may be any topic, and is none that a listener lets through
    say(&mut upstream, &format!("btc.{}", "x".repeat(300)), 99);
    for (n, stream) in ["eth.trades", "btc.book", "btc.trades", "eth.book"].into_iter().enumerate() {
        say(&mut upstream, stream, n as u64);
    }
    let mut raw = BufReader::new(raw);
    let mut raw_line = || {
        let mut line = String::new();
        raw.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["n"].as_u64().unwrap()
    };
    assert_eq!((raw_line(), raw_line()), (0, 2));
    assert_eq!((next(&mut plain).1, next(&mut plain).1), (1, 2));
    assert_eq!(next(&mut own), ("btc.trades".to_owned(), 2));
    daemon.rewrite(&(server.config() + &listeners("topics = [\"eth.**\"]\n")));
    let mut root = daemon.client();
    let answer = root.request(json!({"op": "reload"}));
    assert_eq!(
        (&answer["result"], &answer["live"]),
        (&json!("applied"), &json!([format!("listener.topics of {}", daemon.socket().display())]))
    );
    for (n, stream) in ["btc.trades", "eth.book", "eth.trades"].into_iter().enumerate() {
        say(&mut upstream, stream, 10 + n as u64);
    }
    assert_eq!((next(&mut plain).1, next(&mut plain).1), (11, 12));
    assert_eq!(next(&mut own), ("eth.trades".to_owned(), 12));
    assert_eq!((raw_line(), raw_line()), (10, 12));
    assert_balanced(&plain.status());
}

#[test]
fn a_client_that_falls_behind_hears_of_its_gap_and_gets_what_it_wants_after_it() {
    let (_server, daemon, mut upstream) = up(&format!("{TOPICS}[history]\nmax_bytes = \"256KiB\"\n"));
    let (mut stuck, mut quick) = (daemon.client(), daemon.client());
    narrow(&mut stuck, &["a"]);
    let pad = "x".repeat(10_000);
    for n in 0..600 {
        upstream.text(&json!({"stream": if n % 2 == 0 { "a" } else { "b" }, "n": n, "pad": pad}).to_string());
        quick.message();
    }
    let mut seen = None;
    let gap = loop {
        let line = stuck.line();
        match line["type"].as_str().unwrap() {
            "gap" => break line,
            _ => {
                assert_eq!(line["topic"], "a");
                let n = line["json"]["n"].as_u64().unwrap();
                assert!(seen.is_none_or(|seen| n == seen + 2), "{n} after {seen:?}");
                seen = Some(n);
            }
        }
    };
    assert_eq!(gap["why"], "slow_client");
    assert_eq!(stuck.line()["type"], "link");
    let mut last = gap["to"].as_u64().unwrap();
    loop {
        let line = stuck.message();
        let seq = line["seq"].as_u64().unwrap();
        assert_eq!(line["topic"], "a");
        assert!(seq > last && seq <= last + 2, "{seq} after {last}");
        last = seq;
        if line["json"]["n"] == 598 {
            break;
        }
    }
    assert_balanced(&stuck.status());
}

#[test]
fn topics_are_named_by_pointers_and_by_rules() {
    let config = "[topics]\npointer = [\"/arg/channel\", \"/arg/inst\", \"/final\"]\njoin = \"/\"\n\
                  [[topics.rule]]\nwhen = { \"/e\" = \"kline\" }\nname = \"kline.${field:/s}\"\n";
    let (_server, daemon, mut upstream) = up(config);
    let mut client = daemon.client();
    for (message, topic) in [
        (r#"{"arg":{"channel":"book","inst":"BTC"}}"#, Some("book/BTC")),
        (r#"{"arg":{"inst":7},"final":true}"#, Some("7/true")),
        (r#"{"e":"kline","s":"E\u0054H","arg":{"channel":"x"}}"#, Some("kline.ETH")),
        // a rule that names nothing is none
        (r#"{"e":"kline","arg":{"channel":"x"}}"#, Some("x")),
        (r#"{"arg":{"channel":null,"inst":[1]}}"#, None),
        (r#"{"arg":{"channel":"tab\tbed"}}"#, Some("")),
        ("no JSON", None),
    ] {
        upstream.text(message);
        assert_eq!(client.message()["topic"].as_str(), topic, "{message}");
    }
}

#[test]
fn topics_are_named_by_expressions_in_text_that_is_no_json() {
    let config = r#"
        [topics]
        pointer = "/stream"
        [[topics.rule]]
        regex = '^42(?:/[^,]*,)?[0-9]*\["(?<topic>[^"]*)"'
        [[topics.rule]]
        when = "MESSAGE\n"
        regex = '(?m)^destination:(?<topic>[^\n]+)$'
    "#;
    let (_server, daemon, mut upstream) = up(config);
    let mut client = daemon.client();
    for (message, topic) in [
        (r#"42["tick",{"n":1}]"#, Some("tick")),
        (r#"42/admin,17["moved",{}]"#, Some("moved")),
        // as it stands there, not as JSON means it
        (r#"42["caf\u00e9"]"#, Some(r"caf\u00e9")),
        // an empty one is none
        (r#"42["",{"n":1}]"#, None),
        (r#"43["tick"]"#, None),
        ("MESSAGE\nid:1\ndestination:/topic/a\n\nhello\0", Some("/topic/a")),
        ("RECEIPT\ndestination:/topic/a\n\n\0", None),
        (r#"{"stream":"42"}"#, Some("42")),
    ] {
        upstream.text(message);
        assert_eq!(client.message()["topic"].as_str(), topic, "{message}");
    }
    upstream.socket.send(Message::binary(&b"42[\"bin\",\xff]"[..])).unwrap();
    assert_eq!(client.message()["topic"], "bin");
    let mut some = daemon.client();
    narrow(&mut some, &["tick"]);
    upstream.text(r#"42["other"]"#);
    upstream.text(r#"42["tick",2]"#);
    assert_eq!(some.message()["text"], r#"42["tick",2]"#);
}

#[test]
fn bad_patterns_are_refused_by_name() {
    let (_server, daemon, _upstream) = up(TOPICS);
    let mut client = daemon.client();
    let many: Vec<String> = (0..1_001).map(|n| n.to_string()).collect();
    for (topics, why) in [
        (json!(["a", ""]), "topics[1] is empty: write a topic, or a pattern such as \"btc.*\" or \"**\""),
        (json!(["a***"]), "topics[0] has three `*` in a row: `*` is within a part, and `**` goes over dots"),
        (json!(["x".repeat(257)]), "topics[0] has 257 bytes, and 256 are the most"),
        (json!(["*.".repeat(17)]), "topics[0] has 17 wildcards, and 16 are the most"),
        (json!(many), "`topics` has 1001 patterns, and 1000 are the most"),
        (json!("a"), "the line could not be read: invalid type: string \"a\", expected a sequence"),
    ] {
        let answer = client.request(json!({"op": "attach", "topics": topics}));
        assert_eq!(answer["code"], "bad_request", "{answer}");
        assert!(answer["message"].as_str().unwrap().starts_with(why), "{answer}");
    }
}

#[test]
fn what_is_kept_back_is_counted() {
    let (_server, daemon, mut upstream) =
        up("[[reply]]\nmatch = { \"/stream\" = \"noise\" }\nsend = \"heard\"\npublish = false\n");
    let mut client = daemon.client();
    ["noise", "a", "noise"].into_iter().for_each(|stream| say(&mut upstream, stream, 1));
    say(&mut upstream, "b", 1);
    let streams = [(); 2].map(|()| client.until(|line| line["type"] == "message")["json"]["stream"].clone());
    assert_eq!(streams, ["a", "b"]);
    let status = client.status();
    assert_eq!(status["traffic"]["received"], 4, "{status}");
    assert_eq!(status["traffic"]["withheld"], 2, "{status}");
}

#[test]
fn tail_narrows() {
    let (_server, daemon, mut upstream) = up(TOPICS);
    for (n, stream) in ["a.x", "b", "c", "a.y"].into_iter().enumerate() {
        say(&mut upstream, stream, n as u64);
    }
    let mut client = daemon.client();
    let end = std::time::Instant::now() + DEADLINE;
    while client.status()["traffic"]["received"] != 4 {
        assert!(std::time::Instant::now() < end);
    }
    let tail = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_wsfan"))
            .args(["tail", "--socket"])
            .arg(daemon.socket())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let raw = tail(&["--since", "oldest", "--raw", "--messages", "3", "--topic", "a.*", "--topic", "c"]);
    let numbers: Vec<u64> =
        raw.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 2, 3]);
    let pretty = tail(&["--since", "oldest", "--pretty", "--messages", "1", "--topic", "c"]);
    assert!(pretty.contains("  c  "), "{pretty}");
    assert_eq!(tail(&["--raw", "-n", "2", "--topic", "a.*"]).lines().count(), 2);
}
