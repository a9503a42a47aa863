//! Binance's spot market streams.
//!
//! The rules are those of "WebSocket Streams for Binance",
//! <https://developers.binance.com/en/docs/products/spot/web-socket-streams>: its sections on what holds in
//! general ("General"), on limits ("Limits"), and on live subscriptions with their errors ("Live"). It names
//! no close codes; those here are what users report.

use std::{
    cell::RefCell,
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage, Window};

/// The server's bounds. The default is what it publishes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From one ping frame to the next.
    pub ping_every: Duration,
    /// How long a ping frame may wait for its pong.
    pub pong_within: Duration,
    /// The age at which a connection is closed.
    pub life: Duration,
    /// Pings, pongs and messages from a client in a second.
    pub messages: usize,
    /// Streams on one connection.
    pub streams: usize,
    /// Connections in five minutes.
    pub connects: usize,
    /// From `serverShutdown` to the end of the connection.
    pub shutdown: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            ping_every: Duration::from_secs(20),
            pong_within: Duration::from_secs(60),
            life: Duration::from_secs(86_400),
            messages: 5,
            streams: 1024,
            connects: 300,
            shutdown: Duration::from_secs(30),
        }
    }
}

struct World {
    settings: Settings,
    connects: RefCell<Window>,
}

/// Opens the server. `Order::Say("STREAM JSON")` is an event of that stream, for who has subscribed to
/// it; `Order::Do("shutdown")` announces the server's end.
pub fn open(settings: Settings) -> Stage {
    let connects = RefCell::new(Window::new(settings.connects, Duration::from_secs(300)));
    Stage::open(World { settings, connects }, visit)
}

async fn visit(world: Rc<World>, guest: Guest) {
    // Limits: 300 connections in 5 minutes from one address
    if !world.connects.borrow_mut().take() {
        guest.violation("more connections in 5 minutes than allowed");
        return guest.answer(429, "", "").await;
    }
    // General: one raw stream at /ws/NAME, combined ones at /stream?streams=NAME/NAME
    let (combined, named) = match guest.path.strip_prefix("/ws") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (false, rest.to_owned()),
        _ if guest.path == "/stream" => (true, guest.query("streams").unwrap_or_default()),
        _ => {
            guest.violation(format!("no such path: {}", guest.path));
            return guest.answer(404, "", "").await;
        }
    };
    let mut session = Session {
        settings: world.settings.clone(),
        peer: guest.upgrade(None).await,
        combined,
        streams: BTreeSet::new(),
        inbound: Window::new(world.settings.messages, Duration::from_secs(1)),
        pings: VecDeque::new(),
    };
    for stream in named.split('/').filter(|name| !name.is_empty()) {
        session.add(stream);
    }
    session.run().await;
}

struct Session {
    settings: Settings,
    peer: Peer,
    /// Whether events come with the name of their stream.
    combined: bool,
    streams: BTreeSet<String>,
    inbound: Window,
    /// The pings that wait for their pong: payload and when it is due.
    pings: VecDeque<(Vec<u8>, Instant)>,
}

impl Session {
    async fn run(&mut self) {
        let start = Instant::now();
        let mut end = start + self.settings.life;
        let mut next_ping = start + self.settings.ping_every;
        loop {
            let due = self.pings.front().map_or(end, |(_, due)| *due);
            match self.peer.hear(Some(end.min(next_ping).min(due))).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Order(Order::Do("shutdown")) => {
                    // General: an end of the server is announced by an event, then it disconnects
                    self.peer.say(json!({"e": "serverShutdown", "E": 1_770_123_456_789_u64})).await;
                    end = end.min(Instant::now() + self.settings.shutdown);
                }
                Heard::Order(Order::Say(text)) => self.push(&text).await,
                Heard::Order(order) => {
                    if !self.peer.obey(order).await {
                        return;
                    }
                }
                Heard::Late => {
                    let now = Instant::now();
                    if now >= end {
                        // General: no connection is older than 24 hours
                        return self.peer.close(1001, "").await;
                    }
                    if now >= due {
                        // General: a ping without its pong within a minute ends the connection
                        return self.peer.refuse(1008, "Pong timeout").await;
                    }
                    if now >= next_ping {
                        let payload = format!("{}", (now - start).as_micros()).into_bytes();
                        self.peer.ping_with(&payload).await;
                        self.peer.event("ping");
                        self.pings.push_back((payload, now + self.settings.pong_within));
                        next_ping = now + self.settings.ping_every;
                    }
                }
                heard => {
                    // Limits: 5 in a second, be they pings, pongs or requests
                    if !self.inbound.take() {
                        return self.peer.refuse(1008, "Too many requests").await;
                    }
                    match heard {
                        Heard::Text(text) => {
                            let reply = self.answer(&text);
                            self.peer.say(reply).await;
                            if self.streams.len() > self.settings.streams {
                                return self.peer.refuse(1008, "Too many streams").await;
                            }
                        }
                        Heard::Binary(_) => return self.peer.refuse(1003, "").await,
                        Heard::Pong => self.answered(),
                        _ => {}
                    }
                }
            }
        }
    }

    /// General: a pong carries its ping's payload. Others are allowed, and count for nothing.
    fn answered(&mut self) {
        if let Some(at) = self.pings.iter().position(|(payload, _)| *payload == self.peer.pong) {
            self.pings.drain(..=at);
            self.peer.event("pong");
        }
    }

    async fn push(&mut self, text: &str) {
        let (stream, event) = text.split_once(' ').expect("STREAM JSON");
        if !self.streams.contains(stream) {
            return;
        }
        match self.combined {
            true => self.peer.say(format!(r#"{{"stream":"{stream}","data":{event}}}"#)).await,
            false => self.peer.say(event).await,
        }
    }

    fn add(&mut self, stream: &str) {
        let symbol = stream.split('@').next().unwrap_or(stream);
        // General: symbols are in lower case. Others are taken, and nothing comes of them
        if symbol.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.peer.violation(format!("{stream}: symbols are in lower case"));
        }
        self.streams.insert(stream.to_owned());
        self.peer.event(format!("stream {stream}"));
    }

    /// Live: the reply to a request, or the error for a wrong one.
    fn answer(&mut self, text: &str) -> Value {
        let Ok(request) = serde_json::from_str::<Value>(text) else {
            return self.wrong(3, "Invalid JSON: expected value at line 1 column 1".into(), None);
        };
        let id = request.get("id").cloned().unwrap_or_default();
        let good = match &id {
            Value::Null => true,
            Value::Number(number) => number.is_i64() || number.is_u64(),
            Value::String(text) => text.len() <= 36 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            _ => false,
        };
        if !good {
            return self.wrong(2, "Invalid request: request ID must be an unsigned integer".into(), None);
        }
        let Some(method) = request["method"].as_str() else {
            return self.wrong(2, "Invalid request: missing field `method` at line 1 column 73".into(), None);
        };
        if request.get("params").is_some_and(|params| !params.is_array()) {
            return self.wrong(2, "Invalid request: invalid type, expected a sequence".into(), None);
        }
        let params: Vec<&str> =
            request["params"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let result = match method {
            "SUBSCRIBE" => {
                params.iter().for_each(|stream| self.add(stream));
                Value::Null
            }
            "UNSUBSCRIBE" => {
                params.iter().for_each(|stream| {
                    self.streams.remove(*stream);
                });
                Value::Null
            }
            "LIST_SUBSCRIPTIONS" => json!(self.streams),
            "SET_PROPERTY" | "GET_PROPERTY" if params.first() != Some(&"combined") => {
                return self.wrong(0, "Unknown property".into(), Some(id));
            }
            "GET_PROPERTY" => json!(self.combined),
            "SET_PROPERTY" => match request["params"][1].as_bool() {
                Some(combined) => {
                    self.combined = combined;
                    Value::Null
                }
                None => return self.wrong(1, "Invalid value type: expected Boolean".into(), None),
            },
            other => {
                let message = format!(
                    "Invalid request: unknown variant {other}, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, \
                     `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line 1 column 28"
                );
                return self.wrong(2, message, None);
            }
        };
        json!({"result": result, "id": id})
    }

    fn wrong(&mut self, code: u8, message: String, id: Option<Value>) -> Value {
        self.peer.violation(format!("error {code}: {message}"));
        let mut error = json!({"code": code, "msg": message});
        if let Some(id) = id {
            error["id"] = id;
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::Message;

    use super::*;
    use crate::simulators::visitor::Visitor;

    fn quick() -> Settings {
        Settings {
            ping_every: Duration::from_millis(30),
            pong_within: Duration::from_millis(90),
            ..Settings::default()
        }
    }

    #[test]
    fn a_request_is_answered_under_its_id_and_a_combined_event_names_its_stream() {
        let stage = open(Settings::default());
        let mut visitor = Visitor::enter(&stage, "/stream?streams=btcusdt@trade");
        visitor.say(json!({"method": "SUBSCRIBE", "params": ["ethusdt@depth"], "id": 7}));
        assert_eq!(visitor.text(), r#"{"id":7,"result":null}"#);
        visitor.say(json!({"method": "LIST_SUBSCRIPTIONS", "id": "list"}));
        assert_eq!(visitor.json()["result"], json!(["btcusdt@trade", "ethusdt@depth"]));
        stage.order(Order::Say(r#"ltcusdt@trade {"t":0}"#.into()));
        stage.order(Order::Say(r#"ethusdt@depth {"u":1}"#.into()));
        assert_eq!(visitor.text(), r#"{"stream":"ethusdt@depth","data":{"u":1}}"#);
        stage.assert_no_violations();

        let mut raw = Visitor::enter(&stage, "/ws/btcusdt@trade");
        stage.until("the second", |book| (book.connections == 2).then_some(()));
        stage.order(Order::Say(r#"btcusdt@trade {"t":1}"#.into()));
        assert_eq!(raw.text(), r#"{"t":1}"#);
    }

    #[test]
    fn a_wrong_request_is_told_what_is_wrong() {
        for (request, code, part) in [
            ("{", 3, "Invalid JSON"),
            (r#"{"id":1}"#, 2, "missing field `method`"),
            (r#"{"method":"FLY","id":1}"#, 2, "unknown variant FLY"),
            (r#"{"method":"SUBSCRIBE","params":[],"id":{}}"#, 2, "request ID"),
            (r#"{"method":"SUBSCRIBE","params":5,"id":1}"#, 2, "expected a sequence"),
            (r#"{"method":"GET_PROPERTY","params":["speed"],"id":1}"#, 0, "Unknown property"),
            (r#"{"method":"SET_PROPERTY","params":["combined",5],"id":1}"#, 1, "expected Boolean"),
        ] {
            let stage = open(Settings::default());
            let mut visitor = Visitor::enter(&stage, "/ws");
            visitor.say(request);
            let error = visitor.json();
            assert_eq!(error["code"], code, "{request}");
            assert!(error["msg"].as_str().unwrap().contains(part), "{request}: {error}");
            assert_eq!(stage.violations().len(), 1);
        }
    }

    #[test]
    fn more_than_five_messages_in_a_second_end_the_connection() {
        let stage = open(Settings::default());
        let mut visitor = Visitor::enter(&stage, "/ws");
        for id in 0..4 {
            visitor.say(json!({"method": "LIST_SUBSCRIPTIONS", "id": id}));
        }
        visitor.ping();
        visitor.ping();
        assert_eq!(visitor.closed(), (1008, "Too many requests".into()));
        assert_eq!(stage.violations().len(), 1);
    }

    #[test]
    fn a_pong_without_the_pings_payload_does_not_keep_the_connection() {
        let stage = open(quick());
        let mut visitor = Visitor::enter(&stage, "/ws");
        visitor.pong(b"something else");
        // the raw client doesn't answer while it doesn't read
        stage.event("closed 1008", 1);
        assert_eq!(stage.violations(), ["connection 1: 1008 Pong timeout"]);
        assert_eq!(visitor.closed(), (1008, "Pong timeout".into()));
    }

    #[test]
    fn a_client_that_answers_pings_stays_until_the_connection_is_old() {
        let (ping_every, life) = (Duration::from_millis(30), Duration::from_secs(2));
        let stage = open(Settings { ping_every, life, messages: 1_000, ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, "/ws");
        assert!(matches!(visitor.frame(), Message::Ping(_)));
        assert_eq!(visitor.closed().0, 1001);
        assert!(stage.count("pong") > 2);
        stage.assert_no_violations();
    }

    #[test]
    fn the_servers_shutdown_is_announced() {
        let stage = open(Settings { shutdown: Duration::from_millis(20), ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, "/ws");
        stage.order(Order::Do("shutdown"));
        assert_eq!(visitor.json()["e"], "serverShutdown");
        assert_eq!(visitor.closed().0, 1001);
    }

    #[test]
    fn too_many_connections_streams_in_upper_case_and_unknown_paths_are_held_against_a_client() {
        let stage = open(Settings { connects: 2, ..Settings::default() });
        assert_eq!(Visitor::try_enter(&stage, "/wsx", &[]).err(), Some(404));
        let _visitor = Visitor::enter(&stage, "/ws/BTCUSDT@trade");
        stage.event("stream BTCUSDT@trade", 1);
        assert_eq!(Visitor::try_enter(&stage, "/ws", &[]).err(), Some(429));
        assert_eq!(stage.violations().len(), 3);
    }
}
