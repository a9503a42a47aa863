//! Kraken's spot market, WebSocket API v2, and the one REST call that its private channels need.
//!
//! The rules, each named where it is applied, are those of
//! - Status: "Status", <https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status>
//! - Heartbeat: "Heartbeat", <https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/heartbeat>
//! - Ping: "Ping", <https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ping>
//! - Token: "Get Websockets Token", <https://docs.kraken.com/api-reference/trading/get-websockets-token>
//! - Alive: "WebSockets subscriptions", <https://support.kraken.com/hc/en-us/articles/360022635632>
//! - Introduction: "Spot WebSocket Introduction", <https://docs.kraken.com/exchange/guides/websockets/introduction>

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage, Window};

/// Who may ask for a token.
pub const KEY: &str = "the key";

/// The server's bounds. The default is what it publishes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From one heartbeat to the next, where nothing else is sent.
    pub heartbeat: Duration,
    /// How long a connection without a subscription may be silent.
    pub idle: Duration,
    /// How long a token may wait for its use.
    pub token_life: Duration,
    /// Connections in ten minutes.
    pub connects: usize,
    /// What can be subscribed to.
    pub symbols: &'static [&'static str],
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            heartbeat: Duration::from_secs(1),
            idle: Duration::from_secs(60),
            token_life: Duration::from_secs(900),
            connects: 150,
            symbols: &["BTC/USD", "ETH/USD"],
        }
    }
}

struct World {
    settings: Settings,
    connects: RefCell<Window>,
    /// Tokens that were given out, and until when each may be used first.
    tokens: RefCell<Vec<(String, Instant)>>,
    given: Cell<usize>,
}

/// Opens the server: `/v2`, and `POST /0/private/GetWebSocketsToken`. `Order::Say("CHANNEL JSON")` is an
/// update of that channel, for who has subscribed to it.
pub fn open(settings: Settings) -> Stage {
    let connects = RefCell::new(Window::new(settings.connects, Duration::from_secs(600)));
    Stage::open(World { settings, connects, tokens: RefCell::default(), given: Cell::new(0) }, visit)
}

async fn visit(world: Rc<World>, guest: Guest) {
    match guest.path.as_str() {
        "/0/private/GetWebSocketsToken" => return give_token(&world, guest).await,
        "/v2" if guest.wants_upgrade() => {}
        _ => {
            guest.violation(format!("no such path: {}", guest.path));
            return guest.answer(404, "", "").await;
        }
    }
    // Cloudflare, in front of Kraken, lets about 150 attempts through in 10 minutes from one address
    if !world.connects.borrow_mut().take() {
        guest.violation("more connections in 10 minutes than allowed");
        return guest.answer(429, "", "").await;
    }
    let peer = guest.upgrade(None).await;
    Session { world, peer, channels: BTreeSet::new() }.run().await;
}

/// Token: it is asked for by REST, and must be used within 15 minutes.
async fn give_token(world: &World, guest: Guest) {
    let allowed = guest.method == "POST" && guest.header("api-key") == Some(KEY);
    if !allowed {
        guest.violation("a token was asked for with the wrong key");
        return guest.answer(200, "", r#"{"error":["EAPI:Invalid key"]}"#).await;
    }
    world.given.set(world.given.get() + 1);
    let token = format!("token-{}", world.given.get());
    world.tokens.borrow_mut().push((token.clone(), Instant::now() + world.settings.token_life));
    guest.event("token");
    let expires = world.settings.token_life.as_secs();
    let answer = json!({"error": [], "result": {"token": token, "expires": expires}});
    guest.answer(200, "Content-Type: application/json\r\n", &answer.to_string()).await;
}

struct Session {
    world: Rc<World>,
    peer: Peer,
    channels: BTreeSet<String>,
}

impl Session {
    async fn run(&mut self) {
        // Status: comes by itself on each new connection
        let data = json!([{"api_version": "v2", "connection_id": 1_000 + self.peer.number,
            "system": "online", "version": "2.0.9"}]);
        self.peer.say(json!({"channel": "status", "type": "update", "data": data})).await;
        let mut heard_at = Instant::now();
        let mut said_at = heard_at;
        loop {
            // Alive: a ping at least every 60 seconds. It is said of futures; where a spot connection has
            // a subscription, its heartbeats keep it
            let idle = heard_at + self.world.settings.idle;
            // Heartbeat: about once a second, where nothing else comes, once there is a subscription
            let beat = said_at + self.world.settings.heartbeat;
            let deadline = if self.channels.is_empty() { idle } else { beat };
            match self.peer.hear(Some(deadline)).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Text(text) => {
                    heard_at = Instant::now();
                    for reply in self.answer(&text) {
                        self.peer.say(reply).await;
                    }
                }
                Heard::Binary(_) => return self.peer.refuse(1003, "").await,
                Heard::Ping | Heard::Pong => heard_at = Instant::now(),
                Heard::Late if self.channels.is_empty() => {
                    // what Cloudflare ends, ends without a close frame
                    self.peer.violation("silent, without a subscription");
                    self.peer.event("dropped");
                    return;
                }
                Heard::Late => {
                    self.peer.say(json!({"channel": "heartbeat"})).await;
                    said_at = Instant::now();
                }
                Heard::Order(Order::Say(text)) => {
                    let (channel, data) = text.split_once(' ').expect("CHANNEL JSON");
                    if self.channels.contains(channel) {
                        let update = format!(r#"{{"channel":"{channel}","type":"update","data":[{data}]}}"#);
                        self.peer.say(update).await;
                        said_at = Instant::now();
                    }
                }
                Heard::Order(order) => {
                    if !self.peer.obey(order).await {
                        return;
                    }
                }
            }
        }
    }

    fn answer(&mut self, text: &str) -> Vec<Value> {
        let request: Value = serde_json::from_str(text).unwrap_or_default();
        let req_id = &request["req_id"];
        let method = request["method"].as_str().unwrap_or("");
        let params = &request["params"];
        let answers = match method {
            "ping" => {
                self.peer.event("ping");
                vec![json!({"method": "pong"})]
            }
            "subscribe" | "unsubscribe" => self.subscribe(method, params),
            _ => vec![self.wrong(method, "Malformed request")],
        };
        answers.into_iter().map(|answer| stamped(answer, req_id)).collect()
    }

    /// Introduction: each symbol of a request has its own answer.
    fn subscribe(&mut self, method: &str, params: &Value) -> Vec<Value> {
        let channel = params["channel"].as_str().unwrap_or("");
        let on = method == "subscribe";
        match channel {
            "executions" | "balances" => {
                // Introduction: private channels need a token
                let Some(token) = params["token"].as_str() else {
                    return vec![self.wrong(method, "EGeneral:Invalid arguments:token")];
                };
                if !self.world.accepts(token) {
                    return vec![self.wrong(method, "ESession:Invalid session")];
                }
                self.switch(channel, on);
                vec![json!({"method": method, "result": {"channel": channel}, "success": true})]
            }
            "ticker" | "book" | "trade" | "ohlc" | "instrument" => {
                let symbols = params["symbol"].as_array().cloned().unwrap_or_default();
                if symbols.is_empty() && channel != "instrument" {
                    return vec![self.wrong(method, "Symbol(s) not found")];
                }
                let mut answers = Vec::new();
                for symbol in symbols.iter().filter_map(Value::as_str) {
                    if self.world.settings.symbols.contains(&symbol) {
                        self.switch(channel, on);
                        let result = json!({"channel": channel, "symbol": symbol, "snapshot": true});
                        answers.push(json!({"method": method, "result": result, "success": true}));
                    } else {
                        let error = format!("Currency pair not supported {symbol}");
                        answers.push(self.wrong(method, &error));
                    }
                }
                answers
            }
            // Status, Heartbeat: nobody can subscribe to them
            _ => vec![self.wrong(method, "Channel not found")],
        }
    }

    fn switch(&mut self, channel: &str, on: bool) {
        let known = if on { self.channels.insert(channel.to_owned()) } else { self.channels.remove(channel) };
        let what = if on { "subscribed" } else { "unsubscribed" };
        self.peer.event(format!("{what} {channel}"));
        if !on && !known {
            self.peer.violation(format!("unsubscribed from {channel} without a subscription"));
        }
    }

    fn wrong(&mut self, method: &str, error: &str) -> Value {
        self.peer.violation(format!("{method}: {error}"));
        json!({"error": error, "method": method, "success": false})
    }
}

impl World {
    /// Token: one that was used for a private subscription stays good.
    fn accepts(&self, token: &str) -> bool {
        let now = Instant::now();
        let mut tokens = self.tokens.borrow_mut();
        let Some((_, until)) = tokens.iter_mut().find(|(known, until)| known == token && now < *until) else {
            return false;
        };
        *until = now + Duration::from_secs(86_400);
        true
    }
}

fn stamped(mut answer: Value, req_id: &Value) -> Value {
    if !req_id.is_null() {
        answer["req_id"] = req_id.clone();
    }
    answer["time_in"] = "2026-01-05T12:00:00.000001Z".into();
    answer["time_out"] = "2026-01-05T12:00:00.000002Z".into();
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::{Visitor, http};

    fn enter(stage: &Stage) -> Visitor {
        let mut visitor = Visitor::enter(stage, "/v2");
        let status = visitor.json();
        assert_eq!((&status["channel"], &status["data"][0]["system"]), (&"status".into(), &"online".into()));
        visitor
    }

    #[test]
    fn the_status_comes_first_and_heartbeats_follow_a_subscription() {
        let stage = open(Settings { heartbeat: Duration::from_millis(20), ..Settings::default() });
        let mut visitor = enter(&stage);
        visitor.say(r#"{"method":"ping","req_id":101}"#);
        let pong = visitor.json();
        assert_eq!((&pong["method"], &pong["req_id"]), (&"pong".into(), &101.into()));
        let params = json!({"channel": "ticker", "symbol": ["BTC/USD", "ETH/USD"]});
        visitor.say(json!({"method": "subscribe", "params": params, "req_id": 2}));
        for symbol in ["BTC/USD", "ETH/USD"] {
            let done = visitor.json();
            assert_eq!((&done["success"], &done["result"]["symbol"]), (&true.into(), &symbol.into()));
        }
        assert_eq!(visitor.json(), json!({"channel": "heartbeat"}));
        stage.order(Order::Say(r#"ticker {"last":1.5}"#.into()));
        assert_eq!(visitor.until(|message| message["channel"] == "ticker")["data"][0]["last"], 1.5);
        stage.assert_no_violations();
    }

    #[test]
    fn what_cannot_be_subscribed_to_is_refused_with_its_reason() {
        for (params, error) in [
            (json!({"channel": "ticker", "symbol": ["XXX/YYY"]}), "Currency pair not supported XXX/YYY"),
            (json!({"channel": "executions"}), "EGeneral:Invalid arguments:token"),
            (json!({"channel": "executions", "token": "made up"}), "ESession:Invalid session"),
            (json!({"channel": "heartbeat"}), "Channel not found"),
        ] {
            let stage = open(Settings::default());
            let mut visitor = enter(&stage);
            visitor.say(json!({"method": "subscribe", "params": params, "req_id": 3}));
            let answer = visitor.json();
            assert_eq!((&answer["success"], &answer["req_id"]), (&false.into(), &3.into()));
            assert_eq!(answer["error"], error);
            assert_eq!(stage.violations().len(), 1);
        }
    }

    #[test]
    fn a_token_opens_private_channels_until_it_is_old() {
        for (token_life, success) in [(Settings::default().token_life, true), (Duration::ZERO, false)] {
            let stage = open(Settings { token_life, ..Settings::default() });
            let path = "/0/private/GetWebSocketsToken";
            let (status, answer) = http(&stage, "POST", path, &format!("API-Key: {KEY}\r\n"), "nonce=1");
            assert_eq!(status, 200);
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let mut visitor = enter(&stage);
            let params = json!({"channel": "executions", "token": answer["result"]["token"]});
            visitor.say(json!({"method": "subscribe", "params": params}));
            assert_eq!(visitor.json()["success"], success);
        }
    }

    #[test]
    fn a_wrong_key_gets_no_token() {
        let stage = open(Settings::default());
        let path = "/0/private/GetWebSocketsToken";
        let (_, answer) = http(&stage, "POST", path, "API-Key: wrong\r\n", "nonce=1");
        assert_eq!(answer, r#"{"error":["EAPI:Invalid key"]}"#);
    }

    #[test]
    fn a_silent_connection_without_a_subscription_is_dropped() {
        let stage = open(Settings { idle: Duration::from_millis(30), ..Settings::default() });
        let mut visitor = enter(&stage);
        assert_eq!(visitor.closed().0, 1006);
        assert_eq!(stage.violations().len(), 1);
    }

    #[test]
    fn too_many_connections_are_refused() {
        let stage = open(Settings { connects: 1, ..Settings::default() });
        let _visitor = enter(&stage);
        assert_eq!(Visitor::try_enter(&stage, "/v2", &[]).err(), Some(429));
        assert_eq!(Visitor::try_enter(&stage, "/v1", &[]).err(), Some(404));
    }
}
