//! A central system of the Open Charge Point Protocol, JSON over WebSocket; the client is a charge point.
//!
//! The rules, each named where it is applied, are those of the Open Charge Alliance's documents:
//! - "J": "OCPP-J 1.6 Specification" (<https://openchargealliance.org/protocols/open-charge-point-protocol/>)
//! - "1.6": "Open Charge Point Protocol 1.6, edition 2"
//! - "Part 4": "OCPP 2.0.1 Part 4, JSON over WebSockets implementation guide"
//! - "2.0.1": "OCPP 2.0.1 Part 2, Specification", block B (Provisioning) and G (Availability)

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage};

/// The charge point that is known, and its key.
pub const IDENTITY: &str = "CP 1";
pub const KEY: &str = "0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF";

/// How the central system behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The subprotocols that it speaks.
    pub versions: &'static [&'static str],
    /// The status in each next answer to a BootNotification; `Accepted` after that.
    pub boots: &'static [&'static str],
    /// Seconds: between heartbeats, or until the next BootNotification.
    pub interval: u64,
    /// How much later than its interval a heartbeat may be.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            versions: &["ocpp1.6", "ocpp2.0.1"],
            boots: &[],
            interval: 300,
            patience: Duration::from_secs(30),
        }
    }
}

struct World {
    settings: Settings,
    boots: RefCell<VecDeque<&'static str>>,
    /// Before this the charge point must not ask again.
    not_before: Cell<Option<Instant>>,
    accepted: Cell<bool>,
}

/// Opens the central system at `/ocpp/IDENTITY`. `Order::Say("ACTION JSON")` is a CALL to the charge
/// point.
pub fn open(settings: Settings) -> Stage {
    let boots = RefCell::new(settings.boots.iter().copied().collect());
    Stage::open(World { settings, boots, not_before: Cell::new(None), accepted: Cell::new(false) }, visit)
}

async fn visit(world: Rc<World>, guest: Guest) {
    // J 3.1.1: the URL ends with the identity, percent-encoded. J 3.2: an unknown one is
    // answered with 404.
    let identity = guest.path.strip_prefix("/ocpp/").map(|name| name.replace("%20", " "));
    if identity.as_deref() != Some(IDENTITY) {
        guest.violation(format!("no such charge point: {}", guest.path));
        return guest.answer(404, "", "").await;
    }
    // J 6.2: HTTP Basic authentication, the identity as user name
    if guest.basic() != Some((IDENTITY.into(), KEY.into())) {
        guest.violation("the wrong key");
        return guest.answer(401, "WWW-Authenticate: Basic realm=\"ocpp\"\r\n", "").await;
    }
    // J 3.1.2: the client's preferred version that both speak
    let offered = guest.subprotocols();
    let version = offered
        .into_iter()
        .find_map(|name| world.settings.versions.iter().copied().find(|version| *version == name));
    let mut peer = guest.upgrade(version).await;
    let Some(version) = version else {
        // J 3.2: where there is none, the handshake is completed without a subprotocol, and the
        // connection closed at once
        return peer.refuse(1002, "no common subprotocol").await;
    };
    peer.event("open");
    let mut session = Session {
        world,
        peer,
        old: version == "ocpp1.6",
        booted: false,
        ids: BTreeSet::new(),
        waiting: None,
        calls: 0,
    };
    session.run().await;
}

struct Session {
    world: Rc<World>,
    peer: Peer,
    /// OCPP 1.6, not 2.0.1.
    old: bool,
    booted: bool,
    /// The ids of the charge point's CALLs on this connection.
    ids: BTreeSet<String>,
    /// The CALL of ours that waits for its answer.
    waiting: Option<String>,
    calls: u64,
}

impl Session {
    async fn run(&mut self) {
        let settings = self.world.settings.clone();
        let late = Duration::from_secs(settings.interval) + settings.patience;
        let mut due = Instant::now() + late;
        loop {
            match self.peer.hear(Some(due)).await {
                Heard::Close(_) | Heard::Gone => return,
                Heard::Late => {
                    // 1.6, 4.6: a heartbeat after each interval in which nothing else was said
                    self.peer.violation("no heartbeat in time");
                    return self.peer.close(1001, "silent").await;
                }
                Heard::Text(text) => {
                    due = Instant::now() + late;
                    if let Some(answer) = self.answer(&text) {
                        self.peer.say(answer).await;
                    }
                }
                // J 3.3: messages are text
                Heard::Binary(_) => return self.peer.refuse(1003, "").await,
                Heard::Ping => self.peer.event("ping"),
                Heard::Pong => {}
                Heard::Order(Order::Say(text)) => {
                    let (action, payload) = text.split_once(' ').expect("ACTION JSON");
                    assert!(self.waiting.is_none(), "one CALL at a time (J 4.1.1)");
                    self.calls += 1;
                    let id = format!("server-{}", self.calls);
                    self.peer.say(format!(r#"[2,"{id}","{action}",{payload}]"#)).await;
                    self.waiting = Some(id);
                }
                Heard::Order(order) => {
                    if !self.peer.obey(order).await {
                        return;
                    }
                }
            }
        }
    }

    /// J 4.2: CALL `[2, id, action, payload]`, CALLRESULT `[3, id, payload]`, CALLERROR
    /// `[4, id, code, description, details]`.
    fn answer(&mut self, text: &str) -> Option<Value> {
        let message: Value = serde_json::from_str(text).unwrap_or_default();
        let parts: Vec<&Value> = message.as_array().into_iter().flatten().collect();
        match parts[..] {
            [kind, Value::String(id), Value::String(action), payload @ Value::Object(_)] if kind == 2 => {
                Some(self.call(id, action, payload))
            }
            [kind, Value::String(id), Value::Object(_)] if kind == 3 => self.answered(id, "result"),
            [kind, Value::String(id), Value::String(_), Value::String(_), Value::Object(_)] if kind == 4 => {
                self.answered(id, "error")
            }
            _ => {
                // Part 4, 4.2.3: what can't be read is answered under the id -1; J has no rule
                self.peer.violation(format!("not a message of OCPP: {text}"));
                let code = if self.old { "FormationViolation" } else { "RpcFrameworkError" };
                Some(json!([4, "-1", code, "", {}]))
            }
        }
    }

    fn answered(&mut self, id: &str, how: &str) -> Option<Value> {
        if self.waiting.take_if(|waiting| waiting == id).is_some() {
            self.peer.event(format!("answered with {how}"));
        } else {
            self.peer.violation(format!("an answer to {id}, which nobody asked"));
        }
        None
    }

    fn call(&mut self, id: &str, action: &str, payload: &Value) -> Value {
        // J 4.1.4: an id has at most 36 characters, and is used once on a connection
        if id.len() > 36 || !self.ids.insert(id.to_owned()) {
            return self.wrong(id, "GenericError", &format!("the id {id} is too long, or was used before"));
        }
        match action {
            "BootNotification" => self.boot(id, payload),
            // 1.6, 4.2: nothing else is asked before BootNotification was accepted; 2.0.1, B02.FR.09: the
            // answer is SecurityError
            _ if !self.booted && !self.world.accepted.get() => {
                self.wrong(id, "SecurityError", &format!("{action} before BootNotification was accepted"))
            }
            "Heartbeat" => {
                self.peer.event("heartbeat");
                json!([3, id, {"currentTime": "2026-01-05T12:00:00Z"}])
            }
            "StatusNotification" | "MeterValues" => json!([3, id, {}]),
            "Authorize" => {
                let info = if self.old { "idTagInfo" } else { "idTokenInfo" };
                json!([3, id, {info: {"status": "Accepted"}}])
            }
            _ => self.wrong(id, "NotImplemented", &format!("{action} is not known")),
        }
    }

    fn boot(&mut self, id: &str, payload: &Value) -> Value {
        let complete = if self.old {
            payload["chargePointModel"].is_string() && payload["chargePointVendor"].is_string()
        } else {
            let station = &payload["chargingStation"];
            payload["reason"].is_string() && station["model"].is_string() && station["vendorName"].is_string()
        };
        if !complete {
            let code =
                if self.old { "OccurenceConstraintViolation" } else { "OccurrenceConstraintViolation" };
            return self.wrong(id, code, "BootNotification lacks what it must say");
        }
        // 1.6, 4.2: after Pending or Rejected the next BootNotification waits for the interval
        if self.world.not_before.take().is_some_and(|not_before| Instant::now() < not_before) {
            self.peer.violation("BootNotification before the interval had passed");
        }
        let status = self.world.boots.borrow_mut().pop_front().unwrap_or("Accepted");
        self.peer.event(format!("boot {status}"));
        let interval = self.world.settings.interval;
        if status == "Accepted" {
            self.booted = true;
            self.world.accepted.set(true);
        } else {
            self.world.not_before.set(Some(Instant::now() + Duration::from_secs(interval)));
        }
        let time = "2026-01-05T12:00:00Z";
        json!([3, id, {"status": status, "currentTime": time, "interval": interval}])
    }

    fn wrong(&mut self, id: &str, code: &str, description: &str) -> Value {
        self.peer.violation(format!("{code}: {description}"));
        json!([4, id, code, description, {}])
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};

    use super::*;
    use crate::simulators::visitor::Visitor;

    const BOOT: &str = r#"[2,"1","BootNotification",{"chargePointModel":"M","chargePointVendor":"V"}]"#;

    fn enter(stage: &Stage, path: &str, key: &str, versions: &str) -> Result<Visitor, u16> {
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{IDENTITY}:{key}")));
        let headers = [("authorization", basic.as_str()), ("sec-websocket-protocol", versions)];
        Visitor::try_enter(stage, path, &headers)
    }

    #[test]
    fn a_charge_point_boots_beats_and_answers() {
        let stage = open(Settings::default());
        let mut visitor = enter(&stage, "/ocpp/CP%201", KEY, "ocpp1.6").unwrap();
        assert_eq!(visitor.subprotocol.as_deref(), Some("ocpp1.6"));
        visitor.say(BOOT);
        let answer = visitor.json();
        assert_eq!((&answer[0], &answer[1]), (&3.into(), &"1".into()));
        assert_eq!((&answer[2]["status"], &answer[2]["interval"]), (&"Accepted".into(), &300.into()));
        visitor.say(r#"[2,"2","Heartbeat",{}]"#);
        assert!(visitor.json()[2]["currentTime"].is_string());
        stage.order(Order::Say(r#"Reset {"type":"Soft"}"#.into()));
        let call = visitor.json();
        assert_eq!((&call[0], &call[2]), (&2.into(), &"Reset".into()));
        visitor.say(json!([3, call[1], {"status": "Accepted"}]));
        stage.event("answered with result", 1);
        stage.assert_no_violations();
    }

    #[test]
    fn strangers_wrong_keys_and_other_versions_are_refused() {
        let stage = open(Settings::default());
        assert_eq!(enter(&stage, "/ocpp/other", KEY, "ocpp1.6").err(), Some(404));
        assert_eq!(enter(&stage, "/ocpp/CP%201", "wrong", "ocpp1.6").err(), Some(401));
        // a raw client that offered something takes no answer without a subprotocol
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{IDENTITY}:{KEY}")));
        let mut visitor = Visitor::try_enter(&stage, "/ocpp/CP%201", &[("authorization", &basic)]).unwrap();
        assert_eq!(visitor.closed().0, 1002);
        assert_eq!(stage.violations().len(), 3);
    }

    #[test]
    fn wrong_messages_are_answered_with_the_error_that_fits() {
        for (messages, code) in [
            (vec!["{}"], "FormationViolation"),
            (vec![r#"[2,"1","BootNotification",{}]"#], "OccurenceConstraintViolation"),
            (vec![r#"[2,"1","Heartbeat",{}]"#], "SecurityError"),
            (vec![BOOT, r#"[2,"2","Fly",{}]"#], "NotImplemented"),
            (vec![BOOT, r#"[2,"1","Heartbeat",{}]"#], "GenericError"),
        ] {
            let stage = open(Settings::default());
            let mut visitor = enter(&stage, "/ocpp/CP%201", KEY, "ocpp1.6").unwrap();
            messages.iter().for_each(|message| visitor.say(message));
            let error = visitor.until(|answer| answer[0] == 4);
            assert_eq!(error[2], code, "{messages:?}");
            assert_eq!(stage.violations().len(), 1, "{messages:?}");
        }
    }

    #[test]
    fn a_boot_that_is_not_accepted_must_wait() {
        let stage = open(Settings { boots: &["Pending", "Rejected"], ..Settings::default() });
        let mut visitor = enter(&stage, "/ocpp/CP%201", KEY, "ocpp2.0.1").unwrap();
        let station = json!({"model": "M", "vendorName": "V"});
        for (id, status) in [("1", "Pending"), ("2", "Rejected"), ("3", "Accepted")] {
            visitor
                .say(json!([2, id, "BootNotification", {"reason": "PowerUp", "chargingStation": station}]));
            assert_eq!(visitor.json()[2]["status"], status);
        }
        assert_eq!(stage.violations().len(), 2);
    }

    #[test]
    fn a_charge_point_without_a_heartbeat_is_given_up() {
        let quick = Settings { interval: 0, patience: Duration::from_millis(30), ..Settings::default() };
        let stage = open(quick);
        let mut visitor = enter(&stage, "/ocpp/CP%201", KEY, "ocpp1.6").unwrap();
        visitor.say(BOOT);
        assert_eq!(visitor.closed(), (1001, "silent".into()));
        assert_eq!(stage.violations().len(), 1);
    }
}
