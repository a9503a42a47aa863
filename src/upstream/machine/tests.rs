use super::*;
use crate::{
    config::{self, HeartbeatKind, OnExhausted, Template},
    hub::Hole,
    upstream::settings::Exit,
};

mod asked;
mod day;
mod hour;
mod kept;
mod programs;
mod requests;
mod rotation;
mod script;
mod settings;
mod trial;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn settings() -> Settings {
    let urls = ["wss://a/", "wss://b/"].map(Template::literal);
    Settings { close_timeout: 2 * S, ..Settings::of(config::Upstream::new(urls.into())) }
}

fn with(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = settings();
    change(&mut settings);
    settings
}

/// A machine and a clock that moves when told to.
struct Bench {
    machine: Machine,
    now: Instant,
    /// What was told by the last call.
    news: Vec<News>,
    /// What was missing before the last message.
    holes: Vec<Hole>,
}

impl Bench {
    fn new(settings: Settings) -> Bench {
        Bench { machine: Machine::new(settings, 7), now: Instant::now(), news: Vec::new(), holes: Vec::new() }
    }

    /// One that has an open connection.
    fn up(settings: Settings) -> Bench {
        let mut bench = Bench::new(settings);
        bench.tell(Input::Start);
        bench.tell(connected());
        bench
    }

    fn tell(&mut self, input: Input) -> Vec<Action> {
        self.news.clear();
        self.say(input)
    }

    fn say(&mut self, input: Input) -> Vec<Action> {
        self.machine.handle(self.now, input);
        self.news.extend(std::iter::from_fn(|| self.machine.poll_news()));
        std::iter::from_fn(|| self.machine.poll_action()).collect()
    }

    /// Lets time pass, with a timeout told as soon as it is due.
    fn pass(&mut self, time: Duration) -> Vec<Action> {
        let end = self.now + time;
        let mut actions = Vec::new();
        self.news.clear();
        while let Some(at) = self.machine.next_timeout(self.now).filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let before = self.machine.next_timeout(self.now);
            actions.extend(self.say(Input::Timeout));
            assert_ne!(
                self.machine.next_timeout(self.now),
                before,
                "a timeout that was told isn't due again"
            );
        }
        self.now = end;
        actions
    }

    /// Lets the wait before the next attempt pass.
    fn until_attempt(&mut self) -> Duration {
        let begin = self.now;
        let at = self.machine.next_timeout(self.now).expect("a wait has an end");
        let actions = self.pass(at - begin);
        assert!(matches!(self.news[..], [News::Announce(_)]), "{:?}", self.news);
        assert!(matches!(actions[..], [Action::Connect { .. }]), "{actions:?}");
        at - begin
    }

    /// The states that were announced by the last call.
    fn states(&self) -> Vec<LinkState> {
        let state = |told: &News| match told {
            News::Announce(status) => Some(status.state),
            News::Note(_) | News::Public(_) => None,
        };
        self.news.iter().filter_map(state).collect()
    }

    /// The newest state that was announced by the last call.
    fn announced(&self) -> &LinkStatus {
        let status = self.news.iter().rev().find_map(|told| match told {
            News::Announce(status) => Some(status),
            News::Note(_) | News::Public(_) => None,
        });
        status.unwrap_or_else(|| panic!("no state in {:?}", self.news))
    }

    fn notes(&self) -> Vec<&Note> {
        let notes = self.news.iter().filter_map(|told| match told {
            News::Note(note) => Some(note),
            News::Announce(_) | News::Public(_) => None,
        });
        notes.collect()
    }

    fn told_at(&mut self, input: Input) -> &LinkStatus {
        self.tell(input);
        self.announced()
    }

    fn announced_after(&mut self, time: Duration) -> &LinkStatus {
        self.pass(time);
        self.announced()
    }

    fn states_at(&mut self, input: Input) -> Vec<LinkState> {
        self.tell(input);
        self.states()
    }
}

fn connected() -> Input {
    connected_on(Slot::A)
}

fn connected_on(slot: Slot) -> Input {
    Input::Connected { slot, reached: Reached::default(), secrets: Secrets::default() }
}

fn refused() -> Input {
    refused_with(Failure::attempt("connection refused"))
}

fn refused_with(failure: Failure) -> Input {
    Input::ConnectFailed { slot: Slot::A, failure }
}

fn gone() -> Input {
    gone_from(Slot::A)
}

fn gone_from(slot: Slot) -> Input {
    Input::Ended { slot, failure: Failure::lost("reset") }
}

fn closing(failure: Failure) -> Input {
    Input::Closing { slot: Slot::A, failure }
}

fn inbound() -> Input {
    Input::Inbound { slot: Slot::A, messages: false }
}

fn connects(actions: &[Action]) -> usize {
    actions.iter().filter(|action| matches!(action, Action::Connect { .. })).count()
}

// --- the faults of a predecessor -------------------------------------------------------------------

#[test]
fn attempts_are_not_reset_before_the_connection_is_open() {
    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    for attempt in 1..=5 {
        assert_eq!(bench.told_at(refused()).attempt, attempt);
        bench.until_attempt();
    }
    assert_eq!(bench.told_at(connected()).attempt, 5, "nor as soon as it is open");
    bench.pass(9 * S);
    assert_eq!(bench.told_at(gone()).attempt, 6);
}

#[test]
fn a_timer_never_opens_a_second_connection() {
    let mut bench = Bench::new(settings());
    assert_eq!(connects(&bench.tell(Input::Start)), 1);
    assert_eq!(connects(&bench.pass(3_600 * S)), 0, "an attempt under way is the only one");
    for _ in 0..3 {
        assert_eq!(bench.tell(Input::Timeout), []);
    }
    bench.tell(refused());
    bench.until_attempt();
    assert_eq!(connects(&bench.pass(3_600 * S)), 0);
    bench.tell(connected());
    let mut quiet = Vec::new();
    for _ in 0..1_000 {
        quiet.extend(bench.pass(S));
        bench.tell(inbound());
    }
    assert_eq!(connects(&quiet), 0);
}

#[test]
fn every_error_leads_to_a_reconnect() {
    for stable in [false, true] {
        let closed = || closing(Failure::closed_there(Some(1011), "oops"));
        let ends: [fn() -> Input; 2] = [gone, closed];
        for end in ends {
            let mut bench = Bench::up(settings());
            bench.pass(if stable { 20 * S } else { S });
            bench.tell(end());
            bench.tell(gone());
            assert_eq!(bench.machine.state_for_sends(), LinkState::Waiting);
            bench.until_attempt();
        }
    }
    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    bench.tell(refused());
    bench.until_attempt();
}

#[test]
fn a_dead_link_is_noticed_by_the_missing_answer() {
    let mut bench = Bench::up(settings());
    let actions = bench.pass(40 * S);
    assert!(actions.contains(&Action::Ping { slot: Slot::A, payload: 1_u64.to_be_bytes() }));
    assert!(actions.contains(&Action::Drop { slot: Slot::A }));
    let status = bench.announced();
    assert_eq!((status.state, status.code), (LinkState::Waiting, Some(1006)));
    assert!(status.error.as_deref().unwrap().contains("no sign of life within 10s"));
}

#[test]
fn the_state_is_not_up_before_the_connection_is() {
    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    assert_eq!(bench.states(), [LinkState::Connecting]);
    assert!(bench.machine.sender().is_none());
    assert_eq!(bench.announced().conn, 0);
    bench.tell(connected());
    assert_eq!((bench.announced().state, bench.announced().conn), (LinkState::Up, 1));
    assert!(bench.machine.sender().is_some());
}

// --- failures and delays ---------------------------------------------------------------------------

#[test]
fn what_ended_a_connection_is_told_until_the_next_one_is_up() {
    let mut bench = Bench::up(settings());
    let close = Failure::closed_there(Some(1013), "later");
    assert_eq!(bench.tell(closing(close.clone())), [], "the end of TCP is awaited");
    assert_eq!(bench.machine.next_timeout(bench.now), Some(bench.now + LINGER));
    bench.tell(gone());
    let status = bench.announced();
    assert_eq!((status.code, status.reason.as_deref()), (Some(1013), Some("later")), "not how TCP ended");
    assert_eq!(status.error, close.error);
    assert!(status.retry_in.is_some());
    bench.until_attempt();
    let status = bench.machine.status(LinkState::Connecting);
    assert_eq!(status.code, Some(1013));
    bench.tell(connected());
    let status = bench.announced();
    assert_eq!((status.code, &status.reason, &status.error), (None, &None, &None));
}

#[test]
fn a_server_that_never_ends_tcp_is_waited_for_briefly() {
    let mut bench = Bench::up(settings());
    bench.tell(closing(Failure::closed_there(None, "")));
    let actions = bench.pass(LINGER);
    assert_eq!(actions[0], Action::Drop { slot: Slot::A });
    assert_eq!(bench.announced().state, LinkState::Waiting);
}

/// One that is up after six attempts in a row that failed.
fn up_after_a_row() -> Bench {
    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    for _ in 0..6 {
        bench.tell(refused());
        bench.until_attempt();
    }
    bench.tell(connected());
    bench
}

#[test]
fn after_a_stable_time_the_row_begins_anew() {
    let mut bench = up_after_a_row();
    assert_eq!(bench.pass(10 * S), []);
    assert_eq!(bench.notes(), [&Note::Stable]);
    bench.tell(gone());
    let status = bench.announced();
    assert_eq!(status.attempt, 1);
    let wait = status.retry_in.unwrap();
    assert!(wait >= 50 * MS && wait <= 500 * MS, "{wait:?}");
}

#[test]
fn a_stable_time_counts_even_if_its_timer_came_too_late() {
    let mut bench = up_after_a_row();
    bench.now += 10 * S;
    assert_eq!(bench.told_at(gone()).attempt, 1);
}

#[test]
fn accept_then_close_makes_no_storm() {
    let mut bench = Bench::new(with(|settings| settings.reconnect.jitter = 0.0));
    bench.tell(Input::Start);
    let mut waits = Vec::new();
    for _ in 0..9 {
        bench.tell(connected());
        bench.tell(gone());
        waits.push(bench.until_attempt().as_millis());
    }
    assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
}

#[test]
fn retry_after_is_respected() {
    let mut bench = Bench::new(settings());
    bench.tell(Input::Start);
    let failure = Failure { retry_after: Some(120 * S), ..Failure::attempt("busy") };
    bench.tell(refused_with(failure));
    assert_eq!(bench.announced().retry_in, Some(120 * S));
    assert_eq!(bench.until_attempt(), 120 * S);
}

#[test]
fn the_urls_take_turns() {
    let mut bench = Bench::new(settings());
    let mut actions = bench.tell(Input::Start);
    for url in [0, 1, 0, 1] {
        assert!(
            actions.contains(&Action::Connect { slot: Slot::A, to: Destination::Configured(url) }),
            "{actions:?}"
        );
        assert_eq!(bench.announced().url, ["wss://a/", "wss://b/"][url]);
        assert_eq!(bench.told_at(refused()).url, ["wss://b/", "wss://a/"][url], "the next one is named");
        actions = bench.pass(60 * S);
    }
}

#[test]
fn max_attempts_end_in_failed_and_open_starts_again() {
    let mut bench = Bench::new(with(|settings| settings.reconnect.max_attempts = 3));
    bench.tell(Input::Start);
    for _ in 0..2 {
        bench.tell(refused());
        bench.until_attempt();
    }
    bench.tell(refused());
    let status = bench.announced();
    assert_eq!((status.state, status.attempt, status.retry_in), (LinkState::Failed, 3, None));
    let error = status.error.as_deref().unwrap();
    assert!(error.starts_with("given up after 3 attempts in a row") && error.ends_with("connection refused"));
    assert_eq!(bench.pass(3_600 * S), []);
    let actions = bench.tell(Input::Open);
    assert_eq!((bench.states(), connects(&actions)), (vec![LinkState::Connecting], 1));
    assert_eq!(bench.told_at(refused()).attempt, 1, "and counts anew");
}

#[test]
fn exit_on_exhausted_finishes() {
    let mut bench = Bench::new(with(|settings| {
        settings.reconnect.max_attempts = 1;
        settings.reconnect.on_exhausted = OnExhausted::Exit;
    }));
    bench.tell(Input::Start);
    let actions = bench.tell(refused());
    assert_eq!(bench.announced().state, LinkState::Failed);
    assert_eq!(actions.last(), Some(&Action::Finish(Exit::GivenUp)));
}

#[test]
fn the_loss_of_a_stable_connection_uses_up_no_attempt() {
    let mut bench = Bench::up(with(|settings| settings.reconnect.max_attempts = 1));
    bench.pass(10 * S);
    assert_eq!(bench.told_at(gone()).state, LinkState::Waiting);
    bench.until_attempt();
    assert_eq!(bench.told_at(refused()).state, LinkState::Failed);
}
