//! Requests by each profile that has them: two programs whose ids are the same, and each has its own answer alone.

use serde_json::{Value, json};

use crate::{
    common::Client,
    profiles::play,
    simulators::{
        self,
        stage::{Order, Stage},
    },
};

/// How a profile's server is asked.
struct Case<'a> {
    profile: &'a str,
    stage: Stage,
    path: &'a str,
    user: &'a str,
    /// What is asked, each time with the same id.
    ask: Value,
    /// Where the id is.
    id: &'a str,
    /// What the server can't do, with what it must say then.
    wrong: Option<Value>,
}

fn ask(client: &mut Client, name: &str, json: &Value) {
    client.write(format!("{}\n", json!({"op": "request", "id": name, "json": json})).as_bytes());
}

fn answer(client: &mut Client, name: &str) -> Value {
    client.until(|line| line["id"] == name)
}

fn plays(case: &Case<'_>) {
    let daemon = play::start(case.profile, &case.stage, case.path, case.user);
    let mut one = play::up(&daemon);
    let (mut other, mut witness) = (daemon.client(), daemon.client());
    let asked = case.ask.pointer(case.id);
    for round in 0..3 {
        let name = format!("r{round}");
        ask(&mut one, &name, &case.ask);
        ask(&mut other, &name, &case.ask);
        for client in [&mut one, &mut other] {
            let answer = answer(client, &name);
            assert_eq!((&answer["type"], &answer["failed"]), (&json!("answer"), &Value::Null), "{answer}");
            assert_eq!(answer["json"].pointer(case.id), asked, "{answer}");
        }
    }
    if let Some(wrong) = &case.wrong {
        ask(&mut one, "wrong", wrong);
        let answer = answer(&mut one, "wrong");
        assert_eq!(answer["failed"], true, "{answer}");
    } else {
        case.stage.assert_no_violations();
    }
    assert_eq!(
        witness.status()["counters"]["requests"]["answered"],
        if case.wrong.is_some() { 7 } else { 6 }
    );
    case.stage.order(Order::Close(1001, ""));
    drop(one);
    let seen = witness.until(|line| {
        line["type"] == "message" && line["json"].pointer(case.id) == asked || line["type"] == "link"
    });
    assert_eq!(seen["type"], "link", "nobody else sees an answer");
}

#[test]
fn binance() {
    plays(&Case {
        profile: "binance",
        stage: simulators::binance::open(simulators::binance::Settings::default()),
        path: "/stream",
        user: "",
        ask: json!({"method": "LIST_SUBSCRIPTIONS", "id": 312}),
        id: "/id",
        wrong: Some(json!({"method": "GET_PROPERTY", "params": ["nothing"], "id": 312})),
    });
}

#[test]
fn bybit() {
    plays(&Case {
        profile: "bybit",
        stage: simulators::bybit::open(simulators::bybit::Settings::default()),
        path: "/v5/public/linear",
        user: "",
        ask: json!({"req_id": "mine", "op": "ping"}),
        id: "/req_id",
        wrong: Some(json!({"req_id": "mine", "op": "subscribe", "args": ["tickers.NO"]})),
    });
}

#[test]
fn deribit() {
    plays(&Case {
        profile: "deribit",
        stage: simulators::deribit::open(simulators::deribit::Settings::default()),
        path: "/ws/api/v2",
        user: "",
        ask: json!({"jsonrpc": "2.0", "id": 1, "method": "public/get_time", "params": {}}),
        id: "/id",
        wrong: Some(json!({"jsonrpc": "2.0", "id": 1, "method": "public/fly", "params": {}})),
    });
}

#[test]
fn jsonrpc() {
    plays(&Case {
        profile: "jsonrpc",
        stage: simulators::ethereum::open(),
        path: "/",
        user: "",
        ask: json!({"jsonrpc": "2.0", "id": "mine", "method": "eth_blockNumber", "params": []}),
        id: "/id",
        wrong: Some(json!({"jsonrpc": "2.0", "id": 1, "method": "eth_fly"})),
    });
}

#[test]
fn kraken() {
    plays(&Case {
        profile: "kraken",
        stage: simulators::kraken::open(simulators::kraken::Settings::default()),
        path: "/v2",
        user: "",
        ask: json!({"method": "ping", "req_id": 101}),
        id: "/req_id",
        wrong: Some(json!({"method": "subscribe", "params": {"channel": "nothing"}, "req_id": 101})),
    });
}

#[test]
fn okx() {
    plays(&Case {
        profile: "okx",
        stage: simulators::okx::open(simulators::okx::Settings::default()),
        path: "/ws/v5/public",
        user: "",
        ask: json!({"id": "mine", "op": "subscribe", "args": [{"channel": "books", "instId": "BTC-USDT"}]}),
        id: "/id",
        wrong: Some(
            json!({"id": "mine", "op": "subscribe", "args": [{"channel": "nothing", "instId": "BTC-USDT"}]}),
        ),
    });
}

#[test]
fn phoenix() {
    plays(&Case {
        profile: "phoenix",
        stage: simulators::phoenix::open(simulators::phoenix::Settings::default()),
        path: "/socket/websocket?vsn=2.0.0&token=good-token",
        user: "[vars]\ntopic = \"room:lobby\"\nparams = { pass = \"please\" }",
        ask: json!([null, "7", "phoenix", "heartbeat", {}]),
        id: "/1",
        wrong: Some(json!([null, "7", "room:none", "phx_join", {}])),
    });
}

#[test]
fn home_assistant() {
    plays(&Case {
        profile: "home-assistant",
        stage: simulators::home_assistant::open(simulators::home_assistant::Settings::default()),
        path: "/api/websocket",
        user: "[vars]\ntoken = \"good-token\"\nsubscribe = { id = 1, type = \"subscribe_events\" }",
        ask: json!({"id": 1, "type": "get_states"}),
        id: "/id",
        wrong: None,
    });
}

#[test]
fn obs_websocket() {
    plays(&Case {
        profile: "obs-websocket",
        stage: simulators::obs_websocket::open(),
        path: "/",
        user: &format!("[vars]\npassword = \"{}\"\n", simulators::obs_websocket::PASSWORD),
        ask: json!({"op": 6, "d": {"requestType": "GetVersion", "requestId": "mine"}}),
        id: "/d/requestId",
        wrong: Some(json!({"op": 6, "d": {"requestType": "Fly", "requestId": "mine"}})),
    });
}

#[test]
fn ocpp() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use simulators::ocpp::{IDENTITY, KEY, Settings, open};
    let basic = BASE64_STANDARD.encode(format!("{IDENTITY}:{KEY}"));
    plays(&Case {
        profile: "ocpp",
        stage: open(Settings { interval: 1, ..Settings::default() }),
        path: "/ocpp/CP%201",
        user: &format!("[upstream.headers]\nAuthorization = \"Basic {basic}\"\n"),
        ask: json!([2, "1", "Authorize", {"idTag": "A"}]),
        id: "/1",
        wrong: None,
    });
}

#[test]
fn programs_that_know_nothing_of_wsfan_each_count_from_1_to_home_assistant() {
    let stage = simulators::home_assistant::open(simulators::home_assistant::Settings::default());
    let daemon = play::start("home-assistant", &stage, "/api/websocket", "[vars]\ntoken = \"good-token\"\n");
    let mut one = play::up(&daemon);
    let mut other = daemon.client();
    for (client, kind) in [(&mut one, "state_changed"), (&mut other, "call_service")] {
        client.request(
            json!({"op": "send", "json": {"id": 1, "type": "subscribe_events", "event_type": kind}}),
        );
        let first = client.until(|line| line["type"] == "answer");
        assert_eq!((&first["json"]["id"], &first["json"]["success"]), (&json!(1), &json!(true)), "{first}");
    }
    stage.order(Order::Say("light.hall".into()));
    let event = one.until(|line| line["type"] == "answer");
    assert_eq!((&event["json"]["id"], &event["json"]["type"]), (&json!(1), &json!("event")));
    one.request(json!({"op": "send", "json": {"id": 2, "type": "unsubscribe_events", "subscription": 1}}));
    let done = one.until(|line| line["type"] == "answer");
    assert_eq!((&done["json"]["id"], &done["json"]["success"]), (&json!(2), &json!(true)), "{done}");
    stage.assert_no_violations();
}

#[test]
fn graphql_operations_are_of_who_asked_until_they_are_complete_or_cancelled() {
    let stage = simulators::graphql_ws::open(simulators::graphql_ws::Settings::default());
    let user = "[vars]\ninit = { authorization = \"Bearer good-token\" }";
    let daemon = play::start("graphql-ws", &stage, "/graphql", user);
    let mut one = play::up(&daemon);
    let mut other = daemon.client();
    let operation = json!({"id": "1", "type": "subscribe", "payload": {"query": "subscription { price }"}});
    ask(&mut one, "a", &operation);
    ask(&mut other, "b", &operation);
    stage.until("both are asked", |book| {
        (book.heard.iter().filter(|heard| heard.json()["type"] == "subscribe").count() == 2).then_some(())
    });
    stage.order(Order::Say("{\"price\":1}".into()));
    for (client, name) in [(&mut one, "a"), (&mut other, "b")] {
        let next = answer(client, name);
        assert_eq!(
            (&next["more"], &next["json"]["id"], &next["json"]["type"]),
            (&json!(true), &json!("1"), &json!("next")),
            "{next}"
        );
    }
    one.request(json!({"op": "cancel", "request": "a"}));
    stage.until("its end", |book| {
        book.heard.iter().any(|heard| heard.json() == json!({"id": "1", "type": "complete"})).then_some(())
    });
    stage.order(Order::Do("complete"));
    let last = answer(&mut other, "b");
    assert_eq!((&last["more"], &last["json"]["type"]), (&Value::Null, &json!("complete")), "{last}");
    stage.assert_no_violations();
}
