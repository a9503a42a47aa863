//! Centrifugo, its bidirectional protocol in JSON.
//!
//! The rules, each named where it is applied, are those of
//! - Protocol: "Client protocol", <https://centrifugal.dev/docs/transports/client_protocol>
//! - Codes: "Client protocol codes", <https://centrifugal.dev/docs/server/codes>

use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage};

/// The tokens that there are.
pub const TOKEN: &str = "a good token";
pub const EXPIRED: &str = "an expired token";

/// The server's bounds. The default is what it publishes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From one ping to the next.
    pub ping: Duration,
    /// How long a ping may wait for its pong.
    pub pong: Duration,
    /// How long a connection may wait with its connect command.
    pub stale: Duration,
    /// How long a connection's token is good for; it must be refreshed, or the connection ends.
    pub expires: Option<Duration>,
    /// Whether the reply to a connect command comes in one message with a push and a ping.
    pub batch: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            ping: Duration::from_secs(25),
            pong: Duration::from_secs(8),
            stale: Duration::from_secs(15),
            expires: None,
            batch: false,
        }
    }
}

/// Opens the server at `/connection/websocket`, with the channels `news` and `chat`.
/// `Order::Say("CHANNEL JSON")` is a publication, for who has subscribed to it.
pub fn open(settings: Settings) -> Stage {
    Stage::open(settings, visit)
}

async fn visit(settings: Rc<Settings>, guest: Guest) {
    if guest.path != "/connection/websocket" {
        guest.violation(format!("no such path: {}", guest.path));
        return guest.answer(404, "", "").await;
    }
    let peer = guest.upgrade(None).await;
    let (channels, asked) = (BTreeSet::new(), VecDeque::new());
    let mut session = Session { settings, peer, connected: false, channels, asked };
    session.run().await;
}

struct Session {
    settings: Rc<Settings>,
    peer: Peer,
    connected: bool,
    channels: BTreeSet<String>,
    /// Until when each ping may wait for its pong.
    asked: VecDeque<Instant>,
}

/// An end of the connection, by its code in Codes.
type End = (u16, &'static str);

const BAD_REQUEST: End = (3501, "bad request");

impl Session {
    async fn run(&mut self) {
        let start = Instant::now();
        let stale = start + self.settings.stale;
        let mut ping = start + self.settings.ping;
        let far = start + Duration::from_secs(86_400);
        let expires = self.settings.expires.map_or(far, |life| start + life);
        loop {
            let deadline = if self.connected {
                ping.min(expires).min(*self.asked.front().unwrap_or(&far))
            } else {
                stale
            };
            match self.peer.hear(Some(deadline)).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Text(text) => match self.take(&text) {
                    Ok(replies) if replies.is_empty() => {}
                    // Protocol, top level batching: replies in one message are separated by \n
                    Ok(replies) => self.peer.say(lines(&replies)).await,
                    Err((code, reason)) => return self.peer.refuse(code, reason).await,
                },
                Heard::Binary(_) => return self.peer.refuse(BAD_REQUEST.0, BAD_REQUEST.1).await,
                Heard::Ping | Heard::Pong => {}
                // Codes, 3502: not connected in time
                Heard::Late if !self.connected => return self.peer.refuse(3502, "stale").await,
                Heard::Late => {
                    let now = Instant::now();
                    if self.asked.front().is_some_and(|asked| now >= *asked) {
                        // Codes, 3012: no pong in time
                        return self.peer.refuse(3012, "no pong").await;
                    }
                    if now >= expires {
                        // Codes, 3005; the client gets a new token and comes back
                        return self.peer.close(3005, "connection expired").await;
                    }
                    // Protocol, ping pong: the server sends an empty object, and expects one
                    self.peer.say("{}").await;
                    self.peer.event("ping");
                    self.asked.push_back(now + self.settings.pong);
                    ping = now + self.settings.ping;
                }
                Heard::Order(Order::Say(text)) => {
                    let (channel, data) = text.split_once(' ').expect("CHANNEL JSON");
                    if self.channels.contains(channel) {
                        let publication = format!(r#""channel":"{channel}","pub":{{"data":{data}}}"#);
                        self.peer.say(format!(r#"{{"push":{{{publication}}}}}"#)).await;
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

    /// Takes a message, one command a line.
    fn take(&mut self, text: &str) -> Result<Vec<Value>, End> {
        let mut replies = Vec::new();
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            let command: Value = serde_json::from_str(line).map_err(|_| BAD_REQUEST)?;
            let fields = command.as_object().ok_or(BAD_REQUEST)?;
            if fields.is_empty() {
                // the pong; one that nobody asked for is no command
                self.asked.pop_front().ok_or(BAD_REQUEST)?;
                self.peer.event("pong");
                continue;
            }
            // Protocol, command-reply: each command has an id; only `send` has none
            let id = command["id"].as_u64().filter(|id| *id > 0).ok_or(BAD_REQUEST)?;
            let method = fields.keys().find(|key| *key != "id").ok_or(BAD_REQUEST)?;
            if self.connected == (method == "connect") {
                return Err(BAD_REQUEST);
            }
            let mut reply = match self.command(method, &command[method])? {
                Ok(result) => json!({ method: result }),
                Err((code, message)) => {
                    self.peer.event(format!("error {code}"));
                    self.peer.violation(format!("{method}: error {code} {message}"));
                    json!({"error": {"code": code, "message": message}})
                }
            };
            reply["id"] = id.into();
            replies.push(reply);
            if self.settings.batch && method == "connect" && self.connected {
                replies.push(json!({"push": {"channel": "news", "pub": {"data": "batched"}}}));
                replies.push(json!({}));
                self.peer.event("ping");
                self.asked.push_back(Instant::now() + self.settings.pong);
            }
        }
        Ok(replies)
    }

    /// The outer error ends the connection; the inner one is a reply (Codes, client error codes).
    #[allow(clippy::type_complexity, reason = "said in the line above")]
    fn command(&mut self, method: &str, request: &Value) -> Result<Result<Value, (u16, &'static str)>, End> {
        let channel = request["channel"].as_str().unwrap_or("").to_owned();
        Ok(match method {
            "connect" => return self.connect(request),
            "subscribe" => match channel.as_str() {
                "news" | "chat" if self.channels.contains(&channel) => Err((105, "already subscribed")),
                "news" | "chat" => {
                    self.peer.event(format!("subscribe {channel}"));
                    self.channels.insert(channel);
                    Ok(json!({}))
                }
                "secret" => Err((103, "permission denied")),
                _ => Err((102, "unknown channel")),
            },
            "unsubscribe" => {
                self.channels.remove(&channel);
                Ok(json!({}))
            }
            "publish" if self.channels.contains(&channel) => Ok(json!({})),
            "publish" => Err((103, "permission denied")),
            "rpc" | "history" | "presence" => Err((108, "not available")),
            _ => Err((104, "method not found")),
        })
    }

    #[allow(clippy::type_complexity, reason = "as above")]
    fn connect(&mut self, request: &Value) -> Result<Result<Value, (u16, &'static str)>, End> {
        // Protocol, client name and version: at most 16 and 64 symbols
        for (field, most) in [("name", 16), ("version", 64)] {
            if request[field].as_str().is_some_and(|text| text.chars().count() > most) {
                self.peer.violation(format!("{field} is longer than {most}"));
            }
        }
        match request["token"].as_str() {
            Some(TOKEN) => {}
            // Codes, 109
            Some(EXPIRED) => return Ok(Err((109, "token expired"))),
            // Codes, 3500
            Some(_) => return Err((3500, "invalid token")),
            None => return Ok(Err((101, "unauthorized"))),
        }
        self.connected = true;
        self.peer.event("connect");
        let ping = self.settings.ping.as_secs().max(1);
        let client = format!("client-{}", self.peer.number);
        let mut result = json!({"client": client, "version": "6.0.0", "ping": ping, "pong": true});
        if let Some(life) = self.settings.expires {
            result["expires"] = true.into();
            result["ttl"] = life.as_secs().max(1).into();
        }
        Ok(Ok(result))
    }
}

fn lines(replies: &[Value]) -> String {
    replies.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::Visitor;

    const PATH: &str = "/connection/websocket";

    fn connect(token: &str) -> String {
        json!({"id": 1, "connect": {"token": token, "name": "test"}}).to_string()
    }

    #[test]
    fn a_client_connects_subscribes_and_answers_pings() {
        let quick = Duration::from_millis(20);
        let stage = open(Settings { ping: quick, ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, PATH);
        visitor.say(connect(TOKEN));
        let reply = visitor.json();
        assert_eq!((&reply["id"], &reply["connect"]["pong"]), (&1.into(), &true.into()));
        visitor.say("{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}\n{\"id\":3,\"rpc\":{}}");
        let both = loop {
            match visitor.text() {
                ping if ping == "{}" => visitor.say("{}"),
                replies => break replies,
            }
        };
        let (first, second) = both.split_once('\n').expect("two replies in one message");
        assert_eq!(first, r#"{"id":2,"subscribe":{}}"#);
        assert!(second.contains(r#""code":108"#));
        stage.order(Order::Say(r#"news {"n":1}"#.into()));
        assert_eq!(visitor.until(|reply| !reply["push"].is_null())["push"]["pub"]["data"]["n"], 1);
    }

    #[test]
    fn who_connects_wrongly_is_told_or_closed() {
        for (command, code, reason) in [
            (connect("made up"), 3500, "invalid token"),
            ("{}".into(), 3501, "bad request"),
            ("nonsense".into(), 3501, "bad request"),
            (r#"{"id":1,"subscribe":{"channel":"news"}}"#.into(), 3501, "bad request"),
            (r#"{"connect":{"token":"a good token"}}"#.into(), 3501, "bad request"),
            (format!("{}\n{}", connect(TOKEN), connect(TOKEN)), 3501, "bad request"),
        ] {
            let stage = open(Settings::default());
            let mut visitor = Visitor::enter(&stage, PATH);
            visitor.say(&command);
            assert_eq!(visitor.closed(), (code, reason.into()), "{command}");
        }
        for (token, code) in [(json!(EXPIRED), 109), (Value::Null, 101)] {
            let stage = open(Settings::default());
            let mut visitor = Visitor::enter(&stage, PATH);
            visitor.say(json!({"id": 1, "connect": {"token": token}}));
            assert_eq!(visitor.json()["error"]["code"], code);
        }
    }

    #[test]
    fn wrong_commands_are_answered_with_their_codes() {
        let stage = open(Settings::default());
        let mut visitor = Visitor::enter(&stage, PATH);
        visitor.say(connect(TOKEN));
        visitor.json();
        for (command, code) in [
            (json!({"id": 2, "subscribe": {"channel": "none"}}), json!(102)),
            (json!({"id": 3, "subscribe": {"channel": "secret"}}), json!(103)),
            (json!({"id": 4, "subscribe": {"channel": "news"}}), Value::Null),
            (json!({"id": 5, "subscribe": {"channel": "news"}}), json!(105)),
            (json!({"id": 6, "fly": {}}), json!(104)),
        ] {
            visitor.say(command);
            assert_eq!(visitor.json()["error"]["code"], code);
        }
        assert_eq!(stage.violations().len(), 4);
    }

    #[test]
    fn a_connection_that_is_stale_silent_or_expired_is_closed() {
        let quick = Duration::from_millis(20);
        let stage = open(Settings { stale: quick, ..Settings::default() });
        assert_eq!(Visitor::enter(&stage, PATH).closed(), (3502, "stale".into()));

        for (settings, code) in [
            (Settings { ping: quick, pong: quick, ..Settings::default() }, 3012),
            (Settings { expires: Some(quick), ..Settings::default() }, 3005),
        ] {
            let stage = open(settings);
            let mut visitor = Visitor::enter(&stage, PATH);
            visitor.say(connect(TOKEN));
            assert_eq!(visitor.closed().0, code);
        }
    }

    #[test]
    fn replies_may_come_in_one_message() {
        let stage = open(Settings { batch: true, ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, PATH);
        visitor.say(connect(TOKEN));
        assert_eq!(visitor.text().lines().last(), Some("{}"));
        assert_eq!(Visitor::try_enter(&stage, "/other", &[]).err(), Some(404));
    }
}
