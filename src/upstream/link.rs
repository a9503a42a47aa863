//! The link's loop: ask the machine what to do, do it, tell it what happened.

use std::{
    future::{pending, poll_fn},
    task::{Context, Poll},
    time::Instant,
};

use tokio::{sync::watch, time};

use super::{
    attempt::{AttemptResult, Attempted, Dial, attempt, makers::Outcome},
    machine::{Action, Input, Kinds, Machine, Reached, Slot},
    settings::{Exit, Settings},
    websocket::{Batch, Connection, ConnectionEnd, Listen},
    wire::track::Track,
};
use crate::hub::{Command, Commands, LinkState, Publisher, Seldom, now_us};

mod apart;
pub(super) mod backlog;
mod commands;
mod exchange;
mod last_values;
pub(super) mod legacy;
mod newest;
mod news;
mod seat;
mod topics;

use backlog::Backlog;
use exchange::LinkExchange;
use legacy::Legacy;
use newest::Newest;
use news::tell;
use seat::Seat;

#[cfg(test)]
mod tests;

/// So many commands are taken in one round, so that clients who send a lot can't keep the link from
/// reading.
const COMMANDS_PER_ROUND: usize = 256;
/// While a batch is full, more has come in than was read; what is due may wait for so many batches,
/// since a proof of life may be among it.
const PATIENCE_BATCHES: usize = 32;

/// Runs the link over what `dial` makes. `seed` is for the jitter.
pub(super) fn run(
    hub: Publisher,
    commands: Commands,
    settings: watch::Receiver<Settings>,
    legacy: Legacy,
    dial: impl Dial + 'static,
    seed: u64,
) -> impl Future<Output = Exit> {
    let (present, settings) = Newest::new(settings);
    prepare(&hub, &present);
    let link = Link {
        machine: Machine::new(present.clone(), seed),
        legacy,
        backlog: Backlog::new(present.outbox),
        present,
        hub,
        commands,
        settings: Some(settings),
        dial,
        seats: [Seat::default(), Seat::default()],
        too_many: Seldom::default(),
        turn: Slot::A,
        ended: None,
        patience: PATIENCE_BATCHES,
    };
    link.run()
}

/// Has the hub know which topics clients may subscribe to, what is retained, and what is public.
pub(super) fn prepare(hub: &Publisher, settings: &Settings) {
    hub.with_topics(|topics| topics.set_terms(settings.terms.subscriptions.clone()));
    last_values::retain(hub, None, settings);
    hub.set_public(settings.terms.public_captures());
}

struct Link<D> {
    hub: Publisher,
    commands: Commands,
    /// `None` once nobody can change them any more.
    settings: Option<Newest>,
    present: Settings,
    dial: D,
    machine: Machine,
    legacy: Legacy,
    backlog: Backlog,
    seats: [Seat; 2],
    too_many: Seldom,
    /// The seat that is looked at first, so that neither keeps the other from being read.
    turn: Slot,
    ended: Option<Exit>,
    patience: usize,
}

/// What is large lies elsewhere: each batch's event is moved several times.
enum Event {
    Batch(Slot, Batch),
    Attempt(Slot, Box<AttemptResult>),
    Ran(Slot, u64, Box<Outcome>),
    Command(Option<Box<Command>>),
    SettingsChanged,
    SettingsGone,
    /// The hub is ready for more, a client has left, whose sends wait no longer than so long, or a time is reached:
    /// the round itself looks after it.
    Round,
}

impl<D: Dial + 'static> Link<D> {
    async fn run(mut self) -> Exit {
        self.tell_rewrites();
        self.machine.count_on(self.hub.status().conn);
        if let Some(past) = self.legacy.take() {
            self.machine.go_on_from(past);
        }
        self.machine.set_clock(now_us() / 1_000);
        self.machine.handle(now(), Input::Start);
        self.hub.take_kept().into_iter().for_each(|send| self.command(Some(Command::Send(send))));
        loop {
            self.act();
            if let Some(ended) = self.ended {
                self.settle_rest().await;
                return ended;
            }
            self.hub.set_waiting(self.backlog.waiting());
            let event = self.next_event().await;
            self.machine.set_clock(now_us() / 1_000);
            let full = matches!(&event, Event::Batch(_, batch) if batch.full);
            let heavy = matches!(&event, Event::Batch(_, batch) if batch.heavy);
            self.take(event);
            self.act();
            // while the server floods, reading is always ready: the others get their turn here
            self.take_waiting();
            self.patience = if full { self.patience.saturating_sub(1) } else { PATIENCE_BATCHES };
            if !full || self.patience == 0 {
                self.take_due();
            }
            if heavy {
                // reading is ready again at once, and would leave nobody a turn
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits for the next happening. Each arm is cancel-safe: what an arm has begun stays in the
    /// connection, the attempt or the channel. Reading comes first, so that what lies in the socket
    /// counts before a deadline does.
    async fn next_event(&mut self) -> Event {
        self.pause_or_resume();
        self.turn = self.turn.other();
        let ready = self.hub.is_ready();
        let deadline = self.deadline();
        let Link { hub, commands, settings, machine, backlog, seats, too_many, turn, .. } = self;
        let mut common = Common { hub, machine, backlog, too_many };
        tokio::select! {
            biased;
            event = poll_fn(|cx| poll_seats(cx, seats, *turn, &mut common)) => event,
            command = commands.recv() => Event::Command(command.map(Box::new)),
            event = settings_changed(settings) => event,
            () = hub.ready(), if !ready => Event::Round,
            () = hub.stirred() => Event::Round,
            () = sleep_until(deadline) => Event::Round,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Batch(slot, batch) => self.take_batch(slot, batch),
            Event::Attempt(slot, attempted) => match *attempted {
                Ok(Attempted { connection, subprotocol, secrets, place }) => {
                    let split = self.present.upstream.split.as_ref();
                    self.seats[slot.index()].sit(connection, split);
                    self.machine.handle(
                        now(),
                        Input::Connected { slot, reached: Reached { subprotocol, place }, secrets },
                    );
                }
                Err(failure) => self.machine.handle(now(), Input::ConnectFailed { slot, failure }),
            },
            Event::Ran(slot, id, outcome) => {
                self.machine.handle(now(), Input::Ran { slot, id, outcome: *outcome });
            }
            Event::Command(command) => self.command(command.map(|command| *command)),
            Event::SettingsChanged => self.change_settings(),
            Event::SettingsGone => self.settings = None,
            Event::Round => {}
        }
    }

    fn take_batch(&mut self, slot: Slot, batch: Batch) {
        if batch.messages {
            self.hub.flush();
        }
        let now = now();
        if batch.inbound {
            self.machine.handle(now, Input::Inbound { slot, messages: batch.messages });
        }
        match batch.end.map(|end| *end) {
            Some(ConnectionEnd::Closing(failure)) => {
                self.machine.handle(now, Input::Closing { slot, failure })
            }
            Some(ConnectionEnd::Gone(failure)) => {
                self.seats[slot.index()].leave();
                self.machine.handle(now, Input::Ended { slot, failure });
            }
            None => {}
        }
    }

    /// Takes what waits without waiting for it.
    fn take_waiting(&mut self) {
        for _ in 0..COMMANDS_PER_ROUND {
            let Some(command) = self.commands.try_recv() else {
                break;
            };
            self.command(Some(command));
            self.act();
        }
        self.part(); // the next round asks anew how long sends wait
        if self.settings.as_ref().is_some_and(Newest::has_newer) {
            self.change_settings();
            self.act();
        }
    }

    fn take_due(&mut self) {
        let now = now();
        self.machine.handle(now, Input::Timeout);
        self.hub.with_topics(|topics| topics.timeout(now));
        let expired = self.backlog.expire(now);
        if expired > 0 {
            tracing::warn!(expired, "messages waited for too long, and are not sent");
        }
        for slot in Slot::ALL {
            let seat = &mut self.seats[slot.index()];
            if seat.stall_deadline().is_some_and(|at| at <= now) {
                seat.leave();
                self.machine.handle(now, Input::Ended { slot, failure: Connection::stalled() });
            }
        }
    }

    /// Does what the machine wants done.
    fn act(&mut self) {
        tell(&self.hub, &mut self.machine);
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Connect { slot, to } => {
                    let kept = self.machine.kept(slot);
                    let attempt =
                        attempt(self.present.clone(), to, kept, self.dial.clone(), Track::default());
                    self.seats[slot.index()].attempt = Some(Box::pin(attempt));
                }
                Action::AbandonConnect { slot } => self.seats[slot.index()].attempt = None,
                Action::Run { slot, run } => self.seats[slot.index()].makers.begin(run),
                Action::Ping { slot, payload } => {
                    if let Some(connection) = &mut self.seats[slot.index()].connection {
                        connection.ping(payload);
                    }
                }
                Action::Close { slot, code, reason } => {
                    if self.machine.drained() == Some(slot) {
                        self.backlog.close();
                    }
                    if let Some(connection) = &mut self.seats[slot.index()].connection {
                        connection.close(code, reason);
                    }
                }
                Action::Drop { slot } => self.seats[slot.index()].leave(),
                Action::Finish(ended) => self.ended = Some(ended),
            }
        }
        let Link { seats, machine, .. } = self;
        for slot in Slot::ALL {
            seats[slot.index()].makers.keep(|id| machine.awaits_run(slot, id));
        }
        if self.machine.sender().is_none() && !self.is_draining() {
            self.backlog.requeue(now(), self.machine.state_for_sends());
        }
    }

    /// Whether the connection that closes still gets what was sent before.
    fn is_draining(&self) -> bool {
        self.machine.drained().is_some_and(|slot| self.seats[slot.index()].is_draining())
    }

    /// While the hub can't take more, or too much waits to be said, nothing is read, and the server's
    /// silence is our own doing.
    fn pause_or_resume(&mut self) {
        let ready = self.hub.is_ready();
        for slot in Slot::ALL {
            let seat = &mut self.seats[slot.index()];
            let paused = seat.connection.is_some() && (!ready || self.machine.is_choked(slot));
            if paused != seat.paused {
                seat.paused = paused;
                let input = if paused { Input::Paused { slot } } else { Input::Resumed { slot } };
                self.machine.handle(now(), input);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let now = now();
        let stalls = self.seats.iter().filter_map(Seat::stall_deadline);
        let others = [
            self.machine.next_timeout(now),
            self.machine.next_let_out(now, self.backlog.wants()),
            self.backlog.next_expiry(),
            topics::deadline(&self.hub, &self.machine, now),
        ];
        stalls.chain(others.into_iter().flatten()).min()
    }

    /// Tells the fate of every send that is left, also of those that were still on their way here.
    async fn settle_rest(&mut self) {
        self.seats = Default::default();
        let state = self.hub.status().state;
        self.commands.close();
        // closed, it ends with the last that was on its way
        while let Some(command) = self.commands.recv().await {
            match command {
                Command::Send(send) => self.backlog.push(send, &Kinds::default()),
                Command::Cancel(cancellation) => (cancellation.tell)(false),
                _ => {}
            }
        }
        let unsent = leave_unsent(&self.hub, &mut self.backlog, state);
        if unsent > 0 {
            tracing::warn!(unsent, "messages that waited for the link are not sent");
        }
    }
}

impl<D> Drop for Link<D> {
    /// Dropped in the middle, it leaves no send untold either: what a connection has begun may have arrived, and the
    /// rest isn't sent. The hub's ends say the rest.
    fn drop(&mut self) {
        self.seats = Default::default();
        leave_unsent(&self.hub, &mut self.backlog, LinkState::Closed);
        self.legacy.leave(self.machine.leave());
    }
}

/// Tells what waits that it isn't sent, where nobody keeps it; how much that was.
fn leave_unsent(hub: &Publisher, backlog: &mut Backlog, state: LinkState) -> usize {
    if !hub.keeps() {
        return backlog.give_up(state);
    }
    backlog.leave(state).into_iter().for_each(|send| hub.keep(send));
    0
}

/// What all connections have to do with.
struct Common<'a> {
    hub: &'a Publisher,
    machine: &'a mut Machine,
    backlog: &'a mut Backlog,
    too_many: &'a Seldom,
}

/// Reads from and writes to all connections, and goes on with all attempts.
fn poll_seats(
    cx: &mut Context<'_>,
    seats: &mut [Seat; 2],
    first: Slot,
    common: &mut Common<'_>,
) -> Poll<Event> {
    loop {
        let mut is_released = false;
        for slot in [first, first.other()] {
            let held = seats[slot.other().index()].has_unwritten();
            let seat = &mut seats[slot.index()];
            if let Poll::Ready(outcome) = seat.poll_attempt(cx) {
                return Poll::Ready(Event::Attempt(slot, Box::new(outcome)));
            }
            if let Poll::Ready((id, outcome)) = seat.makers.poll(cx) {
                return Poll::Ready(Event::Ran(slot, id, Box::new(outcome)));
            }
            let Common { hub, machine, backlog, too_many } = common;
            let listen = match (seat.paused, hub.is_ready()) {
                (false, _) => Listen::Yes,
                (true, true) => Listen::AfterWriting,
                (true, false) => Listen::No,
            };
            let goes_on = seat.goes_on(listen);
            let Some(connection) = &mut seat.connection else { continue };
            let was_unwritten = connection.has_unwritten();
            let had_deadline = connection.stall_deadline().is_some();
            let mut exchange = LinkExchange {
                slot,
                hub,
                machine,
                backlog,
                apart: &mut seat.apart,
                too_many,
                held,
                moved_topics: false,
                time_us: None,
                told: 0,
            };
            exchange.apart.begin();
            if goes_on && exchange.go_on() {
                // it is written to all the same
                let _ = connection.poll(cx, now(), Listen::No, &mut exchange);
                let batch = Batch { messages: true, full: true, heavy: true, ..Batch::default() };
                return Poll::Ready(Event::Batch(slot, batch));
            }
            if let Poll::Ready(batch) = connection.poll(cx, now(), listen, &mut exchange) {
                return Poll::Ready(Event::Batch(slot, batch));
            }
            let is_due = exchange.moved_topics || exchange.machine.has_to_do();
            if is_due || !had_deadline && connection.stall_deadline().is_some() {
                return Poll::Ready(Event::Round); // there is one more time to wait for
            }
            // what waited for this connection's writing, or its reading for its writing
            is_released |= was_unwritten && !connection.has_unwritten();
            if listen == Listen::AfterWriting && seat.apart.has_rest() && connection.is_broken() {
                return Poll::Ready(Event::Round);
            }
            if seat.paused && common.hub.is_ready() && !common.machine.is_choked(slot) {
                return Poll::Ready(Event::Round);
            }
        }
        if !is_released {
            return Poll::Pending;
        }
    }
}

async fn settings_changed(settings: &mut Option<Newest>) -> Event {
    match settings {
        Some(settings) => match settings.newer().await {
            true => Event::SettingsChanged,
            false => Event::SettingsGone,
        },
        None => pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

/// The clock of the runtime: in tests it may be a simulated one.
fn now() -> Instant {
    time::Instant::now().into_std()
}
