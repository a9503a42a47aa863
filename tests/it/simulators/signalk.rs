//! A Signal K server.
//!
//! Rules: the Signal K specification: "Streaming WebSocket API",
//! <https://signalk.org/specification/latest/doc/streaming_api.html>; "Subscription Protocol",
//! <https://signalk.org/specification/latest/doc/subscription_protocol.html>; "Security",
//! <https://signalk.org/specification/latest/doc/security.html>. The ping frames each 30 s, the 401 for a
//! token that isn't valid, and what who isn't logged in gets, are as in `src/interfaces/ws.ts` of
//! <https://github.com/SignalK/signalk-server>.

use std::{rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage};

/// What the server is told.
#[derive(Clone)]
pub struct Settings {
    pub username: &'static str,
    pub password: &'static str,
    /// What a login gives, and `Authorization: Bearer` may carry.
    pub token: &'static str,
    /// Whether who isn't logged in may read.
    pub open_to_read: bool,
    /// From one of its ping frames to the next; 30 s. A pong must come within one more.
    pub ping: Duration,
    /// How much later than that an answer may be, on a busy machine.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            username: "john",
            password: "good-password",
            token: "good-token",
            open_to_read: false,
            ping: Duration::from_secs(30),
            patience: Duration::from_secs(30),
        }
    }
}

/// The vessel that this server is on.
const SELF: &str = "vessels.urn:mrn:signalk:uuid:c0d79334-4e25-4245-8892-54e8ccc8021d";

/// A server. `Order::Say(PATH)` is a new value at that path of the vessel. Events: `hello`, `login`,
/// `subscribed PATH`, `unsubscribed`, `put PATH`.
pub fn open(settings: Settings) -> Stage {
    Stage::open(settings, serve)
}

async fn serve(settings: Rc<Settings>, guest: Guest) {
    match (guest.method.as_str(), guest.path.as_str()) {
        ("POST", "/signalk/v1/auth/login") => http_login(&settings, guest).await,
        ("GET", "/signalk/v1/stream") if guest.wants_upgrade() => stream(&settings, guest).await,
        _ => guest.answer(404, "", "").await,
    }
}

async fn http_login(settings: &Settings, guest: Guest) {
    let body: Value = serde_json::from_slice(&guest.body).unwrap_or(Value::Null);
    if is_user(settings, &body) {
        let body = json!({"timeToLive": 86_400, "token": settings.token}).to_string();
        return guest.answer(200, "Content-Type: application/json\r\n", &body).await;
    }
    guest.violation("401 at the login");
    guest.answer(401, "", "Invalid username/password").await;
}

fn is_user(settings: &Settings, login: &Value) -> bool {
    login["username"] == settings.username && login["password"] == settings.password
}

async fn stream(settings: &Settings, guest: Guest) {
    let token = guest.header("authorization").map(|value| value.trim_start_matches("Bearer ").to_owned());
    if token.as_deref().is_some_and(|token| token != settings.token) {
        guest.violation("401 at the upgrade");
        return guest.answer(401, "", "").await;
    }
    let subscribed = match guest.query("subscribe").as_deref() {
        None | Some("self" | "all") => vec!["*".to_owned()],
        Some("none") => Vec::new(),
        Some(_) => return guest.answer(501, "", "Not Implemented").await,
    };
    let mut peer = guest.upgrade(None).await;
    peer.say(json!({
        "name": "signalk-server",
        "version": "2.23.0",
        "timestamp": "2026-11-23T06:00:00.000Z",
        "self": SELF,
        "roles": ["master", "main"],
    }))
    .await;
    peer.event("hello");
    let may_read = settings.open_to_read || token.is_some();
    Stream { settings, subscribed, may_read }.run(&mut peer).await;
}

/// One connection.
struct Stream<'a> {
    settings: &'a Settings,
    /// The paths that it gets; `*` for all, also at the end of one.
    subscribed: Vec<String>,
    may_read: bool,
}

impl Stream<'_> {
    async fn run(&mut self, peer: &mut Peer) {
        let mut next_ping = Instant::now() + self.settings.ping;
        let mut pong_by = None::<Instant>;
        loop {
            match peer.hear(Some(pong_by.unwrap_or(next_ping).min(next_ping))).await {
                Heard::Late if pong_by.is_some_and(|by| by <= Instant::now()) => {
                    return peer.violation("no pong in time");
                }
                Heard::Late => {
                    peer.ping().await;
                    next_ping = Instant::now() + self.settings.ping;
                    pong_by.get_or_insert(next_ping + self.settings.patience);
                }
                Heard::Pong => pong_by = None,
                Heard::Text(text) => self.hear(peer, &text).await,
                // the server takes it for text
                Heard::Binary(bytes) => self.hear(peer, &String::from_utf8_lossy(&bytes)).await,
                Heard::Order(Order::Say(path)) => {
                    if self.may_read && self.subscribed.iter().any(|pattern| covers(pattern, &path)) {
                        let values = json!([{"path": path, "value": 3.85}]);
                        let update = json!({"$source": "n2k.115", "timestamp": "2026-11-23T06:00:00.000Z", "values": values});
                        peer.say(json!({"context": SELF, "updates": [update]})).await;
                    }
                }
                Heard::Order(order) => {
                    if !peer.obey(order).await {
                        return;
                    }
                }
                Heard::Close(_) | Heard::Gone => return,
                Heard::Ping => {}
            }
        }
    }

    async fn hear(&mut self, peer: &mut Peer, text: &str) {
        // the server passes over what it can't read
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            return peer.violation(format!("not JSON: {text}"));
        };
        let request = &message["requestId"];
        let mut understood = false;
        if let Some(login) = message.get("login") {
            understood = true;
            let good = is_user(self.settings, login);
            let mut reply = json!({"requestId": request, "state": "COMPLETED", "statusCode": 401});
            if good {
                self.may_read = true;
                peer.event("login");
                reply["statusCode"] = json!(200);
                reply["login"] = json!({"timeToLive": 86_400, "token": self.settings.token});
            } else {
                peer.violation("401 at the login");
            }
            peer.say(reply).await;
        }
        for paths in message.get("subscribe").into_iter().filter_map(Value::as_array) {
            understood = true;
            if !message["context"].is_string() {
                peer.violation("a subscription without a context");
            }
            for wanted in paths {
                let policy = wanted["policy"].as_str().unwrap_or("ideal");
                match wanted["path"].as_str() {
                    Some(path) if ["instant", "ideal", "fixed"].contains(&policy) => {
                        self.subscribed.push(path.to_owned());
                        peer.event(format!("subscribed {path}"));
                    }
                    _ => peer.violation(format!("not a subscription: {wanted}")),
                }
            }
        }
        if message["unsubscribe"].is_array() {
            understood = true;
            self.subscribed.clear();
            peer.event("unsubscribed");
        }
        if let Some(put) = message.get("put") {
            understood = true;
            let code = if self.may_read { 200 } else { 403 };
            peer.event(format!("put {}", put["path"].as_str().unwrap_or("")));
            peer.say(json!({"requestId": request, "state": "COMPLETED", "statusCode": code})).await;
        }
        if !understood && message.get("updates").is_none() {
            peer.violation(format!("no message of Signal K: {text}"));
        }
    }
}

fn covers(pattern: &str, path: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == path, |start| path.starts_with(start))
}

mod tests {
    use super::{
        super::visitor::{Visitor, http},
        *,
    };

    const PATH: &str = "/signalk/v1/stream?subscribe=none";

    fn enter(stage: &Stage, headers: &[(&str, &str)]) -> Visitor {
        let mut visitor = Visitor::try_enter(stage, PATH, headers).unwrap();
        assert_eq!(visitor.json()["self"], SELF);
        visitor
    }

    fn subscribe() -> Value {
        json!({"context": "vessels.self", "subscribe": [{"path": "navigation.*", "policy": "instant"}]})
    }

    #[test]
    fn who_does_as_documented_is_served() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage, &[]);
        visitor.say(json!({"requestId": "1", "login": {"username": "john", "password": "good-password"}}));
        let reply = visitor.json();
        assert_eq!((&reply["requestId"], &reply["statusCode"]), (&json!("1"), &json!(200)));
        visitor.say(subscribe());
        stage.event("subscribed navigation.*", 1);
        stage.order(Order::Say("environment.depth.belowKeel".into()));
        stage.order(Order::Say("navigation.speedOverGround".into()));
        let delta = visitor.json();
        assert_eq!(delta["updates"][0]["values"][0]["path"], "navigation.speedOverGround");
        stage.assert_no_violations();
    }

    #[test]
    fn a_token_at_the_upgrade_is_a_login() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage, &[("Authorization", "Bearer good-token")]);
        visitor.say(subscribe());
        stage.event("subscribed navigation.*", 1);
        stage.order(Order::Say("navigation.position".into()));
        assert_eq!(visitor.json()["context"], SELF);
        let bad = Visitor::try_enter(&stage, PATH, &[("Authorization", "Bearer bad")]);
        assert_eq!(bad.err(), Some(401));
        assert_eq!(Visitor::try_enter(&stage, "/signalk/v1/stream?subscribe=some", &[]).err(), Some(501));
        assert_eq!(Visitor::try_enter(&stage, "/signalk/v1", &[]).err(), Some(404));
    }

    #[test]
    fn a_wrong_password_is_401() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage, &[]);
        visitor.say(json!({"requestId": "1", "login": {"username": "john", "password": "bad"}}));
        assert_eq!(visitor.json(), json!({"requestId": "1", "state": "COMPLETED", "statusCode": 401}));
        for (password, status) in [("bad", 401), ("good-password", 200)] {
            let body = json!({"username": "john", "password": password}).to_string();
            assert_eq!(http(&stage, "POST", "/signalk/v1/auth/login", "", &body).0, status);
        }
    }

    #[test]
    fn who_is_not_logged_in_gets_nothing() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage, &[]);
        visitor.say(subscribe());
        stage.event("subscribed navigation.*", 1);
        stage.order(Order::Say("navigation.position".into()));
        visitor.say(json!({"requestId": "2", "put": {"path": "steering.autopilot.state", "value": "auto"}}));
        assert_eq!(visitor.json()["statusCode"], 403, "the delta would have come before");
    }

    #[test]
    fn what_is_no_message_of_signal_k_is_a_violation() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage, &[]);
        for message in [
            r#""nonsense""#,
            "nonsense",
            r#"{"subscribe":[{"path":"a"}]}"#,
            r#"{"context":"vessels.self","subscribe":[{"path":"a","policy":"often"}]}"#,
        ] {
            let before = stage.violations().len();
            visitor.say(message);
            stage.until(message, |book| (book.violations.len() > before).then_some(()));
        }
    }

    #[test]
    fn who_answers_no_ping_is_dropped() {
        let (ping, patience) = (Duration::from_millis(50), Duration::ZERO);
        let stage = open(Settings { ping, patience, ..Settings::default() });
        let _visitor = enter(&stage, &[]);
        stage.empty();
        assert!(stage.violations()[0].contains("no pong"));
    }
}
