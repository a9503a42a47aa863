//! What is said and heard on the walk's connection: the script, one heartbeat, and the close.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time;

use super::{Part, Timeline, advice::How, now};
use crate::{
    config::{self, FirstBeat, HeartbeatKind},
    hub::{Data, Send, Ticket, now_us},
    upstream::{
        attempt::Attempted,
        failure::{Failure, clean},
        machine::{Channel, Doing, LINGER, Reached, Slot, Timeout, World, heartbeat::Heartbeat},
        secrets::Secrets,
        session::{Effect, Heard, Mark, Rules, Session},
        settings::Settings,
        websocket::{Batch, Connection, End, Exchange, Frame, Listen},
        wire::found::{Found, Step},
    },
};

/// Does the script, which must be done by `until`, then one heartbeat, then the close. Whether all went well.
pub(super) async fn talk(
    settings: &Settings,
    attempted: Attempted,
    until: Instant,
    timeline: &RefCell<Timeline>,
) -> bool {
    let Attempted { mut connection, subprotocol, secrets, place } = attempted;
    let mut session = Session::new(Rc::new(Rules::new(settings)), secrets.clone(), now(), until);
    session.follow();
    let quiet = Heartbeat::new(settings.heartbeat.clone(), now(), 1.0);
    let mut world = World::new(settings, fastrand::u64(..));
    world.now_ms = now_us() / 1000;
    timeline.borrow_mut().done(now());
    let reached = Reached { subprotocol, place };
    let mut talk = Talk {
        channel: Channel::open(now(), &mut world, Slot::A, false, reached, session, quiet),
        world,
        timeline,
        secrets,
        kind: settings.heartbeat.kind.clone(),
        patience: settings.heartbeat.timeout.min(settings.upstream.connect_timeout),
        phase: Phase::Script,
        how: How::Plain,
    };
    let mut well = talk.drive(&mut connection, until).await;
    if well && settings.heartbeat.kind != HeartbeatKind::Off {
        talk.begin_beat(&settings.heartbeat);
        // the limits may hold the beat back, and then its answer is awaited
        let until = now() + settings.upstream.connect_timeout + talk.patience;
        well = talk.drive(&mut connection, until).await;
    }
    let limit = settings.close_timeout.min(settings.upstream.connect_timeout);
    if well {
        timeline.borrow_mut().begin(now(), Part::Close, None);
    }
    let code = close(&mut connection, now() + limit).await;
    if well {
        timeline.borrow_mut().found(Found::Closed { code });
        timeline.borrow_mut().done(now());
    }
    well
}

/// One side of the talk: what the link's machine and books are otherwise, for one connection.
struct Talk<'a> {
    channel: Channel,
    world: World,
    timeline: &'a RefCell<Timeline>,
    secrets: Secrets,
    kind: HeartbeatKind,
    /// How long the answer to a beat is awaited.
    patience: Duration,
    phase: Phase,
    /// How it failed.
    how: How,
}

#[derive(Debug)]
enum Phase {
    Script,
    Beat {
        /// When it was sent.
        sent: Option<Instant>,
        /// How long after it anything came in.
        life: Option<Duration>,
    },
    Done,
    Failed(Failure),
}

impl Talk<'_> {
    /// Goes on until the present phase is done. Whether that went well; if not, it is told.
    async fn drive(&mut self, connection: &mut Connection, until: Instant) -> bool {
        loop {
            self.settle(How::Refused);
            match std::mem::replace(&mut self.phase, Phase::Done) {
                Phase::Done if self.is_out(connection) => {
                    self.timeline.borrow_mut().done(now());
                    return true;
                }
                Phase::Failed(failure) => {
                    self.timeline.borrow_mut().fail(now(), failure, self.how);
                    return false;
                }
                phase => self.phase = phase,
            }
            let next = self.channel.next_timeout(now(), &self.world);
            let wake = [next, self.let_out(), self.patience_ends(), Some(until)];
            let wake = wake.into_iter().flatten().min().unwrap_or(until);
            let batch = tokio::select! {
                biased;
                batch = poll_fn(|cx| self.poll(cx, connection)) => batch,
                () = time::sleep_until(wake.into()) => None,
            };
            self.world.now_ms = now_us() / 1000;
            match batch {
                Some(batch) => {
                    if batch.inbound {
                        self.lives();
                    }
                    // what came before the end may have been all that was wanted
                    self.settle(How::Refused);
                    let is_done = matches!(self.phase, Phase::Done) && self.is_out(connection);
                    if let Some(End::Closing(failure) | End::Gone(failure)) = batch.end
                        && !is_done
                    {
                        let failure = self.channel.without_secrets(now(), &mut self.world, failure);
                        self.fail(failure, How::Lost);
                    }
                }
                None => self.timeout(connection, until),
            }
        }
    }

    /// Reads and writes; none when the phase is done and all is written.
    fn poll(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<Option<Batch>> {
        match connection.poll(cx, now(), Listen::Yes, self) {
            Poll::Ready(batch) => Poll::Ready(Some(batch)),
            Poll::Pending if matches!(self.phase, Phase::Done) && self.is_out(connection) => {
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether all that was to be said is with the kernel.
    fn is_out(&self, connection: &Connection) -> bool {
        !self.channel.has_to_say() && !connection.has_unwritten()
    }

    /// When the limits let something out that waits for it.
    fn let_out(&self) -> Option<Instant> {
        self.channel.let_out(now(), &self.world).filter(|at| *at > now())
    }

    /// When no pong is awaited any more, where other things come in.
    fn patience_ends(&self) -> Option<Instant> {
        match self.phase {
            Phase::Beat { sent: Some(sent), life: Some(_) } if self.kind == HeartbeatKind::Ping => {
                Some(sent + self.patience)
            }
            _ => None,
        }
    }

    fn timeout(&mut self, connection: &mut Connection, until: Instant) {
        match self.channel.timeout(now(), &mut self.world) {
            Some(Timeout::Ping(payload)) => {
                connection.ping(payload);
                self.sent();
            }
            Some(Timeout::Dead(why)) => self.fail(Failure::attempt(why), How::Late),
            Some(Timeout::Unable(why)) => self.fail(Failure::attempt(why), How::Unsaid),
            None => {}
        }
        self.settle(How::Late); // a step that waited in vain
        if self.patience_ends().is_some_and(|at| at <= now()) {
            self.beaten(None, false);
        }
        if now() >= until && !matches!(self.phase, Phase::Failed(_)) {
            self.fail(Failure::attempt("it couldn't be sent in time"), How::Plain);
        }
    }

    /// Does what the session wants, and tells how it goes. A step that fails now does so in this way.
    fn settle(&mut self, how: How) {
        let mut began = false;
        while let Some(doing) = self.channel.poll_effect(now()) {
            match doing {
                Doing::RoundTrip(round_trip) => self.beaten(Some(round_trip), true),
                Doing::Effect(Effect::Script(mark)) => {
                    self.mark(mark);
                    began = matches!(mark, Mark::Begins(_));
                }
                Doing::Effect(Effect::Ready) => self.phase = Phase::Done,
                Doing::Effect(Effect::PutOff { why, .. }) => self.fail(Failure::attempt(why), How::PutOff),
                Doing::Effect(Effect::Failed { error, .. }) => {
                    // nothing but its own words can be wrong with a step that has just begun
                    let how = if began { How::Unsaid } else { how };
                    self.fail(Failure::attempt(error), how);
                }
                Doing::Effect(_) => {}
            }
        }
    }

    fn mark(&mut self, mark: Mark) {
        let (Mark::Begins(step) | Mark::Skips(step) | Mark::Met(step)) = mark;
        let Some(told) = self.channel.session.told(step) else { return };
        let mut timeline = self.timeline.borrow_mut();
        match mark {
            Mark::Begins(_) => {
                timeline.begin(now(), Part::Step, Some(told.name.to_owned()));
                let sent = told.sent.as_deref().map(clean);
                timeline.found(Found::Step(Step { sent, ..Step::default() }));
            }
            Mark::Skips(_) => timeline.skip(now(), told.name, "by its `if_captured` or `unless_captured`"),
            Mark::Met(_) => {}
        }
    }

    fn fail(&mut self, failure: Failure, how: How) {
        if !matches!(self.phase, Phase::Failed(_)) {
            self.how = how;
            self.phase = Phase::Failed(failure);
        }
    }

    // --- the heartbeat ---------------------------------------------------------------------------

    /// One beat, at once.
    fn begin_beat(&mut self, configured: &config::Heartbeat) {
        let settings = config::Heartbeat {
            first: FirstBeat::Now,
            interval_from: None,
            only_when_idle: false,
            idle_timeout: None,
            timeout: self.patience,
            ..configured.clone()
        };
        self.timeline.borrow_mut().begin(now(), Part::Heartbeat, None);
        self.channel.heartbeat = Heartbeat::new(settings, now(), 0.0);
        self.phase = Phase::Beat { sent: None, life: None };
    }

    fn sent(&mut self) {
        if let Phase::Beat { sent, .. } = &mut self.phase {
            sent.get_or_insert_with(now);
        }
    }

    /// Something came in.
    fn lives(&mut self) {
        self.channel.inbound(now(), false);
        let Phase::Beat { sent: Some(sent), life } = &mut self.phase else { return };
        let life = *life.get_or_insert_with(|| now() - *sent);
        // nothing can tell the answer to a message without `expect`
        if matches!(self.kind, HeartbeatKind::Message { expect: None, .. }) {
            self.beaten(Some(life), false);
        }
    }

    fn beaten(&mut self, round_trip: Option<Duration>, answered: bool) {
        if let Phase::Beat { .. } = self.phase {
            let message = match &self.kind {
                HeartbeatKind::Message { message, .. } => Some(clean(&message.shown())),
                HeartbeatKind::Ping | HeartbeatKind::Off => None,
            };
            self.timeline.borrow_mut().found(Found::Beat { message, round_trip, answered });
            self.phase = Phase::Done;
        }
    }

    /// A message of the server's on one line, without what may be secret in it.
    fn shown(&self, data: Data<'_>) -> String {
        match data {
            Data::Text(text) => clean(&self.world.memory.captures().without(&self.secrets.without(text))),
            Data::Binary(bytes) => format!("binary, {} bytes", bytes.len()),
        }
    }
}

impl Exchange for Talk<'_> {
    fn received(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Data(data) => {
                if !matches!(self.phase, Phase::Script | Phase::Beat { .. }) {
                    return;
                }
                let heard = match data {
                    Data::Text(text) => Heard::Text(text),
                    Data::Binary(bytes) => Heard::Binary(bytes),
                };
                self.channel.hear(now(), &mut self.world, heard);
                // the captures are there by now, and the next step hasn't begun
                let shown = self.shown(data);
                self.timeline.borrow_mut().heard(&shown);
                self.settle(How::Refused);
            }
            Frame::Ping => self.world.pacing.sent(now()), // its pong
            Frame::Pong(payload) => {
                if let Some(round_trip) = self.channel.pong(now(), payload) {
                    self.beaten(Some(round_trip), true);
                }
            }
        }
    }

    fn next_send(&mut self) -> Option<Send> {
        let payload = self.channel.next_own(now(), &mut self.world)?;
        self.sent();
        Some(Send { payload, ticket: Ticket::unheard(), extra: 0 })
    }

    fn written(&mut self, _: usize) {}
}

/// The closing handshake (RFC 6455, 7.1.2), by `until`. The server's code, if it answers.
async fn close(connection: &mut Connection, until: Instant) -> Option<u16> {
    connection.close(1000, "");
    let (mut until, mut code) = (until, None);
    loop {
        let batch = poll_fn(|cx| connection.poll(cx, now(), Listen::Yes, &mut Deaf));
        match time::timeout_at(until.into(), batch).await.map(|batch| batch.end) {
            Ok(Some(End::Closing(failure))) => {
                code = failure.code;
                until = now() + LINGER;
            }
            Ok(None) => {}
            Ok(Some(End::Gone(_))) | Err(_) => return code,
        }
    }
}

/// Hears nothing more and says nothing more.
struct Deaf;

impl Exchange for Deaf {
    fn received(&mut self, _: Frame<'_>) {}

    fn next_send(&mut self) -> Option<Send> {
        None
    }

    fn written(&mut self, _: usize) {}
}
