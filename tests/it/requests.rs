//! Requests through the real daemon: several programs on one link, each counting from 1, and each gets its own answers.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::common::{Client, Connection, DEADLINE, Daemon, Server, up};

mod serving;
mod streams;

const PLAIN: &str = "[requests]\nid = \"/id\"\n";

/// The next message of the daemon's, as JSON.
fn heard(upstream: &mut Connection) -> Value {
    serde_json::from_str(upstream.message().to_text().unwrap()).unwrap()
}

impl Client {
    /// Asks by an id of its own.
    fn asks(&mut self, id: Value, json: Value) {
        self.write(format!("{}\n", json!({"op": "request", "id": id, "json": json})).as_bytes());
    }

    /// The next line that isn't an entry.
    fn reply(&mut self) -> Value {
        self.until(|line| line["seq"].is_null())
    }
}

/// Answers by the id alone.
fn answer(upstream: &mut Connection, request: &Value) {
    upstream.text(&json!({"id": request["id"], "result": request["ask"]}).to_string());
}

#[test]
fn programs_that_each_count_from_1_get_their_own_answers_and_no_others() {
    let (_server, daemon, mut upstream) = up(PLAIN);
    let (mut one, mut other, mut witness) = (daemon.client(), daemon.client(), daemon.client());
    for n in 1..=20 {
        one.asks(json!(n), json!({"id": n, "ask": format!("one {n}")}));
        other.asks(json!(n), json!({"ask": format!("other {n}"), "id": n}));
    }
    let asked: Vec<Value> = (0..40).map(|_| heard(&mut upstream)).collect();
    let ids: Vec<u64> = asked.iter().map(|ask| ask["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "unique and rising: {ids:?}");
    asked.iter().rev().for_each(|ask| answer(&mut upstream, ask)); // in another order
    upstream.text("{\"news\":1}");
    for (client, name) in [(&mut one, "one"), (&mut other, "other")] {
        let answers: BTreeSet<_> =
            (0..20).map(|_| client.until(|line| line["type"] == "answer").to_string()).collect();
        let expected = (1..=20).map(|n| {
            json!({"type": "answer", "id": n, "json": {"id": n, "result": format!("{name} {n}")}}).to_string()
        });
        assert_eq!(answers, expected.collect());
    }
    assert_eq!(witness.message()["json"], json!({"news": 1}), "others see no answers");
    assert_eq!(one.status()["counters"]["requests"]["answered"], 40);
}

#[test]
fn what_a_program_wrote_stays_as_it_is_but_for_the_id() {
    let (_server, daemon, mut upstream) =
        up("[requests]\nid = \"/h/id\"\nid_kind = \"text\"\npublish = true\n");
    let mut client = daemon.client();
    client.write(b"{\"op\":\"request\",\"id\":{\"a\": 1.0},\"json\":{\"n\": 1e400, \"h\" : {\"id\":\"mine\",\"n\":1}}}\n");
    assert_eq!(upstream.message().to_text().unwrap(), "{\"n\": 1e400, \"h\" : {\"id\":\"1\",\"n\":1}}");
    upstream.text(" {\"h\":{\"id\":\"1\"},\n \"n\": 1.10}");
    let line = loop {
        let line = client.text();
        if line.contains("\"answer\"") {
            break line;
        }
    };
    assert_eq!(
        line,
        "{\"type\":\"answer\",\"id\":{\"a\": 1.0},\"json\":{\"h\":{\"id\":\"mine\"},  \"n\": 1.10}}\n"
    );
    let others = daemon.client().hello["seq"].as_u64().unwrap();
    assert!(others > 2, "publish = true: it is a message as well");
    // without an id of its own, one is put in, and stays
    client.asks(json!(1), json!({"h": {}}));
    assert_eq!(upstream.message().to_text().unwrap(), "{\"h\":{\"id\":\"2\"}}");
    upstream.text("{\"h\":{\"id\":2}}");
    assert_eq!(client.until(|line| line["type"] == "answer")["json"], json!({"h": {"id": 2}}));
    for bad in ["{\"h\":[]}", "[1]", "7"] {
        client.write(format!("{{\"op\":\"request\",\"id\":1,\"json\":{bad}}}\n").as_bytes());
        let refused = client.until(|line| line["type"] == "error");
        assert_eq!((&refused["code"], &refused["id"]), (&json!("bad_request"), &json!(1)), "{bad}");
    }
}

#[test]
fn a_send_with_an_id_that_a_request_waits_by_is_refused_and_its_answer_is_nobody_elses() {
    let (_server, daemon, mut upstream) = up(PLAIN);
    let (mut asker, mut plain) = (daemon.client(), daemon.client());
    asker.asks(json!("a"), json!({"id": 77, "ask": "a"}));
    let ask = heard(&mut upstream);
    let refused = plain.request(json!({"op": "send", "json": {"id": 1, "ask": "plain"}}));
    assert_eq!(refused["code"], "id_taken", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("requests.rewrite_sends"), "{refused}");
    let unit = [json!({"json": {"x": 1}}), json!({"json": {"id": 1}})];
    assert_eq!(plain.request(json!({"op": "send", "messages": unit}))["code"], "id_taken");
    // the other way: wsfan passes over the id that a send has
    assert_eq!(plain.request(json!({"op": "send", "json": {"id": 2, "ask": "plain"}}))["result"], "written");
    asker.asks(json!("b"), json!({"id": 78, "ask": "b"}));
    let (of_plain, other) = (heard(&mut upstream), heard(&mut upstream));
    assert_eq!((&of_plain["ask"], &other), (&json!("plain"), &json!({"id": 3, "ask": "b"})));
    [&other, &of_plain, &ask].into_iter().for_each(|ask| answer(&mut upstream, ask));
    for (id, own) in [("b", 78), ("a", 77)] {
        let expected = json!({"type": "answer", "id": id, "json": {"id": own, "result": id}});
        assert_eq!(asker.until(|line| line["type"] == "answer"), expected);
    }
    assert_eq!(plain.message()["json"], json!({"id": 2, "result": "plain"}), "a send's is for everybody");
    assert_eq!(plain.status()["counters"]["failed_sends"]["id_taken"], 2);
}

#[test]
fn without_requests_configured_they_are_refused_by_name() {
    let (_server, daemon, _upstream) = up("");
    assert_eq!(daemon.client().request(json!({"op": "request", "json": {}}))["code"], "unsupported");
}

#[test]
fn an_answer_that_does_not_come_in_time_is_nobodys_any_more() {
    let (_server, daemon, mut upstream) = up(PLAIN);
    let mut client = daemon.client();
    let refused = client.request(json!({"op": "request", "json": {"id": 1}, "timeout_ms": 0}));
    assert_eq!(refused["code"], "bad_request");
    let late = client.ask(json!({"op": "request", "json": {"id": 1, "ask": 1}, "timeout_ms": 50}));
    let ask = heard(&mut upstream);
    let timeout = client.until(|line| line["id"] == late);
    assert_eq!(timeout["code"], "timeout", "{timeout}");
    answer(&mut upstream, &ask);
    // one that nobody asked for is a message like others
    upstream.text("{\"id\":4711}");
    assert_eq!(client.message()["json"], json!({"id": 4711}));
    let counters = client.status()["counters"]["requests"].clone();
    assert_eq!((&counters["timeout"], &counters["late"]), (&json!(1), &json!(1)));
}

#[test]
fn when_the_link_falls_each_hears_what_is_known_of_its_request() {
    let (server, daemon, mut upstream) = up(PLAIN);
    let mut client = daemon.client();
    client.asks(json!("a"), json!({"id": 1}));
    heard(&mut upstream);
    upstream.drop_tcp();
    let error = client.until(|line| line["id"] == "a");
    assert_eq!(error["code"], "unknown", "{error}");
    let mut upstream = server.accept();
    client.link("up");
    client.asks(json!("b"), json!({"id": 9, "ask": "b"}));
    let ask = heard(&mut upstream);
    assert_eq!(ask["id"], 1, "each connection has its own count");
    answer(&mut upstream, &ask);
    assert_eq!(client.until(|line| line["id"] == "b")["json"], json!({"id": 9, "result": "b"}));
    client.request(json!({"op": "close"}));
    client.link("closed");
    client.asks(json!("c"), json!({}));
    assert_eq!(client.until(|line| line["id"] == "c")["code"], "link_down");
}

#[test]
fn a_thousand_requests_without_an_answer_are_enough() {
    let (_server, daemon, mut upstream) = up("[requests]\nid = \"/id\"\ntimeout = \"1d\"\n");
    let mut client = daemon.client();
    for n in 0..1000 {
        client.asks(json!(n), json!({"id": n}));
    }
    let asked: Vec<Value> = (0..1000).map(|_| heard(&mut upstream)).collect();
    client.asks(json!("more"), json!({}));
    assert_eq!(client.reply()["code"], "rate_limited");
    client.asks(json!(7), json!({}));
    assert_eq!(client.reply()["code"], "bad_request", "its own id waits already");
    // another has its own thousand, and one that is answered makes room
    let mut other = daemon.client();
    other.asks(json!(1), json!({"ask": "other"}));
    let ask = heard(&mut upstream);
    answer(&mut upstream, &ask);
    assert_eq!(other.until(|line| line["id"] == 1)["json"]["result"], "other");
    answer(&mut upstream, &asked[3]);
    assert_eq!(client.until(|line| line["type"] == "answer")["id"], 3);
    client.asks(json!("more"), json!({"ask": 1}));
    let ask = heard(&mut upstream);
    answer(&mut upstream, &ask);
    assert_eq!(client.until(|line| line["type"] == "answer")["id"], "more");
}

const RAW: &str = "[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.raw\"\nformat = \"raw\"\n";

/// A program that knows JSON-RPC and nothing of wsfan.
struct Stock(BufReader<UnixStream>);

impl Stock {
    fn on(daemon: &Daemon) -> Stock {
        let stream = UnixStream::connect(daemon.socket().with_extension("sock.raw")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Stock(BufReader::new(stream))
    }

    fn call(&mut self, id: u64, method: &str) {
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method});
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next answer with an id; notifications pass.
    fn answer(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the connection ended");
            let line: Value = serde_json::from_str(&line).unwrap();
            if !line["id"].is_null() {
                return line;
            }
        }
    }
}

#[test]
fn stock_json_rpc_just_works_over_a_raw_listener() {
    let (_server, daemon, mut upstream) = up(&format!("{PLAIN}rewrite_sends = true\n{RAW}"));
    let (mut one, mut other) = (Stock::on(&daemon), Stock::on(&daemon));
    let mut client = daemon.client();
    for n in 1..=10 {
        one.call(n, "one");
        other.call(n, "other");
    }
    let id = client.ask(json!({"op": "send", "json": {"jsonrpc": "2.0", "id": 1, "method": "third"}}));
    client.until(|line| line["id"] == id && line["result"] == "written");
    let asked: Vec<Value> = (0..21).map(|_| heard(&mut upstream)).collect();
    let ids: BTreeSet<_> = asked.iter().map(|ask| ask["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), 21);
    upstream.text("{\"jsonrpc\":\"2.0\",\"method\":\"news\"}");
    for ask in asked.iter().rev() {
        upstream.text(&json!({"jsonrpc": "2.0", "id": ask["id"], "result": ask["method"]}).to_string());
    }
    for (stock, name) in [(&mut one, "one"), (&mut other, "other")] {
        let mut answered: Vec<u64> = Vec::new();
        for _ in 1..=10 {
            let answer = stock.answer();
            assert_eq!(answer["result"], name, "{answer}");
            answered.push(answer["id"].as_u64().unwrap());
        }
        answered.sort_unstable();
        assert_eq!(answered, (1..=10).collect::<Vec<_>>());
    }
    let third = client.until(|line| line["type"] == "answer");
    assert_eq!(
        third,
        json!({"type": "answer", "id": id, "json": {"jsonrpc": "2.0", "id": 1, "result": "third"}})
    );
}

#[test]
fn what_nobody_can_read_is_refused_by_name_and_goes_nowhere() {
    let (_server, daemon, mut upstream) = up(&format!("{PLAIN}rewrite_sends = true\n{RAW}"));
    let mut client = daemon.client();
    for text in [r#"{"id":1,"id":2}"#, r#"[{"id":1},{"id":2}]"#] {
        client.write(format!("{{\"op\":\"request\",\"id\":\"r\",\"json\":{text}}}\n").as_bytes());
        client.write(format!("{{\"op\":\"send\",\"id\":\"s\",\"json\":{text}}}\n").as_bytes());
        for id in ["r", "s"] {
            let refused = client.until(|line| line["id"] == id);
            assert_eq!(refused["code"], "bad_request", "{refused}");
        }
    }
    let long = "x".repeat(2_000);
    assert_eq!(client.request(json!({"op": "request", "json": {"id": long}}))["code"], "bad_request");
    // a raw listener has no line to say it with
    let mut stock = Stock::on(&daemon);
    stock.0.get_mut().write_all(b"[{\"id\":1},{\"id\":2}]\n").unwrap();
    let mut rest = String::new();
    assert_eq!(stock.0.read_line(&mut rest).unwrap(), 0, "{rest}");
    client.asks(json!("next"), json!({"id": "mine", "ask": "next"}));
    assert_eq!(heard(&mut upstream), json!({"id": 1, "ask": "next"}), "nothing came before it");
    let counters = client.status()["counters"].clone();
    assert_eq!(counters["failed_sends"]["bad_request"], 6, "{counters}");
}

#[test]
fn when_the_daemon_stops_each_request_has_its_last_word() {
    let (_server, mut daemon, mut upstream) = up(HOME);
    let mut client = daemon.client();
    client.asks(json!("s"), json!({"id": 1, "type": "subscribe_events"}));
    let ask = heard(&mut upstream);
    upstream.text(&json!({"id": ask["id"], "type": "result", "success": true}).to_string());
    client.until(|line| line["more"] == true);
    client.asks(json!("a"), json!({"id": 1}));
    heard(&mut upstream);
    daemon.signal("TERM");
    upstream.closed();
    drop(upstream);
    let lines = client.rest();
    let last = |id: &str| {
        lines.iter().filter(|line| line["id"] == id).map(|line| line["code"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((last("a"), last("s")), (vec![json!("unknown")], vec![json!("link_down")]), "{lines:?}");
    assert_eq!(lines.last().unwrap()["type"], "bye");
    assert!(daemon.wait().success());
}

#[test]
fn a_reload_that_takes_the_requests_away_ends_those_that_wait_and_others_are_unsupported() {
    let server = Server::bind();
    let daemon = Daemon::start(&(server.config() + PLAIN));
    let mut upstream = server.accept();
    let mut client = daemon.client();
    client.until_up();
    client.asks(json!("a"), json!({"id": 1}));
    heard(&mut upstream);
    daemon.rewrite(&(server.config() + PLAIN + "timeout = \"1m\"\n"));
    assert_eq!(
        client.request(json!({"op": "reload"}))["live"],
        json!(["requests.timeout, max_in_flight, rewrite_sends and publish"])
    );
    daemon.rewrite(&server.config());
    assert_eq!(client.request(json!({"op": "reload"}))["result"], "applied");
    upstream.closed();
    drop(upstream);
    let error = client.until(|line| line["id"] == "a");
    assert_eq!(error["code"], "unknown", "{error}");
    let mut upstream = server.accept();
    client.link("up");
    client.asks(json!("b"), json!({"id": 1}));
    assert_eq!(client.until(|line| line["id"] == "b")["code"], "unsupported");
    client.request(json!({"op": "send", "json": {"id": 1}}));
    assert_eq!(heard(&mut upstream), json!({"id": 1}));
}

const HOME: &str = r#"
[requests]
id = "/id"
answer = { "/type" = ["result", "pong"] }
error = { "/success" = false }
rewrite_sends = true
[[requests.stream]]
when = { "/type" = "subscribe_events" }
cancel = '{"id":${next_id},"type":"unsubscribe_events","subscription":${key}}'
stop = { "/type" = "unsubscribe_events" }
stop_id = "/subscription"
"#;

const OCPP: &str = r#"
[heartbeat]
kind = "message"
message = '[2,"${next_id}","Heartbeat",{}]'
interval = "2s"
[requests]
id = "/1"
id_kind = "text"
answer = { "/0" = [3, 4] }
error = { "/0" = 4 }
max_in_flight = 1
rewrite_sends = true
rewrite_when = { "/0" = 2 }
[requests.server]
when = { "/0" = 2 }
id = "/1"
answer = { "/0" = [3, 4] }
timeout = "5s"
"#;

#[test]
fn one_at_a_time_in_order_with_heartbeats_among_them() {
    let (_server, daemon, mut upstream) = up(OCPP);
    let (mut one, mut other) = (daemon.client(), daemon.client());
    for n in 1..=5 {
        one.asks(json!(n), json!([2, "1", "One", {"n": n}]));
    }
    other.ask(json!({"op": "send", "json": [2, "1", "Other", {}]}));
    let (mut seen, mut beats) = (Vec::new(), 0);
    while seen.len() < 6 || beats < 2 {
        let call = heard(&mut upstream);
        // nothing else comes before the answer, whatever time passes
        upstream.socket.get_ref().set_read_timeout(Some(Duration::from_millis(60))).unwrap();
        assert!(upstream.socket.read().is_err(), "one at a time");
        upstream.socket.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
        match call[2].as_str().unwrap() {
            "Heartbeat" => beats += 1,
            _ => seen.push(call.clone()),
        }
        upstream.text(&json!([3, call[1], {"of": call[2]}]).to_string());
    }
    let own: Vec<_> = seen.iter().filter(|call| call[2] == "One").map(|call| call[3]["n"].clone()).collect();
    assert_eq!(own, [1, 2, 3, 4, 5].map(Value::from));
    for n in 1..=5 {
        let answer = one.until(|line| line["type"] == "answer");
        assert_eq!((&answer["id"], &answer["json"]), (&json!(n), &json!([3, "1", {"of": "One"}])));
    }
    assert_eq!(other.until(|line| line["type"] == "answer")["json"], json!([3, "1", {"of": "Other"}]));
}

#[test]
fn the_heartbeats_answers_can_be_kept_from_clients() {
    let beat = "[heartbeat]\nkind = \"message\"\nmessage = '{\"type\":\"ping\"}'\nexpect = { \"/type\" = \"pong\" }\ninterval = \"2s\"\npublish = false\n";
    let (_server, daemon, mut upstream) = up(beat);
    let mut client = daemon.client();
    heard(&mut upstream);
    upstream.text("{\"type\":\"pong\"}");
    upstream.text("{\"type\":\"news\"}");
    assert_eq!(client.message()["json"]["type"], "news");
}
