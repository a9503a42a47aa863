//! Home Assistant's WebSocket API.
//!
//! Rules: "WebSocket API", <https://developers.home-assistant.io/docs/api/websocket>. What that page
//! leaves open (the 10 s for the login, ids that must grow, the ping frames) is as in the server itself:
//! `homeassistant/components/websocket_api` in <https://github.com/home-assistant/core>.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage};

/// What the server is told.
#[derive(Clone)]
pub struct Settings {
    /// The long-lived access token that it takes.
    pub token: &'static str,
    /// How long it waits for the login; 10 s.
    pub login: Duration,
    /// From one of its ping frames to the next; 55 s. A pong must come within half of it.
    pub ping: Duration,
    /// How much later than that an answer may be, on a busy machine.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            token: "good-token",
            login: Duration::from_secs(10),
            ping: Duration::from_secs(55),
            patience: Duration::from_secs(30),
        }
    }
}

/// A server. `Order::Say(ENTITY)` makes a `state_changed` event of that entity for all subscriptions.
/// Events: `login`, `subscribed EVENT_TYPE`, `ping` (the JSON one), `called SERVICE`.
pub fn open(settings: Settings) -> Stage {
    Stage::open(settings, serve)
}

async fn serve(settings: Rc<Settings>, guest: Guest) {
    if guest.path != "/api/websocket" || !guest.wants_upgrade() {
        guest.violation(format!("404 {}", guest.path));
        return guest.answer(404, "", "404: Not Found").await;
    }
    let mut peer = guest.upgrade(None).await;
    peer.say(json!({"type": "auth_required", "ha_version": "2026.11.1"})).await;
    if !login(&settings, &mut peer).await {
        return;
    }
    peer.event("login");
    peer.say(json!({"type": "auth_ok", "ha_version": "2026.11.1"})).await;
    commands(&settings, &mut peer).await;
}

/// The authentication phase: the first message must be `auth`, in time, with a token that is taken.
async fn login(settings: &Settings, peer: &mut Peer) -> bool {
    let text = loop {
        match peer.hear(Some(Instant::now() + settings.login)).await {
            Heard::Text(text) => break text,
            Heard::Ping | Heard::Pong => {}
            Heard::Binary(_) => {
                end(peer, "a binary message").await;
                return false;
            }
            Heard::Late => {
                end(peer, "no login in time").await;
                return false;
            }
            Heard::Order(order) => {
                if !peer.obey(order).await {
                    return false;
                }
            }
            Heard::Close(_) | Heard::Gone => return false,
        }
    };
    let message = match serde_json::from_str::<Value>(&text) {
        Ok(message) => message,
        Err(_) => {
            end(peer, "not JSON").await;
            return false;
        }
    };
    let error = if message["type"] != "auth" || !message["access_token"].is_string() {
        "Auth message incorrectly formatted"
    } else if message["access_token"] != settings.token {
        "Invalid access token or password"
    } else {
        return true;
    };
    peer.say(json!({"type": "auth_invalid", "message": error})).await;
    end(peer, error).await;
    false
}

/// The server says nothing more than that it closes.
async fn end(peer: &mut Peer, why: &str) {
    peer.violation(why);
    peer.close(1000, "").await;
}

/// The command phase.
async fn commands(settings: &Settings, peer: &mut Peer) {
    let mut last_id = 0;
    // the id of each subscription, and its event type; "" for all
    let mut subscriptions = BTreeMap::<i64, String>::new();
    let mut next_ping = Instant::now() + settings.ping;
    let mut pong_by = None::<Instant>;
    loop {
        match peer.hear(Some(pong_by.unwrap_or(next_ping).min(next_ping))).await {
            Heard::Late if pong_by.is_some_and(|by| by <= Instant::now()) => {
                // aiohttp ends the connection without a close frame
                return peer.violation("no pong in time");
            }
            Heard::Late => {
                peer.ping().await;
                pong_by.get_or_insert(Instant::now() + settings.ping / 2 + settings.patience);
                next_ping = Instant::now() + settings.ping;
            }
            Heard::Pong => pong_by = None,
            Heard::Ping => peer.event("ping frame"),
            Heard::Text(text) => match serde_json::from_str::<Value>(&text) {
                // several commands may come in one list
                Ok(Value::Array(commands)) => {
                    for command in commands {
                        answer(peer, &command, &mut last_id, &mut subscriptions).await;
                    }
                }
                Ok(command) => answer(peer, &command, &mut last_id, &mut subscriptions).await,
                Err(_) => return end(peer, "not JSON").await,
            },
            Heard::Binary(_) => return end(peer, "a binary message").await,
            Heard::Order(Order::Say(entity)) => {
                for (id, event_type) in &subscriptions {
                    if event_type.is_empty() || event_type == "state_changed" {
                        let data = json!({"entity_id": entity, "new_state": {"state": "on"}});
                        let event = json!({"event_type": "state_changed", "data": data, "origin": "LOCAL"});
                        peer.say(json!({"id": id, "type": "event", "event": event})).await;
                    }
                }
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

async fn answer(
    peer: &mut Peer,
    command: &Value,
    last_id: &mut i64,
    subscriptions: &mut BTreeMap<i64, String>,
) {
    let (Some(id), Some(kind)) = (command["id"].as_i64(), command["type"].as_str()) else {
        return fail(peer, &command["id"], "invalid_format", "Message incorrectly formatted.").await;
    };
    if id <= *last_id {
        return fail(peer, &id.into(), "id_reuse", "Identifier values have to increase.").await;
    }
    *last_id = id;
    let mut result = Value::Null;
    match kind {
        "ping" => {
            peer.event("ping");
            return peer.say(json!({"id": id, "type": "pong"})).await;
        }
        "subscribe_events" => {
            let event_type = command["event_type"].as_str().unwrap_or("");
            subscriptions.insert(id, event_type.to_owned());
            peer.event(format!("subscribed {event_type}"));
        }
        "unsubscribe_events" => {
            let known = command["subscription"].as_i64().and_then(|id| subscriptions.remove(&id));
            if known.is_none() {
                return fail(peer, &id.into(), "not_found", "Subscription not found.").await;
            }
        }
        "get_states" => result = json!([{"entity_id": "light.kitchen", "state": "off"}]),
        "call_service" => {
            peer.event(format!("called {}", command["service"].as_str().unwrap_or("")));
            result = json!({"context": {"id": "1"}, "response": null});
        }
        _ => return fail(peer, &id.into(), "unknown_command", "Unknown command.").await,
    }
    peer.say(json!({"id": id, "type": "result", "success": true, "result": result})).await;
}

async fn fail(peer: &mut Peer, id: &Value, code: &str, message: &str) {
    peer.violation(format!("{code}: {message}"));
    let error = json!({"code": code, "message": message});
    peer.say(json!({"id": id, "type": "result", "success": false, "error": error})).await;
}

mod tests {
    use super::{super::visitor::Visitor, *};

    fn login(stage: &Stage) -> Visitor {
        let mut visitor = Visitor::enter(stage, "/api/websocket");
        assert_eq!(visitor.json()["type"], "auth_required");
        visitor.say(json!({"type": "auth", "access_token": "good-token"}));
        assert_eq!(visitor.json()["type"], "auth_ok");
        visitor
    }

    #[test]
    fn who_does_as_documented_is_served() {
        let stage = open(Settings::default());
        let mut visitor = login(&stage);
        visitor.say(json!({"id": 1, "type": "subscribe_events", "event_type": "state_changed"}));
        assert_eq!(visitor.json(), json!({"id": 1, "type": "result", "success": true, "result": null}));
        stage.order(Order::Say("light.kitchen".into()));
        let event = visitor.json();
        assert_eq!((&event["id"], &event["type"]), (&json!(1), &json!("event")));
        assert_eq!(event["event"]["data"]["entity_id"], "light.kitchen");
        visitor.say(json!([{"id": 2, "type": "ping"}, {"id": 9, "type": "get_states"}]));
        assert_eq!(visitor.json(), json!({"id": 2, "type": "pong"}));
        assert_eq!(visitor.json()["success"], true);
        stage.assert_no_violations();
    }

    #[test]
    fn a_login_that_is_wrong_or_late_is_refused() {
        let stage = open(Settings::default());
        for (first, message) in [
            (json!({"type": "auth", "access_token": "bad"}), "Invalid access token or password"),
            (json!({"type": "auth"}), "Auth message incorrectly formatted"),
            (json!({"id": 1, "type": "ping"}), "Auth message incorrectly formatted"),
        ] {
            let mut visitor = Visitor::enter(&stage, "/api/websocket");
            visitor.json();
            visitor.say(first);
            assert_eq!(visitor.json(), json!({"type": "auth_invalid", "message": message}));
            assert_eq!(visitor.closed().0, 1000);
        }
        assert_eq!(Visitor::try_enter(&stage, "/api", &[]).err(), Some(404));
        assert_eq!(stage.violations().len(), 4);
        let stage = open(Settings { login: Duration::from_millis(50), ..Settings::default() });
        assert_eq!(Visitor::enter(&stage, "/api/websocket").closed().0, 1000);
        assert_eq!(stage.violations().len(), 1);
    }

    #[test]
    fn mistakes_in_commands_are_told_by_their_code() {
        let stage = open(Settings::default());
        let mut visitor = login(&stage);
        for (command, code) in [
            (json!({"type": "ping"}), "invalid_format"),
            (json!({"id": 5, "type": "fly"}), "unknown_command"),
            (json!({"id": 5, "type": "ping"}), "id_reuse"),
            (json!({"id": 4, "type": "ping"}), "id_reuse"),
            (json!({"id": 6, "type": "unsubscribe_events", "subscription": 1}), "not_found"),
        ] {
            visitor.say(&command);
            let answer = visitor.json();
            assert_eq!(
                (&answer["success"], &answer["error"]["code"]),
                (&json!(false), &json!(code)),
                "{command}"
            );
        }
        visitor.say("not JSON");
        assert_eq!(visitor.closed().0, 1000);
        assert_eq!(stage.violations().len(), 6);
    }

    #[test]
    fn a_client_that_answers_no_ping_is_dropped() {
        let (ping, patience) = (Duration::from_millis(60), Duration::ZERO);
        let stage = open(Settings { ping, patience, ..Settings::default() });
        let _visitor = login(&stage);
        stage.until("the end", |book| book.violations.iter().find(|it| it.contains("no pong")).cloned());
    }
}
