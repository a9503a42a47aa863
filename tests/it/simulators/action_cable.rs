//! Action Cable, as Ruby on Rails has it.
//!
//! Rules: "Action Cable Protocol", <https://docs.anycable.io/misc/action_cable_protocol>; "Action Cable Overview",
//! <https://guides.rubyonrails.org/action_cable_overview.html> (allowed origins, rejection); what isn't written there is
//! as `ActionCable::Connection::Base` and `Subscriptions` do it: a wrong origin is told "Page not found", a channel that
//! there is not has no answer, and neither has an unsubscription.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    signed::now_ms,
    stage::{Guest, Heard, Order, Peer, Stage},
};

pub const ORIGIN: &str = "https://example.com";
pub const TOKEN: &str = "good-token";

/// The server's settings. The default is what Rails has.
#[derive(Clone)]
pub struct Settings {
    /// From one ping to the next.
    pub ping: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { ping: Duration::from_secs(3) }
    }
}

/// Opens the server, at `/cable?token=…`. There are `ChatChannel`, with any parameters, and `SecretChannel`, which
/// rejects all. `Order::Say("CHANNEL JSON")` is broadcast to each subscription of the channel. `Order::Do` knows
/// `restart` and `remote` (`disconnect`, with and without advice), and `unauthorized`.
/// Events: `welcome`, `ping`, `subscribe IDENTIFIER`, `unsubscribe IDENTIFIER`, `perform ACTION`.
pub fn open(settings: Settings) -> Stage {
    Stage::open(settings, visit)
}

async fn visit(settings: Rc<Settings>, guest: Guest) {
    if guest.path != "/cable" || guest.header("origin") != Some(ORIGIN) {
        guest.violation(format!("no such page, or a wrong origin: {:?}", guest.header("origin")));
        return guest.answer(404, "", "Page not found").await;
    }
    let chosen = guest.subprotocols().contains(&"actioncable-v1-json").then_some("actioncable-v1-json");
    if chosen.is_none() {
        guest.violation("no subprotocol that Action Cable speaks");
    }
    let token = guest.query("token");
    let mut peer = guest.upgrade(chosen).await;
    if token.as_deref() != Some(TOKEN) {
        peer.violation("a wrong token");
        peer.say(json!({"type": "disconnect", "reason": "unauthorized", "reconnect": false})).await;
        return peer.close(1000, "").await;
    }
    peer.say(json!({"type": "welcome"})).await;
    peer.event("welcome");
    Session { settings, peer, subscriptions: BTreeMap::new() }.run().await;
}

struct Session {
    settings: Rc<Settings>,
    peer: Peer,
    /// The channels, by identifiers.
    subscriptions: BTreeMap<String, String>,
}

impl Session {
    async fn run(&mut self) {
        let mut next = Instant::now() + self.settings.ping;
        loop {
            match self.peer.hear(Some(next)).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Late => {
                    next = Instant::now() + self.settings.ping;
                    self.peer.say(json!({"type": "ping", "message": now_ms() / 1_000})).await;
                    self.peer.event("ping");
                }
                Heard::Text(text) => {
                    if let Some(answer) = self.command(&text) {
                        self.peer.say(answer).await;
                    }
                }
                Heard::Binary(_) => self.peer.violation("a binary message"),
                Heard::Ping | Heard::Pong => {}
                Heard::Order(Order::Say(text)) => {
                    let (channel, message) = text.split_once(' ').expect("CHANNEL JSON");
                    let message: Value = serde_json::from_str(message).unwrap();
                    let its: BTreeSet<_> = self
                        .subscriptions
                        .iter()
                        .filter(|(_, its)| *its == channel)
                        .map(|(id, _)| id)
                        .collect();
                    for identifier in its {
                        self.peer.say(json!({"identifier": identifier, "message": message})).await;
                    }
                }
                Heard::Order(Order::Do(what)) => {
                    let (reason, reconnect) = match what {
                        "restart" => ("server_restart", true),
                        "remote" => ("remote", true),
                        "unauthorized" => ("unauthorized", false),
                        _ => panic!("this simulator doesn't know {what:?}"),
                    };
                    self.peer
                        .say(json!({"type": "disconnect", "reason": reason, "reconnect": reconnect}))
                        .await;
                    return self.peer.close(1000, "").await;
                }
                Heard::Order(order) => {
                    if !self.peer.obey(order).await {
                        return;
                    }
                }
            }
        }
    }

    fn command(&mut self, text: &str) -> Option<Value> {
        let command: Value = serde_json::from_str(text).unwrap_or_default();
        let Some(identifier) = command["identifier"].as_str() else {
            self.peer.violation(format!("no identifier, which is a text: {text}"));
            return None;
        };
        let channel = serde_json::from_str::<Value>(identifier).unwrap_or_default()["channel"].clone();
        match (command["command"].as_str().unwrap_or(""), channel.as_str()) {
            ("subscribe", Some("SecretChannel")) => {
                Some(json!({"identifier": identifier, "type": "reject_subscription"}))
            }
            ("subscribe", Some("ChatChannel")) => {
                // one that is there already is not confirmed again
                let channel = "ChatChannel".to_owned();
                if self.subscriptions.insert(identifier.to_owned(), channel).is_some() {
                    self.peer.violation(format!("subscribed twice to {identifier}"));
                    return None;
                }
                self.peer.event(format!("subscribe {identifier}"));
                Some(json!({"identifier": identifier, "type": "confirm_subscription"}))
            }
            ("unsubscribe", _) if self.subscriptions.remove(identifier).is_some() => {
                self.peer.event(format!("unsubscribe {identifier}"));
                None
            }
            ("message", _) if self.subscriptions.contains_key(identifier) => {
                let data: Value =
                    serde_json::from_str(command["data"].as_str().unwrap_or("")).unwrap_or_default();
                self.peer.event(format!("perform {}", data["action"].as_str().unwrap_or("receive")));
                Some(json!({"identifier": identifier, "message": data}))
            }
            _ => {
                self.peer.violation(format!("unable to process {text}"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::Visitor;

    const PATH: &str = "/cable?token=good-token";
    const CHAT: &str = r#"{"channel":"ChatChannel","room":"1"}"#;

    fn enter(stage: &Stage) -> Visitor {
        let headers = [("origin", ORIGIN), ("sec-websocket-protocol", "actioncable-v1-json")];
        let mut visitor = Visitor::try_enter(stage, PATH, &headers).unwrap();
        assert_eq!(visitor.json()["type"], "welcome");
        visitor
    }

    fn say(visitor: &mut Visitor, command: &str, identifier: &str) {
        visitor.say(json!({"command": command, "identifier": identifier, "data": "{\"action\":\"speak\"}"}));
    }

    #[test]
    fn channels_are_subscribed_to_by_their_identifiers() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage);
        say(&mut visitor, "subscribe", CHAT);
        assert_eq!(visitor.json(), json!({"identifier": CHAT, "type": "confirm_subscription"}));
        stage.order(Order::Say(r#"ChatChannel {"body":"hi"}"#.into()));
        assert_eq!(visitor.json(), json!({"identifier": CHAT, "message": {"body": "hi"}}));
        say(&mut visitor, "message", CHAT);
        assert_eq!(visitor.json()["message"]["action"], "speak");
        say(&mut visitor, "subscribe", r#"{"channel":"SecretChannel"}"#);
        assert_eq!(visitor.json()["type"], "reject_subscription");
        say(&mut visitor, "unsubscribe", CHAT);
        stage.event(&format!("unsubscribe {CHAT}"), 1);
        stage.assert_no_violations();
        say(&mut visitor, "message", CHAT);
        stage.until("a violation", |book| book.violations.first().cloned());
    }

    #[test]
    fn pings_come_and_an_end_is_announced() {
        let stage = open(Settings { ping: Duration::from_millis(20) });
        let mut visitor = enter(&stage);
        assert_eq!(visitor.json()["type"], "ping");
        stage.order(Order::Do("restart"));
        let end = visitor.until(|message| message["type"] == "disconnect");
        assert_eq!((&end["reason"], &end["reconnect"]), (&json!("server_restart"), &json!(true)));
        assert_eq!(visitor.closed().0, 1000);
    }

    #[test]
    fn who_may_not_come_in_is_told() {
        let stage = open(Settings::default());
        let protocol = ("sec-websocket-protocol", "actioncable-v1-json");
        assert_eq!(Visitor::try_enter(&stage, PATH, &[protocol]).err(), Some(404));
        assert_eq!(Visitor::try_enter(&stage, PATH, &[("origin", "https://evil.example")]).err(), Some(404));
        let mut visitor =
            Visitor::try_enter(&stage, "/cable?token=bad", &[("origin", ORIGIN), protocol]).unwrap();
        assert_eq!(
            visitor.json(),
            json!({"type": "disconnect", "reason": "unauthorized", "reconnect": false})
        );
        assert_eq!(visitor.closed().0, 1000);
        assert_eq!(stage.violations().len(), 3);
    }
}
