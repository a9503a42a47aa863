//! Requests with more answers than one, until they are cancelled.

use super::*;

#[test]
fn a_stream_goes_to_who_asked_until_it_is_cancelled() {
    let (_server, daemon, mut upstream) = up(HOME);
    let (mut client, mut witness) = (daemon.client(), daemon.client());
    client.asks(json!("s"), json!({"id": 1, "type": "subscribe_events"}));
    let ask = heard(&mut upstream);
    upstream.text(&json!({"id": ask["id"], "type": "result", "success": true}).to_string());
    let first = client.until(|line| line["type"] == "answer");
    assert_eq!((&first["more"], &first["json"]["id"]), (&json!(true), &json!(1)));
    for n in 0..3 {
        upstream.text(&json!({"id": ask["id"], "type": "event", "n": n}).to_string());
        let event = client.until(|line| line["type"] == "answer");
        assert_eq!((&event["id"], &event["json"]), (&json!("s"), &json!({"id": 1, "type": "event", "n": n})));
    }
    let cancelled = client.request(json!({"op": "cancel", "request": "other"}));
    assert_eq!(cancelled["code"], "bad_request");
    client.write(b"{\"op\":\"cancel\",\"id\":\"c\",\"request\":\"s\"}\n");
    let (error, ok) = (client.reply(), client.reply());
    assert_eq!((&error["code"], &error["id"]), (&json!("cancelled"), &json!("s")));
    assert_eq!(ok, json!({"type": "ok", "id": "c", "result": "cancelled"}));
    assert_eq!(
        heard(&mut upstream),
        json!({"id": 2, "type": "unsubscribe_events", "subscription": ask["id"]})
    );
    // what is still on its way goes to nobody, and neither does the answer to wsfan's own
    upstream.text(&json!({"id": ask["id"], "type": "event", "n": 9}).to_string());
    upstream.text("{\"id\":2,\"type\":\"result\",\"success\":true}");
    upstream.text("{\"type\":\"news\"}");
    assert_eq!(client.message()["json"]["type"], "news");
    assert_eq!(witness.message()["json"]["type"], "news");
}

#[test]
fn a_stream_whose_client_leaves_is_cancelled() {
    let (_server, daemon, mut upstream) = up(HOME);
    let mut client = daemon.client();
    client.asks(json!("s"), json!({"id": 1, "type": "subscribe_events"}));
    let ask = heard(&mut upstream);
    drop(client);
    assert_eq!(heard(&mut upstream)["subscription"], ask["id"]);
}

#[test]
fn a_program_that_knows_nothing_of_wsfan_ends_its_own_stream() {
    let (_server, daemon, mut upstream) = up(HOME);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    other.asks(json!("x"), json!({"id": 5, "type": "subscribe_events"}));
    heard(&mut upstream);
    client.request(json!({"op": "send", "json": {"id": 5, "type": "subscribe_events"}}));
    let ask = heard(&mut upstream);
    assert_eq!(ask["id"], 2);
    upstream.text(&json!({"id": 2, "type": "result", "success": true}).to_string());
    client.until(|line| line["more"] == true);
    client.request(json!({"op": "send", "json": {"id": 6, "type": "unsubscribe_events", "subscription": 5}}));
    assert_eq!(heard(&mut upstream), json!({"id": 3, "type": "unsubscribe_events", "subscription": 2}));
    upstream.text(&json!({"id": 3, "type": "result", "success": true}).to_string());
    let done = client.until(|line| line["type"] == "answer");
    assert_eq!(done["json"], json!({"id": 6, "type": "result", "success": true}));
    let refused = client.request(json!({"op": "cancel", "request": 1}));
    assert_eq!(refused["code"], "bad_request", "it is over");
    other.asks(json!("y"), json!({"id": 6, "type": "nonsense"}));
    heard(&mut upstream);
    upstream.text("{\"id\":4,\"type\":\"result\",\"success\":false}");
    assert_eq!(other.until(|line| line["id"] == "y")["failed"], true);
}

#[test]
fn a_subscription_by_a_key_of_the_servers_and_with_an_end() {
    let (_server, daemon, mut upstream) = up(
        "[requests]\nid = \"/id\"\n[[requests.stream]]\nwhen = { \"/method\" = \"eth_subscribe\" }\nkey_from = \"/result\"\n\
         key = \"/params/subscription\"\nend = { \"/params/done\" = true }\n\
         cancel = '{\"id\":${next_id},\"method\":\"eth_unsubscribe\",\"params\":[${key}]}'\n",
    );
    let (mut one, mut other) = (daemon.client(), daemon.client());
    for client in [&mut one, &mut other] {
        client.asks(json!(1), json!({"id": 1, "method": "eth_subscribe"}));
        let ask = heard(&mut upstream);
        upstream.text(&json!({"id": ask["id"], "result": format!("0x{}", ask["id"])}).to_string());
        assert_eq!(client.until(|line| line["type"] == "answer")["more"], true);
    }
    let notify = |key: &str, done: bool| json!({"method": "eth_subscription", "params": {"subscription": key, "done": done}});
    upstream.text(&notify("0x2", false).to_string());
    upstream.text(&notify("0x1", true).to_string());
    let event = other.until(|line| line["type"] == "answer");
    assert_eq!((&event["json"], &event["more"]), (&notify("0x2", false), &json!(true)));
    let last = one.until(|line| line["type"] == "answer");
    assert_eq!((&last["json"], &last["more"]), (&notify("0x1", true), &Value::Null));
    drop(other);
    assert_eq!(heard(&mut upstream), json!({"id": 3, "method": "eth_unsubscribe", "params": ["0x2"]}));
}

#[test]
fn answers_that_come_faster_than_they_are_read_end_the_stream() {
    let (_server, daemon, mut upstream) = up(HOME);
    let mut slow = daemon.client();
    slow.asks(json!("s"), json!({"id": 1, "type": "subscribe_events"}));
    let ask = heard(&mut upstream);
    let event = json!({"id": ask["id"], "type": "event", "fill": "x".repeat(60 << 10)}).to_string();
    for _ in 0..100 {
        upstream.text(&event);
    }
    assert_eq!(heard(&mut upstream)["type"], "unsubscribe_events");
    let error = slow.until(|line| line["type"] == "error");
    assert_eq!((&error["code"], &error["id"]), (&json!("overrun"), &json!("s")));
}
