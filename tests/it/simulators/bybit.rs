//! Bybit's WebSocket API v5: public and private streams.
//!
//! The rules, each named where it is applied, are those of
//! - Connect: "Connect", <https://bybit-exchange.github.io/docs/v5/ws/connect>
//! - Rate: "Rate Limit Rules", <https://bybit-exchange.github.io/docs/v5/rate-limit>
//!
//! What a wrong login is told isn't published word by word; here it is what the server says.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    signed::{hmac_sha256, now_ms},
    stage::{Guest, Heard, Order, Peer, Stage, Window},
};

/// The one account: what its owner gives to a client.
pub const KEY: &str = "OZUDHROKUZZNVZWHKN";
pub const SECRET: &str = "a secret of bybit";

/// The server's bounds. The default is what it publishes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a connection may be without a ping and without data.
    pub idle: Duration,
    /// Connections in five minutes.
    pub connects: usize,
    /// The most that `args` may have on spot.
    pub args: usize,
    /// What can be subscribed to, of public topics.
    pub topics: &'static [&'static str],
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            idle: Duration::from_secs(600),
            connects: 500,
            args: 10,
            topics: &["tickers.BTCUSDT", "tickers.ETHUSDT", "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"],
        }
    }
}

struct World {
    settings: Settings,
    connects: RefCell<Window>,
}

/// Opens the server: `/v5/public/spot`, `/v5/public/linear`, `/v5/private`. `Order::Say("TOPIC JSON")` is data of that
/// topic, for who has subscribed to it.
/// Events: `auth`, `ping`, `subscribe TOPIC`, `unsubscribe TOPIC`.
pub fn open(settings: Settings) -> Stage {
    let connects = RefCell::new(Window::new(settings.connects, Duration::from_secs(300)));
    Stage::open(World { settings, connects }, visit)
}

/// Authentication: the hex of the HMAC-SHA256 of `GET/realtime` and the time until which it is good.
pub fn sign(secret: &str, expires: u64) -> String {
    hmac_sha256(secret, &format!("GET/realtime{expires}"))
}

async fn visit(world: Rc<World>, guest: Guest) {
    // Rate: 500 connections in 5 minutes from one address, then 403
    if !world.connects.borrow_mut().take() {
        guest.violation("more connections in 5 minutes than allowed");
        return guest.answer(403, "", "").await;
    }
    let (private, spot) = match guest.path.as_str() {
        "/v5/private" => (true, false),
        "/v5/public/linear" => (false, false),
        "/v5/public/spot" => (false, true),
        other => {
            guest.violation(format!("no such path: {other}"));
            return guest.answer(404, "", "").await;
        }
    };
    let settings = world.settings.clone();
    let peer = guest.upgrade(None).await;
    Session { settings, peer, private, spot, logged_in: false, topics: BTreeSet::new() }.run().await;
}

struct Session {
    settings: Settings,
    peer: Peer,
    private: bool,
    spot: bool,
    logged_in: bool,
    topics: BTreeSet<String>,
}

impl Session {
    async fn run(&mut self) {
        // Connect: cut off after 10 minutes without ping and without data
        let mut idle = Instant::now() + self.settings.idle;
        loop {
            match self.peer.hear(Some(idle)).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Text(text) => {
                    let request: Value = serde_json::from_str(&text).unwrap_or_default();
                    if request["op"] == "ping" {
                        idle = Instant::now() + self.settings.idle;
                    }
                    let mut answer = self.answer(&request, &text);
                    // Authentication, Subscription: the id comes back, and is empty where there was none
                    answer["req_id"] = request.get("req_id").cloned().unwrap_or_else(|| "".into());
                    answer["conn_id"] = "cqg7829qo29sr7bfifu0-cuck".into();
                    self.peer.say(answer).await;
                }
                Heard::Binary(_) => self.peer.violation("a binary message"),
                Heard::Ping | Heard::Pong => {}
                Heard::Late => {
                    self.peer.violation("neither ping nor data for too long");
                    return;
                }
                Heard::Order(Order::Say(text)) => {
                    let (topic, data) = text.split_once(' ').expect("TOPIC JSON");
                    if self.topics.contains(topic) {
                        let ts = now_ms();
                        self.peer
                            .say(format!(
                                r#"{{"topic":"{topic}","type":"snapshot","ts":{ts},"data":{data}}}"#
                            ))
                            .await;
                        idle = Instant::now() + self.settings.idle;
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

    fn answer(&mut self, request: &Value, text: &str) -> Value {
        let args = request["args"].as_array().cloned().unwrap_or_default();
        match request["op"].as_str().unwrap_or("") {
            // How to Send the Heartbeat Packet: what a pong is like
            "ping" if self.private => {
                self.peer.event("ping");
                json!({"op": "pong", "args": [now_ms().to_string()]})
            }
            "ping" => {
                self.peer.event("ping");
                json!({"op": "ping", "success": true, "ret_msg": "pong"})
            }
            "auth" => match self.login(&args) {
                Ok(()) => {
                    self.logged_in = true;
                    self.peer.event("auth");
                    json!({"op": "auth", "success": true, "ret_msg": ""})
                }
                Err(why) => self.wrong("auth", why),
            },
            op @ ("subscribe" | "unsubscribe") => match self.subscribe(op, &args) {
                Ok(()) => json!({"op": op, "success": true, "ret_msg": ""}),
                Err(why) => self.wrong(op, &why),
            },
            op => self.wrong(op, &format!("error:invalid request {text}")),
        }
    }

    fn login(&self, args: &[Value]) -> Result<(), &'static str> {
        let [Value::String(key), Value::Number(expires), Value::String(signature)] = args else {
            return Err("Params Error");
        };
        let expires = expires.as_u64().ok_or("Params Error")?;
        match () {
            () if !self.private => Err("Request not authorized"),
            () if key != KEY => Err("API key is invalid."),
            // Authentication: greater than the present time
            () if expires <= now_ms() => Err("Params Error"),
            () if *signature != sign(SECRET, expires) => Err("Sign error"),
            () => Ok(()),
        }
    }

    fn subscribe(&mut self, op: &str, args: &[Value]) -> Result<(), String> {
        if self.private && !self.logged_in {
            return Err("Request not authorized".into());
        }
        // Public channel - Args limits
        if self.spot && args.len() > self.settings.args {
            return Err(format!("args size >{}", self.settings.args));
        }
        let length = args.iter().map(|arg| arg.to_string().len() + 1).sum::<usize>() + 1;
        if length > 21_000 {
            return Err("args are longer than 21,000 characters".into());
        }
        let topics: Vec<&str> = args.iter().filter_map(Value::as_str).collect();
        if topics.is_empty() || topics.len() < args.len() {
            return Err("error:args is not a list of topics".into());
        }
        for topic in &topics {
            let known = match self.private {
                true => matches!(*topic, "order" | "position" | "execution" | "wallet"),
                false => self.settings.topics.contains(topic),
            };
            if !known {
                return Err(format!("error:handler not found,topic:{topic}"));
            }
            if op == "subscribe" && self.topics.contains(*topic) {
                return Err(format!("error:topic:{topic},already subscribed"));
            }
        }
        for topic in topics {
            self.peer.event(format!("{op} {topic}"));
            match op {
                "subscribe" => self.topics.insert(topic.to_owned()),
                _ => self.topics.remove(topic),
            };
        }
        Ok(())
    }

    fn wrong(&self, op: &str, why: &str) -> Value {
        self.peer.violation(format!("{op}: {why}"));
        json!({"op": op, "success": false, "ret_msg": why})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::Visitor;

    fn login(change: impl Fn(&mut Value)) -> Value {
        let expires = now_ms() + 1_000;
        let mut request = json!({"op": "auth", "args": [KEY, expires, sign(SECRET, expires)]});
        change(&mut request["args"]);
        request
    }

    #[test]
    fn the_signature_is_that_of_the_guide() {
        // computed with `printf GET/realtime1662350400000 | openssl dgst -sha256 -hmac 'a secret of bybit'`
        assert_eq!(
            sign(SECRET, 1_662_350_400_000),
            "727b60a4e522f69ee2d52358fcea9bd8d0e9f31a710dc367f1d50eb333ebc683"
        );
    }

    #[test]
    fn a_login_opens_private_topics() {
        let stage = open(Settings::default());
        let mut visitor = Visitor::enter(&stage, "/v5/private");
        visitor.say(login(|_| {}));
        assert_eq!(visitor.json()["success"], true);
        visitor.say(r#"{"op":"subscribe","args":["order"],"req_id":"7"}"#);
        let answer = visitor.json();
        assert_eq!((&answer["success"], &answer["req_id"]), (&true.into(), &"7".into()));
        stage.order(Order::Say(r#"order [{"orderId":"1"}]"#.into()));
        assert_eq!(visitor.json()["data"][0]["orderId"], "1");
        visitor.say(r#"{"op":"ping"}"#);
        assert_eq!(visitor.json()["op"], "pong");
        stage.assert_no_violations();
    }

    #[test]
    fn a_wrong_login_is_told_what_is_wrong() {
        let late = json!(1_662_350_400_000_u64);
        for (at, value, why) in [
            (0, json!("mine"), "API key is invalid."),
            (1, late, "Params Error"),
            (1, json!("soon"), "Params Error"),
            (2, json!("00"), "Sign error"),
        ] {
            let stage = open(Settings::default());
            let mut visitor = Visitor::enter(&stage, "/v5/private");
            visitor.say(login(|args| args[at] = value.clone()));
            let answer = visitor.json();
            assert_eq!((&answer["success"], &answer["ret_msg"]), (&false.into(), &why.into()));
            assert_eq!(stage.violations().len(), 1);
        }
    }

    #[test]
    fn a_wrong_subscription_is_told_what_is_wrong() {
        let eleven: Vec<String> = (0..11).map(|number| format!("tickers.{number}")).collect();
        let long: Vec<String> = (0..3_000).map(|number| format!("tickers.{number}")).collect();
        for (path, args, words) in [
            ("/v5/private", json!(["order"]), "not authorized"),
            ("/v5/public/linear", json!(["tickers.NO"]), "handler not found"),
            ("/v5/public/linear", json!([]), "not a list"),
            ("/v5/public/linear", json!(long), "21,000"),
            ("/v5/public/spot", json!(eleven), "args size >10"),
            ("/v5/public/linear", json!(["order"]), "handler not found"),
        ] {
            let stage = open(Settings::default());
            let mut visitor = Visitor::enter(&stage, path);
            visitor.say(json!({"op": "subscribe", "args": args}));
            let answer = visitor.json();
            assert_eq!(answer["success"], false, "{answer}");
            assert!(answer["ret_msg"].as_str().unwrap().contains(words), "{answer}");
        }
        let stage = open(Settings::default());
        let mut visitor = Visitor::enter(&stage, "/v5/public/linear");
        for success in [true, false] {
            visitor.say(json!({"op": "subscribe", "args": ["tickers.BTCUSDT"]}));
            assert_eq!(visitor.json()["success"], success, "twice is once too often");
        }
        visitor.say(r#"{"op":"fly"}"#);
        assert_eq!(visitor.json()["success"], false);
    }

    #[test]
    fn a_silent_connection_is_cut_off() {
        let stage = open(Settings { idle: Duration::from_millis(30), ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, "/v5/public/linear");
        assert_eq!(visitor.closed().0, 1006);
        assert_eq!(stage.violations().len(), 1);
    }

    #[test]
    fn too_many_connections_and_unknown_paths_are_refused() {
        let stage = open(Settings { connects: 2, ..Settings::default() });
        assert_eq!(Visitor::try_enter(&stage, "/v3/public", &[]).err(), Some(404));
        let _one = Visitor::enter(&stage, "/v5/public/spot");
        assert_eq!(Visitor::try_enter(&stage, "/v5/public/spot", &[]).err(), Some(403));
        assert_eq!(stage.violations().len(), 2);
    }
}
