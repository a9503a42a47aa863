//! Deribit's JSON-RPC API v2.
//!
//! Rules: <https://docs.deribit.com>, "public/auth", "public/set_heartbeat", "public/test", "public/subscribe",
//! "private/subscribe", "public/unsubscribe" and the list of error codes; the articles "Authentication" (Client
//! signature), "Connection Management" (32 connections from one address) and "Rate Limits" (requests that are no orders:
//! 20 in a second; subscriptions: 10 at once, and one more each 0.3 s).

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    signed::{hmac_sha256, now_ms},
    stage::{Guest, Heard, Order, Peer, Stage, Window},
};

/// The one API key.
pub const ID: &str = "AMANDA";
pub const SECRET: &str = "AMANDASECRECT";

/// The server's bounds. The default is what it publishes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a second of `set_heartbeat` takes.
    pub second: Duration,
    /// How much later than the next heartbeat the answer to a test request may be, on a busy machine.
    pub patience: Duration,
    /// Connections at once from one address.
    pub connections: usize,
    /// Subscriptions in three seconds.
    pub subscriptions: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        let patience = Duration::from_secs(30);
        Settings { second: Duration::from_secs(1), patience, connections: 32, subscriptions: 10 }
    }
}

struct World {
    settings: Settings,
    open: Cell<usize>,
    /// Nonces that were used, each with its time.
    nonces: RefCell<BTreeSet<(u64, String)>>,
}

/// Opens the server: `/ws/api/v2`. `Order::Say("CHANNEL JSON")` is a notification of that channel, for who has
/// subscribed to it. `Order::Do("expire")` ends the login.
/// Events: `auth`, `expired`, `test`, `subscribe CHANNEL`, `unsubscribe CHANNEL`.
pub fn open(settings: Settings) -> Stage {
    Stage::open(World { settings, open: Cell::new(0), nonces: RefCell::default() }, visit)
}

/// Client signature: the hex of the HMAC-SHA256 of time, nonce and data, each but the last with a line's end.
pub fn sign(secret: &str, timestamp: u64, nonce: &str, data: &str) -> String {
    hmac_sha256(secret, &format!("{timestamp}\n{nonce}\n{data}"))
}

async fn visit(world: Rc<World>, guest: Guest) {
    if guest.path != "/ws/api/v2" {
        guest.violation(format!("no such path: {}", guest.path));
        return guest.answer(404, "", "").await;
    }
    if world.open.get() >= world.settings.connections {
        guest.violation("more connections at once than allowed");
        return guest.answer(429, "", "").await;
    }
    world.open.set(world.open.get() + 1);
    let peer = guest.upgrade(None).await;
    let mut session = Session {
        world: &world,
        peer,
        logged_in: false,
        channels: BTreeMap::new(),
        subscriptions: Window::new(world.settings.subscriptions, Duration::from_secs(3)),
        requests: Window::new(100, Duration::from_secs(5)),
        heartbeat: None,
    };
    session.run().await;
    world.open.set(world.open.get() - 1);
}

struct Session<'a> {
    world: &'a World,
    peer: Peer,
    logged_in: bool,
    /// What was subscribed to, and whether it needs the login.
    channels: BTreeMap<String, bool>,
    subscriptions: Window,
    requests: Window,
    heartbeat: Option<Heartbeat>,
}

/// `set_heartbeat`: a heartbeat and a test request, turn by turn.
struct Heartbeat {
    interval: Duration,
    next: Instant,
    asks: bool,
    /// By when a test request is to be answered, where one isn't yet.
    owed: Option<Instant>,
}

/// A code and a message of the list of errors.
type Error = (i64, &'static str);

const INVALID_PARAMS: Error = (-32602, "Invalid params");
const UNAUTHORIZED: Error = (13009, "unauthorized");

impl Session<'_> {
    async fn run(&mut self) {
        loop {
            let due = self.heartbeat.as_ref().map(|heartbeat| heartbeat.next);
            match self.peer.hear(due).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Text(text) => {
                    let request: Value = serde_json::from_str(&text).unwrap_or_default();
                    let mut answer = match self.answer(&request) {
                        Ok(result) => json!({"jsonrpc": "2.0", "result": result}),
                        Err((code, message)) => {
                            self.peer.violation(format!("{code} {message}: {text}"));
                            json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}})
                        }
                    };
                    if let Some(id) = request.get("id") {
                        answer["id"] = id.clone();
                    }
                    let ends = answer["error"]["code"] == 10028;
                    self.peer.say(answer).await;
                    // Rate Limits: who goes on beyond them is disconnected
                    if ends {
                        return;
                    }
                }
                Heard::Binary(_) => self.peer.violation("a binary message"),
                Heard::Ping | Heard::Pong => {}
                Heard::Late => {
                    if !self.beat().await {
                        return;
                    }
                }
                Heard::Order(Order::Say(text)) => {
                    let (channel, data) = text.split_once(' ').expect("CHANNEL JSON");
                    if self.channels.get(channel).is_some_and(|private| self.logged_in || !private) {
                        let params = format!(r#"{{"channel":"{channel}","data":{data}}}"#);
                        self.peer
                            .say(format!(r#"{{"jsonrpc":"2.0","method":"subscription","params":{params}}}"#))
                            .await;
                    }
                }
                Heard::Order(Order::Do("expire")) => {
                    self.logged_in = false;
                    self.peer.event("expired");
                }
                Heard::Order(order) => {
                    if !self.peer.obey(order).await {
                        return;
                    }
                }
            }
        }
    }

    /// `false` means that the last test request wasn't answered, which ends the connection.
    async fn beat(&mut self) -> bool {
        let Some(heartbeat) = &mut self.heartbeat else { return true };
        let now = Instant::now();
        if heartbeat.owed.is_some_and(|by| by <= now) {
            self.peer.violation("a test_request without an answer");
            return false;
        }
        let kind = if heartbeat.asks { "test_request" } else { "heartbeat" };
        heartbeat.next = now + heartbeat.interval;
        if heartbeat.asks {
            heartbeat.owed.get_or_insert(heartbeat.next + self.world.settings.patience);
        }
        heartbeat.asks = !heartbeat.asks;
        self.peer.say(json!({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": kind}})).await;
        true
    }

    fn answer(&mut self, request: &Value) -> Result<Value, Error> {
        if request["jsonrpc"] != "2.0" || !request["id"].is_u64() {
            return Err((-32600, "Invalid Request"));
        }
        if !self.requests.take() {
            return Err((10028, "too_many_requests"));
        }
        let params = &request["params"];
        let method = request["method"].as_str().unwrap_or("");
        if method.starts_with("private/") && !self.logged_in {
            return Err(UNAUTHORIZED);
        }
        match method {
            "public/auth" => self.login(params),
            "public/set_heartbeat" => {
                let interval = params["interval"].as_u64().filter(|interval| *interval >= 10);
                let interval = self.world.settings.second * interval.ok_or(INVALID_PARAMS)? as u32;
                let next = Instant::now() + interval;
                self.heartbeat = Some(Heartbeat { interval, next, asks: false, owed: None });
                Ok("ok".into())
            }
            "public/test" => {
                self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.owed = None);
                self.peer.event("test");
                Ok(json!({"version": "1.2.26"}))
            }
            "public/get_time" => Ok(now_ms().into()),
            "private/get_positions" => Ok(json!([])),
            "public/subscribe" | "private/subscribe" => {
                if !self.subscriptions.take() {
                    return Err((10028, "too_many_requests"));
                }
                self.channels(params, method == "private/subscribe", true)
            }
            "public/unsubscribe" | "private/unsubscribe" => self.channels(params, true, false),
            _ => Err((-32601, "Method not found")),
        }
    }

    /// What is subscribed to comes back; what there is not is left out.
    fn channels(&mut self, params: &Value, private: bool, on: bool) -> Result<Value, Error> {
        let channels = params["channels"].as_array().filter(|list| !list.is_empty()).ok_or(INVALID_PARAMS)?;
        let mut done = Vec::new();
        for channel in channels {
            let channel = channel.as_str().ok_or(INVALID_PARAMS)?;
            let is_private = channel.starts_with("user.") || channel.ends_with(".raw");
            let known = ["ticker.", "book.", "trades.", "user."].iter().any(|kind| channel.starts_with(kind));
            if !known || is_private && !private {
                continue;
            }
            self.peer.event(format!("{} {channel}", if on { "subscribe" } else { "unsubscribe" }));
            match on {
                true => drop(self.channels.insert(channel.to_owned(), is_private)),
                false => drop(self.channels.remove(channel)),
            }
            done.push(channel);
        }
        Ok(json!(done))
    }

    fn login(&mut self, params: &Value) -> Result<Value, Error> {
        let text = |name: &str| params[name].as_str().unwrap_or("");
        let right = match text("grant_type") {
            "client_credentials" => text("client_id") == ID && text("client_secret") == SECRET,
            "client_signature" => {
                let timestamp = params["timestamp"].as_u64().ok_or(INVALID_PARAMS)?;
                let nonce = text("nonce");
                let fresh = self.world.nonces.borrow_mut().insert((timestamp, nonce.to_owned()));
                text("client_id") == ID
                    && now_ms().abs_diff(timestamp) < 60_000
                    && fresh
                    && text("signature") == sign(SECRET, timestamp, nonce, text("data"))
            }
            _ => return Err(INVALID_PARAMS),
        };
        if !right {
            return Err((13004, "invalid_credentials"));
        }
        self.logged_in = true;
        self.peer.event("auth");
        Ok(json!({"access_token": "1582628593469.1MbQ-J_4", "expires_in": 31_536_000, "token_type": "bearer",
            "refresh_token": "1582628593469.1GP4rQd0", "scope": "connection mainaccount"}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::Visitor;

    fn enter(stage: &Stage) -> Visitor {
        Visitor::enter(stage, "/ws/api/v2")
    }

    fn ask(visitor: &mut Visitor, method: &str, params: Value) -> Value {
        visitor.say(json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}));
        visitor.until(|message| message["id"] == 7)
    }

    fn signed(change: impl Fn(&mut Value)) -> Value {
        let now = now_ms();
        let signature = sign(SECRET, now, "abcd", "");
        let mut params = json!({"grant_type": "client_signature", "client_id": ID, "timestamp": now,
            "nonce": "abcd", "data": "", "signature": signature});
        change(&mut params);
        params
    }

    #[test]
    fn the_signature_is_that_of_the_guide() {
        // the example of "Client signature", computed with openssl
        assert_eq!(
            sign("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 1_576_074_319_000, "1iqt2wls", ""),
            "135ef373ea352dea86ed0d6e98f3110d730fcde0c72b96781523eb05af2a828e"
        );
    }

    #[test]
    fn a_login_by_signature_opens_private_channels() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage);
        let login = ask(&mut visitor, "public/auth", signed(|_| {}));
        assert!(login["result"]["access_token"].is_string(), "{login}");
        let done =
            ask(&mut visitor, "private/subscribe", json!({"channels": ["user.orders.any.any.raw", "no"]}));
        assert_eq!(done["result"], json!(["user.orders.any.any.raw"]));
        stage.order(Order::Say(r#"user.orders.any.any.raw {"order_id":"1"}"#.into()));
        assert_eq!(visitor.json()["params"]["data"]["order_id"], "1");
        stage.assert_no_violations();
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        let channels = json!({"channels": ["user.orders.any.any.raw"]});
        for (method, params, code) in [
            ("public/auth", signed(|params| params["client_id"] = "BOB".into()), 13004),
            ("public/auth", signed(|params| params["signature"] = "00".into()), 13004),
            ("public/auth", signed(|params| params["timestamp"] = 1_576_074_319_000_u64.into()), 13004),
            ("public/auth", json!({"grant_type": "nothing"}), -32602),
            ("private/subscribe", channels.clone(), 13009),
            ("public/set_heartbeat", json!({"interval": 9}), -32602),
            ("public/fly", json!({}), -32601),
        ] {
            let stage = open(Settings::default());
            let answer = ask(&mut enter(&stage), method, params);
            assert_eq!(answer["error"]["code"], code, "{answer}");
            assert_eq!(stage.violations().len(), 1);
        }
        let stage = open(Settings::default());
        let done = ask(&mut enter(&stage), "public/subscribe", channels);
        assert_eq!(done["result"], json!([]), "a private channel isn't public");
    }

    #[test]
    fn a_nonce_is_good_once_and_a_login_ends() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage);
        let params = signed(|_| {});
        assert!(ask(&mut visitor, "public/auth", params.clone())["result"].is_object());
        assert_eq!(ask(&mut visitor, "public/auth", params)["error"]["code"], 13004);
        stage.order(Order::Do("expire"));
        stage.event("expired", 1);
        assert_eq!(ask(&mut visitor, "private/get_positions", json!({}))["error"]["code"], 13009);
    }

    #[test]
    fn a_test_request_that_is_not_answered_ends_the_connection() {
        let second = Duration::from_millis(2);
        let stage = open(Settings { second, ..Settings::default() });
        let mut visitor = enter(&stage);
        ask(&mut visitor, "public/set_heartbeat", json!({"interval": 10}));
        for kind in ["heartbeat", "test_request"] {
            assert_eq!(visitor.json()["params"]["type"], kind);
        }
        visitor.say(json!({"jsonrpc": "2.0", "id": 9, "method": "public/test", "params": {}}));
        visitor.until(|message| message["id"] == 9);
        stage.event("test", 1);
        stage.assert_no_violations();
        let stage = open(Settings { second, patience: Duration::ZERO, ..Settings::default() });
        let mut visitor = enter(&stage);
        ask(&mut visitor, "public/set_heartbeat", json!({"interval": 10}));
        assert_eq!(visitor.closed().0, 1006);
        assert!(stage.violations()[0].contains("test_request"));
    }

    #[test]
    fn too_much_is_refused() {
        let stage = open(Settings { connections: 1, subscriptions: 1, ..Settings::default() });
        let mut visitor = enter(&stage);
        assert_eq!(Visitor::try_enter(&stage, "/ws/api/v2", &[]).err(), Some(429));
        let channels = json!({"channels": ["ticker.A"]});
        assert_eq!(ask(&mut visitor, "public/subscribe", channels.clone())["result"], json!(["ticker.A"]));
        assert_eq!(ask(&mut visitor, "public/subscribe", channels)["error"]["code"], 10028);
        assert_eq!(visitor.closed().0, 1006);
    }
}
