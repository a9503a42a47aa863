//! A simulated server on a simulated clock: days of reconnects in no time, and what must hold.

use proptest::prelude::*;

use super::*;

/// What the server does with a connection.
#[derive(Debug, Clone, Copy)]
enum Mood {
    /// Refuses it.
    Refuse,
    /// Refuses it, and asks to be left alone for so many seconds.
    Busy(u64),
    /// Never answers; the shell gives up after its timeout.
    Hang,
    /// Accepts it and closes it at once.
    AcceptThenClose,
    /// Serves for so many seconds, then resets it.
    Reset(u64),
    /// Serves for so many seconds, then closes it properly.
    Close(u64),
    /// Serves for so many seconds, then falls silent.
    Silent(u64),
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        4 => Just(Mood::Refuse),
        1 => (1_u64..300).prop_map(Mood::Busy),
        1 => Just(Mood::Hang),
        3 => Just(Mood::AcceptThenClose),
        2 => (1_u64..2_000).prop_map(Mood::Reset),
        2 => (1_u64..2_000).prop_map(Mood::Close),
        2 => (1_u64..2_000).prop_map(Mood::Silent),
    ]
}

/// What somebody asks for, now and then.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Reconnect,
    CloseAndOpen,
    Interval(u64),
}

fn asks() -> impl Strategy<Value = Vec<(u64, Ask)>> {
    let ask =
        prop_oneof![Just(Ask::Reconnect), Just(Ask::CloseAndOpen), (1_u64..60).prop_map(Ask::Interval),];
    prop::collection::vec((1_u64..20_000, ask), 0..20)
}

/// What the world owes the machine.
#[derive(Debug, Clone, Copy)]
enum Event {
    Connected,
    ConnectFailed(Option<u64>),
    Reset,
    PeerCloses,
    TcpEnds,
    Pong(u64),
}

struct Simulation {
    machine: Machine,
    settings: Settings,
    now: Instant,
    events: Vec<(Instant, Event)>,
    moods: Vec<Mood>,
    round: usize,
    /// The attempt or connection that exists.
    connecting: bool,
    open: bool,
    /// From then on the server is silent.
    silent_from: Option<Instant>,
    /// When the heartbeat's settings changed last.
    changed_at: Instant,
    closing: bool,
    state: LinkState,
    conn: u64,
    /// When the last attempt or connection ended by itself.
    failed_at: Option<Instant>,
    asked: bool,
    attempts: usize,
    finished: bool,
}

impl Simulation {
    fn new(moods: Vec<Mood>, seed: u64) -> Simulation {
        let settings = settings();
        Simulation {
            machine: Machine::new(settings.clone(), seed),
            settings,
            now: Instant::now(),
            events: Vec::new(),
            moods,
            round: 0,
            connecting: false,
            open: false,
            silent_from: None,
            changed_at: Instant::now(),
            closing: false,
            state: LinkState::Closed,
            conn: 0,
            failed_at: None,
            asked: false,
            attempts: 0,
            finished: false,
        }
    }

    fn mood(&self) -> Mood {
        self.moods[(self.round + self.moods.len() - 1) % self.moods.len()]
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        while let Some(action) = self.machine.poll_action() {
            self.act(action);
        }
        while let Some(told) = self.machine.poll_news() {
            self.hear(told);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { .. } => {
                assert!(!self.connecting && !self.open, "one connection at a time");
                if let (Some(failed_at), false) = (self.failed_at, self.asked) {
                    let delay = self.now - failed_at;
                    assert!(
                        delay >= self.settings.reconnect.initial_delay / 10,
                        "an attempt after {delay:?}"
                    );
                }
                (self.connecting, self.asked) = (true, false);
                self.attempts += 1;
                self.round += 1;
                let (after, event) = match self.mood() {
                    Mood::Refuse => (20 * MS, Event::ConnectFailed(None)),
                    Mood::Busy(seconds) => (20 * MS, Event::ConnectFailed(Some(seconds))),
                    Mood::Hang => (10 * S, Event::ConnectFailed(None)),
                    _ => (50 * MS, Event::Connected),
                };
                self.owe(after, event);
            }
            Action::AbandonConnect { .. } => {
                assert!(self.connecting);
                self.connecting = false;
                self.events.clear();
            }
            Action::Ping { payload, .. } => {
                assert!(self.open && !self.closing, "a heartbeat is sent only while up");
                if !self.is_silent() {
                    self.owe(30 * MS, Event::Pong(u64::from_be_bytes(payload)));
                }
            }
            Action::Close { .. } => {
                assert!(self.open && !self.closing);
                self.closing = true;
                if !self.is_silent() {
                    self.owe(40 * MS, Event::TcpEnds);
                }
            }
            Action::Drop { .. } => self.drop_connection(),
            Action::Run { .. } => unreachable!("no program is configured"),
            Action::Finish(_) => self.finished = true,
        }
    }

    fn hear(&mut self, told: News) {
        let News::Announce(status) = told else { return };
        assert_ne!((status.state, status.conn), (self.state, self.conn), "one line for each change");
        assert_eq!(status.state == LinkState::Up, self.open, "up means that a connection is open");
        assert_eq!(status.retry_in.is_some(), status.state == LinkState::Waiting);
        assert!(status.conn == self.conn || (status.state == LinkState::Up && status.conn == self.conn + 1));
        (self.state, self.conn) = (status.state, status.conn);
    }

    fn is_silent(&self) -> bool {
        self.silent_from.is_some_and(|from| self.now >= from)
    }

    fn owe(&mut self, after: Duration, event: Event) {
        self.events.push((self.now + after, event));
    }

    fn drop_connection(&mut self) {
        assert!(self.open, "there is something to drop");
        if !self.closing {
            let from = self.silent_from.expect("only a silent server is dropped");
            let heartbeat = &self.settings.heartbeat;
            let noticed = self.now - from.max(self.changed_at);
            assert!(
                noticed <= heartbeat.interval + heartbeat.timeout.expect("it isn't off"),
                "a dead link noticed after {noticed:?}"
            );
        }
        self.end();
    }

    fn end(&mut self) {
        (self.open, self.closing, self.silent_from) = (false, false, None);
        self.failed_at = Some(self.now);
        self.events.clear();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Connected => {
                (self.connecting, self.open) = (false, true);
                self.tell(connected());
                let seconds = |n| Duration::from_secs(n);
                match self.mood() {
                    Mood::AcceptThenClose => self.owe(MS, Event::Reset),
                    Mood::Reset(after) => self.owe(seconds(after), Event::Reset),
                    Mood::Close(after) => self.owe(seconds(after), Event::PeerCloses),
                    Mood::Silent(after) => self.silent_from = Some(self.now + seconds(after)),
                    Mood::Refuse | Mood::Busy(_) | Mood::Hang => unreachable!(),
                }
            }
            Event::ConnectFailed(busy) => {
                self.connecting = false;
                self.failed_at = Some(self.now);
                let retry_after = busy.map(Duration::from_secs);
                self.tell(refused_with(Failure { retry_after, ..Failure::attempt("no") }));
            }
            Event::Reset | Event::TcpEnds => {
                self.end();
                self.tell(gone());
            }
            Event::PeerCloses => {
                self.closing = true;
                self.tell(closing(Failure::closed_there(Some(1001), "")));
                self.owe(100 * MS, Event::TcpEnds);
            }
            Event::Pong(beat) => {
                self.tell(inbound());
                self.tell(Input::Pong { slot: Slot::A, payload: beat.to_be_bytes().to_vec() });
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Reconnect => {
                self.asked = true;
                self.tell(Input::Reconnect);
            }
            Ask::CloseAndOpen => {
                self.asked = true;
                self.tell(Input::Close);
                self.tell(Input::Open);
            }
            Ask::Interval(seconds) => {
                self.changed_at = self.now;
                self.settings.heartbeat.interval = Duration::from_secs(seconds);
                self.settings.heartbeat.timeout = Some(Duration::from_secs(seconds.min(10)));
                let settings = Box::new(self.settings.clone());
                self.tell(Input::Settings(settings));
            }
        }
    }

    /// Runs until `end`; the machine is told of each time as soon as it comes, and not before.
    fn run_until(&mut self, end: Instant) {
        loop {
            let event = self.events.iter().map(|(at, _)| *at).min();
            let timeout = self.machine.next_timeout(self.now);
            let Some(next) = [event, timeout].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            match self.events.iter().position(|(at, _)| *at <= self.now) {
                Some(at) => {
                    let (_, event) = self.events.remove(at);
                    self.happen(event);
                }
                None => self.tell(Input::Timeout),
            }
        }
        self.now = end;
    }
}

/// A day with these moods and asks, and what must hold in it.
fn day(moods: Vec<Mood>, mut asks: Vec<(u64, Ask)>, seed: u64) {
    asks.sort_by_key(|(at, _)| *at);
    let mut world = Simulation::new(moods, seed);
    let begin = world.now;
    world.tell(Input::Start);
    for (at, ask) in asks {
        world.run_until(begin + Duration::from_secs(at));
        world.ask(ask);
    }
    world.run_until(begin + Duration::from_secs(24 * 60 * 60));
    // at worst each attempt fails at once: 50 ms, then doubling up to a tenth of 30 s
    assert!(world.attempts < 24 * 60 * 60 / 3 + 100, "{} attempts", world.attempts);
    assert!(world.attempts > 2, "it never gives up: {} attempts", world.attempts);
    world.tell(Input::Stop);
    let now = world.now;
    world.run_until(now + 2 * S);
    assert!(world.finished, "a stop takes its time at most");
    assert_eq!(world.state, LinkState::Closed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_day_of_reconnects_takes_no_time(
        moods in prop::collection::vec(mood(), 1..20),
        asks in asks(),
        seed in any::<u64>(),
    ) {
        day(moods, asks, seed);
    }
}

/// What was asked for stays asked for: new settings come while the old connection is closing.
#[test]
fn settings_change_while_an_asked_reconnect_closes() {
    let reconnects = [4326, 6032, 6066, 6799, 7104, 12897].map(|at| (at, Ask::Reconnect));
    let asks = reconnects.into_iter().chain([(12897, Ask::Interval(1))]).collect();
    day(vec![Mood::Reset(8)], asks, 13838514966880786225);
}
