//! Slack's Socket Mode, with the one method of its Web API that opens it.
//!
//! Rules: "Using Socket Mode", <https://docs.slack.dev/apis/events-api/using-socket-mode>;
//! "apps.connections.open", <https://docs.slack.dev/reference/methods/apps.connections.open>; for retries
//! "The Events API", <https://docs.slack.dev/apis/events-api/>. Which status a used-up URL gets isn't
//! published; here it is 408.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage};

/// What the server is told.
#[derive(Clone)]
pub struct Settings {
    /// The app-level token that it takes.
    pub token: &'static str,
    /// How long an envelope may wait for its acknowledgement; 3 s.
    pub ack: Duration,
    /// From the warning to the close; 10 s.
    pub warning: Duration,
    /// From one of its ping frames to the next. A pong must come within one more.
    pub ping: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            token: "xapp-good",
            ack: Duration::from_secs(3),
            warning: Duration::from_secs(10),
            ping: Duration::from_secs(5),
        }
    }
}

/// How many connections an app may have at once.
const MAX_CONNECTIONS: usize = 10;

/// A server. `Order::Say(TEXT)` is an event that must be acknowledged; `Order::Do` knows `again` (the last
/// event once more), `warning` (with one more event after it) and `refresh`, the two kinds of disconnect, and
/// `link_disabled`.
/// Events: `url` (a URL was given), `hello`, `ack`.
pub fn open(settings: Settings) -> Stage {
    Stage::open(World { settings, ..World::default() }, serve)
}

#[derive(Default)]
struct World {
    settings: Settings,
    /// What may still be used, once.
    tickets: RefCell<Vec<String>>,
    made: Cell<usize>,
    open: Cell<usize>,
    /// The newest envelope.
    last: RefCell<Value>,
}

async fn serve(world: Rc<World>, guest: Guest) {
    match guest.path.as_str() {
        "/api/apps.connections.open" => give_url(&world, guest).await,
        "/link/" if guest.wants_upgrade() => {
            let ticket = guest.query("ticket").unwrap_or_default();
            let known = world.tickets.borrow().iter().position(|it| *it == ticket);
            let Some(place) = known else {
                guest.violation("a URL that was never given, or is used up");
                return guest.answer(408, "", "").await;
            };
            world.tickets.borrow_mut().remove(place);
            world.open.set(world.open.get() + 1);
            let mut peer = guest.upgrade(None).await;
            Socket::new(&world).run(&mut peer).await;
            world.open.set(world.open.get() - 1);
        }
        _ => guest.answer(404, "", "").await,
    }
}

/// `apps.connections.open`: errors are told in the body, under status 200.
async fn give_url(world: &World, guest: Guest) {
    let token = guest.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let error = match token {
        _ if guest.method != "POST" => "insecure_request",
        None => "not_authed",
        Some(token) if token != world.settings.token => "invalid_auth",
        Some(_) => {
            world.made.set(world.made.get() + 1);
            let ticket = format!("ticket-{}", world.made.get());
            let host = guest.header("host").unwrap_or("");
            let url = format!("ws://{host}/link/?ticket={ticket}&app_id=A1");
            world.tickets.borrow_mut().push(ticket);
            guest.event("url");
            return answer_json(guest, &json!({"ok": true, "url": url})).await;
        }
    };
    guest.violation(error);
    answer_json(guest, &json!({"ok": false, "error": error})).await;
}

async fn answer_json(guest: Guest, body: &Value) {
    guest.answer(200, "Content-Type: application/json\r\n", &body.to_string()).await;
}

/// One connection.
struct Socket<'a> {
    world: &'a World,
    /// The envelopes that aren't acknowledged, and by when they must be.
    waiting: BTreeMap<String, Instant>,
    next_ping: Instant,
    owes_pong: bool,
    /// When this connection is closed, after a warning.
    end: Option<Instant>,
}

impl<'a> Socket<'a> {
    fn new(world: &'a World) -> Socket<'a> {
        let next_ping = Instant::now() + world.settings.ping;
        Socket { world, waiting: BTreeMap::new(), next_ping, owes_pong: false, end: None }
    }

    async fn run(&mut self, peer: &mut Peer) {
        if self.world.open.get() > MAX_CONNECTIONS {
            peer.violation("more than 10 connections");
            return self.disconnect(peer, "too_many_websockets").await;
        }
        peer.say(json!({
            "type": "hello",
            "num_connections": self.world.open.get(),
            "connection_info": {"app_id": "A1"},
            "debug_info": {"host": "applink-1", "approximate_connection_time": 18060},
        }))
        .await;
        peer.event("hello");
        loop {
            let until = self.waiting.values().copied().chain(self.end).chain([self.next_ping]).min();
            match peer.hear(until).await {
                Heard::Late => {
                    if !self.late(peer).await {
                        return;
                    }
                }
                Heard::Text(text) => self.hear(peer, &text),
                Heard::Binary(_) => peer.violation("a binary message"),
                Heard::Pong => self.owes_pong = false,
                Heard::Ping => {}
                Heard::Order(Order::Say(text)) => self.event(peer, &text).await,
                Heard::Order(Order::Do("again")) => {
                    let mut envelope = self.world.last.borrow().clone();
                    envelope["retry_attempt"] = json!(1);
                    envelope["retry_reason"] = json!("timeout");
                    self.deliver(peer, envelope).await;
                }
                Heard::Order(Order::Do("warning")) => {
                    say_disconnect(peer, "warning").await;
                    self.end = Some(Instant::now() + self.world.settings.warning);
                    self.event(peer, "last words").await;
                }
                Heard::Order(Order::Do("refresh")) => {
                    return self.disconnect(peer, "refresh_requested").await;
                }
                Heard::Order(Order::Do("link_disabled")) => {
                    return self.disconnect(peer, "link_disabled").await;
                }
                Heard::Order(order) => {
                    if !peer.obey(order).await {
                        return;
                    }
                }
                Heard::Close(_) | Heard::Gone => return,
            }
        }
    }

    async fn event(&mut self, peer: &mut Peer, text: &str) {
        let number = self.world.made.get() + 1;
        self.world.made.set(number);
        let event = json!({"type": "message", "channel": "C1", "text": text});
        let id = format!("Ev{number}");
        let envelope = json!({
            "type": "events_api",
            "envelope_id": format!("57d6a792-{number}"),
            "payload": {"type": "event_callback", "event_id": id, "event": event},
            "accepts_response_payload": false,
            "retry_attempt": 0,
            "retry_reason": "",
        });
        self.deliver(peer, envelope).await;
    }

    /// A deadline has passed. `false` means that the connection has ended.
    async fn late(&mut self, peer: &mut Peer) -> bool {
        let now = Instant::now();
        self.waiting.retain(|id, by| {
            let in_time = *by > now;
            if !in_time {
                peer.violation(format!("no acknowledgement of {id} in time"));
            }
            in_time
        });
        if self.end.is_some_and(|end| end <= now) {
            self.disconnect(peer, "refresh_requested").await;
            return false;
        }
        if self.next_ping <= now {
            if self.owes_pong {
                peer.violation("no pong in time");
                return false;
            }
            peer.ping_with(b"Ping from applink-1").await;
            self.owes_pong = true;
            self.next_ping = now + self.world.settings.ping;
        }
        true
    }

    /// All that an app may say is the acknowledgement of an envelope.
    fn hear(&mut self, peer: &Peer, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let Some(id) = message["envelope_id"].as_str() else {
            return peer.violation(format!("not an acknowledgement: {text}"));
        };
        if self.waiting.remove(id).is_none() {
            return peer.violation(format!("an acknowledgement of {id}, which doesn't wait for one"));
        }
        if message.get("payload").is_some_and(|payload| payload.as_object().is_none_or(|map| !map.is_empty()))
        {
            peer.violation(format!("a payload for {id}, which takes none"));
        }
        peer.event("ack");
    }

    async fn deliver(&mut self, peer: &mut Peer, envelope: Value) {
        let id = envelope["envelope_id"].as_str().unwrap().to_owned();
        self.waiting.insert(id, Instant::now() + self.world.settings.ack);
        peer.say(&envelope).await;
        *self.world.last.borrow_mut() = envelope;
    }

    async fn disconnect(&self, peer: &mut Peer, reason: &str) {
        say_disconnect(peer, reason).await;
        peer.close(1000, "").await;
    }
}

async fn say_disconnect(peer: &mut Peer, reason: &str) {
    peer.say(json!({"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-1"}})).await;
}

mod tests {
    use super::{
        super::visitor::{Visitor, http},
        *,
    };

    const GOOD: &str = "Authorization: Bearer xapp-good\r\n";

    fn url(stage: &Stage) -> String {
        let (status, body) = http(stage, "POST", "/api/apps.connections.open", GOOD, "");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["ok"]), (200, &json!(true)));
        body["url"].as_str().unwrap().strip_prefix(&stage.url("")).unwrap().to_owned()
    }

    fn enter(stage: &Stage) -> Visitor {
        let mut visitor = Visitor::enter(stage, &url(stage));
        assert_eq!(visitor.json()["type"], "hello");
        visitor
    }

    #[test]
    fn who_does_as_documented_is_served() {
        let stage = open(Settings { warning: Duration::from_millis(50), ..Settings::default() });
        let mut visitor = enter(&stage);
        stage.order(Order::Say("hi".into()));
        let envelope = visitor.json();
        assert_eq!(
            (&envelope["type"], &envelope["payload"]["event"]["text"]),
            (&json!("events_api"), &json!("hi"))
        );
        visitor.say(json!({"envelope_id": envelope["envelope_id"]}));
        stage.event("ack", 1);
        stage.order(Order::Do("warning"));
        assert_eq!(visitor.json()["reason"], "warning");
        let last = visitor.json();
        visitor.say(json!({"envelope_id": last["envelope_id"]}));
        assert_eq!(visitor.json()["reason"], "refresh_requested");
        assert_eq!(visitor.closed().0, 1000);
        stage.assert_no_violations();
    }

    #[test]
    fn a_url_is_given_to_who_may_have_it() {
        let stage = open(Settings::default());
        for (method, headers, error) in [
            ("GET", GOOD, "insecure_request"),
            ("POST", "", "not_authed"),
            ("POST", "Authorization: Bearer xoxb-bad\r\n", "invalid_auth"),
        ] {
            let (status, body) = http(&stage, method, "/api/apps.connections.open", headers, "");
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((status, body), (200, json!({"ok": false, "error": error})));
        }
    }

    #[test]
    fn a_url_is_good_once() {
        let stage = open(Settings::default());
        let path = url(&stage);
        let _visitor = Visitor::enter(&stage, &path);
        assert_eq!(Visitor::try_enter(&stage, &path, &[]).err(), Some(408));
        assert_eq!(Visitor::try_enter(&stage, "/link/?ticket=made-up", &[]).err(), Some(408));
        assert_eq!(stage.violations().len(), 2);
    }

    #[test]
    fn an_envelope_that_is_not_acknowledged_in_time_is_a_violation() {
        let stage = open(Settings { ack: Duration::from_millis(50), ..Settings::default() });
        let mut visitor = enter(&stage);
        stage.order(Order::Say("hi".into()));
        visitor.json();
        stage.until("a violation", |book| book.violations.first().cloned());
        assert!(stage.violations()[0].contains("no acknowledgement"));
    }

    #[test]
    fn what_is_no_acknowledgement_is_a_violation() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage);
        for (message, words) in [
            (json!({"type": "message"}), "not an acknowledgement"),
            (json!({"envelope_id": "unheard of"}), "doesn't wait for one"),
        ] {
            let before = stage.violations().len();
            visitor.say(message);
            let violation = stage.until("a violation", |book| book.violations.get(before).cloned());
            assert!(violation.contains(words), "{violation}");
        }
    }

    #[test]
    fn an_eleventh_connection_is_one_too_many() {
        let stage = open(Settings::default());
        let _ten: Vec<Visitor> = (0..10).map(|_| enter(&stage)).collect();
        let mut visitor = Visitor::enter(&stage, &url(&stage));
        assert_eq!(visitor.json()["reason"], "too_many_websockets");
    }

    #[test]
    fn who_answers_no_ping_is_dropped() {
        let stage = open(Settings { ping: Duration::from_millis(50), ..Settings::default() });
        let _visitor = enter(&stage);
        stage.empty();
        assert!(stage.violations()[0].contains("no pong"));
    }
}
