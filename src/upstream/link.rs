//! The link's loop: ask the machine what to do, do it, tell it what happened.

use std::{
    future::{pending, poll_fn},
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time};

use super::{
    Ended, Settings,
    attempt::{Dial, Outcome, attempt},
    backlog::Backlog,
    machine::{Action, Input, Machine, Note},
    websocket::{Batch, Connection, End, Exchange, Frame},
};
use crate::hub::{Command, Commands, Data, Hub, LinkState, LinkStatus, Send, now_us};

#[cfg(test)]
mod tests;

/// So many commands are taken in one round, so that clients who send a lot can't keep the link from
/// reading.
const COMMANDS_PER_ROUND: usize = 256;
/// While a batch is full, more has come in than was read; what is due may wait for so many batches,
/// since a proof of life may be among it.
const PATIENCE_BATCHES: usize = 32;

/// Runs the link over what `dial` makes. `seed` is for the jitter.
pub(super) async fn run(
    hub: Hub,
    commands: Commands,
    settings: watch::Receiver<Settings>,
    dial: impl Dial + 'static,
    seed: u64,
) -> Ended {
    let mut settings = settings;
    let present = settings.borrow_and_update().clone();
    Link {
        machine: Machine::new(present.clone(), seed),
        backlog: Backlog::new(present.outbox),
        upstream: present.upstream,
        hub,
        commands,
        settings: Some(settings),
        dial,
        attempt: None,
        connection: None,
        ended: None,
        paused: false,
        patience: PATIENCE_BATCHES,
    }
    .run()
    .await
}

struct Link<D> {
    hub: Hub,
    commands: Commands,
    /// `None` once nobody can change them any more.
    settings: Option<watch::Receiver<Settings>>,
    upstream: crate::config::Upstream,
    dial: D,
    machine: Machine,
    backlog: Backlog,
    attempt: Option<Pin<Box<dyn Future<Output = Outcome>>>>,
    connection: Option<Box<Connection>>,
    ended: Option<Ended>,
    /// The hub isn't ready for more, so nothing is read.
    paused: bool,
    patience: usize,
}

enum Event {
    Batch(Batch),
    Attempt(Outcome),
    Command(Option<Command>),
    SettingsChanged,
    SettingsGone,
    /// The hub is ready for more, or a time is reached: the round itself looks after both.
    Round,
}

impl<D: Dial + 'static> Link<D> {
    async fn run(mut self) -> Ended {
        self.machine.handle(now(), Input::Start);
        loop {
            self.act();
            if let Some(ended) = self.ended {
                self.settle_rest().await;
                return ended;
            }
            self.hub.set_waiting(self.backlog.waiting());
            let event = self.next_event().await;
            let full = matches!(&event, Event::Batch(batch) if batch.full);
            self.take(event);
            self.act();
            // while the server floods, reading is always ready: the others get their turn here
            self.take_waiting();
            self.patience = if full { self.patience.saturating_sub(1) } else { PATIENCE_BATCHES };
            if !full || self.patience == 0 {
                self.take_due();
            }
        }
    }

    /// Waits for the next happening. Each arm is cancel-safe: what an arm has begun stays in the
    /// connection, the attempt or the channel. Reading comes first, so that what lies in the socket
    /// counts before a deadline does.
    async fn next_event(&mut self) -> Event {
        self.pause_or_resume();
        let reading = !self.paused;
        let deadline = self.deadline();
        let Link { hub, commands, settings, machine, backlog, attempt, connection, .. } = self;
        let mut exchange = Books { hub, machine, backlog, time_us: None };
        tokio::select! {
            biased;
            batch = poll_connection(connection, reading, &mut exchange) => Event::Batch(batch),
            outcome = poll_attempt(attempt) => Event::Attempt(outcome),
            command = commands.recv() => Event::Command(command),
            event = settings_changed(settings) => event,
            () = hub.ready(), if !reading => Event::Round,
            () = sleep_until(deadline) => Event::Round,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Batch(batch) => self.take_batch(batch),
            Event::Attempt(outcome) => {
                self.attempt = None;
                match outcome {
                    Ok((connection, subprotocol)) => {
                        self.connection = Some(connection);
                        self.machine.handle(now(), Input::Connected { subprotocol });
                    }
                    Err(failure) => self.machine.handle(now(), Input::ConnectFailed(failure)),
                }
            }
            Event::Command(command) => self.command(command),
            Event::SettingsChanged => self.change_settings(),
            Event::SettingsGone => self.settings = None,
            Event::Round => {}
        }
    }

    fn take_batch(&mut self, batch: Batch) {
        if batch.messages {
            self.hub.flush();
        }
        let now = now();
        if batch.inbound {
            self.machine.handle(now, Input::Inbound);
        }
        match batch.end {
            Some(End::Closing(failure)) => self.machine.handle(now, Input::Closing(failure)),
            Some(End::Gone(failure)) => {
                self.connection = None;
                self.machine.handle(now, Input::Ended(failure));
            }
            None => {}
        }
    }

    /// Takes what waits without waiting for it.
    fn take_waiting(&mut self) {
        for _ in 0..COMMANDS_PER_ROUND {
            let Ok(command) = self.commands.try_recv() else {
                break;
            };
            self.command(Some(command));
            self.act();
        }
        if self.settings.as_ref().is_some_and(|settings| settings.has_changed().unwrap_or(false)) {
            self.change_settings();
            self.act();
        }
    }

    fn take_due(&mut self) {
        let now = now();
        self.machine.handle(now, Input::Timeout);
        let expired = self.backlog.expire(now);
        if expired > 0 {
            tracing::warn!(expired, "messages waited in the outbox for too long, and are not sent");
        }
        let stalled = self.connection.as_ref().and_then(|connection| connection.stall_deadline());
        if stalled.is_some_and(|at| at <= now) {
            self.connection = None;
            self.machine.handle(now, Input::Ended(Connection::stalled()));
        }
    }

    /// A command. The channel never ends while the hub lives; were it so, nobody could say stop.
    fn command(&mut self, command: Option<Command>) {
        let now = now();
        match command {
            Some(Command::Send(send)) if self.machine.takes_sends() || self.is_draining() => {
                self.backlog.push(send);
            }
            Some(Command::Send(send)) => self.backlog.hold(now, send, self.machine.state_for_sends()),
            Some(Command::Open) => self.machine.handle(now, Input::Open),
            Some(Command::Reconnect) => self.machine.handle(now, Input::Reconnect),
            Some(Command::Close) => self.machine.handle(now, Input::Close),
            Some(Command::Stop) | None => self.machine.handle(now, Input::Stop),
        }
    }

    fn change_settings(&mut self) {
        let Some(settings) = &mut self.settings else {
            return;
        };
        let new = settings.borrow_and_update().clone();
        self.upstream = new.upstream.clone();
        self.backlog.set_limits(new.outbox);
        self.machine.handle(now(), Input::Settings(Box::new(new)));
    }

    /// Does what the machine wants done.
    fn act(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Connect { url } => {
                    let attempt = attempt(self.upstream.clone(), url, self.dial.clone());
                    self.attempt = Some(Box::pin(attempt));
                }
                Action::AbandonConnect => self.attempt = None,
                Action::Heartbeat(beat) => {
                    if let Some(connection) = &mut self.connection {
                        connection.beat(beat);
                    }
                }
                Action::Close { code, reason } => {
                    if let Some(connection) = &mut self.connection {
                        self.backlog.close();
                        connection.close(code, reason);
                    }
                }
                Action::Drop => self.connection = None,
                Action::Announce(status) => self.announce(status),
                Action::Note(note) => self.note(note),
                Action::Finish(ended) => self.ended = Some(ended),
            }
        }
        if !self.machine.takes_sends() && !self.is_draining() {
            self.backlog.requeue(now(), self.machine.state_for_sends());
        }
    }

    /// Whether the connection that closes still gets what was sent before.
    fn is_draining(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.is_draining())
    }

    fn announce(&self, status: LinkStatus) {
        log(&status);
        self.hub.announce(LinkStatus { since_us: now_us(), ..status });
    }

    fn note(&self, note: Note) {
        self.hub.update_link(|status| match note {
            Note::RoundTrip(round_trip) => status.heartbeat_rtt = Some(round_trip),
            Note::Stable => status.attempt = 0,
            Note::RetryIn(delay) => status.retry_in = Some(delay),
        });
    }

    /// While the hub can't take more, nothing is read, and the server's silence is our own doing.
    fn pause_or_resume(&mut self) {
        let paused = self.connection.is_some() && !self.hub.is_ready();
        if paused != self.paused {
            self.paused = paused;
            self.machine.handle(now(), if paused { Input::Paused } else { Input::Resumed });
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let stall = self.connection.as_ref().and_then(|connection| connection.stall_deadline());
        [self.machine.next_timeout(), self.backlog.next_expiry(), stall].into_iter().flatten().min()
    }

    /// Tells the fate of every send that is left, also of those that were still on their way here.
    async fn settle_rest(&mut self) {
        self.connection = None;
        let state = self.hub.link().state;
        self.commands.close();
        // closed, it ends with the last that was on its way
        while let Some(command) = self.commands.recv().await {
            if let Command::Send(send) = command {
                self.backlog.push(send);
            }
        }
        let unsent = self.backlog.give_up(state);
        if unsent > 0 {
            tracing::warn!(unsent, "messages that waited for the link are not sent");
        }
    }
}

/// What the connection reads from and writes to: the hub, the machine and the sends that wait.
struct Books<'a> {
    hub: &'a Hub,
    machine: &'a mut Machine,
    backlog: &'a mut Backlog,
    /// The wall clock, read once a batch.
    time_us: Option<u64>,
}

impl Exchange for Books<'_> {
    fn received(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Data(data) => {
                let time_us = *self.time_us.get_or_insert_with(now_us);
                self.hub.publish(time_us, data);
                if let Data::Text(text) = data
                    && self.machine.wants_messages()
                {
                    self.machine.handle(now(), Input::Message(text));
                }
            }
            Frame::Pong(payload) => self.machine.handle(now(), Input::Pong(payload)),
        }
    }

    fn next_send(&mut self) -> Option<Send> {
        self.backlog.next()
    }

    fn written(&mut self, bytes: usize) {
        self.hub.count_sent(bytes);
    }
}

async fn poll_connection(
    connection: &mut Option<Box<Connection>>,
    reading: bool,
    books: &mut Books<'_>,
) -> Batch {
    match connection {
        Some(connection) => poll_fn(|cx| connection.poll(cx, now(), reading, books)).await,
        None => pending().await,
    }
}

async fn poll_attempt(attempt: &mut Option<Pin<Box<dyn Future<Output = Outcome>>>>) -> Outcome {
    match attempt {
        Some(attempt) => attempt.await,
        None => pending().await,
    }
}

async fn settings_changed(settings: &mut Option<watch::Receiver<Settings>>) -> Event {
    match settings {
        Some(settings) => match settings.changed().await {
            Ok(()) => Event::SettingsChanged,
            Err(_) => Event::SettingsGone,
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

/// One line for each change of the link.
fn log(status: &LinkStatus) {
    let LinkStatus { conn, url, attempt, .. } = status;
    let error = status.error.as_deref().unwrap_or_default();
    let retry_in = Duration::from_millis(status.retry_in.unwrap_or_default().as_millis() as u64);
    match status.state {
        LinkState::Connecting => tracing::debug!(%url, attempt, "connecting"),
        LinkState::Up => tracing::info!(conn, %url, "link up"),
        LinkState::Waiting if error.is_empty() => {
            tracing::info!(conn, ?retry_in, "link waiting");
        }
        LinkState::Waiting => {
            tracing::warn!(conn, attempt, ?retry_in, error, "link down");
        }
        LinkState::Failed => tracing::error!(conn, attempt, error, "link failed"),
        LinkState::Closed => tracing::info!(conn, "link closed"),
    }
}

/// The clock of the runtime: in tests it may be a simulated one.
fn now() -> Instant {
    time::Instant::now().into_std()
}
