//! obs-websocket 5, as OBS Studio has it.
//!
//! Rules: "obs-websocket 5.x.x Protocol",
//! <https://github.com/obsproject/obs-websocket/blob/master/docs/generated/protocol.md>: Connection steps, Creating an
//! authentication string, Message Types (OpCodes), WebSocketCloseCode, RequestStatus, EventSubscription. The steps and
//! fields that close a connection are those of its section "Connection Notes".

use std::{cell::RefCell, rc::Rc};

use serde_json::{Value, json};

use super::{
    signed::sha256,
    stage::{Guest, Heard, Order, Peer, Stage},
};

pub const PASSWORD: &str = "supersecretpassword";
const SALT: &str = "lM1GncleQOaCu9lT1yeUZhFYnqhsLLP1G5lAGo3ixaI=";

/// All events but those that come very often.
const ALL: u64 = 0x7ff;
/// `EventSubscription::Scenes`
const SCENES: u64 = 1 << 2;

/// Creating an authentication string
pub fn authentication(password: &str, salt: &str, challenge: &str) -> String {
    sha256(&format!("{}{challenge}", sha256(&format!("{password}{salt}"))))
}

struct World {
    /// What may be changed in OBS at any time.
    password: RefCell<Option<&'static str>>,
    scene: RefCell<String>,
}

/// Opens the server, at `/`. `Order::Say("TYPE INTENT JSON")` is an event of that type and kind. `Order::Do` knows
/// `open` and `lock` (no password is wanted from now on, or it is again), and `kick`.
/// Events: `identified`, `authenticated`, `TYPE` of each request, `ping`.
pub fn open() -> Stage {
    let password = RefCell::new(Some(PASSWORD));
    Stage::open(World { password, scene: RefCell::new("Start".to_owned()) }, visit)
}

async fn visit(world: Rc<World>, guest: Guest) {
    let chosen = guest.subprotocols().contains(&"obswebsocket.json").then_some("obswebsocket.json");
    let peer = guest.upgrade(chosen).await;
    let password = *world.password.borrow();
    let challenge = format!("{}+IxH4CnCiqpX1rM9scsNynZzbOe4KhDeYcTNS3PDaeY=", peer.number);
    let expected = password.map(|password| authentication(password, SALT, &challenge));
    let mut session = Session { world, peer, expected, subscriptions: None };
    let mut hello = json!({"obsStudioVersion": "30.2.2", "obsWebSocketVersion": "5.5.2", "rpcVersion": 1});
    if session.expected.is_some() {
        hello["authentication"] = json!({"challenge": challenge, "salt": SALT});
    }
    session.peer.say(json!({"op": 0, "d": hello})).await;
    session.run().await;
}

struct Session {
    world: Rc<World>,
    peer: Peer,
    /// What `Identify` must have; `None` where no password is set.
    expected: Option<String>,
    /// Which events it wants, once it is identified.
    subscriptions: Option<u64>,
}

/// A close code (`WebSocketCloseCode`), and its reason.
type Refusal = (u16, &'static str);

impl Session {
    async fn run(&mut self) {
        loop {
            match self.peer.hear(None).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Text(text) => match self.hear(&text) {
                    Ok(answers) => {
                        for answer in answers {
                            self.peer.say(answer).await;
                        }
                    }
                    Err((code, reason)) => return self.peer.refuse(code, reason).await,
                },
                Heard::Binary(_) => return self.peer.refuse(4002, "Your session encoding is JSON.").await,
                Heard::Ping => self.peer.event("ping"),
                Heard::Pong | Heard::Late => {}
                Heard::Order(Order::Say(text)) => {
                    let mut words = text.splitn(3, ' ');
                    let (name, intent) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
                    let data = serde_json::from_str(words.next().unwrap()).unwrap();
                    if let Some(event) = self.event(name, intent, data) {
                        self.peer.say(event).await;
                    }
                }
                Heard::Order(Order::Do("open")) => *self.world.password.borrow_mut() = None,
                Heard::Order(Order::Do("lock")) => *self.world.password.borrow_mut() = Some(PASSWORD),
                Heard::Order(Order::Do("kick")) => {
                    return self.peer.close(4011, "Your session has been invalidated.").await;
                }
                Heard::Order(order) => {
                    if !self.peer.obey(order).await {
                        return;
                    }
                }
            }
        }
    }

    fn event(&self, name: &str, intent: u64, data: Value) -> Option<Value> {
        let wanted = self.subscriptions.is_some_and(|wanted| wanted & intent != 0);
        wanted.then(|| json!({"op": 5, "d": {"eventType": name, "eventIntent": intent, "eventData": data}}))
    }

    fn hear(&mut self, text: &str) -> Result<Vec<Value>, Refusal> {
        let message: Value = serde_json::from_str(text).map_err(|_| (4002, "no JSON"))?;
        let (op, data) = (message["op"].as_u64().ok_or((4003, "no op"))?, &message["d"]);
        if !data.is_object() {
            return Err((4003, "no d"));
        }
        match (op, self.subscriptions) {
            (1, None) => {
                match data.get("rpcVersion") {
                    None => return Err((4003, "Your payload's data is missing an `rpcVersion`.")),
                    Some(version) if !version.is_u64() => return Err((4004, "`rpcVersion` is no number")),
                    Some(version) if *version != 1 => return Err((4010, "unsupported RPC version")),
                    Some(_) => {}
                }
                // where no password is set the field isn't read
                if let Some(expected) = &self.expected {
                    if data["authentication"].as_str() != Some(expected) {
                        return Err((4009, "Authentication failed."));
                    }
                    self.peer.event("authenticated");
                }
                self.subscriptions = Some(data["eventSubscriptions"].as_u64().unwrap_or(ALL));
                self.peer.event("identified");
                Ok(vec![json!({"op": 2, "d": {"negotiatedRpcVersion": 1}})])
            }
            (1, Some(_)) => Err((4008, "You are already Identified with the obs-websocket server.")),
            (_, None) => Err((4007, "You attempted to send a non-Identify message while not identified.")),
            (3, Some(_)) => {
                self.subscriptions = Some(data["eventSubscriptions"].as_u64().unwrap_or(ALL));
                Ok(vec![json!({"op": 2, "d": {"negotiatedRpcVersion": 1}})])
            }
            (6, Some(_)) => {
                let id = data["requestId"].as_str().ok_or((4003, "no requestId"))?;
                let (mut response, event) = self.request(data)?;
                response["requestId"] = id.into();
                let response = json!({"op": 7, "d": response});
                Ok([Some(response), event].into_iter().flatten().collect())
            }
            (8, Some(_)) => {
                let id = data["requestId"].as_str().ok_or((4003, "no requestId"))?;
                let requests = data["requests"].as_array().ok_or((4003, "no requests"))?;
                let mut results = Vec::new();
                for request in requests {
                    results.push(self.request(request)?.0);
                }
                Ok(vec![json!({"op": 9, "d": {"requestId": id, "results": results}})])
            }
            _ => Err((4006, "Unknown OpCode")),
        }
    }

    /// The response, but for its id, and an event that follows.
    fn request(&mut self, data: &Value) -> Result<(Value, Option<Value>), Refusal> {
        let kind = data["requestType"].as_str().ok_or((4003, "no requestType"))?;
        self.peer.event(kind);
        let scene = data["requestData"]["sceneName"].as_str();
        let mut event = None;
        let (code, response) = match (kind, scene) {
            ("GetVersion", _) => (100, json!({"rpcVersion": 1})),
            ("GetCurrentProgramScene", _) => (100, json!({"sceneName": *self.world.scene.borrow()})),
            ("SetCurrentProgramScene", None) => (300, Value::Null),
            ("SetCurrentProgramScene", Some("Nowhere")) => (600, Value::Null),
            ("SetCurrentProgramScene", Some(scene)) => {
                scene.clone_into(&mut self.world.scene.borrow_mut());
                event = self.event("CurrentProgramSceneChanged", SCENES, json!({"sceneName": scene}));
                (100, Value::Null)
            }
            _ => (204, Value::Null),
        };
        let status = json!({"result": code == 100, "code": code});
        Ok((json!({"requestType": kind, "requestStatus": status, "responseData": response}), event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulators::visitor::Visitor;

    /// A visitor, and the proof that it knows the password.
    fn enter(stage: &Stage) -> (Visitor, String) {
        let mut visitor = Visitor::enter(stage, "/");
        let hello = visitor.json();
        let text = |pointer| hello.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        let (salt, challenge) = (text("/d/authentication/salt"), text("/d/authentication/challenge"));
        (visitor, authentication(PASSWORD, &salt, &challenge))
    }

    fn identified(stage: &Stage, events: u64) -> Visitor {
        let (mut visitor, authentication) = enter(stage);
        let identify =
            json!({"rpcVersion": 1, "authentication": authentication, "eventSubscriptions": events});
        visitor.say(json!({"op": 1, "d": identify}));
        assert_eq!(visitor.json()["op"], 2);
        visitor
    }

    #[test]
    fn the_authentication_string_is_that_of_the_protocols_example() {
        let challenge = "+IxH4CnCiqpX1rM9scsNynZzbOe4KhDeYcTNS3PDaeY=";
        assert_eq!(authentication(PASSWORD, SALT, challenge), "1Ct943GAT+6YQUUX47Ia/ncufilbe6+oD6lY+5kaCu4=");
    }

    #[test]
    fn requests_are_answered_by_their_ids_and_events_are_told_to_who_wants_them() {
        let stage = open();
        let (mut one, mut other) = (identified(&stage, ALL), identified(&stage, 0));
        for visitor in [&mut one, &mut other] {
            let scene = json!({"sceneName": "End"});
            let request =
                json!({"requestType": "SetCurrentProgramScene", "requestId": "7", "requestData": scene});
            visitor.say(json!({"op": 6, "d": request}));
            let response = visitor.json();
            assert_eq!(
                (&response["d"]["requestId"], &response["d"]["requestStatus"]["code"]),
                (&json!("7"), &json!(100))
            );
        }
        assert_eq!(one.json()["d"]["eventType"], "CurrentProgramSceneChanged");
        other.say(json!({"op": 6, "d": {"requestType": "Fly", "requestId": "8"}}));
        assert_eq!(other.json()["d"]["requestStatus"]["code"], 204, "and no event before");
        let requests = json!([{"requestType": "GetVersion"}, {"requestType": "GetCurrentProgramScene"}]);
        other.say(json!({"op": 8, "d": {"requestId": "9", "requests": requests}}));
        assert_eq!(other.json()["d"]["results"][1]["responseData"]["sceneName"], "End");
        stage.assert_no_violations();
    }

    #[test]
    fn what_is_wrong_closes_with_its_code() {
        for (message, code) in [
            (json!({"op": 1, "d": {"rpcVersion": 1, "authentication": "wrong"}}), 4009),
            (json!({"op": 1, "d": {"rpcVersion": 1}}), 4009),
            (json!({"op": 1, "d": {"rpcVersion": 2}}), 4010),
            (json!({"op": 1, "d": {"rpcVersion": "1"}}), 4004),
            (json!({"op": 1, "d": {}}), 4003),
            (json!({"op": 6, "d": {"requestType": "GetVersion", "requestId": "1"}}), 4007),
            (json!("hello"), 4003),
        ] {
            let stage = open();
            let (mut visitor, _) = enter(&stage);
            visitor.say(&message);
            assert_eq!(visitor.closed().0, code, "{message}");
        }
        for (message, code) in [
            (json!({"op": 1, "d": {"rpcVersion": 1}}), 4008),
            (json!({"op": 6, "d": {"requestType": "GetVersion"}}), 4003),
            (json!({"op": 99, "d": {}}), 4006),
        ] {
            let stage = open();
            let mut visitor = identified(&stage, ALL);
            visitor.say(&message);
            assert_eq!(visitor.closed().0, code, "{message}");
        }
    }
}
