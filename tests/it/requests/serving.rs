//! Requests of the server's, which clients answer.

use super::*;

#[test]
fn an_answer_that_is_too_large_leaves_the_servers_request_open() {
    let (_server, daemon, mut upstream) = up(&format!("{OCPP}[limits]\nmax_message = 200\n"));
    let mut client = daemon.client();
    upstream.text("[2,\"q1\",\"Reset\",{}]");
    client.message();
    let large = json!({"op": "send", "json": [3, "q1", {"x": "y".repeat(300)}]});
    assert_eq!(client.request(large)["code"], "too_large");
    assert_eq!(client.request(json!({"op": "send", "json": [3, "q1", {}]}))["result"], "written");
}

#[test]
fn an_answer_that_lacks_a_value_leaves_the_servers_request_open_and_no_value_makes_one() {
    let capture = "[[capture]]\nmatch = { \"/0\" = 9 }\nvalues = { kind = \"/1\" }\npublic = true\n";
    let (_server, daemon, mut upstream) = up(&format!("{OCPP}{capture}"));
    let (mut client, mut other) = (daemon.client(), daemon.client());
    upstream.text("[2,\"q1\",\"Reset\",{}]");
    client.message();
    let lacks = json!({"op": "send", "expand": true, "json": [3, "q1", {"x": "${kind}"}]});
    assert_eq!(client.request(lacks)["code"], "no_value");
    assert_eq!(client.request(json!({"op": "send", "json": [3, "q1", {}]}))["result"], "written");
    upstream.text("[9,3]");
    client.until(|line| line["type"] == "public");
    upstream.text("[2,\"q2\",\"Reset\",{}]");
    client.until(|line| line["json"][1] == "q2");
    assert_eq!(client.request(json!({"op": "attach", "answers": true}))["result"], "attached");
    let hidden = json!({"op": "send", "expand": true, "json": ["${kind}", "q2", {}]});
    assert_eq!(other.request(hidden)["code"], "answered", "who may answer is decided by what is written");
    assert_eq!(client.request(json!({"op": "send", "json": [3, "q2", {}]}))["result"], "written");
}

#[test]
fn the_servers_request_is_answered_once() {
    let (_server, daemon, mut upstream) = up(OCPP);
    let (mut one, mut other) = (daemon.client(), daemon.client());
    upstream.text("[2,\"q1\",\"Reset\",{}]");
    for client in [&mut one, &mut other] {
        assert_eq!(client.message()["json"][1], "q1", "all see it");
    }
    let first = one.request(json!({"op": "send", "json": [3, "q1", {"status": "Accepted"}]}));
    assert_eq!(first["result"], "written", "{first}");
    let second = other.request(json!({"op": "send", "json": [3, "q1", {"status": "Rejected"}]}));
    assert_eq!(second["code"], "answered", "{second}");
    let nobody = other.request(json!({"op": "send", "json": [4, "q9", "NotImplemented", "", {}]}));
    assert_eq!(nobody["code"], "answered", "the server never asked so");
    loop {
        let said = heard(&mut upstream);
        if said[0] == 3 {
            assert_eq!(said, json!([3, "q1", {"status": "Accepted"}]));
            break;
        }
        upstream.text(&json!([3, said[1], {}]).to_string());
    }
    assert_eq!(other.status()["counters"]["failed_sends"]["answered"], 2);
}

#[test]
fn one_client_is_the_answerer_when_it_says_so() {
    let (_server, daemon, mut upstream) = up(OCPP);
    let (mut one, mut other) = (daemon.client(), daemon.client());
    assert_eq!(one.request(json!({"op": "attach", "answers": true}))["result"], "attached");
    assert_eq!(other.request(json!({"op": "attach", "answers": true}))["code"], "answerer_taken");
    upstream.text("[2,\"q1\",\"Reset\",{}]");
    other.message();
    let answer = json!({"op": "send", "json": [3, "q1", {}]});
    assert_eq!(other.request(answer.clone())["code"], "answerer_taken");
    drop(one);
    other.until_clients(1);
    assert_eq!(other.request(answer)["result"], "written", "the claim ends with its client");
}

#[test]
fn one_listener_is_for_answers() {
    let listeners =
        "[[listener]]\npath = \"SOCKET\"\n[[listener]]\npath = \"SOCKET.answers\"\nanswers = true\n";
    let (_server, daemon, mut upstream) = up(&format!("{OCPP}{listeners}"));
    let mut client = daemon.client();
    let mut answerer = Client::attach(&daemon.socket().with_extension("sock.answers"));
    upstream.text("[2,\"q1\",\"Reset\",{}]");
    client.message();
    let answer = json!({"op": "send", "json": [3, "q1", {}]});
    assert_eq!(client.request(answer.clone())["code"], "forbidden");
    assert_eq!(answerer.request(answer)["result"], "written");
}
