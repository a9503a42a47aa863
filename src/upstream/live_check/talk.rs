//! What is said and heard on the walk's connection, as its trial tells it.

use std::{
    cell::RefCell,
    future::poll_fn,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time;

use super::{Narrow, Part, Timeline, now};
use crate::{
    hub::{Data, Send, now_us},
    upstream::{
        attempt::{Attempted, makers::Makers},
        machine::{Reached, Told, Trial, TrialAction},
        session::split::{Parted, Split, as_message, text_of},
        settings::Settings,
        websocket::{Batch, Connection, ConnectionEnd, Exchange, Frame, Listen},
        wire::{
            found::{Found, StepReport},
            track::Running,
        },
    },
};

/// While a batch is full, what is due may wait for so many of them, since what is awaited may be among it.
const PATIENCE_BATCHES: usize = 32;

/// Does the script, which must be done by `until`, then one heartbeat, then the close. Whether all went well.
pub(super) async fn talk(
    settings: &Settings,
    attempted: Attempted,
    until: Instant,
    timeline: &RefCell<Timeline>,
) -> bool {
    let Attempted { mut connection, subprotocol, secrets, place } = attempted;
    timeline.borrow_mut().done(now());
    let (reached, seed) = (Reached { subprotocol, place }, fastrand::u64(..));
    let trial = Trial::begin(settings, reached, secrets, until, seed, now(), now_us() / 1_000);
    let split = settings.upstream.split.as_ref().map(Split::new);
    let mut talk = Talk { trial, split, makers: Makers::default(), timeline };
    let mut full = 0;
    loop {
        talk.trial.go_on(now(), !connection.has_unwritten());
        talk.tell();
        while let Some(act) = talk.trial.poll_act() {
            match act {
                TrialAction::Ping(payload) => connection.ping(payload),
                TrialAction::Run(run) => {
                    let (key, shown) = ("send_command".to_owned(), run.command.program.shown());
                    talk.timeline.borrow_mut().runs(Running { key, run: shown, keep: false });
                    talk.makers.begin(run);
                }
                TrialAction::Close(code) => connection.close(code, ""),
            }
        }
        talk.makers.keep(|id| talk.trial.awaits_run(id));
        if let Some(well) = talk.trial.outcome() {
            return well;
        }
        let wake = talk.trial.next_timeout(now());
        let batch = tokio::select! {
            biased;
            batch = poll_fn(|cx| talk.poll(cx, &mut connection)) => batch,
            () = time::sleep_until(wake.into()) => None,
        };
        talk.trial.set_clock(now_us() / 1_000);
        match batch {
            Some(batch) => {
                full = if batch.full { full + 1 } else { 0 };
                talk.take(batch, !connection.has_unwritten());
                // a server that goes on and on puts off no deadline
                if (full == 0 || full > PATIENCE_BATCHES) && wake <= now() {
                    talk.trial.timeout(now());
                }
            }
            None => talk.trial.timeout(now()),
        }
    }
}

/// The trial of a connection, and those who hear of it.
struct Talk<'a> {
    trial: Trial,
    /// What messages are taken apart by.
    split: Option<Split>,
    /// The programs that make messages.
    makers: Makers,
    timeline: &'a RefCell<Timeline>,
}

impl Talk<'_> {
    /// Reads and writes; none when all is written that the next part waits for.
    fn poll(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<Option<Batch>> {
        if let Poll::Ready((id, outcome)) = self.makers.poll(cx) {
            self.trial.ran(now(), id, outcome);
            return Poll::Ready(None);
        }
        match connection.poll(cx, now(), Listen::Yes, self) {
            Poll::Ready(batch) => Poll::Ready(Some(batch)),
            Poll::Pending if self.trial.has_to_do() => Poll::Ready(None),
            Poll::Pending if self.trial.may_go_on(!connection.has_unwritten()) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn take(&mut self, batch: Batch, is_written: bool) {
        if batch.inbound {
            self.trial.inbound(now(), batch.messages);
        }
        match batch.end.map(|end| *end) {
            Some(ConnectionEnd::Closing(failure)) => self.trial.closing(now(), failure, is_written),
            Some(ConnectionEnd::Gone(failure)) => self.trial.ended(now(), failure, is_written),
            None => {}
        }
    }

    /// A message, or the elements of the list that it is.
    fn hear(&mut self, data: Data<'_>) {
        let parted = self.split.as_ref().zip(text_of(data)).map(|(split, text)| split.part(text));
        let Some(Parted::Elements(elements)) = parted else { return self.trial.hear(now(), data) };
        for element in elements {
            self.trial.hear(now(), as_message(data, element));
            self.tell();
        }
    }

    fn tell(&mut self) {
        let mut timeline = self.timeline.borrow_mut();
        while let Some(told) = self.trial.poll_told() {
            match told {
                Told::Step { name, sent } => {
                    timeline.begin(now(), Part::Step, Some(name));
                    timeline.found(Found::Step(StepReport { sent, ..StepReport::default() }));
                }
                Told::Skipped { name } => {
                    timeline.skip(now(), &name, "by its `if_captured` or `unless_captured`");
                }
                Told::Heard(text) => timeline.heard(&text),
                Told::Beats => timeline.begin(now(), Part::Heartbeat, None),
                Told::Beaten { message, round_trip, answered } => {
                    timeline.found(Found::Beat { message, round_trip, answered });
                }
                Told::Narrow { left, limit, key } => timeline.narrow(Narrow { left, limit, key }),
                Told::Done => timeline.done(now()),
                Told::Failed { failure, how } => timeline.fail(now(), failure, how),
                Told::Closes => timeline.begin(now(), Part::Close, None),
                Told::Closed { code } => {
                    timeline.found(Found::Closed { code });
                    timeline.done(now());
                }
            }
        }
    }
}

impl Exchange for Talk<'_> {
    fn received(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Data(data) => self.hear(data),
            Frame::Ping => self.trial.pinged(now()),
            Frame::Pong(payload) => self.trial.pong(now(), payload),
        }
        self.tell();
    }

    fn next_send(&mut self) -> Option<Send> {
        self.trial.next_own(now()).map(Send::unheard)
    }

    fn written(&mut self, _: usize, _: usize) {}
}
