//! Topics that programs share, by each profile that has them: two programs, one subscription, a break, and its end.

use serde_json::{Value, json};

use crate::{
    common::{Client, Daemon},
    profiles::play,
    simulators::{
        self,
        stage::{Order, Stage},
    },
};

/// How a profile's server is asked for a topic.
struct Case<'a> {
    profile: &'a str,
    stage: Stage,
    path: &'a str,
    user: &'a str,
    topic: &'a str,
    json: Option<Value>,
    /// What the server hears for it, and when it ends.
    subscribes: fn(&Value) -> bool,
    unsubscribes: Option<fn(&Value) -> bool>,
}

fn ask(client: &mut Client, case: &Case<'_>) -> Value {
    let mut request = json!({"op": "subscribe", "topics": [case.topic]});
    if let Some(json) = &case.json {
        request["json"] = json.clone();
    }
    client.request(request)
}

fn count(stage: &Stage, which: fn(&Value) -> bool) -> usize {
    stage.all_heard().iter().filter(|heard| which(heard)).count()
}

fn becomes(stage: &Stage, what: &str, which: fn(&Value) -> bool, times: usize) {
    stage.until(what, |book| {
        let count = book.heard.iter().filter(|entry| which(&entry.json())).count();
        (count >= times).then_some(())
    });
}

fn plays(case: &Case<'_>) {
    let user = format!("{}\n[topics]\nlinger = \"50ms\"\n", case.user);
    let daemon: Daemon = play::start(case.profile, &case.stage, case.path, &user);
    let mut one = play::up(&daemon);
    let mut other = daemon.client();
    for client in [&mut one, &mut other] {
        let answer = ask(client, case);
        assert_eq!(answer["result"], "subscribed", "{}: {answer}", case.profile);
    }
    // where no answer is expected, the server may not have read it yet
    becomes(&case.stage, "it is asked for", case.subscribes, 1);
    assert_eq!(count(&case.stage, case.subscribes), 1, "{}: once for both", case.profile);
    let row = one.status()["subscriptions"]["rows"][0].clone();
    assert_eq!(row, json!({"topic": case.topic, "clients": 2, "state": "subscribed"}), "{}", case.profile);

    case.stage.order(Order::Drop);
    one.link("up");
    becomes(&case.stage, "it again, after a break", case.subscribes, 2);
    drop(one);
    let answer = other.request(json!({"op": "unsubscribe", "topics": [case.topic]}));
    assert_eq!(answer["result"], "unsubscribed", "{}", case.profile);
    if let Some(unsubscribes) = case.unsubscribes {
        becomes(&case.stage, "the end of it", unsubscribes, 1);
    }
    assert_eq!(count(&case.stage, case.subscribes), 2, "{}", case.profile);
    case.stage.assert_no_violations();
}

#[test]
fn binance() {
    plays(&Case {
        profile: "binance",
        stage: simulators::binance::open(simulators::binance::Settings::default()),
        path: "/stream",
        user: "",
        topic: "ethusdt@depth",
        json: None,
        subscribes: |heard| heard["method"] == "SUBSCRIBE" && heard["params"] == json!(["ethusdt@depth"]),
        unsubscribes: Some(|heard| heard["method"] == "UNSUBSCRIBE"),
    });
}

#[test]
fn bybit() {
    plays(&Case {
        profile: "bybit",
        stage: simulators::bybit::open(simulators::bybit::Settings::default()),
        path: "/v5/public/linear",
        user: "",
        topic: "orderbook.50.BTCUSDT",
        json: None,
        subscribes: |heard| heard["op"] == "subscribe" && heard["args"] == json!(["orderbook.50.BTCUSDT"]),
        unsubscribes: Some(|heard| heard["op"] == "unsubscribe"),
    });
}

#[test]
fn deribit() {
    plays(&Case {
        profile: "deribit",
        stage: simulators::deribit::open(simulators::deribit::Settings::default()),
        path: "/ws/api/v2",
        user: "",
        topic: "book.ETH-PERPETUAL.100ms",
        json: None,
        subscribes: |heard| {
            let channels = json!(["book.ETH-PERPETUAL.100ms"]);
            heard["method"] == "public/subscribe" && heard["params"]["channels"] == channels
        },
        unsubscribes: Some(|heard| heard["method"] == "public/unsubscribe"),
    });
}

#[test]
fn jsonrpc() {
    plays(&Case {
        profile: "jsonrpc",
        stage: simulators::ethereum::open(),
        path: "/",
        user: "",
        topic: "newHeads",
        json: None,
        subscribes: |heard| heard["method"] == "eth_subscribe" && heard["params"] == json!(["newHeads"]),
        // by the id that the second connection's subscription was given
        unsubscribes: Some(|heard| heard["method"] == "eth_unsubscribe" && heard["params"] == json!(["0x2"])),
    });
}

#[test]
fn kraken() {
    plays(&Case {
        profile: "kraken",
        stage: simulators::kraken::open(simulators::kraken::Settings::default()),
        path: "/v2",
        user: "",
        topic: "trade.ETH/USD",
        json: None,
        subscribes: |heard| {
            let params = json!({"channel": "trade", "symbol": ["ETH/USD"]});
            heard["method"] == "subscribe" && heard["params"] == params
        },
        unsubscribes: Some(|heard| heard["method"] == "unsubscribe"),
    });
}

#[test]
fn okx() {
    plays(&Case {
        profile: "okx",
        stage: simulators::okx::open(simulators::okx::Settings::default()),
        path: "/ws/v5/public",
        user: "",
        topic: "books.BTC-USDT",
        json: None,
        subscribes: |heard| {
            heard["op"] == "subscribe" && heard["args"] == json!([{"channel": "books", "instId": "BTC-USDT"}])
        },
        unsubscribes: Some(|heard| heard["op"] == "unsubscribe"),
    });
}

#[test]
fn coinbase() {
    plays(&Case {
        profile: "coinbase",
        stage: simulators::coinbase::open(simulators::coinbase::Settings::default()),
        path: "/",
        user: "",
        topic: "level2.ETH-USD",
        json: None,
        subscribes: |heard| {
            heard["type"] == "subscribe"
                && heard["channel"] == "level2"
                && heard["product_ids"] == json!(["ETH-USD"])
        },
        unsubscribes: Some(|heard| heard["type"] == "unsubscribe"),
    });
}

#[test]
fn phoenix() {
    plays(&Case {
        profile: "phoenix",
        stage: simulators::phoenix::open(simulators::phoenix::Settings::default()),
        path: "/socket/websocket?vsn=2.0.0&token=good-token",
        user: "[vars]\ntopic = \"room:lobby\"\nparams = { pass = \"please\" }",
        topic: "room:open",
        json: None,
        subscribes: |heard| heard[2] == "room:open" && heard[3] == "phx_join" && heard[0] == heard[1],
        unsubscribes: Some(|heard| heard[2] == "room:open" && heard[3] == "phx_leave"),
    });
}

#[test]
fn graphql_ws() {
    plays(&Case {
        profile: "graphql-ws",
        stage: simulators::graphql_ws::open(simulators::graphql_ws::Settings::default()),
        path: "/graphql",
        user: "[vars]\ninit = { authorization = \"Bearer good-token\" }",
        topic: "price",
        json: Some(json!({"query": "subscription { price }"})),
        subscribes: |heard| {
            heard["type"] == "subscribe" && heard["payload"]["query"] == "subscription { price }"
        },
        unsubscribes: Some(|heard| heard["type"] == "complete"),
    });
}

#[test]
fn centrifugo() {
    plays(&Case {
        profile: "centrifugo",
        stage: simulators::centrifugo::open(simulators::centrifugo::Settings::default()),
        path: "/connection/websocket",
        user: "[vars]\nchannel = \"news\"\ntoken = \"a good token\"",
        topic: "chat",
        json: None,
        subscribes: |heard| heard["subscribe"]["channel"] == "chat",
        unsubscribes: Some(|heard| heard["unsubscribe"]["channel"] == "chat"),
    });
}

#[test]
fn home_assistant() {
    plays(&Case {
        profile: "home-assistant",
        stage: simulators::home_assistant::open(simulators::home_assistant::Settings::default()),
        path: "/api/websocket",
        user: "[vars]\ntoken = \"good-token\"",
        topic: "state_changed",
        json: None,
        subscribes: |heard| heard["type"] == "subscribe_events" && heard["event_type"] == "state_changed",
        unsubscribes: Some(|heard| heard["type"] == "unsubscribe_events" && heard["subscription"] == 2),
    });
}

#[test]
fn signalk() {
    plays(&Case {
        profile: "signalk",
        stage: simulators::signalk::open(simulators::signalk::Settings::default()),
        path: "/signalk/v1/stream?subscribe=none",
        user: "[vars]\nusername = \"john\"\npassword = \"good-password\"",
        topic: "navigation.speedOverGround",
        json: None,
        subscribes: |heard| heard["subscribe"] == json!([{"path": "navigation.speedOverGround"}]),
        unsubscribes: None,
    });
}
