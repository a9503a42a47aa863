//! Discord's gateway, version 10, with JSON.
//!
//! Rules: "Gateway", <https://docs.discord.com/developers/events/gateway>; "Gateway Events",
//! <https://docs.discord.com/developers/events/gateway-events>; "Opcodes and Status Codes",
//! <https://docs.discord.com/developers/topics/opcodes-and-status-codes>.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{Guest, Heard, Order, Peer, Stage, Window};

/// What the server is told.
#[derive(Clone)]
pub struct Settings {
    pub token: &'static str,
    /// The intents that this bot may ask for; others are 4014.
    pub allowed_intents: u64,
    /// `heartbeat_interval` in hello; about 41 s.
    pub heartbeat: Duration,
    /// How much later than one and a half of it a heartbeat may be, on a busy machine.
    pub patience: Duration,
    /// How many events a connection may send in 60 s; 120.
    pub events: usize,
    /// How many identifies the bot may send in `identify_window`: `max_concurrency`, 1 in 5 s.
    pub identifies: usize,
    pub identify_window: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            token: "good-token",
            allowed_intents: 513,
            heartbeat: Duration::from_millis(41_250),
            patience: Duration::from_secs(30),
            events: 120,
            identifies: 1,
            identify_window: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// How long after hello, or a heartbeat, the next may be.
    fn grace(&self) -> Duration {
        self.heartbeat + self.heartbeat / 2 + self.patience
    }
}

/// How many intents there are: the highest is `1 << 25`.
const INTENTS: u64 = (1 << 26) - 1;

/// How long a client may take for what it should do immediately.
const IMMEDIATELY: Duration = Duration::from_secs(5);

/// A server. `Order::Say(TEXT)` is dispatched as `MESSAGE_CREATE`; `Order::Do` knows
/// `reconnect` (op 7), `invalid` and `resumable` (op 9 with false and true), `heartbeat` (op 1, which must
/// be answered), `miss` (an event, and the end of TCP before it is sent), and `forget` (the end of TCP and
/// of all sessions).
/// Events: `identify`, `resume`, `heartbeat`, `op N`, `closed CODE`, `left CODE` (the client's).
pub fn open(settings: Settings) -> Stage {
    let identifies = Window::new(settings.identifies, settings.identify_window);
    let world = World { settings, sessions: RefCell::default(), identifies: RefCell::new(identifies) };
    Stage::open(world, serve)
}

struct World {
    settings: Settings,
    sessions: RefCell<BTreeMap<String, Session>>,
    identifies: RefCell<Window>,
}

/// What a client can resume.
#[derive(Default)]
struct Session {
    /// All dispatches, in order; the first has the number 1.
    events: Vec<(&'static str, Value)>,
}

async fn serve(world: Rc<World>, guest: Guest) {
    if !guest.wants_upgrade() {
        return guest.answer(400, "", "").await;
    }
    // a session is resumed at the URL that `ready` named, which here is told by its path
    let (here, resumes) = match guest.path.as_str() {
        "/" => (guest.header("host").unwrap_or("").to_owned(), false),
        "/resume/" => (String::new(), true),
        _ => return guest.answer(404, "", "").await,
    };
    let (version, encoding) = (guest.query("v"), guest.query("encoding"));
    let mut peer = guest.upgrade(None).await;
    if version.as_deref() != Some("10") {
        return peer.refuse(4012, "Invalid API version.").await;
    }
    if encoding.as_deref() != Some("json") {
        return peer.refuse(4002, "Error while decoding payload.").await;
    }
    let now = Instant::now();
    let mut gateway = Gateway {
        world: &world,
        here,
        resumes,
        session: None,
        session_since: now,
        heartbeat_by: now + world.settings.grace(),
        asked_by: None,
        leave_by: None,
        sent: Window::new(world.settings.events, Duration::from_secs(60)),
    };
    let hello = json!({"heartbeat_interval": world.settings.heartbeat.as_millis() as u64});
    peer.say(json!({"op": 10, "d": hello, "s": null, "t": null})).await;
    gateway.run(&mut peer).await;
}

/// One connection.
struct Gateway<'a> {
    world: &'a World,
    /// Host and port, as the client called them.
    here: String,
    /// Whether the client came to the URL for resuming.
    resumes: bool,
    /// The session's id, once the client has identified or resumed.
    session: Option<String>,
    session_since: Instant,
    /// By when the next heartbeat must come: the interval and some tolerance.
    heartbeat_by: Instant,
    /// By when the answer to op 1 must come.
    asked_by: Option<Instant>,
    /// By when the client must have gone after op 7 or 9.
    leave_by: Option<Instant>,
    sent: Window,
}

/// The code and reason of a close.
type Refusal = (u16, &'static str);

impl Gateway<'_> {
    async fn run(&mut self, peer: &mut Peer) {
        loop {
            let until = [Some(self.heartbeat_by), self.asked_by, self.leave_by].into_iter().flatten().min();
            match peer.hear(until).await {
                Heard::Late if self.leave_by.is_some_and(|by| by <= Instant::now()) => {
                    return peer.refuse(4000, "told to reconnect, and still here").await;
                }
                Heard::Late if self.asked_by.is_some_and(|by| by <= Instant::now()) => {
                    return peer.refuse(4000, "no heartbeat when asked").await;
                }
                // the session goes on: it is for the client to resume it
                Heard::Late => return peer.refuse(4000, "no heartbeat in time").await,
                Heard::Text(text) => {
                    if let Err((code, reason)) = self.hear(peer, text.as_bytes()).await {
                        return peer.refuse(code, reason).await;
                    }
                }
                Heard::Binary(_) => return peer.refuse(4002, "Error while decoding payload.").await,
                Heard::Order(Order::Say(text)) => {
                    self.dispatch(peer, "MESSAGE_CREATE", json!({"content": text})).await;
                }
                Heard::Order(Order::Do("miss")) => {
                    self.record("MESSAGE_CREATE", json!({"content": "missed"}));
                    return;
                }
                Heard::Order(Order::Do("forget")) => {
                    self.world.sessions.borrow_mut().clear();
                    return;
                }
                Heard::Order(Order::Do(what)) => self.control(peer, what).await,
                Heard::Order(order) => {
                    if !peer.obey(order).await {
                        return;
                    }
                }
                Heard::Close(code) => {
                    peer.event(format!("left {}", code.unwrap_or(1005)));
                    // who closes with one of these says good-bye, and the session ends
                    if let (Some(1000 | 1001), Some(session)) = (code, &self.session) {
                        self.world.sessions.borrow_mut().remove(session);
                    }
                    return;
                }
                Heard::Gone => return,
                Heard::Ping | Heard::Pong => {}
            }
        }
    }

    async fn control(&mut self, peer: &mut Peer, what: &str) {
        match what {
            "reconnect" => peer.say(json!({"op": 7, "d": null, "s": null, "t": null})).await,
            "heartbeat" => {
                peer.say(json!({"op": 1, "d": null, "s": null, "t": null})).await;
                self.asked_by = Some(Instant::now() + IMMEDIATELY);
                return;
            }
            "resumable" => peer.say(json!({"op": 9, "d": true, "s": null, "t": null})).await,
            "invalid" => {
                if let Some(session) = self.session.take() {
                    self.world.sessions.borrow_mut().remove(&session);
                }
                peer.say(json!({"op": 9, "d": false, "s": null, "t": null})).await;
            }
            _ => panic!("this simulator doesn't know {what:?}"),
        }
        self.leave_by = Some(Instant::now() + IMMEDIATELY);
    }

    async fn hear(&mut self, peer: &mut Peer, text: &[u8]) -> Result<(), Refusal> {
        if !self.sent.take() {
            return Err((4008, "You are being rate limited."));
        }
        // 4096 bytes are allowed, whatever is in them
        let decoding = (4002, "Error while decoding payload.");
        let payload = serde_json::from_slice::<Value>(text).ok().filter(|_| text.len() <= 4096);
        let payload = payload.ok_or(decoding)?;
        let op = payload["op"].as_u64().ok_or(decoding)?;
        let d = payload.get("d").ok_or(decoding)?;
        match op {
            1 => self.heartbeat(peer, d).await,
            2 if self.session.is_some() => Err((4005, "Already authenticated.")),
            2 => self.identify(peer, d).await,
            6 if self.session.is_some() => Err((4005, "Already authenticated.")),
            6 => self.resume(peer, d).await,
            3 | 4 | 8 | 31 if self.session.is_none() => Err((4003, "Not authenticated.")),
            3 | 4 | 8 | 31 => {
                peer.event(format!("op {op}"));
                Ok(())
            }
            _ => Err((4001, "Unknown opcode.")),
        }
    }

    async fn heartbeat(&mut self, peer: &mut Peer, d: &Value) -> Result<(), Refusal> {
        let last = self.session.as_ref().map_or(0, |id| self.world.sessions.borrow()[id].events.len() as u64);
        // what has just been sent may not have arrived
        let fresh = self.session_since.elapsed() < Duration::from_secs(1);
        match d.as_u64() {
            Some(seq) if seq <= last => {}
            None if d.is_null() && (last == 0 || fresh) => {}
            _ => peer.violation(format!("a heartbeat with {d}, where the last event was {last}")),
        }
        self.heartbeat_by = Instant::now() + self.world.settings.grace();
        self.asked_by = None;
        peer.event("heartbeat");
        peer.say(json!({"op": 11, "d": null, "s": null, "t": null})).await;
        Ok(())
    }

    async fn identify(&mut self, peer: &mut Peer, d: &Value) -> Result<(), Refusal> {
        let settings = &self.world.settings;
        if !self.world.identifies.borrow_mut().take() {
            peer.violation("more identifies than max_concurrency");
            self.control(peer, "invalid").await;
            return Ok(());
        }
        let os = &d["properties"]["os"];
        if !d["token"].is_string() || !os.is_string() {
            return Err((4002, "Error while decoding payload."));
        }
        if d["token"] != settings.token {
            return Err((4004, "Authentication failed."));
        }
        let intents = d["intents"].as_u64().filter(|intents| intents & !INTENTS == 0);
        let intents = intents.ok_or((4013, "Invalid intent(s)."))?;
        if intents & !settings.allowed_intents != 0 {
            return Err((4014, "Disallowed intent(s)."));
        }
        if self.resumes {
            peer.violation("identify at the URL for resuming");
        }
        let id = format!("session-{}", peer.number);
        self.world.sessions.borrow_mut().insert(id.clone(), Session::default());
        self.session = Some(id.clone());
        self.session_since = Instant::now();
        peer.event("identify");
        let url = format!("ws://{}/resume", self.here);
        self.dispatch(peer, "READY", json!({"v": 10, "session_id": id, "resume_gateway_url": url})).await;
        Ok(())
    }

    async fn resume(&mut self, peer: &mut Peer, d: &Value) -> Result<(), Refusal> {
        let (Some(token), Some(id), Some(seq)) =
            (d["token"].as_str(), d["session_id"].as_str(), d["seq"].as_u64())
        else {
            return Err((4002, "Error while decoding payload."));
        };
        if token != self.world.settings.token {
            return Err((4004, "Authentication failed."));
        }
        if !self.resumes {
            peer.violation("a resume elsewhere than at resume_gateway_url");
        }
        let missed = self.world.sessions.borrow().get(id).map(|session| {
            let from = usize::try_from(seq).unwrap_or(usize::MAX);
            session.events.get(from..).map(<[_]>::to_vec)
        });
        match missed {
            None => self.control(peer, "invalid").await,
            Some(None) => return Err((4007, "Invalid seq.")),
            Some(Some(missed)) => {
                self.session = Some(id.to_owned());
                self.session_since = Instant::now();
                peer.event("resume");
                for (n, (name, data)) in (seq + 1..).zip(missed) {
                    peer.say(json!({"op": 0, "t": name, "s": n, "d": data})).await;
                }
                self.dispatch(peer, "RESUMED", json!({})).await;
            }
        }
        Ok(())
    }

    async fn dispatch(&self, peer: &mut Peer, name: &'static str, data: Value) {
        if let Some(seq) = self.record(name, data.clone()) {
            peer.say(json!({"op": 0, "t": name, "s": seq, "d": data})).await;
        }
    }

    fn record(&self, name: &'static str, data: Value) -> Option<usize> {
        let mut sessions = self.world.sessions.borrow_mut();
        let session = sessions.get_mut(self.session.as_ref()?)?;
        session.events.push((name, data));
        Some(session.events.len())
    }
}

mod tests;
