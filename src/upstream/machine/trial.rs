//! A connection on trial: its script, one heartbeat at once, and the close, each of it told. What happens to it is
//! what happens to a connection of the link; what it leads to is no more than the next part, or the end.
//!
//! The contract is that of one loop, as the machine's: tell it what happened, drain [`Trial::poll_told`] and
//! [`Trial::poll_act`], and come back by [`Trial::next_timeout`].

use std::{
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{Channel, Doing, Heartbeat, LINGER, Reached, Slot, Timeout, World};
use crate::{
    config::{self, HeartbeatKind},
    hub::{Data, Payload},
    upstream::{
        failure::{Failure, clean},
        secrets::Secrets,
        session::{Effect, Mark, Rules, Session, is_narrow},
        settings::Settings,
    },
};

mod told;

pub(in crate::upstream) use told::{How, Told, TrialAction};

/// The trial of one connection.
#[derive(Debug)]
pub(in crate::upstream) struct Trial {
    channel: Channel,
    world: World,
    /// What may be secret in the server's words.
    secrets: Secrets,
    heartbeat: config::Heartbeat,
    /// How long the limits may hold the beat back.
    patience: Duration,
    close_timeout: Duration,
    phase: TrialPhase,
    /// When the phase must be over.
    until: Instant,
    told: VecDeque<Told>,
    acts: VecDeque<TrialAction>,
}

/// How far it has come.
#[derive(Debug)]
enum TrialPhase {
    Script,
    Beat {
        /// When it was sent.
        sent: Option<Instant>,
        /// How long after it anything came in.
        life: Option<Duration>,
    },
    /// A part is done, but for what is still to be written.
    Done(NextPart),
    Closing {
        well: bool,
        code: Option<u16>,
    },
    Over {
        well: bool,
    },
}

/// The part that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextPart {
    Beat,
    Close,
}

impl Trial {
    /// Begins on a connection that has just opened. Its script must be done by `until`. `now_ms` is what the wall
    /// clock shows, `seed` for chance.
    pub(in crate::upstream) fn begin(
        settings: &Settings,
        reached: Reached,
        secrets: Secrets,
        until: Instant,
        seed: u64,
        now: Instant,
        now_ms: u64,
    ) -> Trial {
        let mut world = World::new(settings, seed);
        world.now_ms = now_ms;
        let mut session = Session::new(Rc::new(Rules::new(settings)), secrets.clone(), now, until);
        session.follow();
        let heartbeat = Heartbeat::new(settings.heartbeat.clone(), now, 1.0);
        let limit = settings.upstream.connect_timeout;
        let mut trial = Trial {
            channel: Channel::open(now, &mut world, Slot::A, false, reached, session, heartbeat),
            world,
            secrets,
            heartbeat: Heartbeat::at_once(&settings.heartbeat, limit),
            patience: limit,
            close_timeout: settings.close_timeout.min(limit),
            phase: TrialPhase::Script,
            until,
            told: VecDeque::new(),
            acts: VecDeque::new(),
        };
        trial.settle(now, How::Refused);
        trial
    }

    /// Says what the wall clock shows, in milliseconds since the Unix epoch.
    pub(in crate::upstream) fn set_clock(&mut self, now_ms: u64) {
        self.world.now_ms = now_ms;
    }

    /// The next thing to tell.
    pub(in crate::upstream) fn poll_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// The next thing to do.
    pub(in crate::upstream) fn poll_act(&mut self) -> Option<TrialAction> {
        self.acts.pop_front()
    }

    /// Whether all went well, once it is over.
    pub(in crate::upstream) fn outcome(&self) -> Option<bool> {
        match self.phase {
            TrialPhase::Over { well } => Some(well),
            _ => None,
        }
    }

    /// Whether a part is done, be it that something is still to be written.
    #[cfg(test)]
    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, TrialPhase::Done(_))
    }

    /// When to call [`Trial::timeout`], if nothing else happens before.
    pub(in crate::upstream) fn next_timeout(&self, now: Instant) -> Instant {
        if !self.is_under_way() {
            return self.until;
        }
        let let_out = self.channel.let_out(now, &self.world).filter(|at| *at > now);
        let others = [self.channel.next_timeout(now, &self.world), let_out, self.pong_is_late_at()];
        others.into_iter().flatten().fold(self.until, Instant::min)
    }

    // --- what happens ------------------------------------------------------------------------------

    /// Whether the part that is done may give way to the next one. `is_written`: the kernel has all that was given
    /// to the connection.
    pub(in crate::upstream) fn may_go_on(&self, is_written: bool) -> bool {
        matches!(self.phase, TrialPhase::Done(_)) && is_written && !self.channel.has_to_say()
    }

    /// Begins the next part, if it may.
    pub(in crate::upstream) fn go_on(&mut self, now: Instant, is_written: bool) {
        if let TrialPhase::Done(next) = self.phase
            && self.may_go_on(is_written)
        {
            self.told.push_back(Told::Done);
            match next {
                NextPart::Beat => {
                    self.told.push_back(Told::Beats);
                    self.channel.heartbeat = Heartbeat::new(self.heartbeat.clone(), now, 0.0);
                    self.phase = TrialPhase::Beat { sent: None, life: None };
                    self.until = now + self.patience + self.heartbeat.timeout.unwrap_or_default();
                }
                NextPart::Close => {
                    self.told.push_back(Told::Closes);
                    self.close(now, true);
                }
            }
        }
    }

    /// A message came in.
    pub(in crate::upstream) fn hear(&mut self, now: Instant, message: Data<'_>) {
        if !matches!(self.phase, TrialPhase::Script | TrialPhase::Beat { .. }) {
            return;
        }
        self.channel.hear(now, &mut self.world, message);
        if let TrialPhase::Script = self.phase {
            // the captures are there by now, and the next step hasn't begun
            self.told.push_back(Told::Heard(self.shown(message)));
        }
        self.settle(now, How::Refused);
    }

    /// A ping came in, whose pong is on its way.
    pub(in crate::upstream) fn pinged(&mut self, now: Instant) {
        self.world.pacing.sent(now);
    }

    /// A pong came in.
    pub(in crate::upstream) fn pong(&mut self, now: Instant, payload: &[u8]) {
        if let Some(round_trip) = self.channel.pong(now, payload) {
            self.beaten(Some(round_trip), Some(true));
        }
    }

    /// The next thing to say, as far as the limits let it out.
    pub(in crate::upstream) fn next_own(&mut self, now: Instant) -> Option<Payload> {
        if !self.is_under_way() {
            return None;
        }
        let payload = self.channel.next_own(now, &mut self.world)?;
        self.sent(now);
        if self.channel.may_run() {
            self.settle(now, How::Plain);
        }
        Some(payload)
    }

    /// Whether [`Trial::poll_act`] has something.
    pub(in crate::upstream) fn has_to_do(&self) -> bool {
        !self.acts.is_empty()
    }

    /// Whether the outcome of this run is still awaited.
    pub(in crate::upstream) fn awaits_run(&self, id: u64) -> bool {
        self.is_under_way() && self.channel.session.awaits_run(id)
    }

    /// A program has ended: what it printed, or the end of a sentence.
    pub(in crate::upstream) fn ran(&mut self, now: Instant, id: u64, outcome: Result<Vec<u8>, String>) {
        if self.awaits_run(id) {
            self.channel.ran(now, &mut self.world, id, outcome);
            self.settle(now, How::Program);
        }
    }

    /// Bytes came in, whole messages among them or not.
    pub(in crate::upstream) fn inbound(&mut self, now: Instant, messages: bool) {
        self.channel.inbound(now, messages);
        let TrialPhase::Beat { sent: Some(sent), life } = &mut self.phase else { return };
        let life = *life.get_or_insert(now - *sent);
        // nothing can tell the answer to a message without `expect`
        if matches!(self.heartbeat.kind, HeartbeatKind::Message { expect: None, .. }) {
            self.beaten(Some(life), Some(false));
        }
    }

    /// The connection ends, and what remains is the end of TCP. What came before may have been all that was wanted.
    pub(in crate::upstream) fn closing(&mut self, now: Instant, failure: Failure, is_written: bool) {
        match &mut self.phase {
            TrialPhase::Closing { code, .. } => {
                *code = failure.code;
                self.until = now + LINGER;
            }
            _ => self.lost(now, failure, is_written),
        }
    }

    /// The connection is gone.
    pub(in crate::upstream) fn ended(&mut self, now: Instant, failure: Failure, is_written: bool) {
        match self.phase {
            TrialPhase::Closing { .. } => self.closed(),
            _ => self.lost(now, failure, is_written),
        }
    }

    /// Does what is due.
    pub(in crate::upstream) fn timeout(&mut self, now: Instant) {
        if !self.is_under_way() {
            if now >= self.until {
                self.closed();
            }
            return;
        }
        match self.channel.timeout(now, &mut self.world) {
            Some(Timeout::Ping(payload)) => {
                self.acts.push_back(TrialAction::Ping(payload));
                self.sent(now);
            }
            Some(Timeout::Dead(why)) => self.fail(now, Failure::attempt(why), How::Late),
            Some(Timeout::Unable(why)) => self.fail(now, Failure::attempt(why), How::Unsaid),
            None => {}
        }
        self.settle(now, How::Late); // a step that waited in vain
        if self.pong_is_late_at().is_some_and(|at| at <= now) {
            self.beaten(None, Some(false));
        }
        if now >= self.until {
            self.fail(now, Failure::attempt("it couldn't be sent in time"), How::Plain);
        }
    }

    // --- what comes of it --------------------------------------------------------------------------

    fn is_under_way(&self) -> bool {
        !matches!(self.phase, TrialPhase::Closing { .. } | TrialPhase::Over { .. })
    }

    /// Does what the session wants. A step that fails now does so in this way.
    fn settle(&mut self, now: Instant, how: How) {
        let mut began = false;
        while let Some(doing) = self.channel.poll_effect(now, &mut self.world) {
            match doing {
                Doing::Run(_) if !self.is_under_way() => self.channel.session.end_runs(),
                Doing::Run(run) => self.acts.push_back(TrialAction::Run(run)),
                Doing::Effect(Effect::Unsent { error }) => {
                    self.fail(now, Failure::attempt(error), How::Program);
                }
                Doing::RoundTrip(round_trip) => self.beaten(Some(round_trip), Some(true)),
                Doing::Effect(Effect::Script(mark)) => {
                    self.mark(now, mark);
                    began = matches!(mark, Mark::Begins(_));
                }
                Doing::Effect(Effect::Ready) => {
                    let beats = self.heartbeat.kind != HeartbeatKind::Off;
                    self.phase = TrialPhase::Done(if beats { NextPart::Beat } else { NextPart::Close });
                }
                Doing::Effect(Effect::PutOff { why, .. }) => {
                    self.fail(now, Failure::attempt(why), How::PutOff);
                }
                Doing::Effect(Effect::Failed { error, .. }) => {
                    // nothing but its own words can be wrong with a step that has just begun
                    let how = if began { How::Unsaid } else { how };
                    self.fail(now, Failure::attempt(error), how);
                }
                Doing::Effect(_) => {}
            }
        }
    }

    fn mark(&mut self, now: Instant, mark: Mark) {
        let (Mark::Begins(step) | Mark::Skips(step) | Mark::Narrow { step, .. } | Mark::Met(step)) = mark;
        let Some(told) = self.channel.session.told(step) else { return };
        let name = told.name.to_owned();
        self.told.extend(match mark {
            Mark::Begins(_) => Some(Told::Step { name, sent: told.sent.as_deref().map(clean) }),
            Mark::Skips(_) => Some(Told::Skipped { name }),
            Mark::Narrow { left, limit, .. } => Some(Told::Narrow { left, limit, key: "the step's timeout" }),
            Mark::Met(_) => narrow(self.until - now, self.patience, "upstream.connect_timeout"),
        });
    }

    /// Something goes out: the beat, if it is its turn.
    fn sent(&mut self, now: Instant) {
        if let TrialPhase::Beat { sent, .. } = &mut self.phase {
            sent.get_or_insert(now);
            // nothing answers it, so that it is done once it is written
            if self.heartbeat.timeout.is_none() {
                self.beaten(None, None);
            }
        }
    }

    /// When no pong is awaited any more, where other things come in.
    fn pong_is_late_at(&self) -> Option<Instant> {
        match self.phase {
            TrialPhase::Beat { sent: Some(sent), life: Some(_) }
                if self.heartbeat.kind == HeartbeatKind::Ping =>
            {
                Some(sent + self.heartbeat.timeout?)
            }
            _ => None,
        }
    }

    fn beaten(&mut self, round_trip: Option<Duration>, answered: Option<bool>) {
        if let TrialPhase::Beat { .. } = self.phase {
            let message = match &self.heartbeat.kind {
                HeartbeatKind::Message { message, .. } => Some(clean(&message.shown())),
                HeartbeatKind::Ping | HeartbeatKind::Off => None,
            };
            self.told.push_back(Told::Beaten { message, round_trip, answered });
            if let (Some(round_trip), Some(limit)) = (round_trip, self.heartbeat.timeout) {
                self.told.extend(narrow(limit.saturating_sub(round_trip), limit, "heartbeat.timeout"));
            }
            self.phase = TrialPhase::Done(NextPart::Close);
        }
    }

    fn lost(&mut self, now: Instant, failure: Failure, is_written: bool) {
        if !self.may_go_on(is_written) {
            let failure = self.channel.without_secrets(now, &mut self.world, failure);
            self.fail(now, failure, How::Lost);
        }
    }

    fn fail(&mut self, now: Instant, failure: Failure, how: How) {
        if self.is_under_way() {
            self.told.push_back(Told::Failed { failure, how });
            self.close(now, false);
        }
    }

    fn close(&mut self, now: Instant, well: bool) {
        self.acts.push_back(TrialAction::Close(1000));
        self.until = now + self.close_timeout;
        self.phase = TrialPhase::Closing { well, code: None };
    }

    /// The closing handshake (RFC 6455, 7.1.2) is over, or its time.
    fn closed(&mut self) {
        if let TrialPhase::Closing { well, code } = self.phase {
            if well {
                self.told.push_back(Told::Closed { code });
            }
            self.phase = TrialPhase::Over { well };
        }
    }

    /// A message of the server's on one line, without what may be secret in it.
    fn shown(&self, message: Data<'_>) -> String {
        match message {
            Data::Text(text) => {
                let text = self.channel.session.without_printed(&self.secrets.without(text));
                clean(&self.world.memory.captures().without(&text))
            }
            Data::Binary(bytes) => format!("binary, {} bytes", bytes.len()),
        }
    }
}

/// What came with so much left of its limit, if that is little.
fn narrow(left: Duration, limit: Duration, key: &'static str) -> Option<Told> {
    is_narrow(left, limit).then_some(Told::Narrow { left, limit, key })
}
