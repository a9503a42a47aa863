//! An hour of faults on a simulated clock: scripts, rules, limits and rotation, with two seats and a
//! server that has its moods; and what must hold at every moment of it.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::{config::Window, hub::Data};

const CONFIG: &str = r#"
[upstream]
url = "ws://h/"
connect_timeout = "10s"

[[script.step]]
name = "log in"
send = '{"op":"login"}'
expect = { "/op" = "welcome" }
reject = { "/op" = "go away" }

[[reply]]
match = { "/op" = "are you there" }
send = '{"op":"yes"}'

[heartbeat]
interval = "20s"
timeout = "5s"

[reconnect]
rule = [
    { codes = [4001], then = "refresh" },
    { codes = [4002], then = "forget" },
    { codes = [4003], then = "after", delay = "7s" },
    { codes = [4004], then = "stop" },
]

[limits]
messages = ["12/60s", "4/1s"]
reserve = 3
connects = ["6/60s"]

[rotate]
after = "300s"
overlap = "3s"

[[listener]]
path = "/s"
"#;

fn hour_settings() -> Settings {
    Settings { close_timeout: 2 * S, ..Settings::parse(CONFIG) }
}

/// What the server does with a connection.
#[derive(Debug, Clone, Copy)]
enum Mood {
    /// Refuses it, with this status or none.
    Refuse(Option<u16>),
    /// Never answers; the shell gives up after its timeout.
    Hang,
    /// Takes it, and never answers the login.
    Mute,
    /// Takes it, and refuses the login.
    Reject,
    /// Serves for so many seconds, and ends it so.
    Serve(u64, Finale),
}

#[derive(Debug, Clone, Copy)]
enum Finale {
    Reset,
    Close(u16),
    Silence,
    Never,
}

fn mood() -> impl Strategy<Value = Mood> {
    let finale = prop_oneof![
        2 => Just(Finale::Reset),
        4 => prop_oneof![Just(1001_u16), 4000_u16..4004].prop_map(Finale::Close),
        1 => Just(Finale::Close(4004)),
        2 => Just(Finale::Silence),
        4 => Just(Finale::Never),
    ];
    prop_oneof![
        2 => Just(Mood::Refuse(None)),
        1 => Just(Mood::Refuse(Some(503))),
        1 => Just(Mood::Hang),
        1 => Just(Mood::Mute),
        1 => Just(Mood::Reject),
        8 => (0_u64..900, finale).prop_map(|(seconds, finale)| Mood::Serve(seconds, finale)),
    ]
}

/// What happens by itself: so many sends of clients, a question of the server's, or a wish.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Sends(usize),
    Question,
    Ask(u8),
}

fn happenings() -> impl Strategy<Value = Vec<(u64, Happening)>> {
    let happening = prop_oneof![
        6 => (1_usize..20).prop_map(Happening::Sends),
        4 => Just(Happening::Question),
        1 => (0_u8..3).prop_map(Happening::Ask),
    ];
    prop::collection::vec((0_u64..3_600_000, happening), 0..120)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Seat {
    Free,
    Dialling,
    Open { closing: bool },
}

#[derive(Debug, Clone)]
enum Event {
    Connected,
    Failed(Option<u16>),
    Says(&'static str),
    Pong(Vec<u8>),
    Reset,
    Closes(u16),
    Ends,
}

struct Simulation {
    machine: Machine,
    settings: Settings,
    now: Instant,
    seats: [Seat; 2],
    moods: [Mood; 2],
    silent: [bool; 2],
    events: Vec<(Instant, Slot, Event)>,
    future: VecDeque<Mood>,
    /// Clients' sends that wait.
    waiting: usize,
    sent: Vec<Instant>,
    connects: Vec<Instant>,
    /// No automatic attempt before this: a rule said so.
    not_before: Option<Instant>,
    state: LinkState,
    conn: u64,
    told_up: usize,
    /// Somebody asked for something: a wait may follow a wait, and an attempt an attempt.
    asked: bool,
    finished: bool,
}

impl Simulation {
    fn new(moods: &[Mood], seed: u64) -> Simulation {
        let settings = hour_settings();
        Simulation {
            machine: Machine::new(settings.clone(), seed),
            settings,
            now: Instant::now(),
            seats: [Seat::Free; 2],
            moods: [Mood::Hang; 2],
            silent: [false; 2],
            events: Vec::new(),
            future: moods.iter().copied().collect(),
            waiting: 0,
            sent: Vec::new(),
            connects: Vec::new(),
            not_before: None,
            state: LinkState::Closed,
            conn: 0,
            told_up: 0,
            asked: false,
            finished: false,
        }
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            self.take(action);
        }
        while let Some(told) = self.machine.poll_news() {
            self.hear(told);
        }
        assert!(self.machine.sender().is_none() || self.state == LinkState::Up, "sends go while it is up");
        self.pump();
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Connect { slot, .. } => self.connect(slot),
            Action::AbandonConnect { slot } => {
                assert_eq!(self.seats[slot.index()], Seat::Dialling);
                self.free(slot);
            }
            Action::Ping { slot, payload } => {
                assert_eq!(self.seats[slot.index()], Seat::Open { closing: false });
                self.count_sent(0);
                self.owe(slot, 30 * MS, Event::Pong(payload.to_vec()));
            }
            Action::Close { slot, .. } => {
                assert_eq!(self.seats[slot.index()], Seat::Open { closing: false }, "closed once");
                self.seats[slot.index()] = Seat::Open { closing: true };
                self.owe(slot, 40 * MS, Event::Ends);
            }
            Action::Drop { slot } => {
                assert!(matches!(self.seats[slot.index()], Seat::Open { .. }), "there is something to drop");
                self.free(slot);
            }
            Action::Run { .. } => unreachable!("no program is configured"),
            Action::Finish(_) => self.finished = true,
        }
    }

    fn hear(&mut self, told: News) {
        let News::Announce(status) = told else { return };
        if status.state == LinkState::Up {
            assert_eq!(status.conn, self.conn + 1);
            self.told_up += 1;
            self.not_before = None;
        } else {
            assert_eq!(status.conn, self.conn);
            assert!(status.state != self.state || self.asked, "one line for each change");
        }
        self.asked &= !matches!(status.state, LinkState::Waiting | LinkState::Up);
        (self.state, self.conn) = (status.state, status.conn);
    }

    fn connect(&mut self, slot: Slot) {
        assert_eq!(self.seats[slot.index()], Seat::Free, "one attempt or connection in a seat");
        if let Some(at) = self.not_before.take() {
            assert!(self.now >= at, "the rule's delay holds");
        }
        self.connects.push(self.now);
        holds(&self.connects, &self.settings.terms.limits.connects, 0);
        self.seats[slot.index()] = Seat::Dialling;
        let mood = self.future.pop_front().unwrap_or(Mood::Hang);
        self.future.push_back(mood);
        self.moods[slot.index()] = mood;
        self.silent[slot.index()] = false;
        let (after, event) = match mood {
            Mood::Refuse(status) => (20 * MS, Event::Failed(status)),
            Mood::Hang => (10 * S, Event::Failed(None)),
            _ => (50 * MS, Event::Connected),
        };
        self.events.push((self.now + after, slot, event));
    }

    /// What wsfan has to say goes out, then what clients have, as far as it may.
    fn pump(&mut self) {
        for slot in Slot::ALL {
            if self.seats[slot.index()] != (Seat::Open { closing: false }) {
                continue;
            }
            while let Some(payload) = self.machine.next_own(self.now, slot) {
                self.count_sent(0);
                let Payload::Text(text) = payload else { panic!("all of it is text") };
                self.server_hears(slot, &text);
            }
            while self.waiting > 0
                && self.machine.sender() == Some(slot)
                && self.machine.leeway(self.now).free > 0
            {
                self.machine.sent(self.now, 1);
                self.count_sent(self.settings.terms.limits.reserve as usize);
                self.waiting -= 1;
            }
        }
    }

    fn server_hears(&mut self, slot: Slot, text: &str) {
        if text.contains("login") {
            match self.moods[slot.index()] {
                Mood::Reject => self.owe(slot, 60 * MS, Event::Says(r#"{"op":"go away"}"#)),
                Mood::Mute => {}
                _ => self.owe(slot, 60 * MS, Event::Says(r#"{"op":"welcome"}"#)),
            }
        }
    }

    fn count_sent(&mut self, kept: usize) {
        self.sent.push(self.now);
        holds(&self.sent, &self.settings.terms.limits.messages, kept);
    }

    /// The server does something on a connection, unless it is silent or the connection is gone by then.
    fn owe(&mut self, slot: Slot, after: Duration, event: Event) {
        if !self.silent[slot.index()] {
            self.events.push((self.now + after, slot, event));
        }
    }

    fn free(&mut self, slot: Slot) {
        self.seats[slot.index()] = Seat::Free;
        self.events.retain(|(_, at, _)| *at != slot);
    }

    fn happen(&mut self, slot: Slot, event: Event) {
        match event {
            Event::Connected => {
                self.seats[slot.index()] = Seat::Open { closing: false };
                if let Mood::Serve(seconds, finale) = self.moods[slot.index()] {
                    let after = Duration::from_secs(seconds);
                    match finale {
                        Finale::Reset => self.owe(slot, after, Event::Reset),
                        Finale::Close(code) => self.owe(slot, after, Event::Closes(code)),
                        Finale::Silence => self.silent[slot.index()] = seconds % 2 == 0,
                        Finale::Never => {}
                    }
                }
                self.tell(connected_on(slot));
            }
            Event::Failed(http_status) => {
                self.free(slot);
                let failure = Failure { http_status, ..Failure::attempt("no") };
                self.tell(Input::ConnectFailed { slot, failure });
            }
            Event::Says(text) => {
                self.machine.handle(self.now, Input::Inbound { slot, messages: true });
                if self.machine.wants_messages(slot) {
                    self.machine.hear(self.now, slot, Data::Text(text));
                }
                self.act();
            }
            Event::Pong(payload) => {
                self.tell(Input::Inbound { slot, messages: false });
                self.tell(Input::Pong { slot, payload });
            }
            Event::Reset | Event::Ends => {
                self.free(slot);
                self.tell(gone_from(slot));
            }
            Event::Closes(code) => {
                if code == 4003
                    && self.machine.sender() == Some(slot)
                    && self.seats[slot.other().index()] == Seat::Free
                {
                    self.not_before = Some(self.now + 7 * S);
                }
                self.seats[slot.index()] = Seat::Open { closing: true };
                self.events.push((self.now + 100 * MS, slot, Event::Ends));
                let failure = Failure::closed_there(Some(code), "");
                self.tell(Input::Closing { slot, failure });
            }
        }
    }

    fn by_itself(&mut self, happening: Happening) {
        match happening {
            Happening::Sends(n) => {
                self.waiting = (self.waiting + n).min(100);
                self.pump();
            }
            Happening::Question => {
                for slot in Slot::ALL {
                    if matches!(self.seats[slot.index()], Seat::Open { closing: false }) {
                        self.owe(slot, Duration::ZERO, Event::Says(r#"{"op":"are you there"}"#));
                    }
                }
            }
            Happening::Ask(wish) => {
                (self.not_before, self.asked) = (None, true);
                match wish {
                    0 => self.tell(Input::Reconnect),
                    1 => self.tell(Input::Open),
                    _ => {
                        self.tell(Input::Close);
                        self.tell(Input::Open);
                    }
                }
            }
        }
    }

    /// Runs until `end`; the machine is told of each time as soon as it comes, and not before.
    fn run_until(&mut self, end: Instant) {
        for _ in 0..100_000 {
            let event = self.events.iter().map(|(at, ..)| *at).min();
            let timeout = self.machine.next_timeout(self.now);
            let let_out = self.machine.next_let_out(self.now, (self.waiting > 0).then_some(1));
            let next = [event, timeout, let_out].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            match self.events.iter().position(|(at, ..)| *at <= self.now) {
                Some(at) => {
                    let (_, slot, event) = self.events.remove(at);
                    self.happen(slot, event);
                }
                None => {
                    self.tell(Input::Timeout);
                }
            }
        }
        panic!("time stands still");
    }
}

/// The newest of `past` is no more than its windows allow, with so many of the tightest kept back.
fn holds(past: &[Instant], windows: &[Window], kept: usize) {
    let now = *past.last().unwrap();
    for (index, window) in windows.iter().enumerate() {
        let within = past.iter().filter(|at| **at + window.per > now).count();
        let kept = if index == 0 { kept } else { 0 };
        assert!(within <= window.count as usize - kept, "{within} within {:?}", window.per);
    }
}

fn hour(moods: &[Mood], mut happenings: Vec<(u64, Happening)>, seed: u64) {
    happenings.sort_by_key(|(at, _)| *at);
    let mut world = Simulation::new(moods, seed);
    let begin = world.now;
    world.tell(Input::Start);
    for (at, happening) in happenings {
        world.run_until(begin + Duration::from_millis(at));
        world.by_itself(happening);
    }
    world.run_until(begin + 3_600 * S);
    assert!(
        world.connects.len() > 1 || world.state == LinkState::Failed,
        "it goes on trying, or says why not"
    );
    world.tell(Input::Stop);
    let now = world.now;
    world.run_until(now + 2 * S);
    assert!(world.finished && world.state == LinkState::Closed, "a stop takes its time at most");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn in_an_hour_of_faults_every_limit_holds(
        moods in prop::collection::vec(mood(), 1..20),
        happenings in happenings(),
        seed in any::<u64>(),
    ) {
        hour(&moods, happenings, seed);
    }
}

#[test]
fn a_server_that_serves_for_ever_is_rotated_twelve_times_an_hour() {
    let mut world = Simulation::new(&[Mood::Serve(0, Finale::Never)], 1);
    let begin = world.now;
    world.tell(Input::Start);
    world.run_until(begin + 3_600 * S);
    assert_eq!((world.connects.len(), world.told_up), (12, 12));
}
