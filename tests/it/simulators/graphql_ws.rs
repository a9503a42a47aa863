//! A GraphQL server that speaks the `graphql-transport-ws` subprotocol.
//!
//! Rules: "GraphQL over WebSocket Protocol",
//! <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>; what that page leaves to the
//! server (the 3 s for `connection_init`, 4403 for a login that is refused, 4406 for a subprotocol that
//! isn't offered) is as in its reference server, `src/server.ts` there.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage};

const SUBPROTOCOL: &str = "graphql-transport-ws";

/// What the server is told.
#[derive(Clone)]
pub struct Settings {
    /// What `connection_init` must carry in `payload.authorization`, behind `Bearer `.
    pub token: &'static str,
    /// How long it waits for `connection_init`; 3 s.
    pub init: Duration,
    /// From one of its `ping` messages to the next. The `pong` must come within one more.
    pub ping: Duration,
    /// How much later than that an answer may be, on a busy machine.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            token: "good-token",
            init: Duration::from_secs(3),
            ping: Duration::from_secs(12),
            patience: Duration::from_secs(30),
        }
    }
}

/// A server. `Order::Say(JSON)` is the next result of every operation, `Order::Do("complete")` their end.
/// Events: `init`, `subscribed ID`, `completed ID`, `ping`, `pong`.
pub fn open(settings: Settings) -> Stage {
    Stage::open(settings, serve)
}

async fn serve(settings: Rc<Settings>, guest: Guest) {
    if !guest.wants_upgrade() {
        return guest.answer(426, "Upgrade: websocket\r\n", "Upgrade Required").await;
    }
    if !guest.subprotocols().contains(&SUBPROTOCOL) {
        return guest.upgrade(None).await.refuse(4406, "Subprotocol not acceptable").await;
    }
    let mut peer = guest.upgrade(Some(SUBPROTOCOL)).await;
    let mut server = Server { init_by: Some(Instant::now() + settings.init), operations: BTreeSet::new() };
    let mut next_ping = Instant::now() + settings.ping;
    let mut pong_by = None::<Instant>;
    loop {
        let until = server.init_by.unwrap_or(pong_by.unwrap_or(next_ping).min(next_ping));
        let goes_on = match peer.hear(Some(until)).await {
            Heard::Late if server.init_by.is_some() => {
                return peer.refuse(4408, "Connection initialisation timeout").await;
            }
            Heard::Late if pong_by.is_some_and(|by| by <= Instant::now()) => {
                return peer.refuse(4499, "Terminated").await;
            }
            Heard::Late => {
                peer.say(json!({"type": "ping"})).await;
                next_ping = Instant::now() + settings.ping;
                pong_by.get_or_insert(next_ping + settings.patience);
                true
            }
            Heard::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                pong_by = pong_by.filter(|_| message["type"] != "pong");
                server.answer(&settings, &mut peer, &message).await
            }
            Heard::Binary(_) => {
                peer.refuse(4400, "Invalid message received").await;
                false
            }
            Heard::Order(Order::Say(data)) => {
                let data: Value = serde_json::from_str(&data).unwrap();
                for id in &server.operations {
                    peer.say(json!({"id": id, "type": "next", "payload": {"data": data}})).await;
                }
                true
            }
            Heard::Order(Order::Do("complete")) => {
                for id in std::mem::take(&mut server.operations) {
                    peer.say(json!({"id": id, "type": "complete"})).await;
                }
                true
            }
            Heard::Order(order) => peer.obey(order).await,
            Heard::Close(_) | Heard::Gone => return,
            Heard::Ping | Heard::Pong => true,
        };
        if !goes_on {
            return;
        }
    }
}

struct Server {
    /// By when `connection_init` must come; `None` once it has.
    init_by: Option<Instant>,
    /// The ids of the operations that are under way.
    operations: BTreeSet<String>,
}

impl Server {
    /// Answers a message. `false` means that the connection is closed.
    async fn answer(&mut self, settings: &Settings, peer: &mut Peer, message: &Value) -> bool {
        let id = message["id"].as_str().filter(|id| !id.is_empty());
        let refusal = match (message["type"].as_str(), id) {
            (Some("connection_init"), _) if self.init_by.is_none() => {
                Some((4429, "Too many initialisation requests".to_owned()))
            }
            (Some("connection_init"), _) => {
                self.init_by = None;
                if message["payload"]["authorization"] == format!("Bearer {}", settings.token) {
                    peer.event("init");
                    peer.say(json!({"type": "connection_ack"})).await;
                    None
                } else {
                    Some((4403, "Forbidden".to_owned()))
                }
            }
            (Some("ping"), _) => {
                peer.event("ping");
                peer.say(json!({"type": "pong"})).await;
                None
            }
            (Some("pong"), _) => {
                peer.event("pong");
                None
            }
            (Some("subscribe"), Some(_)) if self.init_by.is_some() => Some((4401, "Unauthorized".to_owned())),
            (Some("subscribe"), Some(id)) if message["payload"]["query"].is_string() => {
                if self.operations.insert(id.to_owned()) {
                    peer.event(format!("subscribed {id}"));
                    None
                } else {
                    Some((4409, format!("Subscriber for {id} already exists")))
                }
            }
            (Some("complete"), Some(id)) => {
                if self.operations.remove(id) {
                    peer.event(format!("completed {id}"));
                }
                None
            }
            _ => Some((4400, "Invalid message received".to_owned())),
        };
        if let Some((code, reason)) = &refusal {
            peer.refuse(*code, reason).await;
        }
        refusal.is_none()
    }
}

mod tests {
    use super::{super::visitor::Visitor, *};

    fn enter(stage: &Stage) -> Visitor {
        let visitor =
            Visitor::try_enter(stage, "/graphql", &[("Sec-WebSocket-Protocol", SUBPROTOCOL)]).unwrap();
        assert_eq!(visitor.subprotocol.as_deref(), Some(SUBPROTOCOL));
        visitor
    }

    fn init() -> Value {
        json!({"type": "connection_init", "payload": {"authorization": "Bearer good-token"}})
    }

    fn subscribe(id: &str) -> Value {
        json!({"id": id, "type": "subscribe", "payload": {"query": "subscription { price }"}})
    }

    #[test]
    fn who_does_as_documented_is_served() {
        let stage = open(Settings { ping: Duration::from_millis(100), ..Settings::default() });
        let mut visitor = enter(&stage);
        visitor.say(init());
        assert_eq!(visitor.json(), json!({"type": "connection_ack"}));
        visitor.say(subscribe("a"));
        stage.event("subscribed a", 1);
        stage.order(Order::Say(r#"{"price":42}"#.into()));
        visitor.until(|line| *line == json!({"id": "a", "type": "next", "payload": {"data": {"price": 42}}}));
        for _ in 0..3 {
            visitor.until(|line| line["type"] == "ping");
            visitor.say(json!({"type": "pong"}));
        }
        visitor.say(json!({"type": "ping"}));
        visitor.until(|line| line["type"] == "pong");
        visitor.say(json!({"id": "a", "type": "complete"}));
        stage.event("completed a", 1);
        stage.assert_no_violations();
    }

    #[test]
    fn each_mistake_has_its_close_code() {
        let stage = open(Settings::default());
        assert_eq!(Visitor::enter(&stage, "/graphql").closed().0, 4406);
        for (said, code, reason) in [
            (vec![json!({"type": "connection_init"})], 4403, "Forbidden"),
            (vec![subscribe("a")], 4401, "Unauthorized"),
            (vec![init(), init()], 4429, "Too many initialisation requests"),
            (vec![init(), subscribe("a"), subscribe("a")], 4409, "Subscriber for a already exists"),
            (vec![init(), json!({"type": "subscribe", "id": "a"})], 4400, "Invalid message received"),
            (vec![init(), json!({"type": "start"})], 4400, "Invalid message received"),
            (vec![init(), json!("nonsense")], 4400, "Invalid message received"),
        ] {
            let mut visitor = enter(&stage);
            for message in &said {
                visitor.say(message);
            }
            assert_eq!(visitor.closed(), (code, reason.to_owned()), "{said:?}");
        }
        assert_eq!(stage.violations().len(), 8);
        // who is late, and only who is
        let short = Duration::from_millis(100);
        let stage = open(Settings { init: short, ..Settings::default() });
        assert_eq!(enter(&stage).closed(), (4408, "Connection initialisation timeout".to_owned()));
        let stage = open(Settings { ping: short, patience: Duration::ZERO, ..Settings::default() });
        let mut visitor = enter(&stage);
        visitor.say(init());
        assert_eq!(visitor.closed(), (4499, "Terminated".to_owned()));
    }
}
