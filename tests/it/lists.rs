//! Lists through the real daemon: pointers with a `*`, and messages that are taken apart.

use std::{
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::common::{Client, Connection, DEADLINE, Daemon, Server, assert_balanced};

const RAW: &str = "[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.raw\"\nformat = \"raw\"\n";

/// A server's configuration in which messages are taken apart.
fn split(server: &Server, split: &str, rest: &str) -> String {
    let upstream = format!("url = \"ws://127.0.0.1:{}/stream\"\nsplit = {split}\n", server.port());
    format!("[upstream]\n{upstream}[reconnect]\ninitial_delay = \"20ms\"\nmax_delay = \"50ms\"\n{rest}")
}

fn up(server: &Server, config: &str) -> (Daemon, Connection, Client) {
    let daemon = Daemon::start(config);
    let connection = server.accept();
    let mut client = daemon.client();
    if client.hello["link"] != "up" {
        client.link("up");
    }
    (daemon, connection, client)
}

/// The next message: its topic and its JSON.
fn next(client: &mut Client) -> (Option<String>, Value) {
    let message = client.message();
    (message["topic"].as_str().map(str::to_owned), message["json"].clone())
}

/// The next message of the daemon's, as JSON.
fn heard(upstream: &mut Connection) -> Value {
    serde_json::from_str(upstream.message().to_text().unwrap()).unwrap()
}

#[test]
fn each_element_is_an_entry_with_its_bytes_and_its_topic() {
    let server = Server::bind();
    let topics = "[topics]\npointer = \"/topic\"\nretain = true\n";
    let (daemon, mut upstream, mut all) = up(&server, &split(&server, "true", &format!("{topics}{RAW}")));
    let mut some = daemon.client();
    let answer = some.request(json!({"op": "attach", "topics": ["b"]}));
    assert_eq!(answer["result"], "attached", "{answer}");
    let raw = UnixStream::connect(daemon.socket().with_extension("sock.raw")).unwrap();
    raw.set_read_timeout(Some(DEADLINE)).unwrap();
    all.until_clients(3);

    let elements = [r#"{"topic":"a","n": 1.50}"#, r#"{"topic":"b","n":12345678901234567890}"#, "[3 ,[]]"];
    upstream.text(&format!(" [{} ,{},\n{}]", elements[0], elements[1], elements[2]));
    upstream.text("[]");
    upstream.text(r#"{"topic":"b","n":9}"#);
    let bytes = ["1.50", "12345678901234567890"];
    let mut first = 0;
    for (at, (topic, element)) in [(Some("a"), 0), (Some("b"), 1), (None, 2)].into_iter().enumerate() {
        let line = all.until(|line| line["type"] == "message");
        first = if at == 0 { line["seq"].as_u64().unwrap() } else { first };
        assert_eq!(line["seq"].as_u64(), Some(first + at as u64), "one after the other: {line}");
        assert_eq!(line["topic"].as_str(), topic, "{line}");
        assert_eq!(line["json"], serde_json::from_str::<Value>(elements[element]).unwrap());
        if let Some(number) = bytes.get(element) {
            assert_eq!(line["json"]["n"].to_string().parse::<f64>().unwrap(), number.parse::<f64>().unwrap());
        }
    }
    assert_eq!(next(&mut all), (None, json!([])), "nothing vanishes");
    assert_eq!(next(&mut all), (Some("b".into()), json!({"topic": "b", "n": 9})));
    let of_b = [next(&mut some).1["n"].clone(), next(&mut some).1["n"].clone()];
    assert_eq!(of_b, [json!(12_345_678_901_234_567_890_u64), json!(9)]);
    let lines: Vec<_> = BufReader::new(raw).lines().take(5).map(Result::unwrap).collect();
    assert_eq!(
        lines,
        [elements[0], elements[1], elements[2], "[]", r#"{"topic":"b","n":9}"#],
        "byte for byte"
    );

    let status = all.status();
    assert_balanced(&status);
    assert_eq!(status["traffic"]["received"], 5, "elements count: {status}");
    assert_eq!(status["log"]["topics"], 2, "{status}");
    let own = |client: &Client| {
        let rows = status["clients"].as_array().unwrap();
        rows.iter().find(|row| row["client"] == client.hello["client"]).unwrap()["ledger"].clone()
    };
    assert_eq!(own(&some)["passed"], 3, "{status}");
    // who comes late has the newest of each topic
    let mut late = daemon.client();
    late.ask(json!({"op": "attach", "snapshot": true}));
    let last = [next(&mut late), next(&mut late)].map(|(topic, json)| (topic.unwrap(), json["n"].clone()));
    assert_eq!(last, [("a".into(), json!(1.5)), ("b".into(), json!(9))]);
}

#[test]
fn a_step_waits_for_an_element_and_goes_on_with_what_it_brought() {
    let server = Server::bind();
    let script = r#"
[[script.step]]
name = "greeting"
expect = { "/type" = "hello" }
capture = { session = "/session" }
[[script.step]]
name = "join"
send = '{"join":${capture:session}}'
expect = { "/type" = "joined" }
publish = false
[[reply]]
match = { "/ask" = { exists = true } }
send = '{"answer":${field:/ask}}'
"#;
    let daemon = Daemon::start(&split(&server, "\"/d\"", script));
    let mut upstream = server.accept();
    let mut client = daemon.client();
    upstream.text(r#"{"id":1,"d":[{"type":"news"},{"type":"hello","session":"s 1"},{"ask":[1]},{"ask":2}]}"#);
    assert_eq!(heard(&mut upstream), json!({"join": "s 1"}));
    assert_eq!(heard(&mut upstream), json!({"answer": [1]}), "what follows in the list is heard as well");
    assert_eq!(heard(&mut upstream), json!({"answer": 2}));
    upstream.socket.send(Message::binary(&br#"{"d":[{"type":"joined"},{"type":"binary"}]}"#[..])).unwrap();
    let mut seen = Vec::new();
    let last = loop {
        let line = client.message();
        if line["binary"].is_string() {
            break line;
        }
        seen.push(line["json"].clone());
    };
    let expected = [
        json!({"type": "news"}),
        json!({"type": "hello", "session": "s 1"}),
        json!({"ask": [1]}),
        json!({"ask": 2}),
    ];
    assert_eq!(seen, expected, "what was kept back, and what stood beside the list, isn't there");
    assert_eq!(last["binary"], "eyJ0eXBlIjoiYmluYXJ5In0=", "an element of a binary message is binary");
    if client.status()["link"]["state"] != "up" {
        client.link("up");
    }
}

#[test]
fn a_long_list_comes_whole_and_in_order_while_each_element_is_answered() {
    const COUNT: u64 = 5_000;
    let server = Server::bind();
    let reply = "[[reply]]\nmatch = { \"/ask\" = { exists = true } }\nsend = '{\"answer\":${field:/ask}}'\n";
    let (daemon, mut upstream, mut client) = up(&server, &split(&server, "true", reply));
    let elements: Vec<_> = (0..COUNT).map(|n| json!({"ask": n, "pad": "x".repeat(50)}).to_string()).collect();
    upstream.text(&format!("[{}]", elements.join(",")));
    upstream.text("[\"behind it\"]");
    let first = client.message()["seq"].as_u64().unwrap();
    for n in 1..COUNT {
        let line = client.message();
        assert_eq!((&line["json"]["ask"], &line["seq"]), (&json!(n), &json!(first + n)), "{line}");
    }
    assert_eq!(next(&mut client).1, json!("behind it"));
    for n in 0..COUNT {
        assert_eq!(heard(&mut upstream), json!({"answer": n}));
    }
    assert_balanced(&client.status());
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[test]
fn a_list_of_too_many_elements_stays_whole_and_the_log_says_so_seldom() {
    let server = Server::bind();
    let (daemon, mut upstream, mut client) = up(&server, &split(&server, "true", ""));
    let many = format!("[{}]", vec!["1"; 100_001].join(","));
    for _ in 0..3 {
        upstream.text(&many);
    }
    upstream.text("[7]");
    for _ in 0..3 {
        assert_eq!(next(&mut client).1.as_array().unwrap().len(), 100_001);
    }
    assert_eq!(next(&mut client).1, json!(7));
    daemon.logged("over 100000 elements at upstream.split");
    assert_eq!(daemon.log().matches("upstream.split").count(), 1, "{}", daemon.log());
    // as many as may be are taken apart
    upstream.text(&format!("[{}]", vec!["2"; 100_000].join(",")));
    for _ in 0..100_000 {
        let line = client.text();
        assert!(line.ends_with(",\"json\":2}\n"), "{line}");
    }
}

#[test]
fn answers_in_one_list_go_to_who_asked() {
    let server = Server::bind();
    let requests =
        "[requests]\nid = \"/id\"\nerror = { \"/error\" = { exists = true } }\nrewrite_sends = true\n";
    let (daemon, mut upstream, mut witness) = up(&server, &split(&server, "true", requests));
    let (mut one, mut other) = (daemon.client(), daemon.client());
    one.ask(json!({"op": "request", "json": {"id": "mine", "ask": 1}}));
    let first = heard(&mut upstream)["id"].clone();
    other.ask(json!({"op": "request", "json": {"id": "mine", "ask": 2}}));
    let second = heard(&mut upstream)["id"].clone();
    assert_ne!(first, second);
    let (refusal, news) = (json!({"id": second, "error": "no"}), json!({"news": 1}));
    upstream.text(&json!([refusal, news, {"id": first, "result": "yes"}]).to_string());
    let answer = one.until(|line| line["type"] == "answer");
    assert_eq!(answer["json"], json!({"id": "mine", "result": "yes"}), "{answer}");
    let answer = other.until(|line| line["type"] == "answer");
    assert_eq!((&answer["failed"], &answer["json"]["error"]), (&json!(true), &json!("no")), "{answer}");
    assert_eq!(next(&mut witness).1, news, "the answers are nobody else's");
    // on its way out a list stays one message, in which nobody rewrites ids
    let refused = one.request(json!({"op": "send", "json": [{"id": 1}, {"id": 2}]}));
    assert_eq!(refused["code"], "bad_request", "{refused}");
}

#[test]
fn a_list_with_ids_of_its_own_takes_nobodys_answer() {
    let server = Server::bind();
    let (daemon, mut upstream, mut witness) =
        up(&server, &split(&server, "true", "[requests]\nid = \"/id\"\n"));
    let (mut one, mut other) = (daemon.client(), daemon.client());
    one.ask(json!({"op": "request", "json": {"id": "mine"}}));
    assert_eq!(heard(&mut upstream), json!({"id": 1}));
    let refused = other.request(json!({"op": "send", "json": [{"id": 1}, {"id": 9}]}));
    assert_eq!(refused["code"], "id_taken", "{refused}");
    assert_eq!(other.request(json!({"op": "send", "json": [{"id": 8}, {"id": 9}]}))["result"], "written");
    assert_eq!(heard(&mut upstream), json!([{"id": 8}, {"id": 9}]));
    upstream.text(r#"[{"id":9,"r":1},{"id":1,"r":2},{"id":8,"r":3}]"#);
    assert_eq!(one.until(|line| line["type"] == "answer")["json"], json!({"id": "mine", "r": 2}));
    for client in [&mut witness, &mut other] {
        assert_eq!(
            next(client).1,
            json!({"id": 9, "r": 1}),
            "who sends a list has its answers as all have them"
        );
        assert_eq!(next(client).1, json!({"id": 8, "r": 3}));
    }
}

#[test]
fn what_two_connections_say_in_lists_is_published_once() {
    let server = Server::bind();
    let rotate = "[rotate]\nwhen = { \"/type\" = \"leave\" }\noverlap = \"30s\"\ndedupe = \"/id\"\n";
    let (_daemon, mut old, mut client) = up(&server, &split(&server, "true", rotate));
    old.text(r#"[{"id":1},{"type":"leave"},{"id":2}]"#);
    let mut new = server.accept();
    client.link("up");
    old.text(r#"[{"id":3},{"id":4}]"#);
    new.text(r#"[{"id":2},{"id":3},{"id":4},{"id":5}]"#);
    let mut seen = Vec::new();
    while !seen.contains(&5) {
        seen.extend(next(&mut client).1["id"].as_u64());
    }
    new.text(r#"[{"id":6}]"#);
    while !seen.contains(&6) {
        seen.extend(next(&mut client).1["id"].as_u64());
    }
    seen.sort_unstable();
    assert_eq!(seen.iter().filter(|id| **id > 2).collect::<Vec<_>>(), [&3, &4, &5, &6], "each once");
}

#[test]
fn another_list_to_take_apart_takes_another_connection() {
    let server = Server::bind();
    let (daemon, upstream, mut client) = up(&server, &split(&server, "true", ""));
    daemon.rewrite(&split(&server, "\"/d\"", ""));
    let answer = client.request(json!({"op": "reload"}));
    assert_eq!(answer["reconnect"], json!(["upstream.split"]), "{answer}");
    drop(upstream);
    let mut upstream = server.accept();
    client.link("up");
    upstream.text("[1,2]");
    upstream.text(r#"{"d":[3]}"#);
    assert_eq!(next(&mut client).1, json!([1, 2]));
    assert_eq!(next(&mut client).1, json!(3));
}

#[test]
fn a_pointer_with_a_star_looks_into_a_list_that_stays_whole() {
    let server = Server::bind();
    let config = r#"
[topics]
pointer = "/*/topic"
[[capture]]
match = { "/*/topic" = "hello", "/*/session" = { exists = true } }
values = { session = "/*/session" }
public = true
[[reply]]
match = { "/*/topic" = "ask" }
send = '{"answer":${field:/*/q}}'
[[script.step]]
expect = { "/*/topic" = "hello" }
"#;
    let daemon = Daemon::start(&(server.config() + config));
    let mut upstream = server.accept();
    let mut client = daemon.client();
    upstream.text(r#"[{"topic":"news"},{"topic":"hello","session":7},{"topic":"hello"},{"session":8}]"#);
    let message = client.message();
    assert_eq!((&message["topic"], message["json"].as_array().unwrap().len()), (&json!("news"), 4));
    let public = client.until(|line| line["type"] == "public");
    assert_eq!(public["public"], json!({"session": 7}), "{public}");
    client.link("up");
    upstream.text(r#"[{"q":1},{"topic":"ask","q":[2]},{"topic":"ask","q":3}]"#);
    assert_eq!(heard(&mut upstream), json!({"answer": [2]}));
    assert_eq!(next(&mut client).0.as_deref(), Some("ask"));
    assert_balanced(&client.status());
}
