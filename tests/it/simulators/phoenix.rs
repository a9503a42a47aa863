//! Phoenix channels, with the serializer of version 2.
//!
//! Rules: "Writing a Channels Client", <https://hexdocs.pm/phoenix/writing_a_channels_client.html>, and
//! "Phoenix.Endpoint" (`:timeout` of the websocket transport, 60 s),
//! <https://hexdocs.pm/phoenix/Phoenix.Endpoint.html#socket/3>. What replies look like is as in
//! `Phoenix.Socket`, <https://hexdocs.pm/phoenix/Phoenix.Socket.html>, and its source.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage};

/// What the server is told.
#[derive(Clone)]
pub struct Settings {
    /// What `connect/3` wants as the parameter `token`.
    pub token: &'static str,
    /// The topic that there is; a join of any other is an error.
    pub topic: &'static str,
    /// What `join/3` wants there in the payload's `pass`.
    pub pass: &'static str,
    /// Another one, for whose join nothing is wanted.
    pub open_topic: &'static str,
    /// The connection is closed when no message comes for so long; 60 s.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            token: "good-token",
            topic: "room:lobby",
            pass: "please",
            open_topic: "room:open",
            timeout: Duration::from_secs(60),
        }
    }
}

/// A server. `Order::Say(TEXT)` is broadcast as `new_msg` to the topics that are joined,
/// `Order::Do("crash")` is the crash of their channels. Events: `joined TOPIC`, `left TOPIC`, `heartbeat`,
/// `pushed EVENT`.
pub fn open(settings: Settings) -> Stage {
    Stage::open(settings, serve)
}

async fn serve(settings: Rc<Settings>, guest: Guest) {
    if guest.path != "/socket/websocket" || !guest.wants_upgrade() {
        return guest.answer(404, "", "Not Found").await;
    }
    // a version that the serializers don't cover, or an error of connect/3, is 403
    if guest.query("vsn").as_deref() != Some("2.0.0")
        || guest.query("token").as_deref() != Some(settings.token)
    {
        guest.violation("403 at the upgrade");
        return guest.answer(403, "", "Forbidden").await;
    }
    let mut peer = guest.upgrade(None).await;
    // the topics that are joined, and their join_ref
    let mut joined = BTreeMap::<String, Value>::new();
    let mut until = Instant::now() + settings.timeout;
    loop {
        match peer.hear(Some(until)).await {
            // Cowboy closes an idle connection so
            Heard::Late => return peer.refuse(1000, "").await,
            Heard::Text(text) => {
                until = Instant::now() + settings.timeout;
                let Some(message) = Message::read(&text) else {
                    // the serializer fails, and the connection's process with it
                    return peer.refuse(1011, "").await;
                };
                message.answer(&settings, &mut peer, &mut joined).await;
            }
            Heard::Binary(_) => return peer.refuse(1011, "").await,
            Heard::Order(Order::Say(text)) => {
                for topic in joined.keys() {
                    peer.say(json!([null, null, topic, "new_msg", {"body": text}])).await;
                }
            }
            Heard::Order(Order::Do("crash")) => {
                for (topic, join_ref) in std::mem::take(&mut joined) {
                    peer.say(json!([join_ref, join_ref, topic, "phx_error", {}])).await;
                }
            }
            Heard::Order(order) => {
                if !peer.obey(order).await {
                    return;
                }
            }
            Heard::Close(_) | Heard::Gone => return,
            Heard::Ping | Heard::Pong => {}
        }
    }
}

/// `[join_ref, ref, topic, event, payload]`
struct Message {
    join_ref: Value,
    message_ref: Value,
    topic: String,
    event: String,
    payload: Value,
}

impl Message {
    fn read(text: &str) -> Option<Message> {
        let parts: [Value; 5] =
            serde_json::from_str::<Vec<Value>>(text).ok().and_then(|parts| parts.try_into().ok())?;
        let [join_ref, message_ref, topic, event, payload] = parts;
        let may_be_ref = |value: &Value| value.is_string() || value.is_null();
        (may_be_ref(&join_ref) && may_be_ref(&message_ref) && payload.is_object()).then_some(())?;
        let (topic, event) = (topic.as_str()?.to_owned(), event.as_str()?.to_owned());
        Some(Message { join_ref, message_ref, topic, event, payload })
    }

    async fn answer(self, settings: &Settings, peer: &mut Peer, joined: &mut BTreeMap<String, Value>) {
        match (self.topic.as_str(), self.event.as_str()) {
            ("phoenix", "heartbeat") => {
                peer.event("heartbeat");
                self.reply(peer, "ok", json!({})).await;
            }
            (topic, "phx_join") if ![settings.topic, settings.open_topic].contains(&topic) => {
                self.fail(peer, "unmatched topic").await;
            }
            (topic, "phx_join") if topic == settings.topic && self.payload["pass"] != settings.pass => {
                self.fail(peer, "unauthorized").await;
            }
            (topic, "phx_join") => {
                // a second join takes the place of the first
                if let Some(old) = joined.insert(topic.to_owned(), self.join_ref.clone()) {
                    peer.say(json!([old, old, topic, "phx_close", {}])).await;
                }
                peer.event(format!("joined {topic}"));
                self.reply(peer, "ok", json!({})).await;
            }
            (topic, _) if !joined.contains_key(topic) => self.fail(peer, "unmatched topic").await,
            (topic, "phx_leave") => {
                joined.remove(topic);
                peer.event(format!("left {topic}"));
                self.reply(peer, "ok", json!({})).await;
            }
            (_, event) => {
                peer.event(format!("pushed {event}"));
                self.reply(peer, "ok", json!({})).await;
            }
        }
    }

    async fn fail(&self, peer: &mut Peer, reason: &str) {
        peer.violation(format!("{} on {}: {reason}", self.event, self.topic));
        self.reply(peer, "error", json!({"reason": reason})).await;
    }

    async fn reply(&self, peer: &mut Peer, status: &str, response: Value) {
        let payload = json!({"status": status, "response": response});
        peer.say(json!([self.join_ref, self.message_ref, self.topic, "phx_reply", payload])).await;
    }
}

mod tests {
    use super::{super::visitor::Visitor, *};

    const PATH: &str = "/socket/websocket?vsn=2.0.0&token=good-token";

    #[test]
    fn who_does_as_documented_is_served() {
        let stage = open(Settings::default());
        let mut visitor = Visitor::enter(&stage, PATH);
        visitor.say(json!(["1", "1", "room:lobby", "phx_join", {"pass": "please"}]));
        let ok = json!({"status": "ok", "response": {}});
        assert_eq!(visitor.json(), json!(["1", "1", "room:lobby", "phx_reply", ok]));
        visitor.say(json!([null, "2", "phoenix", "heartbeat", {}]));
        assert_eq!(visitor.json(), json!([null, "2", "phoenix", "phx_reply", ok]));
        stage.order(Order::Say("hello".into()));
        assert_eq!(visitor.json(), json!([null, null, "room:lobby", "new_msg", {"body": "hello"}]));
        visitor.say(json!(["1", "3", "room:lobby", "shout", {}]));
        assert_eq!(visitor.json(), json!(["1", "3", "room:lobby", "phx_reply", ok]));
        stage.order(Order::Do("crash"));
        assert_eq!(visitor.json(), json!(["1", "1", "room:lobby", "phx_error", {}]));
        stage.assert_no_violations();
    }

    #[test]
    fn a_connection_without_version_or_token_is_forbidden() {
        let stage = open(Settings::default());
        for (path, status) in [
            ("/socket/websocket?token=good-token", 403),
            ("/socket/websocket?vsn=1.0.0&token=good-token", 403),
            ("/socket/websocket?vsn=2.0.0&token=bad", 403),
            ("/socket?vsn=2.0.0", 404),
        ] {
            assert_eq!(Visitor::try_enter(&stage, path, &[]).err(), Some(status), "{path}");
        }
    }

    #[test]
    fn mistakes_are_answered_with_their_reason() {
        let stage = open(Settings::default());
        let mut visitor = Visitor::enter(&stage, PATH);
        for (message, reason) in [
            (json!(["1", "1", "room:lobby", "phx_join", {}]), "unauthorized"),
            (json!(["1", "1", "elsewhere", "phx_join", {"pass": "please"}]), "unmatched topic"),
            (json!([null, "2", "room:lobby", "shout", {}]), "unmatched topic"),
        ] {
            visitor.say(&message);
            let reply = visitor.json();
            let error = json!({"status": "error", "response": {"reason": reason}});
            assert_eq!((&reply[1], &reply[4]), (&message[1], &error), "{message}");
        }
        for nonsense in ["nonsense", "{}", r#"["1","1","room:lobby","phx_join"]"#, r#"[1,1,"t","e",{}]"#] {
            let mut visitor = Visitor::enter(&stage, PATH);
            visitor.say(nonsense);
            assert_eq!(visitor.closed().0, 1011, "{nonsense}");
        }
        assert_eq!(stage.violations().len(), 7);
    }

    #[test]
    fn who_says_nothing_is_closed_after_the_timeout() {
        let stage = open(Settings { timeout: Duration::from_millis(60), ..Settings::default() });
        let mut visitor = Visitor::enter(&stage, PATH);
        // ping frames are no messages
        visitor.ping();
        assert_eq!(visitor.closed().0, 1000);
        assert_eq!(stage.violations().len(), 1);
    }
}
