//! Twitch's EventSub by WebSocket, with the one method of its API that subscribes.
//!
//! Rules: "Handling WebSocket Events", <https://dev.twitch.tv/docs/eventsub/handling-websocket-events> (Welcome message:
//! subscribe within 10 seconds; Keepalive message; Reconnect message: 30 seconds, the same session; Close message);
//! "EventSub WebSocket Reference", <https://dev.twitch.tv/docs/eventsub/websocket-reference>; "Create EventSub
//! Subscription", <https://dev.twitch.tv/docs/api/reference/#create-eventsub-subscription>.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage};

pub const TOKEN: &str = "good-token";

/// The server's bounds. The default is what it publishes.
#[derive(Clone)]
pub struct Settings {
    /// How long a second of `keepalive_timeout_seconds` takes.
    pub second: Duration,
    /// How long a session may be without a subscription.
    pub unused: Duration,
    /// For how long a session that is to move stays where it was.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        let seconds = Duration::from_secs;
        Settings { second: seconds(1), unused: seconds(10), grace: seconds(30) }
    }
}

struct World {
    settings: Settings,
    /// The types that each session is subscribed to.
    sessions: RefCell<BTreeMap<String, BTreeSet<String>>>,
    /// Sessions that are to move, by the word in the URL for that.
    moving: RefCell<BTreeMap<String, String>>,
    made: Cell<usize>,
    messages: Cell<usize>,
}

/// Opens the server: `/ws`, and `POST /helix/eventsub/subscriptions`. `Order::Say("TYPE JSON")` is a notification of that
/// type. `Order::Do` knows `reconnect`, `again` (the last message once more), `revoke` and `forget` (all moves that are
/// under way are void).
/// Events: `keepalive`, `session ID` and `moved ID` (what was welcome), `subscribe TYPE`, `left` (the client has closed).
pub fn open(settings: Settings) -> Stage {
    let world = World {
        settings,
        sessions: RefCell::default(),
        moving: RefCell::default(),
        made: Cell::new(0),
        messages: Cell::new(0),
    };
    Stage::open(world, visit)
}

async fn visit(world: Rc<World>, guest: Guest) {
    match guest.path.as_str() {
        "/helix/eventsub/subscriptions" => return subscribe(&world, guest).await,
        "/ws" if guest.wants_upgrade() => {}
        _ => return guest.answer(404, "", "").await,
    }
    let moved = guest.query("move");
    let keepalive = match guest.query("keepalive_timeout_seconds").map(|text| text.parse::<u32>()) {
        None => 10,
        Some(Ok(seconds)) if (10..=600).contains(&seconds) => seconds,
        Some(_) => {
            guest.violation("keepalive_timeout_seconds is no number from 10 to 600");
            return guest.answer(400, "", "").await;
        }
    };
    let here = guest.header("host").unwrap_or("").to_owned();
    let mut peer = guest.upgrade(None).await;
    let id = match &moved {
        Some(word) => {
            let Some(id) = world.moving.borrow_mut().remove(word) else {
                peer.event("invalid reconnect");
                return peer.close(4007, "invalid reconnect").await;
            };
            peer.event(format!("moved {id}"));
            id
        }
        None => {
            let id = format!("AgoQ{}", world.next());
            world.sessions.borrow_mut().insert(id.clone(), BTreeSet::new());
            peer.event(format!("session {id}"));
            id
        }
    };
    let now = Instant::now();
    let mut session =
        Session { world: &world, peer, id, here, last: Value::Null, keepalive, leave_by: None, moves: false };
    session.run(now).await;
    // a session ends with its connection, unless it moves
    if !session.moves {
        world.sessions.borrow_mut().remove(&session.id);
    }
}

/// Create EventSub Subscription
async fn subscribe(world: &World, guest: Guest) {
    let body: Value = serde_json::from_slice(&guest.body).unwrap_or_default();
    let (kind, id) = (body["type"].as_str(), body["transport"]["session_id"].as_str());
    let known = id.is_some_and(|id| world.sessions.borrow().contains_key(id));
    let bearer = guest.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let wrong = match (kind, id) {
        _ if bearer != Some(TOKEN) || guest.header("client-id").is_none() => Some((401, "no good token")),
        (Some(_), Some(_)) if body["transport"]["method"] != "websocket" => Some((400, "invalid transport")),
        (Some(kind), Some(id)) if known => {
            let fresh = world.sessions.borrow_mut().get_mut(id).unwrap().insert(kind.to_owned());
            (!fresh).then_some((409, "subscription already exists"))
        }
        _ => Some((400, "websocket transport session does not exist or has already disconnected")),
    };
    if let Some((status, message)) = wrong {
        guest.violation(format!("{status} {message}"));
        let body = json!({"status": status, "message": message}).to_string();
        return guest.answer(status, "", &body).await;
    }
    guest.event(format!("subscribe {}", kind.unwrap_or_default()));
    guest.answer(202, "Content-Type: application/json\r\n", r#"{"data":[{"status":"enabled"}]}"#).await;
}

impl World {
    fn next(&self) -> usize {
        self.made.set(self.made.get() + 1);
        self.made.get()
    }
}

struct Session<'a> {
    world: &'a World,
    peer: Peer,
    id: String,
    /// Host and port, as the client called them.
    here: String,
    last: Value,
    keepalive: u32,
    /// By when the client must have gone, after `session_reconnect`.
    leave_by: Option<Instant>,
    /// The session is elsewhere once this connection ends.
    moves: bool,
}

impl Session<'_> {
    async fn run(&mut self, start: Instant) {
        let keepalive = self.world.settings.second * self.keepalive;
        let session = json!({"id": self.id, "status": "connected", "keepalive_timeout_seconds": self.keepalive,
            "reconnect_url": null, "connected_at": "2026-01-05T12:00:00Z"});
        self.message("session_welcome", None, json!({"session": session})).await;
        let mut next = start + keepalive;
        loop {
            let unused = (!self.is_used()).then_some(start + self.world.settings.unused);
            let until = [Some(next), unused, self.leave_by].into_iter().flatten().min();
            match self.peer.hear(until).await {
                Heard::Close(_) => return self.peer.event("left"),
                Heard::Gone => return,
                // Close message, 4001: a client says nothing but pongs
                Heard::Text(_) | Heard::Binary(_) => {
                    return self.peer.refuse(4001, "client sent inbound traffic").await;
                }
                Heard::Ping | Heard::Pong => {}
                Heard::Late => {
                    let now = Instant::now();
                    if self.leave_by.is_some_and(|by| by <= now) {
                        return self.peer.refuse(4004, "reconnect grace time expired").await;
                    }
                    if !self.is_used() && start + self.world.settings.unused <= now {
                        return self.peer.refuse(4003, "connection unused").await;
                    }
                    if next <= now {
                        self.message("session_keepalive", None, json!({})).await;
                        self.peer.event("keepalive");
                        next = now + keepalive;
                    }
                }
                Heard::Order(Order::Say(text)) => {
                    let (kind, event) = text.split_once(' ').expect("TYPE JSON");
                    let event: Value = serde_json::from_str(event).unwrap();
                    if self.world.sessions.borrow().get(&self.id).is_some_and(|types| types.contains(kind)) {
                        let payload =
                            json!({"subscription": {"type": kind, "status": "enabled"}, "event": event});
                        self.message("notification", Some(kind), payload).await;
                        next = Instant::now() + keepalive;
                    }
                }
                Heard::Order(Order::Do("again")) => {
                    let last = self.last.clone();
                    self.peer.say(last).await;
                }
                Heard::Order(Order::Do("revoke")) => {
                    let subscription = json!({"type": "stream.online", "status": "authorization_revoked"});
                    self.message("revocation", Some("stream.online"), json!({"subscription": subscription}))
                        .await;
                    self.world.sessions.borrow_mut().get_mut(&self.id).unwrap().remove("stream.online");
                }
                Heard::Order(Order::Do("reconnect")) => {
                    let word = format!("word-{}", self.world.next());
                    let url = format!("ws://{}/ws?move={word}", self.here);
                    self.world.moving.borrow_mut().insert(word, self.id.clone());
                    self.moves = true;
                    self.leave_by = Some(Instant::now() + self.world.settings.grace);
                    let session = json!({"id": self.id, "status": "reconnecting", "keepalive_timeout_seconds": null,
                        "reconnect_url": url, "connected_at": "2026-01-05T12:00:00Z"});
                    self.message("session_reconnect", None, json!({"session": session})).await;
                }
                Heard::Order(Order::Do("forget")) => {
                    self.world.moving.borrow_mut().clear();
                    self.peer.event("forgotten");
                }
                Heard::Order(order) => {
                    if !self.peer.obey(order).await {
                        return;
                    }
                }
            }
        }
    }

    fn is_used(&self) -> bool {
        self.world.sessions.borrow().get(&self.id).is_some_and(|types| !types.is_empty())
    }

    async fn message(&mut self, kind: &str, subscription: Option<&str>, payload: Value) {
        self.world.messages.set(self.world.messages.get() + 1);
        let mut metadata = json!({"message_id": format!("96a3f3b5-{}", self.world.messages.get()),
            "message_type": kind, "message_timestamp": "2026-01-05T12:00:00.634Z"});
        if let Some(subscription) = subscription {
            metadata["subscription_type"] = subscription.into();
            metadata["subscription_version"] = "1".into();
        }
        self.last = json!({"metadata": metadata, "payload": payload});
        self.peer.say(&self.last).await;
    }
}

/// Subscribes a session to a type, as a client's program does. The HTTP status.
pub fn post(stage: &Stage, token: &str, session: &Value, kind: &str) -> u16 {
    let body = json!({"type": kind, "version": "1", "condition": {"broadcaster_user_id": "1"},
        "transport": {"method": "websocket", "session_id": session}});
    let headers =
        format!("Client-Id: me\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    super::visitor::http(stage, "POST", "/helix/eventsub/subscriptions", &headers, &body.to_string()).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::Visitor;

    fn enter(stage: &Stage, path: &str) -> (Visitor, Value) {
        let mut visitor = Visitor::enter(stage, path);
        let welcome = visitor.json();
        assert_eq!(welcome["metadata"]["message_type"], "session_welcome");
        (visitor, welcome["payload"]["session"]["id"].clone())
    }

    #[test]
    fn a_session_that_is_subscribed_is_notified_and_moves() {
        let stage = open(Settings::default());
        let (mut visitor, id) = enter(&stage, "/ws?keepalive_timeout_seconds=30");
        assert_eq!(post(&stage, TOKEN, &id, "stream.online"), 202);
        stage.order(Order::Say(r#"stream.online {"id":"9001"}"#.into()));
        assert_eq!(visitor.json()["payload"]["event"]["id"], "9001");
        stage.order(Order::Do("reconnect"));
        let session = visitor.json()["payload"]["session"].clone();
        let url = session["reconnect_url"].as_str().unwrap();
        let path = url.strip_prefix(&stage.url("")).unwrap();
        let (mut moved, same) = enter(&stage, path);
        assert_eq!(same, id);
        visitor.leave(1000);
        stage.event("left", 1);
        stage.order(Order::Say(r#"stream.online {"id":"9002"}"#.into()));
        assert_eq!(moved.json()["payload"]["event"]["id"], "9002");
        assert_eq!(Visitor::enter(&stage, path).closed().0, 4007, "it is good once");
        stage.assert_no_violations();
    }

    #[test]
    fn keepalives_come_where_nothing_else_does() {
        let stage = open(Settings { second: Duration::from_millis(3), ..Settings::default() });
        let (mut visitor, _) = enter(&stage, "/ws?keepalive_timeout_seconds=10");
        assert_eq!(visitor.json()["metadata"]["message_type"], "session_keepalive");
        assert_eq!(Visitor::try_enter(&stage, "/ws?keepalive_timeout_seconds=9", &[]).err(), Some(400));
    }

    #[test]
    fn who_says_something_or_does_not_subscribe_or_stays_is_closed() {
        let short = Duration::from_millis(50);
        let stage = open(Settings { unused: short, ..Settings::default() });
        assert_eq!(enter(&stage, "/ws").0.closed().0, 4003);
        assert_eq!(stage.violations().len(), 1);
        let stage = open(Settings { grace: short, ..Settings::default() });
        let (mut visitor, id) = enter(&stage, "/ws");
        assert_eq!(post(&stage, TOKEN, &id, "stream.online"), 202);
        stage.order(Order::Do("reconnect"));
        assert_eq!(visitor.closed().0, 4004);
        let (mut visitor, _) = enter(&stage, "/ws");
        visitor.say("hello");
        assert_eq!(visitor.closed().0, 4001);
        assert_eq!(stage.violations().len(), 2);
    }

    #[test]
    fn a_wrong_subscription_is_refused() {
        let stage = open(Settings::default());
        let (_visitor, id) = enter(&stage, "/ws");
        assert_eq!(post(&stage, "bad", &id, "stream.online"), 401);
        assert_eq!(post(&stage, TOKEN, &json!("no such"), "stream.online"), 400);
        assert_eq!(post(&stage, TOKEN, &id, "stream.online"), 202);
        assert_eq!(post(&stage, TOKEN, &id, "stream.online"), 409);
        assert_eq!(stage.violations().len(), 3);
    }
}
