//! OpenAI's Realtime API over WebSocket.
//!
//! Rules: "Realtime API with WebSocket", <https://platform.openai.com/docs/guides/realtime-websocket> (URL and headers);
//! "Managing conversations", <https://platform.openai.com/docs/guides/realtime-conversations> (session.created first; at
//! most 60 minutes; text responses); "Server events" and "Client events",
//! <https://platform.openai.com/docs/api-reference/realtime-server-events> (what each has; errors name the client's event).
//! How a session that is over is closed isn't published; here it is 1001.

use std::{rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Peer, Stage};

pub const KEY: &str = "sk-good";

/// The server's bounds. The default is what it publishes.
#[derive(Clone)]
pub struct Settings {
    /// How long a session lasts.
    pub session: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { session: Duration::from_secs(3_600) }
    }
}

/// Opens the server, at `/v1/realtime?model=gpt-realtime`.
/// Events: `session`, `update`, `response`, `expired`, `ping`.
pub fn open(settings: Settings) -> Stage {
    Stage::open(settings, visit)
}

async fn visit(settings: Rc<Settings>, guest: Guest) {
    if guest.path != "/v1/realtime" {
        return guest.answer(404, "", "").await;
    }
    if guest.header("authorization") != Some("Bearer sk-good") {
        guest.violation("a wrong key");
        return guest.answer(401, "", r#"{"error":{"code":"invalid_api_key"}}"#).await;
    }
    let model = guest.query("model").unwrap_or_default();
    let mut peer = guest.upgrade(None).await;
    if model != "gpt-realtime" {
        peer.violation(format!("no such model: {model}"));
        peer.say(error(
            "model_not_found",
            "The model does not exist or you do not have access to it.",
            &Value::Null,
        ))
        .await;
        return peer.close(4000, "invalid_request_error.model_not_found").await;
    }
    let session = json!({"type": "realtime", "object": "realtime.session", "id": format!("sess_{}", peer.number),
        "model": model, "output_modalities": ["audio"], "instructions": "You are helpful."});
    Session { session, peer, said: Vec::new(), made: 0 }.run(settings.session).await;
}

struct Session {
    session: Value,
    peer: Peer,
    /// The conversation.
    said: Vec<String>,
    /// How many events the server has made.
    made: usize,
}

fn error(code: &str, message: &str, event_id: &Value) -> Value {
    let error = json!({"type": "invalid_request_error", "code": code, "message": message, "param": null,
        "event_id": event_id});
    json!({"type": "error", "error": error})
}

impl Session {
    async fn run(&mut self, length: Duration) {
        let end = Instant::now() + length;
        self.peer.event("session");
        let session = self.session.clone();
        self.event(json!({"type": "session.created", "session": session})).await;
        loop {
            match self.peer.hear(Some(end)).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Text(text) => {
                    for event in self.hear(&text) {
                        self.event(event).await;
                    }
                }
                Heard::Binary(_) => self.peer.violation("a binary message"),
                Heard::Ping => self.peer.event("ping"),
                Heard::Pong => {}
                Heard::Late => {
                    self.peer.event("expired");
                    let message = "Your session hit the maximum duration of 60 minutes.";
                    self.event(error("session_expired", message, &Value::Null)).await;
                    return self.peer.close(1001, "").await;
                }
                Heard::Order(order) => {
                    if !self.peer.obey(order).await {
                        return;
                    }
                }
            }
        }
    }

    /// Server events have ids of their own.
    async fn event(&mut self, mut event: Value) {
        self.made += 1;
        event["event_id"] = format!("event_{}_{}", self.peer.number, self.made).into();
        self.peer.say(event).await;
    }

    fn hear(&mut self, text: &str) -> Vec<Value> {
        let event: Value = serde_json::from_str(text).unwrap_or_default();
        let refused = |code: &str, message: String| {
            self.peer.violation(format!("{code}: {message}"));
            vec![error(code, &message, &event["event_id"])]
        };
        match event["type"].as_str().unwrap_or("") {
            "session.update" => {
                let Some(update) = event["session"].as_object() else {
                    return refused(
                        "missing_required_parameter",
                        "Missing required parameter: 'session'.".into(),
                    );
                };
                if update.get("type") != Some(&json!("realtime")) {
                    return refused(
                        "missing_required_parameter",
                        "Missing required parameter: 'session.type'.".into(),
                    );
                }
                if let Some(name) = update.keys().find(|name| self.session.get(name.as_str()).is_none()) {
                    return refused("unknown_parameter", format!("Unknown parameter: 'session.{name}'."));
                }
                for (name, value) in update {
                    self.session[name] = value.clone();
                }
                self.peer.event("update");
                vec![json!({"type": "session.updated", "session": self.session})]
            }
            "conversation.item.create" => {
                let Some(text) = event["item"]["content"][0]["text"].as_str() else {
                    return refused(
                        "missing_required_parameter",
                        "Missing required parameter: 'item'.".into(),
                    );
                };
                self.said.push(text.to_owned());
                vec![json!({"type": "conversation.item.added", "item": event["item"]})]
            }
            "response.create" => {
                self.peer.event("response");
                let text = format!("I heard {} of you.", self.said.len());
                vec![
                    json!({"type": "response.created", "response": {"status": "in_progress"}}),
                    json!({"type": "response.output_text.delta", "delta": text}),
                    json!({"type": "response.done", "response": {"status": "completed"}}),
                ]
            }
            other => refused("invalid_value", format!("Invalid value: '{other}'.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::Visitor;

    const PATH: &str = "/v1/realtime?model=gpt-realtime";
    const GOOD: (&str, &str) = ("authorization", "Bearer sk-good");

    fn enter(stage: &Stage) -> Visitor {
        let mut visitor = Visitor::try_enter(stage, PATH, &[GOOD]).unwrap();
        assert_eq!(visitor.json()["type"], "session.created");
        visitor
    }

    #[test]
    fn a_session_is_configured_and_answers() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage);
        visitor.say(
            json!({"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}}),
        );
        let updated = visitor.json();
        assert_eq!(
            (&updated["type"], &updated["session"]["instructions"]),
            (&json!("session.updated"), &json!("Be brief."))
        );
        let item =
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]});
        visitor.say(json!({"type": "conversation.item.create", "item": item}));
        assert_eq!(visitor.json()["type"], "conversation.item.added");
        visitor.say(json!({"type": "response.create"}));
        let delta = visitor.until(|event| event["type"] == "response.output_text.delta");
        assert_eq!(delta["delta"], "I heard 1 of you.");
        stage.assert_no_violations();
    }

    #[test]
    fn what_is_wrong_is_told_by_the_events_id() {
        for (event, code) in [
            (json!({"type": "fly", "event_id": "e"}), "invalid_value"),
            (json!({"type": "session.update", "event_id": "e"}), "missing_required_parameter"),
            (json!({"type": "session.update", "event_id": "e", "session": {}}), "missing_required_parameter"),
            (
                json!({"type": "session.update", "event_id": "e", "session": {"type": "realtime", "volume": 11}}),
                "unknown_parameter",
            ),
        ] {
            let stage = open(Settings::default());
            let mut visitor = enter(&stage);
            visitor.say(&event);
            let error = visitor.json();
            assert_eq!((&error["error"]["code"], &error["error"]["event_id"]), (&json!(code), &json!("e")));
            assert_eq!(stage.violations().len(), 1);
        }
    }

    #[test]
    fn a_session_ends_and_who_has_no_key_or_no_model_gets_none() {
        let stage = open(Settings { session: Duration::from_millis(30) });
        let mut visitor = enter(&stage);
        assert_eq!(visitor.json()["error"]["code"], "session_expired");
        assert_eq!(visitor.closed().0, 1001);
        assert_eq!(Visitor::try_enter(&stage, PATH, &[]).err(), Some(401));
        let mut visitor = Visitor::try_enter(&stage, "/v1/realtime?model=none", &[GOOD]).unwrap();
        assert_eq!(visitor.json()["error"]["code"], "model_not_found");
    }
}
