//! Coinbase Advanced Trade, WebSocket.
//!
//! The rules, each named where it is applied, are those of
//! - Guide: "Advanced Trade WebSockets",
//!   <https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/guides/websocket>
//! - Channels: "WebSocket Channels",
//!   <https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels>
//! - Limits: "Advanced Trade WebSocket Rate Limits",
//!   <https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-rate-limits>
//! - Overview: "Exchange WebSocket Overview" (the sister API),
//!   <https://docs.cdp.coinbase.com/exchange/websocket-feed/overview>
//!
//! None names the close code of a disconnection; 1008 (policy violation) stands for it here.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage, Window};

/// The server's bounds. The default is what it publishes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a connection may be without a subscription.
    pub subscribe_within: Duration,
    /// From one heartbeat to the next.
    pub heartbeat: Duration,
    /// How long a connection may be without an update.
    pub quiet: Duration,
    /// Connections in a second, and messages without a token in a second.
    pub rate: usize,
    /// The tokens that are good, each for one use.
    pub tokens: &'static [&'static str],
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            subscribe_within: Duration::from_secs(5),
            heartbeat: Duration::from_secs(1),
            quiet: Duration::from_secs(60),
            rate: 8,
            tokens: &["jwt-1", "jwt-2", "jwt-3"],
        }
    }
}

struct World {
    settings: Settings,
    connects: RefCell<Window>,
    unauthenticated: RefCell<Window>,
    used: RefCell<BTreeSet<String>>,
}

/// Opens the server. `Order::Say("CHANNEL JSON")` is an event of that channel, for who has subscribed to
/// it; `Order::Do("lose")` loses one message on its way.
pub fn open(settings: Settings) -> Stage {
    let window = || RefCell::new(Window::new(settings.rate, Duration::from_secs(1)));
    let (connects, unauthenticated) = (window(), window());
    Stage::open(World { settings, connects, unauthenticated, used: RefCell::default() }, visit)
}

async fn visit(world: Rc<World>, guest: Guest) {
    // Limits: 8 connections in a second from one address
    if !world.connects.borrow_mut().take() {
        guest.violation("more connections in a second than allowed");
        return guest.answer(429, "", "").await;
    }
    if guest.path != "/" {
        guest.violation(format!("no such path: {}", guest.path));
        return guest.answer(404, "", "").await;
    }
    let peer = guest.upgrade(None).await;
    Session { world, peer, sequence: 0, beats: 0, channels: BTreeMap::new() }.run().await;
}

struct Session {
    world: Rc<World>,
    peer: Peer,
    /// The number of the next message.
    sequence: u64,
    beats: u64,
    /// The products of each channel.
    channels: BTreeMap<String, BTreeSet<String>>,
}

impl Session {
    async fn run(&mut self) {
        let settings = self.world.settings.clone();
        let start = Instant::now();
        let mut beat = start + settings.heartbeat;
        let mut quiet = start + settings.quiet;
        loop {
            let deadline = match () {
                () if self.channels.is_empty() => start + settings.subscribe_within,
                () if self.channels.contains_key("heartbeats") => beat,
                () => quiet,
            };
            match self.peer.hear(Some(deadline)).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Late if self.channels.is_empty() => {
                    // Overview: without a subscription within 5 seconds the connection ends
                    return self.peer.refuse(1008, "no subscribe in time").await;
                }
                Heard::Late if self.channels.contains_key("heartbeats") => {
                    // Channels: a heartbeat comes every second, with its number
                    self.beats += 1;
                    let event = json!({"current_time": "2026-01-05 12:00:00 +0000 UTC",
                        "heartbeat_counter": self.beats});
                    self.tell("heartbeats", event).await;
                    (beat, quiet) = (Instant::now() + settings.heartbeat, Instant::now() + settings.quiet);
                }
                Heard::Late => {
                    // Channels: without updates most end after 60 to 90 seconds, but not beside heartbeats
                    return self.peer.refuse(1008, "no updates").await;
                }
                Heard::Text(text) => {
                    if let Some(error) = self.take(&text) {
                        self.peer.violation(error.clone());
                        self.peer.say(json!({"type": "error", "message": error})).await;
                    } else {
                        let event = json!({"subscriptions": self.channels});
                        self.tell("subscriptions", event).await;
                    }
                }
                Heard::Binary(_) => return self.peer.refuse(1003, "").await,
                Heard::Ping | Heard::Pong => {}
                Heard::Order(Order::Do("lose")) => self.sequence += 1,
                Heard::Order(Order::Say(text)) => {
                    let (channel, event) = text.split_once(' ').expect("CHANNEL JSON");
                    if self.channels.contains_key(channel) {
                        self.tell(channel, serde_json::from_str(event).expect("CHANNEL JSON")).await;
                        quiet = Instant::now() + settings.quiet;
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

    /// Guide: each message has a `sequence_num`, counted from 0 on each connection.
    async fn tell(&mut self, channel: &str, event: Value) {
        let message = json!({"channel": channel, "client_id": "", "timestamp": "2026-01-05T12:00:00Z",
            "sequence_num": self.sequence, "events": [event]});
        self.sequence += 1;
        self.peer.say(message).await;
    }

    /// Subscribes or unsubscribes; the error is what the server says.
    fn take(&mut self, text: &str) -> Option<String> {
        let request: Value = serde_json::from_str(text).unwrap_or_default();
        let jwt = request["jwt"].as_str();
        // Limits: 8 messages without a JWT in a second from one address
        if jwt.is_none() && !self.world.unauthenticated.borrow_mut().take() {
            return Some("rate limit exceeded".into());
        }
        // Guide: each message has a JWT of its own, good for 120 seconds
        let good = jwt.is_none_or(|jwt| {
            self.world.settings.tokens.contains(&jwt) && self.world.used.borrow_mut().insert(jwt.to_owned())
        });
        let channel = request["channel"].as_str().unwrap_or("");
        let known = matches!(channel, "heartbeats" | "ticker" | "level2" | "market_trades" | "user");
        if !good || !known || channel == "user" && jwt.is_none() {
            return Some("authentication failure".into());
        }
        let products = request["product_ids"].as_array().into_iter().flatten();
        let products: Vec<String> = products.filter_map(Value::as_str).map(str::to_owned).collect();
        match request["type"].as_str() {
            Some("subscribe") => {
                self.peer.event(format!("subscribe {channel}"));
                self.channels.entry(channel.to_owned()).or_default().extend(products);
            }
            Some("unsubscribe") => {
                self.peer.event(format!("unsubscribe {channel}"));
                self.channels.remove(channel);
            }
            _ => return Some("invalid message type".into()),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::Visitor;

    const TICKER: &str = r#"{"type":"subscribe","product_ids":["BTC-USD"],"channel":"ticker"}"#;

    #[test]
    fn messages_are_counted_and_a_lost_one_leaves_a_hole() {
        let stage = open(Settings { heartbeat: Duration::from_millis(20), ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, "/");
        visitor.say(TICKER);
        let first = visitor.json();
        assert_eq!(first["events"][0]["subscriptions"], json!({"ticker": ["BTC-USD"]}));
        stage.order(Order::Do("lose"));
        stage.order(Order::Say(r#"ticker {"type":"update"}"#.into()));
        let second = visitor.json();
        assert_eq!((&first["sequence_num"], &second["sequence_num"]), (&0.into(), &2.into()));
        visitor.say(r#"{"type":"subscribe","channel":"heartbeats"}"#);
        let beat = visitor.until(|message| message["channel"] == "heartbeats");
        assert_eq!(beat["events"][0]["heartbeat_counter"], 1);
        stage.assert_no_violations();
    }

    #[test]
    fn a_connection_without_a_subscription_or_updates_is_closed() {
        let quick = Duration::from_millis(30);
        let stage = open(Settings { subscribe_within: quick, quiet: quick, ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, "/");
        assert_eq!(visitor.closed(), (1008, "no subscribe in time".into()));
        let stage = open(Settings { quiet: quick, ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, "/");
        visitor.say(TICKER);
        assert_eq!(visitor.closed(), (1008, "no updates".into()));
        assert_eq!(stage.violations().len(), 1);
    }

    #[test]
    fn a_private_channel_needs_a_token_that_was_not_used() {
        let stage = open(Settings::default());
        let mut visitor = Visitor::enter(&stage, "/");
        for (jwt, good) in
            [(None, false), (Some("made up"), false), (Some("jwt-1"), true), (Some("jwt-1"), false)]
        {
            let mut request = json!({"type": "subscribe", "channel": "user"});
            if let Some(jwt) = jwt {
                request["jwt"] = jwt.into();
            }
            visitor.say(request);
            let answer = visitor.json();
            assert_eq!(answer["message"] == "authentication failure", !good, "{jwt:?}: {answer}");
        }
    }

    #[test]
    fn messages_and_connections_beyond_the_seconds_are_refused() {
        let stage = open(Settings { rate: 2, ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, "/");
        // more than two where the machine is so slow that the first was some time ago
        let taken = (0..1_000).take_while(|_| {
            visitor.say(TICKER);
            visitor.json()["message"] != "rate limit exceeded"
        });
        let taken = taken.count();
        assert!((2..1_000).contains(&taken), "{taken}");
        assert_eq!(Visitor::try_enter(&stage, "/other", &[]).err(), Some(404));
        let refused = (0..1_000).find_map(|_| Visitor::try_enter(&stage, "/", &[]).err());
        assert_eq!(refused, Some(429));
    }
}
