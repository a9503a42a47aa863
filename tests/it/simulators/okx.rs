//! OKX, WebSocket API v5.
//!
//! The rules are those of the "OKX API guide", <https://www.okx.com/docs-v5/en/>, chapter "WebSocket"
//! (Connect, Login, Subscribe, Notification) and the tables "Error Code → WebSocket" and "Close Frame".

use std::{
    cell::RefCell,
    collections::BTreeSet,
    rc::Rc,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage, Window};

/// The one account: what its owner gives to a client.
pub const KEY: &str = "985d5b66-57ce-40fb-b714-afc0b9787083";
pub const SECRET: &str = "22582BD0CFF14C41EDBF1AB98506286D";
pub const PASSPHRASE: &str = "a \"good\" passphrase";

/// The server's bounds. The default is what it publishes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a connection may be without anything that the server sends.
    pub idle: Duration,
    /// Connections in a second.
    pub connects: usize,
    /// Subscribe, unsubscribe and login on one connection in an hour.
    pub requests: usize,
    /// How old a login's timestamp may be.
    pub login_age: Duration,
    /// From the notice of an upgrade to the end of the connection.
    pub upgrade: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            idle: Duration::from_secs(30),
            connects: 3,
            requests: 480,
            login_age: Duration::from_secs(30),
            upgrade: Duration::from_secs(60),
        }
    }
}

struct World {
    settings: Settings,
    connects: RefCell<Window>,
}

/// Opens the server: `/ws/v5/public`, `/ws/v5/private`. `Order::Say("CHANNEL JSON")` is data of that
/// channel, for who has subscribed to it; `Order::Do("upgrade")` announces an upgrade of the service.
pub fn open(settings: Settings) -> Stage {
    let connects = RefCell::new(Window::new(settings.connects, Duration::from_secs(1)));
    Stage::open(World { settings, connects }, visit)
}

/// Login: the signature is the base64 of the HMAC-SHA256 of timestamp, method and path.
pub fn sign(secret: &str, timestamp: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let message = format!("{timestamp}GET/users/self/verify");
    BASE64_STANDARD.encode(ring::hmac::sign(&key, message.as_bytes()))
}

/// Seconds since the Unix epoch, as a login has them.
pub fn timestamp() -> String {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string()
}

async fn visit(world: Rc<World>, guest: Guest) {
    // Connect: 3 in a second from one address
    if !world.connects.borrow_mut().take() {
        guest.violation("more connections in a second than allowed");
        return guest.answer(429, "", "").await;
    }
    let private = match guest.path.as_str() {
        "/ws/v5/public" => false,
        "/ws/v5/private" => true,
        other => {
            guest.violation(format!("no such path: {other}"));
            return guest.answer(404, "", "").await;
        }
    };
    let settings = world.settings.clone();
    let requests = Window::new(settings.requests, Duration::from_secs(3_600));
    let peer = guest.upgrade(None).await;
    Session { settings, peer, private, requests, logged_in: false, channels: BTreeSet::new() }.run().await;
}

struct Session {
    settings: Settings,
    peer: Peer,
    private: bool,
    requests: Window,
    logged_in: bool,
    channels: BTreeSet<String>,
}

/// What comes of a message.
enum Answer {
    Say(Value),
    /// Say it, and close with this code and reason.
    Last(Value, u16, &'static str),
}

impl Session {
    async fn run(&mut self) {
        // Connect: a connection ends that has no subscription, or was sent nothing, for 30 seconds
        let mut idle = Instant::now() + self.settings.idle;
        let mut end = None;
        loop {
            let deadline = end.map_or(idle, |end: Instant| end.min(idle));
            match self.peer.hear(Some(deadline)).await {
                Heard::Close(_) | Heard::Gone => return,
                // Connect: the text ping is answered by the text pong
                Heard::Text(text) if text == "ping" => {
                    self.peer.event("ping");
                    self.peer.say("pong").await;
                    idle = Instant::now() + self.settings.idle;
                }
                Heard::Text(text) if text.len() > 64 << 10 => {
                    // Subscribe: at most 64 KB; Close Frame, 1009
                    return self.peer.refuse(1009, "Request message exceeds the maximum frame length").await;
                }
                Heard::Text(text) => {
                    for answer in self.answer(&text) {
                        match answer {
                            Answer::Say(answer) => self.peer.say(answer).await,
                            Answer::Last(answer, code, reason) => {
                                self.peer.say(answer).await;
                                return self.peer.refuse(code, reason).await;
                            }
                        }
                    }
                    if self.logged_in || !self.channels.is_empty() {
                        idle = Instant::now() + self.settings.idle;
                    }
                }
                Heard::Binary(_) => return self.peer.refuse(4002, "Invalid Request").await,
                Heard::Ping | Heard::Pong => {}
                Heard::Late if end.is_some_and(|end| Instant::now() >= end) => {
                    return self.peer.close(4006, "Abnormal disconnection").await;
                }
                Heard::Late => return self.peer.refuse(4004, "No data received in 30s").await,
                Heard::Order(Order::Say(text)) => {
                    let (channel, data) = text.split_once(' ').expect("CHANNEL JSON");
                    if self.channels.contains(channel) {
                        let arg = format!(r#"{{"channel":"{channel}"}}"#);
                        self.peer.say(format!(r#"{{"arg":{arg},"data":[{data}]}}"#)).await;
                        idle = Instant::now() + self.settings.idle;
                    }
                }
                Heard::Order(Order::Do("upgrade")) => {
                    // Notification: a disconnection for an upgrade is announced
                    let text = "The connection will soon be closed for a service upgrade. Please reconnect.";
                    self.peer
                        .say(json!({"event": "notice", "code": "64008", "msg": text, "connId": "a4d3ae55"}))
                        .await;
                    end = Some(Instant::now() + self.settings.upgrade);
                }
                Heard::Order(order) => {
                    if !self.peer.obey(order).await {
                        return;
                    }
                }
            }
        }
    }

    fn answer(&mut self, text: &str) -> Vec<Answer> {
        let request: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(args) = request["args"].as_array().filter(|args| !args.is_empty()) else {
            return vec![self.wrong("60012", format!("Invalid request: {text}"))];
        };
        let op = request["op"].as_str().unwrap_or("");
        if !matches!(op, "login" | "subscribe" | "unsubscribe") {
            return vec![self.wrong("60012", format!("Invalid request: {text}"))];
        }
        // Connect: 480 of these in an hour on one connection
        if !self.requests.take() {
            return vec![self.wrong("60014", "Requests too frequent".into())];
        }
        if op == "login" {
            return vec![self.login(&args[0])];
        }
        let answers = args.iter().map(|arg| self.subscribe(op, arg));
        // Subscribe: an id of the client's comes back in each answer
        let with_id = |answer| match (answer, request.get("id")) {
            (Answer::Say(mut said), Some(id)) => {
                said["id"] = id.clone();
                Answer::Say(said)
            }
            (answer, _) => answer,
        };
        answers.map(with_id).collect()
    }

    fn login(&mut self, arg: &Value) -> Answer {
        let text = |name: &str| arg[name].as_str().unwrap_or("");
        let now: u64 = timestamp().parse().unwrap();
        let (code, message) = match text("timestamp").parse::<u64>() {
            Err(_) => ("60004", "Invalid timestamp"),
            // Login: a timestamp is good for 30 seconds
            Ok(then) if now.abs_diff(then) > self.settings.login_age.as_secs() => {
                ("60006", "Timestamp request expired")
            }
            _ if text("apiKey") != KEY => ("60005", "Invalid apiKey"),
            _ if text("passphrase") != PASSPHRASE => ("60024", "Wrong passphrase"),
            _ if text("sign") != sign(SECRET, text("timestamp")) => ("60007", "Invalid sign"),
            _ => {
                self.logged_in = true;
                self.peer.event("login");
                return Answer::Say(json!({"event": "login", "code": "0", "msg": "", "connId": "a4d3ae55"}));
            }
        };
        let error = json!({"event": "error", "code": code, "msg": message, "connId": "a4d3ae55"});
        self.peer.event(format!("error {code}"));
        // Close Frame, 4001
        Answer::Last(error, 4001, "Login Failed")
    }

    fn subscribe(&mut self, op: &str, arg: &Value) -> Answer {
        let channel = arg["channel"].as_str().unwrap_or("").to_owned();
        let private = matches!(channel.as_str(), "account" | "orders" | "positions");
        let public = matches!(channel.as_str(), "tickers" | "books" | "trades");
        if self.private && !self.logged_in {
            return self.wrong("60011", "Please log in".into());
        }
        if !(private && self.private || public && !self.private) {
            let message = format!(
                "Wrong URL or channel:{channel} doesn't exist. Please use the correct URL, channel and \
                 parameters referring to API document."
            );
            return self.wrong("60018", message);
        }
        self.peer.event(format!("{op} {channel}"));
        match op {
            "subscribe" => self.channels.insert(channel),
            _ => self.channels.remove(&channel),
        };
        Answer::Say(json!({"event": op, "arg": arg, "connId": "a4d3ae55"}))
    }

    fn wrong(&mut self, code: &str, message: String) -> Answer {
        self.peer.violation(format!("error {code}: {message}"));
        Answer::Say(json!({"event": "error", "code": code, "msg": message, "connId": "a4d3ae55"}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::Visitor;

    fn login(change: impl Fn(&mut Value)) -> Value {
        let timestamp = timestamp();
        let sign = sign(SECRET, &timestamp);
        let mut arg = json!({"apiKey": KEY, "passphrase": PASSPHRASE, "timestamp": timestamp, "sign": sign});
        change(&mut arg);
        json!({"op": "login", "args": [arg]})
    }

    #[test]
    fn the_signature_is_that_of_the_guide() {
        // computed with `openssl dgst -sha256 -hmac SECRET -binary | base64`
        assert_eq!(sign(SECRET, "1538054050"), "+LdIr8lkkvhr5hoA3g9TMC0+uQJ849ftAcocA/ouu4M=");
    }

    #[test]
    fn a_login_opens_private_channels() {
        let stage = open(Settings::default());
        let mut visitor = Visitor::enter(&stage, "/ws/v5/private");
        visitor.say(login(|_| {}));
        assert_eq!(visitor.json()["code"], "0");
        visitor.say(r#"{"op":"subscribe","args":[{"channel":"orders","instType":"ANY"}]}"#);
        assert_eq!(visitor.json()["event"], "subscribe");
        stage.order(Order::Say(r#"orders {"ordId":"1"}"#.into()));
        assert_eq!(visitor.json()["data"][0]["ordId"], "1");
        visitor.say("ping");
        assert_eq!(visitor.text(), "pong");
        stage.assert_no_violations();
    }

    #[test]
    fn a_wrong_login_is_told_what_is_wrong_and_closed() {
        for (code, field, value) in [
            ("60004", "timestamp", "now"),
            ("60006", "timestamp", "1538054050"),
            ("60005", "apiKey", "mine"),
            ("60024", "passphrase", "wrong"),
            ("60007", "sign", "AAAA"),
        ] {
            let stage = open(Settings::default());
            let mut visitor = Visitor::enter(&stage, "/ws/v5/private");
            visitor.say(login(|arg| arg[field] = value.into()));
            let answer = visitor.json();
            assert_eq!((&answer["event"], &answer["code"]), (&"error".into(), &code.into()));
            assert_eq!(visitor.closed(), (4001, "Login Failed".into()));
            assert_eq!(stage.violations().len(), 1);
        }
    }

    #[test]
    fn a_wrong_request_is_told_what_is_wrong() {
        for (path, request, code) in [
            ("/ws/v5/public", "hello", "60012"),
            ("/ws/v5/public", r#"{"op":"fly","args":[{}]}"#, "60012"),
            ("/ws/v5/public", r#"{"op":"subscribe","args":[{"channel":"orders"}]}"#, "60018"),
            ("/ws/v5/private", r#"{"op":"subscribe","args":[{"channel":"orders"}]}"#, "60011"),
        ] {
            let stage = open(Settings::default());
            let mut visitor = Visitor::enter(&stage, path);
            visitor.say(request);
            assert_eq!(visitor.json()["code"], code, "{request}");
            assert_eq!(stage.violations().len(), 1);
        }
    }

    #[test]
    fn a_connection_without_data_is_closed() {
        let stage = open(Settings { idle: Duration::from_millis(30), ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, "/ws/v5/public");
        assert_eq!(visitor.closed(), (4004, "No data received in 30s".into()));
        assert_eq!(stage.violations().len(), 1);
    }

    #[test]
    fn requests_beyond_the_hours_are_refused() {
        let stage = open(Settings { requests: 2, ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, "/ws/v5/public");
        for code in [Value::Null, Value::Null, "60014".into()] {
            visitor.say(r#"{"op":"subscribe","args":[{"channel":"books"}]}"#);
            assert_eq!(visitor.json()["code"], code);
        }
    }

    #[test]
    fn connections_beyond_the_seconds_and_unknown_paths_are_refused() {
        let stage = open(Settings::default());
        assert_eq!(Visitor::try_enter(&stage, "/ws/v4/public", &[]).err(), Some(404));
        // more than two where the machine is so slow that the first was some time ago
        let refused =
            (0..1_000).find_map(|n| Some((n, Visitor::try_enter(&stage, "/ws/v5/public", &[]).err()?)));
        assert!(refused.is_some_and(|(let_in, status)| let_in >= 2 && status == 429), "{refused:?}");
        assert_eq!(stage.violations().len(), 2);
    }

    #[test]
    fn an_upgrade_of_the_service_is_announced() {
        let stage = open(Settings { upgrade: Duration::from_millis(20), ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, "/ws/v5/public");
        stage.order(Order::Do("upgrade"));
        assert_eq!(visitor.json()["code"], "64008");
        assert_eq!(visitor.closed().0, 4006);
    }

    #[test]
    fn a_message_of_more_than_64_kb_is_refused() {
        let stage = open(Settings::default());
        let mut visitor = Visitor::enter(&stage, "/ws/v5/public");
        visitor.say("x".repeat((64 << 10) + 1));
        assert_eq!(visitor.closed().0, 1009);
    }
}
